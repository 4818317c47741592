"""Plan batches of series and paths that fit in memory.

Legend: P paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from kronos.nn import Kronos

CPU_BATCH = 2**30
"""Bytes a batch takes at most on a CPU; larger ones do not fit the processor's caches and are no faster."""
LEAST_BATCH = 2**26


class Window(NamedTuple):
    """One series: normalised bars [L, 6], time features [L, 5] of the lookback and [K, 5] of the horizon."""

    bars: np.ndarray
    stamp: np.ndarray
    future_stamp: np.ndarray

    @property
    def lookback(self) -> int:
        return len(self.bars)

    @property
    def horizon(self) -> int:
        return len(self.future_stamp)


class PlannedBatch(NamedTuple):
    """Series that are generated together, by their number, and which of their paths."""

    members: list[int]
    paths: slice


def memory_budget(device: torch.device) -> int:
    """Return the default bytes of a batch: most of a GPU's free memory; on a CPU half of it, at most `CPU_BATCH`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(LEAST_BATCH, int(0.8 * free))
    import psutil

    return max(LEAST_BATCH, min(CPU_BATCH, psutil.virtual_memory().available // 2))


def bytes_of(model: Kronos, lookback: int, horizon: int, paths: int) -> int:
    """Estimate the bytes that one series takes in a batch whose window does not slide (checked by `benchmarks/memory.py`).

    Keys and values of the window and of every path, and the larger of what the prefill and what a step compute with: for a bar of
    the window ten vectors and the three of the feed-forward layer, for a path three times its scores and ten numbers a code.
    """
    config = model.config
    per_bar = (config.n_layers + 1) * 2 * config.d_model
    prefill = lookback * (10 * config.d_model + 3 * config.ff_dim)
    scores = 3 * max(config.n_heads, 4) * (lookback + horizon)
    step = paths * (scores + 10 * 2 ** max(config.s1_bits, config.s2_bits))
    return 4 * (per_bar * (lookback + paths * horizon) + max(prefill, step))


def planned_bytes(model: Kronos, lookback: int, horizon: int, paths: int, max_context: int, stride: int = 0) -> int:
    """Estimate the bytes that one series takes in a batch: those of its largest window; one that slides has several.

    Args:
        stride: bars that are dropped beyond need when the window slides (see `generation.engine`).
    """
    steps = min(horizon, max(max_context - lookback, stride) + 1)
    first = bytes_of(model, min(lookback, max_context - steps + 1), steps, paths)
    if horizon <= steps:
        return first
    fewest = (horizon - steps) % (stride + 1) or stride + 1  # the longest window has the fewest steps
    return max(first, paths * bytes_of(model, max_context - fewest + 1, fewest, 1))  # each path reads one of its own


def plan(
    model: Kronos, windows: Sequence[Window], paths: int, max_context: int, memory: int, stride: int = 0
) -> Iterator[PlannedBatch]:
    """Cut the work into batches: series inside the context are padded together, those past it share a lookback.

    A single series that does not fit with all its paths is split into batches of some paths each.

    Args:
        windows: the series.
        paths: paths of each series.
        max_context: bars that the model sees at most.
        memory: bytes that a batch may take, by the estimate of `planned_bytes`.
        stride: bars that are dropped beyond need when the window slides (see `generation.engine`).
    """

    def slides(i: int) -> bool:
        return windows[i].lookback + windows[i].horizon > max_context

    def need(first: int, last: int, count: int, horizon: int) -> int:
        """Memory of ``count`` series, the last of which has the longest lookback."""
        return count * planned_bytes(model, windows[last].lookback, horizon, paths, max_context, stride)

    def belong_together(first: int, last: int, horizon: int) -> bool:
        one, other = windows[first], windows[last]
        if slides(first) or slides(last):
            return (one.lookback, one.horizon) == (other.lookback, other.horizon)
        return other.lookback + horizon <= max_context and other.lookback <= 2 * one.lookback

    def cut(members: list[int], horizon: int) -> Iterator[PlannedBatch]:
        together = paths
        if len(members) == 1:
            together = max(1, min(paths, paths * memory // need(members[0], members[0], 1, horizon)))
        for start in range(0, paths, together):
            yield PlannedBatch(members, slice(start, min(paths, start + together)))

    batch: list[int] = []
    longest = 0
    for i in sorted(range(len(windows)), key=lambda i: (slides(i), windows[i].lookback, windows[i].horizon)):
        horizon = max(longest, windows[i].horizon)
        fits = not batch or (
            belong_together(batch[0], i, horizon) and need(batch[0], i, len(batch) + 1, horizon) <= memory
        )
        if not fits:
            yield from cut(batch, longest)
            batch, horizon = [], windows[i].horizon
        batch.append(i)
        longest = horizon
    if batch:
        yield from cut(batch, longest)
