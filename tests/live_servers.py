"""A local HTTP server that answers as exchanges and vendors do, faults included. It listens on the loopback address only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

Answer = object | None
Route = Callable[[str, dict[str, str]], Answer]


class Server:
    """Answers by ``route(path, query)`` (None: 404). ``faults`` are taken one a request whose path holds ``fault_path``.

    A fault is a status ("429", "503", ...), "cut" (the connection ends in the middle of the body), "half" (a body that ends in the
    middle of its text), "short" (a list with its last two thirds missing), "html" (a page of a proxy) or "" (none).
    """

    def __init__(self, route: Route, fault_path: str = "/") -> None:
        self.route, self.fault_path = route, fault_path
        self.faults: list[str] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def asked(self, path: str) -> list[dict[str, str]]:
        return [query for where, query in self.requests if path in where]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.requests.append((parts.path, query))
        fault = self.faults.pop(0) if self.faults and self.fault_path in parts.path else ""
        answer = self.route(parts.path, query)
        status, kind = 200, "application/json"
        if fault.isdigit():
            status, answer = int(fault), {"code": -1, "msg": "no"}
        elif answer is None:
            status, answer = 404, {"msg": "there is nothing here"}
        if fault == "short" and isinstance(answer, list):
            answer = answer[: max(1, len(answer) // 3)]
        body = json.dumps(answer).encode()
        if fault == "html":
            body, kind = b"<html>maintenance</html>", "text/html"
        elif fault == "half":
            body = body[: len(body) // 2]
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        if status == 429:
            handler.send_header("Retry-After", "0.2")
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        if fault == "cut":
            handler.close_connection = True
            handler.connection.shutdown(2)


def prices(times: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars whose values follow from their time alone, so that any two answers agree."""
    hours = times.as_unit("ns").asi8 / 3.6e12
    close = 100 + 10 * np.sin(hours / 17) + 3 * np.sin(hours / 2.3)
    open_ = 100 + 10 * np.sin((hours - 1) / 17) + 3 * np.sin((hours - 1) / 2.3)
    table = pd.DataFrame({"open": open_, "high": np.maximum(open_, close) + 0.5}, index=times)
    table["low"], table["close"] = np.minimum(open_, close) - 0.5, close
    table["volume"] = np.floor(10 + hours % 7)
    return table.round(4)


def _times(bars: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bars.index)


def binance(bars: pd.DataFrame, page: int = 1000) -> Route:
    """Spot klines: at most ``page`` of them from startTime on, the first there are."""

    def route(path: str, query: dict[str, str]) -> Answer:
        if path == "/api/v3/exchangeInfo":
            return {"timezone": "UTC", "symbols": [_binance_symbol("BTC", "USDT"), _binance_symbol("ETH", "USDT")]}
        if path != "/api/v3/klines":
            return None
        opens = _times(bars).as_unit("ms").asi8
        chosen = bars[opens >= int(query.get("startTime", 0))].iloc[: min(page, int(query["limit"]))]
        return [
            [int(t), *(f"{v:.8f}" for v in row), int(t) + 3_599_999, "0", 5, "0", "0", "0"]
            for t, row in zip(_times(chosen).as_unit("ms").asi8, chosen.to_numpy(), strict=True)
        ]

    return route


def _binance_symbol(base: str, quote: str) -> dict[str, object]:
    return {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
        ],
    }


def okx(bars: pd.DataFrame) -> Route:
    """Candles of a window (before, after), newest first, in an envelope; an empty list where the window has none."""

    def route(path: str, query: dict[str, str]) -> Answer:
        if path == "/api/v5/public/instruments":
            spot = {
                "instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.1", "lotSz": "0.0001",
                "minSz": "0.0001", "state": "live", "category": "1", "lever": "10", "listTime": "1606468572000", "uly": "",
                "ctVal": "", "ctMult": "", "ctValCcy": "", "expTime": "", "stk": "", "optType": "", "settleCcy": "", "alias": "",
                "ctType": "", "maxLmtSz": "9", "maxMktSz": "9",
            }  # fmt: skip
            return {"code": "0", "msg": "", "data": [spot] if query.get("instType") == "SPOT" else []}
        if path not in ("/api/v5/market/candles", "/api/v5/market/history-candles"):
            return {"code": "0", "msg": "", "data": []}
        opens = _times(bars).as_unit("ms").asi8
        inside = (opens > int(query.get("before", 0))) & (opens < int(query.get("after", 10**15)))
        rows = bars[inside].iloc[::-1].iloc[: int(query.get("limit", 100))]
        data = [
            [str(t), *(f"{v:.8f}" for v in row), "0", "0", "1"]
            for t, row in zip(_times(rows).as_unit("ms").asi8, rows.to_numpy(), strict=True)
        ]
        return {"code": "0", "msg": "", "data": data}

    return route


