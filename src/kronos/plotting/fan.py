"""Data of a forecast's picture: candles, the fan of the paths, colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

UP, DOWN = "#1b998b", "#d1495b"
FORECAST_UP, FORECAST_DOWN = "#3d5a80", "#ee964b"
FAN = "#3d5a80"
TRUTH = "#222222"

Band = tuple[float | str, np.ndarray, np.ndarray]
"""The share of the paths' closes that a band holds (or its label), and its lower and upper bound, one value a bar."""


class Chart(NamedTuple):
    """Data of one series' chart, for a picture (`forecast_picture`) or a page (`kronos.plotting.plotly_fan.chart_page`).

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
        """Whether bands and median are drawn, in place of the candles of the mean, which would hide them."""
        return self.median is not None and len(self.bands) > 0

    def drawn_prices(self) -> np.ndarray:
        """Prices of what is drawn, in no order [N]: history, bands, candles of the forecast unless a fan, closes that came."""
        shown = [np.asarray(bound, np.float64) for _, *bounds in self.bands for bound in bounds]
        if len(self.history):
            shown.append(self.history[["low", "high"]].to_numpy(np.float64).ravel())
        if not self.is_fan():
            shown.append(self.forecast[["low", "high"]].to_numpy(np.float64).ravel())
        if self.truth is not None:
            shown.append(self.truth["close"].to_numpy(np.float64))
        return np.concatenate(shown)

    def last_close(self) -> list[float]:
        """Last observed close, where the fan begins; empty without a history."""
        return [float(self.history["close"].iloc[-1])] if len(self.history) else []

    def has_volume(self) -> bool:
        shown = self.history if len(self.history) else self.forecast
        return "volume" in shown.columns and bool((shown["volume"] > 0).any())

    def times(self) -> pd.DatetimeIndex:
        """Times of history and forecast, bar by bar."""
        return self.history.index.append(self.forecast.index) if len(self.history) else self.forecast.index  # type: ignore[return-value,arg-type]


def band_label(name: float | str) -> str:
    return name if isinstance(name, str) else f"{100 * name:.10g} % of the paths' closes"


def tint(colour: str, share: float) -> str:
    """Mix a share of the colour with white, opaque, so that legend and chart have the same colour."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)
