"""Daily price limits: how far a price may move from the close of the day before, and paths kept within it.

Mainland Chinese exchanges take orders only between two prices a day: the close of the day before plus and minus a share that
the board sets, rounded half up to the tick. Shares of the boards: Shanghai's and Shenzhen's main boards 10 % (risk-warned "ST"
stocks 5 %), STAR and ChiNext 20 % (ChiNext 10 % until 23 August 2020), Beijing 30 %. The first days of a new stock, which have
no limit, are not known here.

Legend: P paths, H horizon, 6 features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.schema import CLOSE

CN_ZONE = "Asia/Shanghai"
CHINEXT_AT_20 = pd.Timestamp("2020-08-24")
BOARDS = (
    (("688", "689"), 0.20, "STAR"),
    (("300", "301", "302"), 0.20, "ChiNext"),
    (("43", "83", "87", "88", "920"), 0.30, "Beijing"),
    (("600", "601", "603", "605", "900"), 0.10, "Shanghai main board"),
    (("000", "001", "002", "003", "200"), 0.10, "Shenzhen main board"),
)
"""First digits of the codes, the limit as a share of the close of the day before, and the board."""


@dataclass(frozen=True)
class PriceLimit:
    """Daily price limit: how far prices may move from the close of the day before.

    Attributes:
        share: of the close of the day before, above 0 and below 1.
        tick: step that the bounds are rounded to, half up; None: they are not rounded.
        zone: time zone of the trading days, for times with a zone; None: the times' own.
        name: of the rule, for messages.
    """

    share: float
    tick: float | None = None
    zone: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise KronosError(
                Argument("price_limit"), f" takes cn or a share between 0 and 1, such as 0.1, found {self.share:g}"
            )

    def bounds(self, close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest price [P] of the day after these closes [P]."""
        low, high = close * (1 - self.share), close * (1 + self.share)
        if self.tick is None:
            return low, high
        steps = 1 / self.tick
        # 1e-6: a half that is a little below one in binary is a half
        rounded = [np.maximum(np.floor(bound * steps + 0.5 + 1e-6), 1) / steps for bound in (low, high)]
        return rounded[0], rounded[1]


def price_limit(told: str | float, symbol: object = None, day: pd.Timestamp | None = None) -> PriceLimit:
    """Make a price limit from an argument.

    Args:
        told: "cn" for the rule of the stock's board, or the share, such as 0.1.
        symbol: for "cn", a text with the six digits of the code in it, such as 600519, sz300750 or 830799.BJ; "ST" in it marks a
            risk-warned stock.
        day: the first day to forecast; None: a day under today's rules.

    Raises:
        ValueError: neither "cn" nor a share, or the symbol has no code of a known board.
    """
    if str(told).strip().lower() != "cn":
        try:
            share = float(told)
        except ValueError:
            share = float("nan")
        return PriceLimit(share, name=f"{share:.4g} of the close of the day before")
    codes = re.findall(r"(?<!\d)\d{6}(?!\d)", str(symbol))
    for code in codes:
        for starts, share, board in BOARDS:
            if code.startswith(starts):
                if board == "ChiNext" and day is not None and day.tz_localize(None) < CHINEXT_AT_20:
                    share = 0.10
                if share == 0.10 and board != "ChiNext" and re.search(r"(?<![A-Za-z])S?\*?ST(?![A-Za-z])", str(symbol)):
                    share, board = 0.05, f"{board}, ST"
                return PriceLimit(share, 0.01, CN_ZONE, f"{share:.0%} ({board})")
    raise KronosError(
        f"the price limit of {str(symbol)!r} is not known: it holds no six digits of a stock of a known board; give the share, ",
        Argument("price_limit", 0.1),
    )


def series_limit(
    told: str | float | None, symbol: object, history: pd.DataFrame, future: pd.DatetimeIndex
) -> PriceLimit | None:
    """The limit of one series, known to fit its bars; None where none was asked for.

    Args:
        told, symbol: as `price_limit` takes them. history: the lookback, with timestamps and a close. future: times to forecast.

    Raises:
        ValueError: as `price_limit` and `limited_paths`.
    """
    if told is None:
        return None
    limit = price_limit(told, symbol, future[0])
    limited_paths(np.empty((0, len(future), 6)), future, history.set_index("timestamps"), limit)
    return limit


def limited_paths(
    paths: np.ndarray, future: pd.DatetimeIndex, history: pd.DataFrame, limit: PriceLimit
) -> tuple[np.ndarray, int]:
    """Clip paths to the limit of each day, and count the paths that were changed.

    The close before the first day is the history's, later ones are each path's own, so that a clipped path goes on from the
    limit. Volume and amount are kept.

    Args:
        paths: float [P, H, 6] in prices.
        future: the H times.
        history: the bars before, indexed by time, with a close.

    Returns:
        The paths as a new array, and the number of changed ones.

    Raises:
        ValueError: bars are longer than a day, or the history has no close of the day before the first one.
    """
    days, past = (_days(times, limit.zone) for times in (future, pd.DatetimeIndex(history.index)))
    steps = np.diff(np.concatenate([past[-30:], days]))
    if np.median(steps) >= 5:
        raise KronosError(Argument("price_limit"), " is for bars of a day or less: these are longer")
    before = np.flatnonzero(past < days[0])
    if not len(before):
        raise KronosError(
            f"the history has no close of a day before {np.datetime64(int(days[0]), 'D')}, which the price limit starts from: "
            "look back on more bars, ",
            Argument("lookback"),
        )
    result = np.array(paths, copy=True)
    close = np.full(len(paths), float(history["close"].iloc[before[-1]]))
    for day in np.unique(days):
        bars = np.flatnonzero(days == day)
        low, high = limit.bounds(close)
        result[:, bars, :4] = np.clip(paths[:, bars, :4], low[:, None, None], high[:, None, None])
        close = result[:, bars[-1], CLOSE].astype(np.float64)
    return result, int((result != paths).any(axis=(1, 2)).sum())


def _days(times: pd.DatetimeIndex, zone: str | None) -> np.ndarray:
    """Return the days of times as numbers since 1970, in the time zone ``zone`` where the times have one."""
    if times.tz is not None:
        times = (times if zone is None else times.tz_convert(zone)).tz_localize(None)
    return np.asarray(times.as_unit("s").asi8 // 86_400)
