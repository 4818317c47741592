"""The names of the reference's module, from the package."""

from __future__ import annotations

import pandas as pd

from kronos.generation.reference import auto_regressive_inference
from kronos.generation.sampling import sample_from_logits
from kronos.klines.features import TIME_FIELDS, as_timestamps, time_features
from kronos.nn import Kronos, KronosTokenizer
from kronos.predictor import KronosPredictor

__all__ = [
    "Kronos",
    "KronosPredictor",
    "KronosTokenizer",
    "auto_regressive_inference",
    "calc_time_stamps",
    "sample_from_logits",
]


def calc_time_stamps(x_timestamp: pd.Series | pd.DatetimeIndex) -> pd.DataFrame:
    """Minute, hour, weekday, day and month of each timestamp, a column each, on the index of a Series."""
    index = x_timestamp.index if isinstance(x_timestamp, pd.Series) else None
    return pd.DataFrame(time_features(as_timestamps(x_timestamp)), columns=list(TIME_FIELDS), index=index)
