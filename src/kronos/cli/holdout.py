"""Compare forecasts of held-out bars with what happened, over one window or many.

Legend: W windows, P paths, H horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from kronos.cli.options import Options
from kronos.klines.window import SeriesWindow
from kronos.metrics.probabilistic import crps_paths
from kronos.metrics.quantiles import path_quantiles

if TYPE_CHECKING:
    from kronos.forecast.forecast import Forecast

CLOSE = 3
MEASURE_PATHS = 30
"""Paths that a window is scored by where there are several: the scores are fair for any number, and more take longer."""
WALK_PATHS = 500
"""Draws of the random walk that forecasts are compared with."""


class WindowScore(NamedTuple):
    """The close of one held-out window: mean absolute errors, CRPS (both in price units) and hits of the 80 % interval."""

    error: float
    error_of_last: float
    crps: float
    crps_of_walk: float
    inside: int
    bars: int


def windows_before(
    bars: pd.DataFrame, options: Options, cut: Callable[[pd.DataFrame], SeriesWindow], lookback: int
) -> list[SeriesWindow]:
    """Cut the windows before the latest one, each ending where the next begins to be hidden, with the same lookback.

    Raises:
        ValueError: the file is too short for that many windows.
    """
    most = (len(bars) - lookback) // options.horizon
    if options.windows > most:
        raise ValueError(
            f"--windows {options.windows} of {options.horizon} bars after {lookback} to look back on need "
            f"{options.windows * options.horizon + lookback:,} bars, there are {len(bars):,}: "
            f"take --windows {most}, or a shorter --lookback or --horizon"
        )
    return [cut(bars.iloc[: len(bars) - number * options.horizon]) for number in range(1, options.windows)]


def score_window(forecast: Forecast, past: pd.Series, truth: pd.Series, paths: int) -> WindowScore:
    """Score a forecast of one series.

    Args:
        forecast: with P paths, of which ``paths`` are scored.
        past: closes that were looked back on. truth: closes that came [H].
    """
    paths_PH = forecast.paths[0, :paths, :, CLOSE].astype(np.float64)
    actual_H, known = truth.to_numpy(dtype=np.float64), past.to_numpy(dtype=np.float64)
    low, high = path_quantiles(paths_PH, [0.1, 0.9])
    return WindowScore(
        float(abs(paths_PH.mean(0) - actual_H).mean()),
        float(abs(known[-1] - actual_H).mean()),
        float(crps_paths(paths_PH, actual_H).mean()),
        float(crps_paths(random_walk(known, len(actual_H)), actual_H).mean()),
        int(((actual_H >= low) & (actual_H <= high)).sum()),
        len(actual_H),
    )


def random_walk(closes: np.ndarray, horizon: int) -> np.ndarray:
    """Paths [P, H] from the last close by changes drawn from the lookback: relative ones where all prices are positive."""
    rng = np.random.default_rng(0)
    if (closes > 0).all():
        returns = np.diff(np.log(closes))
        return closes[-1] * np.exp(rng.choice(returns, (WALK_PATHS, horizon)).cumsum(1))
    return closes[-1] + rng.choice(np.diff(closes), (WALK_PATHS, horizon)).cumsum(1)


def sentences(scores: Sequence[WindowScore]) -> list[str]:
    """Say how the forecasts did; of one window, only what happened in it."""
    table = np.array(scores, dtype=np.float64)
    error, last, crps, walk, inside, bars = table.sum(0)
    share = f"{inside / bars:.0%} of the closes ({inside:.0f} of {bars:.0f}) lie in the 80 % interval"
    if len(table) == 1:
        return [
            f"In this window {share}; the mean is off by {error:.6g}, the last close by {last:.6g}.",
            "One window says nothing about a model: measure it over many, --windows 20.",
        ]
    better = int((table[:, 2] < table[:, 3]).sum())
    nearer = int((table[:, 0] < table[:, 1]).sum())
    return [
        f"Over {len(table)} windows of {bars / len(table):.0f} bars {share}.",
        f"CRPS (error of the whole distribution) / that of a random walk: {_ratio(crps, walk)}; better in {better} of them.",
        f"Error of the mean / that of the last close: {_ratio(error, last)}; nearer in {nearer} of them.",
        "1 is as good as these simple forecasts, below 1 is better. Differences of a few per cent need many more windows.",
    ]


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.3f}" if other > 0 else "undefined, the price did not move"
