"""Prices and volumes as short texts for tables and axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def short_number(value: float, _: float = 0) -> str:
    """1.2e9 -> 1.2B, as volumes are written. (Axes of matplotlib give a position too.)"""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def price_format(values: Iterable[float]) -> Callable[[float], str]:
    """A format with the same decimals for all: six digits of the largest of the values; commas never, powers of ten never."""
    sizes = np.abs(np.asarray(list(values), np.float64))
    sizes = sizes[np.isfinite(sizes)]
    largest = float(sizes.max()) if len(sizes) else 0.0
    decimals = 0 if largest == 0 else int(np.clip(5 - np.floor(np.log10(largest)), 0, 16))
    return lambda value: f"{value:.{decimals}f}"
