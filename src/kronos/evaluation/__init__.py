"""Evaluation of forecasts: rolling origins, baselines, scores, significance, leak checks and a report.

    from kronos.evaluation import evaluate
    result = evaluate("market/", models=["nano"], out="run/")
    print(result.scores().leaderboard)

Everything below is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos._imports import lazy

_HOME = {
    "TASKS": "kronos.evaluation.tasks",
    "Task": "kronos.evaluation.tasks",
    "Past": "kronos.evaluation.rolling_origins",
    "Prediction": "kronos.evaluation.prediction",
    "audit": "kronos.evaluation.leakage",
    "cross_validation": "kronos.evaluation.run",
    "evaluate": "kronos.evaluation.run",
    "read_series": "kronos.evaluation.dataset",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from kronos.evaluation.dataset import read_series
    from kronos.evaluation.leakage import audit
    from kronos.evaluation.prediction import Prediction
    from kronos.evaluation.rolling_origins import Past
    from kronos.evaluation.run import cross_validation, evaluate
    from kronos.evaluation.tasks import TASKS, Task

__getattr__, __dir__ = lazy(__name__, _HOME)
