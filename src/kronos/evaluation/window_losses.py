"""Losses of each window from the table of forecasts. Pure functions of the table.

Losses of different series are made comparable by the lookback's mean absolute change (``unit``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.evaluation.table import KEYS, QUANTILES
from kronos.evaluation.tasks import LEVELS
from kronos.metrics import probabilistic as metrics

LOWER, UPPER = "q0.1", "q0.9"
GROUP = ["market", "frequency"]
LEAST_OF_A_DAY = 5
"""Series that a day needs for a correlation across series."""


def window_losses(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and window: its losses, and the returns and variances that pooled scores need."""
    f = forecasts
    y, mean, unit = (f[c].to_numpy(np.float64) for c in ("y", "mean", "unit"))
    q = f[QUANTILES].to_numpy(np.float64)
    low, high = q[:, QUANTILES.index(LOWER)], q[:, QUANTILES.index(UPPER)]
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = pd.DataFrame(
            {
                "mase": np.abs(mean - y) / unit,
                "square": np.square((mean - y) / unit),
                "mape": np.where(y != 0, 100 * np.abs((mean - y) / y), np.nan),
                "pinball": metrics.pinball(y, q, np.array(LEVELS)).mean(-1) / unit,
                "crps": f["crps"].to_numpy() / unit,
                "covered": ((y >= low) & (y <= high)).astype(np.float64),
                "width": (high - low) / unit,
            }
        )
    first = np.flatnonzero(f["step"].to_numpy() == 1)
    length = np.diff(np.append(first, len(f)))
    out = pd.DataFrame(np.add.reduceat(rows.to_numpy(), first, axis=0) / length[:, None], columns=rows.columns)
    out["rmse"] = np.sqrt(out.pop("square"))
    at, end = f.iloc[first].reset_index(drop=True), f.iloc[first + length - 1].reset_index(drop=True)
    for name in (*KEYS, *GROUP):
        out[name] = at[name].astype("str") if name != "cutoff" else at[name]
    out["end"], out["horizon"] = end["timestamp"], length
    last = at["last"].to_numpy()
    out["return_forecast"], out["return_true"] = end["mean"] / last - 1, end["y"] / last - 1
    called, moved = np.sign(end["mean"] - last), np.sign(end["y"] - last)
    out["direction"] = np.where((called != 0) & (moved != 0), (called == moved).astype(float), np.nan)
    out["variance_forecast"] = at["variance"]
    out["variance_true"] = _variances(f["y"].to_numpy(np.float64), last, first, length)
    out["qlike"] = metrics.qlike(out["variance_forecast"].to_numpy(), out["variance_true"].to_numpy())
    out["energy"] = at["energy"] / at["unit"]
    out["price_ic"], out["price_rank_ic"] = at["price_ic"], at["price_rank_ic"]
    return out


def _variances(y: np.ndarray, last: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the realised variance of each window, from the concatenated closes of all windows."""
    before = np.roll(y, 1)
    before[first] = last
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where((y > 0) & (before > 0), np.square(np.log(y / before)), np.nan)
    return np.add.reduceat(squared, first)


def daily_correlations(rows: pd.DataFrame) -> pd.Series:
    """Return the RankIC across series of each day with at least five series; days of constant forecasts are left out."""
    result = {}
    for day, part in rows.groupby(rows["cutoff"].dt.normalize()):
        one = part.drop_duplicates("id", keep="last")
        if len(one) >= LEAST_OF_A_DAY:
            result[day] = float(
                metrics.rank_correlation(one["return_forecast"].to_numpy(), one["return_true"].to_numpy())
            )
    return pd.Series(result, dtype=float).dropna()
