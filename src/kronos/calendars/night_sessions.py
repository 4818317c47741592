"""Futures markets with a night session: the sessions of a stock exchange, with hours of their own and nights between them.

A night belongs to the day on which it opens, so that the night of Friday is Friday's although it ends on Saturday. A day whose
night is not held closes early.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.calendars.history import DAY, HOUR, MINUTE, Micros

CN_FUTURES, HK_FUTURES = "cn-futures", "hk-futures"
LATEST_BARS = 20 * DAY  # what the last days show is what a product trades now


@dataclass(frozen=True)
class NightMarket:
    """Hours of a futures market, in microseconds after midnight; past midnight they go on above 24 hours.

    Attributes:
        base: The exchange whose trading days it shares (its name in ``exchange_calendars``).
        runs: Opening and close of each run of trading in the day.
        night: Opening of the night session.
        ends: Closes of the night session: each product has one of them, or no night session.
        early_close: Close of days on which the exchange closes early.
        before_holidays: Whether a night session is held when the next weekday is no trading day.
    """

    base: str
    runs: tuple[tuple[int, int], ...]
    night: int
    ends: tuple[int, ...]
    early_close: int
    before_holidays: bool

    @property
    def close(self) -> int:
        """Close of a day without a night session."""
        return self.runs[-1][1]


NIGHT_MARKETS = {
    CN_FUTURES: NightMarket(
        "XSHG",
        ((9 * HOUR, 10 * HOUR + 15 * MINUTE), (21 * HOUR // 2, 23 * HOUR // 2), (27 * HOUR // 2, 15 * HOUR)),
        night=21 * HOUR,
        ends=(23 * HOUR, 25 * HOUR, 53 * HOUR // 2),
        early_close=15 * HOUR,
        before_holidays=False,
    ),
    HK_FUTURES: NightMarket(
        "XHKG",
        ((37 * HOUR // 4, 12 * HOUR), (13 * HOUR, 33 * HOUR // 2)),
        night=69 * HOUR // 4,
        ends=(23 * HOUR + 45 * MINUTE, 25 * HOUR, 27 * HOUR),
        early_close=25 * HOUR // 2,
        before_holidays=True,
    ),
}


def split_name(name: str) -> tuple[str, int | None]:
    """ "cn-futures@82800000000" -> the market and the close of its night in microseconds; None: the latest of the market."""
    market, _, end = name.partition("@")
    return market, int(end) if end else None


def variant_of(name: str, wall: Micros, step: int) -> str:
    """The market's name with the close of the night session that the last bars (wall times) show; 0 for a product without one."""
    market = NIGHT_MARKETS[name]
    begins = (market.ends[-1] - DAY + market.runs[0][0]) // 2
    times = (wall[wall > wall[-1] - LATEST_BARS] - begins) % DAY + begins
    days = len(np.unique((wall[wall > wall[-1] - LATEST_BARS] - begins) // DAY))
    night = times[times >= market.night]
    values, counts = np.unique(night, return_counts=True)
    values = values[counts >= max(counts.max(initial=0) / 2, 0.2 * days)]
    if not len(values):
        return f"{name}@0"
    left = step >= HOUR and values[0] == market.night  # a bar labelled 21:00 begins then, and so does the last one
    later = [end for end in market.ends if (end > values[-1] if left else end >= values[-1])]
    return f"{name}@{later[0] if later else market.ends[-1]}"


def night_parts(market: NightMarket, days: Micros, early: Micros, end: int | None, next_day: int) -> Micros:
    """Runs of trading of each day, (n, runs + 1, 2) wall microseconds; runs that are not held are empty at the day's close.

    Args:
        market: The hours.
        days: (n,) trading days of the exchange, numbers since 1970, ascending.
        early: (n,) bool, days on which the exchange closes early.
        end: Close of the night session; None: the latest of the market, 0: none.
        next_day: The trading day after the last one.
    """
    end = market.ends[-1] if end is None else end
    following = np.append(days[1:], next_day) if len(days) else days
    weekday = (days + 3) % 7
    next_weekday = days + np.where(weekday == 4, 3, np.where(weekday == 5, 2, 1))
    held = ~early & ((following == next_weekday) | market.before_holidays) & (end > 0)
    close = np.where(early, market.early_close, np.where(held, end, market.close))
    runs = np.array([*market.runs, (market.night, market.ends[-1])])
    parts = np.minimum(runs[None, :, :], close[:, None, None])
    parts[early, 0, 1] = max(market.runs[0][1], min(market.early_close, market.runs[1][0]))
    parts[~held, -1, :] = close[~held, None]
    return np.asarray(parts + (days * DAY)[:, None, None], dtype=np.int64)
