"""Continue a history of timestamps, and describe its calendar in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from kronos.calendars import exchange
from kronos.calendars.beyond import CalendarWarning, announced_text, stale_text, warning_text
from kronos.calendars.history import DAY, HOUR, LAST_YEAR, PERIODS, History, Micros, Timestamps, read_history, utc_of
from kronos.calendars.night_sessions import NIGHT_MARKETS, variant_of
from kronos.calendars.pattern import MARKET_CLOCKS, WEEK, WeekPattern, disagreement, learn_clock, learn_week
from kronos.calendars.periods import next_labels
from kronos.calendars.utc import fit_only_as_utc
from kronos.errors import Argument, KronosError

MAX_HORIZON = 100_000
NEW_YORK = ZoneInfo("America/New_York")


def future_timestamps(history: Timestamps, horizon: int, calendar: str | None = None) -> pd.DatetimeIndex:
    """Return the timestamps of the next ``horizon`` bars after the last one of ``history``.

    history: timestamps of past bars, ascending, without duplicates: a Series, DatetimeIndex, list or array of datetimes
        or strings, naive or of one zone. Read only. Of more than 20,000 bars the last 20,000 are used.
    horizon: how many bars, 1 to 100,000.
    calendar: None (or "auto") continues the pattern that the history shows. A name takes sessions, holidays and early
        closes from ``exchange_calendars`` ("XNYS", "NYSE", "XSHG", "SSE", "XKRX", ...), any case; "24/7" or "crypto",
        "24/5" and "fx" (Sunday 17:00 to Friday 17:00 in New York) are continuous weeks without holidays. With a named
        exchange, naive timestamps are taken as its local time, or as UTC where only that fits its sessions, with a warning.

    Returns a DatetimeIndex with the zone (or naivety) and the unit of the history.
    Raises ValueError for a history that is empty, too short to have a spacing, unsorted, duplicated, missing values or
    unreadable (with the position), for a horizon out of range or beyond what the calendar knows, and for an unknown
    calendar (with near matches).
    """
    _check_horizon(horizon)
    name = _calendar_name(calendar)
    past = read_history(history, name is not None)
    read = _as_utc_where_only_that_fits(past, name)
    if read is not past:
        warnings.warn(
            f"the times lie in the sessions of {name} only as UTC, and are read so; give them their zone if they are not",
            CalendarWarning,
            stacklevel=2,
        )
    stamps = _future(read, int(horizon), name)
    _warn_beyond(past, stamps, name)
    return past.index_from_utc(stamps)


def _as_utc_where_only_that_fits(past: History, name: str | None) -> History:
    """Return the history, as UTC where its naive times lie in the exchange's sessions only when read as UTC."""
    if name is None or past.tz is not None or past.frequency.kind != "intraday" or not fit_only_as_utc(past.wall, name):
        return past
    return replace(past, tz=timezone.utc)


