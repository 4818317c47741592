"""z-scores of windows of bars in float64, as training and its evaluation take them.

Forecasts normalise in float32 by `features.Scale`, which follows the reference bit for bit and changes the unit of extreme prices.

Legend: B windows, T bars a window, 6 features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

STD_CONSTANT = 1e-5
"""Added to the standard deviation, as in the reference."""


class Normalizer(NamedTuple):
    """Mean and standard deviation of windows, float64 [B, 1, 6] each ([B, 1] of one feature).

    The deviation has `STD_CONSTANT` added.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of_lookback(cls, bars: np.ndarray, lookback: int) -> Normalizer:
        """Mean and population deviation of the first ``lookback`` bars of windows [B, T, 6], or of one feature [B, T]."""
        past = bars[:, :lookback]
        return cls(past.mean(1, keepdims=True), past.std(1, keepdims=True) + STD_CONSTANT)

    @classmethod
    def of_prefix(cls, bars_BT6: np.ndarray, lookback_B: np.ndarray) -> Normalizer:
        """Mean and population deviation of each window's first ``lookback`` bars.

        Args:
            bars_BT6: bars [B, T, 6] float64.
            lookback_B: bars of each prefix, 1..T.
        """
        if len(lookback_B) and (lookback_B == lookback_B[0]).all():
            return cls.of_lookback(bars_BT6, lookback_B[0])
        inside_BT1 = (np.arange(bars_BT6.shape[1]) < lookback_B[:, None])[..., None]
        count = lookback_B[:, None, None]
        mean = (bars_BT6 * inside_BT1).sum(1, keepdims=True) / count
        deviation = np.sqrt((np.square(bars_BT6 - mean) * inside_BT1).sum(1, keepdims=True) / count)
        return cls(mean, deviation + STD_CONSTANT)

    def normalise(self, bars: np.ndarray, clip: float) -> np.ndarray:
        """Bars [B, T, 6] -> z-scores float64 of the same shape, clipped to [-clip, clip]."""
        return np.clip((bars - self.mean) / self.deviation, -clip, clip)
