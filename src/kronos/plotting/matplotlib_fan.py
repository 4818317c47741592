"""Picture of a forecast by matplotlib: candles of the history, the fan of the paths, and the volume below."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from kronos.io.extras import need
from kronos.plotting.fan import DOWN, FAN, FORECAST_DOWN, FORECAST_UP, TRUTH, UP, Band, Chart
from kronos.plotting.number_format import short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


class Picture(bytes):
    """Content of an image file, which a notebook shows as an image."""

    kind: str = "png"

    @staticmethod
    def of(content: bytes, kind: str) -> Picture:
        picture = Picture(content)
        picture.kind = kind
        return picture

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        bundle: dict[str, object] = {"text/plain": f"<{self.kind} picture, {len(self):,} bytes>"}
        if self.kind == "png":
            bundle["image/png"] = bytes(self)
        elif self.kind == "svg":
            bundle["image/svg+xml"] = self.decode()
        return bundle


def draw_candles(axes: Axes, at: np.ndarray, bars: pd.DataFrame, up: str, down: str) -> None:
    """Draw a candle for each bar at the x positions ``at``: wick from low to high, body from open to close."""
    rising = (bars["close"] >= bars["open"]).to_numpy()
    colours = np.where(rising, up, down)
    axes.vlines(at, bars["low"].to_numpy(), bars["high"].to_numpy(), colors=list(colours), linewidth=0.9)
    bottom = bars[["open", "close"]].min(axis=1).to_numpy()
    height = (bars["close"] - bars["open"]).abs().to_numpy()
    # A bar that closes where it opened still shows, as a line.
    span = float(bars["high"].max() - bars["low"].min()) or 1.0
    axes.bar(at, np.maximum(height, span * 0.002), bottom=bottom, width=0.7, color=list(colours))


def _time_axis(axes: Axes, times: pd.DatetimeIndex) -> None:
    """Bars stand side by side without the gaps of nights and holidays; a few of them are labelled."""
    ticks = np.unique(np.linspace(0, len(times) - 1, min(8, len(times))).round().astype(int))
    daily = bool((times.normalize() == times).all())
    axes.set_xticks(ticks, [times[i].strftime("%Y-%m-%d" if daily else "%m-%d %H:%M") for i in ticks])
    axes.tick_params(axis="x", labelsize=8)


def _fan(axes: Axes, chart: Chart, future: np.ndarray) -> None:
    """Nested bands that open from the last observed close, some paths, and the median."""
    start = chart.last_close()
    at = np.concatenate([future[: len(start)] - 1, future])
    for label, lower, upper, colour in chart.widest_first():
        lower, upper = (np.concatenate([start, bound]) for bound in (lower, upper))
        axes.fill_between(at, lower, upper, color=colour, linewidth=0, label=label)
    if chart.samples is not None:
        for number, closes in enumerate(np.asarray(chart.samples)):
            once = "some of the paths" if number == 0 else None
            axes.plot(at, np.concatenate([start, closes]), color=FAN, alpha=0.7, linewidth=0.6, label=once)
    if chart.median is not None:
        line = np.concatenate([start, np.asarray(chart.median)])
        axes.plot(at, line, color=FAN, linewidth=1.8, label="median of the paths, close")


def forecast_picture(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    *,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    bands: Sequence[Band] = (),
    median: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    truth: pd.DataFrame | None = None,
    title: str = "",
    kind: str = "png",
) -> Picture:
    """Draw history and forecast; returns the image file's content.

    Args:
        history, forecast, truth: tables indexed by time with open, high, low, close and, optionally, volume; ``truth`` are the
            bars that really came, drawn as a line. The history may be empty.
        bands: the fan: for each band the share of the closes that it holds, such as 0.8 (or a label), its lower and its upper
            bound, one value a bar. ``band`` is short for one of 0.8.
        median: the median close, one value a bar. With bands, it is drawn in place of the forecast's candles.
        samples: closes [K, H] of some paths, drawn thin.
        kind: "png", "svg" or "pdf".
    """
    if kind not in FORMATS:
        raise ValueError(f"a picture can be {', '.join(FORMATS)}; found {kind!r}")
    need("matplotlib", "plot", "a picture")
    from matplotlib.figure import Figure  # late: slow to import; and no pyplot, so no display is needed

    if band is not None:
        bands = [*bands, (0.8, *band)]
    chart = Chart(history, forecast, bands, median, samples, truth)
    volume = chart.has_volume()
    figure = Figure(figsize=(12, 7 if volume else 5.5), layout="constrained")
    if volume:
        axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
        _volume(below, chart)
    else:
        axes = below = figure.subplots()
    _price(axes, chart)
    if title:
        # A title is a name and no formula, even where it holds dollar signs.
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, parse_math=False)
    _time_axis(below, chart.times())
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
        panel.margins(x=0.01)
    return Picture.of(figure_bytes(figure, kind), kind)


def figure_bytes(figure: Figure, kind: str = "png", dpi: int | Literal["figure"] = 120) -> bytes:
    """Return a matplotlib figure as the content of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi)
    return buffer.getvalue()


def _price(axes: Axes, chart: Chart) -> None:
    past, future = np.arange(len(chart.history)), len(chart.history) + np.arange(len(chart.forecast))
    axes.axvspan(future[0] - 0.5, future[-1] + 0.5, color=FORECAST_UP, alpha=0.06, linewidth=0)
    if len(past):
        draw_candles(axes, past, chart.history, UP, DOWN)
    _fan(axes, chart, future)
    if not chart.is_fan():
        draw_candles(axes, future, chart.forecast, FORECAST_UP, FORECAST_DOWN)
        label = "forecast (mean of the paths), close"
        axes.plot(future, chart.forecast["close"], color=FORECAST_UP, linewidth=1.2, label=label)
    if chart.truth is not None:
        closes = chart.truth["close"].to_numpy()[: len(future)]
        axes.plot(future[: len(closes)], closes, color=TRUTH, linewidth=1.6, label="what happened, close")
    # Above the axes, where it hides no candle.
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=9, borderaxespad=0.2, handlelength=1.6
    )
    axes.set_ylabel("price")
    axes.yaxis.set_major_formatter(_plain)


def _volume(axes: Axes, chart: Chart) -> None:
    past, future = np.arange(len(chart.history)), len(chart.history) + np.arange(len(chart.forecast))
    if len(past):
        rising = chart.history["close"] >= chart.history["open"]
        axes.bar(past, chart.history["volume"], width=0.7, color=list(np.where(rising, UP, DOWN)), alpha=0.7)
    if "volume" in chart.forecast.columns:
        axes.bar(future, chart.forecast["volume"], width=0.7, color=FORECAST_UP, alpha=0.7)
    axes.set_ylabel("volume")
    axes.yaxis.set_major_formatter(short_number)


def _plain(value: float, _: float = 0) -> str:
    """1234.5 -> 1,234.5: no offset and no power of ten beside the axis."""
    return f"{value:,.10g}"
