"""What a forecast has to beat. Every baseline sees the same windows as the model, and nothing else.

Each is a function of one window; libraries do the statistics. Results depend on the window and the seed alone.
"""

from __future__ import annotations

from kronos.evaluation.forecasters.baselines import BASELINES, DEFAULT, Baseline, make_baseline

__all__ = ["BASELINES", "DEFAULT", "Baseline", "make_baseline"]
