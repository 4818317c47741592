"""A series cut into its window as the options of a command say."""

from __future__ import annotations

import pandas as pd

from kronos.cli.options import Options
from kronos.klines.window import SeriesWindow, cut_window

__all__ = ["SeriesWindow", "window_of"]


def window_of(bars: pd.DataFrame, options: Options, context: int) -> SeriesWindow:
    """Cut a series as --lookback, --horizon and --holdout say."""
    holdout = options.horizon if options.holdout else 0
    return cut_window(bars, options.horizon, context, options.lookback, holdout, options.calendar, dashes="--")
