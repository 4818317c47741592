"""Exchanges, by ccxt: pages of OHLCV within ccxt's rate limit, with retries after transient errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from kronos.live.retry import RetryPolicy, seconds_of
from kronos.live.source import BadPage, Page, Spec
from kronos.live.timeframe import Timeframe

PAGE = 1_000
"""Bars requested at once; exchanges may give fewer."""
LEAST_PAGE = 100
"""Bars of a page that every exchange is assumed to give, where ccxt has no limit for it."""
NAMES = ("open", "high", "low", "close", "volume")


class CcxtSource:
    """Source of one symbol of one exchange. Bars are stamped at their open, in UTC, and need no adjustment."""

    tz = "UTC"
    calendar: str | None = None
    adjustment, adjusted, continuous = "none", False, True
    stamp: Literal["open", "close"] = "open"

    def __init__(self, spec: Spec, timeframe: str, base_url: str | None, retry: RetryPolicy) -> None:
        import ccxt

        self.errors: Any = ccxt
        if spec.venue not in ccxt.exchanges:
            import difflib

            near = difflib.get_close_matches(str(spec.venue), ccxt.exchanges, 3)
            raise ValueError(
                f"ccxt knows no exchange {spec.venue!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
            )
        self.name, self.symbol, self.retry = str(spec), spec.symbol, retry
        self.timeframe = Timeframe(timeframe)
        self.library = f"ccxt {ccxt.__version__}"
        self.exchange: Any = getattr(ccxt, str(spec.venue))({"enableRateLimit": True, "timeout": 20_000})
        self.exchange.enableLastJsonResponse = True
        if base_url is not None:
            self.exchange.urls["api"] = rebased(self.exchange.urls["api"], base_url)
        if not self.exchange.has.get("fetchOHLCV"):
            raise ValueError(f"the exchange {spec.venue} gives no candles through ccxt")
        known = self.exchange.timeframes or {}
        if timeframe not in known:
            raise ValueError(f"{spec.venue} has no {timeframe} candles; it has {', '.join(known)}")
        self._spot_only()
        self._ask(self.exchange.load_markets)
        if self.symbol not in self.exchange.markets:
            import difflib

            near = difflib.get_close_matches(self.symbol, list(self.exchange.markets), 3)
            raise ValueError(
                f"{spec.venue} has no symbol {self.symbol!r}" + (f"; near it: {', '.join(near)}" if near else "")
            )

    def _spot_only(self) -> None:
        """Skip loading the lists of futures for a spot symbol, which has no colon."""
        wanted = self.exchange.options.get("fetchMarkets")
        types = wanted.get("types") if isinstance(wanted, dict) else wanted
        if ":" not in self.symbol and isinstance(types, list) and "spot" in types:
            self.exchange.options["fetchMarkets"] = (
                {**wanted, "types": ["spot"]} if isinstance(wanted, dict) else ["spot"]
            )

    def _ask(self, ask: Any) -> Any:
        def asked() -> Any:
            try:
                answer = ask()
            except self.errors.ExchangeError as error:
                if _passes(error):  # ccxt takes some bodies of such answers for a refusal
                    raise BadPage(str(error)) from error
                raise
            # ccxt makes an empty list of a text that ends in the middle.
            if self.exchange.last_json_response is None:
                raise BadPage("the answer is cut off, or is no JSON")
            return answer

        try:
            return self.retry.run(asked, (self.errors.OperationFailed, BadPage), self._asked_to_wait)
        except self.errors.BaseError as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise ValueError(f"{self.name}: the exchange refuses: {type(error).__name__}: {reason}") from error

    def _asked_to_wait(self, error: BaseException) -> float | None:
        return seconds_of((self.exchange.last_response_headers or {}).get("Retry-After"))

    def now(self) -> pd.Timestamp:
        return pd.Timestamp.now("UTC")

    def earliest(self, start: pd.Timestamp, now: pd.Timestamp) -> pd.Timestamp:
        return start

    def finished(self, times: pd.DatetimeIndex, now: pd.Timestamp) -> pd.Series:
        return pd.Series(self.timeframe.after(times) <= now)

    def pages(self, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Page]:
        """Yield pages until the end of the span.

        A short page does not mean the end: the next one begins after its last bar. An empty page is either the end or, where an
        exchange answers by time windows, a window without trades; then the next day with a bar is searched."""
        at = start
        while at < end:
            bars = _frame(self._ask(lambda at=at: self._page(self.timeframe.text, at)))
            times = pd.DatetimeIndex(bars["timestamps"])
            if len(bars):
                stop = max(self.timeframe.after(times[-1:])[0], at + pd.Timedelta(1, "ms"))
            else:
                stop = self._after_nothing(at, end)
            yield Page(bars, at, min(stop, end))
            at = stop

    def _after_nothing(self, at: pd.Timestamp, end: pd.Timestamp) -> pd.Timestamp:
        """Return the end of an empty window, or the first later day that has a daily bar."""
        stop = at + self._window() * self.timeframe.length
        if not self.timeframe.intraday or "1d" not in self.exchange.timeframes:
            return stop
        day = at.floor("D")
        while day < end:
            days = _frame(self._ask(lambda day=day: self._page("1d", day)))
            if len(days):
                return max(
                    stop if days["timestamps"].iloc[0] < stop else days["timestamps"].iloc[0],
                    at + pd.Timedelta(1, "ms"),
                )
            day += self._window() * pd.Timedelta(days=1)
        return end

    def _window(self) -> int:
        """Return the bars that an empty answer covers: no more than the exchange gives at once."""
        limit = self.exchange.feature_value(self.symbol, "fetchOHLCV", "limit")
        return min(PAGE, int(limit)) if limit else LEAST_PAGE

    def _page(self, timeframe: str, at: pd.Timestamp) -> list[list[Any]]:
        since = -(-at.value // 10**6)  # not earlier than asked
        rows = self.exchange.fetch_ohlcv(self.symbol, timeframe, since=since, limit=PAGE)
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 for row in rows):
            raise BadPage("the answer is no list of candles; it was cut off, or is a page of something else")
        times = [row[0] for row in rows]
        if (
            not all(isinstance(t, int) for t in times)
            or times != sorted(times)
            or any(None in row[1:5] for row in rows)
        ):
            raise BadPage("the candles in the answer have no times or no prices")
        return [row for row in rows if row[0] >= since]


def _passes(error: BaseException | None) -> bool:
    """Whether an error comes from a response with an HTTP status of overload or server failure."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status >= 500 or status in (408, 418, 429):
            return True
        error = error.__cause__ or error.__context__
    return False


def rebased(urls: Any, base_url: str) -> Any:
    """Replace the host of every URL in a nested dictionary."""
    if isinstance(urls, dict):
        return {name: rebased(url, base_url) for name, url in urls.items()}
    return base_url.rstrip("/") + urlsplit(urls).path if isinstance(urls, str) else urls


def _frame(rows: list[list[Any]]) -> pd.DataFrame:
    values = np.array([row[1:6] for row in rows], dtype=np.float64).reshape(-1, 5)
    table = pd.DataFrame(values, columns=list(NAMES))
    table.insert(0, "timestamps", pd.to_datetime([row[0] for row in rows], unit="ms", utc=True).as_unit("ns"))
    return table.drop_duplicates("timestamps", keep="last")
