"""Scores of a head on windows it was not trained on, against the features alone and a walk from the last price.

Legend: N windows, K steps, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.heads.boosted_trees import boosted_trees
from kronos.heads.head import LEVELS
from kronos.heads.head_losses import TRUTH_CLIP, targets_of
from kronos.io.extras import installed
from kronos.metrics.probabilistic import crps_quantiles
from kronos.metrics.significance import Blocks

if TYPE_CHECKING:
    from kronos.heads.examples import HeadExamples
    from kronos.heads.head import Head

COVERAGE = (0.1, 0.9)


def judge_head(head: Head, test: HeadExamples, train: HeadExamples, seed: int = 0) -> dict[str, Any]:
    """Scores on the test windows; 95 % intervals are of a circular bootstrap of blocks of time as long as the longest label.

    Returns:
        windows, blocks; for "distribution" and "direction" the head's loss (CRPS in units of the lookback's volatility and the
        root of the step; cross-entropy), over_features and over_walk: the loss over that of the features alone, and of a forecast
        that knows the lookback's volatility and the training windows' returns (for direction, their classes) alone, each with
        over_..._interval; coverage_80 of the distribution, accuracy of the direction; and ic, ic_interval: correlation of the
        median, of the probability of a rise less that of a fall, or for "rank" of the score within each date, with the return
        over the horizon in units of volatility. Where LightGBM is installed, over_trees (of a distribution) and ic_of_trees are the
        same for `boosted_trees` on all that the head reads. An interval is None where there are fewer than ten blocks.
    """
    blocks = Blocks.of(pd.Series(test.start), pd.Series(test.end), seed)
    result: dict[str, Any] = {"windows": len(test), "blocks": blocks.count}
    found, alone = head(test), head(test, use_state=False)
    if head.spec.task == "distribution":
        steps = np.arange(1, test.truth.shape[1] + 1)
        unit = test.volatility[:, None] * np.sqrt(steps)
        came = np.clip(test.truth / unit, -TRUTH_CLIP, TRUTH_CLIP)
        before = np.clip(train.truth / (train.volatility[:, None] * np.sqrt(steps)), -TRUTH_CLIP, TRUTH_CLIP)
        shape_KQ = np.quantile(before, LEVELS, axis=0).T
        losses = [
            crps_quantiles(came, one, np.array(LEVELS)).mean(1)
            for one in (found / unit[..., None], alone / unit[..., None], np.broadcast_to(shape_KQ, found.shape))
        ]
        low, high = (found[..., LEVELS.index(level)] for level in COVERAGE)
        inside = ((test.truth >= low) & (test.truth <= high)).mean(1)
        result["coverage_80"] = rounded(inside.mean())
        result["coverage_80_interval"] = interval_of(blocks, np.stack((inside, np.ones(len(test))), 1), ratio_of)
        signal = found[:, -1, LEVELS.index(0.5)] / unit[:, -1]
    elif head.spec.task == "direction":
        classes = targets_of(head.spec, test)
        shares = np.bincount(targets_of(head.spec, train), minlength=3) / len(train)
        rows = np.arange(len(test))
        losses = [
            -np.log(np.clip(one[rows, classes], 1e-9, 1))
            for one in (found, alone, np.broadcast_to(shares, found.shape))
        ]
        result["accuracy"] = rounded((found.argmax(1) == classes).mean())
        result["shares"] = [rounded(share) for share in np.bincount(classes, minlength=3) / len(test)]
        signal = found[:, 2] - found[:, 0]
    else:
        losses, signal = [], found
    signals = {"ic": signal} | ({"ic_of_features": alone} if head.spec.task == "rank" else {})
    others = {"features": losses[1], "walk": losses[2]} if losses else {}
    if installed("lightgbm"):
        quantiles, signals["ic_of_trees"] = boosted_trees(head.spec, train, test, seed)
        if quantiles is not None:
            others["trees"] = crps_quantiles(came, quantiles, np.array(LEVELS)).mean(1)
    if losses:
        result["loss"] = rounded(losses[0].mean())
        for name, other in others.items():
            columns = np.stack((losses[0], other), 1)
            result[f"over_{name}"] = rounded(ratio_of(columns.sum(0)))
            result[f"over_{name}_interval"] = interval_of(blocks, columns, ratio_of)
    came = test.truth[:, -1] / (test.volatility * np.sqrt(test.truth.shape[1]))
    for name, given in signals.items():
        columns, of = ic_columns(np.asarray(given), came, test.start, head.spec.task == "rank")
        result[name] = rounded(of(columns.sum(0)))
        result[f"{name}_interval"] = interval_of(blocks, columns, of)
    return result


def ic_columns(
    signal_N: np.ndarray, came_N: np.ndarray, start_N: np.ndarray, by_date: bool
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Columns whose sums give the correlation: over all windows, or the mean over dates of that within each."""
    if not by_date:
        x, y = signal_N - signal_N.mean(), np.clip(came_N, -5, 5)
        return np.stack((np.ones(len(x)), x, y, x * x, y * y, x * y), 1), _correlation
    table = pd.DataFrame({"x": signal_N, "y": came_N, "date": start_N})
    ranks = table.groupby("date")[["x", "y"]].rank()
    means = ranks.groupby(table["date"])
    centred = ranks - means.transform("mean")
    sums = (centred["x"] * centred["y"]).groupby(table["date"]).sum()
    norms = np.sqrt((centred**2).groupby(table["date"]).sum().prod(axis=1))
    each = (sums / norms.where(norms > 0)).fillna(0.0)
    size = table.groupby("date")["x"].transform("size").to_numpy()
    return np.stack((table["date"].map(each).to_numpy() / size, 1 / size), 1), ratio_of


def _correlation(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.clip(xx / n - (x / n) ** 2, 0, None) * np.clip(yy / n - (y / n) ** 2, 0, None)
    covariance = xy / n - x * y / n**2
    return np.divide(covariance, np.sqrt(spread), out=np.zeros_like(covariance), where=spread > 1e-24)


def ratio_of(sums: np.ndarray) -> np.ndarray:
    """The first of two sums over the second."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def interval_of(blocks: Blocks, columns: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> list[float] | None:
    """95 % interval of a statistic of sums, rounded; None where there are too few blocks."""
    low, high = blocks.interval(columns, of)
    return [rounded(low), rounded(high)] if np.isfinite([low, high]).all() else None


def rounded(value: Any) -> float:
    """Four decimals, as a head's JSON file has them."""
    return round(float(value), 4)