def yahoo(bars: pd.DataFrame, symbol: str, tz: str, exchange: str = "NMS", adjusted: float = 0.9) -> Route:
    """The chart: bars of [period1, period2), whose times are in the exchange's zone; today's session closes at 16:00."""

    def route(path: str, query: dict[str, str]) -> Answer:
        if path == "/v1/test/getcrumb":
            return "crumb"
        if path != f"/v8/finance/chart/{symbol}":
            return {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found"}}}
        seconds = _times(bars).as_unit("s").asi8
        first, last = int(query.get("period1", 0)), int(query.get("period2", 2**40))
        rows = bars[(seconds >= first) & (seconds < last)] if "period1" in query else bars.iloc[-5:]
        now = pd.Timestamp.now(tz)
        close = now.normalize() + pd.Timedelta(hours=16)
        period: dict[str, Any] = {
            "timezone": "EST",
            "start": int(now.normalize().timestamp()) + 34200,
            "end": int(close.timestamp()),
            "gmtoffset": 0,
        }
        meta = {
            "currency": "USD", "symbol": symbol, "exchangeName": exchange, "instrumentType": "EQUITY", "exchangeTimezoneName": tz,
            "timezone": "EST", "gmtoffset": -18000, "regularMarketTime": int(now.timestamp()), "priceHint": 2,
            "dataGranularity": query.get("interval", "1d"), "range": "", "validRanges": ["1d", "5d", "1mo", "max"],
            "currentTradingPeriod": {"pre": dict(period), "regular": dict(period), "post": dict(period)},
        }  # fmt: skip
        if query.get("interval", "1d")[-1] in "mh":
            nine = _times(rows).normalize().unique() + pd.Timedelta(hours=9.5)
            stamps = [(int(t.timestamp()), int(t.timestamp()) + 23400) for t in nine]
            meta["tradingPeriods"] = [[{**period, "start": a, "end": b}] for a, b in stamps]
        columns: dict[str, Any] = {name: rows[name].tolist() for name in ("open", "high", "low", "close")}
        quote = [{**columns, "volume": rows["volume"].astype(int).tolist()}]
        indicators = {"quote": quote, "adjclose": [{"adjclose": (rows["close"] * route.adjusted).tolist()}]}  # type: ignore[attr-defined]
        result = {"meta": meta, "timestamp": _times(rows).as_unit("s").asi8.tolist(), "indicators": indicators}
        return {"chart": {"result": [result], "error": None}}

    route.adjusted = adjusted  # type: ignore[attr-defined]
    return route


def eastmoney(bars: pd.DataFrame) -> Route:
    """A-share k-lines as lines of text: time, open, close, high, low, volume, amount and four more. ``bars`` are naive."""

    def route(path: str, query: dict[str, str]) -> Answer:
        if path != "/api/qt/stock/kline/get":
            return None
        daily = query["klt"] == "101"
        rows = bars
        if daily:
            days = _times(bars).strftime("%Y%m%d")
            rows = bars[(days >= query["beg"]) & (days <= query["end"])]
        form = "%Y-%m-%d" if daily else "%Y-%m-%d %H:%M"
        scale = route.scale if query["fqt"] == "1" else 1.0  # type: ignore[attr-defined]
        lines = [
            f"{t.strftime(form)},{r['open'] * scale:.4f},{r['close'] * scale:.4f},{r['high'] * scale:.4f},{r['low'] * scale:.4f},"
            f"{r['volume']:.0f},{r['volume'] * r['close'] * 100:.2f},1.0,0.5,0.5,0.1"
            for t, r in zip(_times(rows), rows.to_dict("records"), strict=True)
        ]
        return {"rc": 0, "data": {"code": "600519", "market": 1, "name": "x", "klines": lines} if lines else None}

    route.scale = 1.0  # type: ignore[attr-defined]
    return route
