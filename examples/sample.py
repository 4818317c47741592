"""Made-up bars for the examples; "sp500" and "nasdaq" are real ones (1999 to 2018): pip install 'kronos-forecast[samples]'."""

import pandas as pd

import kronos
from kronos.klines.samples import sample_path

COLUMNS = ["open", "high", "low", "close", "volume"]


def bars(name: str) -> pd.DataFrame:
    """Columns timestamps, open, high, low, close, volume."""
    return kronos.read_klines(sample_path(name))[["timestamps", *COLUMNS]]
