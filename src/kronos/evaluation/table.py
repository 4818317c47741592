"""Table of forecasts: one row for each model, window and step. All scores are computed from it.

| column | |
| --- | --- |
| model, id, market, frequency, cutoff, timestamp, step | keys of the forecast; cutoff is the time of the last bar seen |
| y, last, unit | the true close, the last close seen, and the lookback's mean absolute change (MASE's denominator) |
| mean, q0.05 .. q0.95 | the forecast of close |
| crps, pit | of the whole distribution, before it was reduced to quantiles |
| variance, energy | of the window, the same in each of its rows: expected realised variance, energy score of the paths |
| price_ic, price_rank_ic | likewise: correlations over time of mean path and truth, averaged over open, high, low, close |

Legend: S windows, H steps, Q levels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import EvaluationWindow
from kronos.evaluation.tasks import LEVELS
from kronos.metrics import probabilistic as metrics
from kronos.schema import CLOSE

QUANTILES = [f"q{level:g}" for level in LEVELS]
KEYS = ["model", "id", "cutoff"]

_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [("model", _TEXT), ("id", _TEXT), ("market", _TEXT), ("frequency", _TEXT)]
    + [("cutoff", pa.timestamp("ns")), ("timestamp", pa.timestamp("ns")), ("step", pa.int16())]
    + [(name, pa.float64()) for name in ("y", "last", "unit", "mean")]
    + [(name, pa.float64()) for name in QUANTILES]
    + [("crps", pa.float64()), ("pit", pa.float32())]
    + [(name, pa.float64()) for name in ("variance", "energy", "price_ic", "price_rank_ic")]
)


def rows_of(name: str, origins: Sequence[EvaluationWindow], prediction: Prediction, seed: int) -> pa.Table:
    """Return the rows of one model on a chunk of windows of one horizon."""
    pasts = [origin.past for origin in origins]
    windows, horizon = len(pasts), pasts[0].horizon
    truth = np.stack([origin.truth for origin in origins])  # [S, H, 4]
    y, last = truth[..., CLOSE], np.array([p.last for p in pasts])
    uniforms = np.stack([_uniforms(name, origin, horizon, seed) for origin in origins])
    ic, rank_ic = _price_correlations(prediction, truth)
    each = lambda values: np.repeat(np.asarray(values), horizon)
    columns: dict[str, object] = {
        "model": [name] * (windows * horizon),
        "id": each([p.id for p in pasts]),
        "market": each([p.market for p in pasts]),
        "frequency": each([p.frequency for p in pasts]),
        "cutoff": each(np.array([p.cutoff.to_datetime64() for p in pasts], dtype="datetime64[ns]")),
        "timestamp": np.concatenate([origin.times for origin in origins]).astype("datetime64[ns]"),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int16), windows),
        "y": y.ravel(),
        "last": each(last),
        "unit": each([p.unit for p in pasts]),
        "mean": prediction.mean.ravel(),
        **dict(zip(QUANTILES, prediction.at(LEVELS).reshape(-1, len(LEVELS)).T, strict=True)),
        "crps": prediction.crps(y).ravel(),
        "pit": prediction.pit(y, uniforms).astype(np.float32).ravel(),
        "variance": each(prediction.expected_variance(last)),
        "energy": each(prediction.energy(y)),
        "price_ic": each(ic),
        "price_rank_ic": each(rank_ic),
    }
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in SCHEMA}, schema=SCHEMA)


def _uniforms(name: str, origin: EvaluationWindow, horizon: int, seed: int) -> np.ndarray:
    """Draw the numbers of the randomised PIT, which depend on seed, model and window alone."""
    key = [
        seed,
        zlib.crc32(b"pit"),
        zlib.crc32(name.encode()),
        zlib.crc32(origin.past.id.encode()),
        origin.past.cutoff.value,
    ]
    return np.random.default_rng(key).random(horizon)


def _price_correlations(prediction: Prediction, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IC and RankIC of the mean path over time [S], averaged over the prices that the model forecasts (paper, section 4).

    A constant path has no correlation; where all of a window's are missing the result is NaN.
    """
    forecast = prediction.mean[..., None] if prediction.bars is None else prediction.bars
    real = truth[..., 3:] if prediction.bars is None else truth
    if truth.shape[1] < 2:
        return np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    result = []
    for of in (metrics.correlation, metrics.rank_correlation):
        values = of(np.moveaxis(forecast, 1, -1), np.moveaxis(real, 1, -1))
        known = np.isfinite(values)
        total = np.where(known, values, 0).sum(-1)
        result.append(np.divide(total, known.sum(-1), out=np.full(len(values), np.nan), where=known.any(-1)))
    return result[0], result[1]


def write_combined(parts: Iterable[Path], target: Path) -> None:
    """Write all parts, in this order, to one file, a part at a time; the same parts give the same bytes."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with parquet.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            for part in parts:
                writer.write_table(read_part(part))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_part(path: Path) -> pa.Table:
    """Read a Parquet file of this schema.

    Raises:
        ValueError: the file is no table of forecasts.
    """
    try:
        table = parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no readable table of forecasts: {error}; delete it and run again") from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} is no table of forecasts: it lacks {', '.join(missing[:3])}")
    return table.select(SCHEMA.names).cast(SCHEMA)


def read_forecasts(path: str | Path) -> pd.DataFrame:
    """Read the table of forecasts of an earlier evaluation."""
    return read_part(Path(path)).to_pandas()
