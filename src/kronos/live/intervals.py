"""Half-open intervals of time, for the spans that have been fetched and those that are missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd


class Interval(NamedTuple):
    """Interval of time [start, end) in UTC."""

    start: pd.Timestamp
    end: pd.Timestamp


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals sorted, merged where they touch or overlap, without empty ones."""
    result: list[Interval] = []
    for one in sorted(i for i in intervals if i.start < i.end):
        if result and one.start <= result[-1].end:
            result[-1] = Interval(result[-1].start, max(result[-1].end, one.end))
        else:
            result.append(one)
    return result


def missing(wanted: Interval, known: Iterable[Interval]) -> list[Interval]:
    """Return the parts of ``wanted`` that are not in ``known``."""
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
