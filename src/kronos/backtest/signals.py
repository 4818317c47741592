"""Signals from forecasts, one for every day and symbol, to rank instruments by expected return.

Signals by name, all from the mean of the sampled paths of close, anchored to the last close:

- ``return``: close at the horizon over the last close, less one. Comparable between instruments.
- ``last``, ``mean``, ``max``, ``min``: close at the last step of the horizon, and its mean, highest and lowest over the horizon,
  less the last close, in standard deviations of the instrument's own lookback (as the reference ranks by).

Legend: W windows, P paths, H horizon.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from kronos.backtest.panel import Chunk, Panel
from kronos.errors import Argument, KronosError
from kronos.forecast.anchoring import above_zero
from kronos.io.run_folder import RunFolder
from kronos.schema import CLOSE

if TYPE_CHECKING:
    from kronos.generation.paths import Drawn
    from kronos.predictor import KronosPredictor

SIGNALS = ("return", "last", "mean", "max", "min")
CPU_MEMORY = 2**27
"""Bytes of a batch on a CPU: short windows are a fifth faster in batches that fit the processor's caches better."""
TABLE, PREDICTIONS, RECORD, PARTS = "signals.parquet", "predictions.pkl", "signals.json", "signals.parts"
PART = f"{PARTS}/[0-9]*.parquet"
OWNS = (PART, TABLE, PREDICTIONS)
"""Files of a run, besides its settings."""


@dataclass(frozen=True)
class SignalSettings:
    """Settings of the forecasts that signals are made from.

    Attributes:
        lookback, horizon: bars.
        paths: paths of a window, which are averaged.
        temperature, top_k, top_p: as in `Sampling`; None takes the model's own, top_k 0 is off.
        seed: a symbol's forecast on a day depends on it and on its bars, not on what else is forecast.
        batch: windows that are forecast, and saved, together (at least a day).
        anchor: "level" measures from the tokenizer's reconstruction of the last close, None from the last close itself.
    """

    lookback: int = 90
    horizon: int = 10
    paths: int = 5
    temperature: float | None = None
    top_k: int = 0
    top_p: float | None = None
    seed: int = 100
    batch: int = 1000
    anchor: Literal["level"] | None = "level"

    def __post_init__(self) -> None:
        for name, least in (("lookback", 2), ("horizon", 1), ("paths", 1), ("batch", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)!r}")
        if self.anchor not in ("level", None):
            raise ValueError(f"anchor must be 'level' or None, found {self.anchor!r}")


def signals_of(chunk: Chunk, drawn: list[Drawn], anchor: str | None = "level") -> dict[str, np.ndarray]:
    """Compute the signals [W] of forecasts, by name. Prices of ``return`` are kept above zero where those of the lookback are."""
    close_WPH = np.stack([one.paths[..., CLOSE] for one in drawn])
    start_W = chunk.last_z if anchor is None else np.array([one.last[CLOSE] for one in drawn])
    rise_WH = close_WPH.mean(axis=1) - start_W[:, None]  # the level anchor moves paths by last - reconstruction
    last_W1 = chunk.last[:, None]
    end_WP = last_W1 + (close_WPH[..., -1] - start_W[:, None]).astype(np.float64) * chunk.std[:, None]
    end_WP = np.where(chunk.positive[:, None], above_zero(end_WP, last_W1), end_WP)
    return {
        "return": end_WP.mean(axis=1) / chunk.last - 1,
        "last": rise_WH[:, -1],
        "mean": rise_WH.mean(axis=1),
        "max": rise_WH.max(axis=1),
        "min": rise_WH.min(axis=1),
    }


def generate_signals(
    panel: Panel,
    predictor: KronosPredictor,
    settings: SignalSettings,
    folder: Path,
    overwrite: bool = False,
    verbose: bool = True,
    shared: Sequence[str] = (),
) -> pd.DataFrame:
    """Forecast all windows of a panel and write their signals to a folder; a stopped run is resumed.

    It writes ``signals.parquet`` (datetime, instrument, a column for each signal), ``predictions.pkl`` (a dict of signal ->
    table of day x instrument, as existing scripts load it) and ``signals.json`` (their settings).

    Args:
        overwrite: forecast anew where the folder has signals; other files are never deleted.
        shared: names of files that other steps keep in the folder.

    Raises:
        ValueError: the folder holds other files, or signals made with other settings, bars or weights, and ``overwrite`` is not
            given.
    """
    from tqdm.auto import tqdm

    chunks = panel.chunks(settings.batch)
    run = RunFolder(folder, record_of(panel, predictor, settings), overwrite, OWNS, shared=shared, record=RECORD)
    if run.is_done(TABLE) and run.is_done(PREDICTIONS):
        run.clear(PART)
        return pd.read_parquet(run.path(TABLE))
    parts = [f"{PARTS}/{number:06d}.parquet" for number in range(len(chunks))]
    with tqdm(total=len(panel.ends), desc="forecasting", unit="window", disable=not verbose) as bar:
        for ends, part in zip(chunks, parts, strict=True):
            if not run.is_done(part):
                done = forecast_chunk(panel.take(ends, predictor.clip), predictor, settings)
                run.write(part, done.to_parquet(index=False))
            bar.update(len(ends))
    table = pd.concat([pd.read_parquet(run.path(part)) for part in parts], ignore_index=True)
    run.write(PREDICTIONS, as_predictions(table))
    run.write(TABLE, table.to_parquet(index=False))
    run.clear(PART)
    return table


