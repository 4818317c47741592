"""Tell naive UTC times from an exchange's local time by its sessions. Reads no files."""

from __future__ import annotations

import numpy as np
import pandas as pd

INSIDE, OUTSIDE = 0.98, 0.8
"""Shares of the stamps: at least the first lie in sessions when read as UTC, fewer than the second when read as local time."""
MOST_BARS = 5_000


def is_utc(times: pd.Series, calendar: str | None) -> bool:
    """Whether naive intraday times (n,), read as UTC, lie in the sessions of the exchange, and read as its local time do not.

    False without a calendar, for one that never closes, for daily bars, and for times that know their zone.
    """
    from kronos.calendars import exchange

    if calendar is None or times.dt.tz is not None or len(times) < 2 or calendar.strip().lower() == "auto":
        return False
    name = exchange.resolve(calendar)
    latest = pd.DatetimeIndex(times.iloc[-MOST_BARS:])
    if name in (exchange.ALWAYS, exchange.WEEKDAYS, exchange.FX) or len(np.unique(latest.normalize())) == len(latest):
        return False
    days = latest.as_unit("us").asi8 // 86_400_000_000
    sessions = exchange.sessions_between(name, int(days.min()) - 1, int(days.max()) + 1)
    if not len(sessions.days):
        return False
    local = latest.tz_localize("UTC").tz_convert(sessions.zone).tz_localize(None)
    shares = [_inside(stamps.as_unit("us").asi8, sessions.open, sessions.close) for stamps in (latest, local)]
    return shares[0] < OUTSIDE and shares[1] >= INSIDE


def _inside(wall: np.ndarray, opens: np.ndarray, closes: np.ndarray) -> float:
    """The share of stamps (n,) that lie in a session, both ends included."""
    at = np.searchsorted(opens, wall, side="right") - 1
    return float(np.mean((at >= 0) & (wall <= closes[np.maximum(at, 0)])))
