"""Forecast every window with every model; a run can be resumed.

In a folder, each chunk of windows of each model is a file, written whole. A run that was stopped goes on with the missing chunks
and ends with the same table, byte for byte; a complete run computes nothing.
"""

from __future__ import annotations

import json
import logging
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from kronos.evaluation.dataset import Data, Dataset, read_series
from kronos.evaluation.forecasters import DEFAULT, Baseline
from kronos.evaluation.forecasters.models import Forecaster, as_prediction, forecasters_of
from kronos.evaluation.rolling_origins import Planned, WindowRef, chunks_of, plan_windows
from kronos.evaluation.table import SCHEMA, read_part, rows_of, write_combined
from kronos.evaluation.tasks import LEVELS, Task, task_of
from kronos.io.atomic import json_bytes, parquet_bytes
from kronos.io.extras import need
from kronos.io.run_folder import RunFolder
from kronos.number_checks import is_plain_whole

if TYPE_CHECKING:
    from kronos.evaluation.scores import Scores
    from kronos.predictor import Calibrating

FORECASTS, TIMES, PARTS = "forecasts.parquet", "seconds.json", "parts"
NUMBER = "[0-9]" * 5
OWNS = (
    *(f"{PARTS}/*/{name}" for name in (f"{NUMBER}.parquet", "model.json")),
    *(FORECASTS, TIMES, "leaderboard.csv", "groups.csv", "report.html", "figures/*.png"),
)
"""Files of an evaluation, besides its settings."""
log = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """Forecasts of all models on all windows, from which scores are computed.

    Attributes:
        forecasts: the long table (see `kronos.evaluation.table`).
        models: names, in order.
        task, seed: of the run.
        skipped: series and windows left out, with the reason.
        seconds: time of each model's forecasts, in this and earlier runs on the same folder.
        computed: chunks that this run forecast instead of finding them.
    """

    forecasts: pd.DataFrame
    models: list[str]
    task: Task
    seed: int
    skipped: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    computed: int = 0

    def scores(self, reference: str = "last", distribution_reference: str | None = None) -> Scores:
        """Compute the scores of every model, with intervals and tests against ``reference``."""
        from kronos.evaluation.scores import score

        return score(self.forecasts, reference=reference, distribution_reference=distribution_reference, seed=self.seed)


