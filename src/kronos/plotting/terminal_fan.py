"""Candles and the fan of a forecast as lines of text for a terminal, coloured by rich.

A column is a bar (or several, where there are more than columns), a row is two steps of price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.plotting.fan import Chart
from kronos.plotting.number_format import price_format

if TYPE_CHECKING:
    from rich.text import Text

ROWS = 20
Place = Callable[[float], int]
LEAST_WIDTH = 40
FUTURE_SHARE = 0.6
"""Of the columns, that the forecast may take at most."""
SHADES = "░▒▓"
PLAIN = str.maketrans("░▒▓█▀▄│╷╵━●┤─", ".:*#'.|.'-o|-")
"""The same with ASCII signs, for terminals without Unicode."""


def terminal_fan(chart: Chart, width: int, rows: int = ROWS, *, unicode: bool = True) -> list[Text]:
    """Draw a chart in at most ``width`` columns: prices on the left, candles, bands (the darker the more likely), median.

    Args:
        chart: as of `kronos.forecast.charts.charts_of`; single paths and volume are not drawn.
        width: columns, at least 40. rows: of the picture, without the line of times.
        unicode: whether blocks and lines can be shown.

    Raises:
        ValueError: the terminal is too narrow.
    """
    from rich.text import Text

    if width < LEAST_WIDTH:
        raise ValueError(f"a picture needs a terminal of {LEAST_WIDTH} columns, this one has {width}")
    written = price_format(chart.forecast["close"])
    low, high = _range(chart)
    margin = max(len(written(low)), len(written(high)))
    columns = width - margin - 2
    bars_each = int(np.ceil(len(chart.forecast) / (FUTURE_SHARE * columns)))
    future = _grouped(chart.forecast, bars_each)
    past = _grouped(chart.history, bars_each).iloc[-(columns - len(future)) :] if len(chart.history) else chart.history
    if len(chart.history):
        low, high = _range(chart._replace(history=chart.history.iloc[-len(past) * bars_each :]))
    size = (high - low) / (2 * rows)

    def place(price: float) -> int:
        """The step of a price, 0 at the top."""
        return int(np.clip((high - price) / size, 0, 2 * rows - 1))

    cells = [[(" ", "")] * (len(past) + len(future)) for _ in range(rows)]
    for at, (_, bar) in enumerate(past.iterrows()):
        _candle(cells, at, bar, place)
    if chart.is_fan():
        _bands(cells, chart, len(past), bars_each, place)
    else:
        for at, (_, bar) in enumerate(future.iterrows(), len(past)):
            _candle(cells, at, bar, place)
    if chart.truth is not None:
        for at, close in enumerate(_last_of(chart.truth["close"].to_numpy(np.float64), bars_each), len(past)):
            if at < len(past) + len(future):
                cells[place(close) // 2][at] = ("●", "yellow")
    lines = []
    for row, line in enumerate(cells):
        label = written(high - (2 * row + 1) * size) if row % 4 == 2 or rows < 8 else ""
        text = Text(f"{label:>{margin}} " + ("┤" if label else "│"))
        for sign, style in line:
            text.append(sign, style)
        lines.append(text)
    lines.append(Text(" " * (margin + 2) + _times(past.index, future.index, len(past) + len(future))))
    return lines if unicode else [_as_ascii(line) for line in lines]


def _range(chart: Chart) -> tuple[float, float]:
    values = chart.drawn_prices()
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - abs(low) * 0.01 - 1e-12, high + abs(high) * 0.01 + 1e-12)


def _grouped(bars: pd.DataFrame, each: int) -> pd.DataFrame:
    """Bars of ``each`` bars, the last one complete, at the time of their last."""
    if each == 1 or not len(bars):
        return bars
    number = (np.arange(len(bars)) - len(bars)) // each
    groups = bars.groupby(number)
    merged = groups.agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    return merged.set_axis(pd.Series(bars.index, index=range(len(bars))).groupby(number).last().array)


def _last_of(values: np.ndarray, each: int) -> np.ndarray:
    """The last of every ``each`` values, counted from the end."""
    return values[::-1][::each][::-1]


def _candle(cells: list[list[tuple[str, str]]], at: int, bar: pd.Series, place: Place) -> None:
    style = "green" if bar["close"] >= bar["open"] else "red"
    top, bottom = place(bar["high"]), place(bar["low"])
    first, last = place(max(bar["open"], bar["close"])), place(min(bar["open"], bar["close"]))
    for row in range(top // 2, bottom // 2 + 1):
        upper, lower = (first <= step <= last for step in (2 * row, 2 * row + 1))
        if upper or lower:
            sign = "█" if upper and lower else "▀" if upper else "▄"
        else:
            sign = "╷" if top > 2 * row else "╵" if bottom < 2 * row + 1 else "│"
        cells[row][at] = (sign, style)


def _bands(cells: list[list[tuple[str, str]]], chart: Chart, start: int, each: int, place: Place) -> None:
    bands = chart.widest_first()
    shades: Sequence[str] = SHADES[-len(bands) :] if len(bands) <= len(SHADES) else SHADES[:1] * len(bands)
    for (_, lower, upper, _), shade in zip(bands, shades, strict=True):
        for at, (bottom, top) in enumerate(zip(_last_of(lower, each), _last_of(upper, each), strict=True), start):
            for row in range(place(top) // 2, place(bottom) // 2 + 1):
                cells[row][at] = (shade, "blue")
    for at, close in enumerate(_last_of(np.asarray(chart.median, np.float64), each), start):
        cells[place(close) // 2][at] = ("━", "bold blue")


def _times(past: pd.Index, future: pd.Index, columns: int) -> str:
    """The first time, the first of the forecast and the last, where they fit."""
    line = [" "] * columns
    times = [*past, *future]
    texts = [f"{at:%Y-%m-%d}" if at == at.normalize() else f"{at:%m-%d %H:%M}" for at in times]
    free = columns
    for at in dict.fromkeys((len(times) - 1, len(past), 0)):
        begin = min(at, columns - len(texts[at]))
        if begin >= 0 and begin + len(texts[at]) < free + (free == columns):
            line[begin : begin + len(texts[at])] = texts[at]
            free = begin
    return "".join(line).rstrip()


def _as_ascii(line: Text) -> Text:
    plain = line.copy()
    plain.plain = line.plain.translate(PLAIN)
    return plain
