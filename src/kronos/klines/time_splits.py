"""Splitting many series by time into training, validation and test, without a bar of one part being a target of another.

A *target* is a bar that a part may forecast. Behind its first target a part also holds the bars to look back on: they are
targets of the part before, which is no leak, as they are only ever read as the past.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.schema import FEATURES

PARTS = ("train", "val", "test")
COLUMNS = ("symbol", "timestamp", *FEATURES)
FEW_DATES = 30
"""With fewer dates than this a table is cut between bars instead of between days."""

Time = str | dt.date | pd.Timestamp
Ranges = Mapping[str, tuple[Time, Time] | Sequence[Time]]


class Dropped(NamedTuple):
    """A symbol that a part is without: how many rows it had there, and why that is not enough."""

    part: str
    symbol: str
    rows: int
    reason: str


@dataclass(frozen=True)
class Splits:
    """What `split_by_time` gives.

    Attributes:
        parts: a long table a part, in the columns and the order of the whole one.
        dropped: symbols that were left out of a part.
        targets: for each part, which rows of its table are targets, bool [rows].
        ranges: first and last time of each part's targets, inclusive.
        lookback: bars before the first target that a part holds (the first part holds none).
    """

    parts: dict[str, pd.DataFrame]
    dropped: list[Dropped]
    targets: dict[str, np.ndarray]
    ranges: dict[str, tuple[pd.Timestamp, pd.Timestamp]]
    lookback: int

    def check(self) -> None:
        """See that no target is shared and that targets of a later part are later than all of an earlier one.

        Raises:
            ValueError: the first clash, with the symbol and the time.
        """
        seen: dict[str, pd.DataFrame] = {}
        for part, table in self.parts.items():
            mine = table.loc[self.targets[part], ["symbol", "timestamp"]]
            for other, theirs in seen.items():
                both = mine.merge(theirs, on=["symbol", "timestamp"])
                if len(both):
                    clash = both.iloc[0]
                    raise ValueError(
                        f"the bar of {clash['symbol']} at {clash['timestamp']} is a target in {other} and in {part} "
                        f"({len(both)} such bars): let {part} begin after {other} ends"
                    )
                if len(mine) and len(theirs) and mine["timestamp"].min() <= theirs["timestamp"].max():
                    first = mine.iloc[int(mine["timestamp"].argmin())]
                    raise ValueError(
                        f"the bar of {first['symbol']} at {first['timestamp']} is a target in {part}, but {other} has targets "
                        f"up to {theirs['timestamp'].max()}: let {part} begin after {other} ends"
                    )
            seen[part] = mine

    def report(self) -> list[dict[str, object]]:
        """A line a part: symbols, rows and targets kept, their first and last time, symbols dropped."""
        lines: list[dict[str, object]] = []
        for part, table in self.parts.items():
            times = table["timestamp"][self.targets[part]]
            lines.append(
                {
                    "part": part,
                    "symbols": int(table["symbol"].nunique()),
                    "rows": len(table),
                    "targets": int(self.targets[part].sum()),
                    "first": str(times.min()) if len(times) else None,
                    "last": str(times.max()) if len(times) else None,
                    "dropped": sum(entry.part == part for entry in self.dropped),
                }
            )
        return lines


def split_by_time(table: pd.DataFrame, ranges: Ranges, lookback: int, least: int) -> Splits:
    """Cut a long table by time.

    Args:
        table: symbol, timestamp, open, high, low, close, volume, amount; sorted by symbol and time. Never changed.
        ranges: for each part, in order of time, the first and the last time of its targets, inclusive. A date without a time
            of day means the whole day.
        lookback: bars of a symbol before its first target that a part also holds; the first part holds none.
        least: a symbol with fewer rows than this in a part is left out of it.

    Raises:
        ValueError: columns are missing, rows are not sorted, or a range is reversed. Overlaps are found by `Splits.check`.
    """
    _check_table(table)
    table = table.reset_index(drop=True)
    zone = getattr(table["timestamp"].dtype, "tz", None)
    bounds = {part: _bounds(part, pair, zone) for part, pair in ranges.items()}
    codes, names = pd.factorize(table["symbol"])
    starts = np.searchsorted(codes, np.arange(len(names)))
    stops = np.append(starts[1:], len(table))
    parts, targets, dropped = {}, {}, []
    for number, (part, (first, last)) in enumerate(bounds.items()):
        inside = ((table["timestamp"] >= first) & (table["timestamp"] <= last)).to_numpy()
        before = np.concatenate(([0], np.cumsum(inside)))
        keep = np.zeros(len(table), dtype=bool)
        for name, start, stop in zip(names, starts, stops, strict=True):
            count = int(before[stop] - before[start])
            begin = int(np.searchsorted(before, before[start], side="right")) - 1 if count else int(stop)
            end = begin + count
            if number > 0:
                begin = max(int(start), begin - lookback)
            rows = end - begin if count else 0
            if rows >= least:
                keep[begin:end] = True
            else:
                why = "no rows in its range" if not count else f"{rows} rows, lookback among them; {least} are needed"
                dropped.append(Dropped(part, str(name), rows, why))
        parts[part] = table[keep].reset_index(drop=True)
        targets[part] = inside[keep]
    return Splits(parts, dropped, targets, bounds, lookback)


def cut_dates(
    table: pd.DataFrame, shares: Sequence[float] = (0.7, 0.15, 0.15)
) -> dict[str, tuple[pd.Timestamp, pd.Timestamp]]:
    """Ranges for `split_by_time` where none are given: the dates of all symbols together, cut by ``shares``.

    All symbols are cut at the same dates. A table of few dates is cut between timestamps instead.

    Raises:
        ValueError: shares do not add up to 1, or there are too few times to cut.
    """
    if (
        len(shares) != len(PARTS)
        or any(share <= 0 for share in shares)
        or not math.isclose(sum(shares), 1, abs_tol=1e-6)
    ):
        raise ValueError(f"shares must be three positive numbers that add up to 1, found {tuple(shares)}")
    stamps = pd.DatetimeIndex(table["timestamp"].unique()).sort_values()
    days = stamps.normalize().unique()
    times = days if len(days) >= FEW_DATES else stamps
    if len(times) < len(PARTS):
        raise ValueError(f"{len(times)} different times cannot be cut into {', '.join(PARTS)}: give more bars")
    ends = np.round(np.cumsum(shares) * len(times)).astype(int)
    ends = np.array([min(max(end, number + 1), len(times) - 2 + number) for number, end in enumerate(ends)])
    begins = np.concatenate(([0], ends[:-1]))
    whole_day = pd.Timedelta(days=1) - pd.Timedelta(1, unit="ns") if times is days else pd.Timedelta(0)
    return {
        part: (times[begin], times[end - 1] + whole_day) for part, begin, end in zip(PARTS, begins, ends, strict=True)
    }


def _check_table(table: pd.DataFrame) -> None:
    missing = [name for name in ("symbol", "timestamp") if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    codes, _ = pd.factorize(table["symbol"])
    times = table["timestamp"].to_numpy("datetime64[ns]").astype(np.int64)
    same = codes[1:] == codes[:-1]
    bad = (codes[1:] < codes[:-1]) | (same & (times[1:] <= times[:-1]))
    if bad.any():
        row = int(np.argmax(bad)) + 1
        raise ValueError(
            f"the table must be sorted by symbol and time, each time once: row {row} ({table['symbol'].iloc[row]} at "
            f"{table['timestamp'].iloc[row]}) is out of order"
        )


def _bounds(
    part: str, pair: tuple[Time, Time] | Sequence[Time], zone: dt.tzinfo | None
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last time, in the table's zone; a last date without a time of day lasts until its end."""
    if isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"the range of {part} must be two times, found {pair!r}")
    first, last = (pd.Timestamp(time) for time in pair)
    if not isinstance(pair[1], pd.Timestamp) and not isinstance(pair[1], dt.datetime) and last == last.normalize():
        last += pd.Timedelta(days=1) - pd.Timedelta(1, unit="ns")
    if zone is not None:
        first, last = (time.tz_localize(zone) if time.tz is None else time.tz_convert(zone) for time in (first, last))  # type: ignore[arg-type]
    if first > last:
        raise ValueError(f"the range of {part} is reversed: it begins {first} and ends {last}")
    return first, last
