"""The paper's investment simulation, its fifth task, for a model without fine-tuning, on any Qlib data (arXiv 2508.02739)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.evaluation.tasks import Task
from kronos.finetune.config import FinetuneConfig
from kronos.qlib.folder import QlibFolder


def investment_config(
    data: str, task: Task, out: Path, instrument: str, days: tuple[str, str] | None = None, **more: Any
) -> FinetuneConfig:
    """Make the settings of `run_backtest` for the task.

    Args:
        data: a Qlib data folder.
        instrument: name of the instrument list. With lists that are not the paper's, a sixth of the instruments is held, and a
            tenth of those replaced.
        days: first and last day to trade; None takes the days of the data from July 2024 on, as in the paper.
        more: further settings, such as backtest_benchmark, device and seed; None keeps the default.

    Raises:
        ValueError: the data, the list or the dates do not exist.
    """
    folder = QlibFolder(Path(data))
    lookback, horizon = task.window("1d")
    listed = len(folder.instruments(instrument))
    held = max(1, listed // 6)
    preset = task.investment["presets"].get(instrument.lower(), {"topk": held, "n_drop": max(1, held // 10)})
    first, last = days or _days(folder.calendar(), lookback)
    begin = dt.date.fromisoformat(first[:10])
    # Nothing is trained: the ranges before the test are only there because settings have them.
    before = [str(begin - dt.timedelta(days=n)) for n in (4, 3, 2, 1)]
    return FinetuneConfig(
        qlib_data_path=data,
        instrument=instrument,
        lookback_window=lookback,
        predict_window=horizon,
        dataset_begin_time=before[0],
        dataset_end_time=last,
        train_time_range=(before[0], before[1]),
        val_time_range=(before[2], before[3]),
        test_time_range=(first, last),
        dataset_path="",
        inference_T=task.temperature,
        inference_top_p=task.top_p,
        inference_sample_count=task.paths,
        backtest_n_symbol_hold=preset["topk"],
        backtest_n_symbol_drop=preset["n_drop"],
        backtest_hold_thresh=task.investment["hold_thresh"],
        backtest_open_cost=task.investment["open_cost"],
        backtest_close_cost=task.investment["close_cost"],
        backtest_result_path=str(out.resolve().parent),
        backtest_save_folder_name=out.resolve().name,
        **{name: value for name, value in more.items() if value is not None},
    )


def _days(calendar: pd.DatetimeIndex, lookback: int) -> tuple[str, str]:
    """Return the days of the calendar from July 2024 and a full lookback on."""
    later = calendar[lookback:]
    later = later[later >= pd.Timestamp("2024-07-01")]
    if len(later) < 2:
        raise KronosError(
            f"the calendar goes from {calendar[0].date()} to {calendar[-1].date()} and has no days after June 2024 with "
            f"{lookback} before them: say which to trade with ",
            Argument("range", ["FIRST", "LAST"]),
        )
    return str(later[0].date()), str(later[-1].date())
