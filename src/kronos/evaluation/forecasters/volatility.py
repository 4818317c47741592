"""Volatility models of the arch library: their mean is the last price, their width changes with the market.

Returns are scaled to a deviation of 1 before a fit, and the fit that fails (too few bars, no convergence, a variance that runs
away or vanishes) is replaced by a constant variance.

Legend: L lookback, P paths, H steps.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past

HAR_LAGS = (1, 5, 22)
WILD = 100.0
COLLAPSED = 1e-3
"""A forecast variance so many times the lookback's own is no forecast, and so little of it neither."""


def standing(window: Past, paths: int) -> Prediction:
    """Paths that do not move, where a lookback has no returns to learn from."""
    last = np.full((1, paths, window.horizon), window.last)
    return Prediction.of_paths(last, last[:, 0], np.zeros(1))


def garch(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """GARCH(1,1), normal innovations, zero mean."""
    return _conditional(window, paths, rng, {"vol": "GARCH", "p": 1, "q": 1})


def egarch(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """EGARCH(1,1,1), which lets falls and rises matter differently."""
    return _conditional(window, paths, rng, {"vol": "EGARCH", "p": 1, "o": 1, "q": 1})


def _conditional(window: Past, paths: int, rng: np.random.Generator, settings: dict[str, Any]) -> Prediction:
    horizon, scale = window.horizon, float(np.sqrt(np.square(window.returns).mean()))
    if not scale > 0:
        return standing(window, paths)
    fitted = _fit(window.returns / scale, horizon, paths, rng, settings)
    if fitted is None:
        drawn, variances = rng.standard_normal((paths, horizon)), np.ones(horizon)
    else:
        drawn, variances = fitted
    walk = window.last * np.exp((drawn * scale).cumsum(1))
    return Prediction.of_paths(walk[None], np.full((1, horizon), window.last), np.array([variances.sum() * scale**2]))


def _fit(
    returns: np.ndarray, horizon: int, paths: int, rng: np.random.Generator, settings: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Simulated returns [P, H] and expected variances [H], or None where the fit is no good."""
    from arch import arch_model

    many = max(paths, 250)  # EGARCH has no closed form: its expected variance is a mean over simulations
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = arch_model(returns, mean="Zero", rescale=False, **settings).fit(disp="off", show_warning=False)
            if result.convergence_flag != 0:
                return None
            forecast = result.forecast(
                horizon=horizon, method="simulation", simulations=many, rng=lambda size: rng.standard_normal(size)
            )
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return None
        drawn = np.asarray(forecast.simulations.values)[-1][:paths]
        if settings["vol"] == "GARCH":
            variances = np.asarray(result.forecast(horizon=horizon).variance)[-1]
        else:
            variances = np.asarray(forecast.simulations.residual_variances)[-1].mean(0)
    finite = np.isfinite(drawn).all() and np.isfinite(variances).all()
    good = finite and variances.min() > COLLAPSED and variances.max() < WILD and np.abs(drawn).max() < WILD
    return (drawn, variances) if good else None


def har_rv(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """Squared returns regressed on their means over 1, 5 and 22 bars (Corsi, 2009), forecast step by step."""
    from arch.univariate import HARX

    horizon, squared = window.horizon, np.square(window.returns)
    scale = float(squared.mean())
    if not scale > 0:
        still = np.full((1, horizon), window.last)
        return Prediction.of_normals(still, np.zeros_like(still), np.zeros(1))
    lags = [lag for lag in HAR_LAGS if len(squared) >= lag + 15]
    variances = np.ones(horizon)
    if lags:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            fitted = HARX(squared / scale, lags=lags, rescale=False).fit(disp="off", show_warning=False)
            found = np.asarray(fitted.forecast(horizon=horizon).mean)[-1]
        if np.isfinite(found).all() and np.abs(found).max() < WILD:
            variances = np.maximum(found, 0.05)  # a regression can fall below zero
    sigma = window.last * np.sqrt(np.cumsum(variances * scale))
    return Prediction.of_normals(
        np.full((1, horizon), window.last), np.abs(sigma)[None], np.array([variances.sum() * scale])
    )
