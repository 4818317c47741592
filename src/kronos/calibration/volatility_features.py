"""Features of the lookback that predict volatility, as logarithms relative to the lookback's own volatility.

They use no bar after the last observed one; of the future only the times.

Legend: L lookback, K horizon, F features.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.klines.features import minute_of_day
from kronos.schema import CLOSE

FEATURES = ("step", "recent", "range", "time_of_day")
"""log of the step; recent (EWMA, half-life 5 bars) and range-based (Parkinson, 10 bars) volatility over the lookback's; and the
root of the mean squared time-of-day profile over the bars up to the step."""
HALF_LIFE, RANGE_BARS = 5, 10
LEAST_A_SLOT = 3
"""Returns that a time of day needs for a profile of its own."""
MOST = 2.5
"""Features are clipped to this absolute value, so that an unusual lookback cannot give an extreme spread."""


def log_returns(close_L: np.ndarray) -> np.ndarray:
    """Return the log returns [L - 1] of positive closes [L]."""
    return np.diff(np.log(np.asarray(close_L, np.float64)))


def lookback_volatility(close_L: np.ndarray) -> float:
    """Return the root mean squared log return of a bar over the lookback; 0 for constant closes."""
    return float(np.sqrt(np.square(log_returns(close_L)).mean()))


def features_of(bars_L6: np.ndarray, past: pd.DatetimeIndex, future: pd.DatetimeIndex) -> np.ndarray:
    """Compute the features [K, F] of a lookback with positive prices, for each step to forecast; see `FEATURES`."""
    bars = np.asarray(bars_L6, np.float64)
    returns = log_returns(bars[:, CLOSE])
    steps = len(future)
    found = np.zeros((steps, len(FEATURES)))
    found[:, 0] = np.log(np.arange(1, steps + 1))
    mean_square = np.square(returns).mean()
    if not mean_square > 0:
        return found
    weight = 0.5 ** (np.arange(len(returns))[::-1] / HALF_LIFE)
    recent = (weight * np.square(returns)).sum() / weight.sum()
    found[:, 1] = 0.5 * np.log(max(recent / mean_square, 1e-6))
    ranges = np.square(np.log(np.maximum(bars[:, 1], bars[:, 2]) / np.maximum(bars[:, 2], 1e-300)))
    if ranges.mean() > 0:
        found[:, 2] = 0.5 * np.log(max(ranges[-RANGE_BARS:].mean() / ranges.mean(), 1e-6))
    found[:, 3] = _time_of_day(returns, past[1:], future, mean_square)
    return np.clip(found, -MOST, np.where(np.arange(len(FEATURES)) == 0, np.inf, MOST))


def _time_of_day(
    returns: np.ndarray, times: pd.DatetimeIndex, future: pd.DatetimeIndex, mean_square: float
) -> np.ndarray:
    """Return the log of the root of the profile's mean over bars 1..k; 0 for daily bars and for too short lookbacks."""
    slot, ahead = minute_of_day(times), minute_of_day(future)
    if (ahead == ahead[:1]).all() and (slot == slot[:1]).all():
        return np.zeros(len(future))
    squares = pd.Series(np.square(returns)).groupby(slot).agg(["mean", "size"])
    known = squares[squares["size"] >= LEAST_A_SLOT]["mean"] / mean_square
    # Half way between the slot's own mean and 1: a few returns say little.
    profile = known.reindex(ahead).fillna(1.0).to_numpy() * 0.5 + 0.5
    return 0.5 * np.log(profile.cumsum() / np.arange(1, len(profile) + 1))
