"""`audit`: all leak checks that a model and data allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError, Message
from kronos.evaluation.dataset import Data, Dataset, Series, read_series
from kronos.evaluation.forecasters.models import (
    Forecaster,
    PairForecaster,
    as_forecaster,
    forecaster_of,
    with_calibration,
)
from kronos.evaluation.leakage.causality import check_forecasts, check_networks, check_scale
from kronos.evaluation.leakage.findings import AuditReport, Finding
from kronos.evaluation.leakage.provenance import check_calibration, check_provenance
from kronos.evaluation.leakage.splits import check_splits, windows_table
from kronos.evaluation.rolling_origins import cut_points
from kronos.evaluation.tasks import Task, task_of
from kronos.predictor import Calibrating

PROBES = 8
"""Windows that are perturbed; few are enough, since a network that is not causal is so in every window."""


def audit(
    model: str | Forecaster | Callable[[Sequence[Series]], Forecaster],
    data: Data | Dataset,
    *,
    train: Data | Dataset | pd.DataFrame | None = None,
    valid: Data | Dataset | pd.DataFrame | None = None,
    task: str | Task = "forecast",
    scale: Callable[[pd.DataFrame, int], Any] | None = None,
    tokenizer: str | None = None,
    device: str | None = None,
    calibration: Calibrating = "auto",
    probes: int = PROBES,
    seed: int = 0,
) -> AuditReport:
    """Run all leak checks that the arguments allow.

    Args:
        model: a name as for `kronos evaluate`, an object with the protocol, or a function that builds one from series (so that
            the checks include what it learns of the data before its windows).
        data: test data.
        train, valid: training and validation data: K-lines as in `read_series`, or a table of windows (id, first, last).
        task: gives the lookbacks and horizons of the windows.
        scale: a pipeline's normalisation, ``scale(bars, seen)`` -> constants (see `check_scale`).
        calibration: of a Kronos pair's paths, as in `kronos.evaluation.evaluate`; the calibrated forecasts and the span that it
            was fitted on are checked too.
        probes: windows to perturb.

    Raises:
        ValueError: data or model that cannot be used.
    """
    task = task_of(task)
    dataset = read_series(data)
    series, points, lookback, horizon = _probes(dataset, task, probes)
    findings: list[Finding] = []
    build: Any = model
    if isinstance(model, str):
        build = forecaster_of(model, task, tokenizer=tokenizer, device=device)
    elif isinstance(model, Forecaster) or not callable(model):
        build = as_forecaster(getattr(model, "name", "model"), model)
    if isinstance(build, PairForecaster):
        pair = build.predictor
        window_bars = min(lookback, max(2, pair.max_context - horizon))
        findings += check_networks(pair.tokenizer, pair.model, series, points, window_bars, horizon)
    if scale is not None:
        findings.append(check_scale(scale, series, points))
    findings.append(check_forecasts(build, series, points, lookback, horizon, seed))
    test = windows_of(dataset, task)
    first, last = test["first"].min(), test["last"].max()
    made = with_calibration(build, calibration) if isinstance(build, PairForecaster) else None
    if made is not None:
        calibrated = check_forecasts(made, series, points, lookback, horizon, seed)
        findings.append(replace(calibrated, check="calibrated forecasts"))
        findings.append(check_calibration(made.calibration, first, last))  # type: ignore[arg-type]
    if train is not None:
        splits = {
            "train": _windows(train, task),
            **({"valid": _windows(valid, task)} if valid is not None else {}),
            "test": test,
        }
        findings += check_splits(splits)
    else:
        findings.append(
            Finding(
                "splits",
                "unknown",
                Message("no training data was given to compare the test with (", Argument("train"), ")"),
            )
        )
    if isinstance(model, str) and isinstance(build, PairForecaster):
        findings += check_provenance(model, first, last, dataset.digest)
    return AuditReport(findings)


TOO_SHORT = (
    "no series is long enough for one window of the task; give ",
    Argument("lookback"),
    " and ",
    Argument("horizon"),
)


def _probes(dataset: Dataset, task: Task, count: int) -> tuple[list[Series], list[int], int, int]:
    """Choose series and cutoffs spread over the data, of the frequency that most series have."""
    by_frequency: dict[str, list[Series]] = {}
    for one in dataset.series:
        by_frequency.setdefault(one.frequency, []).append(one)
    for frequency in sorted(by_frequency, key=lambda f: -len(by_frequency[f])):
        lookback, horizon = task.window(frequency)
        long = [s for s in by_frequency[frequency] if len(s.bars) >= lookback + horizon]
        if long:
            break
    else:
        raise KronosError(*TOO_SHORT)
    chosen = [long[int(i)] for i in np.linspace(0, len(long) - 1, count).round()]
    shares = np.linspace(0, 1, count)
    points = [
        int(lookback + share * (len(s.bars) - lookback - horizon)) for s, share in zip(chosen, shares, strict=True)
    ]
    return chosen, points, lookback, horizon


def windows_of(dataset: Dataset, task: Task) -> pd.DataFrame:
    """Return every window of an evaluation as a table; id is the symbol, so that files with other names can be compared.

    Raises:
        ValueError: every series is too short for a window.
    """
    ids, first, last = [], [], []
    for one in dataset.series:
        lookback, horizon = task.window(one.frequency)
        times = one.bars["timestamps"].to_numpy()
        for seen in cut_points(len(times), lookback, horizon, task.step_size or horizon, task.n_windows):
            ids.append(f"{one.symbol} {one.frequency}")
            first.append(times[seen - lookback])
            last.append(times[seen + horizon - 1])
    if not ids:
        raise KronosError(*TOO_SHORT)
    return windows_table(ids, first, last)


def _windows(data: Data | Dataset | pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return the windows of a split: a given table, or for K-lines the whole span of each series."""
    if isinstance(data, pd.DataFrame) and {"id", "first", "last"} <= set(data.columns):
        return data
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() == ".csv":
        head = pd.read_csv(data, nrows=1)
        if {"id", "first", "last"} <= set(head.columns):
            return pd.read_csv(data)
    dataset = read_series(data)
    return windows_table(
        [f"{s.symbol} {s.frequency}" for s in dataset.series],
        [s.bars["timestamps"].iloc[0] for s in dataset.series],
        [s.bars["timestamps"].iloc[-1] for s in dataset.series],
    )
