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

if TYPE_CHECKING:
    from kronos.calendars import future_timestamps
    from kronos.forecast.forecast import Forecast
    from kronos.hub.pairing import PairWarning
    from kronos.klines import KlineError, clean, read_klines, validate
    from kronos.loading import load
    from kronos.nn import CheckpointError, ConfigError, Kronos, KronosTokenizer
    from kronos.predictor import KronosPredictor

__getattr__, __dir__ = lazy(__name__, _HOME)
