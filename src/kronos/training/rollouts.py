"""Forecasts of a pair in training on windows of a store, to compare with the closes that followed.

Legend: W windows, P paths, L lookback, K horizon; closes are in units of each lookback's deviation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kronos.generation.batch_plan import Window
from kronos.generation.paths import sample_paths
from kronos.generation.sampling import Sampling
from kronos.klines.normalize import Normalizer
from kronos.nn import Kronos, KronosTokenizer
from kronos.schema import CLOSE
from kronos.training.windows import Windows


class Sample(NamedTuple):
    """Windows to forecast, and the closes that followed."""

    windows: list[Window]
    day: np.ndarray
    """Time of the last observed bar [W]."""
    last: np.ndarray
    """Last observed close [W]."""
    truth: np.ndarray
    """Closes that followed [W, K]."""
    to_return: np.ndarray
    """Factor [W] from a difference of closes to a return on the last one."""


def sample_of(windows: Windows, numbers: np.ndarray) -> Sample:
    """Take the windows of these numbers."""
    lookback = windows.lookback
    raw_WT6 = windows.raw(numbers)
    bars_WT6, stamp_WT5 = (t.numpy() for t in windows.take(numbers))
    close_WT = raw_WT6[..., CLOSE]
    scale = Normalizer.of_lookback(close_WT, lookback)
    closes = scale.normalise(close_WT, np.inf)
    made = [
        Window(bars[:lookback], stamp[:lookback], stamp[lookback:])
        for bars, stamp in zip(bars_WT6, stamp_WT5, strict=True)
    ]
    factor = scale.deviation[:, 0] / close_WT[:, lookback - 1]
    day = windows.store.times[windows.first[numbers] + lookback - 1]
    return Sample(made, day, closes[:, lookback - 1], closes[:, lookback:], factor)


def forecast_closes(
    tokenizer: KronosTokenizer,
    model: Kronos,
    sample: Sample,
    paths: int,
    max_context: int,
    sampling: Sampling,
    seed: int,
) -> np.ndarray:
    """Forecast paths of close [W, P, K], shifted to start from the last observed close (the anchor "level")."""
    drawn = sample_paths(tokenizer, model, sample.windows, paths, max_context, sampling, seed, sliding="strided")
    gap = sample.last - np.array([d.last[CLOSE] for d in drawn])
    return np.stack([d.paths[..., CLOSE] for d in drawn]) + gap[:, None, None]
