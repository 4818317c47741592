"""Splits by time in which no label of one part reaches into another: purging and embargo (Lopez de Prado, Advances in Financial
Machine Learning, 2018, chapter 7).

The label of a row spans the time from its last known bar (start) to the last bar that it looks at (end).

Legend: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

PART_NAMES = ("train", "validation", "test")


class PurgedSplit(NamedTuple):
    """Row numbers of each part, int64, ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class PurgedFold(NamedTuple):
    """Row numbers to fit on and to test on, int64, ascending."""

    train: np.ndarray
    test: np.ndarray


def purged_split(
    starts_N: np.ndarray,
    ends_N: np.ndarray,
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    embargo: np.timedelta64 = np.timedelta64(0, "s"),
) -> PurgedSplit:
    """Cut rows into training, validation and test, one after the other in time.

    A row of an earlier part is left out if its label ends less than ``embargo`` before the first start of a later part, or later.

    Args:
        starts_N, ends_N: datetime64 of the last known bar and of the last bar of the label, in any order.
        shares: of the rows, before any is left out.
        embargo: time that must lie between a label's end and the next part.

    Raises:
        ValueError: shares that are not three positive numbers with the sum 1, a label that ends before it starts, a negative
            embargo, or a part without rows.
    """
    starts, ends = _spans(starts_N, ends_N, embargo)
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be three positive numbers with the sum 1, found {tuple(shares)}")
    if not len(starts):
        raise ValueError("there are no rows to split")
    ordered = np.sort(starts)
    first, second = (ordered[min(round(sum(shares[:n]) * len(ordered)), len(ordered) - 1)] for n in (1, 2))
    parts = PurgedSplit(
        np.flatnonzero((starts < first) & (ends + embargo < first)),
        np.flatnonzero((starts >= first) & (starts < second) & (ends + embargo < second)),
        np.flatnonzero(starts >= second),
    )
    for name, rows in zip(PART_NAMES, parts, strict=True):
        if not len(rows):
            raise ValueError(
                f"purging leaves no row for {name} of the {len(starts)} there are: give a longer span of time, or a shorter "
                "horizon or embargo"
            )
    return parts


def purged_folds(
    starts_N: np.ndarray,
    ends_N: np.ndarray,
    folds: int = 5,
    embargo: np.timedelta64 = np.timedelta64(0, "s"),
    together: int = 1,
) -> Iterator[PurgedFold]:
    """Cut the different starts into ``folds`` blocks; each choice of ``together`` of them is a test set, the others are fitted on.

    Rows whose label overlaps the time of a test block, or starts less than ``embargo`` after its last label, are not fitted on.

    Args:
        starts_N, ends_N, embargo: as in `purged_split`.
        folds: blocks. together: 1 is K-fold, more is combinatorial cross-validation.

    Raises:
        ValueError: as in `purged_split`, or folds and together that are out of range.
    """
    starts, ends = _spans(starts_N, ends_N, embargo)
    moments = np.unique(starts)
    if not 2 <= folds <= len(moments) or not 1 <= together < folds:
        raise ValueError(
            f"folds must be 2 to {len(moments)} (different starts) and together 1 to folds - 1, found {folds} and {together}"
        )
    blocks = []
    for block in np.array_split(moments, folds):
        inside = (starts >= block[0]) & (starts <= block[-1])
        blocks.append((inside, block[0], ends[inside].max() + embargo))
    for chosen in combinations(blocks, together):
        test, banned = np.zeros(len(starts), bool), np.zeros(len(starts), bool)
        for inside, first, last in chosen:
            test |= inside
            banned |= (ends >= first) & (starts <= last)
        if banned.all():
            raise ValueError(
                "purging leaves no row to fit on: give a longer span of time, fewer folds, or a shorter embargo"
            )
        yield PurgedFold(np.flatnonzero(~banned), np.flatnonzero(test))


def _spans(starts_N: np.ndarray, ends_N: np.ndarray, embargo: np.timedelta64) -> tuple[np.ndarray, np.ndarray]:
    starts, ends = (np.asarray(values, "datetime64[ns]") for values in (starts_N, ends_N))
    if starts.shape != ends.shape or (ends < starts).any():
        raise ValueError("each row needs a start and an end of its label that is not before it")
    if embargo < np.timedelta64(0, "s"):
        raise ValueError(f"embargo must not be negative, found {embargo}")
    return starts, ends
