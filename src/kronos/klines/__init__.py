"""K-line tables: their columns, reading, validation, cleaning and features."""

from kronos.klines.cleaning import CleanResult, clean
from kronos.klines.columns import ALIASES, KlineError
from kronos.klines.features import as_timestamps, time_features, to_matrix
from kronos.klines.formats import MAX_FILE_BYTES
from kronos.klines.normalize import Normalizer
from kronos.klines.read_options import ReadOptions
from kronos.klines.reader import iter_klines, list_symbols, read_klines, read_table
from kronos.klines.splitting import PAPER_RULES, SplitRule, infer_frequency, nearest_frequency, split_segments
from kronos.klines.validation import Fault, Report, validate
from kronos.schema import FEATURES, OPTIONAL_COLUMNS, PRICE_COLUMNS

VALUE_COLUMNS = FEATURES
"""The former name of `FEATURES`."""

__all__ = [
    "ALIASES",
    "FEATURES",
    "MAX_FILE_BYTES",
    "OPTIONAL_COLUMNS",
    "PAPER_RULES",
    "PRICE_COLUMNS",
    "VALUE_COLUMNS",
    "CleanResult",
    "Fault",
    "KlineError",
    "Normalizer",
    "ReadOptions",
    "Report",
    "SplitRule",
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
