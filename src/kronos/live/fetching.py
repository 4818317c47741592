"""Fetch the missing candles of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kronos.live.candles import Candles, read_candles
from kronos.live.gaps import Gap, find_gaps
from kronos.live.intervals import Interval, missing
from kronos.live.source import Source

DEFAULT_BARS = 1_000
CONFIRMED = 50
"""Gaps at most that are requested a second time after a fetch."""
KEPT_GAPS = 1_000
"""Gaps at most that are listed in the file's metadata; their number is always there."""

Progress = Callable[[pd.Timestamp, int], None]


class FetchReport(NamedTuple):
    """Result of a fetch.

    Attributes:
        bars: number of bars in the file.
        new: bars added by this fetch.
        revised: bars whose close the source has changed since they were fetched.
        first, last: times of the first and last bar, in the source's zone.
        unfinished: bars left out because they can still change.
        gaps: see `kronos.live.gaps`.
    """

    path: Path
    bars: int
    new: int
    revised: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    unfinished: int
    gaps: list[Gap]
    notes: list[str]


def fetch(
    source: Source,
    path: Path,
    since: pd.Timestamp | None = None,
    until: pd.Timestamp | None = None,
    progress: Progress = lambda at, bars: None,
    bars: int = DEFAULT_BARS,
) -> FetchReport:
    """Bring a file up to date with its source.

    The unfinished last bar is left out. Bars that were received are written even if the source fails later.

    Args:
        path: the file.
        since: first time, UTC; default the begin of the file, or about ``bars`` bars ago.
        until: last time, UTC; default now.

    Raises:
        ValueError: the file holds other bars, the source has none in the span, or the span is empty.
        ConnectionError: the source could not be reached, however often it was tried.
    """
    about = {name: getattr(source, name) for name in ("symbol", "tz", "adjustment", "stamp", "library")}
    about |= {"source": source.name, "timeframe": source.timeframe.text}
    candles = read_candles(path, about)
    now = source.now()
    end = now if until is None else min(until, now)
    start = since if since is not None else _default_start(candles, source, end, bars)
    if not start < end:
        raise ValueError(f"nothing to fetch: the span from {start} to {end} is empty")
    work = _Work(source, candles, now, progress)
    earliest = source.earliest(start, now)
    notes = []
    if earliest > start:
        notes.append(
            f"{source.name} has {source.timeframe.text} bars only from {earliest.date()} on; earlier ones cannot be had"
        )
    try:
        work.fill(Interval(earliest, end))
    finally:
        if work.new or work.revised:
            _note_gaps(candles, source)
            candles.write(path)
    if not len(candles.bars):
        raise ValueError(f"{source.name} has no {source.timeframe.text} bar between {start} and {end}")
    gaps = _note_gaps(candles, source)
    candles.write(path)
    ends = pd.DatetimeIndex(candles.bars["timestamps"]).tz_convert(source.tz)[[0, -1]]
    if ends[0] > earliest + source.timeframe.length * (1 if source.continuous else 7) and since is not None:
        notes.append(f"there is no bar between {earliest.tz_convert(source.tz)}, as asked, and the first one")
    return FetchReport(path, len(candles.bars), work.new, work.revised, ends[0], ends[1], work.unfinished, gaps, notes)


def _default_start(candles: Candles, source: Source, end: pd.Timestamp, bars: int) -> pd.Timestamp:
    if candles.covered and (bars == DEFAULT_BARS or len(candles.bars) >= bars):
        return candles.covered[0].start
    pauses = 1 if source.continuous else 6 if source.timeframe.intraday else 1.5
    return end - source.timeframe.length * bars * pauses


def _note_gaps(candles: Candles, source: Source) -> list[Gap]:
    """Record gaps and fetched spans. After the last bar no span counts as fetched, since the source may be late."""
    if len(candles.bars) and candles.covered:
        ends = source.timeframe.after(pd.DatetimeIndex(candles.bars["timestamps"].iloc[-1:]))[0]
        last = candles.covered[-1]
        candles.covered[-1] = Interval(last.start, max(last.start, min(last.end, ends)))
    gaps = find_gaps(candles, source)
    candles.about["gaps"] = [[str(gap.first), str(gap.last), gap.bars] for gap in gaps[:KEPT_GAPS]]
    candles.about["gaps_in_all"] = len(gaps)
    return gaps


class _Work:
    """Fetch of one file, with counts of its bars."""

    def __init__(self, source: Source, candles: Candles, now: pd.Timestamp, progress: Progress) -> None:
        self.source, self.candles, self.now, self.progress = source, candles, now, progress
        self.new = self.revised = self.unfinished = 0

    def fill(self, wanted: Interval) -> None:
        """Fetch the missing parts of a span; everything again where adjusted prices have changed."""
        for part in missing(wanted, self.candles.covered):
            self._ask(part)
        if self.revised and self.source.adjusted:
            spans = [*self.candles.covered, wanted]
            whole = Interval(min(s.start for s in spans), max(s.end for s in spans))
            self.candles.bars, self.candles.covered = self.candles.bars.iloc[:0], []
            self._ask(whole)
        if self.new:
            for gap in find_gaps(self.candles, self.source)[:CONFIRMED]:
                try:
                    self._ask(Interval(gap.first.tz_convert("UTC"), gap.last.tz_convert("UTC") + self._one()))
                except (ConnectionError, ValueError):
                    break  # all is here that could be had; the gaps are reported

    def _one(self) -> pd.Timedelta:
        return max(self.source.timeframe.length, pd.Timedelta(0 if self.source.continuous else 1, "D"))

    def _ask(self, part: Interval) -> None:
        """Request a span, with the last known bar before it, to detect whether the source has changed that bar."""
        start = part.start
        before = self.candles.bars["timestamps"]
        before = before[before < start]
        if len(before) and start - before.iloc[-1] <= 10 * self._one():
            start = before.iloc[-1]
        for page in self.source.pages(start, part.end):
            times = pd.DatetimeIndex(page.bars["timestamps"])
            done = self.source.finished(times, self.now)
            bars = page.bars[done.to_numpy() & (times < part.end)]
            self.unfinished = max(self.unfinished, int((~done).sum()))
            # What is recent is asked for again the next time: a bar may come late, or be unfinished now.
            stop = min(page.end, part.end, self.now - self._one())
            if not done.all():
                stop = min(stop, times[~done.to_numpy()].min())
            new, revised = self.candles.add(bars, Interval(page.start, stop))
            self.new, self.revised = self.new + new, self.revised + revised
            self.progress(stop, new)
