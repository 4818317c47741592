"""Embeddings and heads against sampling, in one run.

    python benchmarks/heads.py                       # 2,000 series for the embedding, 500 for the head
    python benchmarks/heads.py --embed 500 --head 50

Random walks of 256 bars and nano. The two sides of a ratio take turns, a batch of series each, so that what else the machine does
falls on both. Seconds of processor time of all threads and of the clock; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import kronos
from kronos.heads.head import Head, HeadNetwork, HeadSpec

LOOKBACK, BATCH = 256, 50


def walks(series: int, horizon: int) -> tuple[list[pd.DataFrame], pd.DatetimeIndex, pd.DatetimeIndex]:
    """Daily bars of random walks, the times of the lookback, and those to forecast."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2023-01-01", periods=LOOKBACK + horizon)
    tables = []
    for _ in range(series):
        close = 100 * np.exp(rng.normal(0, 0.02, LOOKBACK).cumsum())
        open_ = np.concatenate(([100.0], close[:-1]))
        high, low = np.maximum(open_, close) * 1.005, np.minimum(open_, close) * 0.995
        tables.append(pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}))
    return tables, times[:LOOKBACK], times[LOOKBACK:]


def in_turns(series: int, horizon: int, sides: dict[str, Callable[..., Any]]) -> dict[str, dict[str, float]]:
    """Seconds of each side, after one batch of each that is not counted."""
    tables, past, future = walks(series + BATCH, horizon)
    spent = {name: {"cpu": 0.0, "clock": 0.0} for name in sides}
    for first in range(0, len(tables), BATCH):
        part = tables[first : first + BATCH]
        for name, call in sides.items():
            cpu, clock = time.process_time(), time.perf_counter()
            call(part, [past] * len(part), [future] * len(part))
            if first:
                spent[name]["cpu"] += time.process_time() - cpu
                spent[name]["clock"] += time.perf_counter() - clock
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embed", type=int, default=2000, help="series for the embedding against one path")
    parser.add_argument("--head", type=int, default=500, help="series for the head against 100 paths")
    parser.add_argument("--horizon", type=int, default=24)
    told = parser.parse_args()
    predictor = kronos.load("nano", device="cpu")
    spec = HeadSpec("distribution", told.horizon, predictor.model.d_model)
    predictor.heads["distribution"] = Head(spec, HeadNetwork(spec))

    def sampled(paths: int) -> Callable[..., Any]:
        return lambda bars, past, future: predictor.predict_samples(
            bars, past, future, told.horizon, sample_count=paths, seed=0, verbose=False
        )

    embedded = in_turns(
        told.embed, told.horizon, {"embed": lambda bars, past, _: predictor.embed(bars, past), "one path": sampled(1)}
    )
    headed = in_turns(told.head, told.horizon, {"head": predictor.quantiles_direct, "100 paths": sampled(100)})
    result: dict[str, Any] = {"horizon": told.horizon}
    for count, spent in ((told.embed, embedded), (told.head, headed)):
        (one, a), (other, b) = spent.items()
        for unit in ("cpu", "clock"):
            print(f"{count} series, {unit}: {one} {a[unit]:.1f} s, {other} {b[unit]:.1f} s, {b[unit] / a[unit]:.1f} x")
        result[one] = {"series": count, one: a, other: b, "ratio": round(b["cpu"] / a["cpu"], 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