def cross_validation(
    data: Data | Dataset,
    models: Sequence[Any] | Mapping[str, Any],
    h: int,
    n_windows: int | None = 1,
    step_size: int | None = None,
    *,
    lookback: int,
    baselines: Sequence[str] = (),
    paths: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Forecast from rolling origins; return a long table with a column cutoff, as in Nixtla's tools.

    Args:
        data, models, baselines: as in `evaluate`.
        h: bars to forecast.
        step_size: bars between cutoffs; default h.
        n_windows: windows a series, counted from its end; None for all that fit.
        lookback: bars that the models see.

    Returns:
        The table of `kronos.evaluation.table`.
    """
    task = TASK_OF_CV.with_(lookback=lookback, horizon=h, step_size=step_size, n_windows=n_windows, paths=paths)
    return evaluate(data, models, task=task, baselines=baselines, seed=seed, progress=False).forecasts


TASK_OF_CV = Task("cross_validation", "forecast", anchor="level")


def evaluate(
    data: Data | Dataset,
    models: Sequence[Any] | Mapping[str, Any] = ("nano",),
    *,
    task: str | Task = "forecast",
    baselines: Sequence[str] = DEFAULT,
    out: str | Path | None = None,
    seed: int = 0,
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    tokenizer: str | None = None,
    device: str | None = None,
    calibration: Calibrating = None,
    covariates: pd.DataFrame | None = None,
) -> Evaluation:
    """Forecast the windows of every series with every model.

    Args:
        data: a path, a table or {name: table}; see `kronos.evaluation.dataset.read_series`.
        models: names (see `kronos.evaluation.forecasters.models.forecaster_of`), or objects or callables with the
            protocol, in a list or as {name: model}.
        task: a preset's name or a `Task`.
        baselines: names in `BASELINES`.
        out: a folder to keep the forecasts in, which makes the run resumable; None keeps them in memory alone.
        jobs: processes for the slow baselines.
        overwrite: begin anew in a folder that holds an evaluation; other files are never deleted.
        tokenizer, device: for Kronos pairs.
        calibration: None scores the paths as drawn; "auto" (the pair's own), a `kronos.calibration.Calibration` or its file
            scores each Kronos pair once more with calibrated paths, as "NAME calibrated".
        covariates: the table, indexed by time, of the columns that heads were trained with (`kronos.heads.covariates`).

    Raises:
        ValueError: data, models or settings that cannot work, or a folder made with other settings.
    """
    task = task_of(task)
    if task.kind in ("synthetic", "investment"):
        where = "kronos.evaluation.synthetic" if task.kind == "synthetic" else "kronos.backtest.investment"
        raise ValueError(f"the task {task.name} is no forecast of windows; it is run by {where}")
    if not is_plain_whole(seed, 0, 2**32 - 1):
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1, found {seed!r}")
    need("scipy statsmodels", "evaluate", "an evaluation")
    dataset = read_series(data)
    pair = {"tokenizer": tokenizer, "device": device, "covariates": covariates}
    forecasters = forecasters_of(models, baselines, task, calibration, **pair)
    windows = {one.frequency: task.window(one.frequency) for one in dataset.series}
    planned = plan_windows(dataset.series, windows, task.step_size, task.n_windows)
    if not planned.refs:
        reason = planned.short[0] if planned.short else "no lookback has any movement"
        raise ValueError(f"no series is long enough for a window: {reason}")
    chunks = chunks_of(planned.refs)
    settings = {"settings": _settings(dataset, task, seed, windows)}
    store = None if out is None else _Forecasts(RunFolder(out, settings, overwrite, OWNS))
    result = Evaluation(pd.DataFrame(), [f.name for f in forecasters], task, seed, _left_out(dataset, planned))
    tables: list[pa.Table] = []
    with _workers(forecasters, jobs), _bar(len(chunks) * len(forecasters), progress) as bar:
        for forecaster in forecasters:
            if store is not None:
                store.begin(forecaster)
            bar.set_description(forecaster.name)
            for number, chunk in enumerate(chunks):
                table = _chunk(forecaster, number, chunk, task.paths, seed, store, result)
                if store is None:
                    tables.append(table)
                bar.update(1)
    if store is None:
        result.forecasts = pa.concat_tables(tables, promote_options="none").unify_dictionaries().to_pandas()
    else:
        parts = [store.part(f.name, number) for f in forecasters for number in range(len(chunks))]
        combined = store.folder.path(FORECASTS)
        write_combined(map(store.folder.path, parts), combined)
        result.forecasts = read_part(combined).to_pandas()
        result.seconds = store.seconds
    return result


def _chunk(
    forecaster: Forecaster,
    number: int,
    chunk: list[WindowRef],
    paths: int,
    seed: int,
    store: _Forecasts | None,
    result: Evaluation,
) -> pa.Table | None:
    """Forecast one chunk, unless it is in the folder already."""
    if store is not None and store.folder.is_done(store.part(forecaster.name, number)):
        return None
    clock = time.perf_counter()
    origins = [ref.origin() for ref in chunk]
    pasts = [origin.past for origin in origins]
    horizon = pasts[0].horizon
    answer = forecaster.forecast(pasts, horizon, paths, seed)
    prediction = as_prediction(answer, len(pasts), horizon, forecaster.name)
    table = rows_of(forecaster.name, origins, prediction, seed)
    seconds = time.perf_counter() - clock
    result.computed += 1
    if store is None:
        result.seconds[forecaster.name] = result.seconds.get(forecaster.name, 0.0) + seconds
    else:
        store.write(forecaster.name, number, table, seconds)
    return table


def _left_out(dataset: Dataset, planned: Planned) -> list[tuple[str, str]]:
    skipped = list(dataset.skipped)
    skipped += [(text.partition(": ")[0], text.partition(": ")[2]) for text in planned.short]
    if planned.still:
        skipped.append((f"{planned.still} windows", "the close does not move over the lookback"))
    return skipped


def _settings(dataset: Dataset, task: Task, seed: int, windows: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return all that the forecasts depend on, besides the models."""
    asked = asdict(task)
    for unused in ("name", "kind", "sequences", "investment", "windows", "lookback", "horizon"):
        del asked[unused]
    return {"data": dataset.digest, **asked, "windows": windows, "seed": seed, "levels": LEVELS, "schema": SCHEMA.names}


class _Forecasts:
    """Parts of forecasts by model in the folder of a run, and the seconds that they took."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = json.loads(folder.read(TIMES) or "{}")

    def _of(self, model: str) -> str:
        """Return a unique folder name for a model, whatever characters its name has."""
        plain = re.sub(r"[^\w.-]", "_", model).strip(".")[:60] or "model"
        return f"{PARTS}/{plain if plain == model else f'{plain}-{zlib.crc32(model.encode()):08x}'}"

    def part(self, model: str, number: int) -> str:
        """Return the file name of a model's chunk."""
        return f"{self._of(model)}/{number:05d}.parquet"

    def begin(self, forecaster: Forecaster) -> None:
        """Delete the parts that another model of the same name has written."""
        record = f"{self._of(forecaster.name)}/model.json"
        now = json_bytes({"name": forecaster.name, "fingerprint": str(getattr(forecaster, "fingerprint", ""))})
        before = self.folder.read(record)
        if before is not None and json.loads(before) != json.loads(now):
            log.warning("%s is not the model that earlier forecasts came from; they are made anew", forecaster.name)
            self.folder.clear(f"{self._of(forecaster.name)}/{NUMBER}.parquet")
            self.seconds.pop(forecaster.name, None)
        self.folder.write(record, now)

    def write(self, model: str, number: int, table: pa.Table, seconds: float) -> None:
        """Write a part, and add its seconds to those of the model."""
        self.folder.write(self.part(model, number), parquet_bytes(table))
        self.seconds[model] = round(self.seconds.get(model, 0.0) + seconds, 2)
        self.folder.write(TIMES, json_bytes(self.seconds))


@contextmanager
def _workers(forecasters: Sequence[Forecaster], jobs: int) -> Iterator[None]:
    """Run processes for the slow baselines; spawned, since a fork would copy PyTorch's threads in a bad state."""
    slow = [f for f in forecasters if isinstance(f, Baseline)]
    if jobs < 2 or not slow:
        yield
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
        for one in slow:
            one.pool = pool
        try:
            yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            for one in slow:
                one.pool = None


def _quiet_worker() -> None:
    """Set up a worker process: one thread, and Ctrl-C left to the parent."""
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="chunk", disable=not shown, leave=False) as bar:
        yield bar
