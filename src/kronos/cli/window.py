"""A series cut into its window as the options of a command say."""

from __future__ import annotations

import warnings

import pandas as pd

from kronos.cli.options import Options
from kronos.klines.window import SeriesWindow, cut_window
from kronos.klines.zones import is_utc

__all__ = ["SeriesWindow", "window_of"]


def window_of(bars: pd.DataFrame, options: Options, context: int) -> SeriesWindow:
    """Cut a series as --lookback, --horizon and --holdout say."""
    if is_utc(bars["timestamps"], options.calendar):
        warnings.warn(
            f"the times lie in the sessions of {options.calendar} only as UTC, and are read so; say tz= if they are not",
            stacklevel=2,
        )
        bars = bars.assign(timestamps=bars["timestamps"].dt.tz_localize("UTC"))
    holdout = options.horizon if options.holdout else 0
    return cut_window(bars, options.horizon, context, options.lookback, holdout, options.calendar, dashes="--")
