"""Giving memory back to the system: glibc keeps what was freed for the thread that had it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, where it is glibc."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        return found
    except (AttributeError, OSError, TypeError):
        return None


_malloc_trim, _mallopt = _glibc("malloc_trim"), _glibc("mallopt")
_M_MMAP_THRESHOLD = -3
LARGE = 2**20
"""Bytes of a request after which memory is given back."""
APART = 4 * 2**20
"""Bytes from which a piece of memory is the system's again as soon as it is freed. By itself glibc raises this bound to the largest
piece that was freed, and eight bodies of 15 MB left 100 MB behind."""


def set_up_memory() -> None:
    """Let large pieces of memory go when they are freed."""
    if _mallopt is not None:
        _mallopt(_M_MMAP_THRESHOLD, APART)


def give_back() -> None:
    """Return what is free to the system; some milliseconds, without Python's lock."""
    if _malloc_trim is not None:
        _malloc_trim(0)
