"""LightGBM on lagged returns, fitted anew on each window's lookback, so that it sees what every other model sees.

Legend: L lookback, P paths, H steps, K lags.
"""

from __future__ import annotations

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past

LAGS = 10
SETTINGS = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS = 40


def lagged_returns(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """The next return from the last ten, in units of their deviation; paths add residuals drawn from the fit's own.

    The point forecast feeds the model its own means; where the lookback is too short to fit, the walk has no drift.
    """
    import lightgbm

    scale = float(window.returns.std()) or 1.0
    returns = window.returns / scale
    lags = min(LAGS, len(returns) // 3)
    if lags < 1 or not (window.close > 0).all():
        still = np.full((1, paths, window.horizon), window.last)
        return Prediction.of_paths(still, still[:, 0])
    table = np.lib.stride_tricks.sliding_window_view(returns, lags + 1)
    x, y = table[:, :-1], table[:, -1]
    booster = lightgbm.train(SETTINGS | {"seed": 0}, lightgbm.Dataset(x, y, free_raw_data=True), num_boost_round=ROUNDS)
    residuals = y - np.asarray(booster.predict(x, num_threads=1))
    state = np.broadcast_to(returns[-lags:], (paths + 1, lags)).copy()  # the last row draws no residuals
    drawn = np.empty((paths + 1, window.horizon))
    for step in range(window.horizon):
        drawn[:, step] = np.asarray(booster.predict(state, num_threads=1))
        drawn[:-1, step] += rng.choice(residuals, paths)
        state = np.concatenate((state[:, 1:], drawn[:, step : step + 1]), axis=1)
    walk = window.last * np.exp((drawn * scale).cumsum(1))
    return Prediction.of_paths(walk[None, :-1], walk[None, -1])
