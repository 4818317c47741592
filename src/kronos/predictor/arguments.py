"""Checks of the arguments of `KronosPredictor`."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from kronos.generation.prepared import Timestamps


def is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def as_lists(
    df: Any, x_timestamp: Any, y_timestamp: Any
) -> tuple[Sequence[pd.DataFrame], Sequence[Timestamps], Sequence[Timestamps]]:
    """One series as lists of one."""
    return ([df], [x_timestamp], [y_timestamp]) if isinstance(df, pd.DataFrame) else (df, x_timestamp, y_timestamp)
