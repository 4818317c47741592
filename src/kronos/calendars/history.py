"""Read a history of timestamps: checks, the frequency of its bars, and its local times in any time zone.

Inside this package times are int64 microseconds since 1970, either absolute (``utc``) or local (``wall``: the time that a clock
in the zone shows). Microseconds and not nanoseconds, because nanoseconds end in the year 2262.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Micros = npt.NDArray[np.int64]
Timestamps = pd.Series | pd.DatetimeIndex | Sequence[Any] | npt.NDArray[Any]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LAST_YEAR = 2261  # nanosecond timestamps end in 2262

# Patterns change over the years and recent weeks decide, so more bars than this only cost time.
MAX_LEARNED_BARS = 20_000

# Bars of a calendar period: code -> (shortest, longest, nominal length in days, months). Holidays move labels a little.
PERIODS = {
    "W": (4, 10, 7, 0),
    "M": (26, 35, 30, 1),
    "Q": (85, 96, 91, 3),
    "Y": (358, 373, 365, 12),
}


@dataclass(frozen=True)
class Frequency:
    """Spacing of bars: ``kind`` is "intraday", "day", "W", "M", "Q", "Y" or "step" (any other even spacing)."""

    kind: str
    step: int  # microseconds; nominal for the calendar periods


@dataclass(frozen=True)
class History:
    """Checked timestamps: ``utc`` absolute and ``wall`` as labelled, in microseconds. Naive ones have utc == wall."""

    utc: Micros
    wall: Micros
    tz: tzinfo | None
    unit: Literal["s", "ms", "us", "ns"]
    frequency: Frequency

    def on_clock(self, clock: tzinfo | None) -> Micros:
        """The stamps on the wall of ``clock`` (None: the history's own). Naive stamps are read as UTC."""
        if clock is None:
            return self.wall
        return wall_of(self.utc, clock)

    def from_clock(self, wall: Micros, clock: tzinfo | None) -> Micros:
        """Absolute times of stamps on the wall of ``clock``. An hour skipped by DST has no stamps: they are dropped."""
        zone = self.tz if clock is None else clock
        return wall if zone is None else utc_of(wall, zone)

    def index_from_utc(self, utc: Micros) -> pd.DatetimeIndex:
        """Absolute times as an index of the history's own kind (zone, naivety, unit)."""
        index = pd.DatetimeIndex(utc.view("datetime64[us]"))
        if self.tz is not None:
            index = index.tz_localize("UTC").tz_convert(self.tz)
        return index.as_unit(self.unit)


def wall_of(utc: Micros, zone: tzinfo) -> Micros:
    """Convert absolute microseconds to local microseconds of ``zone``."""
    return _micros(pd.DatetimeIndex(utc.view("datetime64[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None))


def utc_of(wall: Micros, zone: tzinfo) -> Micros:
    """Convert local microseconds of ``zone`` to absolute ones; a repeated hour means the first, a skipped hour has none."""
    first = np.ones(len(wall), dtype=bool)
    local = pd.DatetimeIndex(wall.view("datetime64[us]")).tz_localize(zone, ambiguous=first, nonexistent="NaT")
    return _micros(local[local.notna()].tz_convert("UTC").tz_localize(None))


def read_history(history: Timestamps, calendar_named: bool = False) -> History:
    """Check ``history`` and read it. Raises ValueError with the position and the fix when it cannot be used."""
    index = _parse(history)
    _check_order(index)
    if len(index) == 1:
        index = _two_from_one(index, calendar_named)
    index = _after_last_rupture(index[-MAX_LEARNED_BARS:])
    wall = _micros(index.tz_localize(None))
    if (np.diff(wall) <= 0).any() and index.tz is None:
        place = int(np.argmax(np.diff(wall) <= 0))
        raise ValueError(
            f"timestamps at positions {place} and {place + 1} are less than a microsecond apart ({index[place]}), which no bars "
            "are; check the unit that the times were read in"
        )
    utc = wall if index.tz is None else _micros(index.tz_convert("UTC").tz_localize(None))
    return History(utc, wall, index.tz, index.unit, _frequency(wall, utc))


def infer_frequency(history: Timestamps) -> pd.Timedelta:
    """Return the spacing of a history's bars: the most common step inside its sessions.

    Daily bars give one day although weekends are absent. Weekly, monthly, quarterly and yearly bars give their nominal
    length of 7, 30, 91 and 365 days. Raises ValueError as ``future_timestamps`` does for a history that it cannot use.
    """
    return pd.Timedelta(read_history(history).frequency.step, unit="us")


def _micros(index: pd.DatetimeIndex) -> Micros:
    return np.asarray(index.as_unit("us").asi8, dtype=np.int64)


def _parse(history: Timestamps) -> pd.DatetimeIndex:
    if isinstance(history, pd.DatetimeIndex):
        return history
    if isinstance(history, str) or not isinstance(history, Iterable):
        raise ValueError(f"history is one value, {history!r}; expected many timestamps: pass a list or a column")
    values = pd.Series(history if isinstance(history, pd.Series) else list(history)).reset_index(drop=True)
    if len(values) == 0:
        return pd.DatetimeIndex([])
    numbers = [pos for pos, v in enumerate(values.head(3)) if isinstance(v, (bool, int, float, np.number)) and v == v]
    if pd.api.types.is_numeric_dtype(values.dtype) or numbers:
        raise ValueError(
            f"history holds numbers ({values.iloc[0]!r} at position 0), expected timestamps: convert epoch numbers "
            "with pd.to_datetime(values, unit='ms'), or pass the timestamps column in place of a price column"
        )
    try:
        return pd.DatetimeIndex(pd.to_datetime(values))
    except (ValueError, TypeError) as error:
        return _parse_mixed(values, error)


def _parse_mixed(values: pd.Series, error: Exception) -> pd.DatetimeIndex:
    """Strings in more than one format, or the position of the one that is no timestamp."""
    if "timezone" in str(error).lower() or "time zone" in str(error).lower() or "tz" in str(error).lower():
        raise ValueError(
            f"history mixes UTC offsets or naive and zoned timestamps ({error}): bring them to one zone, e.g. "
            "pd.to_datetime(values, utc=True).dt.tz_convert('America/New_York')"
        ) from error
    parsed = pd.to_datetime(values, format="mixed", errors="coerce")
    bad = np.flatnonzero(parsed.isna() & values.notna())
    if len(bad):
        raise ValueError(
            f"history[{bad[0]}] is {values.iloc[bad[0]]!r}, which is no timestamp ({len(bad)} such of {len(values)}): "
            "write timestamps like '2024-06-18 11:15:00', or convert them with pd.to_datetime(values, format=...)"
        ) from error
    return pd.DatetimeIndex(parsed)


def _check_order(index: pd.DatetimeIndex) -> None:
    if len(index) == 0:
        raise ValueError("history is empty: give at least two timestamps, so that the spacing of the bars is known")
    missing = np.flatnonzero(index.isna())
    if len(missing):
        raise ValueError(
            f"history[{missing[0]}] is missing (NaT), {len(missing)} of {len(index)} are: drop those rows first"
        )
    steps = np.diff(index.asi8)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        pos = int(back[0]) + 1
        what = "repeats" if steps[pos - 1] == 0 else "is earlier than"
        fix = "drop the duplicates" if steps[pos - 1] == 0 else "sort the history by time"
        raise ValueError(f"history[{pos}] ({index[pos]}) {what} history[{pos - 1}] ({index[pos - 1]}): {fix} first")


def _two_from_one(index: pd.DatetimeIndex, calendar_named: bool) -> pd.DatetimeIndex:
    """One stamp tells a step only if its index has a freq, or if a midnight label and a named calendar say daily."""
    offset = index.freq
    if offset is None and calendar_named and index[0] == index[0].normalize():
        offset = pd.offsets.Day(1)
    if offset is None:
        raise ValueError(
            f"history has one timestamp ({index[0]}), so the spacing of its bars is unknown: give at least two, "
            "or a DatetimeIndex with its freq set"
        )
    return pd.DatetimeIndex([index[0] - offset, index[0]]).as_unit(index.unit)


def _after_last_rupture(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Intraday bars after the last pause of two months: what a file holds from years before says little of its week."""
    steps = np.diff(_micros(index))
    ruptures = np.flatnonzero(steps > 60 * DAY)
    if len(ruptures) == 0 or np.median(steps) >= 20 * HOUR or ruptures[-1] + 2 > len(index) - 1:
        return index
    return index[ruptures[-1] + 1 :]


def _frequency(wall: Micros, utc: Micros) -> Frequency:
    steps = np.diff(utc)
    values, counts = np.unique(steps, return_counts=True)
    mode = int(values[np.argmax(counts)])
    if mode < 20 * HOUR:
        return Frequency("intraday", mode)
    if mode <= 28 * HOUR:
        return Frequency("day", DAY)
    if len(steps) <= 2 and mode == 3 * DAY and (wall[0] // DAY + 3) % 7 == 4:
        return Frequency("day", DAY)  # Friday and Monday only: the weekend lies between, the bars are daily
    median = float(np.median(steps)) / DAY
    for code, (shortest, longest, nominal, _) in PERIODS.items():
        if shortest <= median <= longest and steps.max() <= 2.5 * longest * DAY and (code != "W" or _weekly(steps)):
            return Frequency(code, nominal * DAY)
    return Frequency("step", mode)


def _weekly(steps: Micros) -> bool:
    """Weeks add up to seven days over time; bars of five or six days do not."""
    return bool(abs(float(np.mean(np.round(steps / (7 * DAY))) - np.mean(steps) / (7 * DAY))) < 0.1)
