"""Description of a calendar in words, from the timestamps that it produces, so that it agrees with the behaviour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kronos.calendars.history import DAY, HOUR, MINUTE, PERIODS, SECOND, History, Micros, wall_of

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PERIOD_WORDS = {"W": "weekly", "M": "monthly", "Q": "quarterly", "Y": "yearly"}


def sentence(past: History, name: str | None, future: Callable[[int], Micros]) -> str:
    """Describe the next weeks. ``future(n)`` gives the next n absolute stamps."""
    source = f", calendar {name}" if name else ""
    if past.frequency.kind in PERIODS:
        return f"{PERIOD_WORDS[past.frequency.kind]} bars{source}"
    wall = _next_weeks(past, future)
    days = wall // DAY
    rows, counts = np.unique(days, return_counts=True)
    if past.frequency.kind == "step":
        return f"{_length(past.frequency.step)} bars, evenly spaced{source}"
    weekdays = np.unique((rows + 3) % 7)
    if past.frequency.kind == "day":
        return f"daily bars, {_names(weekdays)}{source}"
    norm = int(np.bincount(counts).argmax())
    day = wall[days == rows[np.flatnonzero(counts == norm)[-1]]] % DAY
    full = [each for each in weekdays if np.median(counts[(rows + 3) % 7 == each]) == norm]
    step = past.frequency.step
    words = f"{_length(step)} bars, {norm} a day, {_runs(day, step)}, {_names(np.array(full))}"
    for each in sorted(set(weekdays) - set(full)):
        example = wall[days == rows[(rows + 3) % 7 == each][-1]] % DAY
        words += f", {WEEKDAYS[each]} {_runs(example, step)}"
    return words + source


def _next_weeks(past: History, future: Callable[[int], Micros]) -> Micros:
    """Whole days of about four weeks ahead, on the history's own wall. Near the end of a calendar fewer will do."""
    count = min(30 * DAY // past.frequency.step + 1, 45_000)
    while True:
        try:
            utc = future(int(count))
            break
        except ValueError:
            if count <= 2:
                raise
            count //= 2
    wall = utc if past.tz is None else wall_of(utc, past.tz)
    within = wall < min(int(wall[0] + 29 * DAY), int(wall[-1]))
    whole = within & (wall // DAY > wall[0] // DAY) & (wall // DAY < wall[-1] // DAY)
    return wall[whole] if whole.any() else wall


def _runs(times: Micros, step: int) -> str:
    """Uninterrupted runs of bars as "09:35-11:30 and 13:05-15:00"."""
    if len(times) * step >= DAY:
        return "around the clock"
    breaks = np.flatnonzero(np.diff(times) > step) + 1
    split = np.split(times, breaks)
    runs = [f"{_clock(run[0])}-{_clock(run[-1])}" if len(run) > 1 else _clock(run[0]) for run in split]
    if len(runs) > 4:
        return f"{_clock(times[0])}-{_clock(times[-1])} with pauses"
    return " and ".join([", ".join(runs[:-1]), runs[-1]]) if len(runs) > 1 else runs[0]


def _clock(time: int) -> str:
    second = "" if time % MINUTE == 0 else f":{time % MINUTE // SECOND:02d}"
    return f"{time // HOUR:02d}:{time % HOUR // MINUTE:02d}{second}"


def _length(step: int) -> str:
    for unit, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second")):
        if step % unit == 0:
            return f"{step // unit}-{word}"
    return f"{step / SECOND:g}-second"


def _names(weekdays: Micros) -> str:
    """ "Monday to Friday" for neighbours, "every day" for all, else a list. A week may also begin on Sunday."""
    if len(weekdays) == 7:
        return "every day"
    for first in range(7):
        run = [(first + at) % 7 for at in range(len(weekdays))]
        if set(run) == {int(each) for each in weekdays} and len(run) > 2:
            return f"{WEEKDAYS[run[0]]} to {WEEKDAYS[run[-1]]}"
    return ", ".join(WEEKDAYS[each] for each in weekdays)
