"""Checks of the arguments of `KronosPredictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from kronos.generation.prepared import Timestamps


def as_lists(
    df: Any, x_timestamp: Any, y_timestamp: Any
) -> tuple[Sequence[pd.DataFrame], Sequence[Timestamps], Sequence[Timestamps]]:
    """One series as lists of one."""
    return ([df], [x_timestamp], [y_timestamp]) if isinstance(df, pd.DataFrame) else (df, x_timestamp, y_timestamp)
