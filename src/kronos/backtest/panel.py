"""Panel of all windows that signals are forecast from, cut from flat arrays without a data frame in the loop.

Legend: N bars of all symbols, W windows, L lookback, H horizon, 6 features, 5 time features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.calendars import future_timestamps
from kronos.generation.batch_plan import Window
from kronos.klines.features import time_features, to_matrix
from kronos.klines.normalize import Normalizer
from kronos.klines.time_splits import COLUMNS
from kronos.schema import CLOSE, FEATURES

PATTERN = 500
"""Latest times of the calendar from which its continuation is inferred."""


class Chunk(NamedTuple):
    """Normalised windows of some whole days, and the constants that map their forecast back."""

    windows: list[Window]
    day: np.ndarray
    """Times [W] datetime64."""
    symbol: np.ndarray
    """Names [W]."""
    last: np.ndarray
    """Last observed close [W], float64 in prices."""
    last_z: np.ndarray
    """Last observed close [W], normalised and not clipped."""
    std: np.ndarray
    """Standard deviation of close over the lookback [W] in prices, plus the constant that normalisation adds."""
    positive: np.ndarray
    """Whether all prices of the lookback are positive [W]."""


@dataclass(frozen=True)
class Panel:
    """Bars of many symbols as flat arrays, and the last bars of all full lookbacks, by day, from which forecasts are made."""

    bars_N6: np.ndarray
    stamp_N5: np.ndarray
    times_N: np.ndarray
    closes_N: np.ndarray
    symbols_N: np.ndarray
    ends: np.ndarray
    """Rows of the last bars of lookbacks, sorted by day, then by symbol."""
    future_stamp: dict[int, np.ndarray]
    """Time features [H, 5] of the horizon after each day, by the day's nanoseconds."""
    lookback: int

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        calendar: pd.DatetimeIndex,
        lookback: int,
        horizon: int,
        first: pd.Timestamp,
        last: pd.Timestamp,
    ) -> Panel:
        """Make it from a long table (the columns of `time_splits.COLUMNS`, sorted by symbol and time) and the market's calendar.

        A symbol has a window on a day if it has a bar on that day and ``lookback`` bars up to it. The horizon's times are the next
        ones of the calendar; after its end its pattern is continued.

        Raises:
            ValueError: columns are missing, a bar's day is not in the calendar, or there is no window between the dates.
        """
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing:
            raise ValueError(f"the table of bars lacks {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
        times = pd.DatetimeIndex(table["timestamp"]).as_unit("ns")
        codes, names = pd.factorize(table["symbol"])
        starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        position = np.arange(len(table)) - np.repeat(starts, np.diff(np.append(starts, len(table))))
        inside = (times >= first) & (times <= last) & (position >= lookback - 1)
        ends = np.flatnonzero(inside)
        if not len(ends):
            raise ValueError(
                f"no symbol has {lookback} bars up to a day between {first.date()} and {last.date()}; the bars go from "
                f"{times.min()} to {times.max()}"
            )
        ends = ends[np.lexsort((codes[ends], times.asi8[ends]))]
        return cls(
            to_matrix(table[list(FEATURES)]),
            time_features(times).astype(np.uint8),
            times.asi8,
            table["close"].to_numpy(np.float64),
            np.asarray(names, dtype=object)[codes],
            ends,
            _future_stamps(times[np.unique(ends)].unique(), calendar.as_unit("ns"), horizon),
            lookback,
        )

    def chunks(self, batch: int) -> list[np.ndarray]:
        """Cut the rows of `ends` into whole days, as many as give at least ``batch`` windows together."""
        days = self.times_N[self.ends]
        edges = np.flatnonzero(np.concatenate(([True], days[1:] != days[:-1], [True])))
        cuts = [0]
        for edge in edges[1:]:
            if edge - cuts[-1] >= batch:
                cuts.append(int(edge))
        if cuts[-1] != len(days):
            cuts.append(len(days))
        return [self.ends[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]

    def take(self, ends: np.ndarray, clip: float) -> Chunk:
        """Cut and normalise the windows that end at these rows, each by its own lookback, clipped to [-clip, clip]."""
        rows_WL = ends[:, None] + np.arange(1 - self.lookback, 1)
        bars_WL6 = self.bars_N6[rows_WL]
        scales = [Normalizer.of(bars) for bars in bars_WL6]
        stamp_WL5 = self.stamp_N5[rows_WL].astype(np.int64)
        days = self.times_N[ends]
        windows = [
            Window(scale.normalise(bars, clip), stamp, self.future_stamp[day])
            for scale, bars, stamp, day in zip(scales, bars_WL6, stamp_WL5, days.tolist(), strict=True)
        ]
        return Chunk(
            windows,
            days.astype("datetime64[ns]"),
            self.symbols_N[ends],
            self.closes_N[ends],
            np.array([scale.normalise(bars[-1], np.inf)[CLOSE] for scale, bars in zip(scales, bars_WL6, strict=True)]),
            np.array([scale.in_prices[CLOSE] for scale in scales]),
            bars_WL6[..., :4].min(axis=(1, 2)) > 0,
        )

    def digest(self) -> str:
        """Return a hash that changes with any bar, time, symbol or day to forecast."""
        content = hashlib.blake2b(digest_size=16)
        for array in (self.bars_N6, self.times_N, self.ends, self.closes_N):
            content.update(np.ascontiguousarray(array).tobytes())
        content.update("\n".join(map(str, self.symbols_N[self.ends])).encode())
        for day, stamp in sorted(self.future_stamp.items()):
            content.update(str(day).encode() + stamp.tobytes())
        return content.hexdigest()

    def __iter__(self) -> Iterator[tuple[str, pd.Timestamp]]:
        """Iterate over symbol and day of every window, in order."""
        for end in self.ends:
            yield str(self.symbols_N[end]), pd.Timestamp(self.times_N[end])


def _future_stamps(days: pd.DatetimeIndex, calendar: pd.DatetimeIndex, horizon: int) -> dict[int, np.ndarray]:
    known = pd.Index(calendar)
    places = known.get_indexer(days)
    if (places < 0).any():
        raise ValueError(f"the bars have a time that is not in the calendar: {days[places < 0][0]}")
    beyond = int(places.max()) + 1 + horizon - len(calendar)
    if beyond > 0:
        ahead = future_timestamps(calendar[-PATTERN:], beyond)
        calendar = pd.DatetimeIndex([*calendar, *ahead]).as_unit("ns")
    stamps = time_features(calendar)
    return {
        int(day): stamps[place + 1 : place + 1 + horizon] for day, place in zip(days.asi8, places.tolist(), strict=True)
    }
