"""Pictures and pages of forecasts: what is drawn where, in which format, and that a name is never markup."""

import html.parser
import json
import re
import shutil
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest

from kronos.forecast.charts import charts_of
from kronos.forecast.forecast import Forecast
from kronos.plotting import svg_fan
from kronos.plotting.fan import Chart
from kronos.plotting.matplotlib_fan import Picture, forecast_picture
from kronos.plotting.plotly_fan import chart_page
from tests.processes import run_process

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"x\" 'y' $\\frac$"


def bars(count, start, seed=0, volume=True, tz=None):
    """Business days of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, count).cumsum())
    table = pd.DataFrame({"open": close * 0.999, "high": close * 1.01, "low": close * 0.99, "close": close})
    if volume:
        table["volume"] = rng.lognormal(10, 1, count)
    return table.set_index(pd.date_range(start, periods=count, freq="B", tz=tz))


def make(ids=("A",), paths=20, volume=True, history=True):
    rng = np.random.default_rng(1)
    tables = [bars(90, "2024-01-01", i, volume) for i in range(len(ids))]
    walks = [rng.lognormal(0, 0.01, (paths, 10, 6)).cumprod(1) * 100 for _ in ids]
    future = pd.date_range(tables[0].index[-1], periods=11, freq="B")[1:]
    return Forecast(walks, [future] * len(ids), list(ids), history=tables if history else None)


@pytest.fixture(scope="module")
def forecast():
    return make()


# Pictures.


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_is_returned_or_written_by_its_ending(forecast, tmp_path, kind, start):
    assert forecast.plot(kind=kind)[: len(start)] == start
    assert forecast.plot(path=tmp_path / f"f.{kind.upper()}") is None
    assert (tmp_path / f"f.{kind.upper()}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_notebook_shows_the_picture_as_an_image(forecast):
    png, svg = forecast.plot(), forecast.plot(kind="svg")
    assert isinstance(png, Picture) and isinstance(svg, Picture)
    assert png._repr_mimebundle_()["image/png"] == png
    assert str(svg._repr_mimebundle_()["image/svg+xml"]).startswith("<?xml")
    assert "image/png" not in svg._repr_mimebundle_()


def svg_of(page: str) -> str:
    (svg,) = re.findall(r"<svg.*</svg>", page, re.DOTALL)
    return svg


def drawn(forecast, **settings):
    """The texts of the picture and how many areas it fills for the fan."""
    svg = forecast.plot(kind="svg", **settings).decode()
    return re.findall(r"<!-- (.*?) -->", svg), svg.count("FillBetweenPolyCollection") + svg.count('id="PolyCollection')


def test_the_fan_has_a_band_for_every_coverage_and_its_own_line(forecast):
    texts, areas = drawn(forecast, coverages=[0.5, 0.9, 0.975])
    assert areas == 3
    labels = [t for t in texts if "paths" in t]
    assert labels == [
        "97.5 % of the paths' closes",
        "90 % of the paths' closes",
        "50 % of the paths' closes",
        "median of the paths, close",
    ]
    assert "A" in texts


def test_one_path_or_no_coverage_is_drawn_as_candles_without_a_fan():
    for settings in ({"coverages": ()}, {}):
        texts, areas = drawn(make(paths=20 if settings else 1), **settings)
        assert areas == 0 and "forecast (mean of the paths), close" in texts


def test_bands_are_quantiles_that_nest_and_open_from_the_last_close(forecast):
    chart = charts_of(forecast, None, {}, (0.5, 0.9), 3)[0]
    closes = forecast.paths[0, :, :, 3]
    np.testing.assert_allclose(chart.bands[0][1:], np.quantile(closes, [0.25, 0.75], axis=0, method="weibull"))
    np.testing.assert_allclose(chart.bands[1][1:], np.quantile(closes, [0.05, 0.95], axis=0, method="weibull"))
    assert chart.median is not None
    np.testing.assert_allclose(chart.median, np.median(closes, axis=0))
    np.testing.assert_array_equal(chart.samples, closes[:3])
    assert [label[:4] for label, *_ in chart.widest_first()] == ["90 %", "50 %"]
    assert chart.last_close() == [forecast.history[0]["close"].iloc[-1]]


def test_as_much_history_is_drawn_as_was_asked_for(forecast):
    lengths = [len(charts_of(forecast, n, {}, (), 0)[0].history) for n in (None, 0, 5, 1000)]
    assert lengths == [60, 0, 5, 90]
    assert forecast.plot(history_bars=0) and forecast.plot(history_bars=1)
    assert make(history=False).plot()


def test_the_truth_is_put_where_its_times_are(forecast):
    future = forecast.timestamps[0]
    truth = pd.DataFrame({"close": np.arange(5.0)}, index=future[2:7])
    chart = charts_of(forecast, None, {"A": truth}, (), 0)[0]
    assert chart.truth is not None
    assert chart.truth["close"].isna().tolist() == [True] * 2 + [False] * 5 + [True] * 3
    assert "what happened, close" in drawn(forecast, truth=truth)[0]


def test_names_are_no_formulas():
    texts, _ = drawn(make(ids=["$\\frac{$"]))
    assert "$\\frac{$" in texts


def test_the_older_call_with_one_band_still_draws_candles_and_the_mean():
    history, future = bars(80, "2024-01-01"), bars(10, "2024-05-01", 1)
    band = (future["close"].to_numpy() - 1, future["close"].to_numpy() + 1)
    svg = forecast_picture(history, future, band=band, truth=future, title="T", kind="svg").decode()
    texts = re.findall(r"<!-- (.*?) -->", svg)
    assert {"80 % of the paths' closes", "forecast (mean of the paths), close", "what happened, close", "T"} <= set(
        texts
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.plot(path="a.gif"), r"'a.gif' must end in \.png or \.svg or \.pdf"),
        (lambda f: f.plot(path="no/such/a.png"), "there is no folder"),
        (lambda f: f.plot(path="a.png", kind="svg"), "kind is 'svg'"),
        (lambda f: f.plot(kind="gif"), "found 'gif'"),
        (lambda f: f.plot(coverages=[95]), "each of coverages must be .*, found 95"),
        (lambda f: f.plot(history_bars=-1), "history_bars must be .*, found -1"),
        (lambda f: f.plot(samples=1.5), "samples must be .*, found 1.5"),
        (lambda f: f.plot(truth=bars(3, "1999-01-01")), "truth of series 'A' has no close at any time of the forecast"),
        (lambda f: f.plot(truth=bars(3, "2024-05-01").reset_index()), "must be indexed by time"),
        (lambda f: f.plot(truth=bars(3, "2024-05-01", tz="UTC")), "has a time zone, the forecast none"),
        (lambda f: f.plot(truth=bars(3, "2024-05-01")[["open"]]), "has no column close"),
        (lambda f: f.to_html(truth={"B": bars(3, "2024-05-01")}), "'B', which is no series of the forecast"),
        (lambda f: f.to_html("page.txt"), r"must end in \.html"),
        (lambda f: make("AB").plot(), "has 2 series; say which one to draw, such as id='A'"),
        (lambda f: make("AB").to_html(truth=bars(3, "2024-05-01")), "must be a mapping"),
        (lambda f: make(range(51)).to_html(), r"can show 50 series, .* has 51; choose .* forecast\[\[0, 1\]\]"),
    ],
)
def test_wrong_arguments_are_named(forecast, call, message):
    with pytest.raises(ValueError, match=message):
        call(forecast)


# Pages.


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and the text of options, title and scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open = tag
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, data):
        if self.open:
            self.texts[self.open][-1] += data

    def charts(self):
        script = self.texts["script"][1]
        return json.loads(script[script.index("[") : script.index(";\n// showSendToCloud")])


@pytest.fixture(scope="module")
def page():
    return Page(make(ids=["A", EVIL]).to_html(samples=2))


def test_a_page_loads_nothing_from_anywhere_and_sends_nothing(page):
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "label",
        "select",
        "option",
        "dl",
        "div",
    }
    assert {tag for tag, _ in page.elements} <= allowed | {"script"}
    assert not [a for _, a in page.elements if {"src", "href", "action", "data"} & set(a)]
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "http" not in policy
    assert "showSendToCloud: false" in page.texts["script"][1]


def test_a_name_is_never_markup_in_a_page(page):
    assert page.texts["option"] == ["A", EVIL]
    assert len(page.texts["script"]) == 2
    assert "alert" not in page.texts["script"][1]
    alone = Page(make(ids=[EVIL]).to_html(title="<b>"))
    assert alone.texts["title"] == [f"<b>: {EVIL}"] and alone.texts["h1"] == alone.texts["title"]
    assert len(alone.texts["script"]) == 2 and "b" not in dict(alone.elements)


def test_column_names_and_labels_cannot_end_the_script():
    table = bars(3, "2024-01-01")
    chart = Chart(table, bars(2, "2024-02-01"), [("</script><b>", np.ones(2), np.full(2, 2.0))])
    found = Page(chart_page([chart], ["A"], "T"))
    assert "b" not in dict(found.elements)
    assert found.charts()[0]["data"][1]["name"] == "</script><b>"


def test_a_page_has_candles_fan_volume_and_figures_of_every_series(page):
    charts = page.charts()
    assert len(charts) == 2
    data, layout = charts[1]["data"], charts[1]["layout"]
    kinds = [trace["type"] for trace in data]
    assert kinds.count("candlestick") == 2 and kinds.count("bar") == 2
    assert sum(trace.get("fill") == "tonexty" for trace in data) == 3
    assert layout["xaxis"]["rangeslider"]["visible"] is False
    assert {"chance of a rise", "expected return", "VaR 95 %"} <= {name for name, _ in charts[1]["facts"]}
    fan = next(trace for trace in data if trace.get("fill"))
    assert len(fan["x"]) == 11 and fan["x"][0] == layout["xaxis"]["categoryarray"][59]


def test_bars_of_a_page_stand_side_by_side_each_under_its_own_label():
    autumn = pd.date_range(
        "2024-10-27 01:00", periods=6, freq="30min", tz="Europe/Berlin"
    )  # 02:00 and 02:30 come twice
    forecast = Forecast([np.ones((2, 6, 6))], [autumn])
    axis = Page(forecast.to_html()).charts()[0]["layout"]["xaxis"]
    assert axis["type"] == "category"
    assert len(set(axis["categoryarray"])) == 6


def test_a_page_is_written_whole_and_works_without_history_volume_or_last_bar(tmp_path):
    make(history=False).to_html(tmp_path / "f.html")
    assert [p.name for p in tmp_path.iterdir()] == ["f.html"]
    found = Page((tmp_path / "f.html").read_text("utf-8")).charts()[0]
    assert found["facts"] == [] and "candlestick" in [t["type"] for t in found["data"]]
    without = Page(make(volume=False).to_html()).charts()[0]
    assert "yaxis2" not in without["layout"] and "bar" not in [t["type"] for t in without["data"]]


def test_the_script_of_a_page_is_javascript(page, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    (tmp_path / "page.js").write_text(page.texts["script"][1], "utf-8")
    run_process([node, "--check", tmp_path / "page.js"], check=True)


# In notebooks.


def relative_luminance(colour):
    """WCAG 2.1."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_notebook_gets_a_well_formed_picture_and_every_bar(forecast):
    page = forecast._repr_html_()
    svg = svg_of(page)
    picture = xml.etree.ElementTree.fromstring(svg)
    assert picture.get("aria-label") == "Candles and fan chart: A"
    assert len(picture.findall("{*}polygon")) == 3, "a band of each coverage"
    assert page.count("<tr>") == 1 + 10
    assert f"{forecast.mean()['close'].iloc[-1]:.3f}" in page
    assert "color:inherit" in re.findall(r"<table[^>]*>", page)[0], "or it is black on black in old pages"
    assert len(page) < 40_000 and "<script" not in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_median_in_a_notebook_lies_where_its_prices_are():
    history = bars(60, "2024-01-01", volume=False)
    paths = np.repeat(np.linspace(100, 200, 11)[:, None, None], 5, axis=1) * np.ones(6)
    future = pd.date_range(history.index[-1], periods=6, freq="B")[1:]
    one = Forecast(paths[None], [future], ["A"], history=[history])
    picture = xml.etree.ElementTree.fromstring(svg_of(one._repr_html_()))
    line = picture.findall("{*}polyline")[0].attrib["points"].split()
    labels = [text for text in picture.findall("{*}text") if text.get("x") == "60"]
    ticks = {float(text.text or ""): float(text.attrib["y"]) - 4 for text in labels}
    (low, y_low), (high, y_high) = min(ticks.items()), max(ticks.items())
    expected = y_low + (150 - low) / (high - low) * (y_high - y_low)
    assert [float(point.split(",")[1]) for point in line[1:]] == pytest.approx([expected] * 5, abs=0.2)


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
@pytest.mark.parametrize("colour", [svg_fan.INLINE_UP, svg_fan.INLINE_DOWN, svg_fan.INLINE_FAN, svg_fan.INLINE_TRUTH])
def test_inline_colours_are_seen_on_light_and_dark(colour, background):
    light, dark = sorted((relative_luminance(colour), relative_luminance(background)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_a_name_in_a_notebook_is_never_markup():
    page = make([EVIL])._repr_html_()
    assert "<img" not in page and "<script" not in page and "&lt;img" in page


@pytest.mark.parametrize(("history", "volume", "paths"), [(False, True, 20), (True, False, 1), (True, True, 1)])
def test_a_notebook_shows_a_forecast_of_little(history, volume, paths):
    page = make(history=history, volume=volume, paths=paths)._repr_html_()
    xml.etree.ElementTree.fromstring(svg_of(page))


def test_a_notebook_shows_several_series_as_rows_and_charts_the_first():
    page = make([f"S{i}" for i in range(15)])._repr_html_()
    assert "3 series more. The chart shows S0." in page and ">S11<" in page and ">S12<" not in page


def test_a_forecast_without_names_is_not_called_0():
    page = make([0])._repr_html_()
    assert "<b>Forecast of the next 10 bars</b>" in page
