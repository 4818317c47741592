"""Candles fetched by the real libraries from a local server that answers as the exchanges do, and fails as they do.

What the services themselves answer could not be tried where these tests run; see docs/live.md.
"""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.cli import main
from kronos.live.candles import read_about
from kronos.live.fetching import fetch
from kronos.live.intervals import Interval, missing, union
from kronos.live.retry import RetryPolicy
from kronos.live.source import is_spec, parse_spec
from kronos.live.sources import open_source
from kronos.live.timeframe import Timeframe
from tests.live_servers import Server, binance, eastmoney, okx, prices, yahoo

FAST = RetryPolicy(7, 0.01, 0.1)


def needs(library):
    absent = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(absent, reason=f"needs {library}: pip install 'kronos-forecast[live]'")


@pytest.fixture
def serve():
    servers = []

    def start(route, fault_path="/"):
        servers.append(Server(route, fault_path))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def hours(count, drop=()):
    """Hourly bars up to the one that is not finished."""
    last = pd.Timestamp.now("UTC").floor("h")
    return prices(pd.date_range(end=last, periods=count, freq="h").delete(list(drop)))


def opened(server, spec, timeframe="1h", adjust="none", retry=FAST):
    return open_source(parse_spec(spec), timeframe, adjust, server.url, retry)


def stored(path):
    bars = kronos.read_klines(path)
    return bars.set_index(bars["timestamps"].dt.tz_convert("UTC"))


def same(found, expected):
    expected = expected.set_axis(expected.index.tz_convert("UTC"))
    assert found.index.as_unit("s").equals(expected.index.as_unit("s"))
    columns = ["open", "high", "low", "close", "volume"]
    np.testing.assert_allclose(found[columns], expected[columns], atol=1e-3)


# ------------------------------------------------------------------------------------------------ exchanges


@needs("ccxt")
def test_fetch_through_429_5xx_and_truncated_pages_is_complete_without_duplicates(serve, tmp_path):
    bars = hours(2600, drop=(700, 701, 702, 1999))
    server = serve(binance(bars, page=500), "/klines")
    server.faults = ["429", "503", "cut", "half", "short", "html", "500", "", "short", "half", "418"]
    report = fetch(opened(server, "ccxt:binance:BTC/USDT"), tmp_path / "b.parquet", bars.index[0])
    assert server.faults == []
    same(stored(tmp_path / "b.parquet"), bars.iloc[:-1])
    assert (report.bars, report.new, report.unfinished) == (2595, 2595, 1)
    start = bars.index[0]
    assert [(gap.first, gap.last, gap.bars) for gap in report.gaps] == [
        (start + pd.Timedelta(hours=700), start + pd.Timedelta(hours=702), 3),
        (start + pd.Timedelta(hours=1999), start + pd.Timedelta(hours=1999), 1),
    ]


@needs("ccxt")
def test_an_update_asks_only_for_what_is_missing_and_takes_over_what_was_changed(serve, tmp_path):
    bars = hours(900)
    path = tmp_path / "b.parquet"
    early = serve(binance(bars.iloc[:-200]), "/klines")
    fetch(opened(early, "ccxt:binance:BTC/USDT"), path, bars.index[0], until=bars.index[600])
    later = bars.copy()
    later.iloc[599, 3] += 1.0  # the last stored close, which the exchange has corrected
    server = serve(binance(later), "/klines")
    report = fetch(opened(server, "ccxt:binance:BTC/USDT"), path)
    asked = [int(query["startTime"]) for query in server.asked("/klines")]
    assert min(asked) == bars.index[599].value // 10**6
    assert (report.new, report.revised) == (299, 1)
    same(stored(path), later.iloc[:-1])
    assert fetch(opened(server, "ccxt:binance:BTC/USDT"), path).new == 0


@needs("ccxt")
def test_an_earlier_start_fills_the_front(serve, tmp_path):
    bars = hours(900)
    server = serve(binance(bars), "/klines")
    source = opened(server, "ccxt:binance:BTC/USDT")
    fetch(source, tmp_path / "b.parquet", bars.index[400])
    report = fetch(source, tmp_path / "b.parquet", bars.index[100])
    assert report.new == 300
    same(stored(tmp_path / "b.parquet"), bars.iloc[100:-1])


