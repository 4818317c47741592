"""Tell naive UTC times from an exchange's local time by its sessions. Reads no files."""

from __future__ import annotations

import pandas as pd


def is_utc(times: pd.Series, calendar: str | None) -> bool:
    """Whether naive intraday times (n,), read as UTC, lie in the sessions of the exchange, and read as its local time do not.

    False without a calendar, for one that never closes, for daily bars, and for times that know their zone.
    """
    from kronos.calendars import exchange
    from kronos.calendars.utc import fit_only_as_utc

    if calendar is None or times.dt.tz is not None or len(times) < 2 or calendar.strip().lower() == "auto":
        return False
    if times.isna().any():
        return False
    return fit_only_as_utc(pd.DatetimeIndex(times).as_unit("us").asi8, exchange.resolve(calendar))
