"""Sessions past the last day that an exchange calendar knows: its weekdays, without the public holidays of the country.

The package ``holidays`` knows those; days off that are announced from year to year are known to neither.
"""

from __future__ import annotations

import numpy as np

from kronos.calendars.history import DAY, Micros
from kronos.errors import KronosWarning

COUNTRIES = {"XSHG": "CN", "XBOM": "IN", "XSES": "SG", "XHKG": "HK", "XKRX": "KR", "XSAU": "SA", "XTAE": "IL"}
RECENT = 60  # sessions whose weekdays and hours are continued


class CalendarWarning(KronosWarning):
    """Timestamps lie past what the named exchange calendar knows."""


def holidays_of(name: str, first_year: int, last_year: int) -> Micros | None:
    """Public holidays of the exchange's country, as day numbers since 1970; None where they are not known."""
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
    """Days after the last of ``days`` up to ``last_day`` that fall on a weekday of the last sessions and are no public holiday."""
    ahead = np.arange(days[-1] + 1, last_day + 1, dtype=np.int64)
    weekdays = np.unique((days[-RECENT:] + 3) % 7)
    ahead = ahead[np.isin((ahead + 3) % 7, weekdays)]
    if not len(ahead):
        return ahead
    years = (ahead[[0, -1]] * DAY).view("datetime64[us]").astype("datetime64[Y]").astype(int) + 1970
    off = holidays_of(name, int(years[0]), int(years[1]))
    return ahead if off is None else ahead[~np.isin(ahead, off)]


def usual_hours(days: Micros, parts: Micros, ahead: Micros) -> Micros:
    """Hours (n, 2, 2) for the days ``ahead``: those that their weekday had most often among the last sessions."""
    recent, hours = days[-RECENT:], (parts - (days * DAY)[:, None, None])[-RECENT:]
    result = np.empty((len(ahead), *parts.shape[1:]), dtype=np.int64)
    for weekday in np.unique((ahead + 3) % 7):
        mine = hours[(recent + 3) % 7 == weekday]
        kinds, counts = np.unique(mine, axis=0, return_counts=True)
        rows = (ahead + 3) % 7 == weekday
        result[rows] = kinds[int(np.argmax(counts))] + (ahead[rows] * DAY)[:, None, None]
    return result


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
