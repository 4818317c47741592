"""Scores of forecasts, as pure functions over arrays.

Legend: S windows, P paths, H steps, Q quantile levels. Truth is ``y``; every function is vectorised over leading axes.

Sources: fair CRPS and energy score: Gneiting and Raftery (2007), Ferro (2014); QLIKE: Patton (2011); MASE: Hyndman and
Koehler (2006); IC and RankIC: arXiv 2508.02739, section 4.
"""

from __future__ import annotations

import numpy as np

from kronos.metrics.quantiles import path_quantiles

Array = np.ndarray


def mase_scale(past_SL: Array, season: int = 1) -> Array:
    """Return the mean absolute change over ``season`` bars in lookbacks [S, L]: the scale of MASE [S].

    Raises:
        ValueError: the lookback has no more than ``season`` bars.
    """
    past = np.asarray(past_SL, dtype=np.float64)
    if past.shape[-1] <= season:
        raise ValueError(f"a lookback of {past.shape[-1]} bars has no change over {season} bars; give a longer one")
    return np.abs(past[..., season:] - past[..., :-season]).mean(-1)


def pinball(y: Array, quantiles_Q: Array, levels: Array) -> Array:
    """Return the pinball (quantile) loss [..., Q] of quantiles [..., Q] at levels [Q] for the truth y [...]."""
    miss = np.asarray(y, dtype=np.float64)[..., None] - quantiles_Q
    levels = np.asarray(levels, dtype=np.float64)
    return np.maximum(levels * miss, (levels - 1) * miss)


def crps_paths(paths_PH: Array, y_H: Array) -> Array:
    """Return the fair CRPS of an ensemble: paths [..., P, H] and y [..., H] -> [..., H]. Of one path: its absolute error.

    Fair: the spread is estimated over pairs of different paths, so that the expected score does not depend on their number.
    The sorted form needs no P x P table.
    """
    paths = np.sort(np.asarray(paths_PH, dtype=np.float64), axis=-2)
    n = paths.shape[-2]
    error = np.abs(paths - np.asarray(y_H, dtype=np.float64)[..., None, :]).mean(-2)
    if n == 1:
        return error
    weight = (2 * np.arange(n) - n + 1)[:, None]  # sum over pairs of |x_i - x_j| from order statistics
    return error - (weight * paths).sum(-2) / (n * (n - 1))


def crps_normal(mean: Array, sigma: Array, y: Array) -> Array:
    """Return the CRPS of normal distributions, elementwise; where sigma is 0, the absolute error."""
    from scipy.stats import norm

    mean, sigma, y = (np.asarray(a, dtype=np.float64) for a in (mean, sigma, y))
    safe = np.where(sigma > 0, sigma, 1.0)
    z = (y - mean) / safe
    score = safe * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    return np.where(sigma > 0, score, np.abs(y - mean))


def crps_quantiles(y: Array, quantiles_Q: Array, levels: Array) -> Array:
    """Return the approximate CRPS [...] of quantiles [..., Q] at levels [Q]: twice the pinball loss, integrated over the levels.

    Each level stands for the cell around it. With 11 levels it is within about 2 % of the CRPS of a normal distribution.
    """
    losses = pinball(y, quantiles_Q, levels)
    levels = np.asarray(levels, dtype=np.float64)
    edges = np.concatenate(([0.0], (levels[1:] + levels[:-1]) / 2, [1.0]))
    return 2 * (losses * np.diff(edges)).sum(-1)


def energy_score(paths_PH: Array, y_H: Array) -> Array:
    """Return the fair energy score of whole paths: [..., P, H] and [..., H] -> [...]. With one step it is the fair CRPS.

    Distances are Euclidean over the steps, divided by sqrt(H), so that horizons can be compared.
    """
    paths, y = np.asarray(paths_PH, dtype=np.float64), np.asarray(y_H, dtype=np.float64)
    n, steps = paths.shape[-2:]
    error = np.linalg.norm(paths - y[..., None, :], axis=-1).mean(-1)
    if n > 1:
        spread = np.zeros_like(error)
        for lag in range(1, n):  # never more than P x H at once
            spread += np.linalg.norm(paths[..., lag:, :] - paths[..., :-lag, :], axis=-1).sum(-1)
        error = error - spread / (n * (n - 1))
    return error / np.sqrt(steps)


