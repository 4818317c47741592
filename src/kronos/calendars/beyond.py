"""Sessions past the last day of an exchange calendar: its weekdays, without the public holidays of the country.

The package ``holidays`` gives those; holidays that are announced from year to year are in neither.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from kronos.calendars.history import DAY, Micros
from kronos.errors import KronosWarning

COUNTRIES = {"XSHG": "CN", "XBOM": "IN", "XSES": "SG", "XHKG": "HK", "XKRX": "KR", "XSAU": "SA", "XTAE": "IL"}
RECENT = 60  # sessions whose weekdays and hours are continued


class CalendarWarning(KronosWarning):
    """Warning that timestamps lie past the last day of the named exchange calendar."""


def holidays_of(name: str, first_year: int, last_year: int) -> Micros | None:
    """Return the public holidays of the exchange's country, as day numbers since 1970; None where they are not known."""
    country = COUNTRIES.get(name)
    if country is None:
        return None
    try:
        import holidays
    except ImportError:
        return None
    found = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    days = np.array(sorted(found), dtype="datetime64[D]").astype(np.int64)
    return np.asarray(days, dtype=np.int64)


def days_beyond(name: str, days: Micros, last_day: int) -> Micros:
    """Return the days after the last of ``days`` up to ``last_day`` on weekdays of the last sessions, without public holidays."""
    ahead = np.arange(days[-1] + 1, last_day + 1, dtype=np.int64)
    weekdays = np.unique((days[-RECENT:] + 3) % 7)
    ahead = ahead[np.isin((ahead + 3) % 7, weekdays)]
    if not len(ahead):
        return ahead
    years = (ahead[[0, -1]] * DAY).view("datetime64[us]").astype("datetime64[Y]").astype(int) + 1970
    off = holidays_of(name, int(years[0]), int(years[1]))
    return ahead if off is None else ahead[~np.isin(ahead, off)]


FEW_ANNOUNCED = 4
"""Announced days off in a usual year, from which on a calendar lives by such lists."""


def last_announced(days: Iterable[pd.Timestamp]) -> int | None:
    """Last day (number since 1970) of the years whose announced days off are listed whole; None for calendars that need no lists.

    A year with less than half of what the ten years before the newest list had is not whole yet: some days of later years,
    such as an Easter, are listed long before.
    """
    years, counts = np.unique([day.year for day in days], return_counts=True)
    of = dict(zip(years.tolist(), counts.tolist(), strict=True))
    if not of:
        return None
    usual = float(np.median([of.get(year, 0) for year in range(2015, 2025)]))
    if usual < FEW_ANNOUNCED:
        return None
    whole = max(year for year, count in of.items() if count >= usual / 2)
    return int(np.datetime64(f"{whole}-12-31", "D").astype(np.int64))


def usual_hours(days: Micros, parts: Micros, ahead: Micros) -> Micros:
    """Return hours (n, 2, 2) for the days ``ahead``: the most frequent ones of their weekday among the last sessions."""
    recent, hours = days[-RECENT:], (parts - (days * DAY)[:, None, None])[-RECENT:]
    result = np.empty((len(ahead), *parts.shape[1:]), dtype=np.int64)
    for weekday in np.unique((ahead + 3) % 7):
        mine = hours[(recent + 3) % 7 == weekday]
        kinds, counts = np.unique(mine, axis=0, return_counts=True)
        rows = (ahead + 3) % 7 == weekday
        result[rows] = kinds[int(np.argmax(counts))] + (ahead[rows] * DAY)[:, None, None]
    return result


def stale_text(name: str, known: int, last: int, version: str) -> str:
    """One sentence for a history that goes on after the holidays that the installed exchange_calendars can know."""
    known_to, last_bar = (str(np.datetime64(day, "D")) for day in (known, last))
    return (
        f"exchange_calendars {version} has holidays that were announced up to {known_to}, and the history goes on to {last_bar}: "
        f"days off of {name} since then may be forecast; update it: pip install -U exchange_calendars"
    )


def announced_text(name: str, known: int, beyond: int, horizon: int) -> str:
    """One sentence for bars after the announced holidays that a calendar lists."""
    return (
        f"calendar {name} lists the holidays that are announced from year to year until {np.datetime64(known, 'D')}: {beyond} of "
        f"the {horizon} bars come after it, and may fall on such a holiday; update exchange_calendars"
    )


def warning_text(name: str, base: str, end: str, beyond: int, horizon: int) -> str:
    """One sentence for a horizon of which ``beyond`` bars come after the last day ``end`` that the calendar knows.

    ``base`` is the exchange whose holidays the calendar ``name`` has.
    """
    known = holidays_of(base, 2027, 2027) is not None
    less = (
        f"less the public holidays of {COUNTRIES[base]} that the package holidays knows"
        if known
        else "holidays included"
    )
    return (
        f"calendar {name} knows its sessions until {end}: {beyond} of the {horizon} bars come after it and follow its usual "
        f"weekdays, {less}. Days off that the exchange announces later are not known; update exchange_calendars then"
    )
