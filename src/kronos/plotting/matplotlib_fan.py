"""The picture of a forecast: candles of the history, the fan of the paths over the forecast's candles, the volume below."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from kronos.forecast.checks import check_truth, fractions, whole
from kronos.metrics.quantiles import path_quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kronos.forecast.forecast import Forecast

UP, DOWN = "#1b998b", "#d1495b"
FORECAST_UP, FORECAST_DOWN = "#3d5a80", "#ee964b"
FAN = "#3d5a80"
TRUTH = "#222222"
FORMATS = ("png", "svg", "pdf")

Band = tuple[float | str, np.ndarray, np.ndarray]
"""The share of the paths' closes that a band holds (or its label), and its lower and upper bound, one value a bar."""


class Chart(NamedTuple):
    """What is drawn of one series, on paper (`forecast_picture`) or on a page (`kronos.plotting.plotly_fan.chart_page`).

    ``history``, ``forecast`` and ``truth`` are tables indexed by time with open, high, low, close and, optionally, volume;
    of ``truth``, the bars that really came, only the close is drawn, from the forecast's first bar on. ``median`` is one close
    a bar, ``samples`` [K, H] are the closes of some paths.
    """

    history: pd.DataFrame
    forecast: pd.DataFrame
    bands: Sequence[Band] = ()
    median: np.ndarray | None = None
    samples: np.ndarray | None = None
    truth: pd.DataFrame | None = None

    def widest_first(self) -> list[tuple[str, np.ndarray, np.ndarray, str]]:
        """(label, lower, upper, colour) of every band, in the order of drawing: each covers the middle of the one before."""
        bands = [(band_label(name), np.asarray(lower), np.asarray(upper)) for name, lower, upper in self.bands]
        bands.sort(key=lambda band: float((band[1] - band[2]).sum()))
        tints = np.linspace(0.22, 0.55, len(bands)) if len(bands) > 1 else [0.3] * len(bands)
        return [(*band, tint(FAN, float(share))) for band, share in zip(bands, tints, strict=True)]

    def is_fan(self) -> bool:
        """A fan has its own line in the middle; the candles of the mean would only hide it."""
        return self.median is not None and len(self.bands) > 0

    def last_close(self) -> list[float]:
        """The close that the fan opens from; empty without a history."""
        return [float(self.history["close"].iloc[-1])] if len(self.history) else []

    def has_volume(self) -> bool:
        shown = self.history if len(self.history) else self.forecast
        return "volume" in shown.columns and bool((shown["volume"] > 0).any())

    def times(self) -> pd.DatetimeIndex:
        """Of history and forecast, bar by bar."""
        return self.history.index.append(self.forecast.index) if len(self.history) else self.forecast.index  # type: ignore[return-value,arg-type]


def band_label(name: float | str) -> str:
    return name if isinstance(name, str) else f"{100 * name:.10g} % of the paths' closes"


def charts_of(
    forecast: Forecast,
    history_bars: int | None,
    truth: Mapping[int | str, pd.DataFrame],
    coverages: Sequence[float],
    samples: int,
) -> list[Chart]:
    """A chart a series; the arguments are those of `Forecast.plot` and `Forecast.to_html`."""
    bars = None if history_bars is None else whole(history_bars, "history_bars", 0)
    levels = fractions(coverages, "coverages") if np.size(coverages) else []
    thin = whole(samples, "samples", 0)
    unknown = [name for name in truth if name not in forecast]
    if unknown:
        raise ValueError(f"truth is given for {unknown[0]!r}, which is no series of the forecast")
    return [_chart_of(forecast[name], bars, truth.get(name), levels, thin) for name in forecast]


def _chart_of(
    one: Forecast, bars: int | None, truth: pd.DataFrame | None, coverages: Sequence[float], samples: int
) -> Chart:
    mean = one.mean()
    paths = one.paths[0]
    closes = paths[:, :, list(mean.columns).index("close")].astype(np.float64)  # [P, H]
    if one.history is not None:
        bars = max(60, 3 * len(mean)) if bars is None else bars
        history = one.history[0].iloc[max(0, len(one.history[0]) - bars) :]
    else:
        history = mean.iloc[:0]
    bands: list[Band] = []
    if len(closes) > 1:  # of one path, every quantile is the path
        for coverage in coverages:
            lower, upper = path_quantiles(closes, [(1 - coverage) / 2, (1 + coverage) / 2])
            bands.append((coverage, lower, upper))
    return Chart(
        history,
        mean,
        bands,
        np.median(closes, axis=0) if bands else None,
        closes[:samples] if samples else None,
        None if truth is None else check_truth(truth, one.ids[0], one.timestamps[0]),
    )


def tint(colour: str, share: float) -> str:
    """The colour as paint of that share in white; opaque, so that the legend shows what the chart does."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


class Picture(bytes):
    """The content of an image file, which a notebook shows as an image."""

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


def _candles(axes: Axes, at: np.ndarray, bars: pd.DataFrame, up: str, down: str) -> None:
    """One candle a bar at the x positions ``at``: wick from low to high, body from open to close."""
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
    """A matplotlib figure as the content of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi)
    return buffer.getvalue()


def _price(axes: Axes, chart: Chart) -> None:
    past, future = np.arange(len(chart.history)), len(chart.history) + np.arange(len(chart.forecast))
    axes.axvspan(future[0] - 0.5, future[-1] + 0.5, color=FORECAST_UP, alpha=0.06, linewidth=0)
    if len(past):
        _candles(axes, past, chart.history, UP, DOWN)
    _fan(axes, chart, future)
    if not chart.is_fan():
        _candles(axes, future, chart.forecast, FORECAST_UP, FORECAST_DOWN)
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
    axes.yaxis.set_major_formatter(_short)


def _plain(value: float, _: float = 0) -> str:
    """1234.5 -> 1,234.5: no offset and no power of ten beside the axis."""
    return f"{value:,.10g}"


def _short(value: float, _: float = 0) -> str:
    """1.2e9 -> 1.2B, as volumes are written."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
