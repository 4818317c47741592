"""How good is a forecast? Rolling origins, baselines, scores, significance, leak checks and a report.

    from kronos.evaluation import evaluate
    result = evaluate("market/", models=["nano"], out="run/")
    print(result.scores().leaderboard)

Everything below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kronos.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
