"""Gaps: bars that should exist and are missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.live.candles import Candles
from kronos.live.intervals import Interval
from kronos.live.source import Source

DAY_US = 86_400_000_000


class Gap(NamedTuple):
    """Gap of ``bars`` missing bars from ``first`` to ``last``, both included; for an incomplete session their number."""

    first: pd.Timestamp
    last: pd.Timestamp
    bars: int

    def __str__(self) -> str:
        where = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"{where} ({self.bars} bar{'s' if self.bars > 1 else ''})"


def find_gaps(candles: Candles, source: Source) -> list[Gap]:
    """Find the gaps between the first and the last bar.

    Where the market never closes, these are steps without a bar; else, by the exchange's calendar, trading days without a bar,
    and intraday sessions with fewer bars than the two beside them. Without a calendar gaps and closures cannot be distinguished,
    and none is reported."""
    times = pd.DatetimeIndex(candles.bars["timestamps"])
    if len(times) < 2:
        return []
    if source.continuous:
        return _steps(times, source)
    if source.calendar is not None:
        return _sessions(times.tz_convert(source.tz), source)
    return []


def unanswered(candles: Candles) -> list[Interval]:
    """Return the spans between the first and the last fetched one that have not been fetched."""
    spans = candles.covered
    return [Interval(one.end, after.start) for one, after in zip(spans, spans[1:], strict=False)]


def _steps(times: pd.DatetimeIndex, source: Source) -> list[Gap]:
    absent = source.timeframe.grid(times[0], times[-1]).difference(times)
    if not len(absent):
        return []
    ends = source.timeframe.after(absent)
    starts = np.flatnonzero(np.concatenate([[True], absent[1:] != ends[:-1]]))
    stops = np.concatenate([starts[1:], [len(absent)]])
    return [Gap(absent[a], absent[b - 1], b - a) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def _sessions(local: pd.DatetimeIndex, source: Source) -> list[Gap]:
    from kronos.calendars.exchange import resolve, sessions_between

    if source.timeframe.text[-1] in "wM":
        return []
    assert source.calendar is not None
    days = np.asarray(local.tz_localize(None).normalize().as_unit("us").asi8 // DAY_US)
    held = sessions_between(resolve(source.calendar), int(days[0]), int(days[-1])).days
    present, counts = np.unique(days, return_counts=True)
    gaps = [_of_day(day, 1, source) for day in np.setdiff1d(held, present)]
    if source.timeframe.intraday and len(present) > 2:
        usual = np.minimum(counts[:-2], counts[2:])
        for day, count, beside in zip(present[1:-1], counts[1:-1], usual, strict=True):
            if count < beside:
                gaps.append(_of_day(day, int(beside - count), source))
    return sorted(gaps)


def _of_day(day: int, bars: int, source: Source) -> Gap:
    midnight = pd.Timestamp(int(day) * DAY_US, unit="us").tz_localize(source.tz)
    return Gap(midnight, midnight, bars)
