"""Bars of a longer timeframe from shorter ones: 1-minute bars to 1h, hourly bars to 1d.

Legend: T bars, G groups of bars (the bars of the longer timeframe).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.calendars import infer_frequency
from kronos.errors import Argument
from kronos.klines.columns import KlineError
from kronos.schema import FEATURES

TIMEFRAMES = {
    "5min": pd.Timedelta("5min"),
    "15min": pd.Timedelta("15min"),
    "30min": pd.Timedelta("30min"),
    "1h": pd.Timedelta("1h"),
    "4h": pd.Timedelta("4h"),
    "1d": pd.Timedelta("1D"),
    "1w": pd.Timedelta("7D"),
}
"""Names and lengths of the timeframes that bars can be made of."""
SHORT_NAMES = {name.removesuffix("in"): name for name in TIMEFRAMES if name.endswith("min")}
"""5m, 15m and 30m, as exchanges write them."""
DAY = pd.Timedelta("1D")
MONDAY = pd.Timestamp("1970-01-05")
_HOW = {"open": "first", "high": "max", "low": "min", "close": "last"}


def aggregate(bars: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Return bars of a longer timeframe: first open, highest high, lowest low, last close, sums of volume and amount.

    A bar is named by the start of its period. Periods within a day follow each other from the time at which most days begin (09:30
    gives 09:30, 10:30, ...); days and weeks (from Monday) are those of the table's own clock, so that a night session counts to the
    day on which it is traded. A last period that ends earlier than others of its kind is not complete and is left out.

    Args:
        bars: timestamps, open, high, low, close and, if there are, volume and amount, as `kronos.read_klines` gives them.
            They are not changed.
        timeframe: a name of `TIMEFRAMES` or of `SHORT_NAMES`.

    Returns:
        A table with the same columns and a fresh RangeIndex; ``attrs`` are those of ``bars``; "notes" say what was done, and
        "aggregated" is (bars that there were, whether a last period was left out).

    Raises:
        KlineError: an unknown timeframe, one that is no multiple of the bars' own, or fewer than two periods.
    """
    timeframe = SHORT_NAMES.get(timeframe, timeframe)
    if timeframe not in TIMEFRAMES:
        raise KlineError(Argument("timeframe", timeframe), f": expected one of {', '.join(TIMEFRAMES)}")
    length, own = TIMEFRAMES[timeframe], infer_frequency(bars["timestamps"])
    if own >= length:
        raise KlineError(Argument("timeframe", timeframe), f": the bars are of {_said(own)} already; name a longer one")
    if length % own != pd.Timedelta(0):
        raise KlineError(Argument("timeframe", timeframe), f": no multiple of the bars' own {_said(own)}")
    times = pd.DatetimeIndex(bars["timestamps"]).as_unit("ns")
    wall = times.tz_localize(None)
    starts = _starts(wall, length)
    offsets = wall.asi8 - (times.asi8 if times.tz is None else times.tz_convert("UTC").asi8)
    new = np.concatenate(([True], (np.diff(starts.asi8) != 0) | ((np.diff(offsets) != 0) & (length < DAY))))
    groups, first = np.cumsum(new) - 1, np.flatnonzero(new)
    whole, note = _without_incomplete(wall, starts, first, timeframe)
    if whole < 2:
        raise KlineError(Argument("timeframe", timeframe), f": {len(bars)} bars of {_said(own)} make fewer than two")
    grouped = bars.groupby(groups, sort=False)
    values = {name: _combined(grouped[name], name) for name in FEATURES if name in bars.columns}
    made = pd.DataFrame({"timestamps": _labels(starts[first], offsets[first], times.tz, length), **values})
    made = made.iloc[:whole].reset_index(drop=True)
    said = f"{len(bars):,} bars of {_said(own)} are read as {len(made):,} of {timeframe}{note}"
    made.attrs = {
        **bars.attrs,
        "notes": (*bars.attrs.get("notes", ()), said),
        "aggregated": (len(bars), bool(note)),
    }
    return made


def _combined(column: object, name: str) -> np.ndarray:
    combined = column.sum(min_count=1) if name not in _HOW else getattr(column, _HOW[name])()  # type: ignore[attr-defined]
    return np.asarray(combined, dtype=float)


def _starts(wall: pd.DatetimeIndex, length: pd.Timedelta) -> pd.DatetimeIndex:
    """The start of each bar's period on the clock [T]."""
    if length > DAY:
        return MONDAY + ((wall - MONDAY) // length) * length
    days = wall.normalize()
    if length == DAY:
        return days
    begins = (wall - days)[np.concatenate(([True], np.diff(days.asi8) != 0))]
    usual = begins.value_counts().index[0] % length
    return usual + (wall - usual).floor(length)


def _labels(starts: pd.DatetimeIndex, offsets: np.ndarray, tz: object, length: pd.Timedelta) -> pd.DatetimeIndex:
    """The starts [G] as instants in the zone of the bars."""
    if tz is None:
        return starts
    if length >= DAY:
        return starts.tz_localize(tz, ambiguous=np.zeros(len(starts), bool), nonexistent="shift_forward")  # type: ignore[arg-type]
    return pd.DatetimeIndex(starts.asi8 - offsets, tz="UTC").tz_convert(tz)  # type: ignore[arg-type]


def _without_incomplete(
    wall: pd.DatetimeIndex, starts: pd.DatetimeIndex, first: np.ndarray, timeframe: str
) -> tuple[int, str]:
    """How many periods are complete, and a note where the last is not: it ends earlier than most that begin at its time of day."""
    last = np.append(first[1:], len(wall)) - 1
    ends = (wall[last] - starts[first]).asi8
    begins = (starts[first] - starts[first].normalize()).asi8
    alike = ends[:-1][begins[:-1] == begins[-1]]
    if not len(alike):
        alike = ends[:-1]
    if not len(alike) or ends[-1] >= np.median(alike):
        return len(first), ""
    return len(first) - 1, f"; the last {timeframe} is not complete and is left out"


def _said(step: pd.Timedelta) -> str:
    minutes = step / pd.Timedelta("1min")
    return (
        f"{minutes / 1440:g} d" if minutes >= 1440 else f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
    )
