"""HTML of a forecast for notebooks: the chart of a series and a table, in the colours of the notebook's theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kronos.forecast.charts import charts_of
from kronos.plotting.html import render_page, trusted
from kronos.plotting.number_format import price_format, short_number
from kronos.plotting.svg_fan import fan_svg

if TYPE_CHECKING:
    from kronos.forecast.forecast import Forecast

MOST_ROWS = 12
COVERAGES = (0.5, 0.8, 0.95)


def notebook_html(forecast: Forecast) -> str:
    """Return the HTML: of one series its chart, figures and bars; of several the chart of the first and a row of figures each."""
    first = forecast[forecast.ids[0]]
    (chart,) = charts_of(first, None, {}, COVERAGES, 0)
    name = first._names()[0]
    several = len(forecast) > 1
    header, rows, left_out = _figures(forecast) if several else _bars(forecast)
    notes = [
        f"{left_out} {'series' if several else 'bars'} more." if left_out else "",
        f"The chart shows {name}." if several else "",
    ]
    return render_page(
        "notebook",
        title=repr(forecast)[1:-1] if several else f"Forecast of {name}",
        svg=trusted(fan_svg(chart, f"Candles and fan chart: {name}")),
        facts=[] if several or forecast.last is None else _facts(forecast),
        header=header,
        rows=rows,
        note=" ".join(note for note in notes if note),
    )


def _facts(one: Forecast) -> list[tuple[str, str]]:
    row = one.summary().iloc[0]
    return [
        ("expected return", f"{row['expected_return']:+.2%}"),
        ("chance of a rise", f"{row['prob_up']:.0%}"),
        ("value at risk 95 %", f"{row['value_at_risk']:.2%}"),
        ("paths", f"{one.n_paths}"),
    ]


def _bars(one: Forecast) -> tuple[list[str], list[list[str]], int]:
    """A row a bar; of a long forecast the beginning and the end."""
    mean = one.mean()
    table = mean[["open", "high", "low", "close"]].copy()
    if one.n_paths > 1:
        table["close 10 %"], table["close 90 %"] = one.quantile(0.1)["close"], one.quantile(0.9)["close"]
    written = price_format(table.to_numpy().ravel())
    rows = [[_time(at), *map(written, row)] for at, row in zip(table.index, table.to_numpy(), strict=True)]
    header = ["time", *table.columns]
    if mean["volume"].abs().max() > 0:
        header.append("volume")
        for cells, value in zip(rows, mean["volume"], strict=True):
            cells.append(short_number(value))
    half = MOST_ROWS // 2
    if len(rows) <= MOST_ROWS:
        return header, rows, 0
    return header, [*rows[:half], ["..."] + [""] * (len(header) - 1), *rows[-half:]], len(rows) - 2 * half


def _figures(forecast: Forecast) -> tuple[list[str], list[list[str]], int]:
    """A row a series."""
    shown = forecast.ids[:MOST_ROWS]
    rows = []
    for name in shown:
        one = forecast[name]
        written = price_format(one.mean()["close"])
        cells = [str(name), str(one.horizons[0]), written(one.mean()["close"].iloc[-1])]
        if forecast.last is not None:
            cells += [f"{one.expected_return().iloc[0]:+.2%}", f"{one.prob_up().iloc[0]:.0%}"]
        rows.append(cells)
    header = ["series", "bars", "mean final close"]
    header += [] if forecast.last is None else ["expected return", "chance of a rise"]
    return header, rows, len(forecast) - len(shown)


def _time(at: pd.Timestamp) -> str:
    return f"{at:%Y-%m-%d}" if at == at.normalize() else f"{at:%Y-%m-%d %H:%M}"
