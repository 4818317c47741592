"""The picture of a forecast: candles of the history, candles of the forecast beside them, and the volume below."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UP, DOWN = "#1b998b", "#d1495b"
FORECAST_UP, FORECAST_DOWN = "#3d5a80", "#ee964b"
TRUTH = "#222222"
FORMATS = ("png", "svg", "pdf")


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


def forecast_picture(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    *,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    truth: pd.DataFrame | None = None,
    title: str = "",
    kind: str = "png",
) -> bytes:
    """Draw history and forecast; returns the image file's content.

    Args:
        history, forecast, truth: tables indexed by time with open, high, low, close and, optionally, volume; ``truth`` are the
            bars that really came, drawn as a line.
        band: lower and upper bound of the forecast's close, one value a bar.
        kind: "png", "svg" or "pdf".
    """
    if kind not in FORMATS:
        raise ValueError(f"a picture can be {', '.join(FORMATS)}; found {kind!r}")
    from matplotlib.figure import Figure  # late: slow to import; and no pyplot, so no display is needed

    volume = "volume" in history.columns and bool((history["volume"] > 0).any())
    figure = Figure(figsize=(12, 7 if volume else 5.5), layout="constrained")
    if volume:
        axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    else:
        axes = below = figure.subplots()
    past = np.arange(len(history))
    future = len(history) + np.arange(len(forecast))
    axes.axvspan(future[0] - 0.5, future[-1] + 0.5, color=FORECAST_UP, alpha=0.06, linewidth=0)
    _candles(axes, past, history, UP, DOWN)
    if band is not None:
        axes.fill_between(future, *band, color=FORECAST_UP, alpha=0.18, linewidth=0, label="80 % of the paths' closes")
    _candles(axes, future, forecast, FORECAST_UP, FORECAST_DOWN)
    axes.plot(future, forecast["close"], color=FORECAST_UP, linewidth=1.2, label="forecast (mean of the paths), close")
    if truth is not None:
        axes.plot(future[: len(truth)], truth["close"], color=TRUTH, linewidth=1.6, label="what happened, close")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_ylabel("price")
    if volume:
        rising = history["close"] >= history["open"]
        below.bar(past, history["volume"], width=0.7, color=list(np.where(rising, UP, DOWN)), alpha=0.7)
        if "volume" in forecast.columns:
            below.bar(future, forecast["volume"], width=0.7, color=FORECAST_UP, alpha=0.7)
        below.set_ylabel("volume")
    _time_axis(below, history.index.append(forecast.index))  # type: ignore[arg-type]
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.25)
        panel.margins(x=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()
