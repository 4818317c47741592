"""Conversion of tables with any columns and index to K-lines, and of sampled paths back to their columns.

Legend: P paths, H horizon, C columns of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.klines.columns import find_columns
from kronos.klines.window import chosen_lookback
from kronos.predictor import KronosPredictor
from kronos.schema import FEATURES, PRICE_COLUMNS

ORIGIN = pd.Timestamp("2000-01-01")
"""Date of row 0 of a table with a numeric index, whose rows are taken as days."""


class AdapterSettings(NamedTuple):
    """Settings of the adapters; None takes the model's own."""

    model: str = "nano"
    tokenizer: str | None = None
    lookback: int | None = None
    paths: int = 100
    temperature: float | None = None
    top_k: int = 0
    top_p: float | None = None
    seed: int | None = 0
    device: str | None = None


class TableHistory(NamedTuple):
    """Observed series, and the times to forecast."""

    values: pd.DataFrame
    past: pd.DatetimeIndex
    future: pd.DatetimeIndex


@lru_cache(maxsize=4)
def predictor_of(model: str, tokenizer: str | None, device: str | None) -> KronosPredictor:
    """Load a predictor, once in a process: estimators are cloned, copied and pickled, weights need not be."""
    from kronos.loading import load

    return load(model, tokenizer=tokenizer, device=device)


def candle_columns(columns: Sequence[object]) -> dict[str, int] | None:
    """Return {feature: position} where open, high, low and close are among the columns, in any case; else None."""
    if not all(isinstance(name, str) for name in columns):
        return None
    found = find_columns([str(name) for name in columns])
    if not all(name in found for name in PRICE_COLUMNS):
        return None
    kept = {name: position for name, position in found.items() if name in FEATURES}
    return kept if len(kept) == len(columns) else None


def flat_candles(values: np.ndarray) -> pd.DataFrame:
    """Turn a series of numbers [T] into bars, each from the number before to the number itself."""
    before = np.concatenate([values[:1], values[:-1]])
    high, low = np.maximum(before, values), np.minimum(before, values)
    return pd.DataFrame({"open": before, "high": high, "low": low, "close": values})


def dated(index: pd.Index, first: int = 0) -> pd.DatetimeIndex:
    """Return the times of an index of dates, periods, or numbers; numbers count from ``first``."""
    if isinstance(index, pd.DatetimeIndex):
        return index
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    return ORIGIN + pd.to_timedelta(np.asarray(index, dtype=np.int64) - first, unit="D")


def sample(histories: Sequence[TableHistory], settings: AdapterSettings) -> list[np.ndarray]:
    """Sample paths of every column of every series, float64 [P, H, C] each.

    Columns that are the open, high, low and close (and volume and amount) of bars are forecast together, as a K-line; any other
    columns each alone, as bars from one value to the next.

    Raises:
        ValueError: a series is too short, or a value is missing.
    """
    predictor = predictor_of(settings.model, settings.tokenizer, settings.device)
    frames, pasts, futures, places = [], [], [], []
    for number, history in enumerate(histories):
        bars, horizon = len(history.values), len(history.future)
        length = chosen_lookback(settings.lookback, bars, horizon, predictor.trained_context, shorten=True)
        values, past = history.values.iloc[-length:], history.past[-length:]
        candles = candle_columns(list(values.columns))
        parts: list[tuple[pd.DataFrame, int | None]]
        if candles is not None:
            table = values.set_axis(
                [list(candles)[list(candles.values()).index(i)] for i in range(len(candles))], axis=1
            )
            parts = [(table, None)]
        else:
            parts = [(flat_candles(values.iloc[:, i].to_numpy(dtype=np.float64)), i) for i in range(values.shape[1])]
        for table, column in parts:
            frames.append(table.reset_index(drop=True))
            pasts.append(past)
            futures.append(history.future)
            places.append((number, column))
    forecast = predictor.forecast(
        frames,
        pasts,
        futures,
        T=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        sample_count=settings.paths,
        seed=settings.seed,
        verbose=False,
    )
    result: list[list[np.ndarray]] = [[] for _ in histories]
    for place, (number, column) in enumerate(places):
        paths = forecast[place].paths[0].astype(np.float64)
        names = list(frames[place].columns) if column is None else ["close"]
        result[number].append(paths[..., [FEATURES.index(name) for name in names]])
    return [np.concatenate(parts, axis=-1) for parts in result]
