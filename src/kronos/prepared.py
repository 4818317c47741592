"""One series made ready for the networks: checked, normalised, with what maps its forecast back.

Legend: L lookback, H horizon, 6 features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from kronos.generation.planning import Window
from kronos.klines.features import FEATURES, Scale, as_timestamps, time_features, to_matrix

Timestamps = Iterable[Any] | pd.Series | pd.DatetimeIndex


class PreparedSeries:
    """One series made ready: normalised bars, time features, and the scale to map its forecast back."""

    def __init__(
        self,
        frame: pd.DataFrame,
        x_timestamp: Timestamps,
        y_timestamp: Timestamps,
        pred_len: int | None,
        clip: float,
    ) -> None:
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"df must be a pandas DataFrame, found {type(frame).__name__}")
        past, self.future = as_timestamps(x_timestamp, "x_timestamp"), as_timestamps(y_timestamp, "y_timestamp")
        self.past = past
        if len(frame) < 2:
            raise ValueError(f"a lookback of at least 2 bars is needed to forecast from, found {len(frame)}")
        if len(past) != len(frame):
            raise ValueError(
                f"x_timestamp has {len(past)} timestamps for {len(frame)} bars; give one for each bar of df"
            )
        if pred_len is None and not len(self.future):
            raise ValueError("y_timestamp is empty; give the timestamp of each bar to forecast")
        if pred_len is not None and len(self.future) != pred_len:
            raise ValueError(
                f"y_timestamp has {len(self.future)} timestamps, pred_len is {pred_len}; give the timestamp of each forecast bar, "
                "or derive them with kronos.future_timestamps(x_timestamp, pred_len)"
            )
        bars = to_matrix(frame)
        self.last = bars[-1].astype(np.float64)
        self.last[:4] = [float(frame[name].iloc[-1]) for name in FEATURES[:4]]  # as given, not to float32
        self.scale = Scale.of(bars)
        self.window = Window(self.scale.normalise(bars, clip), time_features(past), time_features(self.future))
