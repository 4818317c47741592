"""z-scores of bars by the mean and deviation of their lookback: of one series as the reference takes them, or of many windows.

Legend: B windows, T bars a window, 6 features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

STD_CONSTANT = 1e-5
"""Added to the standard deviation, as in the reference."""
LARGEST_SQUARED = 1e16
"""Values beyond it have squares whose sum over a window is no float32; such columns are normalised in a larger unit."""
LEAST_STD = 20 * STD_CONSTANT
"""Columns that vary less are normalised in a smaller unit, since the constant would widen their spread by more than 5 %."""
UNIT_GROUPS = (slice(0, 4), slice(4, 5), slice(5, 6))
"""Columns that share a unit: the four prices, volume, amount."""


class Normalizer(NamedTuple):
    """Mean and deviation of each feature over the lookback.

    Of a series float32 [6] each; of windows float64 [B, 1, 6] each ([B, 1] of one feature).

    Attributes:
        mean, deviation: of bars times ``unit``; the population standard deviation has `STD_CONSTANT` added.
        unit: power of ten that each column is multiplied by first; None leaves them.
    """

    mean: np.ndarray
    deviation: np.ndarray
    unit: np.ndarray | None = None

    @classmethod
    def of(cls, lookback: np.ndarray) -> Normalizer:
        """Of one series, a matrix [T, 6] as `features.to_matrix` lays it out.

        In float32 and column by column, as in the reference, so that published models see the very same numbers. Columns that
        vary too little for the constant in the denominator (a price of 1e-5), or are too large for float32, are multiplied by a
        power of ten first: a change of the price's unit leaves the forecast as it is, but for up to 5 %.
        """
        lookback = np.asfortranarray(lookback)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = lookback.mean(axis=0), lookback.std(axis=0)
        unit = np.ones(lookback.shape[1], np.float32)
        for group in UNIT_GROUPS:
            unit[group] = _unit(np.abs(lookback[:, group]).max(), std[group].max())
        if (unit != 1).any():
            scaled = np.asfortranarray(lookback * unit)
            mean, std = scaled.mean(axis=0), scaled.std(axis=0)
        return cls(mean, std + np.float32(STD_CONSTANT), unit)

    @classmethod
    def of_lookback(cls, bars: np.ndarray, lookback: int) -> Normalizer:
        """Of the first ``lookback`` bars of windows [B, T, 6], or of one feature [B, T], float64."""
        past = bars[:, :lookback]
        return cls(past.mean(1, keepdims=True), past.std(1, keepdims=True) + STD_CONSTANT)

    @classmethod
    def of_prefix(cls, bars_BT6: np.ndarray, lookback_B: np.ndarray) -> Normalizer:
        """Of each window's first ``lookback`` bars.

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

    @property
    def in_prices(self) -> np.ndarray:
        """The deviation in the units of the bars."""
        return self.deviation if self.unit is None else self.deviation / self.unit

    def normalise(self, bars: np.ndarray, clip: float) -> np.ndarray:
        """Bars [..., 6] -> z-scores of the same shape, clipped to [-clip, clip]."""
        scaled = bars if self.unit is None else bars * self.unit
        return np.clip((scaled - self.mean) / self.deviation, -clip, clip)

    def restore(self, bars: np.ndarray) -> np.ndarray:
        """z-scores [..., 6] -> prices."""
        scaled = bars * self.deviation + self.mean
        return scaled if self.unit is None else scaled / self.unit


def _unit(largest: float, std: float) -> float:
    """Power of ten to multiply columns of this largest absolute value and deviation by; 1 where they are fit as they are."""
    if largest > LARGEST_SQUARED:
        return 10.0 ** (5 - math.floor(math.log10(largest)))
    if std >= LEAST_STD or largest == 0:
        return 1.0
    if std > 1e-6 * largest:  # more than float32's rounding
        return 10.0 ** -math.floor(math.log10(std))
    return 1.0 if largest >= 1 else 10.0 ** -math.floor(math.log10(largest))
