"""Cutting a series into the bars that are looked back on, the bars held out, and the times to forecast.

The one place where a default lookback, a holdout and a window that is too long are decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from kronos.calendars import future_timestamps

DEFAULT_LOOKBACK = 400
"""Bars looked back on at most where no lookback is asked for."""
LEAST_LOOKBACK = 2
"""Bars that a forecast needs: with fewer there is no deviation to normalise by."""

FutureTimes = Callable[[pd.Series, int, str | None], pd.DatetimeIndex]


class SeriesWindow(NamedTuple):
    """The lookback, the times of the bars to forecast, and the hidden bars if some are held out."""

    past: pd.DataFrame
    future: pd.DatetimeIndex
    truth: pd.DataFrame | None


def default_lookback(bars: int, horizon: int, max_context: int) -> int:
    """Lookback where none is asked for: within the context together with the horizon, if half of it is left.

    Args:
        bars: bars of the series.
        horizon: bars to forecast.
        max_context: bars that the model sees at most, or that it was trained on.
    """
    return min(bars, DEFAULT_LOOKBACK, max(max_context - horizon, max_context // 2))


def chosen_lookback(
    lookback: int | None, bars: int, horizon: int, max_context: int, *, shorten: bool = False, dashes: str = ""
) -> int:
    """Lookback that is asked for, or `default_lookback`.

    Args:
        shorten: take the whole series where it has fewer bars than ``lookback``, instead of raising.
        dashes: put before the argument's name in a message ("--" on the command line).

    Raises:
        ValueError: the lookback is longer than the series.
    """
    if not lookback:
        return default_lookback(bars, horizon, max_context)
    if shorten:
        return min(lookback, bars)
    if lookback > bars:
        raise ValueError(f"{dashes}lookback {lookback} is more than the {bars} bars there are to look back on")
    return lookback


def cut_window(
    bars: pd.DataFrame,
    horizon: int,
    max_context: int,
    lookback: int | None = None,
    holdout: int = 0,
    calendar: str | None = None,
    future_times: FutureTimes = future_timestamps,
    *,
    dashes: str = "",
) -> SeriesWindow:
    """Cut the latest window of a series.

    Args:
        bars: timestamps, open, high, low, close and, where there are, volume and amount, oldest first.
        horizon: bars to forecast.
        max_context: bars that lookback and horizon should fill at most together (`KronosPredictor.trained_context`).
        lookback: bars to look back on; None takes `default_lookback`.
        holdout: last bars that are hidden; the forecast begins after those that are left.
        calendar: exchange calendar of the times to forecast; None continues the history's own pattern.
        future_times: what gives those times, with the arguments of `kronos.future_timestamps`.
        dashes: as in `chosen_lookback`.

    Returns:
        Past, future times [horizon] and, with a holdout, the hidden bars within the horizon. Hidden bars' own times are used,
        and after them those of ``future_times``.

    Raises:
        ValueError: there are too few bars for the holdout or the lookback.
    """
    if holdout and len(bars) < holdout + LEAST_LOOKBACK:
        raise ValueError(
            f"{dashes}holdout hides {holdout} bars and needs {LEAST_LOOKBACK} more to look back on; there are {len(bars)}"
        )
    known, truth = bars.iloc[: len(bars) - holdout], bars.iloc[len(bars) - holdout :].iloc[:horizon]
    taken = chosen_lookback(lookback, len(known), horizon, max_context, dashes=dashes)
    future = pd.DatetimeIndex(truth["timestamps"])
    if len(future) < horizon:
        more = future_times(bars["timestamps"], horizon - len(future), calendar)
        future = pd.DatetimeIndex(future.append(more)) if len(future) else more
    return SeriesWindow(known.iloc[-taken:], future, truth if holdout else None)
