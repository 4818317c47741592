"""From paths to what callers read: the long table of `predict_df`, figures, and the score against what happened.

Legend: P paths, H horizon, K bars whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kronos.forecast.checks import check_distinct
from kronos.metrics import risk
from kronos.metrics.probabilistic import crps_paths
from kronos.metrics.quantiles import path_quantiles
from kronos.schema import CLOSE, FEATURES, HIGH, LOW
from kronos.serving.inputs import iso_times
from kronos.serving.schemas import RequestOptions
from kronos.serving.work import Work

DISCLAIMER = "Forecasts are uncertain and no advice."


def targets_of(options: RequestOptions) -> list[str]:
    """The features to report, each once.

    Raises:
        ValueError: none, or one twice.
    """
    targets: list[str] = [options.target] if isinstance(options.target, str) else list(options.target)
    if not targets or len(set(targets)) < len(targets):
        raise ValueError(f"target must name at least one feature, each at most once, found {targets}")
    return targets


def check_levels(quantiles: Sequence[float]) -> None:
    """Each level once, or two columns would have one name."""
    check_distinct(quantiles, "quantiles")


def long_rows(
    work: Work, paths: np.ndarray, options: RequestOptions, named: bool, first: int = 0
) -> list[dict[str, Any]]:
    """Rows as `KronosPredictor.predict_df` lays them out: [id], timestamp, [target_name], mean, and a column a quantile.

    ``paths`` [P, K, 6] begin at the step ``first``.
    """
    targets, times = targets_of(options), iso_times(work.future[first : first + paths.shape[1]])
    single = isinstance(options.target, str)
    names = [f"{level:.10g}" for level in options.quantiles]
    rows = []
    for target in targets:
        values = paths[:, :, FEATURES.index(target)]
        means, quantiles = values.mean(0), path_quantiles(values, options.quantiles).T
        for time, mean, levels in zip(times, means.tolist(), quantiles.tolist(), strict=True):
            row: dict[str, Any] = {"id": work.id} if named else {}
            row["timestamp"] = time
            if not single:
                row["target_name"] = target
            row["mean"] = mean
            row.update(zip(names, levels, strict=True))
            rows.append(row)
    return rows


def figures(paths: np.ndarray, last: float) -> dict[str, float | None]:
    """The figures of `Forecast.summary` at the end of the horizon, and how far the paths reach up and down in the mean."""
    closes = paths[:, :, CLOSE]
    end = closes[:, -1]
    returns = risk.simple_returns(end, last)
    low, middle, high = path_quantiles(end, [0.1, 0.5, 0.9])
    found = {
        "last_close": last,
        "mean_close": float(end.mean(dtype=np.float64)),
        "close_q10": float(low),
        "close_q50": float(middle),
        "close_q90": float(high),
        "prob_up": risk.probability_up(end, last),
        "expected_return": float(returns.mean()),
        "realised_volatility": float(risk.realised_volatility(closes, last).mean()),
        "max_drawdown": float(risk.max_drawdown(closes, last).mean()),
        "value_at_risk": risk.value_at_risk(returns, 0.95),
        "expected_shortfall": risk.expected_shortfall(returns, 0.95),
        "expected_high": float(paths[:, :, HIGH].max(1).mean(dtype=np.float64)),
        "expected_low": float(paths[:, :, LOW].min(1).mean(dtype=np.float64)),
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def score(closes_PH: np.ndarray, truth_K: np.ndarray, last: float) -> dict[str, Any]:
    """How the forecast did on the closes that were hidden from it.

    mae: of the mean path; mae_last_price: of "nothing changes". crps: of the paths, the mean over the bars, in prices (see
    `crps_paths`). inside_50, inside_80: bars between those quantiles. direction: whether the
    mean path and the truth went the same way; null where one did not move.
    """
    count = len(truth_K)
    paths_PK = closes_PH[:, :count].astype(np.float64)
    mean_K = paths_PK.mean(0)
    low80, low50, high50, high80 = path_quantiles(paths_PK, [0.1, 0.25, 0.75, 0.9])
    moved, expected = truth_K[-1] - last, mean_K[-1] - last
    return {
        "bars": count,
        "mae": float(abs(mean_K - truth_K).mean()),
        "mae_last_price": float(abs(last - truth_K).mean()),
        "crps": float(crps_paths(paths_PK, truth_K).mean()),
        "inside_50": int(((truth_K >= low50) & (truth_K <= high50)).sum()),
        "inside_80": int(((truth_K >= low80) & (truth_K <= high80)).sum()),
        "direction": None if not moved or not expected else bool((moved > 0) == (expected > 0)),
    }


def answer(work: Work, paths: np.ndarray, options: RequestOptions) -> dict[str, Any]:
    """The whole answer for one series."""
    return {
        "id": work.id,
        "model": work.offered.name,
        "forecast": long_rows(work, paths, options, named=False),
        **about(work, paths, options),
        "advice": DISCLAIMER,
    }


def about(work: Work, paths: np.ndarray, options: RequestOptions) -> dict[str, Any]:
    """What there is to say of a series besides the table."""
    last = float(work.past["close"].iloc[-1])
    truth = None if work.truth is None else work.truth["close"].to_numpy(dtype=float)
    return {
        "lookback": len(work.past),
        "horizon": work.job.horizon,
        "paths": options.paths,
        "seed": work.job.seed,
        "temperature": work.job.sampling.temperature,
        "top_p": work.job.sampling.top_p,
        "calibration": work.calibration,
        "last": work.past["timestamps"].iloc[-1].isoformat(),
        "summary": figures(paths, last),
        "score": None if truth is None else score(paths[:, :, CLOSE], truth, last),
        "samples": [[float(f"{close:.8g}") for close in path] for path in paths[: options.samples, :, CLOSE].tolist()],
        "notes": list(work.notes),
        "waited": round(work.job.waited, 4),
        "batch": work.job.company,
    }
