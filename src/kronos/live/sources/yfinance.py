"""Yahoo Finance, by yfinance. Yahoo's prices are always adjusted for splits; ``adjust="forward"`` also for dividends."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import pandas as pd

from kronos.live.retry import RetryPolicy
from kronos.live.source import Adjust, BadPage, Page, Spec
from kronos.live.timeframe import Timeframe

INTERVALS = {
    "1m": "1m", "2m": "2m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1d": "1d", "1w": "1wk", "1M": "1mo",
}  # fmt: skip
REACH = {"1m": (29, 7), "1h": (729, 365)}
"""Days that Yahoo keeps, and days requested at once, by interval; other intraday bars: 59."""
CALENDARS = {
    "NMS": "XNYS", "NGM": "XNYS", "NCM": "XNYS", "NYQ": "XNYS", "ASE": "XNYS", "PCX": "XNYS", "BTS": "XNYS", "SNP": "XNYS",
    "DJI": "XNYS", "NIM": "XNYS", "HKG": "XHKG", "SHH": "XSHG", "SHZ": "XSHG", "JPX": "XTKS", "LSE": "XLON", "GER": "XETR",
    "PAR": "XPAR", "AMS": "XAMS", "KSC": "XKRX", "KOE": "XKRX", "TOR": "XTSE", "ASX": "XASX", "NSI": "XBOM", "BSE": "XBOM",
}  # fmt: skip
ALWAYS_OPEN = "CCC"
"""Yahoo's exchange code for crypto, which trades without a pause."""
PAUSE = 0.5
"""Seconds between two requests."""


class YahooSource:
    """Source of one Yahoo ticker. Bars are stamped at their open, in the exchange's time zone."""

    stamp: Literal["open", "close"] = "open"

    def __init__(self, spec: Spec, timeframe: str, adjust: Adjust, base_url: str | None, retry: RetryPolicy) -> None:
        import yfinance

        if timeframe not in INTERVALS:
            raise ValueError(f"Yahoo has no {timeframe} bars; it has {', '.join(INTERVALS)}")
        if adjust == "backward":
            raise ValueError(
                "Yahoo adjusts past prices, so that the latest are as traded: adjust is 'none' or 'forward'"
            )
        yfinance.config.debug.hide_exceptions = False
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # its errors are raised, and reported by us
        self.errors: Any = yfinance.exceptions
        self.name, self.symbol, self.retry = str(spec), spec.symbol, retry
        self.timeframe, self.auto = Timeframe(timeframe), adjust == "forward"
        self.adjustment = "splits and dividends, latest price as traded" if self.auto else "splits"
        self.adjusted = True  # a split changes all prices before it
        self.library = f"yfinance {yfinance.__version__}"
        self.ticker = yfinance.Ticker(spec.symbol, session=None if base_url is None else _session(base_url))
        self._history(interval="1d", period="5d")  # Yahoo says with it where the symbol is traded
        meta = self.ticker.history_metadata
        self.tz = str(meta["exchangeTimezoneName"])
        venue = str(meta["exchangeName"]) if "exchangeName" in meta else ""
        self.continuous = venue == ALWAYS_OPEN
        self.calendar = None if self.continuous else CALENDARS.get(venue)

    def _history(self, **told: Any) -> pd.DataFrame:
        def ask() -> pd.DataFrame:
            # yfinance keeps answers, also bad ones.
            self.ticker._data.cache_get.cache_clear()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what pandas will change
                    return self.ticker.history(auto_adjust=self.auto, actions=False, timeout=20, **told)
            except self.errors.YFPricesMissingError as error:
                if "status_code" in str(error) or "no price data found" in str(error).lower():
                    raise BadPage(f"no prices: {error}") from error
                raise ValueError(f"{self.name}: Yahoo has no such bars: {error}") from error

        time.sleep(PAUSE)
        passing = (self.errors.YFRateLimitError, self.errors.YFDataException, BadPage, OSError, json.JSONDecodeError)
        return self.retry.run(ask, passing)

    def now(self) -> pd.Timestamp:
        return pd.Timestamp.now("UTC")

    def earliest(self, start: pd.Timestamp, now: pd.Timestamp) -> pd.Timestamp:
        if not self.timeframe.intraday:
            return start
        days, _ = REACH.get(self.timeframe.text, (59, 59))
        return max(start, now - pd.Timedelta(days=days))

    def finished(self, times: pd.DatetimeIndex, now: pd.Timestamp) -> pd.Series:
        """Return whether bars are final: intraday, weeks and months after their end, days after the close of their session."""
        over = self.timeframe.after(times) <= now
        if self.timeframe.text == "1d" and not self.continuous:
            today = now.tz_convert(self.tz).normalize()
            closes = _session_end(self.ticker.history_metadata)
            closed = closes is not None and closes.tz_convert(self.tz).normalize() == today and closes <= now
            days = times.tz_convert(self.tz).normalize()
            over = (days < today) | ((days == today) & closed)
        return pd.Series(over)

    def pages(self, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Page]:
        _, step = REACH.get(self.timeframe.text, (59, 59))
        step = step if self.timeframe.intraday else 36_500
        at = start
        while at < end:
            stop = min(end, at + pd.Timedelta(days=step))
            # A day's bar is stamped at midnight, and is asked for by whole days.
            asked = at if self.timeframe.intraday else at.tz_convert(self.tz).normalize()
            table = self._history(
                interval=INTERVALS[self.timeframe.text],
                start=asked.floor("s"),
                end=stop.ceil("s") + pd.Timedelta(seconds=1),
            )
            yield Page(_frame(table, self.tz), at, stop)
            at = stop


def _session_end(meta: Any) -> pd.Timestamp | None:
    try:
        closes = meta["currentTradingPeriod"]["regular"]["end"]
        return pd.Timestamp(closes, unit="s", tz="UTC") if isinstance(closes, int) else pd.Timestamp(closes)
    except (KeyError, TypeError, ValueError):
        return None


def _frame(table: pd.DataFrame, tz: str) -> pd.DataFrame:
    names = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
    if table.empty:
        from kronos.live.candles import empty_bars

        return empty_bars()
    times = pd.DatetimeIndex(table.index)
    times = times.tz_localize(tz) if times.tz is None else times
    bars = table[list(names)].rename(columns=names).astype("float64")
    bars.insert(0, "timestamps", times.tz_convert("UTC").as_unit("ns"))
    return bars.dropna(subset=["open", "high", "low", "close"]).reset_index(drop=True)


def _session(base_url: str) -> Any:
    """Make a session of yfinance's own kind that sends every request to another host."""
    from curl_cffi import requests

    class Session(requests.Session):  # type: ignore[type-arg]
        def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, base_url.rstrip("/") + urlsplit(url).path, *args, **kwargs)

    return Session()