@needs("ccxt")
def test_an_exchange_that_answers_by_windows_is_read_through_empty_ones(serve, tmp_path):
    bars = hours(500).iloc[:].drop(hours(500).index[100:460])  # a pause longer than a window of 300
    server = serve(okx(bars), "candles")
    server.faults = ["", "half", "500"]
    start = bars.index[0] - pd.Timedelta(hours=700)
    report = fetch(opened(server, "ccxt:okx:BTC/USDT"), tmp_path / "o.parquet", start)
    same(stored(tmp_path / "o.parquet"), bars.iloc[:-1])
    assert [gap.bars for gap in report.gaps] == [360]
    assert "there is no bar between" in report.notes[0]


@needs("ccxt")
def test_what_came_in_before_the_exchange_failed_for_good_is_kept_and_gone_on_from(serve, tmp_path):
    bars = hours(1500)
    server = serve(binance(bars, page=500), "/klines")
    server.faults = ["", *["503"] * 3]
    path = tmp_path / "b.parquet"
    with pytest.raises(ConnectionError, match="given up after 3 tries"):
        fetch(opened(server, "ccxt:binance:BTC/USDT", retry=RetryPolicy(3, 0.01, 0.1)), path, bars.index[0])
    same(stored(path), bars.iloc[:500])
    server.requests.clear()
    fetch(opened(server, "ccxt:binance:BTC/USDT"), path)
    assert min(int(q["startTime"]) for q in server.asked("/klines")) == bars.index[499].value // 10**6
    same(stored(path), bars.iloc[:-1])


@needs("ccxt")
def test_the_file_says_where_its_bars_come_from_and_refuses_others(serve, tmp_path):
    server = serve(binance(hours(300)), "/klines")
    path = tmp_path / "b.parquet"
    fetch(opened(server, "ccxt:binance:BTC/USDT"), path)
    about = read_about(path)
    told = {name: about[name] for name in ("source", "symbol", "timeframe", "tz", "adjustment", "stamp", "gaps")}
    assert told == {
        "source": "ccxt:binance:BTC/USDT", "symbol": "BTC/USDT", "timeframe": "1h", "tz": "UTC", "adjustment": "none",
        "stamp": "open", "gaps": [],
    }  # fmt: skip
    assert about["library"].startswith("ccxt 4") and pd.Timestamp(about["fetched_at"]).tz is not None
    with pytest.raises(ValueError, match="holds bars of another source"):
        fetch(opened(server, "ccxt:binance:ETH/USDT"), path)
    (tmp_path / "mine.parquet").write_bytes(b"x")
    with pytest.raises(ValueError, match="was not written by kronos fetch"):
        fetch(opened(server, "ccxt:binance:BTC/USDT"), tmp_path / "mine.parquet")


@needs("ccxt")
def test_what_an_exchange_does_not_have_is_said_before_anything_is_fetched(serve):
    server = serve(binance(hours(10)), "/klines")
    for spec, timeframe, said in (
        ("ccxt:binanze:BTC/USDT", "1h", "did you mean binance"),
        ("ccxt:binance:BTC/USD", "1h", "has no symbol 'BTC/USD'; near it: BTC/USDT"),
        ("ccxt:binance:BTC/USDT", "7h", "has no 7h candles"),
        ("ccxt:binance:BTC/USDT", "hourly", "timeframe 'hourly'"),
    ):
        with pytest.raises(ValueError, match=said):
            opened(server, spec, timeframe)


@needs("ccxt")
def test_the_command_fetches_several_symbols_and_forecast_takes_a_live_source(serve, tmp_path, monkeypatch):
    server = serve(binance(hours(700)), "/klines")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KRONOS_LIVE_URL", server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["fetch", "ccxt:binance", "BTC/USDT", "NO/SUCH", "--timeframe", "1h", "--wait", "0.01"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert (
        "in binance_BTC-USDT_1h.parquet" in done.output
        and "1 of 2 symbols could not be fetched: ccxt:binance:NO/SUCH" in done.output
    )
    checked = CliRunner().invoke(main, ["check", "binance_BTC-USDT_1h.parquet"])
    assert checked.exit_code == 0 and "no faults found" in checked.output
    arguments = ["forecast", "ccxt:binance:BTC/USDT", "--timeframe", "1h", "--horizon", "3", "--paths", "2"]
    forecast = CliRunner().invoke(main, [*arguments, "--lookback", "30", "--out", "f.csv"])
    assert forecast.exit_code == 0, forecast.output
    first = pd.Timestamp(pd.read_csv("f.csv")["timestamps"].iloc[0])
    assert first == pd.Timestamp.now("UTC").floor("h")  # the bar that is not finished is the first to be forecast
    assert (tmp_path / "cache/kronos/live/binance_BTC-USDT_1h.parquet").is_file()


