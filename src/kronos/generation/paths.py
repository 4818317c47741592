"""Sample paths of windows of any lookback and horizon, in batches that fit in memory, with a random stream for each path.

Legend: S series, P paths, L lookback, K horizon, 6 features, 5 time features.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from kronos.generation import engine
from kronos.generation.batch_plan import PlannedBatch, Window, bytes_of, memory_budget, plan
from kronos.generation.module_path import evaluating, sample_by_modules, special_part, unwrapped
from kronos.generation.precision import Precision
from kronos.generation.reference import decode_tail
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer

Sliding = Literal["exact", "strided"]
STRIDES = 4
"""In strided sliding the window drops 1 / `STRIDES` of the context at once."""

OnBar = Callable[[int, int, "Drawn"], None]
"""Callback that gets the number of a series, a step (0 is the first) and its bar on every path, [P, 1, 6]."""

log = logging.getLogger(__name__)


class Drawn(NamedTuple):
    """Sampled paths [P, K, 6] of one series and the tokenizer's reconstruction of its last observed bars [k, 6], normalised."""

    paths: np.ndarray
    known: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """Reconstruction of the last observed bar [6]."""
        return self.known[-1]


def stride_of(sliding: Sliding, max_context: int) -> int:
    """Return the bars dropped beyond the one that must go when the window slides (see `generation.engine`).

    Raises:
        ValueError: ``sliding`` is neither "exact" nor "strided".
    """
    if sliding not in ("exact", "strided"):
        raise ValueError(f"sliding must be 'exact' or 'strided', found {sliding!r}")
    return 0 if sliding == "exact" else max_context // STRIDES


def uniforms(window: Window, seed: int, paths: slice) -> np.ndarray:
    """Draw the random numbers in [0, 1) of each path, step and token: [P, K, 2].

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


def left_padded(parts: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Stack arrays [L_i, F] of several series as [S, length, F], with zeros on the left."""
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
    seeds: Sequence[int],
    stride: int,
    progress: engine.Progress | None,
    precision: Precision,
    on_bar: OnBar | None = None,
) -> list[Drawn]:
    """Sample the paths of one batch; each series has a seed of its own, and all are continued to the longest horizon.

    See `sample_paths` for the arguments; ``stride`` is that of `stride_of`.
    """
    device = next(model.parameters()).device
    lookback, horizon = max(w.lookback for w in windows), max(w.horizon for w in windows)
    count = paths.stop - paths.start
    hidden = None
    if any(w.lookback != lookback for w in windows):
        lengths = torch.tensor([w.lookback for w in windows], device=device)
        hidden = torch.arange(lookback, device=device)[None] < (lookback - lengths)[:, None]
    bars = torch.from_numpy(left_padded([w.bars.astype(np.float32) for w in windows], lookback)).to(device)
    past = left_padded([w.stamp for w in windows], lookback)
    # A shorter horizon is filled up with its last stamp; what comes after it is cut off again.
    future = np.stack([np.pad(w.future_stamp, ((0, horizon - w.horizon), (0, 0)), mode="edge") for w in windows])
    stamp = torch.from_numpy(np.concatenate((past, future), axis=1)).long().to(device)
    random = np.zeros((len(windows), count, horizon, 2))
    if not sampling.greedy:
        for row, window, seed in zip(random, windows, seeds, strict=True):
            row[:, : window.horizon] = uniforms(window, seed, paths)
    s1, s2 = engine.encode(tokenizer, bars, hidden)
    numbers = torch.from_numpy(random.reshape(-1, horizon, 2)).to(device)
    told = None
    if on_bar is not None and horizon < max_context:
        decoder = engine.SuffixDecoder(tokenizer, s1, s2, horizon, count, max_context, hidden)
        steps = itertools.count()
        told = lambda *codes: _tell(on_bar, next(steps), decoder, *codes)
    new1, new2 = engine.generate_tokens(
        model, s1, s2, stamp, numbers, max_context, sampling, hidden, stride, progress, precision, told
    )
    if horizon < max_context:
        out, known = engine.decode_suffix(tokenizer, s1, s2, new1, new2, max_context, hidden)
    else:
        whole1, whole2 = (
            torch.cat((old.repeat_interleave(count, 0), new), dim=1) for old, new in ((s1, new1), (s2, new2))
        )
        out = decode_tail(tokenizer, whole1, whole2, horizon, max_context)[:, -horizon:]
        known = tokenizer.decode((s1[:, -max_context:], s2[:, -max_context:]), half=True)
    drawn = out.unflatten(0, (len(windows), count)).float().cpu().numpy()
    return [
        Drawn(paths, bars[-window.lookback :])
        for paths, bars, window in zip(drawn, known.float().cpu().numpy(), windows, strict=True)
    ]


