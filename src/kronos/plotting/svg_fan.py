"""The picture of a forecast as SVG text that a notebook shows inline: no library, no script, a few kilobytes.

Texts and axes have the colour of the page's own text and the background is the page's; the other colours are seen on white and
on black alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import pandas as pd

from kronos.plotting.fan import Chart
from kronos.plotting.number_format import price_format, short_number

INLINE_UP, INLINE_DOWN, INLINE_FAN, INLINE_TRUTH = "#1b998b", "#d1495b", "#4a86c5", "#b8860b"
"""At least 3:1 against white and against #111111 (WCAG 2.1, graphical objects)."""
WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM, GAP = 66, 8, 26, 22, 10
VOLUME_SHARE = 0.18

Place = Callable[[float], float]


def fan_svg(chart: Chart, label: str) -> str:
    """Draw candles, fan and volume.

    Args:
        chart: what is drawn.
        label: what a screen reader says of the picture; escaped here.

    Returns:
        An ``<svg>`` element.
    """
    count = len(chart.history) + len(chart.forecast)
    step = (WIDTH - LEFT - RIGHT) / count
    xs = LEFT + (np.arange(count) + 0.5) * step
    split = len(chart.history)
    floor = HEIGHT - BOTTOM
    price_floor = floor - (GAP + VOLUME_SHARE * (floor - TOP) if chart.has_volume() else 0)
    low, high = _price_range(chart)
    y = _scale(low, high, price_floor, TOP)
    parts = [
        f'<rect x="{LEFT + split * step:.1f}" y="{TOP}" width="{len(chart.forecast) * step:.1f}" '
        f'height="{price_floor - TOP:.1f}" fill="{INLINE_FAN}" fill-opacity=".08"/>',
        *_price_axis(low, high, y),
        *_time_axis(chart.times(), xs, floor),
        *_candles(chart.history, xs[:split], step, y),
        *_fan(chart, xs, step, y),
    ]
    if chart.has_volume():
        parts += _volume(chart, xs, step, floor, price_floor + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}" '
        'style="width:100%;height:auto;color:inherit" font-family="system-ui,sans-serif" font-size="11" fill="currentColor">'
        + "".join(parts)
        + "</svg>"
    )


def _scale(low: float, high: float, bottom: float, top: float) -> Place:
    return lambda value: bottom - (value - low) / (high - low) * (bottom - top)


def _price_range(chart: Chart) -> tuple[float, float]:
    """Lowest and highest price drawn, with a margin; never equal."""
    values = np.concatenate([chart.drawn_prices(), _line(chart)])
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or max(abs(high) * 0.01, 1e-12)
    return low - margin, high + margin


def _line(chart: Chart) -> np.ndarray:
    return np.asarray(chart.median if chart.median is not None else chart.forecast["close"], np.float64)


def _ticks(low: float, high: float, about: int = 6) -> np.ndarray:
    """Round numbers between two values."""
    raw = (high - low) / about
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * k for k in (1, 2, 2.5, 5, 10) if size * k >= raw)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _price_axis(low: float, high: float, y: Place) -> list[str]:
    ticks = _ticks(low, high)
    written = price_format([high])
    texts = [written(tick) for tick in ticks]
    while all("." in text and text.endswith("0") for text in texts):
        texts = [text[:-1].removesuffix(".") for text in texts]
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="currentColor" stroke-opacity=".15"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>'
        for tick, text in zip(ticks, texts, strict=True)
    ]


def _time_axis(times: pd.DatetimeIndex, xs: np.ndarray, floor: float) -> list[str]:
    daily = bool((times.normalize() == times).all())
    at = np.unique(np.linspace(0, len(times) - 1, min(6, len(times))).round().astype(int))
    parts = []
    for i in at:
        anchor = "end" if i == len(times) - 1 and len(times) > 1 else "middle"
        text = times[i].strftime("%Y-%m-%d" if daily else "%m-%d %H:%M")
        parts.append(f'<text x="{xs[i]:.1f}" y="{floor + 15:.1f}" text-anchor="{anchor}">{text}</text>')
    return parts


