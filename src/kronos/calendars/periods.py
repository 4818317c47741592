"""Weekly, monthly, quarterly and yearly bars: which day of the period they are labelled with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kronos.calendars.history import DAY, PERIODS, Micros

Sessions = Callable[[int, int], Micros]  # session days (numbers since 1970) within a range of days


def next_labels(days: Micros, code: str, count: int, sessions: Sessions | None = None) -> Micros:
    """The ``count`` label days after the last of ``days`` (day numbers). The convention is the one that fits best.

    Conventions: the first or last day of the period, its first or last working day, its first or last session (where
    a calendar is named), or the usual day (weekday, day of the month).
    """
    now = int(_period(days, code)[-1])
    past = np.unique(_period(days[-24:], code))
    choices = _conventions(days, code, sessions)
    hits = [int(np.isin(choice(past), days).sum()) for choice in choices]
    choice = choices[int(np.argmax(hits))]
    labels = choice(now + np.arange(0, count + 2, dtype=np.int64) * max(PERIODS[code][3], 1))
    return labels[labels > days[-1]][:count]


def _period(days: Micros, code: str) -> Micros:
    """Weeks since the Monday before 1970, or months since January 1970."""
    if code == "W":
        return np.asarray((days + 3) // 7)
    return np.asarray((days * DAY).view("datetime64[us]").astype("datetime64[M]").astype(np.int64))


def _first_day(period: Micros, code: str) -> Micros:
    if code == "W":
        return np.asarray(period * 7 - 3)
    return np.asarray(period.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64))


def _conventions(days: Micros, code: str, sessions: Sessions | None) -> list[Callable[[Micros], Micros]]:
    def first(period: Micros) -> Micros:
        return _first_day(period, code)

    def last(period: Micros) -> Micros:
        return _first_day(period + 1, code) - 1

    def usual(period: Micros) -> Micros:
        into = days - first(_period(days, code))
        values, counts = np.unique(into, return_counts=True)
        return np.asarray(np.minimum(first(period) + values[np.argmax(counts)], last(period)))

    def first_working(period: Micros) -> Micros:
        day = first(period)
        return np.asarray(day + np.array([0, 0, 0, 0, 0, 2, 1])[(day + 3) % 7])

    def last_working(period: Micros) -> Micros:
        day = last(period)
        return np.asarray(day - np.array([0, 0, 0, 0, 0, 1, 2])[(day + 3) % 7])

    def session(period: Micros, at_end: bool) -> Micros:
        assert sessions is not None
        held = sessions(int(first(period[:1])[0]), int(last(period[-1:])[0]))
        after, at = np.searchsorted(held, last(period), side="right"), np.searchsorted(held, first(period))
        at = after - 1 if at_end else at
        at = at[(at >= 0) & (at < len(held))]
        labels = held[at]
        return np.asarray(labels[np.isin(_period(labels, code), period)])

    calendar = [first, last] if code != "W" else []
    if sessions is not None:
        calendar += [lambda period: session(period, False), lambda period: session(period, True)]
    return [*calendar, first_working, last_working, usual] if code != "W" else [*calendar, usual]
