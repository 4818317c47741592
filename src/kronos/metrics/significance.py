"""Is a difference more than luck? Block bootstrap by time, the Diebold-Mariano test, and corrections for many comparisons.

Forecasts made at the same time fail together, and horizons overlap, so windows are no independent observations. They are
gathered into calendar blocks of at least the longest horizon; blocks are what is resampled and what the test counts.

Legend: N windows, T blocks in time order, B bootstrap samples.
Sources: Diebold and Mariano (1995); Harvey, Leybourne and Newbold (1997); Holm (1979).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

LEAST_BLOCKS = 10
"""Fewer blocks in time cannot carry a statement."""
SAMPLES = 2000
NEIGHBOURS = 2
"""A horizon that begins in one block ends in the next at most: neighbours are resampled together."""


class LossComparison(NamedTuple):
    """A Diebold-Mariano test: ``mean`` difference (negative: the model loses less), statistic, two-sided p, and blocks used."""

    mean: float
    statistic: float
    p: float
    blocks: int


def diebold_mariano(difference_T: np.ndarray, h: int = 1) -> LossComparison:
    """Equal accuracy of two forecasts, from the differences of their losses in time order.

    ``h``: differences up to h - 1 apart may be correlated (h-step forecasts at every step). The variance is the truncated
    kernel's, replaced by the plain one where that is not positive; the small-sample correction and Student's t with T - 1
    degrees are those of Harvey, Leybourne and Newbold.

    Raises:
        ValueError: fewer differences than 2, or h not between 1 and T - 1.
    """
    from scipy.stats import t

    d = np.asarray(difference_T, dtype=np.float64)
    n = len(d)
    if n < 2 or not 1 <= h < n:
        raise ValueError(f"{n} differences and h = {h}: at least 2 are needed, and h from 1 to their number - 1")
    centred = d - d.mean()
    covariances = [(centred[k:] * centred[: n - k]).sum() / n for k in range(h)]
    variance = covariances[0] + 2 * sum(covariances[1:])
    if variance <= 0:
        variance, h = covariances[0], 1
    if variance <= 0:  # all differences are equal
        same = d.mean() == 0
        return LossComparison(
            float(d.mean()), 0.0 if same else float(np.sign(d.mean()) * np.inf), 1.0 if same else 0.0, n
        )
    correction = np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    statistic = correction * d.mean() / np.sqrt(variance / n)
    return LossComparison(float(d.mean()), float(statistic), float(2 * t.sf(abs(statistic), n - 1)), n)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values corrected for being one family (Holm); NaN stays NaN and does not count."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, dtype=np.float64)
    known = np.isfinite(p)
    result = np.full_like(p, np.nan)
    if known.any():
        result[known] = multipletests(p[known], method="holm")[1]
    return result


@dataclass(frozen=True)
class Blocks:
    """Which block of calendar time each window's cutoff lies in; empty stretches of the calendar are no blocks."""

    number: np.ndarray
    """[N] of 0..T - 1"""
    count: int
    days: int
    seed: int = 0

    @classmethod
    def of(cls, cutoffs: pd.Series, ends: pd.Series, seed: int = 0) -> Blocks:
        """Blocks of whole days, as long as the longest horizon from cutoff to its last bar, at least one day."""
        start, stop = (pd.to_datetime(s).to_numpy(dtype="datetime64[ns]") for s in (cutoffs, ends))
        span = float((stop - start).max() / np.timedelta64(1, "D"))
        days = max(1, int(np.ceil(span)))
        at = (start - start.min().astype("datetime64[D]")) // np.timedelta64(days, "D")
        _, number = np.unique(at, return_inverse=True)
        return cls(number, int(number.max()) + 1, days, seed)

    def sums(self, values_NK: np.ndarray) -> np.ndarray:
        """[N, K] -> sums over each block [T, K]."""
        values = np.asarray(values_NK, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        result = np.zeros((self.count, values.shape[1]))
        np.add.at(result, self.number, values)
        return result

    def test(self, difference_N: np.ndarray) -> LossComparison:
        """Diebold-Mariano over blocks: mean difference over windows, its variance from the sums of blocks of any size."""
        d = np.asarray(difference_N, dtype=np.float64)
        if self.count < LEAST_BLOCKS:
            return LossComparison(float(d.mean()), float("nan"), float("nan"), self.count)
        residual = self.sums(d - d.mean())[:, 0] * self.count / len(d)
        return diebold_mariano(d.mean() + residual, h=NEIGHBOURS)

    @cached_property
    def drawn(self) -> np.ndarray:
        """How often each block is drawn in each sample of the circular block bootstrap, [B, T]."""
        rng = np.random.default_rng(self.seed)
        length = min(NEIGHBOURS, self.count)
        pieces = -(-self.count // length)
        first = rng.integers(0, self.count, (SAMPLES, pieces))
        index = (first[..., None] + np.arange(length)).reshape(SAMPLES, -1)[:, : self.count] % self.count
        counts = np.zeros((SAMPLES, self.count))
        np.add.at(counts, (np.arange(SAMPLES)[:, None], index), 1)
        return counts

    def interval(self, columns_NK: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """95 % percentile interval of a statistic of sums over windows (see `kronos.evaluation.statistics`).

        ``of``: sums [..., K] -> [...]. NaNs where blocks are too few or the statistic is undefined.
        """
        if self.count < LEAST_BLOCKS:
            return float("nan"), float("nan")
        return percentiles(of(self.drawn @ self.sums(columns_NK)))


def percentiles(drawn_B: np.ndarray, coverage: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled figures, those that are undefined left out; NaNs where all are."""
    known = drawn_B[np.isfinite(drawn_B)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)
