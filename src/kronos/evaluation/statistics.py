"""Scores as functions of sums over windows, so that a score and its bootstrap interval come from the same formula.

A score has columns, K numbers a window, and a formula of their sums: resampling blocks of time is then a matrix product.

Legend: N windows of one model, K columns, ... any number of resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.evaluation.window_losses import daily_correlations

Columns = Callable[[pd.DataFrame], np.ndarray]
Formula = Callable[[np.ndarray], np.ndarray]


class Statistic(NamedTuple):
    """Score as a function of sums over windows.

    Attributes:
        what: its description.
        columns: from a table of losses to its columns [N, K].
        of: from sums of the columns [..., K] to the score [...]; NaN where undefined."""

    what: str
    columns: Columns
    of: Formula

    def value(self, losses: pd.DataFrame) -> float:
        return float(self.of(self.columns(losses).sum(0)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def mean_of(name: str, what: str) -> Statistic:
    """Return the score that is the mean of a column over the windows that have it."""

    def columns(losses: pd.DataFrame) -> np.ndarray:
        values = losses[name].to_numpy(np.float64)
        known = np.isfinite(values)
        return np.column_stack((np.where(known, values, 0.0), known))

    return Statistic(what, columns, lambda s: _ratio(s[..., 0], s[..., 1]))


def _moments(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the columns of a correlation; all zero where one side is constant, since the correlation is then undefined."""
    known = np.isfinite(x) & np.isfinite(y)
    result = np.zeros((len(x), 6))
    if known.sum() < 3 or np.ptp(x[known]) < 1e-12 or np.ptp(y[known]) < 1e-12:
        return result
    x, y = ((v[known] - v[known].mean()) / v[known].std() for v in (x, y))
    result[known] = np.column_stack((np.ones_like(x), x, y, x * x, y * y, x * y))
    return result


def _correlation(s: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = np.moveaxis(s, -1, 0)
    n = np.where(n > 0, n, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.sqrt((xx - x * x / n) * (yy - y * y / n))
        return np.where(below > 1e-9, (xy - x * y / n) / below, np.nan)


def _returns(losses: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return losses["return_forecast"].to_numpy(np.float64), losses["return_true"].to_numpy(np.float64)


def _ranked_returns(losses: pd.DataFrame) -> np.ndarray:
    from scipy.stats import rankdata

    return _moments(*(rankdata(v) for v in _returns(losses)))


def _variances(losses: pd.DataFrame) -> np.ndarray:
    """Return the columns |error|, error^2, truth, truth^2 and 1 of the realised variance; zero where one is missing."""
    forecast, truth = (losses[c].to_numpy(np.float64) for c in ("variance_forecast", "variance_true"))
    known = np.isfinite(forecast) & np.isfinite(truth)
    error, truth = np.where(known, forecast - truth, 0.0), np.where(known, truth, 0.0)
    return np.column_stack((np.abs(error), error**2, truth, truth**2, known))


def _r_squared(s: np.ndarray) -> np.ndarray:
    below = s[..., 3] - np.square(s[..., 2]) / np.maximum(s[..., 4], 1)
    return 1 - _ratio(s[..., 1], np.where(s[..., 4] >= 3, below, 0.0))


def _days(losses: pd.DataFrame) -> np.ndarray:
    """Return the columns of each day's correlation, its square and 1, divided evenly among the day's windows."""
    days = losses["cutoff"].dt.normalize()
    value = days.map(daily_correlations(losses)).to_numpy(np.float64)
    share = np.where(np.isfinite(value), 1.0 / days.map(days.value_counts()).to_numpy(np.float64), 0.0)
    value = np.nan_to_num(value)
    return np.column_stack((value * share, value**2 * share, share))


def _icir(s: np.ndarray) -> np.ndarray:
    n = s[..., 2]
    variance = (s[..., 1] - _ratio(s[..., 0] ** 2, n)) / np.maximum(n - 1, 1e-9)
    return _ratio(_ratio(s[..., 0], n), np.sqrt(np.where((n > 2) & (variance > 1e-12), variance, 0.0)))


MEANS = {
    name: mean_of(name, what)
    for name, what in {
        "mase": "mean absolute error over the lookback's mean absolute change",
        "rmse": "root mean squared error of a window, in the same unit",
        "mape": "mean absolute percentage error, %",
        "pinball": "mean quantile loss over 11 levels, in the same unit",
        "crps": "continuous ranked probability score, in the same unit",
        "energy": "energy score of the paths, in the same unit",
        "covered": "share of closes inside the 80 % interval",
        "width": "width of the 80 % interval, in the same unit",
        "direction": "share of windows whose last close moved the way that was forecast",
        "price_ic": "correlation over time of forecast and true path, averaged over the four prices",
        "price_rank_ic": "the same of ranks",
        "qlike": "QLIKE of the forecast realised variance",
        "relative_mase": "mase over the reference's mean in the group",
        "relative_crps": "crps over the reference's mean in the group",
    }.items()
}
STATISTICS = {
    **MEANS,
    "return_ic": Statistic(
        "correlation over windows of forecast and true return", lambda t: _moments(*_returns(t)), _correlation
    ),
    "return_rank_ic": Statistic("the same of ranks", _ranked_returns, _correlation),
    "volatility_mae": Statistic(
        "mean absolute error of realised variance over the mean of the true one",
        _variances,
        lambda s: _ratio(s[..., 0], s[..., 2]),
    ),
    "volatility_r2": Statistic("1 - SSE / SST of realised variance", _variances, _r_squared),
    "daily_ic": Statistic(
        "mean over days of the rank correlation across series", _days, lambda s: _ratio(s[..., 0], s[..., 2])
    ),
    "daily_icir": Statistic("the same over its standard deviation over days", _days, _icir),
}
