"""Kronos: forecasts of financial K-lines (candlesticks) by a foundation model.

    import kronos
    predictor = kronos.load("nano")
    forecast = predictor.predict(df, x_timestamp, y_timestamp, pred_len)

Everything below is imported when it is first used: PyTorch is slow to load, and ``kronos --help`` should not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos._imports import install, lazy

__version__ = "0.1.0"

install()

_HOME = {
    "Kronos": "kronos.nn",
    "KronosTokenizer": "kronos.nn",
    "KronosPredictor": "kronos.predictor",
    "CheckpointError": "kronos.nn",
    "ConfigError": "kronos.nn",
    "Forecast": "kronos.forecast",
    "PairWarning": "kronos.hub.pairing",
    "KlineError": "kronos.klines",
    "clean": "kronos.klines",
    "future_timestamps": "kronos.calendars",
    "load": "kronos.loading",
    "read_klines": "kronos.klines",
    "validate": "kronos.klines",
}

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:  # "as": type checkers of users cannot read __all__ here
    from kronos.calendars import future_timestamps as future_timestamps
    from kronos.forecast.forecast import Forecast as Forecast
    from kronos.hub.pairing import PairWarning as PairWarning
    from kronos.klines import KlineError as KlineError
    from kronos.klines import clean as clean
    from kronos.klines import read_klines as read_klines
    from kronos.klines import validate as validate
    from kronos.loading import load as load
    from kronos.nn import CheckpointError as CheckpointError
    from kronos.nn import ConfigError as ConfigError
    from kronos.nn import Kronos as Kronos
    from kronos.nn import KronosTokenizer as KronosTokenizer
    from kronos.predictor import KronosPredictor as KronosPredictor

__getattr__, __dir__ = lazy(__name__, _HOME)
