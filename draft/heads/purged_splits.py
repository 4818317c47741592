"""Cross-validation over time without shared label spans: purging and embargo (Lopez de Prado, Advances in Financial Machine
Learning, 2018, chapter 7).

A row is known at date d and its label spans the dates d + 1 .. d + horizon. Dates are counted, not measured: the sorted different
dates of the table.

Legend: N rows, T dates.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np


class Fold(NamedTuple):
    """Row numbers to fit on and to test on, both int64 and ascending."""

    train: np.ndarray
    test: np.ndarray


def purged_folds(
    dates_N: np.ndarray, horizon: int, folds: int = 5, embargo: int = 0, together: int = 1
) -> Iterator[Fold]:
    """Cut the dates into blocks of equal length; each choice of ``together`` blocks is a test set, the other rows are fitted on.

    Rows whose label shares a date with a test label are purged from the fit, and so are those of the ``embargo`` dates that follow
    the last label of a test block.

    Args:
        dates_N: date of each row, in any order.
        horizon: dates that a label spans.
        folds: blocks. together: 1 is K-fold, more is combinatorial cross-validation.
        embargo: dates.

    Raises:
        ValueError: an argument is out of range, or there are too few dates to leave anything to fit on.
    """
    where_N, count = _positions(dates_N)
    _check(horizon, embargo)
    if not 2 <= folds <= count or not 1 <= together < folds:
        raise ValueError(
            f"folds must be 2..{count} (different dates) and together 1..folds - 1, found {folds} and {together}"
        )
    blocks = np.array_split(np.arange(count), folds)
    for chosen in combinations(blocks, together):
        banned = np.zeros(count, bool)
        tested = np.zeros(count, bool)
        for block in chosen:
            first, last = int(block[0]), int(block[-1])
            tested[first : last + 1] = True
            banned[max(0, first - horizon + 1) : last + horizon + embargo] = True
        yield _fold(tested[where_N], ~banned[where_N])


def purged_walk_forward(dates_N: np.ndarray, horizon: int, folds: int = 5, embargo: int = 0) -> Iterator[Fold]:
    """Fit on the past only: block k + 1 of ``folds`` + 1 is tested with all dates before it, less those whose labels reach into
    it or into the ``embargo`` dates before it.

    Raises:
        ValueError: as of `purged_folds`.
    """
    where_N, count = _positions(dates_N)
    _check(horizon, embargo)
    if not 1 <= folds < count:
        raise ValueError(f"folds must be 1..{count - 1} (different dates less one), found {folds}")
    for block in np.array_split(np.arange(count), folds + 1)[1:]:
        first, last = int(block[0]), int(block[-1])
        yield _fold((where_N >= first) & (where_N <= last), where_N + horizon + embargo <= first)


def _fold(test_N: np.ndarray, train_N: np.ndarray) -> Fold:
    if not train_N.any():
        raise ValueError("purging leaves no row to fit on: give more dates, fewer folds, or a shorter horizon or embargo")
    return Fold(np.flatnonzero(train_N), np.flatnonzero(test_N))


def _positions(dates_N: np.ndarray) -> tuple[np.ndarray, int]:
    different, where_N = np.unique(np.asarray(dates_N), return_inverse=True)
    return where_N, len(different)


def _check(horizon: int, embargo: int) -> None:
    if horizon < 1 or embargo < 0:
        raise ValueError(f"horizon must be at least 1 and embargo at least 0 dates, found {horizon} and {embargo}")
