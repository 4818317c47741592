"""Synthetic K-lines: a model draws one path after each real lookback, which is kept beside the real bars that followed.

Legend: N sequences, H bars, 6 features, 5 shapes of a candle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.evaluation.dataset import Dataset
from kronos.evaluation.rolling_origins import EvaluationWindow, WindowRef, chunks_of, cut_points
from kronos.evaluation.tasks import Task
from kronos.io.run_folder import RunFolder
from kronos.schema import CLOSE, FEATURES, PRICE_COLUMNS, VOLUME

if TYPE_CHECKING:
    from kronos.evaluation.forecasters.models import PairForecaster

SYNTHETIC = "synthetic.parquet"
OWNS = ("parts/[0-9][0-9][0-9][0-9][0-9].parquet", SYNTHETIC, "judged.json", "report.html", "figures/*.png")
"""Files of a run, besides its settings; the last three are those of the task synthetic."""


@dataclass(frozen=True)
class Sequences:
    """Sequences of bars that follow lookbacks.

    Attributes:
        bars: [N, H, 6]; volume and amount zero where the source has none.
        before: the last bar of each lookback [N, 6].
        scale: mean absolute log return of each lookback [N].
        volume: mean volume of each lookback [N].
        start, end: times of the first and last bar [N]; frequency: [N].
    """

    bars: np.ndarray
    before: np.ndarray
    scale: np.ndarray
    volume: np.ndarray
    start: np.ndarray
    end: np.ndarray
    frequency: np.ndarray

    def __len__(self) -> int:
        return len(self.bars)

    def take(self, which: np.ndarray) -> Sequences:
        return Sequences(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def with_bars(self, bars: np.ndarray) -> Sequences:
        return Sequences(bars, self.before, self.scale, self.volume, self.start, self.end, self.frequency)

    def returns(self) -> np.ndarray:
        """Return log returns of close in units of the lookback's mean absolute return [N, H]."""
        close = np.concatenate((self.before[:, None, CLOSE], self.bars[..., CLOSE]), axis=1)
        return np.diff(np.log(np.maximum(close, 1e-12)), axis=1) / self.scale[:, None]

    def shapes(self) -> np.ndarray:
        """Return the shapes of candles [N, H, 5]: gap, body, upper and lower wick in units of ``scale``; log volume."""
        o, h, low, c = (np.log(np.maximum(self.bars[..., i], 1e-12)) for i in range(4))
        before = np.concatenate((np.log(np.maximum(self.before[:, 3:4], 1e-12)), c[:, :-1]), axis=1)
        shape = np.stack((o - before, c - o, h - np.maximum(o, c), np.minimum(o, c) - low), axis=-1)
        has = self.volume[:, None] > 0
        volume = np.where(has, np.log1p(self.bars[..., VOLUME] / np.where(has, self.volume[:, None], 1.0)), 0.0)
        return np.concatenate((np.clip(shape / self.scale[:, None, None], -20, 20), volume[..., None]), axis=-1).astype(
            np.float32
        )


