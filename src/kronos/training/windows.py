"""Training windows over a folder of K-line files: which bars, in what proportion, and how they are normalised.

Every batch is determined by (seed, step) alone, so a resumed run draws what an uninterrupted one would have drawn.

Legend: N bars in all, B windows, T bars a window, 6 features, 5 time features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kronos.klines.features import FEATURES, time_features, to_matrix

CLIP = 5.0


class Segment(NamedTuple):
    """A run of clean bars, ``start`` (inclusive) to ``stop`` (exclusive), of one series of one group (file)."""

    start: int
    stop: int
    group: int


@dataclass(frozen=True)
class WindowSettings:
    """How windows are drawn.

    Attributes:
        length: bars a window, T.
        batch: windows a batch, B.
        balance: exponent on a group's number of bars: 1 draws every bar equally often, 0 every group.
        least_lookback: the scale comes from the first part of the window (the lookback), of at least so many bars; the rest
            is the future, as at inference.
        hide_volume: share of windows without volume and amount (paper, section 4.1: 5 %).
    """

    length: int = 512
    batch: int = 16
    balance: float = 0.5
    least_lookback: int = 48
    hide_volume: float = 0.05

    def __post_init__(self) -> None:
        if not 2 <= self.least_lookback <= self.length:
            raise ValueError(f"least_lookback must lie in 2..length ({self.length}), found {self.least_lookback}")
        if self.batch < 1 or not 0 <= self.hide_volume <= 1 or self.balance < 0:
            raise ValueError(f"batch must be at least 1, hide_volume in 0..1, balance at least 0, found {self}")


class Batch(NamedTuple):
    """Normalised bars [B, T, 6], time features [B, T, 5], and the group of each window [B]."""

    bars: Tensor
    stamp: Tensor
    group: np.ndarray


@dataclass
class Corpus:
    """Bars of many series in memory, in segments."""

    names: list[str] = field(default_factory=list)
    bars: np.ndarray = field(default_factory=lambda: np.empty((0, 6), np.float32))
    stamp: np.ndarray = field(default_factory=lambda: np.empty((0, 5), np.uint8))
    segments: list[Segment] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, least: int = 128) -> Corpus:
        """All Parquet files of a folder (long tables: symbol, timestamp, open, ...); a file is a group.

        Series are split, never patched, at bad prices and at jumps between bars (paper, "Cleaning"); segments shorter than
        ``least`` are left out.
        """
        files = sorted(Path(folder).glob("*.parquet"))
        if not files:
            raise ValueError(f"no .parquet file in {folder}")
        corpus, bars, stamps, total = cls(), [], [], 0
        for group, file in enumerate(files):
            corpus.names.append(file.stem)
            for _, series in pd.read_parquet(file).groupby("symbol", sort=False):
                for start, stop in clean_runs(series, least):
                    part = series.iloc[start:stop]
                    bars.append(to_matrix(part[[c for c in FEATURES if c in part.columns]].fillna(0.0)))
                    stamps.append(time_features(part["timestamp"]).astype(np.uint8))
                    corpus.segments.append(Segment(total, total + len(part), group))
                    total += len(part)
        corpus.bars, corpus.stamp = np.concatenate(bars), np.concatenate(stamps)
        return corpus

    def split(self, share: float, least: int) -> tuple[Corpus, Corpus]:
        """The first bars of every segment for training, the last ``share`` of them, at least ``least`` bars, for validation."""
        train, valid = [], []
        for start, stop, group in self.segments:
            cut = stop - max(least, int((stop - start) * share))
            if cut - start >= least:
                train.append(Segment(start, cut, group))
                valid.append(Segment(cut, stop, group))
            else:
                train.append(Segment(start, stop, group))
        return Corpus(self.names, self.bars, self.stamp, train), Corpus(self.names, self.bars, self.stamp, valid)

    def sampler(self, settings: WindowSettings, seed: int = 0) -> Sampler:
        return Sampler(self, settings, seed)


def clean_runs(series: pd.DataFrame, least: int) -> list[tuple[int, int]]:
    """Runs of rows with four positive finite prices in order of time and no jump of 30 % from a close to the next open."""
    prices = series[list(FEATURES[:4])].to_numpy(np.float64)
    good = np.isfinite(prices).all(1) & (prices > 0).all(1) & (prices[:, 1] >= prices[:, 2])
    times = series["timestamp"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        breaks = np.abs(prices[1:, 0] / prices[:-1, 3] - 1) > 0.3
    breaks |= times[1:] <= times[:-1]
    breaks |= ~good[1:] | ~good[:-1]
    edges = np.flatnonzero(np.concatenate(([True], breaks, [True])))
    return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True) if b - a >= least and good[a]]


class Sampler:
    """Draws batches from a corpus; `batch(step)` gives the same windows whenever it is asked for the same step."""

    def __init__(self, corpus: Corpus, settings: WindowSettings, seed: int) -> None:
        self.corpus, self.settings, self.seed = corpus, settings, seed
        usable = [s for s in corpus.segments if s.stop - s.start >= settings.length]
        if not usable:
            raise ValueError(f"no segment of the corpus has {settings.length} bars, the length of a window")
        self.start = np.array([s.start for s in usable])
        self.room = np.array([s.stop - s.start - settings.length + 1 for s in usable])
        self.group = np.array([s.group for s in usable])
        bars_of_group = np.bincount(self.group, weights=self.room)
        weight = (
            self.room
            * np.power(bars_of_group, settings.balance - 1, where=bars_of_group > 0, out=np.zeros_like(bars_of_group))[
                self.group
            ]
        )
        self.cumulative = np.cumsum(weight) / weight.sum()

    def batch(self, step: int) -> Batch:
        """The windows of a step; volume is hidden in some, and each is normalised on a random prefix of it."""
        settings, rng = self.settings, np.random.default_rng((self.seed, step))
        chosen = np.searchsorted(self.cumulative, rng.random(settings.batch), side="right").clip(
            max=len(self.start) - 1
        )
        first = self.start[chosen] + (rng.random(settings.batch) * self.room[chosen]).astype(np.int64)
        rows_BT = first[:, None] + np.arange(settings.length)
        bars_BT6 = self.corpus.bars[rows_BT].astype(np.float64)
        bars_BT6[rng.random(settings.batch) < settings.hide_volume, :, 4:] = 0.0
        lookback = rng.integers(settings.least_lookback, settings.length + 1, settings.batch)
        return Batch(
            torch.from_numpy(normalise_on_prefix(bars_BT6, lookback)),
            torch.from_numpy(self.corpus.stamp[rows_BT].astype(np.int64)),
            self.group[chosen],
        )


def normalise_on_prefix(bars_BT6: np.ndarray, lookback_B: np.ndarray) -> np.ndarray:
    """z-scores by the mean and population deviation of each window's first ``lookback`` bars, clipped; float32 [B, T, 6]."""
    inside_BT1 = (np.arange(bars_BT6.shape[1]) < lookback_B[:, None])[..., None]
    count = lookback_B[:, None, None]
    mean = (bars_BT6 * inside_BT1).sum(1, keepdims=True) / count
    var = (np.square(bars_BT6 - mean) * inside_BT1).sum(1, keepdims=True) / count
    return np.clip((bars_BT6 - mean) / (np.sqrt(var) + 1e-5), -CLIP, CLIP).astype(np.float32)
