"""What assistants can ask for over the Model Context Protocol: four tools, over files of one folder and over bars that are given.

Plain functions from checked arguments to JSON, under the limits of the service; `kronos.serving.mcp_server` makes tools of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.calendars import describe_calendar
from kronos.klines import KlineError, validate
from kronos.klines.formats import is_table
from kronos.klines.notes import notes_of
from kronos.klines.read_options import ReadOptions
from kronos.serving.config import Limits
from kronos.serving.inputs import CALENDARS, from_file, from_json
from kronos.serving.problems import Problem, faults_of, late, unfit
from kronos.serving.responses import DISCLAIMER, answer, check_levels
from kronos.serving.schemas import Bar, Columns, RequestOptions
from kronos.serving.work import LoadedModel, check_limits, chosen_model, deadline_of, work_of

if TYPE_CHECKING:
    from kronos.evaluation.prediction import Prediction
    from kronos.evaluation.rolling_origins import Past

MOST_FILES = 200
"""Files of the folder that are listed."""
MOST_WINDOWS = 200
TOGETHER = 8
"""Windows of an evaluation that are forecast at once; the time that is left is looked at in between."""

Stop = Callable[[], None]
"""Called again and again while a tool works; what it raises ends the work."""


@dataclass(frozen=True)
class BarSource:
    """Where the bars are: a file of the folder, or the bars themselves; and how a file is to be read."""

    file: str | None = None
    bars: Columns | list[Bar] | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Tools:
    """The tools over some models and a folder.

    Attributes:
        offered: models by name; the first is the default. folder: the only one that files are read from; None: none are.
        limits: of what one call may ask for.
    """

    offered: Mapping[str, LoadedModel]
    folder: Path | None
    limits: Limits = field(default_factory=Limits)

    def models(self) -> dict[str, Any]:
        """The models, what they see at most, and what a call may ask for."""
        rows = [
            {
                "name": one.name,
                "context": one.predictor.max_context,
                "most_bars_together": one.predictor.trained_context,
                "calibrated": one.predictor.calibration is not None,
            }
            for one in self.offered.values()
        ]
        limits = self.limits
        most = {name: getattr(limits, name) for name in ("rows", "horizon", "lookback", "paths", "work", "timeout")}
        return {"models": rows, "default": rows[0]["name"], "limits": most | {"windows": MOST_WINDOWS}}

    def check(self, source: BarSource) -> dict[str, Any]:
        """The files there are; or of one, or of bars: span, rhythm and every fault with its rows."""
        if source.file is None and source.bars is None:
            return {"files": self._files()}
        try:
            frame = self._frame(source)
        except Problem as problem:
            if problem.code not in ("faulty-bars", "unfit"):
                raise
            return {"ok": False, "detail": problem.detail, "faults": problem.more.get("faults", [])}
        times = frame["timestamps"]
        try:
            with CALENDARS:
                rhythm: str | None = describe_calendar(times)
        except ValueError:
            rhythm = None
        return {
            "ok": True,
            "rows": len(frame),
            "columns": list(frame.columns),
            "first": times.iloc[0].isoformat(),
            "last": times.iloc[-1].isoformat(),
            "rhythm": rhythm,
            "faults": faults_of(validate(frame)),
            "notes": [str(note) for note in notes_of(frame)],
        }

    def forecast(self, source: BarSource, options: RequestOptions, stop: Stop = lambda: None) -> dict[str, Any]:
        """A forecast as the service gives it (docs/service.md)."""
        began = time.monotonic()
        check_limits(options, [options.horizon], self.limits)
        offered = chosen_model(self.offered, options.model)
        try:
            check_levels(options.quantiles)
            frame = self._frame(source)
            work = work_of(frame, options, _name(source, frame), offered, deadline_of(options, self.limits, began))
        except ValueError as error:
            raise unfit(error) from error
        job = work.job

        def watch(done: int, steps: int) -> None:
            stop()
            if time.monotonic() > job.deadline:
                raise late()

        (paths,) = offered.predictor.sample_prepared([job.series], job.sampling, job.paths, [job.seed], progress=watch)
        found = answer(work, paths, options)
        return {name: value for name, value in found.items() if name not in ("waited", "batch", "samples")}

    def evaluate(
        self, source: BarSource, options: RequestOptions, windows: int, stop: Stop = lambda: None
    ) -> dict[str, Any]:
        """How forecasts of the last windows of the past did, beside the last price and a bootstrapped random walk."""
        from kronos.evaluation.dataset import read_series
        from kronos.evaluation.report.sentences import headline
        from kronos.evaluation.report.write import facts
        from kronos.evaluation.run import evaluate as run
        from kronos.evaluation.tasks import Task

        deadline = deadline_of(options, self.limits)
        if windows > MOST_WINDOWS:
            raise Problem(422, f"windows is {windows}; at most {MOST_WINDOWS} are allowed here", "beyond-limits")
        check_limits(options, [options.horizon] * windows, replace(self.limits, series=MOST_WINDOWS))
        offered = chosen_model(self.offered, options.model)
        try:
            frame = self._frame(source)
            name = _name(source, frame)
            context = offered.predictor.trained_context
            lookback = options.lookback or max(2, min(400, context - options.horizon))
            task = Task(
                "evaluate", "forecast", anchor="level", lookback=lookback, horizon=options.horizon, paths=options.paths,
                n_windows=windows, temperature=options.temperature, top_p=options.top_p,
            )  # fmt: skip
            timed = _Timed(offered, options, deadline, stop)
            result = run(
                read_series({name: frame}), {offered.name: timed}, task=task, baselines=("last", "bootstrap"),
                seed=options.seed % 2**32, progress=False,
            )  # fmt: skip
            scores = result.scores("last", "bootstrap")
        except ValueError as error:
            raise unfit(error) from error
        board = scores.leaderboard.set_index("model").loc[offered.name]
        figures = {
            "error_over_last_price": board["relative_mase"],
            "error_interval_95": [board["relative_mase_low"], board["relative_mase_high"]],
            "crps_over_random_walk": board["relative_crps"],
            "crps_interval_95": [board["relative_crps_low"], board["relative_crps_high"]],
            "inside_80_percent_interval": board["covered"],
            "direction_right": board["direction"],
        }
        return {
            "id": name,
            "model": offered.name,
            "windows": len(scores.losses) // len(scores.leaderboard),
            "what": facts(result, scores),
            **{key: _finite(value) for key, value in figures.items()},
            "verdict": headline(scores, [offered.name]),
            "advice": DISCLAIMER,
        }

    def _frame(self, source: BarSource) -> pd.DataFrame:
        """The table of one call.

        Raises:
            Problem: none or both are given, the file is not of the folder, or there are faults.
        """
        if (source.file is None) == (source.bars is None):
            raise Problem(422, "give file, the name of a file of the folder, or bars, and not both", "unfit")
        try:
            if source.file is not None:
                path = self._path(source.file)
                size = path.stat().st_size
                if size > self.limits.body:
                    raise Problem(
                        413,
                        f"{source.file} has {size / 2**20:.1f} MiB; {self.limits.body / 2**20:.0f} MiB are allowed",
                        "too-large",
                    )
                return from_file(path.read_bytes(), path.name, self.limits, source.reading)
            assert source.bars is not None
            return from_json(source.bars, source.reading.tz, source.reading.clean, self.limits)
        except KlineError as error:
            raise unfit(error) from error
        except OSError as error:
            raise Problem(422, f"{source.file} cannot be read: {error.strerror}", "unfit") from error

    def _path(self, name: str) -> Path:
        """A file of the folder; a name that leads out of it, also by a link, is refused."""
        if self.folder is None:
            raise Problem(422, "no folder was named when the server was started: give bars", "no-file")
        root = self.folder.resolve()
        path = (root / name).resolve()
        if path == root or not path.is_relative_to(root):
            raise Problem(422, f"{name!r} does not lie in the folder of this server", "no-file")
        if not path.is_file():
            known = self._files()
            there = f"it has {', '.join(known[:5])}" + (", ..." if len(known) > 5 else "") if known else "it is empty"
            raise Problem(422, f"no file {name!r} in the folder: {there}", "no-file")
        return path

    def _files(self) -> list[str]:
        """Tables in the folder and the folders in it, by their names from there."""
        if self.folder is None:
            return []
        root, found = self.folder.resolve(), []
        for place, folders, files in os.walk(root):
            folders.sort()
            found += [
                (Path(place) / name).relative_to(root).as_posix()
                for name in sorted(files)
                if not name.startswith(".") and is_table(Path(name))
            ]
            if len(found) >= MOST_FILES:
                break
        return found[:MOST_FILES]


@dataclass
class _Timed:
    """A model for `kronos.evaluation` that draws as a forecast does, and looks at the clock."""

    offered: LoadedModel
    options: RequestOptions
    deadline: float
    stop: Stop

    @property
    def name(self) -> str:
        return self.offered.name

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        from kronos.evaluation.prediction import Prediction

        drawn = []
        for first in range(0, len(windows), TOGETHER):
            self.stop()
            if time.monotonic() > self.deadline:
                raise late()
            some = windows[first : first + TOGETHER]
            drawn.append(
                self.offered.predictor.predict_samples(
                    [one.bars for one in some],
                    [one.times for one in some],
                    [one.future for one in some],
                    horizon,
                    T=self.options.temperature,
                    top_k=self.options.top_k or None,
                    top_p=self.options.top_p,
                    sample_count=paths,
                    seed=seed,
                    verbose=False,
                )
            )
        return Prediction.of_paths(np.concatenate(drawn))


class Places:
    """Counts calls that work or wait; one more than allowed is refused. One works at a time."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)
        self._turn = threading.Lock()

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Problem(503, "the server has as many calls as it can take; try again later", "queue-full")
        self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()
        self._free.release()


def _name(source: BarSource, frame: pd.DataFrame) -> str:
    if "symbol" in frame.attrs:
        return str(frame.attrs["symbol"])
    return "bars" if source.file is None else Path(source.file).name.split(".")[0]


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return round(float(value), 4) if np.isfinite(value) else None
