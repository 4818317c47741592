"""Plot of a backtest: cumulative returns, excess return and drawdown."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kronos.plotting.matplotlib_fan import figure_bytes

COLOURS = {
    "strategy_with_cost": "#1f6feb",
    "strategy_without_cost": "#8db7f7",
    "benchmark": "#6b7280",
    "excess_return_with_cost": "#c2410c",
    "excess_return_without_cost": "#f3b48b",
}
LABELS = {
    "strategy_with_cost": "strategy, after costs",
    "strategy_without_cost": "strategy, before costs",
    "benchmark": "benchmark",
    "excess_return_with_cost": "excess over benchmark, after costs",
    "excess_return_without_cost": "excess over benchmark, before costs",
}


def cumulative(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the cumulative sums of daily returns, not compounded, as in Qlib."""
    return curves.cumsum()


def drawdown(daily: pd.Series) -> pd.Series:
    """Return the distance of the cumulative sum below its highest value so far, zero at the start included."""
    total = daily.cumsum()
    return total - total.cummax().clip(lower=0)


def draw(curves: dict[str, pd.DataFrame], report: dict[str, Any]) -> bytes:
    """Plot for each signal the cumulative returns, and below them the drawdown of strategy and excess return; return a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(11, 6.5 * len(curves)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * len(curves), 1, squeeze=False, height_ratios=[3, 1] * len(curves))[:, 0]
    for number, (name, daily) in enumerate(curves.items()):
        above, below = axes[2 * number], axes[2 * number + 1]
        total = cumulative(daily)
        for column, label in LABELS.items():
            style = "--" if column.endswith("without_cost") else "-"
            above.plot(total.index, total[column], style, color=COLOURS[column], lw=1.5, label=label)
        above.axhline(0, color="#9ca3af", lw=0.8)
        above.set_title(
            f"signal “{name}”: {report['instrument']} against {report['benchmark']}", loc="left", fontsize=11
        )
        above.set_ylabel("sum of daily returns")
        above.legend(loc="upper left", fontsize=8.5, frameon=False, ncols=2)
        for column in ("strategy_with_cost", "excess_return_with_cost"):
            fall = drawdown(daily[column])
            below.fill_between(fall.index, fall, 0, color=COLOURS[column], alpha=0.25, lw=0)
            below.plot(fall.index, fall, color=COLOURS[column], lw=1, label=LABELS[column])
        below.set_ylabel("drawdown")
        below.legend(loc="lower left", fontsize=8.5, frameon=False, ncols=2)
        below.sharex(above)
        for ax in (above, below):
            ax.yaxis.set_major_formatter(PercentFormatter(1))
            ax.grid(alpha=0.25)
            ax.spines[["top", "right"]].set_visible(False)
            ax.margins(x=0.01)
    return figure_bytes(figure, dpi="figure")
