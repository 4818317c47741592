"""Stylised facts of markets (Cont, 2001), measured on sequences of bars: fat tails, volatility clustering, leverage, volume.

Every figure is a mean of one figure a sequence, which gives its standard error; sequences of equal length have equal bias.

Legend: N sequences, H bars.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.evaluation.synthetic.sequences import Sequences
from kronos.metrics.probabilistic import correlation
from kronos.schema import VOLUME

LAGS = 10
LEVERAGE_LAGS = 5

FACTS = {
    "deviation": "standard deviation of returns, in units of the lookback's mean absolute one",
    "excess kurtosis": "of the returns of a sequence: above 0 means fat tails",
    "tail ratio": "99 % over 75 % quantile of absolute returns (of a normal: 2.24), all sequences together",
    "clustering": f"mean autocorrelation of absolute returns over lags 1 to {LAGS}",
    "memory of returns": "autocorrelation of returns at lag 1",
    "leverage": f"mean correlation of a return with squared returns 1 to {LEVERAGE_LAGS} bars later",
    "volume and volatility": "correlation of log volume with absolute return",
    "range and return": "mean of high - low over mean absolute return",
}


def autocorrelation(x_NH: np.ndarray, lag: int) -> np.ndarray:
    """Return the autocorrelation of each sequence around its own mean [N]; NaN where it is constant."""
    x = x_NH - x_NH.mean(1, keepdims=True)
    below = np.square(x).sum(1)
    return np.divide((x[:, lag:] * x[:, :-lag]).sum(1), below, out=np.full(len(x), np.nan), where=below > 1e-20)


def clustering(returns_NH: np.ndarray, lags: int = LAGS) -> np.ndarray:
    """Return the autocorrelations of absolute returns [N, lags]."""
    return np.stack([autocorrelation(np.abs(returns_NH), k) for k in range(1, lags + 1)], axis=1)


def per_sequence(sequences: Sequences) -> pd.DataFrame:
    """Return every fact but the tail ratio, a row for each sequence."""
    r = sequences.returns()
    centred = r - r.mean(1, keepdims=True)
    var = np.square(centred).mean(1)
    fourth = np.power(centred, 4).mean(1)
    steps = range(1, min(LEVERAGE_LAGS, r.shape[1] - 2) + 1)
    leverage = np.stack([correlation(r[:, :-k], np.square(r[:, k:])) for k in steps], axis=1)
    volume = np.where(
        sequences.volume > 0, correlation(np.log1p(np.maximum(sequences.bars[..., VOLUME], 0)), np.abs(r)), np.nan
    )
    span = np.log(np.maximum(sequences.bars[..., 1], 1e-12) / np.maximum(sequences.bars[..., 2], 1e-12)).mean(1)
    size = np.abs(r).mean(1) * sequences.scale
    table = {
        "deviation": np.sqrt(var),
        "excess kurtosis": np.divide(fourth, var**2, out=np.full(len(r), np.nan), where=var > 1e-20) - 3,
        "clustering": _mean(clustering(r, min(LAGS, r.shape[1] // 2))),
        "memory of returns": autocorrelation(r, 1),
        "leverage": _mean(leverage),
        "volume and volatility": volume,
        "range and return": np.divide(span, size, out=np.full(len(r), np.nan), where=size > 1e-12),
    }
    return pd.DataFrame(table)


def _mean(values_NK: np.ndarray) -> np.ndarray:
    known = np.isfinite(values_NK)
    total = np.where(known, values_NK, 0).sum(1)
    return np.divide(total, known.sum(1), out=np.full(len(values_NK), np.nan), where=known.any(1))


def facts(sequences: Sequences) -> dict[str, tuple[float, float]]:
    """Return {fact: (figure, standard error)}; the error is NaN for the tail ratio."""
    table = per_sequence(sequences)
    size = np.abs(sequences.returns())
    low, high = np.quantile(size, [0.75, 0.99])
    result: dict[str, tuple[float, float]] = {}
    for name in FACTS:
        if name == "tail ratio":
            result[name] = (float(high / low) if low > 0 else float("nan"), float("nan"))
            continue
        values = table[name].dropna().to_numpy()
        enough = len(values) > 1
        result[name] = (
            float(values.mean()) if len(values) else float("nan"),
            float(values.std(ddof=1) / np.sqrt(len(values))) if enough else float("nan"),
        )
    return result
