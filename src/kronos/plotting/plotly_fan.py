"""Page of interactive charts of forecasts by plotly: candles, fan and volume, in one file that works offline.

Names of series come from users' files. They are only ever put into the HTML, escaped; the charts themselves hold numbers, times
and fixed labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.io.extras import need
from kronos.plotting.fan import DOWN, FAN, FORECAST_DOWN, FORECAST_UP, TRUTH, UP, Chart
from kronos.plotting.html import plotly_script, render_page

GRID, INK = "#e8ebef", "#2b2f36"
NUMBER = ",.7~g"


def chart_page(charts: Sequence[Chart], names: Sequence[str], title: str, summary: pd.DataFrame | None = None) -> str:
    """Return the HTML of a page that shows one chart at a time, chosen from a list; ``summary`` as of `Forecast.summary`."""
    need("plotly", "plot", "an HTML page with charts")
    import plotly.graph_objects as go  # late: slow to import

    items = []
    for number, chart in enumerate(charts):
        figure = json.loads(go.Figure(data=_traces(chart), layout=_layout(chart)).to_json())
        facts = [] if summary is None else _facts(summary.iloc[number])
        # Points at price and volume together; plotly.py knows the word since 5.21, an older plotly.js skips it.
        layout = {**figure["layout"], "hoversubplots": "axis"}
        items.append({"data": figure["data"], "layout": layout, "facts": facts})
    heading = title if len(names) > 1 else f"{title}: {names[0]}"
    return render_page("forecast", title=heading, names=list(names), ink=INK, library=plotly_script(), charts=items)


def _facts(row: pd.Series) -> list[tuple[str, str]]:
    """Return the figures of the summary at the end of the horizon, as (name, text)."""
    return [
        ("last close", f"{row['last_close']:,.6g}"),
        ("mean final close", f"{row['mean_close']:,.6g}"),
        ("expected return", f"{row['expected_return']:+.2%}"),
        ("chance of a rise", f"{row['prob_up']:.0%}"),
        ("realised volatility", f"{row['realised_volatility']:.2%}"),
        ("mean drawdown", f"{row['max_drawdown']:.2%}"),
        ("VaR 95 %", f"{row['value_at_risk']:.2%}"),
        ("ES 95 %", f"{row['expected_shortfall']:.2%}"),
    ]


def _labels(times: pd.DatetimeIndex) -> list[str]:
    """Return a unique label for every bar: on a category axis, bars of the same label would be merged."""
    daily = bool((times.normalize() == times).all())
    seconds = bool((times.second != 0).any())
    labels = times.strftime("%Y-%m-%d" if daily else "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
    if labels.has_duplicates:  # the hour that summer time repeats, or fractions of a second
        labels = pd.Index([time.isoformat(" ") for time in times])
    return list(labels)


def _candles(x: list[str], bars: pd.DataFrame, up: str, down: str, name: str) -> dict[str, Any]:
    prices = {column: bars[column].to_numpy(dtype=float) for column in ("open", "high", "low", "close")}
    sides = {
        side: {"line": {"color": colour, "width": 1}, "fillcolor": colour}
        for side, colour in (("increasing", up), ("decreasing", down))
    }
    return {"type": "candlestick", "x": x, "name": name, **prices, **sides}


def _line(x: list[str], y: np.ndarray, **settings: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", **settings}


def _traces(chart: Chart) -> list[dict[str, Any]]:
    labels = _labels(chart.times())
    past, future = labels[: len(chart.history)], labels[len(chart.history) :]
    start = chart.last_close()
    fan = past[-1:] + future  # the fan opens from the last observed close
    traces = []
    if past:
        traces.append(_candles(past, chart.history, UP, DOWN, "history"))
    for number, (label, lower, upper, colour) in enumerate(chart.widest_first()):
        shared = {"line": {"width": 0}, "legendgroup": f"band {number}", "name": label}
        traces.append(_line(fan, np.concatenate([start, upper]), showlegend=False, **shared))
        traces.append(_line(fan, np.concatenate([start, lower]), fill="tonexty", fillcolor=colour, **shared))
    traces += _thin_paths(chart, fan, start)
    mean = _candles(future, chart.forecast, FORECAST_UP, FORECAST_DOWN, "mean of the paths")
    traces.append({**mean, "visible": "legendonly"} if chart.is_fan() else mean)
    if chart.median is not None:
        traces += _median(chart, future, fan, start)
    if chart.truth is not None:
        closes = chart.truth["close"].to_numpy(dtype=float)[: len(future)]
        hover = {"hoverinfo": None, "hovertemplate": f"what happened: %{{y:{NUMBER}}}<extra></extra>"}
        line = {"color": TRUTH, "width": 2}
        traces.append(_line(future[: len(closes)], closes, line=line, name="what happened, close", **hover))
    return traces + (_volume(chart, past, future) if chart.has_volume() else [])


def _thin_paths(chart: Chart, x: list[str], start: list[float]) -> list[dict[str, Any]]:
    if chart.samples is None or not len(chart.samples):
        return []
    # One trace for all, with a break after each path.
    closes = np.concatenate([np.concatenate([start, path, [np.nan]]) for path in chart.samples])
    return [
        _line(
            (x + x[-1:]) * len(chart.samples),
            closes,
            line={"color": FAN, "width": 0.6},
            opacity=0.5,
            name="some of the paths",
        )
    ]


def _median(chart: Chart, x: list[str], fan: list[str], start: list[float]) -> list[dict[str, Any]]:
    """The line, and on pointing at it the bounds of every band; its first piece comes from the last observed close."""
    median = np.asarray(chart.median, dtype=float)
    bands = chart.widest_first()[::-1]
    text = "".join(
        f"<br>{label}: %{{customdata[{2 * i}]:{NUMBER}}} to %{{customdata[{2 * i + 1}]:{NUMBER}}}"
        for i, (label, *_) in enumerate(bands)
    )
    hover: dict[str, Any] = {"hoverinfo": None, "hovertemplate": f"median: %{{y:{NUMBER}}}{text}<extra></extra>"}
    if bands:
        hover["customdata"] = np.column_stack([bound for _, lower, upper, _ in bands for bound in (lower, upper)])
    shared = {"line": {"color": FAN, "width": 2}, "legendgroup": "median", "name": "median of the paths, close"}
    first = _line(fan[:2], np.array([*start, median[0]]), showlegend=False, **shared)
    return [*([first] if start else []), _line(x, median, **shared, **hover)]


def _volume(chart: Chart, past: list[str], future: list[str]) -> list[dict[str, Any]]:
    shared = {"type": "bar", "yaxis": "y2", "showlegend": False, "opacity": 0.7, "name": "volume"}
    traces = []
    if past:
        colours = np.where(chart.history["close"] >= chart.history["open"], UP, DOWN)
        volume = chart.history["volume"].to_numpy(dtype=float)
        traces.append({**shared, "x": past, "y": volume, "marker": {"color": list(colours)}})
    if "volume" in chart.forecast.columns:
        volume = chart.forecast["volume"].to_numpy(dtype=float)
        traces.append({**shared, "x": future, "y": volume, "marker": {"color": FORECAST_UP}, "name": "mean volume"})
    return traces


def _layout(chart: Chart) -> dict[str, Any]:
    labels, volume = _labels(chart.times()), chart.has_volume()
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True}
    layout: dict[str, Any] = {
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "margin": {"l": 20, "r": 20, "t": 60, "b": 20},
        "hovermode": "x unified",
        "dragmode": "pan",
        "bargap": 0.3,
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        # Categories, and so no gaps where the market is closed.
        "xaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": labels,
            "range": [-1, len(labels)],
            "nticks": 10,
            "tickangle": 0,
            "ticks": "outside",
            "tickcolor": GRID,
            "ticklen": 8,
            "showgrid": False,
            "automargin": True,
            "anchor": "y2" if volume else "y",
            "rangeslider": {"visible": False},
        },
        "yaxis": {
            **axis,
            "title": {"text": "price"},
            "tickformat": ",.10~g",
            "hoverformat": NUMBER,
            "domain": [0.25 if volume else 0, 1],
        },
        "shapes": [
            {
                "type": "rect",
                "x0": len(chart.history) - 0.5,
                "x1": len(labels) - 0.5,
                "y0": 0,
                "y1": 1,
                "yref": "y domain",
                "fillcolor": FAN,
                "opacity": 0.05,
                "line": {"width": 0},
                "layer": "below",
            }
        ],
    }
    if volume:
        layout["yaxis2"] = {**axis, "title": {"text": "volume"}, "exponentformat": "B", "nticks": 4, "domain": [0, 0.2]}
    return layout
