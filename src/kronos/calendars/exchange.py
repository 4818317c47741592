"""Named calendars: sessions of an exchange (``exchange_calendars``), and the timestamps of its bars within them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from kronos.calendars.beyond import days_beyond, last_announced, usual_hours
from kronos.calendars.history import DAY, HOUR, LAST_YEAR, History, Micros, utc_of, wall_of
from kronos.calendars.night_sessions import CN_FUTURES, HK_FUTURES, NIGHT_MARKETS, night_parts, split_name
from kronos.calendars.pattern import after_change_of_labels, fill_holes, make_table, share, usual
from kronos.errors import Argument, KronosError

ALWAYS, WEEKDAYS, FX = "24/7", "24/5", "fx"  # need no table of holidays, so exchange_calendars is not imported for them
COMMON = (
    "XNYS (NYSE, NASDAQ)",
    "XSHG (SSE, SZSE)",
    "XHKG",
    "XKRX",
    "XTKS",
    "XLON",
    "XETR",
    "24/7 (crypto)",
    "fx",
    CN_FUTURES,
    HK_FUTURES,
)
ALIASES = {
    "CRYPTO": ALWAYS, "24X7": ALWAYS, "FX": FX, "FOREX": FX, "24/7": ALWAYS, "24/5": WEEKDAYS, "US": "XNYS",
    "SZSE": "XSHG", "XSHE": "XSHG", "CN": "XSHG", "HK": "XHKG", "KRX": "XKRX", "KOSPI": "XKRX", "KR": "XKRX",
    "NSE": "XBOM", "XNSE": "XBOM", "XETRA": "XETR", "TSE": "XTKS", "JP": "XTKS", "AMEX": "XNYS", "EURONEXT": "XPAR",
    "TASE": "XTAE", "CN-FUTURES": CN_FUTURES, "SHFE": CN_FUTURES, "XSGE": CN_FUTURES, "DCE": CN_FUTURES, "XDCE": CN_FUTURES,
    "CZCE": CN_FUTURES, "XZCE": CN_FUTURES, "INE": CN_FUTURES, "XINE": CN_FUTURES, "GFEX": CN_FUTURES, "CFFEX": CN_FUTURES,
    "HK-FUTURES": HK_FUTURES, "HKFE": HK_FUTURES, "XHKF": HK_FUTURES,
}  # fmt: skip
LEARN_DAYS = 150  # bars within sessions are learned from about this many last days
PATTERN_HALF_LIFE = 7.0


@dataclass(frozen=True)
class Sessions:
    """Sessions of an exchange on its own wall clock, in microseconds. ``parts`` is (n, runs, 2): session, run, from/to.

    A session without a break has its whole length as first run and an empty second one (from == to == close).
    """

    name: str
    zone: tzinfo
    days: Micros
    parts: Micros
    limit: int | None = (
        None  # last day of which the calendar knows whether it is a session; later ones are its usual days
    )
    announced: int | None = (
        None  # last day of the years whose announced holidays the calendar lists; None: as far as it goes
    )

    @property
    def open(self) -> Micros:
        return self.parts[:, 0, 0]

    @property
    def close(self) -> Micros:
        return self.parts[:, -1, 1]

    @property
    def crosses_midnight(self) -> bool:
        return bool(np.any(self.open < self.days * DAY) or np.any(self.close > (self.days + 1) * DAY))

    def where(self, keep: Any) -> Sessions:
        return replace(self, days=self.days[keep], parts=self.parts[keep])

    def of(self, wall: Micros) -> Micros:
        """For each stamp the position of its session, -1 for none: by date, or by opening time for night sessions.

        The label of a last bar may be the close itself, or lie up to an hour after it.
        """
        if self.crosses_midnight:
            at = np.searchsorted(self.open, wall, side="right") - 1
            return np.where((at >= 0) & (wall < self.close[np.maximum(at, 0)] + HOUR), at, -1)
        at = np.minimum(np.searchsorted(self.days, wall // DAY), len(self.days) - 1)
        return np.where(self.days[at] == wall // DAY, at, -1)


@dataclass(frozen=True)
class SlotRule:
    """Bars at the times of day that the history shows, cut on days that open late or close early."""

    offsets: Micros  # microseconds since the session's midnight
    opens: int
    closes: int
    since: int  # the day from which on the bars have these labels
    step: int

    @property
    def left(self) -> bool:
        """Whether labels are the openings of bars, as far as it shows: no label is the close, or one is the opening."""
        return bool(self.offsets[0] <= self.opens or self.offsets[-1] < self.closes)

    def stamps(self, sessions: Sessions) -> Micros:
        midnight = sessions.days * DAY
        hours = np.stack([sessions.open - midnight, sessions.close - midnight], axis=1)
        kinds, kind = np.unique(hours, axis=0, return_inverse=True)
        stamps = [
            (midnight[kind.ravel() == at][:, None] + self._labels(int(opens), int(closes))).ravel()
            for at, (opens, closes) in enumerate(kinds)
        ]
        return np.sort(np.concatenate(stamps)) if stamps else midnight

    def _labels(self, opens: int, closes: int) -> Micros:
        """Labels of a session with these hours: cut where it opens late or closes early, continued where it is longer."""
        late, early = max(opens - self.opens, 0), self.closes - closes
        first, last = int(self.offsets[0]) + late, int(self.offsets[-1])
        labels = self.offsets[self.offsets >= first]
        if early == 0 or len(labels) < 2:
            return labels
        if self.left:  # a bar that has begun before the close is there
            end = (last + self.step if not last < self.closes < last + self.step else self.closes) - early
            labels = labels[labels < end]
            tail = np.arange(labels[-1] + self.step, end, self.step) if len(labels) else labels
        else:  # a bar that has ended by the close is there, and the rest of a bar where such a rest is labelled with the close
            end = last - early
            whole, rest = self.offsets[-2] + self.step <= last, labels[-1] != end
            labels = labels[labels <= end] if whole or not rest else np.append(labels[labels < end], end)
            tail = np.arange(labels[-1] + self.step, end + 1, self.step) if len(labels) else labels
        return np.asarray(np.concatenate([labels, tail]), dtype=np.int64)


@dataclass(frozen=True)
class HoursRule:
    """Bars built from opening hours: every ``step`` from each opening, or on the ``grid`` of a clock's round times."""

    step: int
    edge: Literal["left", "right"]
    grid: bool
    clock: tzinfo | None = None  # whose round times; None: the exchange's own

    def stamps(self, sessions: Sessions) -> Micros:
        start, end = (self._on_grid_clock(sessions.parts[:, :, side].ravel(), sessions) for side in (0, 1))
        real, step = end > start, self.step
        start, end = start[real], end[real]
        first = start // step * step if self.grid else start
        counts = -(-(end - first) // step)
        if self.edge == "right" and not self.grid:
            counts = (end - first) // step
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        wall = np.unique(np.repeat(first, counts) + (within + (self.edge == "right")) * step)
        return wall if self.clock is None else wall_of(utc_of(wall, self.clock), sessions.zone)

    def _on_grid_clock(self, wall: Micros, sessions: Sessions) -> Micros:
        return wall if self.clock is None else wall_of(utc_of(wall, sessions.zone), self.clock)


Rule = SlotRule | HoursRule


def resolve(name: str) -> str:
    """The canonical name of a calendar, or ValueError with near matches. Case does not matter."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"calendar is {name!r}, expected a name such as {', '.join(COMMON)}, or None to learn it")
    key = name.strip().upper()
    if key in ALIASES:
        return ALIASES[key]
    import exchange_calendars

    known = {str(each).upper(): str(each) for each in exchange_calendars.get_calendar_names(include_aliases=True)}
    if key in known:
        return str(exchange_calendars.resolve_alias(known[key]))
    near = difflib.get_close_matches(key, [*known, *ALIASES], n=4, cutoff=0.5)
    hint = f"; near: {', '.join(known.get(each, each) for each in near)}" if near else ""
    raise ValueError(f"calendar {name!r} is unknown{hint}. Common ones: {', '.join(COMMON)}; None learns the pattern")


def sessions_between(name: str, first_day: int, last_day: int) -> Sessions:
    """Sessions from ``first_day`` to ``last_day`` (day numbers since 1970); past what the calendar knows, its weekdays."""
    market, end = split_name(name)
    if market in NIGHT_MARKETS:
        return _night_sessions(market, end, first_day, last_day)
    # Holiday rules look a year ahead, which must still be a time that pandas can hold.
    first, last = (min(pd.Timestamp(day * DAY, unit="us").year, LAST_YEAR - 1) for day in (first_day, last_day))
    everything = _load(name, first, last)
    return everything.where((everything.days >= first_day) & (everything.days <= last_day))


def _night_sessions(market: str, end: int | None, first_day: int, last_day: int) -> Sessions:
    hours = NIGHT_MARKETS[market]
    base = sessions_between(hours.base, first_day, last_day + 30)
    length = base.close - base.days * DAY
    early = length < np.median(length)
    following = base.days[base.days > last_day]
    kept = base.days <= last_day
    days = base.days[kept]
    parts = night_parts(hours, days, early[kept], end, int(following[0]) if len(following) else last_day + 1)
    return Sessions(market, base.zone, days, parts, base.limit, base.announced)


def base_of(name: str) -> str:
    """The exchange whose trading days a calendar has: its own, save for futures with night sessions."""
    market = split_name(name)[0]
    return NIGHT_MARKETS[market].base if market in NIGHT_MARKETS else name


@lru_cache(maxsize=32)
def _load(name: str, first_year: int, last_year: int) -> Sessions:
    """Whole years are loaded, so that calls a few days apart share one slow build."""
    known = _known_sessions(name, first_year, last_year)
    last_day = int(np.datetime64(f"{last_year}-12-31", "D").astype(np.int64))
    if known.limit is None or known.limit >= last_day:
        return known
    ahead = days_beyond(name, known.days, last_day)
    parts = np.concatenate([known.parts, usual_hours(known.days, known.parts, ahead)])
    return replace(known, days=np.concatenate([known.days, ahead]), parts=parts)


def _known_sessions(name: str, first_year: int, last_year: int) -> Sessions:
    """Sessions that ``exchange_calendars`` knows of these years, or of the last years that it knows."""
    import exchange_calendars

    start, end = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    try:
        schedule, zone, limit, announced = _schedule(name, start, end)
    except (ValueError, NotImplementedError) as error:
        try:
            default = exchange_calendars.get_calendar(name)  # some calendars know only a range of years: ask which
        except (ValueError, NotImplementedError):
            raise KronosError(
                f"exchange_calendars cannot build {name} ({str(error)[:100]}): use ",
                Argument("calendar", None),
                ", or another version of it",
            ) from error
        lowest, highest = default.bound_min(), default.bound_max()
        end = min(end, highest or end)
        start = max(min(start, pd.Timestamp(end.year - 1, 1, 1)), lowest or start)
        if pd.Timestamp(last_year, 12, 31) <= start:
            raise KronosError(
                f"calendar {name} knows sessions from {_day(lowest)} to {_day(highest)}, "
                f"needed are {first_year} to {last_year}: use ",
                Argument("calendar", None),
                " to continue the history's own pattern",
            ) from None
        schedule, zone, limit, announced = _schedule(name, start, end)

    def wall(times: pd.Series) -> Micros:
        local = pd.DatetimeIndex(times).tz_convert(zone).tz_localize(None)
        return np.asarray(local.as_unit("us").asi8, dtype=np.int64)

    opens, closes = wall(schedule["open"]), wall(schedule["close"])
    pauses, resumes = wall(schedule["break_start"]), wall(schedule["break_end"])
    whole = schedule["break_start"].isna().to_numpy()
    pauses, resumes = np.where(whole, closes, pauses), np.where(whole, closes, resumes)
    parts = np.stack([np.stack([opens, pauses], axis=1), np.stack([resumes, closes], axis=1)], axis=1)
    days = np.asarray(pd.DatetimeIndex(schedule.index).as_unit("us").asi8, dtype=np.int64) // DAY
    return Sessions(name, zone, days, parts, limit, announced)


def _schedule(name: str, start: pd.Timestamp, end: pd.Timestamp) -> tuple[pd.DataFrame, Any, int | None, int | None]:
    """The table of sessions (open, break_start, break_end, close in UTC), the exchange's zone, and the last days known:
    of the calendar, and of the years whose announced holidays it lists."""
    import exchange_calendars

    if name == "XTAE":
        return *_tel_aviv(start, end), None, None
    calendar = exchange_calendars.get_calendar(name, start=start, end=end)
    bound = calendar.bound_max()
    if bound is not None:
        return calendar.schedule, calendar.tz, _day_number(bound), None
    return calendar.schedule, calendar.tz, None, last_announced(calendar.adhoc_holidays)


def newest_holidays() -> int:
    """Day number since 1970 up to which the installed exchange_calendars has holidays announced from year to year: Shanghai's."""
    from exchange_calendars.exchange_calendar_xshg import XSHGExchangeCalendar

    return _day_number(XSHGExchangeCalendar.bound_max())


def _day_number(day: pd.Timestamp) -> int:
    return int(np.datetime64(day, "D").astype(np.int64))


def _tel_aviv(start: pd.Timestamp, end: pd.Timestamp) -> tuple[pd.DataFrame, Any]:
    """Sessions of Tel Aviv, which moved from Sunday to Thursday to Monday to Friday on 5 January 2026.

    exchange_calendars 4.13 does not build it with pandas 3, which ignores its change of weekdays: each side is built by itself.
    """
    from exchange_calendars.exchange_calendar_xtae import XTAEExchangeCalendar

    change = pd.Timestamp(2026, 1, 5)
    tables = []
    for mask, first, last in (
        ("1111001", start, min(end, change - pd.Timedelta("1D"))),
        ("1111100", max(start, change), end),
    ):
        if first < last:
            side = type("Side", (XTAEExchangeCalendar,), {"weekmask": mask, "special_weekmasks": []})
            tables.append(side(start=first, end=last))
    return pd.concat([each.schedule for each in tables]), tables[0].tz


def _day(bound: pd.Timestamp | None) -> str:
    return "any time" if bound is None else f"{bound:%Y-%m-%d}"


def learn_rule(history: History, wall: Micros, sessions: Sessions) -> Rule:
    """Choose the rule of the bars' timestamps within sessions that reproduces the recent history best.

    The times of day that the history shows win ties once three sessions have been seen. Bars cut on the round times of
    another clock (4-hour bars in UTC) and short histories need the ways that start from the opening hours.
    Raises ValueError when hardly any bar lies in a session, because then the calendar is not this market's.
    """
    recent = wall >= wall[-1] - LEARN_DAYS * DAY
    wall = wall[recent]
    position = sessions.of(wall)
    if np.mean(position >= 0) < 0.5:
        raise ValueError(
            f"only {np.mean(position >= 0):.0%} of the recent history lies in sessions of {sessions.name} "
            f"({sessions.zone}): name the market's own calendar, or check the zone of the timestamps"
        )
    wall, position = wall[position >= 0], position[position >= 0]
    lived = sessions.where(slice(int(position[0]), int(position[-1]) + 1))
    ahead = sessions.where(slice(int(position[-1]) + 1, None))
    rules: list[Rule] = []
    step = history.frequency.step
    slots = _learn_slots(wall, position - position[0], lived, ahead, step)
    clocks: list[tzinfo | None] = [None]
    if history.tz is not None and str(history.tz) != str(sessions.zone):
        clocks.append(history.tz)
    for clock in clocks:
        for grid in (False, True) if clock is None else (True,):
            rules += [HoursRule(step, "left", grid, clock)]
            rules += [HoursRule(step, "right", grid, clock)]
    judged = wall if slots is None else wall[wall >= slots.since * DAY]
    scores = [_overlap(rule.stamps(lived), judged, step) for rule in rules]
    best = int(np.argmax(scores))
    if step > HOUR and len(rules) > 4 and max(scores[4:]) >= max(0.99, scores[best]):
        return rules[4 + int(np.argmax(scores[4:]))]  # long bars are cut in the zone of their labels, if that fits
    enough = len(np.unique(position)) >= 3
    if slots is None or (_overlap(slots.stamps(lived), judged, step) < scores[best] + (-0.005 if enough else 0.05)):
        return rules[best]
    return slots if wall[-1] - wall[0] >= DAY else _completed(slots, rules[best], wall, lived.where(slice(-1, None)))


def _completed(slots: SlotRule, hours: Rule, wall: Micros, last: Sessions) -> SlotRule:
    """Slots of a history shorter than a day, with those of the opening hours added where the history does not reach."""
    midnight = int(last.days[0]) * DAY
    rest = hours.stamps(last)
    one_day = last.days[0] == wall[0] // DAY
    rest = rest[(rest > wall[-1]) & ((rest < wall[0] + DAY) | one_day)] - midnight
    return replace(slots, offsets=np.union1d(slots.offsets, rest))


def _learn_slots(wall: Micros, position: Micros, lived: Sessions, ahead: Sessions, step: int) -> SlotRule | None:
    """Usual times of day within sessions of usual length; None when no such session was seen.

    Usual is the length of most sessions ahead, once three such were seen: exchanges change their hours.
    """
    midnight = lived.days * DAY
    hours = np.stack([lived.open - midnight, lived.close - midnight], axis=1)
    kinds, kind, counts = np.unique(hours, axis=0, return_inverse=True, return_counts=True)
    usual_kind = int(np.argmax(counts))
    if len(ahead.days):
        coming = np.stack([ahead.open, ahead.close], axis=1) - (ahead.days * DAY)[:, None]
        found, times = np.unique(coming, axis=0, return_counts=True)
        same = np.flatnonzero((kinds == found[int(np.argmax(times))]).all(axis=1))
        usual_kind = int(same[0]) if len(same) and counts[same[0]] >= 3 else usual_kind
    regular = kind.ravel() == usual_kind
    keep = regular[position]
    if not keep.any():
        return None
    table = make_table(lived.days[position[keep]], wall[keep] - midnight[position[keep]])
    table = after_change_of_labels(table)
    shares = np.nan_to_num(share(table, np.ones(len(table.days), dtype=bool), PATTERN_HALF_LIFE)[0])
    ever = table.seen.sum(axis=0) / np.maximum(table.known.sum(axis=0), 1)
    offsets = fill_holes(table.times, usual(shares), shares, ever, len(table.days), step)
    opens, closes = kinds[usual_kind]
    return SlotRule(offsets, int(opens), int(closes), int(table.days[0]), step)


def _overlap(rebuilt: Micros, wall: Micros, reach: int) -> float:
    """Return the share of bars in common (Jaccard index) within the history and ``reach`` before it.

    The reach is one step: a history that begins one bar after the opening indicates labels at the end of bars.
    """
    rebuilt = rebuilt[(rebuilt >= wall[0] - reach) & (rebuilt <= wall[-1])]
    common = len(np.intersect1d(rebuilt, wall))
    return common / max(len(rebuilt) + len(wall) - common, 1)
