"""The baselines by name, and their forecasts of a batch of windows, on one core or several."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past
from kronos.io.extras import need


class Known(NamedTuple):
    """Entry of a baseline: its module and function, the library that it needs, a description, and whether it is slow."""

    module: str
    function: str
    library: str | None
    what: str
    slow: bool = False


_NAIVE, _STATISTICAL, _VOLATILITY = (
    f"kronos.evaluation.forecasters.{m}" for m in ("naive", "statistical", "volatility")
)

BASELINES: dict[str, Known] = {
    "last": Known(_STATISTICAL, "last_price", "statsforecast", "the last price, with a random walk's intervals"),
    "drift": Known(_STATISTICAL, "drift", "statsforecast", "random walk with drift"),
    "seasonal": Known(
        _STATISTICAL, "seasonal_naive", "statsforecast", "the same time of the last day (of daily bars, week)"
    ),
    "bootstrap": Known(_NAIVE, "bootstrap_walk", None, "random walk that draws from the lookback's own returns"),
    "ets": Known(_STATISTICAL, "auto_ets", "statsforecast", "AutoETS", True),
    "theta": Known(_STATISTICAL, "auto_theta", "statsforecast", "AutoTheta", True),
    "arima": Known(_STATISTICAL, "auto_arima", "statsforecast", "AutoARIMA", True),
    "garch": Known(_VOLATILITY, "garch", "arch", "GARCH(1,1) returns around the last price", True),
    "egarch": Known(_VOLATILITY, "egarch", "arch", "EGARCH(1,1,1) returns around the last price", True),
    "har": Known(_VOLATILITY, "har_rv", "arch", "HAR of squared returns, normal around the last price", True),
    "lightgbm": Known(
        "kronos.evaluation.forecasters.trees", "lagged_returns", "lightgbm", "LightGBM on lagged returns", True
    ),
}
DEFAULT = ("last", "drift", "seasonal", "bootstrap", "ets", "theta", "garch")

One = Callable[[Past, int, np.random.Generator], Prediction]
"""A baseline's forecast of one window: (window, paths, random stream) -> a prediction of one window."""


def stream(seed: int, window: Past, name: str) -> np.random.Generator:
    """Return a random stream that depends on the seed, the window and the model's name, not on the batch."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(window.id.encode()), window.cutoff.value])


def one_by_one(name: str, windows: Sequence[Past], paths: int, seed: int) -> Prediction:
    """Forecast windows one after the other and stack them."""
    known = BASELINES[name]
    function: One = getattr(importlib.import_module(known.module), known.function)
    return stacked([function(window, paths, stream(seed, window, name)) for window in windows])


def stacked(parts: Sequence[Prediction]) -> Prediction:
    """Concatenate predictions of the same form along the windows."""

    def joined(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    mean = joined("mean")
    assert mean is not None
    others = {name: joined(name) for name in ("paths", "sigma", "quantiles", "bars", "variance")}
    return Prediction(mean, levels=parts[0].levels, **others)


@dataclass
class Baseline:
    """Named baseline as a model of an evaluation."""

    name: str
    pool: ProcessPoolExecutor | None = None
    """Processes that forecast its windows; None takes this process."""

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        call = partial(one_by_one, self.name, paths=paths, seed=seed)
        if self.pool is None or not BASELINES[self.name].slow:
            return call(windows)
        pieces = [windows[i : i + 16] for i in range(0, len(windows), 16)]
        return stacked(list(self.pool.map(call, pieces)))

    @property
    def fingerprint(self) -> str:
        known = BASELINES[self.name]
        spec = importlib.util.find_spec(known.module)
        assert spec is not None and spec.origin is not None
        code = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
        return code if known.library is None else f"{known.library} {importlib.metadata.version(known.library)} {code}"


def make_baseline(name: str) -> Baseline:
    """Return the baseline of that name, and check that its library is installed.

    Raises:
        ValueError: no such baseline, or its library is not installed.
    """
    if name not in BASELINES:
        raise ValueError(f"no baseline {name!r}: there are {', '.join(BASELINES)}")
    library = BASELINES[name].library
    if library is not None:
        need(library, "evaluate", f"the baseline {name}")
    return Baseline(name)
