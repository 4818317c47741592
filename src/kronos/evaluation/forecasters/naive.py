"""The bootstrap random walk: tomorrow's returns are drawn from the lookback's own.

Legend: P paths, H steps.
"""

from __future__ import annotations

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past


def bootstrap_walk(window: Past, paths: int, rng: np.random.Generator) -> Prediction:
    """Independent draws with replacement of the lookback's log returns; the mean is the exact one, not that of the paths.

    Where a price is not positive, changes are drawn instead of returns.
    """
    steps = np.arange(1, window.horizon + 1)
    if (window.close > 0).all():
        drawn = rng.choice(window.returns, (paths, window.horizon)).cumsum(1)
        walk, mean = window.last * np.exp(drawn), window.last * np.exp(window.returns).mean() ** steps
        variance = np.square(window.returns).mean() * window.horizon
    else:
        changes = np.diff(window.close)
        walk = window.last + rng.choice(changes, (paths, window.horizon)).cumsum(1)
        mean, variance = window.last + changes.mean() * steps, np.nan
    return Prediction.of_paths(walk[None], mean[None], np.array([variance]))