def pit_paths(paths_PH: Array, y_H: Array, uniforms_H: Array) -> Array:
    """Return the randomised probability integral transform [..., H]: uniform on (0, 1) if y is one more draw of the paths.

    Args:
        paths_PH: [..., P, H].
        y_H: [..., H].
        uniforms_H: numbers in [0, 1) that randomise it, [..., H].
    """
    paths, y = np.asarray(paths_PH), np.asarray(y_H)[..., None, :]
    below, ties = (paths < y).sum(-2), (paths == y).sum(-2)
    return (below + uniforms_H * (ties + 1)) / (paths.shape[-2] + 1)


def pit_quantiles(y: Array, quantiles_Q: Array, levels: Array) -> Array:
    """Return the level of y [...] between quantiles [..., Q], by linear interpolation; beyond them half of the outer level."""
    levels, q = np.asarray(levels, dtype=np.float64), np.sort(np.asarray(quantiles_Q, dtype=np.float64), axis=-1)
    y = np.asarray(y, dtype=np.float64)
    k = (q <= y[..., None]).sum(-1)
    low, high = np.clip(k - 1, 0, len(levels) - 1), np.clip(k, 0, len(levels) - 1)
    left, right = (np.take_along_axis(q, i[..., None], -1)[..., 0] for i in (low, high))
    share = np.divide(y - left, right - left, out=np.full_like(y, 0.5), where=right > left)
    inside = levels[low] + share * (levels[high] - levels[low])
    return np.where(k == 0, levels[0] / 2, np.where(k == len(levels), (1 + levels[-1]) / 2, inside))


def quantiles_of_paths(paths_PH: Array, levels: Array) -> Array:
    """Return quantiles [..., H, Q] of paths [..., P, H], by the rule of `path_quantiles`."""
    return np.moveaxis(path_quantiles(paths_PH, levels, axis=-2), 0, -1)


def correlation(x: Array, y: Array) -> Array:
    """Return Pearson's correlation over the last axis; NaN where one side is constant."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    below = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    flat = (np.abs(x).max(-1) < 1e-12) | (np.abs(y).max(-1) < 1e-12) | ~(below > 0)
    result = np.divide((x * y).sum(-1), below, out=np.full(np.shape(below), np.nan), where=~flat)
    return np.clip(result, -1, 1)


def rank_correlation(x: Array, y: Array) -> Array:
    """Return Spearman's correlation over the last axis (mean ranks at ties); NaN where one side is constant."""
    from scipy.stats import rankdata

    return correlation(rankdata(x, axis=-1), rankdata(y, axis=-1))


def realised_variance(last: Array, close_H: Array) -> Array:
    """Return the sum of squared log returns over the horizon: last close [...], closes [..., H] -> [...]. NaN at prices <= 0."""
    close = np.concatenate(
        (np.asarray(last, dtype=np.float64)[..., None], np.asarray(close_H, dtype=np.float64)), axis=-1
    )
    close = np.where(close > 0, close, np.nan)
    return np.square(np.diff(np.log(close), axis=-1)).sum(-1)


def qlike(variance: Array, truth: Array) -> Array:
    """Return QLIKE, truth / forecast - log(truth / forecast) - 1, of variances, elementwise; NaN where one is not positive."""
    variance, truth = np.asarray(variance, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    ok = (variance > 0) & (truth > 0)
    ratio = np.divide(truth, variance, out=np.full(np.shape(ok), np.nan), where=ok)
    return ratio - np.log(ratio) - 1


def r_squared(forecast: Array, truth: Array) -> float:
    """Return R^2 = 1 - SSE / SST over all pairs without NaN; NaN for fewer than 3 pairs or a constant truth."""
    forecast, truth = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    ok = np.isfinite(forecast) & np.isfinite(truth)
    total = np.square(truth[ok] - truth[ok].mean()).sum() if ok.sum() >= 3 else 0.0
    return float(1 - np.square(forecast[ok] - truth[ok]).sum() / total) if total > 0 else float("nan")
