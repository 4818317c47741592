"""Search of a pair's recommended temperature and top-p, on held-out bars of its store, never on test data.

Legend: W windows, P paths, K horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.generation.sampling import Sampling
from kronos.metrics.probabilistic import crps_paths
from kronos.metrics.quantiles import path_quantiles
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.bar_store import Store
from kronos.training.rollouts import forecast_closes, sample_of
from kronos.training.windows import Order, Windows

TEMPERATURES = (0.9, 1.0, 1.1, 1.2)
TOP_PS = (0.9, 0.95, 1.0)


def search_sampling(
    tokenizer: KronosTokenizer,
    model: Kronos,
    held: Store,
    max_context: int,
    temperatures: Sequence[float] = TEMPERATURES,
    top_ps: Sequence[float] = TOP_PS,
    lookback: int = 256,
    horizon: int = 24,
    windows: int = 720,
    paths: int = 20,
    seed: int = 0,
    echo: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Find the temperature and top-p with the least CRPS of close.

    Every choice is scored on the same windows, equally many of every market and frequency.

    Args:
        held: store of the held-out bars.
        lookback, horizon: bars of a window.
        windows: number of windows at most.
        paths: paths of each window.
        echo: called with a line for each choice.

    Returns:
        temperature, top_p, windows, first, last (dates of the bars), and table, a row for each choice: temperature, top_p, crps
        (in deviations of the lookback, the mean over the horizon), mae of the mean path, covered (share of closes in the 80 %
        interval).

    Raises:
        ValueError: no held-out run of bars is long enough.
    """
    cut = Windows(held, lookback, horizon)
    numbers = Order(cut, seed, balanced=True).numbers(0, windows)
    sample = sample_of(cut, numbers)
    naive = float(np.abs(sample.truth - sample.last[:, None]).mean())
    echo(
        f"{windows:,} windows of {len(held.names)} groups, {lookback} bars to {horizon}; MAE of the last price {naive:.4f}"
    )
    rows = []
    for temperature in temperatures:
        for top_p in top_ps:
            sampling = Sampling(temperature, top_p=top_p)
            closes_WPK = forecast_closes(tokenizer, model, sample, paths, max_context, sampling, seed)
            low, high = path_quantiles(closes_WPK, [0.1, 0.9], axis=1)
            row = {
                "temperature": temperature,
                "top_p": top_p,
                "crps": float(crps_paths(closes_WPK, sample.truth).mean()),
                "mae": float(np.abs(closes_WPK.mean(1) - sample.truth).mean()),
                "covered": float(((sample.truth >= low) & (sample.truth <= high)).mean()),
            }
            rows.append(row)
            echo(" ".join(f"{name} {value:.4g}" for name, value in row.items()))
    best = min(rows, key=lambda row: row["crps"])
    span = held.times[np.concatenate([cut.first[numbers], cut.first[numbers] + cut.length - 1])]
    return {
        "temperature": best["temperature"],
        "top_p": best["top_p"],
        "windows": windows,
        "first": str(pd.Timestamp(span.min()).date()),
        "last": str(pd.Timestamp(span.max()).date()),
        "table": rows,
    }
