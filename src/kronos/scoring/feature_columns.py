"""Features of lookbacks by name: hidden states, volatility, and how unusual the last bar is. One pass, nothing is sampled.

Legend: S series, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.calibration.volatility_features import FEATURES as VOLATILITY_FEATURES
from kronos.calibration.volatility_features import features_of, lookback_volatility
from kronos.klines.features import to_matrix
from kronos.schema import CLOSE, FEATURES

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor
    from kronos.scoring.config import FeatureSettings
    from kronos.scoring.cutoffs import ScoreWindow


def embedded(
    predictor: KronosPredictor, windows: Sequence[ScoreWindow], settings: FeatureSettings
) -> dict[str, np.ndarray]:
    """Hidden states as columns e000, e001, ..., each float32 [S]; none where they are not asked for."""
    if "embedding" not in settings.groups:
        return {}
    states_SD = predictor.embed(*_inputs(windows), layer=settings.layer, pooling=settings.pooling)
    return {f"e{i:03d}": states_SD[:, i] for i in range(states_SD.shape[1])}


def feature_columns(
    predictor: KronosPredictor, windows: Sequence[ScoreWindow], settings: FeatureSettings
) -> dict[str, np.ndarray]:
    """The other features, float [S] each.

    volatility: root mean squared log return of a bar over the lookback. recent, range: as in
    `kronos.calibration.volatility_features`. All three are NaN where a price is not positive. surprise: minus the log probability
    of the last bar's tokens, in nats.
    """
    columns: dict[str, np.ndarray] = {}
    if "volatility" in settings.groups:
        rows = np.array([_volatility(window) for window in windows]).reshape(-1, 3)
        columns |= dict(zip(("volatility", "recent", "range"), rows.T, strict=True))
    if "surprise" in settings.groups:
        tables = predictor.score(*_inputs(windows))
        assert isinstance(tables, list)
        columns["surprise"] = np.array([table["surprise"].iloc[-1] for table in tables])
    return columns


def _inputs(windows: Sequence[ScoreWindow]) -> tuple[list[pd.DataFrame], list[pd.Series]]:
    frames = [window.past[[c for c in FEATURES if c in window.past]] for window in windows]
    return frames, [window.past["timestamps"] for window in windows]


def _volatility(window: ScoreWindow) -> tuple[float, float, float]:
    bars_L6 = to_matrix(window.past)
    if len(bars_L6) < 2 or not (bars_L6[:, : CLOSE + 1] > 0).all():
        return (np.nan, np.nan, np.nan)
    times = pd.DatetimeIndex(window.past["timestamps"])
    found = dict(zip(VOLATILITY_FEATURES, features_of(bars_L6, times, times[-1:])[0], strict=True))
    return lookback_volatility(bars_L6[:, CLOSE]), found["recent"], found["range"]