def _tell(on_bar: OnBar, step: int, decoder: engine.SuffixDecoder, s1_SP: torch.Tensor, s2_SP: torch.Tensor) -> None:
    """Decode a bar as soon as its tokens are drawn, and pass it to the callback."""
    bars = decoder.decode(s1_SP[..., None], s2_SP[..., None])[:, :, 0].float().cpu().numpy()
    for i, (row, known) in enumerate(zip(bars, decoder.known_SL6.float().cpu().numpy(), strict=True)):
        on_bar(i, step, Drawn(row[:, None], known))


def sample_paths(
    tokenizer: KronosTokenizer,
    model: Kronos,
    windows: Sequence[Window],
    paths: int,
    max_context: int,
    sampling: Sampling,
    seed: int | Sequence[int],
    *,
    sliding: Sliding = "exact",
    memory: int | None = None,
    precision: Precision = "float32",
    verbose: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_bar: OnBar | None = None,
) -> list[Drawn]:
    """Sample paths of many series, of any lookbacks and horizons.

    Args:
        windows: the series, normalised.
        paths: paths of each series.
        max_context: bars that the model sees at most.
        sampling: temperature, top-k and top-p.
        seed: at least 0; one for all or one a series. The same seed gives a series the same paths, alone or in any batch.
        sliding: past the context, "exact" gives the reference's numbers; "strided" recomputes the window less often.
        memory: bytes that a batch may take; None takes `batch_plan.memory_budget`. A batch that does not fit after all is halved.
        precision: of the model's weights: "float32"; "bfloat16" or "int8" read fewer bytes a step on a CPU (docs/generation.md).
        verbose: show a progress bar, in steps of a batch.
        progress: called with the steps done and all steps, after every step; an exception of it ends the run.
        on_bar: called with every bar as it is drawn. Not called where a series' paths are split into batches, nor where the
            horizon fills the context. Bars after a series' own horizon are to be ignored.

    Returns:
        The paths of each series, in the order of ``windows``.

    Raises:
        ValueError: an unknown ``sliding`` or ``precision``, or another precision than float32 with special parts in a network.
    """
    from tqdm.auto import tqdm

    stride = stride_of(sliding, max_context)
    tokenizer, model = unwrapped(tokenizer), unwrapped(model)
    found = special_part(tokenizer) or special_part(model)
    if found is not None:
        warn_of_special_part(model, found)
        if precision != "float32":
            raise ValueError(
                f"precision {precision!r} rounds the weights of plain networks, found {found}: take float32"
            )
    budget = memory_budget(next(model.parameters()).device) if memory is None else memory
    seeds = [seed] * len(windows) if isinstance(seed, int) else list(seed)
    cut = plan if found is None else _one_by_one
    todo = list(cut(model, windows, paths, max_context, budget, stride))
    log.info("%d series in %d batches of at most %.2f GiB", len(windows), len(todo), budget / 2**30)
    steps = lambda batch: max(windows[i].horizon for i in batch.members)
    what = "forecasting" if len(todo) == 1 else f"forecasting, {len(todo)} batches of {budget / 2**30:.2g} GiB"
    empty = np.zeros((1, 6), dtype=np.float32)
    results = [Drawn(np.empty((paths, window.horizon, 6), dtype=np.float32), empty) for window in windows]
    done, total = 0, sum(map(steps, todo))
    with tqdm(total=total, desc=what, unit="step", disable=not verbose, leave=False) as bar:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(count)
            if progress is not None:
                progress(done, total)

        while todo:
            batch = todo.pop(0)
            part, own, before = [windows[i] for i in batch.members], [seeds[i] for i in batch.members], done
            try:
                watch = None
                if on_bar is not None and batch.paths == slice(0, paths):
                    watch = lambda i, step, drawn, members=batch.members: on_bar(members[i], step, drawn)
                if found is not None:
                    drawn = [
                        _by_modules(tokenizer, model, part[0], batch.paths, max_context, sampling, own[0], advance)
                    ]
                else:
                    drawn = sample_batch(
                        tokenizer,
                        model,
                        part,
                        batch.paths,
                        max_context,
                        sampling,
                        own,
                        stride,
                        advance,
                        precision,
                        watch,
                    )
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error) or not (halves := _halved(batch)):
                    raise
                log.warning("a batch of %d series did not fit in memory; halved", len(part))
                done, total = before, total + sum(map(steps, halves)) - steps(batch)
                bar.n, bar.total = done, total
                todo[:0] = halves
                continue
            for i, series in zip(batch.members, drawn, strict=True):
                results[i].paths[batch.paths] = series.paths[:, : windows[i].horizon]
                results[i] = Drawn(results[i].paths, series.known)
    return results