def windows_for(dataset: Dataset, task: Task) -> list[WindowRef]:
    """Choose the task's number of windows, evenly spaced, overlapping only where the data are short.

    Raises:
        ValueError: no series has a frequency of the task and enough bars.
    """
    series = [s for s in dataset.series if task.lookback or s.frequency in task.windows]
    size = {s.id: task.window(s.frequency) for s in series}
    step = max((h for _, h in size.values()), default=1)
    points: list[tuple[int, int]] = []
    while True:
        points = [(i, seen) for i, s in enumerate(series) for seen in cut_points(len(s.bars), *size[s.id], step, None)]
        if len(points) >= task.sequences or step == 1:
            break
        step = max(1, step // 2)
    if not points:
        have = ", ".join(sorted({s.frequency for s in dataset.series}))
        raise KronosError(
            f"the task {task.name} takes {', '.join(task.windows)} bars, and no series of them is long enough (the data has "
            f"{have}); give ",
            Argument("lookback"),
            " and ",
            Argument("horizon"),
            " for other frequencies",
        )
    chosen = np.unique(np.linspace(0, len(points) - 1, min(task.sequences, len(points))).round().astype(int))
    refs = [WindowRef(series[i], seen, *size[series[i].id]) for i, seen in (points[k] for k in chosen)]
    return [ref for ref in refs if _has_returns(ref)]


def _has_returns(ref: WindowRef) -> bool:
    """Whether the close moves over the lookback, and all prices are positive."""
    prices = ref.series.bars.iloc[ref.seen - ref.lookback : ref.seen + ref.horizon]
    close = prices["close"].to_numpy(np.float64)[: ref.lookback]
    return bool(np.ptp(close) > 0 and (prices[list(PRICE_COLUMNS)] > 0).to_numpy().all())


def generate(
    dataset: Dataset,
    forecaster: PairForecaster,
    task: Task,
    out: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> tuple[list[EvaluationWindow], pd.DataFrame]:
    """Generate one sequence for each window into ``out``/synthetic.parquet; a stopped run is resumed.

    Returns:
        The windows, and the long table: symbol ("series@cutoff"), timestamps, the six features as drawn made into valid candles,
        and valid_as_drawn.

    Raises:
        ValueError: ``out`` holds other files, or a run of other settings and ``overwrite`` is not given.
    """
    from tqdm.auto import tqdm

    chunks = chunks_of(windows_for(dataset, task))
    folder = RunFolder(out, {
        "data": dataset.digest, "model": forecaster.fingerprint, "seed": seed, "task": task.kind, "sequences": task.sequences,
        "windows": {c[0].series.frequency: [c[0].lookback, c[0].horizon] for c in chunks},
    }, overwrite, OWNS)  # fmt: skip
    tables = []
    for number, chunk in enumerate(tqdm(chunks, desc="generating", unit="chunk", disable=not progress, leave=False)):
        part = f"parts/{number:05d}.parquet"
        if not folder.is_done(part):
            folder.write(part, _parquet(_drawn(forecaster, chunk, seed)))
        tables.append(pd.read_parquet(folder.path(part)))
    table = pd.concat(tables, ignore_index=True)
    folder.write(SYNTHETIC, _parquet(table))
    return [ref.origin() for chunk in chunks for ref in chunk], table


def _parquet(table: pd.DataFrame) -> bytes:
    return table.to_parquet(index=False, compression="zstd")


def _drawn(forecaster: PairForecaster, chunk: list[WindowRef], seed: int) -> pd.DataFrame:
    from kronos.forecast.forecast import valid_candles

    origins = [ref.origin() for ref in chunk]
    pasts = [origin.past for origin in origins]
    frames = forecaster.predictor.predict_batch(  # with one path, the mean is the path as it was drawn
        [p.bars for p in pasts],
        [p.times for p in pasts],
        [p.future for p in pasts],
        pasts[0].horizon,
        T=forecaster.sampling.temperature,
        top_p=forecaster.sampling.top_p,
        sample_count=1,
        verbose=False,
        seed=seed,
        anchor=forecaster.anchor,
    )
    parts = []
    for origin, frame in zip(origins, frames, strict=True):
        raw = frame.to_numpy(np.float64)
        candles = valid_candles(raw)
        part = pd.DataFrame(candles, columns=list(FEATURES))
        part.insert(0, "timestamps", pd.to_datetime(origin.times))
        part.insert(0, "symbol", f"{origin.past.id}@{origin.past.cutoff:%Y-%m-%dT%H:%M:%S}")
        prices, volumes = (raw[:, :4] == candles[:, :4]).all(1), (raw[:, 4:] >= 0).all(1)
        part["valid_as_drawn"] = prices & (volumes | ("volume" not in origin.past.bars))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def pairs(origins: Sequence[EvaluationWindow], table: pd.DataFrame) -> tuple[Sequences, Sequences]:
    """Return (real, synthetic) sequences from windows and the table that `generate` gave for them; one horizon only.

    Raises:
        ValueError: windows of several horizons.
    """
    horizons = {o.past.horizon for o in origins}
    if len(horizons) != 1:
        raise ValueError(f"sequences of one length are needed, found {sorted(horizons)}")
    horizon = horizons.pop()
    drawn = np.array(table[list(FEATURES)], dtype=np.float64).reshape(len(origins), horizon, 6)
    real = np.zeros_like(drawn)
    real[..., :4] = [o.truth for o in origins]
    before, volume = np.zeros((len(origins), 6)), np.zeros(len(origins))
    for i, origin in enumerate(origins):
        past = origin.past.bars
        before[i, :4] = past[list(PRICE_COLUMNS)].iloc[-1]
        if origin.volume is not None:
            real[i, :, VOLUME] = origin.volume
            volume[i] = float(past["volume"].mean())
        else:
            drawn[i, :, 4:] = 0
    scale = np.array([np.abs(o.past.returns).mean() for o in origins])
    start, end = (np.array([o.times[k] for o in origins], dtype="datetime64[ns]") for k in (0, -1))
    frequency = np.array([o.past.frequency for o in origins])
    known = Sequences(real, before, scale, volume, start, end, frequency)
    return known, known.with_bars(drawn)


def bar_bootstrap(origins: Sequence[EvaluationWindow], real: Sequences, seed: int) -> Sequences:
    """Generate control sequences: candles drawn with replacement from the lookback, one after the other.

    They have the lookback's candles without dependence in time, which is what a model adds.
    """
    rng = np.random.default_rng([seed, 7])
    bars = np.zeros_like(real.bars)
    for i, origin in enumerate(origins):
        past = origin.past.bars
        prices = np.log(past[list(PRICE_COLUMNS)].to_numpy(np.float64))
        relative = prices[1:] - prices[:-1, 3:]
        at = rng.integers(0, len(relative), real.bars.shape[1])
        level = np.log(real.before[i, 3]) + np.concatenate(([0.0], relative[at, 3].cumsum()[:-1]))
        bars[i, :, :4] = np.exp(level[:, None] + relative[at])
        if "volume" in past:
            bars[i, :, VOLUME] = past["volume"].to_numpy(np.float64)[1:][at]
    return real.with_bars(bars)
