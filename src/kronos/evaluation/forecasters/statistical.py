"""Baselines of the statsforecast library, on closes divided by the last one, with normal intervals.

The season counts for the seasonal naive forecast only: levels of prices have none worth a seasonal ETS or ARIMA, whose fits would
take a hundred times as long.

Legend: L lookback, H steps.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past
from kronos.metrics.probabilistic import realised_variance

LEVEL = 80
WIDTH = 1.2815515655446004
"""Standard deviations from the mean to the end of a normal's 80 % interval."""


def last_price(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """Naive; its forecast of realised variance is the variance of the last bars, as many as the horizon."""
    from statsforecast.models import Naive

    latest = window.close[-window.horizon - 1 :]
    seen = realised_variance(latest[:1], latest[None, 1:]) * window.horizon / max(1, len(latest) - 1)
    return _forecast(Naive(), window, variance=seen)


def drift(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    from statsforecast.models import RandomWalkWithDrift

    return _forecast(RandomWalkWithDrift(), window)


def seasonal_naive(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """The close of the same time a season ago; the last price where the lookback is no longer than a season."""
    from statsforecast.models import SeasonalNaive

    season = window.season if window.season + 10 <= len(window.close) else 1
    return _forecast(SeasonalNaive(season_length=season), window)


def auto_ets(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    from statsforecast.models import AutoETS

    return _forecast(AutoETS(season_length=1), window)


def auto_theta(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    from statsforecast.models import AutoTheta

    return _forecast(AutoTheta(season_length=1), window)


def auto_arima(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    from statsforecast.models import AutoARIMA

    return _forecast(AutoARIMA(season_length=1), window)


def _forecast(model: Any, window: Past, variance: np.ndarray | None = None) -> Prediction:
    """The library's mean and the deviation of its 80 % interval; the naive forecast where it cannot fit the window."""
    from statsforecast.models import Naive

    unit = abs(window.last) or 1.0
    y = window.close / unit
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = model.forecast(y=y, h=window.horizon, level=[LEVEL])
            good = all(np.isfinite(found[key]).all() for key in ("mean", f"lo-{LEVEL}", f"hi-{LEVEL}"))
        except (ValueError, ArithmeticError, np.linalg.LinAlgError, IndexError):
            good = False
        if not good:
            found = Naive().forecast(y=y, h=window.horizon, level=[LEVEL])
    sigma = (np.asarray(found[f"hi-{LEVEL}"]) - np.asarray(found[f"lo-{LEVEL}"])) / (2 * WIDTH)
    return Prediction.of_normals(
        (np.asarray(found["mean"]) * unit)[None], (np.maximum(sigma, 0) * unit)[None], variance
    )
