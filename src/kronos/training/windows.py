"""Training windows over a store: how they are drawn, balanced and normalised.

The windows of a step follow from seed, step and part alone, so that a resumed run draws the same windows as an uninterrupted
one, and no two processes draw the same part.

Legend: B windows, T bars a window, 6 features, 5 time features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kronos.klines.normalize import Normalizer
from kronos.schema import CLOSE, HIGH, LOW, OPEN
from kronos.training.bar_store import Store

CLIP = 5.0


@dataclass(frozen=True)
class WindowSettings:
    """Settings of how windows are drawn for training from random weights.

    Attributes:
        length: bars a window, T.
        batch: windows a batch, B.
        balance: exponent on a group's number of bars: 1 draws every bar equally often, 0 every group.
        least_lookback: the scale comes from the first part of the window (the lookback), of at least so many bars; the rest
            is the future, as at inference.
        hide_volume: share of windows without volume and amount (paper, section 4.1: 5 %).
        hide_amount: share of windows with volume and without amount.
    """

    length: int = 512
    batch: int = 16
    balance: float = 0.5
    least_lookback: int = 48
    hide_volume: float = 0.05
    hide_amount: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= self.least_lookback <= self.length:
            raise ValueError(f"least_lookback must lie in 2..length ({self.length}), found {self.least_lookback}")
        hidden = (self.hide_volume, self.hide_amount)
        if self.batch < 1 or min(hidden) < 0 or sum(hidden) > 1 or self.balance < 0:
            raise ValueError(
                "batch must be at least 1, hide_volume and hide_amount in 0..1 and together at most 1, balance at least 0, "
                f"found {self}"
            )


class TrainingBatch(NamedTuple):
    """Batch of windows: normalised bars [B, T, 6], time features [B, T, 5], and the group of each window [B]."""

    bars: Tensor
    stamp: Tensor
    group: np.ndarray


class Sampler:
    """Sampler of windows with replacement, with random lookbacks; `batch(step)` always gives the same windows for a step."""

    def __init__(self, store: Store, settings: WindowSettings, seed: int) -> None:
        self.store, self.settings, self.seed = store, settings, seed
        usable = [s for s in store.segments if s.stop - s.start >= settings.length]
        if not usable:
            raise ValueError(f"no segment of the store has {settings.length} bars, the length of a window")
        self.start = np.array([s.start for s in usable])
        self.start_count = np.array([s.stop - s.start - settings.length + 1 for s in usable])
        self.group = np.array([s.group for s in usable])
        bars_of_group = np.bincount(self.group, weights=self.start_count)
        share = np.power(bars_of_group, settings.balance - 1, where=bars_of_group > 0, out=np.zeros_like(bars_of_group))
        weight = self.start_count * share[self.group]
        self.cumulative = np.cumsum(weight) / weight.sum()

    def batch(self, step: int, part: int = 0, parts: int = 1) -> TrainingBatch:
        """Draw the windows of a step, or a part of them; volume is hidden in some, and each is normalised on a random prefix."""
        settings, rng = self.settings, np.random.default_rng((self.seed, step))
        chosen = np.searchsorted(self.cumulative, rng.random(settings.batch), side="right").clip(
            max=len(self.start) - 1
        )
        first = self.start[chosen] + (rng.random(settings.batch) * self.start_count[chosen]).astype(np.int64)
        draw_B = rng.random(settings.batch)
        no_volume = draw_B < settings.hide_volume
        no_amount = draw_B < settings.hide_volume + settings.hide_amount
        lookback = rng.integers(settings.least_lookback, settings.length + 1, settings.batch)
        mine = slice(settings.batch * part // parts, settings.batch * (part + 1) // parts)
        rows_BT = first[mine, None] + np.arange(settings.length)
        bars_BT6 = self.store.bars[rows_BT].astype(np.float64)
        bars_BT6[no_volume[mine], :, 4:] = 0.0
        bars_BT6[no_amount[mine], :, 5:] = 0.0
        return TrainingBatch(
            torch.from_numpy(normalise_on_prefix(bars_BT6, lookback[mine])),
            torch.from_numpy(self.store.stamp[rows_BT].astype(np.int64)),
            self.group[chosen[mine]],
        )


class Windows:
    """All windows of one lookback and horizon of a store, by number; the scale of each comes from its lookback alone."""

    def __init__(self, store: Store, lookback: int, horizon: int, clip: float = CLIP) -> None:
        self.store, self.lookback, self.horizon, self.clip = store, lookback, horizon, clip
        self.length = lookback + horizon
        firsts = [np.arange(s.start, s.stop - self.length + 1) for s in store.segments]
        groups = [np.full(len(f), s.group) for f, s in zip(firsts, store.segments, strict=True)]
        self.first = np.concatenate([np.empty(0, np.int64), *firsts])
        self.group = np.concatenate([np.empty(0, np.int64), *groups])

    def __len__(self) -> int:
        return len(self.first)

    def raw(self, numbers: np.ndarray) -> np.ndarray:
        """Return the bars of windows in prices, [B, T, 6] float64."""
        return self.store.bars[self.first[numbers][:, None] + np.arange(self.length)].astype(np.float64)

    def take(self, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return normalised bars [B, T, 6] float32 and time features [B, T, 5] int64 of the windows with these numbers."""
        rows_BT = self.first[numbers][:, None] + np.arange(self.length)
        bars = normalise_on_prefix(
            self.store.bars[rows_BT].astype(np.float64), np.full(len(numbers), self.lookback), self.clip
        )
        return torch.from_numpy(bars), torch.from_numpy(self.store.stamp[rows_BT].astype(np.int64))

    def spread(self, count: int) -> np.ndarray:
        """Return at most ``count`` window numbers, evenly spread over all windows; always the same ones."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64))


class Order:
    """Endless shuffled order of windows with random access to its positions.

    Every window occurs once before any is repeated; if balanced, every group occurs equally often, with a random window of it.
    """

    def __init__(self, windows: Windows, seed: int, balanced: bool = False) -> None:
        if not len(windows):
            raise ValueError(
                f"no series has {windows.length} bars without a break, which a window of lookback {windows.lookback} and "
                f"horizon {windows.horizon} takes: give longer series, or a shorter lookback"
            )
        self.windows, self.seed, self.balanced = windows, seed, balanced
        self._cycle, self._shuffled = -1, np.empty(0, np.int64)
        if balanced:  # windows lie sorted by segment, not by group
            self._by_group = np.argsort(windows.group, kind="stable")
            _, self._starts, self._counts = np.unique(
                windows.group[self._by_group], return_index=True, return_counts=True
            )

    def numbers(self, first: int, count: int) -> np.ndarray:
        """Return the window numbers at positions ``first`` to ``first + count``."""
        if self.balanced:
            draws = np.array([np.random.default_rng((self.seed, i)).random(2) for i in range(first, first + count)])
            group = (draws[:, 0] * len(self._counts)).astype(np.int64)
            inside = (draws[:, 1] * self._counts[group]).astype(np.int64)
            return self._by_group[self._starts[group] + inside]
        total, parts = len(self.windows), []
        while count:
            cycle, at = divmod(first, total)
            if cycle != self._cycle:
                self._cycle = cycle
                self._shuffled = np.random.default_rng((self.seed, cycle)).permutation(total)
            parts.append(self._shuffled[at : at + count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)


def upside_down(bars_BT6: Tensor) -> Tensor:
    """Return normalised windows [B, T, 6] with prices that fall where they rose; high and low change places, volume stays.

    Trained on in both forms, a model cannot learn the trend of the training years, which the years after it need not have.
    """
    return torch.cat((-bars_BT6[..., [OPEN, LOW, HIGH, CLOSE]], bars_BT6[..., CLOSE + 1 :]), dim=-1)


def normalise_on_prefix(bars_BT6: np.ndarray, lookback_B: np.ndarray, clip: float = CLIP) -> np.ndarray:
    """Return z-scores by mean and population deviation of each window's first ``lookback`` bars, clipped; float32 [B, T, 6]."""
    return Normalizer.of_prefix(bars_BT6, lookback_B).normalise(bars_BT6, clip).astype(np.float32)
