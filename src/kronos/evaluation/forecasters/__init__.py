"""Baselines and other forecasters. Every baseline sees the same windows as the model, and nothing else.

A baseline is a function of one window, most of them with a library's estimator. Results depend on the window and the seed alone.
"""

from __future__ import annotations

from kronos.evaluation.forecasters.baselines import BASELINES, DEFAULT, Baseline, make_baseline

__all__ = ["BASELINES", "DEFAULT", "Baseline", "make_baseline"]
