"""Learning rate schedules as functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "onecycle", "constant"]
SCHEDULES: tuple[Schedule, ...] = ("cosine", "onecycle", "constant")

ONECYCLE_RISE, ONECYCLE_START, ONECYCLE_END = 0.03, 0.1, 1e-5
"""Share of the steps that rise, and the first and the last rate as shares of the peak: those of the reference's fine-tuning."""


def learning_rate(schedule: Schedule, step: int, steps: int, peak: float, warmup: int, final: float) -> float:
    """Return the learning rate of a step (0-based).

    - cosine: from a tenth of the peak up in ``warmup`` steps, then a cosine down to ``final`` times the peak (arXiv 2508.02739,
      training);
    - onecycle: a cosine up over 3 % of the steps, then a cosine down to almost zero;
    - constant: the peak, after the warm-up.
    """
    if schedule == "onecycle":
        rise = max(1.0, ONECYCLE_RISE * steps - 1)
        if step <= rise:
            return peak * _between(ONECYCLE_START, 1.0, step / rise)
        return peak * _between(1.0, ONECYCLE_END, (step - rise) / max(1.0, steps - 1 - rise))
    if step < warmup:
        return peak * (0.1 + 0.9 * (step + 1) / warmup)
    if schedule == "constant":
        return peak
    return peak * _between(1.0, final, (step - warmup) / max(1, steps - warmup))


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))
