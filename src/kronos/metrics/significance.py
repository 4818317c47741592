"""Significance of differences: block bootstrap by time, the Diebold-Mariano test, and correction for many comparisons.

Errors of forecasts made at the same time are correlated, and horizons overlap, so windows are no independent observations.
They are grouped into calendar blocks of at least the longest horizon; the bootstrap and the test work on blocks.

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
"""Blocks in time; with fewer, intervals and tests are not computed (NaN)."""
SAMPLES = 2000
NEIGHBOURS = 2
"""Adjacent blocks that are resampled together: a horizon that begins in one block ends in the next at most."""


class LossComparison(NamedTuple):
    """Result of a Diebold-Mariano test: ``mean`` difference (negative: the model loses less), statistic, two-sided p, blocks."""

    mean: float
    statistic: float
    p: float
    blocks: int


def diebold_mariano(difference_T: np.ndarray, h: int = 1) -> LossComparison:
    """Test that two forecasts are equally accurate, by differences [T] of their losses in time order.

    The variance is the truncated kernel's, replaced by the plain one where that is not positive; the small-sample correction
    and Student's t with T - 1 degrees of freedom are those of Harvey, Leybourne and Newbold.

    Args:
        difference_T: the first forecast's loss less the second's.
        h: differences up to h - 1 apart may be correlated (h-step forecasts at every step).

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
    """Return p values corrected for multiple comparisons (Holm); NaN stays NaN and does not count."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, dtype=np.float64)
    known = np.isfinite(p)
    result = np.full_like(p, np.nan)
    if known.any():
        result[known] = multipletests(p[known], method="holm")[1]
    return result


@dataclass(frozen=True)
class Blocks:
    """Calendar blocks of windows, by their cutoffs; spans of the calendar without windows are no blocks."""

    number: np.ndarray
    """[N] of 0..T - 1"""
    count: int
    days: int
    seed: int = 0

    @classmethod
    def of(cls, cutoffs: pd.Series, ends: pd.Series, seed: int = 0) -> Blocks:
        """Make blocks of whole days, as long as the longest time from cutoff to last bar, at least one day."""
        start, stop = (pd.to_datetime(s).to_numpy(dtype="datetime64[ns]") for s in (cutoffs, ends))
        span = float((stop - start).max() / np.timedelta64(1, "D"))
        days = max(1, int(np.ceil(span)))
        at = (start - start.min().astype("datetime64[D]")) // np.timedelta64(days, "D")
        _, number = np.unique(at, return_inverse=True)
        return cls(number, int(number.max()) + 1, days, seed)

    def sums(self, values_NK: np.ndarray) -> np.ndarray:
        """Sum values over each block: [N, K] -> [T, K]."""
        values = np.asarray(values_NK, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        result = np.zeros((self.count, values.shape[1]))
        np.add.at(result, self.number, values)
        return result

    def test(self, difference_N: np.ndarray) -> LossComparison:
        """Run the Diebold-Mariano test over blocks: mean difference over windows, its variance from the sums of blocks."""
        d = np.asarray(difference_N, dtype=np.float64)
        if self.count < LEAST_BLOCKS:
            return LossComparison(float(d.mean()), float("nan"), float("nan"), self.count)
        residual = self.sums(d - d.mean())[:, 0] * self.count / len(d)
        return diebold_mariano(d.mean() + residual, h=NEIGHBOURS)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Number of times that each block is drawn in each sample of the circular block bootstrap, [B, T]."""
        rng = np.random.default_rng(self.seed)
        length = min(NEIGHBOURS, self.count)
        pieces = -(-self.count // length)
        first = rng.integers(0, self.count, (SAMPLES, pieces))
        index = (first[..., None] + np.arange(length)).reshape(SAMPLES, -1)[:, : self.count] % self.count
        counts = np.zeros((SAMPLES, self.count))
        np.add.at(counts, (np.arange(SAMPLES)[:, None], index), 1)
        return counts

    def interval(self, columns_NK: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """Return the 95 % percentile interval of a statistic of sums over windows (see `kronos.evaluation.statistics`).

        Args:
            columns_NK: K numbers a window, whose sums the statistic is made of.
            of: sums [..., K] -> the statistic [...].

        Returns:
            Lower and upper end; NaN where there are fewer than `LEAST_BLOCKS` blocks or the statistic is undefined.
        """
        if self.count < LEAST_BLOCKS:
            return float("nan"), float("nan")
        return percentiles(of(self.drawn @ self.sums(columns_NK)))


def percentiles(drawn_B: np.ndarray, coverage: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled figures [B] without NaNs; NaN where all are."""
    known = drawn_B[np.isfinite(drawn_B)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)
