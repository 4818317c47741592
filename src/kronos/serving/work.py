"""From a table of bars and options to a job for the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.calendars import future_timestamps
from kronos.forecast.price_limits import PriceLimit, limited_paths, series_limit
from kronos.klines.notes import future_notes, notes_of, volume_unit
from kronos.klines.window import cut_window
from kronos.schema import FEATURES
from kronos.serving.batching import Job
from kronos.serving.config import Limits
from kronos.serving.inputs import CALENDARS
from kronos.serving.problems import Problem
from kronos.serving.schemas import RequestOptions

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor


@dataclass(frozen=True)
class LoadedModel:
    """A model that the service has in memory."""

    name: str
    predictor: KronosPredictor


@dataclass(frozen=True)
class Work:
    """One series on its way: the window, the truth where some of it was hidden, and the engine's job."""

    id: str
    offered: LoadedModel
    past: pd.DataFrame
    future: pd.DatetimeIndex
    truth: pd.DataFrame | None
    notes: tuple[str, ...]
    job: Job
    limit: PriceLimit | None = None

    def paths(self) -> np.ndarray:
        """The forecast, float32 [P, H, 6], once the engine is done."""
        return self.within_limit(self.job.future.result())

    def bars_since(self, first: int) -> np.ndarray:
        """Bars [P, K, 6] that were drawn so far, from the step ``first``."""
        drawn = list(self.job.bars)
        if self.limit is None or len(drawn) <= first:
            return np.stack(drawn[first:], axis=1) if drawn[first:] else np.empty((self.job.paths, 0, 6))
        return self.within_limit(np.stack(drawn, axis=1))[:, first:]

    def within_limit(self, paths: np.ndarray) -> np.ndarray:
        """The first steps of the forecast, [P, K, 6], kept within the daily price limit where one was asked for."""
        if self.limit is None:
            return paths
        return limited_paths(paths, self.future[: paths.shape[1]], self.past.set_index("timestamps"), self.limit)[0]

    @property
    def calibration(self) -> str | None:
        """By what the paths are calibrated, in a few words; None where they are as drawn."""
        how = self.offered.predictor.calibration_of("auto" if self.job.calibrated else None, self.job.sampling)
        return None if how is None else how.name


def chosen_model(offered: Mapping[str, LoadedModel], name: str | None) -> LoadedModel:
    """The model of a request; the first where it names none."""
    if name is None:
        return next(iter(offered.values()))
    if name not in offered:
        raise Problem(422, f"no model {name[:40]!r} here; this service has {', '.join(offered)}", "unknown-model")
    return offered[name]


def check_limits(options: RequestOptions, horizons: list[int], limits: Limits) -> None:
    """What a request may ask for, over all its series."""
    asked: dict[str, float] = {"horizon": max(horizons), "paths": options.paths, "lookback": options.lookback or 1}
    asked |= {"holdout": options.holdout, "timeout": options.timeout or 0}
    for name, value in asked.items():
        most = limits.horizon if name == "holdout" else getattr(limits, name)
        if value > most:
            raise Problem(
                422, f"{name} is {value:g}; at most {most:g} is allowed here", "beyond-limits", {"member": name}
            )
    bars = sum(horizons) * options.paths
    if bars > limits.work:
        raise Problem(
            422,
            f"{options.paths} paths of {sum(horizons)} bars are {bars:,} bars to generate; at most {limits.work:,} are allowed in "
            "one request: ask for fewer paths, bars or series",
            "beyond-limits",
            {"member": "paths"},
        )


def deadline_of(options: RequestOptions, limits: Limits, began: float | None = None) -> float:
    return (time.monotonic() if began is None else began) + (options.timeout or limits.timeout)


def work_of(bars: pd.DataFrame, options: RequestOptions, id: str, offered: LoadedModel, deadline: float) -> Work:
    """Cut the window, find the times to forecast, and normalise.

    Raises:
        ValueError: of the library, with its reason.
    """
    horizon, held = options.horizon, options.holdout
    context = offered.predictor.trained_context
    past, future, truth = cut_window(
        bars, horizon, context, options.lookback, held, options.calendar, future_times=_future_times
    )
    sampling = offered.predictor.sampling.with_(options.temperature, options.top_k, options.top_p)
    limit = series_limit(options.price_limit, id, past, future)
    values = past[[name for name in FEATURES if name in past.columns]]
    series = offered.predictor.prepare(values, past["timestamps"], future)
    how = offered.predictor.calibration_of("auto" if options.calibration == "auto" else None, sampling)
    job = Job(offered.name, series, horizon, options.paths, options.seed, sampling, deadline, how is not None)
    notes = tuple(str(bars.attrs[name]) for name in ("cleaning", "validation") if name in bars.attrs)
    notes += (
        *series.doubts_of_prices().values(),
        *notes_of(bars),
        *(() if held else future_notes(bars["timestamps"], future, options.calendar)),
    )
    if limit is not None:
        notes += (f"prices are kept within the daily limit of {limit.name}; {volume_unit(bars)}",)
    return Work(id, offered, past, future, truth, notes, job, limit)


def _future_times(times: pd.Series, horizon: int, calendar: str | None) -> pd.DatetimeIndex:
    """`future_timestamps`; exchange calendars one at a time."""
    if calendar is None:
        return future_timestamps(times, horizon)
    with CALENDARS:
        return future_timestamps(times, horizon, calendar)
