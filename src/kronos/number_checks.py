"""Checks of single numbers among arguments and settings: ValueErrors with the name, what is expected and what was found."""

from __future__ import annotations

import math
from numbers import Integral, Real


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether a value is a whole number (of Python or NumPy, no bool) from ``least`` to ``most``."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def is_number(value: object) -> bool:
    """Whether a value is a finite number (of Python or NumPy, no bool)."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole(value: object, name: str, least: int) -> int:
    """Return a whole number of at least ``least``."""
    if not is_whole(value, least):
        raise ValueError(f"{name} must be a whole number of at least {least}, found {value!r}")
    return int(value)  # type: ignore[call-overload]


def finite(value: object, name: str) -> float:
    """Return a finite number."""
    if not is_number(value):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    return float(value)  # type: ignore[arg-type]


def single_fraction(value: object, name: str, *, closed: bool = False) -> float:
    """Return a number between 0 and 1, with ``closed`` including both."""
    number = float(value) if is_number(value) else math.nan  # type: ignore[arg-type]
    if not (0 <= number <= 1 if closed else 0 < number < 1):
        bounds = "from 0 to 1" if closed else "between 0 and 1, without them"
        raise ValueError(f"{name} must be a number {bounds}, found {value!r}")
    return number