def forecast_chunk(chunk: Chunk, predictor: KronosPredictor, settings: SignalSettings) -> pd.DataFrame:
    """Forecast some days; return their signals: datetime, instrument, a column for each signal."""
    from kronos.generation.paths import sample_paths

    sampling = predictor.sampling.with_(settings.temperature, settings.top_k, settings.top_p)
    drawn = sample_paths(
        predictor.tokenizer,
        predictor.model,
        chunk.windows,
        settings.paths,
        predictor.max_context,
        sampling,
        settings.seed,
        sliding="exact" if sampling.greedy else "strided",
        memory=CPU_MEMORY if predictor.memory is None and str(predictor.device) == "cpu" else predictor.memory,
        precision=predictor.precision,
    )
    values = {name: value.astype(np.float32) for name, value in signals_of(chunk, drawn, settings.anchor).items()}
    return pd.DataFrame({"datetime": chunk.day, "instrument": chunk.symbol.astype(str), **values})


def record_of(panel: Panel, predictor: KronosPredictor, settings: SignalSettings) -> dict[str, Any]:
    """Return the record of all that signals depend on: settings, bars and weights."""
    sampling = predictor.sampling.with_(settings.temperature, settings.top_k, settings.top_p)
    weights = hashlib.blake2b(digest_size=16)
    for network in (predictor.tokenizer, predictor.model):
        for name, tensor in network.state_dict().items():
            weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "settings": {**asdict(settings), **asdict(sampling)},
        "max_context": predictor.max_context,
        "clip": predictor.clip,
        "precision": predictor.precision,
        "weights": weights.hexdigest(),
        "bars": panel.digest(),
        "windows": len(panel.ends),
    }


def as_predictions(table: pd.DataFrame) -> bytes:
    """Pickle a dict of signal -> DataFrame of day x instrument, for existing scripts."""
    frames = {}
    for name in signal_columns(table):
        wide = table.pivot(index="datetime", columns="instrument", values=name).sort_index()
        wide.columns = pd.Index(list(wide.columns), dtype=object, name="instrument")
        frames[name] = wide
    return pickle.dumps(frames, protocol=4)


def signal_columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if name not in ("datetime", "instrument")]


def read_signals(path: Path) -> pd.DataFrame:
    """Read a user's signals: Parquet with datetime, instrument and a column of numbers for each signal.

    Raises:
        ValueError: the file is no such table, or has a day and instrument twice.
    """
    if not path.is_file():
        raise KronosError(Argument("signals", str(path)), ": no such file")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise KronosError(
            Argument("signals", str(path)), f" is no Parquet table: {str(error).splitlines()[0]}"
        ) from error
    if not {"datetime", "instrument"} <= set(table.columns):
        table = table.reset_index()
    missing = [name for name in ("datetime", "instrument") if name not in table.columns]
    names = [name for name in signal_columns(table) if pd.api.types.is_numeric_dtype(table[name])]
    if missing or not names:
        raise KronosError(
            Argument("signals", str(path)),
            f" needs the columns datetime, instrument and one of numbers a signal; it has "
            f"{', '.join(map(str, table.columns))}",
        )
    table = table[["datetime", "instrument", *names]].copy()
    try:
        table["datetime"] = pd.to_datetime(table["datetime"], format="mixed").dt.tz_localize(None)
    except (TypeError, ValueError) as error:
        raise KronosError(
            Argument("signals", str(path)), f": column datetime cannot be read: {str(error).splitlines()[0]}"
        ) from error
    table["instrument"] = table["instrument"].astype(str)
    twice = table.duplicated(["datetime", "instrument"])
    if twice.any():
        row = table[twice].iloc[0]
        raise KronosError(
            Argument("signals", str(path)), f" has {row['instrument']} on {row['datetime'].date()} more than once"
        )
    return table.replace([np.inf, -np.inf], np.nan)
