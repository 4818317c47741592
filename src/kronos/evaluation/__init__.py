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

if TYPE_CHECKING:  # "as": type checkers of users cannot read __all__ here
    from kronos.evaluation.dataset import read_series as read_series
    from kronos.evaluation.leakage import audit as audit
    from kronos.evaluation.prediction import Prediction as Prediction
    from kronos.evaluation.rolling_origins import Past as Past
    from kronos.evaluation.run import cross_validation as cross_validation
    from kronos.evaluation.run import evaluate as evaluate
    from kronos.evaluation.tasks import TASKS as TASKS
    from kronos.evaluation.tasks import Task as Task

__getattr__, __dir__ = lazy(__name__, _HOME)
