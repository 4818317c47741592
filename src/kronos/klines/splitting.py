"""The paper's splitting of a series into segments (arXiv 2508.02739, pre-training data): one rule a frequency.

`split_segments` works on bare arrays, fast enough for a store; `cleaning.clean` applies it to a table.

Shapes: n rows of one series in time order; every array is (n,).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kronos.klines.columns import KlineError
from kronos.klines.validation import TOLERANCE


@dataclass(frozen=True)
class SplitRule:
    """When a series is split and what is cut out.

    min_length: bars a segment needs; jump: |open / previous close - 1| above which a new segment starts;
    max_illiquid, max_stagnant: longest run of bars without volume / with one same close that is kept.
    """

    min_length: int
    jump: float
    max_illiquid: int
    max_stagnant: int

    def __post_init__(self) -> None:
        if self.min_length < 1 or not self.jump > 0 or self.max_illiquid < 0 or self.max_stagnant < 1:
            raise ValueError(f"{self}: expected min_length >= 1, jump > 0, max_illiquid >= 0, max_stagnant >= 1")


# Paper, cleaning: one rule a frequency.
PAPER_RULES: dict[str, SplitRule] = {
    "1m": SplitRule(2048, 0.10, 15, 45),
    "5m": SplitRule(1024, 0.15, 3, 10),
    "10m": SplitRule(512, 0.15, 3, 6),
    "15m": SplitRule(512, 0.15, 2, 5),
    "20m": SplitRule(512, 0.15, 2, 5),
    "30m": SplitRule(512, 0.20, 2, 3),
    "40m": SplitRule(256, 0.20, 1, 3),
    "1h": SplitRule(256, 0.20, 1, 3),
    "2h": SplitRule(128, 0.25, 1, 3),
    "4h": SplitRule(128, 0.25, 1, 3),
    "1d": SplitRule(128, 0.30, 1, 3),
    "1w": SplitRule(16, 0.50, 0, 2),
}
_SECONDS = {"s": 1, "m": 60, "min": 60, "t": 60, "h": 3600, "d": 86400, "w": 604800}
# Volume at or below this is "volume ~ 0".
_NO_VOLUME = 1e-8


def nearest_frequency(frequency: str | float) -> str:
    """The frequency of the paper's table (a key of `PAPER_RULES`) nearest in ratio to '60min', '8h' or seconds."""
    seconds = frequency
    if isinstance(seconds, str):
        match = re.fullmatch(r"(\d*)(s|m|min|t|h|d|w)", seconds.strip().lower())
        if match is None or (match[1] and int(match[1]) == 0):
            raise KlineError(f"unknown frequency {frequency!r}: use one like {', '.join(PAPER_RULES)}")
        seconds = int(match[1] or 1) * _SECONDS[match[2]]
    if not seconds > 0:
        raise KlineError(f"a bar of {seconds} seconds: expected a positive length")

    def distance(name: str) -> float:
        return abs(math.log(seconds / (int(name[:-1]) * _SECONDS[name[-1]])))

    return min(PAPER_RULES, key=distance)


def infer_frequency(times_ns: np.ndarray) -> str:
    """The paper's frequency nearest to the median step of sorted int64 nanoseconds (n,)."""
    steps = np.diff(times_ns)
    steps = steps[steps > 0]
    if not len(steps):
        raise KlineError("the frequency cannot be told from fewer than two times: pass frequency='5m'")
    return nearest_frequency(float(np.median(steps)) / 1e9)


class Cuts(NamedTuple):
    """Why rows are cut out (bad, illiquid, stagnant) or start a segment (jump, back); each (n,) bool."""

    bad: np.ndarray
    illiquid: np.ndarray
    stagnant: np.ndarray
    jump: np.ndarray
    back: np.ndarray


def split_segments(
    times_ns: np.ndarray | None,
    open: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray | None,
    rule: SplitRule,
) -> list[tuple[int, int]]:
    """The segments [start, stop) that the rule keeps, in order; arrays (n,) of any float type, in time order.

    Cut out: rows with missing, infinite or non-positive prices, high below low or missing or negative volume, and
    runs longer than the rule allows. A stagnant run is bars with one same close, its first bar included. New segment:
    after a cut, at a jump, and where time does not advance (times_ns, when given: two series one after the other).
    The illiquid rule needs volume: without it (None, or all 0 or NaN, as in FX) it does not apply.
    """
    starts, stops = all_segments(find_cuts(times_ns, open, high, low, close, volume, rule))
    return long_enough(starts, stops, rule)


def find_cuts(
    times_ns: np.ndarray | None,
    open: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray | None,
    rule: SplitRule,
) -> Cuts:
    """What the rule cuts, by reason; arguments as in `split_segments`."""
    n = len(close)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # comparisons are False for NaN, so each side of `good` refuses missing values too
        good = (open > 0) & (high > 0) & (low > 0) & (close > 0) & (high >= low * (1 - TOLERANCE))
        good &= (open < np.inf) & (high < np.inf) & (close < np.inf)
        illiquid = jump = back = np.zeros(n, bool)
        if volume is not None and (volume > _NO_VOLUME).any():
            good &= (volume >= 0) & (volume < np.inf)
            quiet = np.abs(volume) <= _NO_VOLUME
            illiquid = quiet & (_run_lengths(quiet) > rule.max_illiquid)
        stagnant = _run_lengths(close) > rule.max_stagnant
        if n > 1:
            leap = np.abs(open[1:] / close[:-1] - 1) > rule.jump
            jump = np.concatenate([[False], leap & good[1:] & good[:-1]])
            if times_ns is not None:
                back = np.concatenate([[False], np.diff(times_ns) <= 0])
    return Cuts(~good, illiquid, stagnant, jump, back)


def _run_lengths(values: np.ndarray) -> np.ndarray:
    """(n,) length of the run of equal values that each row belongs to."""
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(values)]]))
    return np.repeat(lengths, lengths)


def all_segments(cuts: Cuts) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of all segments, short ones included."""
    kept = ~(cuts.bad | cuts.illiquid | cuts.stagnant)
    before = np.concatenate([[False], kept[:-1]])
    first = kept & (~before | cuts.jump | cuts.back)
    # a segment stops before a row that is cut out, before the next segment's first row, or at the end
    last = kept & np.concatenate([~kept[1:] | first[1:], [True]]) if len(kept) else kept
    return np.flatnonzero(first), np.flatnonzero(last) + 1


def long_enough(starts: np.ndarray, stops: np.ndarray, rule: SplitRule) -> list[tuple[int, int]]:
    """The segments of at least the rule's length."""
    enough = stops - starts >= rule.min_length
    return list(zip(starts[enough].tolist(), stops[enough].tolist(), strict=True))
