"""Tell naive UTC times from an exchange's local time by its sessions."""

from __future__ import annotations

import numpy as np

from kronos.calendars import exchange
from kronos.calendars.history import DAY, Micros, wall_of

INSIDE, OUTSIDE = 0.98, 0.8
"""Shares of the stamps: at least the first lie in sessions when read as UTC, fewer than the second when read as local time."""
MOST_BARS = 5_000


def fit_only_as_utc(naive: Micros, name: str) -> bool:
    """Whether intraday stamps (n,), microseconds of an unknown zone, lie in the exchange's sessions only when read as UTC.

    False for calendars that never close, and for daily bars.
    """
    latest = naive[-MOST_BARS:]
    days = latest // DAY
    if (
        name in (exchange.ALWAYS, exchange.WEEKDAYS, exchange.FX)
        or len(latest) < 2
        or len(np.unique(days)) == len(latest)
    ):
        return False
    sessions = exchange.sessions_between(name, int(days.min()) - 1, int(days.max()) + 1)
    if not len(sessions.days):
        return False
    local, utc = (_inside(wall, sessions) for wall in (latest, wall_of(latest, sessions.zone)))
    return local < OUTSIDE and utc >= INSIDE


def _inside(wall: Micros, sessions: exchange.Sessions) -> float:
    """The share of stamps (n,) that lie in a session, both ends included."""
    at = np.searchsorted(sessions.open, wall, side="right") - 1
    return float(np.mean((at >= 0) & (wall <= sessions.close[np.maximum(at, 0)])))