# ------------------------------------------------------------------------------------------------ vendors


def sessions(calendar, tz, start="2024-01-02", count=300):
    """Daily bars of past sessions up to and with today, should today be one."""
    import exchange_calendars

    days = exchange_calendars.get_calendar(calendar).sessions_in_range(start, str(pd.Timestamp.now(tz).date()))
    return prices(pd.DatetimeIndex(days).tz_localize(tz)).iloc[-count:]


@needs("yfinance")
def test_yahoo_through_its_faults_with_a_missing_day_reported(serve, tmp_path):
    bars = sessions("XNYS", "America/New_York")
    missing_day = bars.index[100]
    bars = bars.drop(missing_day)
    server = serve(yahoo(bars, "AAPL", "America/New_York"), "/chart")
    server.faults = ["", "429", "429", "500", "500", "half", "cut", "html"]
    report = fetch(opened(server, "yfinance:AAPL", "1d"), tmp_path / "y.parquet", bars.index[0].tz_convert("UTC"))
    assert server.faults == []
    today = pd.Timestamp.now("America/New_York")
    closed = bars[bars.index < today.normalize()] if today.hour < 16 else bars
    same(stored(tmp_path / "y.parquet"), closed)
    assert [gap.first for gap in report.gaps] == [missing_day]
    about = read_about(tmp_path / "y.parquet")
    assert (about["tz"], about["adjustment"]) == ("America/New_York", "splits")


@needs("yfinance")
def test_prices_that_were_adjusted_since_are_fetched_anew(serve, tmp_path):
    bars = sessions("XNYS", "America/New_York")
    route = yahoo(bars.iloc[:-20], "AAPL", "America/New_York", adjusted=1.0)
    server = serve(route, "/chart")
    start = bars.index[0].tz_convert("UTC")
    fetch(opened(server, "yfinance:AAPL", "1d", "forward"), tmp_path / "y.parquet", start)
    changed = yahoo(bars.iloc[:-5], "AAPL", "America/New_York", adjusted=0.98)  # a dividend was paid
    report = fetch(opened(serve(changed, "/chart"), "yfinance:AAPL", "1d", "forward"), tmp_path / "y.parquet")
    found = stored(tmp_path / "y.parquet")
    np.testing.assert_allclose(found["close"], bars["close"].iloc[:-5] * 0.98, rtol=1e-5)
    assert len(found) == report.bars == len(bars) - 5 and report.revised >= 1


@needs("yfinance")
def test_intraday_bars_of_yahoo_reach_back_only_so_far_and_this_is_said(serve, tmp_path):
    now = pd.Timestamp.now("America/New_York").floor("h")
    bars = prices(pd.date_range(end=now, periods=2000, freq="h"))
    times = pd.DatetimeIndex(bars.index)
    bars = bars[(times.hour >= 10) & (times.hour < 16) & (times.day_of_week < 5)]
    server = serve(yahoo(bars, "AAPL", "America/New_York"), "/chart")
    report = fetch(
        opened(server, "yfinance:AAPL", "5m"), tmp_path / "y.parquet", now.tz_convert("UTC") - pd.Timedelta(days=80)
    )
    assert "only from" in report.notes[0] and report.first is not None and report.first > now - pd.Timedelta(days=60)


