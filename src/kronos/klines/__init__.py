"""K-line tables: their columns, reading, validation, cleaning and features. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos._imports import lazy
from kronos.schema import FEATURES

if TYPE_CHECKING:
    from kronos.klines.aggregation import TIMEFRAMES, aggregate
    from kronos.klines.cleaning import CleanResult, clean
    from kronos.klines.columns import ALIASES, KlineError
    from kronos.klines.features import as_timestamps, time_features, to_matrix
    from kronos.klines.formats import MAX_FILE_BYTES
    from kronos.klines.normalize import Normalizer
    from kronos.klines.read_options import ReadOptions
    from kronos.klines.reader import iter_klines, list_symbols, read_klines, read_table
    from kronos.klines.splitting import PAPER_RULES, SplitRule, infer_frequency, nearest_frequency, split_segments
    from kronos.klines.validation import Fault, Report, validate
    from kronos.schema import OPTIONAL_COLUMNS, PRICE_COLUMNS

VALUE_COLUMNS = FEATURES
"""The former name of `FEATURES`."""

_HOME = {
    "FEATURES": "kronos.schema",
    "OPTIONAL_COLUMNS": "kronos.schema",
    "PRICE_COLUMNS": "kronos.schema",
    "ALIASES": "kronos.klines.columns",
    "CleanResult": "kronos.klines.cleaning",
    "Fault": "kronos.klines.validation",
    "KlineError": "kronos.klines.columns",
    "MAX_FILE_BYTES": "kronos.klines.formats",
    "Normalizer": "kronos.klines.normalize",
    "PAPER_RULES": "kronos.klines.splitting",
    "ReadOptions": "kronos.klines.read_options",
    "Report": "kronos.klines.validation",
    "SplitRule": "kronos.klines.splitting",
    "TIMEFRAMES": "kronos.klines.aggregation",
    "aggregate": "kronos.klines.aggregation",
    "as_timestamps": "kronos.klines.features",
    "clean": "kronos.klines.cleaning",
    "infer_frequency": "kronos.klines.splitting",
    "iter_klines": "kronos.klines.reader",
    "list_symbols": "kronos.klines.reader",
    "nearest_frequency": "kronos.klines.splitting",
    "read_klines": "kronos.klines.reader",
    "read_table": "kronos.klines.reader",
    "split_segments": "kronos.klines.splitting",
    "time_features": "kronos.klines.features",
    "to_matrix": "kronos.klines.features",
    "validate": "kronos.klines.validation",
}

__all__ = [
    "ALIASES",
    "FEATURES",
    "MAX_FILE_BYTES",
    "OPTIONAL_COLUMNS",
    "PAPER_RULES",
    "PRICE_COLUMNS",
    "TIMEFRAMES",
    "CleanResult",
    "Fault",
    "KlineError",
    "Normalizer",
    "ReadOptions",
    "Report",
    "SplitRule",
    "aggregate",
    "as_timestamps",
    "clean",
    "infer_frequency",
    "iter_klines",
    "list_symbols",
    "nearest_frequency",
    "read_klines",
    "read_table",
    "split_segments",
    "time_features",
    "to_matrix",
    "validate",
]

__getattr__, __dir__ = lazy(__name__, _HOME)
