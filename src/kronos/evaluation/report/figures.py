"""Figures of the report, as PNG bytes. They do not use pyplot, so no display is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.evaluation.scores import Scores
from kronos.evaluation.table import QUANTILES
from kronos.evaluation.tasks import LEVELS
from kronos.plotting.matplotlib_fan import figure_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, GOOD, BAD = "#3d5a80", "#9aa5b1", "#1b998b", "#d1495b"
PALETTE = (
    "#3d5a80",
    "#ee964b",
    "#1b998b",
    "#d1495b",
    "#7a5195",
    "#8d6a3f",
    "#5f6b7a",
    "#e0a500",
    "#2f4858",
    "#b5651d",
    "#6b9080",
    "#a5a5a5",
)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    return figure_bytes(figure, dpi=110)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def colours(models: Sequence[str]) -> dict[str, str]:
    return {model: PALETTE[i % len(PALETTE)] for i, model in enumerate(models)}


def leaderboard(scores: Scores, shown: Sequence[str]) -> bytes:
    """Plot relative losses with their intervals, best first; ``shown`` models in colour."""
    figure = _figure(11, 1.2 + 0.42 * len(scores.leaderboard))
    panels = figure.subplots(1, 2)
    for axes, loss, title, against in (
        (panels[0], "crps", "CRPS of the distribution", scores.distribution_reference),
        (panels[1], "mase", "error of the point forecast", scores.reference),
    ):
        board = scores.leaderboard.sort_values(f"relative_{loss}", ascending=False, kind="stable").reset_index(
            drop=True
        )
        for at, row in board.iterrows():
            colour = INK if row["model"] in shown else GREY
            low, high = row[f"relative_{loss}_low"], row[f"relative_{loss}_high"]
            if np.isfinite(low):
                axes.plot([low, high], [at, at], color=colour, linewidth=3, alpha=0.5, solid_capstyle="round")
            axes.plot(row[f"relative_{loss}"], at, "o", color=colour, markersize=6)
        axes.axvline(1, color="#222222", linewidth=1)
        axes.set_yticks(range(len(board)), board["model"])
        axes.set_xlabel(f"{title}, relative to {against} (left is better)")
        _plain(axes)
    return png(figure)


def skill_by_step(scores: Scores, models: Sequence[str]) -> bytes:
    """Plot relative CRPS and error along the horizon; steps are shares of the horizon, averaged over frequencies."""
    table = scores.steps[scores.steps["model"].isin(models)].copy()
    longest = table.groupby("frequency")["step"].transform("max")
    table["share"] = np.ceil(10 * table["step"] / longest) / 10
    paint = colours(models)
    figure = _figure(11, 4)
    panels = figure.subplots(1, 2)
    for axes, name, title, against in (
        (panels[0], "relative_crps", "CRPS", scores.distribution_reference),
        (panels[1], "relative_mase", "error", scores.reference),
    ):
        means = table.groupby(["model", "frequency", "share"])[name].mean().groupby(["model", "share"]).mean()
        for model in models:
            line = means.loc[model]
            axes.plot(100 * line.index, line.to_numpy(), marker="o", markersize=3, color=paint[model], label=model)
        axes.axhline(1, color="#222222", linewidth=1)
        axes.set_xlabel("share of the horizon, %")
        axes.set_ylabel(f"{title} relative to {against}")
        _plain(axes)
    panels[0].legend(frameon=False, fontsize=8, ncols=2)
    return png(figure)


def by_group(scores: Scores) -> bytes:
    """Plot relative CRPS of every model in every market and frequency."""
    groups = scores.groups.assign(group=scores.groups["market"] + " " + scores.groups["frequency"])
    models = list(scores.leaderboard["model"])
    table = groups.pivot(index="group", columns="model", values="relative_crps")[models]
    figure = _figure(2.8 + 0.85 * len(models), 1.3 + 0.34 * len(table))
    axes = figure.subplots()
    shown = np.clip(np.log2(table.to_numpy()), -0.4, 0.4)
    axes.imshow(shown, cmap="RdYlGn_r", vmin=-0.4, vmax=0.4, aspect="auto")
    for i, row in enumerate(table.to_numpy()):
        for j, value in enumerate(row):
            if np.isfinite(value):
                dark = abs(np.log2(value)) > 0.3
                axes.text(
                    j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "#222222"
                )
    axes.set_xticks(range(len(models)), models, rotation=30, ha="right")
    axes.set_yticks(range(len(table)), table.index, fontsize=8)
    axes.set_title(f"CRPS relative to {scores.distribution_reference} (green: better)", fontsize=10, loc="left")
    return png(figure)


def _weights(part: pd.DataFrame) -> np.ndarray:
    """Return a weight for each row, 1 over the steps of its window, so that every window counts the same."""
    first = np.flatnonzero(part["step"].to_numpy() == part["step"].min())
    length = np.diff(np.append(first, len(part)))
    return np.repeat(1.0 / length, length)


def reliability(forecasts: pd.DataFrame, models: Sequence[str]) -> bytes:
    """Plot how often the truth was below each quantile: on the diagonal where the quantiles are calibrated."""
    paint = colours(models)
    figure = _figure(5.6, 5.2)
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="#222222", linewidth=1)
    for model in models:
        part = forecasts[forecasts["model"].astype("str") == model]
        weight = _weights(part)
        below = [100 * float(((part["y"] <= part[name]) * weight).sum() / weight.sum()) for name in QUANTILES]
        axes.plot([100 * level for level in LEVELS], below, marker="o", markersize=4, color=paint[model], label=model)
    axes.set_xlabel("quantile, %")
    axes.set_ylabel("closes at or below it, %")
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return png(figure)


def pit_histogram(forecasts: pd.DataFrame, models: Sequence[str]) -> bytes:
    """Plot the histogram of the PIT: flat for a calibrated distribution, U-shaped for one that is too narrow."""
    figure = _figure(3.4 * len(models) + 0.4, 3.2)
    panels = np.atleast_1d(figure.subplots(1, len(models), sharey=True))
    for axes, model in zip(panels, models, strict=True):
        part = forecasts[forecasts["model"].astype("str") == model].dropna(subset="pit")
        if len(part):
            density, edges = np.histogram(part["pit"], bins=10, range=(0, 1), weights=_weights(part), density=True)
            axes.bar(edges[:-1], density, width=0.095, align="edge", color=INK)
        axes.axhline(1, color="#222222", linewidth=1)
        axes.set_title(model, fontsize=10)
        axes.set_xlabel("level of the truth")
        _plain(axes)
    panels[0].set_ylabel("density")
    return png(figure)


def volatility(scores: Scores, models: Sequence[str]) -> bytes:
    """Plot forecast against true realised volatility (root of the variance, in percent), a point for each window."""
    figure = _figure(3.6 * len(models) + 0.4, 3.6)
    panels = np.atleast_1d(figure.subplots(1, len(models), sharex=True, sharey=True))
    for axes, model in zip(panels, models, strict=True):
        part = scores.losses[scores.losses["model"] == model]
        x, y = (100 * np.sqrt(part[c].clip(lower=0)) for c in ("variance_forecast", "variance_true"))
        ok = (x > 0) & (y > 0)
        if ok.any():
            axes.loglog(x[ok], y[ok], ".", color=INK, alpha=0.35, markersize=4)
            ends = [min(x[ok].min(), y[ok].min()), max(x[ok].max(), y[ok].max())]
            axes.plot(ends, ends, color="#222222", linewidth=1)
        axes.set_title(model, fontsize=10)
        axes.set_xlabel("forecast, %")
        _plain(axes)
    panels[0].set_ylabel("realised volatility, %")
    return png(figure)
