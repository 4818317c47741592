"""LightGBM on what a head reads, trained on the same windows: the baseline that says whether a head is the right way to read it.

Two regressions, of the return and of its size, give a location and a scale at every step; the shape comes from later windows that
neither was fitted on.

Legend: N windows, K steps, R rows, X columns, Q quantile levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kronos.heads.head import LEVELS, HeadSpec, known_columns
from kronos.heads.head_losses import targets_of

if TYPE_CHECKING:
    from kronos.heads.examples import HeadExamples

STEPS, ROWS = 6, 60_000
"""Steps of a window that are fitted on, and rows in all, at most."""
LATER = 0.2
"""Share of the training windows, the latest, that stop the fit and give the shape."""
LEAST_SIZE = 0.05
"""Added to the size of a return before its logarithm is taken."""
SETTINGS = {
    "objective": "regression", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100, "feature_fraction": 0.5,
    "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 10.0, "num_threads": 1, "deterministic": True, "force_row_wise": True,
    "verbosity": -1,
}  # fmt: skip
ROUNDS, PATIENCE = 200, 10
"""Trees at most, and trees without a lower error on later rows that end the fit."""


def boosted_trees(
    spec: HeadSpec, train: HeadExamples, test: HeadExamples, seed: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """Forecast the test windows.

    Returns:
        For "distribution" quantiles [N, K, Q] of the returns in units of the lookback's volatility and the root of the step, else
        None; and a signal [N]: the forecast return over the horizon in these units, for "rank" less its date's mean.
    """
    order = np.argsort(train.start, kind="stable")
    kept = order[np.sort(np.random.default_rng(seed).permutation(len(order))[: ROWS // STEPS])]
    cut = round((1 - LATER) * len(kept))
    first, later = train.part(kept[:cut]), train.part(kept[cut:])
    horizon = test.truth.shape[1]
    if spec.task != "distribution":
        as_returns = HeadSpec("rank" if spec.task == "rank" else "distribution", horizon, spec.width)
        last = np.array([horizon - 1])
        y, y_later = (targets_of(as_returns, part).reshape(len(part), -1)[:, -1:] for part in (first, later))
        location = _fitted(_columns(spec, first, last), y, _columns(spec, later, last), y_later, seed)
        return None, np.asarray(location.predict(_columns(spec, test, last)))
    steps = np.unique(np.geomspace(1, horizon, STEPS).round().astype(int)) - 1
    x, x_later, x_test = (
        _columns(spec, first, steps),
        _columns(spec, later, steps),
        _columns(spec, test, np.arange(horizon)),
    )
    y, y_later = targets_of(spec, first)[:, steps], targets_of(spec, later)[:, steps]
    location = _fitted(x, y, x_later, y_later, seed)
    size, size_later = (np.log(np.abs(values) + LEAST_SIZE) for values in (y, y_later))
    scale = _fitted(x, size, x_later, size_later, seed)
    residuals = (y_later.ravel() - location.predict(x_later)) / np.exp(scale.predict(x_later))
    location_NK, scale_NK = (model.predict(x_test).reshape(len(test), horizon) for model in (location, scale))
    return location_NK[..., None] + np.exp(scale_NK)[..., None] * np.quantile(residuals, LEVELS), location_NK[:, -1]


def _columns(spec: HeadSpec, examples: HeadExamples, steps: np.ndarray) -> np.ndarray:
    """Rows [N x steps, X], step by step of each window: features, covariates and the hidden state, which is that of all steps."""
    parts = [known_columns(spec, examples.features, examples.frequency)[:, steps], examples.covariates[:, steps]]
    parts.append(np.broadcast_to(examples.states[:, None], (len(examples), len(steps), examples.states.shape[1])))
    return np.concatenate(parts, -1, dtype=np.float32).reshape(len(examples) * len(steps), -1)


def _fitted(x: np.ndarray, y: np.ndarray, x_later: np.ndarray, y_later: np.ndarray, seed: int) -> Any:
    """A regression on rows [R, X], ended where the error on later rows no longer falls."""
    import lightgbm

    rows = lightgbm.Dataset(x, y.ravel(), free_raw_data=True)
    return lightgbm.train(
        SETTINGS | {"seed": seed},
        rows,
        ROUNDS,
        valid_sets=[rows.create_valid(x_later, y_later.ravel())],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
