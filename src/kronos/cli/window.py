"""Which bars are looked back on, and the times to forecast."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pandas as pd

from kronos.calendars import future_timestamps
from kronos.cli.options import Options
from kronos.klines.zones import is_utc
from kronos.predictor import default_lookback


class SeriesWindow(NamedTuple):
    """The lookback, the times of the bars to forecast, and the hidden bars if some are held out."""

    past: pd.DataFrame
    future: pd.DatetimeIndex
    truth: pd.DataFrame | None


def window_of(bars: pd.DataFrame, options: Options, context: int) -> SeriesWindow:
    """Cut a series as --lookback, --horizon and --holdout say."""
    if is_utc(bars["timestamps"], options.calendar):
        warnings.warn(
            f"the times lie in the sessions of {options.calendar} only as UTC, and are read so; say tz= if they are not",
            stacklevel=2,
        )
        bars = bars.assign(timestamps=bars["timestamps"].dt.tz_localize("UTC"))
    known, truth = bars, None
    if options.holdout:
        if len(bars) < options.horizon + 2:
            raise ValueError(
                f"--holdout hides {options.horizon} bars and needs 2 more to look back on; the file has {len(bars)}"
            )
        known, truth = bars.iloc[: -options.horizon], bars.iloc[-options.horizon :]
    lookback = options.lookback or default_lookback(len(known), options.horizon, context)
    if lookback > len(known):
        raise ValueError(f"--lookback {lookback} is more than the {len(known)} bars there are to look back on")
    if truth is not None:
        future = pd.DatetimeIndex(truth["timestamps"])
    else:
        future = future_timestamps(bars["timestamps"], options.horizon, options.calendar)
    return SeriesWindow(known.iloc[-lookback:], future, truth)
