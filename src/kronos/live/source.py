"""Protocol of a source of candles, and its name on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from kronos.live.timeframe import Timeframe

LIBRARIES = ("ccxt", "yfinance", "akshare")
_SPEC = re.compile(rf"({'|'.join(LIBRARIES)})(?::|$)")

Adjust = Literal["none", "forward", "backward"]
ADJUSTMENTS: tuple[Adjust, ...] = ("none", "forward", "backward")


class BadPage(Exception):
    """Error for an answer that is no page of bars, such as a truncated one; a retry may help."""


class Page(NamedTuple):
    """Page of bars from ``start`` on, with the time up to which the source has answered.

    bars: timestamps (UTC, rising), open, high, low, close, volume and, where the source has it, amount.
    """

    bars: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp


class Source(Protocol):
    """Source of the candles of one symbol at one timeframe, by one library.

    Attributes:
        name: as the user writes it.
        tz: time zone of the stored timestamps.
        adjustment: how prices are adjusted, in words.
        adjusted: whether past prices change with later dividends or splits.
        continuous: whether the market never closes.
        calendar: of the exchange, to find gaps, or None.
        stamp: whether a bar's timestamp is its open or its close.
    """

    name: str
    symbol: str
    timeframe: Timeframe
    tz: str
    adjustment: str
    adjusted: bool
    continuous: bool
    calendar: str | None
    stamp: Literal["open", "close"]
    library: str

    def now(self) -> pd.Timestamp:
        """Return the current time of the source, in UTC."""

    def earliest(self, start: pd.Timestamp, now: pd.Timestamp) -> pd.Timestamp:
        """Return the first time from ``start`` on that can be requested."""

    def pages(self, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Page]:
        """Yield the bars of [start, end) in order of time."""

    def finished(self, times: pd.DatetimeIndex, now: pd.Timestamp) -> pd.Series:
        """Return for each bar whether it can change no more, bool."""


@dataclass(frozen=True)
class Spec:
    """Specification of a source and symbol: ccxt:binance:BTC/USDT, yfinance:AAPL, akshare:600519."""

    library: str
    venue: str | None
    symbol: str

    def __post_init__(self) -> None:
        if self.library not in LIBRARIES:
            raise ValueError(f"{self.library!r} is no source; there are ccxt:EXCHANGE, yfinance and akshare")
        if (self.venue is None) == (self.library == "ccxt"):
            raise ValueError(
                "a source is ccxt:EXCHANGE:SYMBOL, such as ccxt:binance:BTC/USDT, yfinance:AAPL or akshare:600519"
            )
        if not self.symbol or len(self.symbol) > 60 or any(c.isspace() for c in self.symbol):
            raise ValueError(f"{self.symbol!r} is no symbol; expected one such as BTC/USDT, AAPL or 600519")

    def __str__(self) -> str:
        return ":".join(part for part in (self.library, self.venue, self.symbol) if part)

    def file_name(self, timeframe: str) -> str:
        """Return a file name for its candles."""
        plain = re.sub(r"[^\w.=^-]", "-", self.symbol).lstrip(".")
        return f"{self.venue or self.library}_{plain}_{timeframe}.parquet"


def is_spec(text: str) -> bool:
    """Whether a text names a source rather than a file."""
    return _SPEC.match(text) is not None


def parse_spec(text: str, symbol: str | None = None) -> Spec:
    """Parse ccxt:binance:BTC/USDT, or ccxt:binance with the symbol apart; the symbol may hold colons (BTC/USDT:USDT).

    Raises:
        ValueError: an unknown source, or a missing part.
    """
    library, _, rest = text.partition(":")
    venue = None
    if library == "ccxt":
        venue, _, rest = rest.partition(":")
        if not venue:
            raise ValueError(f"{text!r} names no exchange; expected ccxt:EXCHANGE, such as ccxt:binance")
    if symbol is not None and rest:
        raise ValueError(f"{text!r} names the symbol {rest!r} already; leave {symbol!r} out")
    found = symbol if symbol is not None else rest
    if not found and library in LIBRARIES:
        raise ValueError(f"{text!r} names no symbol; expected {text}:SYMBOL")
    return Spec(library, venue, found)
