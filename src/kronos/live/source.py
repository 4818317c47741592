"""What a source of candles is: a name, and pages of bars between two instants."""

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
    """An answer that is no page of bars: it was cut off, or is something else. Asking again may help."""


class Page(NamedTuple):
    """Bars from ``start`` on, and the instant up to which the source has now answered.

    bars: timestamps (UTC, rising), open, high, low, close, volume and, where the source has it, amount.
    """

    bars: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp


class Source(Protocol):
    """One symbol at one timeframe from one library.

    name: as the user writes it; tz: zone of the stored timestamps; adjustment: what was done to prices, in words;
    adjusted: past prices change when a dividend or split is adjusted for; continuous: it trades without a pause;
    calendar: the exchange's, for the report of gaps, or None; stamp: whether a bar is stamped at its open or its close.
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
        """The time, in UTC, as the source knows it."""

    def earliest(self, start: pd.Timestamp, now: pd.Timestamp) -> pd.Timestamp:
        """The first instant from ``start`` on that can be asked for."""

    def pages(self, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Page]:
        """The bars of [start, end) in order of time."""

    def finished(self, times: pd.DatetimeIndex, now: pd.Timestamp) -> pd.Series:
        """Whether each bar can change no more, bool."""


@dataclass(frozen=True)
class Spec:
    """Where candles come from: ccxt:binance:BTC/USDT, yfinance:AAPL, akshare:600519."""

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
        """A plain name for the file of its candles."""
        plain = re.sub(r"[^\w.=^-]", "-", self.symbol).lstrip(".")
        return f"{self.venue or self.library}_{plain}_{timeframe}.parquet"


def is_spec(text: str) -> bool:
    """Whether a text names a source rather than a file."""
    return _SPEC.match(text) is not None


def parse_spec(text: str, symbol: str | None = None) -> Spec:
    """ccxt:binance:BTC/USDT, or ccxt:binance and the symbol apart; the symbol may hold colons (BTC/USDT:USDT).

    Raises:
        ValueError: it is no source, or lacks a part.
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
