"""Checks of single numbers: of arguments, which may be NumPy's, and of settings, which are kept as JSON and must be Python's own.

No bool is a number here. The checks that raise give a ValueError with the name, what is expected and what was found.
"""

from __future__ import annotations

import math
from numbers import Integral, Real


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, of Python or NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether a value is a number, of Python or NumPy; it may be infinite or NaN."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_plain_whole(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether a value is a whole number of Python from ``least`` to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_plain_number(value: object) -> bool:
    """Whether a value is a number of Python; it may be infinite or NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(value: object, name: str, least: int) -> int:
    """Return an argument that is a whole number of at least ``least``."""
    number = int(value) if is_whole(value) else None  # type: ignore[call-overload]
    if number is None or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, found {value!r}")
    return number


def check_plain_whole(value: object, name: str, least: int) -> None:
    """Check a setting that is a whole number of at least ``least``."""
    if not is_plain_whole(value, least):
        raise ValueError(f"{name} must be a whole number of at least {least}, found {value!r}")


def finite(value: object, name: str) -> float:
    """Return a finite number."""
    number = float(value) if is_real(value) else math.nan  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    return number


def single_fraction(value: object, name: str, *, closed: bool = False) -> float:
    """Return a number between 0 and 1, with ``closed`` including both."""
    number = float(value) if is_real(value) else math.nan  # type: ignore[arg-type]
    if not (0 <= number <= 1 if closed else 0 < number < 1):
        bounds = "from 0 to 1" if closed else "between 0 and 1, without them"
        raise ValueError(f"{name} must be a number {bounds}, found {value!r}")
    return number
