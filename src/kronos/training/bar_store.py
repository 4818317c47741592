"""Store of the bars of many series as flat arrays, in memory or memory-mapped, from which training windows are cut.

On disk a store is a folder of NumPy files and an index in JSON; several processes map the same files, and nothing is read before
it is needed.

Legend: N bars in all, 6 features, 5 time features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.io.atomic import whole_folder, write_file
from kronos.klines.features import time_features, to_matrix
from kronos.schema import FEATURES

ARRAYS = ("bars", "stamp", "times", "segments")
INDEX = "index.json"


class Segment(NamedTuple):
    """Bars without a break, from ``start`` (inclusive) to ``stop`` (exclusive), of one group."""

    start: int
    stop: int
    group: int


@dataclass
class Store:
    """Store of bars [N, 6] float32 (open, high, low, close, volume, amount), time features [N, 5] uint8, times [N] in ns.

    ``segments`` are the spans of consecutive bars; ``names`` are those of the groups: symbols, or markets.
    """

    names: list[str] = field(default_factory=list)
    bars: np.ndarray = field(default_factory=lambda: np.empty((0, 6), np.float32))
    stamp: np.ndarray = field(default_factory=lambda: np.empty((0, 5), np.uint8))
    times: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    segments: list[Segment] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Iterable[tuple[str, pd.DataFrame]]) -> Store:
        """Make it from tables of consecutive bars with a ``timestamp`` column, each with the name of its group.

        A missing volume is zero.

        Raises:
            ValueError: there is no run.
        """
        names: dict[str, int] = {}
        bars, stamps, times, segments, total = [], [], [], [], 0
        for name, table in runs:
            group = names.setdefault(str(name), len(names))
            bars.append(to_matrix(table[[c for c in FEATURES if c in table.columns]].fillna(0.0)).astype(np.float32))
            stamps.append(time_features(table["timestamp"]).astype(np.uint8))
            times.append(table["timestamp"].to_numpy("datetime64[ns]").astype(np.int64))
            segments.append(Segment(total, total + len(table), group))
            total += len(table)
        if not bars:
            raise ValueError("no series to make a store of")
        return cls(list(names), np.concatenate(bars), np.concatenate(stamps), np.concatenate(times), segments)

    def save(self, folder: Path) -> Path:
        """Write the arrays as files of a folder, which appears when all are written and replaces an older one."""
        folder = Path(folder)
        with whole_folder(folder) as temporary:
            for name in ARRAYS:
                np.save(temporary / f"{name}.npy", np.asarray(getattr(self, name)))
            write_file(temporary / INDEX, json.dumps({"version": 1, "names": self.names}).encode())
        return folder

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Map a saved store.

        Raises:
            ValueError: the folder is no store.
        """
        folder = Path(folder)
        try:
            index = json.loads((folder / INDEX).read_text())
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} is no store of bars: {error}") from error
        segments = [Segment(*row) for row in arrays.pop("segments").tolist()]
        return cls(index["names"], segments=segments, **arrays)

    def span(self) -> tuple[str, str]:
        """First and last day of the bars."""
        ends = self.times[[i for s in self.segments for i in (s.start, s.stop - 1)]]
        return str(pd.Timestamp(ends.min()).date()), str(pd.Timestamp(ends.max()).date())

    def digest(self) -> str:
        """Return a hash of groups and segments, and of the first and last bar of each segment."""
        edges = [i for s in self.segments for i in (s.start, s.stop - 1)]
        content = hashlib.sha256(json.dumps([self.names, self.segments]).encode())
        content.update(self.times[edges].tobytes() + self.bars[edges].tobytes())
        return content.hexdigest()

    def part(self, segments: list[Segment]) -> Store:
        """Return a store of the same bars with other segments."""
        return Store(self.names, self.bars, self.stamp, self.times, segments)

    def split(self, share: float, least: int) -> tuple[Store, Store]:
        """Split every segment: the first bars for training, the last ``share``, at least ``least`` bars, for validation."""
        train, valid = [], []
        for start, stop, group in self.segments:
            cut = stop - max(least, int((stop - start) * share))
            if cut - start >= least:
                train.append(Segment(start, cut, group))
                valid.append(Segment(cut, stop, group))
            else:
                train.append(Segment(start, stop, group))
        return self.part(train), self.part(valid)
