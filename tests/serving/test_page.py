"""The page in a headless browser, against a real server: every step that a user takes, and every fault on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.processes import run_process, started

pytest.importorskip("fastapi", reason="needs the extra serve")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
import kronos  # noqa: E402
from kronos.cli import main  # noqa: E402
from kronos.serving.config import Settings  # noqa: E402
from kronos.serving.work import LoadedModel  # noqa: E402
from tests.serving_server import Server, bars, columns  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
VIOLATIONS = (
    """async () => (await axe.run()).violations.map(({id, impact, nodes}) => ({id, impact, html: nodes[0].html}))"""
)
SHOTS = os.environ.get("KRONOS_SCREENSHOTS")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (apt-get install chromium, or CHROMIUM=...)")


@pytest.fixture(scope="session")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def nano():
    return {"nano": LoadedModel("nano", kronos.load("nano"))}


@pytest.fixture(scope="module")
def server(nano):
    with Server(nano, Settings(port=0)) as running:
        yield running


@pytest.fixture
def visit(browser):
    """Opens the page; afterwards there must have been no error, and no request to anybody else."""
    opened = []

    def open_page(url, expected=(), **context):
        made = browser.new_context(**{"locale": "en-US", "color_scheme": "dark", "accept_downloads": True, **context})
        page = made.new_page()
        seen = {"errors": [], "hosts": set(), "expected": expected}
        page.on("console", lambda message: message.type == "error" and seen["errors"].append(message.text))
        page.on("pageerror", lambda error: seen["errors"].append(str(error)))
        page.on("request", lambda request: seen["hosts"].add(re.sub(r"^(\w+:(//)?[^/]*).*", r"\1", request.url)))
        opened.append((made, seen, re.findall(r"^\w+://[^/]*", url)[0]))
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]")
        return page

    yield open_page
    for made, seen, url in opened:
        made.close()
        others = {host for host in seen["hosts"] if host != url and not host.startswith(("blob:", "data:"))}
        assert not others
        assert not [text for text in seen["errors"] if not any(word in text for word in seen["expected"])]


def shot(page, name):
    """For those who look: KRONOS_SCREENSHOTS=folder."""
    if SHOTS:
        page.wait_for_timeout(300)
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def read_file(page, file):
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#run:not([disabled])")


def forecast(page, **fields):
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))
    page.click("#run")
    finished(page)


def finished(page):
    page.wait_for_selector("#results:not([hidden])")
    page.wait_for_selector("#progress-row", state="hidden")


def move_now(page, to):
    page.evaluate(
        "to => { const now = document.getElementById('now'); now.value = to; now.dispatchEvent(new Event('input')); }",
        to,
    )


def drawn(page):
    """What stands in the chart: {series: bars}."""
    return page.evaluate("() => document.getElementById('chart').drawn")


def visible(page):
    """First and last bar in sight."""
    return page.evaluate("() => { const { from, to } = document.getElementById('chart').range(); return [from, to]; }")


def open_sample(page, name="sp500"):
    page.click(f"#empty [data-sample={name}]")
    page.wait_for_selector("#run:not([disabled])")


@pytest.fixture
def shapes(tmp_path):
    """Files in the shapes that users have: {name: (file, bars, a word of the rhythm)}."""
    five, daily, hourly = bars(400), bars(300, start="2023-01-02", freq="B"), bars(300, start="2024-01-01", freq="1h")
    files = {}

    def keep(name, text, count, rhythm, encoding="utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        files[name] = (tmp_path / name, count, rhythm)

    epochs = five.assign(timestamps=five["timestamps"].astype("datetime64[ms]").astype("int64"))
    keep("binance.csv", epochs.rename(columns={"timestamps": "open_time"}).to_csv(index=False), 400, "5-minute")
    yahoo = daily.rename(
        columns={
            "timestamps": "Date",
            "open": "Open",
            "high": "High",
            "low": "Low",
            "close": "Close",
            "volume": "Volume",
        }
    )
    keep("yahoo.csv", yahoo.to_csv(index=False), 300, "daily")
    chinese = daily.set_axis(["日期", "开盘", "最高", "最低", "收盘", "成交量"], axis=1)
    keep("akshare.csv", chinese.to_csv(index=False), 300, "daily", "gb18030")
    times = hourly.pop("timestamps")
    meta = pd.DataFrame({"<DATE>": times.dt.strftime("%Y.%m.%d"), "<TIME>": times.dt.strftime("%H:%M:%S")})
    for column in ("open", "high", "low", "close"):
        meta[f"<{column.upper()}>"] = hourly[column]
    meta["<TICKVOL>"], meta["<VOL>"], meta["<SPREAD>"] = hourly["volume"], 0, 1
    keep("mt5.csv", meta.to_csv(index=False, sep="\t"), 300, "1-hour")
    keep("index.csv", five.drop(columns="volume").to_csv(index=False), 400, "5-minute")
    return files


@pytest.mark.parametrize("name", ["binance.csv", "yahoo.csv", "akshare.csv", "mt5.csv", "index.csv"])
def test_each_shape_of_file_is_read_described_and_forecast(visit, server, shapes, name):
    file, count, rhythm = shapes[name]
    page = visit(server.url)
    read_file(page, file)
    facts = page.inner_text("#data-facts")
    assert f"{count:,}" in facts and rhythm in facts
    forecast(page, horizon=6, paths=8)
    assert page.locator("#table tbody tr").count() == 6
    shown = drawn(page)
    assert (shown["candles"], shown["truth"], shown["fan"]) == (count, 0, 7)  # the fan opens from the last close
    assert shown["volume"] == (0 if name == "index.csv" else count + 6)
    assert "%" in page.inner_text("#figures dd >> nth=0")
    shot(page, f"shape-{name}")


def test_first_page_is_small_and_ready_soon(visit, server):
    page = visit(server.url)
    sizes = page.evaluate(
        "() => ['navigation', 'resource'].flatMap(k => performance.getEntriesByType(k)).map(e => e.transferSize)"
    )
    assert 50_000 < sum(sizes) < 300_000
    assert page.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd") < 1500
    assert "no advice" in page.inner_text("footer")
    shot(page, "empty")


def test_moving_now_back_forecasts_again_shows_what_happened_and_scores(visit, server):
    page = visit(server.url)
    page.click("#empty [data-sample=sp500]")
    page.wait_for_selector("#run:not([disabled])")
    forecast(page, horizon=10, paths=20)
    assert page.is_hidden("#score")
    move_now(page, 4000)
    page.wait_for_selector("#results", state="hidden")
    finished(page)
    assert page.is_visible("#score") and page.is_visible("#legend-truth")
    assert "bar 4,000 of 5,031" in page.inner_text("#now-label")
    assert page.inner_text("#score-figures dd >> nth=3").endswith("of 10")
    assert page.locator("#table thead th").last.inner_text() == "Actual"
    assert drawn(page)["truth"] == 1031
    shot(page, "moved")
    page.uncheck("#show-truth")
    assert drawn(page)["truth"] == 0
    move_now(page, 5025)  # six bars of truth, four of the calendar
    finished(page)
    assert page.inner_text("#score-figures dd >> nth=3").endswith("of 6")
    assert page.locator("#table tbody tr").count() == 10
    page.click("#now-end")
    finished(page)
    assert page.is_hidden("#score")


def test_sample_paths_and_log_scale_change_the_chart(visit, server):
    page = visit(server.url)
    page.click("#empty [data-sample=nasdaq]")
    page.wait_for_selector("#run:not([disabled])")
    forecast(page, horizon=8, paths=12)
    assert drawn(page)["paths"] == 0
    page.check("#show-paths")
    assert drawn(page)["paths"] == 12
    page.select_option("#scale", "log")
    assert drawn(page)["scale"] == "log"
    page.select_option("#scale", "percent")
    assert drawn(page)["last"] == 0  # of "now"
    page.select_option("#shape", "candles")
    assert drawn(page)["forecast"] == 8
    page.fill("#averages", "5, 20")
    page.press("#averages", "Tab")
    assert drawn(page)["averages"] == 3  # two of the close, one of the volume
    shot(page, "paths-log")


def test_the_crosshair_names_the_bar_by_mouse_and_by_keyboard(visit, server):
    page = visit(server.url)
    page.click("#empty [data-sample=sp500]")
    page.wait_for_selector("#run:not([disabled])")
    forecast(page, horizon=10, paths=10)
    assert page.inner_text("#readout").startswith("2018-12-31 O 2,498.94")
    page.focus("#chart")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#readout").startswith("2018-12-28")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout").startswith("2019-01-03 median")  # not New Year's Day
    box = page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.wait_for_function("() => document.getElementById('readout').textContent.startsWith('2018-')")
    width = lambda: np.diff(visible(page))[0]
    page.focus("#chart")
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    wide = width()
    assert visible(page)[1] >= 5031 + 9  # the forecast to its end
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    assert width() < 0.9 * wide
    page.mouse.dblclick(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.wait_for_timeout(100)
    assert width() == pytest.approx(wide, rel=0.02)


def test_the_forecast_is_downloaded_as_a_table_and_as_a_picture(visit, server, tmp_path):
    page = visit(server.url)
    file = tmp_path / "prices.csv"
    bars(200).to_csv(file, index=False)
    read_file(page, file)
    forecast(page, horizon=5, paths=8)
    with page.expect_download() as table:
        page.click("#save-csv")
    saved = pd.read_csv(table.value.path())
    assert table.value.suggested_filename == "prices-forecast.csv"
    levels = ["0.1", "0.25", "0.5", "0.75", "0.9"]
    about = ["symbol", "model", "seed", "calibration", "forecast_from", "note"]
    assert list(saved.columns) == ["timestamp", "target_name", "mean", *levels, *about]
    assert saved["model"][0] == "nano" and "no advice" in saved["note"][0]
    assert len(saved) == 25 and set(saved["target_name"]) == {"open", "high", "low", "close", "volume"}
    with page.expect_download() as picture:
        page.click("#save-png")
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("locale", "scheme"), [("en-US", "dark"), ("zh-CN", "light")])
def test_the_page_to_pass_on_shows_the_chart_without_any_service(visit, server, browser, tmp_path, locale, scheme):
    page = visit(server.url, locale=locale, color_scheme=scheme)
    frame = bars(200)
    frame[["open", "high", "low", "close"]] *= 7_654_321
    frame.to_csv(tmp_path / "a <b> & c.csv", index=False)
    read_file(page, tmp_path / "a <b> & c.csv")
    move_now(page, 190)
    forecast(page, horizon=5, paths=8)
    shown = drawn(page)
    with page.expect_download() as saved:
        page.click("#save-html")
    saved.value.save_as(tmp_path / "passed.html")
    with browser.new_context(locale=locale, viewport={"width": 900, "height": 900}) as context:
        other = context.new_page()
        asked, wrong = [], []
        other.on("request", lambda request: asked.append(request.url))
        other.on("pageerror", lambda error: wrong.append(str(error)))
        other.goto((tmp_path / "passed.html").as_uri())
        other.wait_for_function("() => document.getElementById('chart').drawn")
        assert drawn(other) == shown and not wrong
        assert not [url for url in asked if not url.startswith(("file:", "data:"))]
        assert other.inner_text("#score-words") and "a <b> & c" in other.inner_text("h1")
        assert other.inner_text("#readout").strip()
        for width in (380, 1200, 900):  # the prices have nine figures
            other.set_viewport_size({"width": width, "height": 900})
            assert not other.evaluate(
                "() => [...document.querySelectorAll('.figures dd')].filter(dd => dd.scrollWidth > dd.clientWidth).length"
            )
            assert other.evaluate("() => document.body.scrollWidth") <= width
        assert re.search(r"\d{3},\d{3},\d{3}", other.inner_text("#figures"))
        shot(other, f"passed-on-{locale}-{scheme}")


def test_a_dirty_file_is_explained_with_its_rows_and_mended_on_demand(visit, server, tmp_path):
    frame = bars(200)
    frame.loc[6, "low"], frame.loc[8, "close"] = 999, np.nan
    file = tmp_path / "dirty.csv"
    pd.concat([frame, frame.iloc[[20]]]).to_csv(file, index=False)
    page = visit(server.url)
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#faults-big:not([hidden])")
    said = page.inner_text("#faults-big")
    assert "high below low: 1, in high, low, row 7" in said
    assert "missing value: 1, in close, row 9" in said
    assert "duplicate timestamp: 1" in said and "row 201" in said
    assert page.is_disabled("#run")
    shot(page, "dirty")
    page.click("#faults-big button")
    page.wait_for_selector("#run:not([disabled])")
    assert "kept 198 of 201 rows" in page.inner_text("#data-facts")
    forecast(page, horizon=4, paths=4)


def test_a_file_of_unknown_columns_is_refused_in_words_and_read_when_they_are_named(visit, server, tmp_path):
    file = tmp_path / "odd.csv"
    bars(100).rename(columns={"close": "X7"}).to_csv(file, index=False)
    page = visit(server.url, expected=["422"])
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#alert:not([hidden])")
    assert "no column for close" in page.inner_text("#alert-text")
    assert page.locator("#mapping select").count() == 7
    page.select_option("#mapping [data-role=close]", "X7")
    shot(page, "mapping")
    page.click("#mapping button")
    page.wait_for_selector("#run:not([disabled])")
    assert "X7 → close" in page.inner_text("#data-facts")


def test_a_file_of_several_symbols_lets_one_choose(visit, server, tmp_path):
    file = tmp_path / "market.csv"
    pd.concat([bars(90, i).assign(symbol=name) for i, name in enumerate(["AAA", "BBB"])]).to_csv(file, index=False)
    page = visit(server.url)
    read_file(page, file)
    assert "AAA" in page.inner_text("#source-name")
    page.select_option("#symbol", "BBB")
    page.wait_for_function("() => document.getElementById('source-name').textContent.includes('BBB')")
    forecast(page, horizon=3, paths=4)


@pytest.mark.parametrize("named", [{"close": "clse"}, {"open": "X1", "close": "X7"}])
def test_unknown_columns_are_refused_in_chinese_whatever_the_advice(visit, server, tmp_path, named):
    bars(100).rename(columns=named).to_csv(tmp_path / "odd.csv", index=False)
    page = visit(server.url, ("422",), locale="zh-CN")
    page.set_input_files("#file", str(tmp_path / "odd.csv"))
    page.wait_for_selector("#alert:not([hidden])")
    assert "没有找到列：" in page.inner_text("#alert-text")


@pytest.mark.parametrize(("locale", "made", "refused"), [
    ("en-US", "600 bars", "the bars are of 15 min already"), ("zh-CN", "600 根", "无法由这些 K 线合成"),
])  # fmt: skip
def test_bars_of_a_longer_timeframe_are_made_forecast_and_refused_in_words(
    visit, server, tmp_path, monkeypatch, locale, made, refused
):
    bars(600, freq="15min").to_csv(tmp_path / "quarters.csv", index=False)
    page = visit(server.url, ("422",), locale=locale)
    read_file(page, tmp_path / "quarters.csv")
    page.select_option("#timeframe", "1h")
    page.wait_for_function("() => document.getElementById('chart').drawn?.candles === 150")
    page.wait_for_selector("#run:not([disabled])")
    assert made in page.inner_text("#data-facts")
    forecast(page, horizon=4, paths=4)
    assert drawn(page)["fan"] == 5
    assert 'bars = kronos.klines.aggregate(bars, "1h")' in page.inner_text("#recipe-text")
    shot(page, f"timeframe-{locale}")
    if locale == "en-US":
        medians = page.evaluate(
            "() => [...document.querySelectorAll('#table tbody tr')].map(r => Number(r.cells[4].textContent))"
        )
        page.click("#tab-command")
        words = shlex.split(page.inner_text("#recipe-text").replace("\\\n", " "))
        monkeypatch.chdir(tmp_path)
        assert CliRunner().invoke(main, words[1:]).exit_code == 0 and "--timeframe" in words
        np.testing.assert_allclose(pd.read_csv("forecast.csv")["close_q50"], medians, atol=2e-5)
    page.select_option("#timeframe", "15min")
    page.wait_for_selector("#alert:not([hidden])")
    assert refused in page.inner_text("#alert-text")
    page.select_option("#timeframe", "")
    page.wait_for_function("() => document.getElementById('chart').drawn?.candles === 600")


def test_chinese_says_everything_in_chinese_and_stays(visit, server, tmp_path):
    file = tmp_path / "a.csv"
    bars(200).to_csv(file, index=False)
    page = visit(server.url)
    page.click("#language")
    read_file(page, file)
    forecast(page, horizon=4, paths=4)
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert "5 分钟线" in page.inner_text("#data-facts")
    codes = "|".join(
        re.escape(code)
        for code in page.eval_on_selector_all("#calendar option", "all => all.map(o => o.value)")
        if code
    )
    words = page.evaluate("() => document.body.innerText")
    known = r"Kronos|English|NASDAQ|S&P|nano|CSV|PNG|Python|curl|VaR|ES|CRPS|MAE|top-p|K|TradingView.*Inc|a\.csv"
    rest = re.sub(r"import kronos.*?(?=复制)", "", words, flags=re.DOTALL)
    rest = re.sub(r"timestamps → 时间.*", "", rest)
    assert not re.findall(r"[A-Za-z]{2,}", re.sub(f"{known}|{codes}", "", rest))
    shot(page, "chinese")
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.inner_text("#run") == "开始预测"


def test_light_and_dark_follow_the_system_and_the_button(visit, server):
    light = visit(server.url, color_scheme="light")
    assert light.get_attribute("html", "data-theme") == "light"
    dark = visit(server.url, color_scheme="dark")
    assert dark.get_attribute("html", "data-theme") == "dark"
    dark.click("#theme")
    assert dark.get_attribute("html", "data-theme") == "light"


def test_on_a_phone_nothing_is_wider_than_the_screen(visit, server):
    page = visit(
        server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    page.click("#empty [data-sample=sp500]")
    page.wait_for_selector("#run:not([disabled])")
    forecast(page, horizon=10, paths=10)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert page.locator("#run").bounding_box()["height"] >= 38
    shot(page, "phone")


class Finger:
    """Touches by the browser's own protocol."""

    def __init__(self, page):
        self.session, self.page = page.context.new_cdp_session(page), page

    def send(self, kind, *points):
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def drag(self, *ways, steps=8):
        """Each way is ((x, y), (x, y)): one finger's start and end."""
        self.send("touchStart", *[start for start, _ in ways])
        for step in range(1, steps + 1):
            at = [tuple(a + (b - a) * step / steps for a, b in zip(*way, strict=True)) for way in ways]
            self.send("touchMove", *at)
            self.page.wait_for_timeout(20)
        self.send("touchEnd")
        self.page.wait_for_timeout(150)