def _one_by_one(
    model: Kronos, windows: Sequence[Window], paths: int, max_context: int, memory: int, stride: int
) -> Iterator[PlannedBatch]:
    """Plan batches as `batch_plan.plan` does, for generation without caches: one series a batch, a window for every path."""
    for i, window in enumerate(windows):
        longest = min(window.lookback + window.horizon, max_context)
        together = max(1, memory // bytes_of(model, longest, 0, 0))
        for start in range(0, paths, together):
            yield PlannedBatch([i], slice(start, min(paths, start + together)))


def _by_modules(
    tokenizer: KronosTokenizer,
    model: Kronos,
    window: Window,
    paths: slice,
    max_context: int,
    sampling: Sampling,
    seed: int,
    advance: engine.Progress,
) -> Drawn:
    """Sample paths of one series as `sample_batch` does, through the networks' modules."""
    numbers = np.zeros((paths.stop - paths.start, window.horizon, 2))
    if not sampling.greedy:
        numbers = uniforms(window, seed, paths)
    with evaluating(tokenizer, model):
        return Drawn(*sample_by_modules(tokenizer, model, window, numbers, max_context, sampling, advance))


_warned: WeakKeyDictionary[torch.nn.Module, set[str]] = WeakKeyDictionary()


def warn_of_special_part(model: Kronos, found: str) -> None:
    """Warn, once for each model and special part, that generation runs at the reference's speed."""
    known = _warned.setdefault(model, set())
    if found not in known:
        known.add(found)
        warnings.warn(
            f"the networks have {found}, which their weights alone do not show: they are run module by module, exactly, "
            "at the speed of the reference (merge adapters into the weights to get the fast engine back)",
            stacklevel=4,
        )


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on a CPU PyTorch says so only in the text of a RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in str(error)


def _halved(batch: PlannedBatch) -> list[PlannedBatch]:
    """Split a batch into two, by series or else by paths; none where it is one path of one series."""
    members, paths = batch
    if len(members) > 1:
        middle = len(members) // 2
        return [PlannedBatch(members[:middle], paths), PlannedBatch(members[middle:], paths)]
    middle = (paths.start + paths.stop) // 2
    return (
        [PlannedBatch(members, slice(paths.start, middle)), PlannedBatch(members, slice(middle, paths.stop))]
        if middle > paths.start
        else []
    )
