"""Jumps of the price between two bars, and whether they look like a split.

Legend: T bars.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_JUMP = 0.2
"""Log ratio of an open to the close before it from which it may be a jump (22 %)."""
USUAL_MOVES = 12
"""A jump is at least so many times the median absolute log move from open to close and from close to open."""
WHOLE_SPLITS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 100)
SPLITS = (*((n, 1) for n in WHOLE_SPLITS), (3, 2), (4, 3), (5, 2), (5, 4))
NEAR = 0.03
"""Log distance from a split's ratio within which a jump looks like it."""


class Jump(NamedTuple):
    """A jump: the row of the bar that opens after it, the close before and the open after."""

    row: int
    before: float
    after: float

    @property
    def split(self) -> tuple[int, int] | None:
        """New and old shares of the split that it looks like: (10, 1) where the price falls to a tenth."""
        ratio = np.log(self.before / self.after)
        distance, ways = min((abs(abs(ratio) - np.log(new / old)), (new, old)) for new, old in SPLITS)
        if distance > NEAR:
            return None
        return ways if ratio > 0 else ways[::-1]

    @property
    def split_note(self) -> str:
        """ " (looks like a 10:1 split)", or nothing."""
        return "" if self.split is None else f" (looks like a {self.split[0]}:{self.split[1]} split)"


def find_jumps(open_T: np.ndarray, close_T: np.ndarray) -> list[Jump]:
    """Opens far from the close before: by at least `LEAST_JUMP`, and by `USUAL_MOVES` times the usual move of these bars."""
    opens, closes = np.asarray(open_T, np.float64), np.asarray(close_T, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.abs(np.log(opens[1:] / closes[:-1]))
        moves = np.concatenate((gaps, np.abs(np.log(closes / opens))))
    moves = moves[np.isfinite(moves)]
    if not len(moves):
        return []
    rows = np.flatnonzero(np.isfinite(gaps) & (gaps > max(LEAST_JUMP, USUAL_MOVES * float(np.median(moves)))))
    return [Jump(int(row) + 1, float(closes[row]), float(opens[row + 1])) for row in rows]
