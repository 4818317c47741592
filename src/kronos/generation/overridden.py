"""Draw paths by a `generate` that a user has put in place of the engine, and different paths for copies of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from kronos.generation.batch_plan import Window
from kronos.generation.paths import Drawn
from kronos.generation.sampling import Sampling
from kronos.schema import FEATURES


def contents(windows: Sequence[Window]) -> list[bytes]:
    """Return the bytes of each window: equal for copies of one."""
    return [b"|".join(np.ascontiguousarray(part).tobytes() for part in window) for window in windows]


def draw_copies(
    draw: Callable[[list[Window], int], list[Drawn]],
    windows: Sequence[Window],
    keys: Sequence[bytes],
    sample_count: int,
) -> list[Drawn]:
    """Draw paths [sample_count, H, 6] of each window, different ones for windows of one key.

    The k-th window of a key takes the path numbers that follow those of the windows of this key before it.

    Args:
        draw: windows and a number of paths to that many paths of each.
    """
    same: dict[bytes, list[int]] = {}
    for number, key in enumerate(keys):
        same.setdefault(key, []).append(number)
    by_count: dict[int, list[list[int]]] = {}
    for numbers in same.values():
        by_count.setdefault(len(numbers), []).append(numbers)
    found: dict[int, Drawn] = {}
    for copies, groups in by_count.items():
        firsts = [windows[numbers[0]] for numbers in groups]
        for numbers, (paths, known) in zip(groups, draw(firsts, copies * sample_count), strict=True):
            found |= {i: Drawn(part, known) for i, part in zip(numbers, np.split(paths, copies), strict=True)}
    return [found[i] for i in range(len(windows))]


def draw_by_generate(
    generate: Callable[..., np.ndarray],
    reconstruct: Callable[[Window], np.ndarray],
    windows: Sequence[Window],
    sampling: Sampling,
    sample_count: int,
    seeds: Sequence[int | None],
    device: torch.device,
    *,
    verbose: bool,
    mean: bool,
) -> list[Drawn]:
    """Draw paths by ``generate``: windows of one lookback, horizon and seed together, a copy of each for each path.

    Args:
        generate: takes what `KronosPredictor.generate` takes, and gives the mean of its paths [B, H, 6].
        reconstruct: what the tokenizer makes of the last observed bars of a window, normalised [k, 6].
        seeds: of PyTorch's global stream, one a window; None leaves it alone.
        mean: one path each, the mean of ``sample_count``, is asked for at once.

    Raises:
        ValueError: ``generate`` returns an array of another shape.
    """
    copies, count = (1, sample_count) if mean else (sample_count, 1)
    groups: dict[tuple[int, int, int | None], list[int]] = {}
    for number, (window, seed) in enumerate(zip(windows, seeds, strict=True)):
        groups.setdefault((window.lookback, window.horizon, seed), []).append(number)
    found: dict[int, Drawn] = {}
    for (_, horizon, seed), numbers in groups.items():
        parts = zip(*(windows[i] for i in numbers), strict=True)
        x, past, future = (np.repeat(np.stack(part).astype(np.float32), copies, axis=0) for part in parts)
        settings = (sampling.temperature, sampling.top_k or 0, sampling.top_p or 1.0, count, verbose)
        with _seeded(seed, device):
            drawn = np.asarray(generate(x, past, future, horizon, *settings), np.float32)
        if drawn.shape != (len(x), horizon, len(FEATURES)):
            raise ValueError(
                f"generate() must return an array of shape {[len(x), horizon, len(FEATURES)]}, found {list(drawn.shape)}"
            )
        for i, paths in zip(numbers, np.split(drawn, len(numbers)), strict=True):
            found[i] = Drawn(paths, reconstruct(windows[i]))
    return [found[i] for i in range(len(windows))]


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Begin PyTorch's global stream anew from a seed, and give it back as it was; None leaves it alone."""
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