def test_on_a_phone_a_finger_taps_pinches_scrolls_and_forecasts(visit, server, tmp_path):
    file = tmp_path / "prices.csv"
    bars(600, start="2023-01-02", freq="B").to_csv(file, index=False)
    page = visit(server.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    read_file(page, file)
    page.fill("#paths", "8")
    page.evaluate("() => scrollTo(0, 0)")
    box = page.locator("#chart").bounding_box()
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4
    before, last = page.inner_text("#readout"), visible(page)
    page.touchscreen.tap(x, y)
    page.wait_for_function("text => document.getElementById('readout').innerText !== text", arg=before, timeout=3000)

    finger = Finger(page)
    finger.drag(((x - 15, y), (x - 70, y)), ((x + 15, y), (x + 70, y)))
    assert np.diff(visible(page))[0] < 0.7 * np.diff(last)[0]

    finger.drag(((x, y + 150), (x, y - 100)))
    assert page.evaluate("() => scrollY") > 100  # the page, not the chart
    button = page.locator("#run").bounding_box()
    assert button["y"] > 0 and button["y"] + button["height"] <= 844  # in sight wherever the page is

    page.wait_for_timeout(800)  # a tap during a fling only stops it
    page.tap("#run")
    finished(page)
    box = page.locator("#chart").bounding_box()
    assert box["y"] < 250  # back at the chart
    x = box["x"] + page.evaluate("() => document.getElementById('chart').nowX()") + 30
    page.touchscreen.tap(x, box["y"] + box["height"] * 0.3)
    page.wait_for_function("() => /median.*80 %/s.test(document.getElementById('readout').innerText)", timeout=3000)
    shot(page, "phone-flow")


def test_a_calibrated_forecast_says_so_with_its_coverage_and_can_be_had_as_drawn(visit, server):
    page = visit(server.url)
    open_sample(page)
    assert "764" in page.inner_text("#coverage") and "79.8%" in page.inner_text("#coverage")
    forecast(page, horizon=4, paths=8)
    assert "calibrated" in page.inner_text("#how")
    calibrated = page.inner_text("#table tbody tr >> nth=3")
    page.select_option("#calibration", "none")
    forecast(page)
    assert "as drawn" in page.inner_text("#how") and page.inner_text("#table tbody tr >> nth=3") != calibrated
    page.click("details:has(#seed) summary")
    page.select_option("#calibration", "auto")
    forecast(page, temperature=0.5)
    assert "model's own temperature" in page.inner_text("#how")


def test_a_rolling_holdout_scores_many_cut_offs_as_single_ones_are_scored(visit, server, tmp_path):
    frame, file = bars(200), tmp_path / "prices.csv"
    frame.to_csv(file, index=False)
    page = visit(server.url)
    read_file(page, file)
    for name, value in {"horizon": 8, "paths": 10, "windows": 5, "lookback": 100}.items():
        page.fill(f"#{name}", str(value))
    page.click("#roll")
    page.wait_for_selector("#rolling:not([hidden])")
    assert "5 windows, 40 bars" in page.inner_text("#rolling-words")
    figure = lambda number: page.inner_text(f"#rolling-figures dd >> nth={number}").replace(",", "")
    maes = []
    with server.client() as client:
        for at in range(192, 152, -8):
            asked = {"bars": columns(frame.iloc[: at + 8]), "horizon": 8, "holdout": 8, "paths": 10, "lookback": 100}
            maes.append(client.post("/v1/forecast", json=asked).json()["score"]["mae"])
    assert float(figure(0)) == pytest.approx(np.mean(maes), rel=1e-3, abs=2e-5)
    assert figure(4).endswith("of 5")
    assert page.locator("#reliability .dot").count() == 6
    shot(page, "rolling")
    page.fill("#horizon", "100")
    page.click("#roll")
    assert "Only 1 windows of 100 bars fit" in page.inner_text("#alert-text")


def test_forecasts_of_other_seeds_and_cut_offs_are_kept_with_the_scores_of_single_ones(visit, server, tmp_path):
    frame, file = bars(200), tmp_path / "prices.csv"
    frame.to_csv(file, index=False)
    page = visit(server.url)
    read_file(page, file)
    page.fill("#lookback", "100")
    forecast(page, horizon=8, paths=10)
    page.click("#pin")
    page.click("#pin")  # the same one again
    page.fill("#vary-count", "2")
    for what in ("seeds", "cutoffs"):
        page.select_option("#vary-what", what)
        page.click("#vary")
        finished(page)
    names = page.locator("#compare-table tbody th").all_inner_texts()
    assert [name.split(" · ", 1)[1][:6] for name in names] == ["seed 0", "seed 1", "seed 0", "seed 0"]
    assert drawn(page)["pins"] == 4 and len({name[0] for name in names}) == 4
    cells = page.locator("#compare-table tbody tr").all_inner_texts()
    assert all("bars not known yet" in text for text in cells[:2])  # from the last bar, nothing came after
    with server.client() as client:
        for at, text in zip((192, 184), cells[2:], strict=True):
            asked = {"bars": columns(frame.iloc[: at + 8]), "horizon": 8, "holdout": 8, "paths": 10, "lookback": 100}
            mae = client.post("/v1/forecast", json=asked).json()["score"]["mae"]
            assert float(text.split("\t")[2].replace(",", "")) == pytest.approx(mae, abs=2e-5)
    assert page.locator("#compare-table .best").count() == 1
    shot(page, "compare")
    page.click("#pins li >> nth=1 >> button")
    move_now(page, 150)
    page.wait_for_function("() => document.getElementById('chart').drawn.pins === 3")
    finished(page)
    page.click("#language")
    assert "种子 0" in page.inner_text("#pins li >> nth=1") and "起点" in page.inner_text("#compare-table")
    page.click("#unpin-all")
    assert page.is_hidden("#compare") and drawn(page)["pins"] == 0


def test_models_are_compared_in_one_chart(visit, nano, tmp_path):
    bars(120).to_csv(tmp_path / "prices.csv", index=False)
    with Server(nano | {"second": LoadedModel("second", nano["nano"].predictor)}, Settings(port=0)) as both:
        page = visit(both.url)
        read_file(page, tmp_path / "prices.csv")
        move_now(page, 100)
        page.fill("#horizon", "4")
        page.fill("#paths", "5")
        page.select_option("#vary-what", "models")
        assert page.is_hidden("#vary-count")
        page.click("#vary")
        page.wait_for_function("() => document.getElementById('chart').drawn.pins === 2")
        page.wait_for_selector("#progress-row", state="hidden")
        names = page.locator("#compare-table tbody th").all_inner_texts()
        assert [name.split(" · ")[0].removeprefix(letter) for letter, name in zip("AB", names, strict=True)] == [
            "nano",
            "second",
        ]


def test_symbols_side_by_side_are_forecast_as_each_alone(visit, server, tmp_path):
    frames = {name: bars(90, i) for i, name in enumerate(["000001", "000002", "000003"])}
    pd.concat([frame.assign(symbol=name) for name, frame in frames.items()]).to_csv(
        tmp_path / "market.csv", index=False
    )
    page = visit(server.url, viewport={"width": 1440, "height": 900})
    read_file(page, tmp_path / "market.csv")
    page.fill("#horizon", "6")
    page.fill("#paths", "10")
    page.click("#several-row summary")
    page.uncheck("#several-list [value='000002']")
    page.click("#several-show")
    page.wait_for_selector("#several-cards article:nth-child(2) canvas >> nth=0")
    move_now(page, 80)
    page.click("#several-run")
    page.wait_for_selector("#several-cards article:nth-child(2) .figures div:nth-child(5)")
    with server.client() as client:
        for place, name in enumerate(["000001", "000003"]):
            asked = {"bars": columns(frames[name].iloc[:86]), "horizon": 6, "holdout": 6, "paths": 10}
            alone = client.post("/v1/forecast", json=asked).json()
            card = page.inner_text(f"#several-cards article >> nth={place}")
            assert name in card and f"{alone['summary']['prob_up']:.0%}" in card
            assert f"{alone['score']['mae'] / alone['score']['mae_last_price']:.2f}" in card
            shown = page.evaluate("n => document.querySelectorAll('.small-chart')[n].drawn", place)
            assert shown == {"candles": 80, "truth": 6, "fan": 7}
    tops = (
        "() => [...document.querySelectorAll('#several-cards article')].map(card => card.getBoundingClientRect().top)"
    )
    assert len(set(page.evaluate(tops))) == 1
    shot(page, "several")
    page.set_viewport_size({"width": 360, "height": 740})
    assert len(set(page.evaluate(tops))) == 2
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    move_now(page, 70)  # figures of another "now" do not stay
    page.wait_for_function("() => !document.querySelector('#several-cards .figures:not([hidden])')")
    page.select_option("#symbol", "000002")
    page.wait_for_selector("#several", state="hidden")


def test_the_address_keeps_settings_sample_and_now_and_the_browser_the_last_file(visit, server, tmp_path):
    page = visit(server.url)
    open_sample(page)
    page.fill("#horizon", "7")
    page.select_option("#scale", "log")
    move_now(page, 4000)
    assert "sample=sp500" in page.url and "horizon=7" in page.url and "scale=log" in page.url
    other = visit(page.url)
    other.wait_for_selector("#run:not([disabled])")
    other.wait_for_function("() => document.getElementById('now').value === '4000'")
    assert (other.input_value("#horizon"), drawn(other)["scale"]) == ("7", "log")
    file = tmp_path / "prices.csv"
    bars(200).to_csv(file, index=False)
    read_file(other, file)
    other.wait_for_selector("#forget:not([hidden])")
    other.goto(server.url)
    other.wait_for_selector("#run:not([disabled])")
    assert "prices.csv" in other.inner_text("#source-name")
    other.click("#forget")
    other.wait_for_selector("#forget", state="hidden")
    other.goto(f"{server.url}/?horizon=3")
    other.wait_for_selector("html[data-ready=yes]")
    assert other.is_visible("#drop-big") and other.input_value("#horizon") == "3"


def test_wrong_numbers_are_named_before_anything_is_sent(visit, server):
    page = visit(server.url)
    page.click("#empty [data-sample=sp500]")
    page.wait_for_selector("#run:not([disabled])")
    page.fill("#horizon", "5000")
    page.click("#run")
    assert "Horizon must be a number from 1 to 1,000" in page.inner_text("#alert-text")
    assert page.get_attribute("#horizon", "aria-invalid") == "true"
    page.fill("#horizon", "5")
    page.fill("#paths", "100000")
    page.click("#run")
    assert "Paths must be a number from 1 to 500" in page.inner_text("#alert-text")
    page.fill("#paths", "4")
    page.click("#run")
    finished(page)
    assert page.is_hidden("#alert")
    assert page.get_attribute("#paths", "aria-invalid") is None


def test_when_the_service_goes_away_in_the_middle_the_page_says_so_and_goes_on_when_it_is_back(visit, nano):
    with Server(nano, Settings(port=0)) as running:
        page = visit(running.url, expected=["Failed to load", "ERR_"])
        page.click("#empty [data-sample=sp500]")
        page.wait_for_selector("#run:not([disabled])")
        page.route("**/v1/forecast", lambda route: route.abort("connectionreset"))
        page.click("#run")
        page.wait_for_selector("#alert:not([hidden])")
        assert "cannot be reached" in page.inner_text("#alert-text")
        page.unroute("**/v1/forecast")
        page.wait_for_function(
            "() => document.getElementById('alert-text').textContent.includes('is back')", timeout=8000
        )
        page.click("#alert-retry")
        finished(page)
        assert page.is_hidden("#alert")


def test_the_process_killed_in_the_middle_of_a_forecast_is_noticed(visit):
    command = [str(Path(sys.executable).parent / "kronos"), "serve", "--port", "0"]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(found[1] for line in process.stderr if (found := re.search(r"on (http://\S+)", line)))
        page = visit(url, expected=["Failed to load", "ERR_"])
        page.click("#empty [data-sample=sp500]")
        page.wait_for_selector("#run:not([disabled])")
        page.fill("#horizon", "400")
        page.fill("#paths", "500")
        page.click("#run")
        page.wait_for_selector("#progress-row:not([hidden])")
        page.wait_for_timeout(500)
        process.kill()
        page.wait_for_selector("#alert:not([hidden])")
        assert "service" in page.inner_text("#alert-text")
        assert page.is_enabled("#run") and page.is_hidden("#progress-row")


def test_a_forecast_is_stopped_by_its_button_and_the_engine_stops_too(visit, server):
    page = visit(server.url)
    page.click("#empty [data-sample=sp500]")
    page.wait_for_selector("#run:not([disabled])")
    page.fill("#horizon", "900")
    page.fill("#paths", "300")
    page.click("#run")
    page.wait_for_selector("#progress-row:not([hidden])")
    page.click("#stop")
    page.wait_for_selector("#progress-row", state="hidden")
    page.wait_for_timeout(1500)
    assert server.guard.active == 0 and server.batcher._working == 0
    assert page.is_hidden("#alert")


def test_with_a_token_the_page_asks_for_it_once(visit, nano, browser):
    with Server(nano, Settings(port=0, token="correct horse battery staple")) as running:
        context = browser.new_context()
        page = context.new_page()
        page.goto(running.url)
        page.wait_for_selector("#token-dialog[open]")
        assert page.is_hidden("#token-wrong")
        page.fill("#token", "a wrong one")
        page.press("#token", "Enter")
        page.wait_for_selector("#token-wrong:not([hidden])")
        page.keyboard.press("Escape")
        page.wait_for_selector("#token-dialog", state="hidden")
        page.click("#token-open")
        page.fill("#token", "correct horse battery staple")
        page.press("#token", "Enter")
        page.wait_for_selector("html[data-ready=yes]")
        page.click("#empty [data-sample=sp500]")
        page.wait_for_selector("#run:not([disabled])")
        context.close()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_serious_fault_of_accessibility(visit, server, theme, locale, tmp_path):
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = visit(server.url, color_scheme=theme, locale=locale)

    def check(state):
        page.evaluate(script)
        found = page.evaluate(VIOLATIONS)
        serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
        assert not serious, (state, serious)

    check("empty")
    frame = bars(200)
    frame.loc[6, "low"] = 999
    frame.to_csv(tmp_path / "dirty.csv", index=False)
    page.set_input_files("#file", str(tmp_path / "dirty.csv"))
    page.wait_for_selector("#faults-big:not([hidden])")
    check("faults")
    pd.concat([bars(90, i).assign(symbol=name) for i, name in enumerate("AB")]).to_csv(
        tmp_path / "market.csv", index=False
    )
    read_file(page, tmp_path / "market.csv")
    move_now(page, 80)
    forecast(page, horizon=8, paths=10)
    page.click("#pin")
    page.click("#several-row summary")
    page.click("#several-show")
    page.wait_for_selector("#several-cards article:nth-child(2) canvas >> nth=0")
    page.click("#several-run")
    page.wait_for_selector("#several-cards article:nth-child(2) .figures div:nth-child(5)")
    page.click("#several-row summary")
    for summary in page.locator("summary").all():
        summary.click()
    check("forecast")


def recipe(page, name):
    page.click(f"#tab-{name}")
    return page.inner_text("#recipe-text")


@pytest.mark.parametrize("back", [0, 12])
def test_the_same_in_python_on_the_command_line_and_by_curl_gives_the_same_numbers(visit, server, tmp_path, back):
    file = tmp_path / "my prices.csv"
    bars(300).to_csv(file, index=False)
    page = visit(server.url)
    read_file(page, file)
    if back:
        move_now(page, 300 - back)
        page.select_option("#calibration", "none")
    page.click("details:has(#seed) summary")
    forecast(page, horizon=12, paths=10, seed=3)
    shown = page.evaluate("() => [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[4].textContent)")
    want = [float(text.replace(",", "")) for text in shown]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"cwd": tmp_path, "env": {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}}
    run = lambda command: run_process(command, check=True, **settings)

    python = recipe(page, "python") + "\nforecast.to_frame(quantiles=[0.5]).to_csv('python.csv')\n"
    run([sys.executable, "-c", python])
    got = pd.read_csv(tmp_path / "python.csv")["close_q50"]
    np.testing.assert_allclose(got, want, atol=0.006)

    run(["bash", "-c", recipe(page, "command")])
    got = pd.read_csv(tmp_path / "forecast.csv")["close_q50"]
    np.testing.assert_allclose(got, want, atol=0.006)

    if shutil.which("curl"):
        answer = json.loads(run(["bash", "-c", recipe(page, "curl").replace("curl", "curl -sf", 1)]).stdout)
        np.testing.assert_allclose([row["0.5"] for row in answer["forecast"]], want, atol=0.006)
