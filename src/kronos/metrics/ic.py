"""Information coefficients: how well a signal ranks instruments, day by day.

IC is the correlation across instruments of a day's signal with the returns that came; RankIC that of their ranks; ICIR and
RankICIR are mean over standard deviation across days.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

FEWEST = 5
"""Instruments that a day needs for its correlation to count."""


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Pivot a column of a long table of signals to a table of day x instrument."""
    return table.pivot(index="datetime", columns="instrument", values=column).sort_index()


def returns_after(closes: pd.DataFrame, days: int) -> pd.DataFrame:
    """Return the simple return of each close [day x instrument] over the next ``days`` rows; NaN where a close is missing."""
    return closes.shift(-days) / closes - 1


def daily_ic(signal: pd.DataFrame, came: pd.DataFrame) -> pd.DataFrame:
    """Return ``ic``, ``rank_ic`` and ``count`` of each day, from two tables of day x instrument; NaN below `FEWEST` instruments."""
    came = came.reindex(index=signal.index, columns=signal.columns)
    both = signal.notna() & came.notna()
    signal, came = signal.where(both), came.where(both)
    count = both.sum(axis=1)
    enough = count >= FEWEST
    result = {
        "ic": _correlation(signal, came).where(enough),
        "rank_ic": _correlation(signal.rank(axis=1), came.rank(axis=1)).where(enough),
        "count": count,
    }
    return pd.DataFrame(result)


def _correlation(one: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    """Return Pearson's correlation, row by row; NaN where a row is constant."""
    a, b = (np.asarray(t, dtype=np.float64) for t in (one, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.isfinite(a).sum(axis=1, keepdims=True)
        a, b = (t - np.nansum(t, axis=1, keepdims=True) / count for t in (a, b))
        product, aa, bb = np.nansum(a * b, axis=1), np.nansum(a * a, axis=1), np.nansum(b * b, axis=1)
        r = product / np.sqrt(aa * bb)
    r[~((aa > 0) & (bb > 0))] = np.nan
    return pd.Series(r, index=one.index)


def summary(daily: pd.DataFrame, overlap: int = 1) -> dict[str, Any]:
    """Return mean IC and RankIC, their ratios to the standard deviation across days, the share of days above zero, and ``t``.

    ``t`` is the mean RankIC over its standard error. Returns over ``overlap`` days overlap with those of the next days, so
    that only every ``overlap``-th day counts as an observation. |t| above 2 is rare by chance.
    """
    ic, rank = daily["ic"].dropna(), daily["rank_ic"].dropna()
    days = len(rank)
    result: dict[str, Any] = {"days": days, "instruments": float(daily["count"].mean()) if len(daily) else 0.0}
    for name, values in (("ic", ic), ("rank_ic", rank)):
        mean, std = (float(values.mean()), float(values.std(ddof=1))) if len(values) > 1 else (math.nan, math.nan)
        result[name] = mean
        result["icir" if name == "ic" else "rank_icir"] = mean / std if std > 0 else math.nan
    result["days_above_zero"] = float((rank > 0).mean()) if days else math.nan
    result["t"] = result["rank_icir"] * math.sqrt(days / overlap)
    return result
