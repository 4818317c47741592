"""The report as a page: what came out in words, tables, and charts by plotly, in one file that works offline.

Names come from users' files: in the HTML they are escaped, in the charts' data they cannot end the script.
"""

from __future__ import annotations

import html
import json
import math
from typing import Any

import pandas as pd

from kronos.backtest.picture import COLOURS, LABELS, cumulative, drawdown
from kronos.backtest.simulate import CURVES, FIGURES
from kronos.backtest.verdict import CONVINCING
from kronos.chart import HEAD, script_json

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

PAGE = (
    HEAD
    + """<style>
body {{ color: {ink}; font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 12px 20px 60px; }}
h1 {{ font-size: 21px; }} h2 {{ font-size: 17px; margin: 28px 0 6px; }}
.verdict {{ background: #f6f8fa; border-left: 4px solid {accent}; padding: 8px 16px; }}
.verdict p {{ margin: 6px 0; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 3px 12px 3px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid {grid}; }}
th:first-child, td:first-child {{ text-align: left; }}
.chart {{ height: 520px; }} .low {{ height: 300px; }}
.note {{ color: #6b7280; font-size: 13.5px; }}
pre {{ font-size: 12.5px; overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<div class="verdict">{verdict}</div>
{body}
<details><summary>Settings</summary><pre>{settings}</pre></details>
<script>{library}</script>
<script>
const charts = {charts};
// showSendToCloud: plotly's default has a button that sends the data to its maker.
const config = {{responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]}};
for (const [id, chart] of Object.entries(charts)) Plotly.newPlot(id, chart.data, chart.layout, config);
</script>
</body>
</html>
"""
)


def report_page(curves: dict[str, pd.DataFrame], report: dict[str, Any], daily: pd.DataFrame) -> str:
    """The HTML; ``daily`` has a row a day and signal with the columns of the scores."""
    from plotly.offline import get_plotlyjs

    body, charts = [], {}
    for number, (name, frame) in enumerate(curves.items()):
        result = report["strategy"][name]
        body.append(f"<h2>Trading by “{html.escape(name)}”</h2>")
        body.append(f'<div id="returns{number}" class="chart"></div>')
        body.append(_risk_table(result["risk"]))
        body.append(
            '<p class="note">Daily returns are added up, not compounded, and a year has 238 days, as Qlib counts. '
            f"Mean daily turnover {result['totals']['mean_daily_turnover']:.1%}.</p>"
        )
        charts[f"returns{number}"] = _returns_chart(frame)
    horizon = report["horizon"]
    body.append("<h2>How well the signals rank instruments</h2>")
    body += [_ic_table(report["ic"], days) for days in sorted({1, horizon})]
    body.append(
        '<p class="note">Correlation across instruments of a day’s signal with the return that came, by the day; RankIC by ranks; '
        "IR is mean over standard deviation across days. t counts overlapping horizons once.</p>"
    )
    body.append('<div id="ic" class="chart low"></div>')
    charts["ic"] = _ic_chart(daily, list(report["ic"]), horizon)
    return PAGE.format(
        title=html.escape(f"Backtest: {report['instrument']} against {report['benchmark']}"),
        ink=INK,
        grid=GRID,
        accent=_accent(next(iter(report["strategy"].values()))["totals"]),
        verdict="".join(f"<p>{html.escape(line)}</p>" for line in report["verdict"]),
        body="\n".join(body),
        settings=html.escape(json.dumps({"signals_from": report["signals_from"], **report["settings"]}, indent=1)),
        library=get_plotlyjs(),
        charts=script_json(charts),
    )


def _accent(totals: dict[str, Any]) -> str:
    """Green only for what chance rarely gives, red for a loss against the benchmark, else grey."""
    if not totals["excess_return_with_cost"] > 0:
        return "#b91c1c"
    return "#15803d" if totals["t_of_excess_with_cost"] >= CONVINCING else "#6b7280"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _risk_table(risk: dict[str, dict[str, float]]) -> str:
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
    return _table(["", *(FIGURE_NAMES[f] for f in FIGURES)], rows)


def _ic_table(ic: dict[str, Any], days: int) -> str:
    def shown(figure: str, value: float) -> str:
        if not math.isfinite(value):
            return "–"
        return {"days": f"{value:,.0f}", "days_above_zero": f"{value:.0%}", "t": f"{value:.1f}"}.get(
            figure, f"{value:.4f}"
        )

    rows = [[name, *(shown(f, scores[f"{days}d"][f]) for f in IC_NAMES)] for name, scores in ic.items()]
    return _table([f"return over {days} day{'s' if days > 1 else ''}", *IC_NAMES.values()], rows)


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
    """Sums of the daily RankIC: a line that rises steadily is a signal that works steadily."""
    column = f"rank_ic_{horizon}d"
    data = []
    for name in names:
        rows = daily[daily["signal"] == name].set_index("datetime")[column].dropna().cumsum()
        data.append(
            {"type": "scatter", "mode": "lines", "x": _days(rows.to_frame()), "y": _numbers(rows), "name": name}
        )
    return {"data": data, "layout": _layout(f"sum of daily RankIC, {horizon} days")}