def _warn_beyond(past: History, stamps: Micros, name: str | None) -> None:
    """Warn how many timestamps come after the last day of the exchange calendar."""
    if name in (None, exchange.ALWAYS, exchange.WEEKDAYS, exchange.FX):
        return
    last = int(stamps[-1] // DAY)
    sessions = exchange.sessions_between(str(name), last, last)
    for limit in (sessions.limit, sessions.announced):
        beyond = 0 if limit is None else int((stamps // DAY > limit).sum())
        if limit is None or not beyond:
            continue
        if limit == sessions.limit:
            end = str(np.datetime64(limit, "D"))
            said = warning_text(str(name), exchange.base_of(str(name)), end, beyond, len(stamps))
        else:
            said = announced_text(str(name), limit, beyond, len(stamps))
        warnings.warn(said, CalendarWarning, stacklevel=3)
    if sessions.limit is None:
        _warn_stale(str(name), int(past.utc[-1] // DAY))


_SAID_STALE: set[str] = set()
"""Calendars of which it was said that the installed package is older than the history."""


def _warn_stale(name: str, last: int) -> None:
    """Say once a calendar that the installed exchange_calendars is too old to know the holidays of the history."""
    from importlib.metadata import version

    known = exchange.newest_holidays()
    if last > known and name not in _SAID_STALE:
        _SAID_STALE.add(name)
        warnings.warn(stale_text(name, known, last, version("exchange_calendars")), CalendarWarning, stacklevel=4)


def describe_calendar(history: Timestamps, calendar: str | None = None) -> str:
    """Return a sentence on the calendar that ``future_timestamps`` would use for this history, in the history's time zone.

    For example "5-minute bars, 48 a day, 09:35-11:30 and 13:05-15:00, Monday to Friday". Times are the first and last
    labels of each run of bars. Raises ValueError as ``future_timestamps`` does.
    """
    from kronos.calendars.describe import sentence

    name = _calendar_name(calendar)
    past = read_history(history, name is not None)
    read = _as_utc_where_only_that_fits(past, name)
    return sentence(past, name, lambda count: _future(read, count, name))


def _check_horizon(horizon: int) -> None:
    whole = isinstance(horizon, (int, np.integer)) and not isinstance(horizon, bool)
    if not whole or not 1 <= horizon <= MAX_HORIZON:
        raise ValueError(f"horizon is {horizon!r}, expected a whole number of bars from 1 to {MAX_HORIZON:,}")


def _calendar_name(calendar: str | None) -> str | None:
    if calendar is None or (isinstance(calendar, str) and calendar.strip().lower() == "auto"):
        return None
    return exchange.resolve(calendar)


def _future(past: History, horizon: int, name: str | None) -> Micros:
    kind = past.frequency.kind
    if kind in PERIODS:
        stamps = _periods(past, horizon, name)
    elif kind == "step" or (kind == "intraday" and _never_pauses(past, name)):
        stamps = _steps(past, horizon)
    elif name in (None, exchange.ALWAYS, exchange.WEEKDAYS, exchange.FX):
        stamps = _weekly(past, horizon, name)
    elif kind == "day":
        stamps = _session_days(past, horizon, str(name))
    else:
        stamps = _session_bars(past, horizon, str(name))
    assert len(stamps) == horizon and stamps[0] > past.utc[-1]
    return stamps


def _steps(past: History, horizon: int) -> Micros:
    step = past.frequency.step
    grid = np.bincount((past.utc[-200:] % step) // 1_000_000).argmax() * 1_000_000 if step % 1_000_000 == 0 else -1
    last = int(past.utc[-1])
    if grid >= 0 and np.mean(past.utc[-200:] % step == grid) > 0.8:
        last = last - (last - int(grid)) % step  # one stamp off the grid does not move the grid
    return _checked(last + step * np.arange(1, horizon + 1, dtype=np.int64))


def _never_pauses(past: History, name: str | None) -> bool:
    """True for a market named as always open, or for a history without a single pause and no calendar to ask."""
    return name == exchange.ALWAYS or (name is None and bool(np.all(np.diff(past.utc) == past.frequency.step)))


def _checked(stamps: Micros) -> Micros:
    if stamps[-1] // DAY > (LAST_YEAR - 1970) * 365.25:
        raise ValueError(f"the horizon ends after the year {LAST_YEAR}, past what timestamps hold: ask for fewer")
    return stamps


def _weekly(past: History, horizon: int, name: str | None) -> Micros:
    """A week that repeats: learned, or a continuous market's where the history is too short to show its weekend."""
    clock = NEW_YORK if name == exchange.FX and _fits_new_york(past) else learn_clock(past)
    week = learn_week(past, clock)
    if name == exchange.ALWAYS:
        week = WeekPattern(np.unique(week.offsets % DAY + np.arange(7)[:, None] * DAY), DAY, clock)
    elif name in (exchange.WEEKDAYS, exchange.FX) and past.utc[-1] - past.utc[0] < 9 * DAY:
        week = _continuous_week(past, week, name)
    if week.continuous and past.frequency.kind == "intraday":
        return _steps(past, horizon)
    return _from_wall(past, clock, horizon, lambda count: week.after(int(past.on_clock(clock)[-1]), count))


def _fits_new_york(past: History) -> bool:
    """True unless the history shows a weekend that does not end on a Sunday afternoon in New York (broker time)."""
    wall, step = past.on_clock(NEW_YORK), past.frequency.step
    reopened = wall[1:][np.diff(wall) > 36 * HOUR] % WEEK - 3 * DAY  # since Sunday 00:00
    if past.frequency.kind != "intraday" or disagreement(wall, step) > disagreement(past.wall, step) + 0.0005:
        return False  # 4-hour bars are often cut on the round hours of UTC, all year
    return len(reopened) == 0 or 16 * HOUR <= float(np.median(reopened)) <= 18 * HOUR


def _continuous_week(past: History, week: WeekPattern, name: str) -> WeekPattern:
    step = past.frequency.step
    if step == DAY:
        offsets = np.unique(week.offsets % DAY)[-1] + np.arange(5, dtype=np.int64) * DAY
        return WeekPattern(offsets, step, week.clock)
    start, end = (-DAY + 17 * HOUR, 4 * DAY + 17 * HOUR) if name == exchange.FX else (0, 5 * DAY)
    if name == exchange.FX and week.clock is None:
        return week  # the zone is unknown, its weekend is in the history
    phase = int(past.on_clock(week.clock)[-1]) % step
    first = -(-(start - phase) // step) * step + phase
    return WeekPattern(np.sort(np.arange(first, end, step, dtype=np.int64) % WEEK), step, week.clock)


def _from_wall(past: History, clock: tzinfo | None, horizon: int, build: Callable[[int], Micros]) -> Micros:
    """Wall times -> absolute ones. A few more are built: DST skips an hour, an off-pattern last bar may overlap."""
    spare = 4
    while True:
        stamps = past.from_clock(_checked(build(horizon + spare)), clock)
        stamps = stamps[stamps > past.utc[-1]]
        if len(stamps) >= horizon:
            return stamps[:horizon]
        spare *= 8


def _zone_for_days(past: History, exchange_zone: tzinfo | None) -> tzinfo | None:
    """The clock on which daily and longer bars always carry the same time of day; the history's own where it does."""
    zones = [ZoneInfo(each) for each in MARKET_CLOCKS] if exchange_zone is None else [exchange_zone]
    if past.tz is None:
        return None
    best: tzinfo | None = None
    fewest = len(np.unique(past.wall % DAY))
    for zone in zones:
        kinds = len(np.unique(past.on_clock(zone) % DAY))
        if kinds < fewest:
            best, fewest = zone, kinds
    return best


def _usual_time(wall: Micros) -> int:
    values, counts = np.unique(wall[-60:] % DAY, return_counts=True)
    return int(values[np.argmax(counts)])


def _periods(past: History, horizon: int, name: str | None) -> Micros:
    exchange_named = name not in (None, exchange.ALWAYS, exchange.WEEKDAYS, exchange.FX)
    zone = None
    if exchange_named:
        zone = exchange.sessions_between(str(name), int(past.wall[-1] // DAY) - 30, int(past.wall[-1] // DAY)).zone
    clock = _zone_for_days(past, zone)
    wall = past.on_clock(clock)

    def held(first: int, last: int) -> Micros:
        return exchange.sessions_between(str(name), first, last).days

    def build(count: int) -> Micros:
        days: Micros = next_labels(wall // DAY, past.frequency.kind, count, held if exchange_named else None)
        if len(days) < horizon:
            raise _beyond(str(name), len(days), horizon)
        return days * DAY + _usual_time(wall)

    return _from_wall(past, clock, horizon, build)


def _beyond(name: str, found: int, horizon: int) -> ValueError:
    return KronosError(
        f"calendar {name} knows only {found} of the {horizon} bars asked for, its holidays end there: ask for fewer, or use ",
        Argument("calendar", None),
        ", which continues the history's own pattern without holidays",
    )


def _session_days(past: History, horizon: int, name: str) -> Micros:
    """Daily bars: the dates are the sessions'. Labels are the exchange's midnight or UTC's: the better fit."""
    last = int(past.wall[-1] // DAY)
    known = exchange.sessions_between(name, int(past.wall[max(0, len(past.wall) - 250)] // DAY) - 3, last + 3)
    clocks = [None] if past.tz is None else [None, known.zone]

    def misfit(clock: tzinfo | None) -> tuple[float, int, float]:
        """Dates without a session, then times of day, then: midnight is a date, else the exchange's time is meant."""
        wall = past.on_clock(clock)[-250:]
        dated = 0.0 if _usual_time(wall) == 0 else 1.0 if clock is None else 0.5
        return -round(float(np.isin(wall // DAY, known.days).mean()), 2), len(np.unique(wall % DAY)), dated

    clock = min(clocks, key=misfit)
    wall = past.on_clock(clock)
    first = int(wall[-1] // DAY)

    def build(count: int) -> Micros:
        days = exchange.sessions_between(name, first + 1, first + int(count * 1.5) + 40).days
        if len(days) < horizon:
            raise _beyond(name, len(days), horizon)
        return days[:count] * DAY + _usual_time(wall)

    return _from_wall(past, clock, horizon, build)


def _session_bars(past: History, horizon: int, name: str) -> Micros:
    last = int(past.wall[-1] // DAY)
    zone = exchange.sessions_between(name, last - 30, last).zone
    clock = None if past.tz is None else zone
    wall = past.on_clock(clock)
    if name in NIGHT_MARKETS:
        name = variant_of(name, wall, past.frequency.step)
    start = max(int(wall[0] // DAY), last - exchange.LEARN_DAYS) - 1
    rule = exchange.learn_rule(past, wall, exchange.sessions_between(name, start, last + 30))
    days, found = 20, np.empty(0, dtype=np.int64)
    while len(found) < horizon + 1:
        sessions = exchange.sessions_between(name, last - 4, last + days)
        stamps = utc_of(rule.stamps(sessions), zone) if clock is not None else rule.stamps(sessions)
        longer = stamps[stamps > past.utc[-1]]
        if (days > 40 and len(longer) == len(found)) or days > 365 * 300:
            break  # a further year brought nothing: the calendar has ended
        found, days = longer, days * 2 + 365
    if len(found) < horizon:
        raise _beyond(name, len(found), horizon)
    return found[:horizon]