def _candles(bars: pd.DataFrame, xs: np.ndarray, step: float, y: Place) -> list[str]:
    """Two paths a direction: the wicks as lines, the bodies as filled boxes."""
    if not len(bars):
        return []
    opens, highs, lows, closes = (bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close"))
    half, parts = 0.35 * step, []
    for colour, chosen in ((INLINE_UP, closes >= opens), (INLINE_DOWN, closes < opens)):
        wicks, bodies = [], []
        for i in np.flatnonzero(chosen):
            wicks.append(f"M{xs[i]:.1f} {y(lows[i]):.1f}V{y(highs[i]):.1f}")
            top, bottom = y(max(opens[i], closes[i])), y(min(opens[i], closes[i]))
            bodies.append(f"M{xs[i] - half:.1f} {top:.1f}h{2 * half:.1f}v{max(bottom - top, 0.8):.1f}h{-2 * half:.1f}z")
        if wicks:
            parts.append(f'<path d="{"".join(wicks)}" stroke="{colour}" fill="none"/>')
            parts.append(f'<path d="{"".join(bodies)}" fill="{colour}"/>')
    return parts


def _fan(chart: Chart, xs: np.ndarray, step: float, y: Place) -> list[str]:
    start, split = chart.last_close(), len(chart.history)
    future = xs[split:]
    at = np.concatenate([future[: len(start)] - step, future])
    parts, legend = [], []
    for label, lower, upper, _ in chart.widest_first():
        bounds = [np.concatenate([start, bound]) for bound in (upper, lower)]
        points = [*zip(at, bounds[0], strict=True), *zip(at[::-1], bounds[1][::-1], strict=True)]
        parts.append(f'<polygon points="{_points(points, y)}" fill="{INLINE_FAN}" fill-opacity=".22"/>')
        legend.append(label.split(" of ")[0])
    if not chart.is_fan():
        parts += _candles(chart.forecast, future, step, y)
    line = np.concatenate([start, _line(chart)])
    parts.append(
        f'<polyline points="{_points(zip(at, line, strict=True), y)}" fill="none" stroke="{INLINE_FAN}" stroke-width="1.8"/>'
    )
    text = "median of the paths' closes" if chart.is_fan() else "mean of the paths' closes"
    if legend:
        text += f"; the bands hold {', '.join(legend)} of them"
    if chart.truth is not None:
        closes = chart.truth["close"].to_numpy(np.float64)[: len(future)]
        truth = zip(future[: len(closes)], closes, strict=True)
        parts.append(f'<polyline points="{_points(truth, y)}" fill="none" stroke="{INLINE_TRUTH}" stroke-width="1.6"/>')
    return [
        *parts,
        f'<text x="{LEFT}" y="15"><tspan fill="{INLINE_FAN}">&#9644;</tspan> {escape(text, quote=False)}</text>',
    ]


def _points(pairs: object, y: Place) -> str:
    return " ".join(f"{x:.1f},{y(value):.1f}" for x, value in pairs)  # type: ignore[attr-defined]


def _volume(chart: Chart, xs: np.ndarray, step: float, floor: float, top: float) -> list[str]:
    past = (
        chart.history["volume"].to_numpy(np.float64)
        if "volume" in chart.history.columns
        else np.zeros(len(chart.history))
    )
    future = (
        chart.forecast["volume"].to_numpy(np.float64)
        if "volume" in chart.forecast.columns
        else np.zeros(len(chart.forecast))
    )
    most = float(max(past.max(initial=0), future.max(initial=0)))
    y = _scale(0.0, most, floor, top)
    groups: Sequence[tuple[str, np.ndarray, np.ndarray]] = (
        ("currentColor", xs[: len(past)], past),
        (INLINE_FAN, xs[len(past) :], future),
    )
    parts = [f'<text x="{LEFT - 6}" y="{top + 8:.1f}" text-anchor="end">{short_number(most)}</text>']
    for colour, at, values in groups:
        boxes = [
            f"M{x - 0.35 * step:.1f} {floor:.1f}V{y(value):.1f}h{0.7 * step:.1f}V{floor:.1f}z"
            for x, value in zip(at, values, strict=True)
        ]
        parts.append(f'<path d="{"".join(boxes)}" fill="{colour}" fill-opacity=".5"/>')
    return parts
