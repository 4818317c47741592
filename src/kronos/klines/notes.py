"""What a reader of a forecast should know about its bars and times, in one line each: nothing is refused for it.

Legend: T bars.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

DAY = pd.Timedelta("1D")
MOST_BARS = 20_000


def notes_of(bars: pd.DataFrame) -> list[str]:
    """Columns of the file that were left out, and bars that a market without pauses lacks."""
    notes = list(bars.attrs.get("notes", ()))
    unused = bars.attrs.get("unused")
    if unused:
        notes.append(f"columns left out: {', '.join(unused)}")
    unit = volume_unit(bars) if "amount" in bars else ""
    if "lots" in unit and "neither" not in unit:
        notes.append(unit)
    missing = missing_bars(bars["timestamps"])
    return notes if missing is None else [*notes, missing]


LOT = 100
"""Shares in a lot (手) of mainland China's stocks."""


def volume_unit(bars: pd.DataFrame) -> str:
    """Whether volume counts shares or lots (手), as the amount of money tells."""
    if "volume" not in bars or "amount" not in bars:
        return "whether volume counts shares or lots of 100 (手) is not known: no amount to tell it by"
    price = (bars["high"] + bars["low"]) / 2
    traded = bars["volume"] > 0
    ratio = float((bars["amount"] / (bars["volume"] * price))[traded].median()) if traded.any() else np.nan
    for unit, size in (("shares", 1), (f"lots of {LOT} shares (手)", LOT)):
        if 0.8 * size < ratio < 1.25 * size:
            return f"volume counts {unit}"
    return f"volume fits neither shares nor lots of 100 (手): the amount is {ratio:.3g} times price times volume"


def missing_bars(timestamps: pd.Series) -> str | None:
    """How many bars are missing of a series that trades around the clock, and where most; None for any other series.

    Such a series has bars on all days of the week and at all times of day, and nine in ten of those that it could have.
    """
    times = pd.DatetimeIndex(timestamps)[-MOST_BARS:]
    times = times if times.tz is None else times.tz_convert("UTC")
    steps = np.diff(times.as_unit("ns").asi8)
    if len(steps) < 14 or (steps <= 0).any():
        return None
    values, counts = np.unique(steps, return_counts=True)
    step = int(values[counts.argmax()])
    possible = round((times[-1] - times[0]).value / step) + 1
    whole_days = DAY.value % step == 0
    slots = DAY.value // step if whole_days else 0
    clock = len(np.unique((times.as_unit("ns").asi8 % DAY.value) // step)) if slots else 0
    if not whole_days or step > DAY.value or clock < slots or len(np.unique(times.day_of_week)) < 7:
        return None
    missing = possible - len(times)
    if missing <= 0 or len(times) < 0.9 * possible:
        return None
    at = int(steps.argmax())
    return (
        f"{missing:,} of {possible:,} bars are missing from a series that trades around the clock; the longest gap is "
        f"{round(steps[at] / step) - 1:,} bars after {times[at]}"
    )


def future_notes(past: pd.Series, future: pd.DatetimeIndex, calendar: str | None) -> list[str]:
    """What is not known of the times to forecast where no calendar was named: holidays, and weekends of a short history."""
    times = pd.DatetimeIndex(past)
    weekend = future.day_of_week >= 5
    if calendar is not None or not len(future):
        return []
    if times[-1] - times[0] < 7 * DAY and weekend.any():
        return [
            f"{len(times)} bars over less than a week do not show whether weekends are traded; {int(weekend.sum())} of the "
            f"{len(future)} bars to come fall on one: name a calendar, such as XNYS or 24/7"
        ]
    if len(np.unique(times[-MOST_BARS:].day_of_week)) <= 5 and not weekend.any():
        festive = [day for day in future if (day.month, day.day) in ((1, 1), (12, 25))]
        named = f" ({festive[0]:%Y-%m-%d} is forecast)" if festive else ""
        return [f"holidays are not known without a calendar{named}: name one, such as XNYS or XSHG"]
    return []
