"""Bars of a night session that are labelled with their trading day, not with the day of the clock.

Chinese terminals label the bars of Friday night with Monday's date: in the file they stand before Monday's morning, with times
after it. Sorted by such times they would follow the bars that they came before.

Legend: T bars in file order.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
EVENING, MORNING = 18 * HOUR_NS, 6 * HOUR_NS
"""A night session has its bars after the first or before the second, nanoseconds after midnight."""
REASON = "night bars are labelled with their trading day, not with the day of the clock"


def clock_shifts(times: pd.Series) -> np.ndarray | None:
    """Days (T,) to add to each label so that it tells the day of the clock, or None where labels do so already.

    Every step back in time must be one from a night's bars to bars of their trading day, and the corrected times must rise,
    or fall in a file with the newest bar first.
    """
    wall = times.dt.tz_localize(None) if times.dt.tz is not None else times
    if wall.isna().any() or len(wall) < 3:
        return None
    labels = wall.to_numpy("datetime64[ns]").astype("int64")
    steps = np.diff(labels)
    if (steps > 0).all() or (steps < 0).all():
        return None
    shifts = _shifts(labels)
    if shifts is None:
        backwards = _shifts(labels[::-1])
        shifts = None if backwards is None else backwards[::-1]
    return shifts


def _shifts(labels: np.ndarray) -> np.ndarray | None:
    """As `clock_shifts`, for labels (T,) with the oldest first."""
    days, clock = labels // DAY_NS, labels % DAY_NS
    kind = np.where(clock >= EVENING, 2, np.where(clock < MORNING, 1, 0))  # evening, after midnight, day
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(kind) != 0) | (np.diff(days) != 0)]))
    ends = np.append(starts[1:], len(labels))
    shifts = np.zeros(len(labels), np.int64)
    day_before: int | None = None  # the last trading day whose bars of the day were read
    evening: int | None = None  # the day of the clock of the evening that is going on
    for start, end in zip(starts, ends, strict=True):
        day = int(days[start])
        if kind[start] == 0:
            day_before, evening = day, None
        elif kind[start] == 2:
            moved = labels[end] < labels[end - 1] if end < len(labels) else shifts.any()
            evening = day if not moved else _weekday_before(day) if day_before is None else day_before
            shifts[start:end] = evening - day
        elif evening is not None:
            shifts[start:end] = evening + 1 - day
    corrected = labels + shifts * DAY_NS
    return shifts if shifts.any() and (np.diff(corrected) > 0).all() else None


def _weekday_before(day: int) -> int:
    return day - (3 if (day + 3) % 7 == 0 else 1)