@needs("akshare")
def test_eastmoney_through_its_faults_daily_and_by_the_minute(serve, tmp_path):
    bars = sessions("XSHG", "Asia/Shanghai").tz_localize(None)
    absent = bars.index[[50, 51]]
    bars = bars.drop(absent)
    server = serve(eastmoney(bars), "/kline")
    server.faults = ["429", "500", "half", "cut", "html"]
    report = fetch(
        opened(server, "akshare:600519", "1d"), tmp_path / "e.parquet", pd.Timestamp(bars.index[0], tz="UTC")
    )
    now = pd.Timestamp.now("Asia/Shanghai")
    settled = now.normalize() + pd.Timedelta(hours=15, minutes=10) <= now
    closed = bars if settled else bars[bars.index < now.normalize().tz_localize(None)]
    same(stored(tmp_path / "e.parquet"), closed.tz_localize("Asia/Shanghai"))
    assert [gap.first for gap in report.gaps] == list(absent.tz_localize("Asia/Shanghai"))
    assert "amount" in stored(tmp_path / "e.parquet")

    day = pd.Timestamp("2024-07-01")
    slots = [*pd.date_range("09:35", "11:30", freq="5min"), *pd.date_range("13:05", "15:00", freq="5min")]
    times = [day + pd.Timedelta(days=d) + (s - s.normalize()) for d in range(4) for s in slots]
    minutes = prices(pd.DatetimeIndex(times)).drop(times[60])
    server = serve(eastmoney(minutes), "/kline")
    report = fetch(
        opened(server, "akshare:600519", "5m"),
        tmp_path / "m.parquet",
        pd.Timestamp("2024-07-01", tz="UTC") - pd.Timedelta("1D"),
    )
    same(stored(tmp_path / "m.parquet"), minutes.tz_localize("Asia/Shanghai"))
    assert read_about(tmp_path / "m.parquet")["stamp"] == "close"
    assert [(str(gap.first.date()), gap.bars) for gap in report.gaps] == [("2024-07-02", 1)]


@needs("akshare")
def test_what_vendors_do_not_have_is_refused_in_words(serve):
    server = serve(eastmoney(prices(pd.date_range("2024-01-01", periods=3))))
    with pytest.raises(ValueError, match="six digits"):
        opened(server, "akshare:AAPL")
    with pytest.raises(ValueError, match="as traded"):
        opened(server, "akshare:600519", "1m", "forward")
    with pytest.raises(ValueError, match="no 4h bars"):
        opened(server, "akshare:600519", "4h")


# ------------------------------------------------------------------------------------------------ small parts


def test_sources_are_written_as_library_venue_and_symbol():
    assert str(parse_spec("ccxt:binance:BTC/USDT:USDT")) == "ccxt:binance:BTC/USDT:USDT"
    assert parse_spec("ccxt:binance", "BTC/USDT") == parse_spec("ccxt:binance:BTC/USDT")
    assert parse_spec("yfinance:^GSPC").file_name("1d") == "yfinance_^GSPC_1d.parquet"
    assert "/" not in parse_spec("ccxt:okx:../../x").file_name("1d")
    assert is_spec("akshare:600519") and not is_spec("prices.csv") and not is_spec("C:/prices.csv")
    for text, symbol, said in (
        ("ccxt", None, "names no exchange"),
        ("ccxt:binance", None, "names no symbol"),
        ("yfinance:AAPL", "MSFT", "names the symbol"),
        ("bloomberg:AAPL", None, "is no source"),
        ("yfinance:A B", None, "is no symbol"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_spec(text, symbol)
    with pytest.raises(ValueError, match="base URL"):
        open_source(parse_spec("yfinance:AAPL"), "1d", "none", "ftp://x", FAST)


def test_spans_are_joined_and_what_is_missing_is_found():
    at = [pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=d) for d in range(10)]
    spans = [Interval(at[5], at[7]), Interval(at[1], at[3]), Interval(at[2], at[4])]
    assert union(spans) == [Interval(at[1], at[4]), Interval(at[5], at[7])]
    assert missing(Interval(at[0], at[9]), spans) == [
        Interval(at[0], at[1]), Interval(at[4], at[5]), Interval(at[7], at[9]),
    ]  # fmt: skip
    assert missing(Interval(at[2], at[3]), spans) == []


def test_waiting_doubles_and_the_other_sides_wish_is_kept(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("kronos.live.retry.time.sleep", waits.append)
    tries = iter([ValueError("a"), ValueError("b"), ValueError("c"), None])

    def ask():
        error = next(tries)
        if error is not None:
            raise error
        return json.dumps("done")

    wishes = iter([None, 7.0, None])
    assert RetryPolicy(5, 1.0, 60.0).run(ask, (ValueError,), lambda error: next(wishes)) == '"done"'
    assert 0.75 <= waits[0] <= 1.25 and waits[1] == 7.0 and 3.0 <= waits[2] <= 5.0


def test_a_month_is_as_long_as_it_is():
    grid = Timeframe("1M").grid(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-04-01"))
    assert list(grid.month) == [1, 2, 3, 4]
    assert Timeframe("1M").after(pd.DatetimeIndex(["2024-02-01"]))[0] == pd.Timestamp("2024-03-01")
