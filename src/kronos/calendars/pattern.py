"""Infer a market's weekly pattern from its timestamps: weekdays, times of day and time zone.

The data are a table of days x times of day, True where a bar is. Recent days weigh more. A time of day stays when it
was seen on most recent comparable days, so a holiday, an early close or a minute without trades does not remove it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from kronos.calendars.history import DAY, HOUR, History, Micros

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

WEEK = 7 * DAY
MAX_DAYS = 400
# Half-lives in days. All weekdays together adapt within two weeks to new labels; one weekday alone needs more weeks,
# because it comes only once a week; whether a weekday trades at all hardly ever changes but holidays cluster.
HALF_LIFE_POOLED, HALF_LIFE_WEEKDAY, HALF_LIFE_OPEN = 7.0, 14.0, 28.0
# A market that shuts for this long every day is an exchange: same hours each weekday, no weekends unless seen.
DAILY_CLOSE = 4 * HOUR
NOT_BY_CHANCE = 0.001  # probability below which a run of empty slots is a rule of the market
# Clocks that a market may keep while its bars are stamped in another (UTC-stamped US stocks, FX, European stocks).
MARKET_CLOCKS = ("America/New_York", "Europe/London")


@dataclass(frozen=True)
class Table:
    """Days x times of day. ``seen`` says that a bar is there, ``known`` that the history reaches that cell at all."""

    days: Micros  # day numbers since 1970-01-01, rows
    times: Micros  # microseconds since midnight, columns
    seen: Bools
    known: Bools


@dataclass(frozen=True)
class WeekPattern:
    """A market's week: ``offsets`` are the microseconds since Monday 00:00, on ``clock`` (None: the history's own)."""

    offsets: Micros
    step: int
    clock: tzinfo | None

    @property
    def continuous(self) -> bool:
        """True when bars never pause, which plain absolute steps continue best (DST does not touch them)."""
        gaps = np.diff(np.append(self.offsets, self.offsets[0] + WEEK))
        return bool(gaps.max() == gaps.min() == self.step)

    def after(self, last_wall: int, count: int) -> Micros:
        """The next ``count`` wall times strictly after ``last_wall``."""
        monday = (last_wall // DAY - (last_wall // DAY + 3) % 7) * DAY
        weeks = np.arange(count // len(self.offsets) + 3, dtype=np.int64)
        stamps = (monday + weeks[:, None] * WEEK + self.offsets[None, :]).ravel()
        return stamps[stamps > last_wall][:count]


def make_table(days: Micros, times: Micros) -> Table:
    """Arrange stamps, given as a day number and a time within that day, in a table of the last ``MAX_DAYS`` days."""
    recent = days > days[-1] - MAX_DAYS
    days, times = days[recent], times[recent]
    rows, row = np.unique(days, return_inverse=True)
    columns, column = np.unique(times, return_inverse=True)
    seen = np.zeros((len(rows), len(columns)), dtype=bool)
    seen[row, column] = True
    known = np.ones_like(seen)
    known[0, columns < times[0]] = False  # the history begins and ends in the middle of a day
    known[-1, columns > times[-1]] = False
    return Table(rows, columns, seen, known)


def share(table: Table, rows: Bools, half_life: float) -> tuple[Floats, Floats]:
    """For each time of day: the recency-weighted share of known days with a bar, and the weight behind it."""
    weights = np.exp2(-(table.days[-1] - table.days) / half_life) * rows
    weight = weights @ table.known
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ table.seen) / weight, weight


def after_change_of_labels(table: Table) -> Table:
    """The last days only, where three whole days in a row agree on other times of day than the norm before them.

    Providers do change their labels (09:30, 10:00, 11:00 becomes 09:30, 10:30, 11:30). Shorter days, such as early
    closes, never count as a change.
    """
    whole = np.flatnonzero(table.known.all(axis=1))
    if len(whole) < 6:
        return table
    alike = (table.seen[whole] == table.seen[whole[-1]]).all(axis=1)
    run = len(whole) if alike.all() else int(np.argmin(alike[::-1]))  # whole days at the end that agree
    before = table.seen[whole[: len(whole) - run]]
    if run < 3 or len(before) < 3 or alike[: len(before)][-20:].any():
        return table  # no change, or days like these were always among the others
    if table.seen[whole[-1]].sum() < 0.9 * np.median(before.sum(axis=1)):
        return table
    start = whole[-run]
    return Table(table.days[start:], table.times, table.seen[start:], table.known[start:])


def usual(shares: Floats, among: Floats | None = None) -> Bools:
    """Which times of day are the norm: half of what the busy times reach, so that thin markets keep their hours too.

    How busy the busy times are is read off ``among`` where given: a weekday's own days, before others speak for it.
    """
    busy = shares if among is None or not among.any() else among
    busy = busy[busy > 0]
    if not len(busy):
        return np.zeros(len(shares), dtype=bool)
    level = max(float(np.quantile(busy, 0.9)), float((busy**2).sum() / busy.sum()))
    return np.asarray(shares >= 0.5 * level)


def fill_holes(times: Micros, on: Bools, shares: Floats, ever: Floats, days: int, step: int) -> Micros:
    """The usual times, plus those that fell out only because the market is thin.

    A hole between two usual times is a break when bars would have shown up there by chance. With a local density q,
    a hole of n slots stays empty for d days with probability (1 - q)^(n d): above 1 %, thinness explains it.
    """
    usual_times = times[on]
    gaps = np.diff(usual_times)
    extra: list[Micros] = []
    for at in np.flatnonzero((gaps > step) & (gaps % step == 0) & (gaps < DAY // 2)):
        start, end = usual_times[at], usual_times[at + 1]
        slots = int(gaps[at] // step) - 1
        near = (times >= start - 10 * step) & (times <= end + 10 * step)
        around = near & on
        density = min(float(shares[around].mean()), float(around.sum()) / (float(around.sum()) + min(slots, 2)))
        within = (times > start) & (times < end)
        inside = float((ever if density < 0.9 else shares)[within].sum())
        empty_by_chance = (1 - density) ** (slots * days) > 0.01 and (days > 2 or slots <= 2)
        if inside >= 0.4 * density * slots or (inside == 0 and empty_by_chance):
            extra.append(np.arange(start + step, end, step, dtype=np.int64))
    return np.sort(np.concatenate([usual_times, *extra])) if extra else usual_times


def learn_week(history: History, clock: tzinfo | None) -> WeekPattern:
    """The week that the history shows on ``clock``. A history too short to show a pause gives plain steps."""
    wall, step = history.on_clock(clock), history.frequency.step
    begins = _start_of_day(wall, step)
    wall = wall - begins
    table = make_table(wall // DAY, wall % DAY)
    weekday = (table.days + 3) % 7
    pooled = _pooled_shares(table, weekday)
    unreached = _unreached_times(wall, step)
    shuts_daily = _longest_pause(np.union1d(table.times[usual(pooled)], unreached)) >= DAILY_CLOSE + step
    is_open = _open_weekdays(table.days, shuts_daily)
    if shuts_daily:
        table = after_change_of_labels(table)
        weekday = (table.days + 3) % 7
        pooled = _pooled_shares(table, weekday)
    trust = 3.0 if shuts_daily else 0.5  # how many days of its own outweigh what the other weekdays say
    ever = table.seen.sum(axis=0) / np.maximum(table.known.sum(axis=0), 1)
    offsets = []
    for day in np.flatnonzero(is_open):
        own, weight = share(table, weekday == day, HALF_LIFE_WEEKDAY)
        own = np.nan_to_num(own)
        others = np.where(_never_at(table, weekday == day, pooled), 0.0, pooled)
        shares = (own * weight + trust * others) / (weight + trust)
        if step == DAY:
            offsets.append(table.times[[int(np.argmax(shares))]] + day * DAY)  # one bar a day, whatever DST did
            continue
        days = int((weekday == day).sum()) if not shuts_daily else len(table.days)
        times = fill_holes(table.times, usual(shares, own), shares, ever, max(days, 1), step)
        offsets.append(np.union1d(times, unreached) + day * DAY)
    return WeekPattern(np.sort((np.concatenate(offsets) + begins) % WEEK), step, clock)


def _start_of_day(wall: Micros, step: int) -> int:
    """When the market's day begins, in microseconds after midnight: 0, or in a daily pause where it trades past midnight.

    Night sessions (21:00 to 02:30) belong to the day on which they open: cut at midnight, the weekdays differ (no bars early on
    Monday, a few on Saturday); cut in the pause of the early morning they are alike. Of several pauses, the one with the
    fewest weekdays that have bars, then the longest.
    """
    around = (DAILY_CLOSE + step) // 2
    if step >= DAY or not ((wall + around) % DAY < 2 * around).any():
        return 0  # shut around midnight
    table = make_table(wall // DAY, wall % DAY)
    shares = _pooled_shares(table, (table.days + 3) % 7)
    times = np.union1d(table.times[usual(shares)], _unreached_times(wall, step))
    pauses = np.diff(np.append(times, times[0] + DAY))
    if pauses[-1] >= DAILY_CLOSE + step:
        return 0  # shut at midnight

    def weekdays(begins: int) -> int:
        return len(np.unique(((wall - begins) // DAY + 3) % 7))

    long = np.flatnonzero(pauses >= DAILY_CLOSE + step)
    starts = [int(times[at] + pauses[at] // 2) for at in long[np.argsort(-pauses[long], kind="stable")]]
    return min(starts, key=weekdays, default=0)


def _never_at(table: Table, rows: Bools, pooled: Floats) -> Bools:
    """Times at which a weekday seen at least twice never had a bar, in runs that chance does not explain.

    A weekday may have hours of its own (a short Friday). One day of it could be an early close, two are the rule.
    """
    known = table.known[rows].sum(axis=0)
    empty = (known >= 2) & ~table.seen[rows].any(axis=0) & usual(pooled)
    result = np.zeros(len(pooled), dtype=bool)
    busy = np.flatnonzero(usual(pooled))
    for run in np.split(busy, np.flatnonzero(np.diff(empty[busy].astype(np.int8))) + 1):
        if len(run) and empty[run[0]]:
            chance = float(((1 - pooled[run]) ** known[run]).prod())
            result[run] = chance < NOT_BY_CHANCE
    return result


def learn_clock(history: History) -> tzinfo | None:
    """Infer the market's time zone: None for the history's own, or the one in which its days agree clearly better.

    Bars stamped in UTC move by an hour when New York or Europe change their clocks; on the market's own clock they do
    not. Where the history shows no change of clocks, two well-known weeks still tell: FX opens on Sunday at 17:00 in
    New York, US stocks trade from 9:30 to 16:00.
    """
    own = disagreement(history.wall, history.frequency.step)
    best, best_score = None, own
    for name in MARKET_CLOCKS:
        zone = ZoneInfo(name)
        wall = history.on_clock(zone)
        shifts = np.unique(wall - history.wall)
        if len(shifts) == 1:
            if shifts[0] != 0 and name == "America/New_York" and _known_week(wall, history.frequency.step):
                return zone
            continue
        score = disagreement(wall, history.frequency.step)
        if score < 0.8 * best_score - 0.0005:
            best, best_score = zone, score
    return best


def disagreement(wall: Micros, step: int) -> float:
    """Return how much the days of the same weekday differ: variance of presence, per bar; 0 when all weeks are equal."""
    wall = wall - _start_of_day(wall, step)
    table = make_table(wall // DAY, wall % DAY)
    weekday = (table.days + 3) % 7
    total = 0.0
    for day in np.unique(weekday):
        rows = weekday == day
        known = table.known[rows].sum(axis=0)
        p = table.seen[rows].sum(axis=0) / np.maximum(known, 1)
        total += float((known * p * (1 - p)).sum())
    return total / len(wall)


def _known_week(wall: Micros, step: int) -> bool:
    """True for bars on a New York wall that open on Sunday at 17:00, or trade from 9:30 to 16:00 on weekdays."""
    weekday, time = (wall // DAY + 3) % 7, wall % DAY
    if step > HOUR or np.any(weekday == 5):
        return False
    pauses = np.flatnonzero(np.diff(wall) > 36 * HOUR) + 1
    if np.any(weekday == 6):
        return len(pauses) > 0 and bool(np.median(wall[pauses] % WEEK) == 3 * DAY + 17 * HOUR)
    edges = (int(time.min()), int(time.max()) + step)
    return edges == (19 * HOUR // 2, 16 * HOUR)


def _pooled_shares(table: Table, weekday: Micros) -> Floats:
    """Shares over the working days together, or over all days for times that only weekends have reached."""
    everywhere, _ = share(table, np.ones(len(weekday), dtype=bool), HALF_LIFE_POOLED)
    working, weight = share(table, weekday < 5, HALF_LIFE_POOLED)
    return np.nan_to_num(np.where(weight > 0, working, everywhere))


def _longest_pause(times: Micros) -> int:
    return int(np.diff(np.append(times, times[0] + DAY)).max())


def _unreached_times(wall: Micros, step: int) -> Micros:
    """Times of day that a history shorter than a day does not reach: nothing is known of them, so bars go on."""
    first, last = int(wall[0]), int(wall[-1])
    if last - first >= DAY - step or step >= DAY:
        return np.empty(0, dtype=np.int64)
    return np.asarray(np.arange(last + step, first + DAY, step, dtype=np.int64) % DAY)


def _open_weekdays(days: Micros, closes_daily: bool) -> Bools:
    """Which weekdays trade: most recent ones had bars. Too few to tell: working days do, weekends as hours suggest."""
    span = np.arange(days[0], days[-1] + 1)
    ahead = np.minimum(np.searchsorted(days, span), len(days) - 1)
    behind = np.searchsorted(days, span, side="right") - 1
    span = span[days[ahead] - days[behind] <= 4]  # a holiday week, or weeks that the data lack, are no evidence
    weekday, had_bars = (span + 3) % 7, np.isin(span, days)
    weights = np.exp2(-(span[-1] - span) / HALF_LIFE_OPEN)
    result = np.ones(7, dtype=bool)
    for day in range(7):
        mine = weekday == day
        count, opened = int(mine.sum()), int(had_bars[mine].sum())
        if count == 0:
            result[day] = day < 5 or not closes_daily
        elif count <= 2 and opened == 0:
            result[day] = day < 5  # one absent working day is a holiday, one absent weekend day is a weekend
        else:
            result[day] = float((weights * had_bars)[mine].sum()) >= 0.5 * float(weights[mine].sum())
    # A market so thin that most days lack bars still has its weekdays.
    return result if result.any() else np.isin(np.arange(7), weekday[had_bars])
