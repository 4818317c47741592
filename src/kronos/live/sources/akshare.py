"""China A-shares from Eastmoney, by akshare. Intraday bars are stamped at their close, daily bars at their date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import pandas as pd

from kronos.live.retry import RetryPolicy, seconds_of
from kronos.live.source import Adjust, BadPage, Page, Spec
from kronos.live.timeframe import Timeframe

TZ = "Asia/Shanghai"
DAILY = {"1d": "daily", "1w": "weekly", "1M": "monthly"}
MINUTES = {"1m": "1", "5m": "5", "15m": "15", "30m": "30", "1h": "60"}
ADJUST: dict[Adjust, str] = {"none": "", "forward": "qfq", "backward": "hfq"}
SETTLED = pd.Timedelta(hours=15, minutes=10)
"""Time of day from which a daily bar is final; the session closes at 15:00."""
PAUSE = 0.5
"""Seconds between two requests."""
COLUMNS = {
    "日期": "timestamps", "时间": "timestamps", "开盘": "open", "最高": "high", "最低": "low", "收盘": "close", "成交量": "volume",
    "成交额": "amount",
}  # fmt: skip


class AkshareSource:
    """Source of one A-share by its six digits. Volume is in lots of 100 shares, amount in yuan, as Eastmoney gives them."""

    tz, continuous = TZ, False
    calendar: str | None = "XSHG"

    def __init__(self, spec: Spec, timeframe: str, adjust: Adjust, base_url: str | None, retry: RetryPolicy) -> None:
        if not (spec.symbol.isdigit() and len(spec.symbol) == 6):
            raise ValueError(f"an A-share has six digits, such as 600519; found {spec.symbol!r}")
        if timeframe not in DAILY | MINUTES:
            raise ValueError(f"Eastmoney has no {timeframe} bars; it has {', '.join(MINUTES | DAILY)}")
        if timeframe == "1m" and adjust != "none":
            raise ValueError("Eastmoney's 1m bars are as traded: adjust must be 'none'")
        import akshare

        self.akshare: Any = akshare
        self.name, self.symbol, self.retry, self.base_url = str(spec), spec.symbol, retry, base_url
        self.timeframe = Timeframe(timeframe)
        self.adjust = ADJUST[adjust]
        self.adjustment = {"": "none", "qfq": "forward (qfq)", "hfq": "backward (hfq)"}[self.adjust]
        self.adjusted = bool(self.adjust)
        self.stamp: Literal["open", "close"] = "close" if self.timeframe.intraday else "open"
        self.library = f"akshare {akshare.__version__}"

    def now(self) -> pd.Timestamp:
        return pd.Timestamp.now("UTC")

    def earliest(self, start: pd.Timestamp, now: pd.Timestamp) -> pd.Timestamp:
        days = 5 if self.timeframe.text == "1m" else 36_500
        return max(start, now - pd.Timedelta(days=days))

    def finished(self, times: pd.DatetimeIndex, now: pd.Timestamp) -> pd.Series:
        """Return whether bars are final: intraday from their timestamp, days from `SETTLED`, weeks and months from the next one."""
        if self.timeframe.intraday:
            return pd.Series(times <= now)
        days = times.tz_convert(TZ)
        if self.timeframe.text == "1d":
            return pd.Series(days + SETTLED <= now)
        periods = days.tz_localize(None).to_period("W-SUN" if self.timeframe.text == "1w" else "M")
        return pd.Series((periods + 1).to_timestamp().tz_localize(TZ) <= now)

    def pages(self, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Page]:
        """Yield the span as one page, as Eastmoney answers."""
        first, last = start.tz_convert(TZ), end.tz_convert(TZ)
        table = self.retry.run(
            lambda: self._ask(first, last), (BadPage, OSError, ValueError, KeyError, TypeError), _asked_to_wait
        )
        bars = _frame(table)
        inside = (bars["timestamps"] >= start.floor("D") - pd.Timedelta(days=1)) & (bars["timestamps"] < end)
        yield Page(bars[inside].reset_index(drop=True), start, end)

    def _ask(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        time.sleep(PAUSE)
        with _strict(self.base_url):
            if self.timeframe.intraday:
                return self.akshare.stock_zh_a_hist_min_em(
                    symbol=self.symbol,
                    period=MINUTES[self.timeframe.text],
                    start_date=f"{first:%Y-%m-%d %H:%M:%S}",
                    end_date=f"{last:%Y-%m-%d %H:%M:%S}",
                    adjust=self.adjust,
                )
            return self.akshare.stock_zh_a_hist(
                symbol=self.symbol,
                period=DAILY[self.timeframe.text],
                start_date=f"{first:%Y%m%d}",
                end_date=f"{last:%Y%m%d}",
                adjust=self.adjust,
                timeout=20,
            )


def _asked_to_wait(error: BaseException) -> float | None:
    response = getattr(error, "response", None)
    return None if response is None else seconds_of(response.headers.get("Retry-After"))


@contextmanager
def _strict(base_url: str | None) -> Iterator[None]:
    """Patch akshare's requests inside the block: errors of the server raise, and ``base_url`` replaces the host if given.

    akshare itself would parse the text of an error."""
    import requests

    original = requests.Session.request

    def request(session: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        if base_url is not None:
            url = base_url.rstrip("/") + urlsplit(str(url)).path
        response = original(session, method, url, *args, **kwargs)
        response.raise_for_status()
        return response

    requests.Session.request = request  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        requests.Session.request = original  # type: ignore[method-assign]


def _frame(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        from kronos.live.candles import empty_bars

        return empty_bars()
    found = {column: name for column, name in COLUMNS.items() if column in table.columns}
    bars = table[list(found)].rename(columns=found)
    if bars.isna().any(axis=None):
        raise BadPage("a row of the answer is cut off")
    times = pd.DatetimeIndex(pd.to_datetime(bars.pop("timestamps"))).tz_localize(TZ)
    bars = bars.astype("float64")
    bars.insert(0, "timestamps", times.tz_convert("UTC").as_unit("ns"))
    return bars.sort_values("timestamps", ignore_index=True)
