"""Half-open intervals of time: what has been asked for and answered, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd


class Interval(NamedTuple):
    """[start, end) in UTC."""

    start: pd.Timestamp
    end: pd.Timestamp


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Sorted, and joined where they touch or overlap; empty ones are left out."""
    result: list[Interval] = []
    for one in sorted(i for i in intervals if i.start < i.end):
        if result and one.start <= result[-1].end:
            result[-1] = Interval(result[-1].start, max(result[-1].end, one.end))
        else:
            result.append(one)
    return result


def missing(wanted: Interval, known: Iterable[Interval]) -> list[Interval]:
    """The parts of ``wanted`` that are not in ``known``."""
    result, start = [], wanted.start
    for one in union(known):
        if one.end <= start:
            continue
        if one.start >= wanted.end:
            break
        if one.start > start:
            result.append(Interval(start, one.start))
        start = max(start, one.end)
    if start < wanted.end:
        result.append(Interval(start, wanted.end))
    return result
