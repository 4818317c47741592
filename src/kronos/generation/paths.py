"""From windows of any lookback and horizon to sampled paths: batches that fit in memory, and a random stream for each path.

Legend: S series, P paths, L lookback, K horizon, 6 features, 5 time features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from kronos.generation import engine
from kronos.generation.reference import decode_tail
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer

DEFAULT_MEMORY = 2**30
"""Bytes that a batch may take, estimated; more work is cut into several batches."""


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


class Batch(NamedTuple):
    """Series that are generated together, by their number, and which of their paths."""

    members: list[int]
    paths: slice


def uniforms(window: Window, seed: int, paths: slice) -> np.ndarray:
    """Numbers in [0, 1) for each path, step and token: [P, K, 2].

    A path's stream follows from the seed, the series' own content and the path's number, and from nothing else: neither the
    batch a series is in, nor its order, nor how many paths are drawn, changes a path.
    """
    content = hashlib.blake2b(digest_size=16)
    for part in (window.bars.astype(np.float32), window.stamp.astype(np.int64)):
        content.update(np.ascontiguousarray(part).tobytes())
    key = int.from_bytes(content.digest(), "little")
    streams = (
        np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, key, path])))
        for path in range(paths.start, paths.stop)
    )
    return np.stack([stream.random((window.horizon, 2)) for stream in streams])


def bytes_of(model: Kronos, lookback: int, horizon: int, paths: int) -> int:
    """Estimated memory of one series in a batch: caches, activations of the prefill, scores and logits of a step."""
    config = model.config
    per_bar = (config.n_layers + 1) * 2 * config.d_model
    prefill = lookback * (per_bar + 4 * config.ff_dim + 8 * config.d_model)
    scores = 4 * max(config.n_heads, 4) * (lookback + horizon)
    return 4 * (prefill + paths * (horizon * per_bar + scores + 6 * 2 ** max(config.s1_bits, config.s2_bits)))


def plan(model: Kronos, windows: Sequence[Window], paths: int, max_context: int, memory: int) -> Iterator[Batch]:
    """Cut the work into batches: series that stay inside the context are padded together, those that slide share a lookback.

    A single series that does not fit with all its paths gets some of them at a time.
    """

    def slides(i: int) -> bool:
        return windows[i].lookback + windows[i].horizon > max_context

    def belong_together(members: list[int]) -> bool:
        first, last = windows[members[0]], windows[members[-1]]
        if slides(members[0]) or slides(members[-1]):
            return (first.lookback, first.horizon) == (last.lookback, last.horizon)
        widest = last.lookback + max(windows[i].horizon for i in members)
        return widest <= max_context and last.lookback <= 2 * first.lookback

    def need(members: list[int]) -> int:
        if slides(members[0]):  # every path reads a window of its own
            return len(members) * paths * bytes_of(model, max_context, 0, 0)
        lookback, horizon = (
            max(values) for values in zip(*((windows[i].lookback, windows[i].horizon) for i in members), strict=True)
        )
        return len(members) * bytes_of(model, lookback, horizon, paths)

    def cut(members: list[int]) -> Iterator[Batch]:
        together = max(1, min(paths, paths * memory // need(members))) if len(members) == 1 else paths
        for first in range(0, paths, together):
            yield Batch(members, slice(first, min(paths, first + together)))

    batch: list[int] = []
    for i in sorted(range(len(windows)), key=lambda i: (slides(i), windows[i].lookback, windows[i].horizon)):
        joined = [*batch, i]
        if batch and not (belong_together(joined) and need(joined) <= memory):
            yield from cut(batch)
            batch = [i]
        else:
            batch = joined
    if batch:
        yield from cut(batch)


def _left_padded(parts: Sequence[np.ndarray], length: int) -> np.ndarray:
    """[L_i, F] of several series -> [S, length, F], zeros on the left."""
    result = np.zeros((len(parts), length, parts[0].shape[1]), dtype=parts[0].dtype)
    for row, part in zip(result, parts, strict=True):
        row[length - len(part) :] = part
    return result


@torch.inference_mode()
def sample_batch(
    tokenizer: KronosTokenizer,
    model: Kronos,
    windows: Sequence[Window],
    paths: slice,
    max_context: int,
    sampling: Sampling,
    seed: int,
    stride: int,
    progress: engine.Progress | None,
) -> np.ndarray:
    """Normalised float32 [S, P, K, 6] of one batch, K the longest horizon in it."""
    device = next(model.parameters()).device
    lookback, horizon = max(w.lookback for w in windows), max(w.horizon for w in windows)
    count = paths.stop - paths.start
    hidden = None
    if any(w.lookback != lookback for w in windows):
        lengths = torch.tensor([w.lookback for w in windows], device=device)
        hidden = torch.arange(lookback, device=device)[None] < (lookback - lengths)[:, None]
    bars = torch.from_numpy(_left_padded([w.bars.astype(np.float32) for w in windows], lookback)).to(device)
    past = _left_padded([w.stamp for w in windows], lookback)
    # A shorter horizon is filled up with its last stamp; what comes after it is cut off again.
    future = np.stack([np.pad(w.future_stamp, ((0, horizon - w.horizon), (0, 0)), mode="edge") for w in windows])
    stamp = torch.from_numpy(np.concatenate((past, future), axis=1)).long().to(device)
    random = np.zeros((len(windows), count, horizon, 2))
    if not sampling.greedy:
        for row, window in zip(random, windows, strict=True):
            row[:, : window.horizon] = uniforms(window, seed, paths)
    s1, s2 = tokenizer.encode(bars, half=True, padding_mask=hidden)
    numbers = torch.from_numpy(random.reshape(-1, horizon, 2)).to(device)
    new1, new2 = engine.generate_tokens(model, s1, s2, stamp, numbers, max_context, sampling, hidden, stride, progress)
    if horizon < max_context:
        out = engine.decode_suffix(tokenizer, s1, s2, new1, new2, max_context, hidden)
    else:
        whole1, whole2 = (
            torch.cat((old.repeat_interleave(count, 0), new), dim=1) for old, new in ((s1, new1), (s2, new2))
        )
        out = decode_tail(tokenizer, whole1, whole2, horizon, max_context)[:, -horizon:]
    return out.unflatten(0, (len(windows), count)).float().cpu().numpy()


def sample_paths(
    tokenizer: KronosTokenizer,
    model: Kronos,
    windows: Sequence[Window],
    paths: int,
    max_context: int,
    sampling: Sampling,
    seed: int,
    *,
    stride: int = 0,
    memory: int | None = None,
    verbose: bool = False,
) -> list[np.ndarray]:
    """Sample paths of many series, of any lookbacks and horizons.

    Args:
        seed: at least 0. The same seed gives a series the same paths, alone or in any batch.
        stride: see `generation.engine`; 0 gives the reference's numbers past the context.
        memory: bytes that a batch may take; None takes `DEFAULT_MEMORY`.
        verbose: show progress, in steps of a batch.

    Returns:
        For each series float32 [paths, K, 6], normalised.
    """
    from tqdm.auto import tqdm

    results = [np.empty((paths, window.horizon, 6), dtype=np.float32) for window in windows]
    batches = list(plan(model, windows, paths, max_context, DEFAULT_MEMORY if memory is None else memory))
    total = sum(max(windows[i].horizon for i in batch.members) for batch in batches)
    with tqdm(total=total, desc="forecasting", unit="step", disable=not verbose, leave=False) as bar:
        for batch in batches:
            part = [windows[i] for i in batch.members]
            drawn = sample_batch(tokenizer, model, part, batch.paths, max_context, sampling, seed, stride, bar.update)
            for i, series in zip(batch.members, drawn, strict=True):
                results[i][batch.paths] = series[:, : windows[i].horizon]
    return results
