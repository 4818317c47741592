"""HTML report of a backtest: results in sentences, tables, and charts by plotly, in one file that works offline.

Names come from users' files: they are escaped in the HTML, and in the charts' data so that they cannot end the script.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from kronos.backtest.equity_curve import COLOURS, LABELS, cumulative, drawdown
from kronos.backtest.simulate import CURVES, FIGURES
from kronos.backtest.verdict import CONVINCING
from kronos.plotting.html import plotly_script, render_page

GRID, INK = "#e8ebef", "#2b2f36"
CURVE_NAMES = {
    "benchmark": "benchmark",
    "excess_return_without_cost": "excess return, before costs",
    "excess_return_with_cost": "excess return, after costs",
}
FIGURE_NAMES = {
    "mean": "mean a day",
    "std": "std a day",
    "annualized_return": "annualised return",
    "information_ratio": "information ratio",
    "max_drawdown": "max drawdown",
}
IC_NAMES = {
    "ic": "IC",
    "icir": "ICIR",
    "rank_ic": "RankIC",
    "rank_icir": "RankICIR",
    "days_above_zero": "days above 0",
    "t": "t",
    "days": "days",
}


def report_page(curves: dict[str, pd.DataFrame], report: dict[str, Any], daily: pd.DataFrame) -> str:
    """Return the HTML; ``daily`` has a row for each day and signal, with the columns of the scores."""
    horizon = report["horizon"]
    traded, charts = [], {}
    for number, (name, frame) in enumerate(curves.items()):
        result = report["strategy"][name]
        turnover = f"{result['totals']['mean_daily_turnover']:.1%}"
        chart = f"returns{number}"
        traded.append({"name": name, "chart": chart, "turnover": turnover, **_risk_table(result["risk"])})
        charts[chart] = _returns_chart(frame)
    charts["ic"] = _ic_chart(daily, list(report["ic"]), horizon)
    return render_page(
        "backtest",
        title=f"Backtest: {report['instrument']} against {report['benchmark']}",
        ink=INK,
        grid=GRID,
        accent=_accent(next(iter(report["strategy"].values()))["totals"]),
        verdict=report["verdict"],
        traded=traded,
        ranked=[_ic_table(report["ic"], days) for days in sorted({1, horizon})],
        settings=json.dumps({"signals_from": report["signals_from"], **report["settings"]}, indent=1),
        library=plotly_script(),
        charts=charts,
    )


def _accent(totals: dict[str, Any]) -> str:
    """Return the colour: green for a gain that chance rarely gives, red for a loss against the benchmark, else grey."""
    if not totals["excess_return_with_cost"] > 0:
        return "#b91c1c"
    return "#15803d" if totals["t_of_excess_with_cost"] >= CONVINCING else "#6b7280"


def _risk_table(risk: dict[str, dict[str, float]]) -> dict[str, list[Any]]:
    def shown(figure: str, value: float) -> str:
        if not math.isfinite(value):
            return "–"
        return (
            f"{value:.2f}"
            if figure == "information_ratio"
            else f"{value:.3%}"
            if figure in ("mean", "std")
            else f"{value:.2%}"
        )

    rows = [[CURVE_NAMES[curve], *(shown(f, risk[curve][f]) for f in FIGURES)] for curve in CURVES]
    return {"head": ["", *(FIGURE_NAMES[f] for f in FIGURES)], "rows": rows}


def _ic_table(ic: dict[str, Any], days: int) -> dict[str, list[Any]]:
    def shown(figure: str, value: float) -> str:
        if not math.isfinite(value):
            return "–"
        return {"days": f"{value:,.0f}", "days_above_zero": f"{value:.0%}", "t": f"{value:.1f}"}.get(
            figure, f"{value:.4f}"
        )

    rows = [[name, *(shown(f, scores[f"{days}d"][f]) for f in IC_NAMES)] for name, scores in ic.items()]
    return {"head": [f"return over {days} day{'s' if days > 1 else ''}", *IC_NAMES.values()], "rows": rows}


def _days(frame: pd.DataFrame) -> list[str]:
    return [time.strftime("%Y-%m-%d") for time in pd.DatetimeIndex(frame.index)]


def _numbers(values: pd.Series) -> list[float | None]:
    return [round(float(v), 6) if math.isfinite(v) else None for v in values]


def _layout(title: str, **more: Any) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zerolinecolor": "#9ca3af", "automargin": True}
    return {
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 40},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "xaxis": {"showgrid": False, "automargin": True, "anchor": "y2" if "yaxis2" in more else "y"},
        "yaxis": {**axis, "title": {"text": title}, **more.pop("yaxis", {})},
        **{name: {**axis, **value} if name == "yaxis2" else value for name, value in more.items()},
    }


def _returns_chart(daily: pd.DataFrame) -> dict[str, Any]:
    days, total = _days(daily), cumulative(daily)
    data: list[dict[str, Any]] = []
    for column, label in LABELS.items():
        line = {"color": COLOURS[column], "width": 2, "dash": "dot" if column.endswith("without_cost") else "solid"}
        data.append(
            {"type": "scatter", "mode": "lines", "x": days, "y": _numbers(total[column]), "name": label, "line": line}
        )
    for column in ("strategy_with_cost", "excess_return_with_cost"):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": days,
                "y": _numbers(drawdown(daily[column])),
                "yaxis": "y2",
                "fill": "tozeroy",
                "showlegend": False,
                "name": f"drawdown: {LABELS[column]}",
                "line": {"color": COLOURS[column], "width": 1},
            }
        )
    lower = {"domain": [0, 0.22], "tickformat": ".1%", "title": {"text": "drawdown"}}
    return {
        "data": data,
        "layout": _layout(
            "sum of daily returns", yaxis={"domain": [0.28, 1], "tickformat": ".0%", "hoverformat": ".2%"}, yaxis2=lower
        ),
    }


def _ic_chart(daily: pd.DataFrame, names: list[str], horizon: int) -> dict[str, Any]:
    """Return the chart of the cumulative daily RankIC, which rises steadily for a signal that works steadily."""
    column = f"rank_ic_{horizon}d"
    data = []
    for name in names:
        rows = daily[daily["signal"] == name].set_index("datetime")[column].dropna().cumsum()
        data.append(
            {"type": "scatter", "mode": "lines", "x": _days(rows.to_frame()), "y": _numbers(rows), "name": name}
        )
    return {"data": data, "layout": _layout(f"sum of daily RankIC, {horizon} days")}
