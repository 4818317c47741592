"""Figures of return and risk of sampled paths, as plain functions on arrays.

Legend: P paths, H steps; closes [P, H] in prices; last: the last observed close, one number. What is a share of the last close
(or of a peak) is NaN where that close is not positive, and so is a path's log return where one of its closes is not.
"""

from __future__ import annotations

import numpy as np

from kronos.metrics.quantiles import path_quantiles


def simple_returns(closes: np.ndarray, last: float) -> np.ndarray:
    """Return closes [...] over the last observed close, less one."""
    return closes.astype(np.float64) / last - 1 if last > 0 else np.full(closes.shape, np.nan)


def log_returns(closes: np.ndarray, last: float) -> np.ndarray:
    """Return log returns from bar to bar, the first from the last observed close: [P, H] -> [P, H]."""
    chain = _from_last(closes, last)
    return np.diff(np.log(np.where(chain > 0, chain, np.nan)), axis=-1)


def probability_up(closes: np.ndarray, last: float) -> float:
    """Return the share of the closes [P] above the last observed one; a tie counts half."""
    # In the closes' own precision, so that a close that did not move is a tie in float32 too.
    threshold = closes.dtype.type(last)
    return float(((closes > threshold) + 0.5 * (closes == threshold)).mean())


def probability_between(values: np.ndarray, above: float | None, below: float | None) -> float:
    """Return the share of the values [P] greater than ``above`` and less than ``below``, where these are given; NaN of NaN."""
    inside = np.ones(values.shape, bool)
    if above is not None:
        inside &= values > above
    if below is not None:
        inside &= values < below
    return float("nan") if np.isnan(values).any() else float(inside.mean())


def realised_volatility(closes: np.ndarray, last: float) -> np.ndarray:
    """Return the root of the sum of squared log returns over the horizon, not annualised: [P, H] -> [P]."""
    return np.sqrt((log_returns(closes, last) ** 2).sum(-1))


def max_drawdown(closes: np.ndarray, last: float) -> np.ndarray:
    """Return the largest fall from a running peak as a share of it; the first peak is the last observed close: [P, H] -> [P]."""
    chain = _from_last(closes, last)
    if last <= 0:
        return np.full(len(chain), np.nan)
    peaks = np.maximum.accumulate(chain, axis=-1)
    return ((peaks - chain) / peaks).max(-1)


def value_at_risk(returns: np.ndarray, level: float) -> float:
    """Return the loss that the share ``level`` of the simple returns [P] does not exceed (see `path_quantiles`).

    Negative where even that quantile is a gain.
    """
    return float(path_quantiles(-returns, level))


def expected_shortfall(returns: np.ndarray, level: float) -> float:
    """Return the mean loss of the worst ``1 - level`` of the simple returns [P]; never below `value_at_risk` of that level.

    The tail need not be a whole number of paths: its smallest loss counts with the fraction that belongs to the tail
    (Acerbi and Tasche 2002, "On the coherence of expected shortfall").
    """
    losses = np.sort(-returns)[::-1]
    tail = (1 - level) * len(losses)
    weights = np.clip(tail - np.arange(len(losses)), 0, 1)
    return float((losses * weights).sum() / tail)


def _from_last(closes: np.ndarray, last: float) -> np.ndarray:
    """Prepend the last observed close to every path: float64 [P, 1 + H]."""
    return np.concatenate([np.full((len(closes), 1), last, dtype=np.float64), closes], axis=1)
