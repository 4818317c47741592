"""Real bars for the examples: the S&P 500 and the NASDAQ Composite, daily, 1999 to 2018, as they ship inside the arch package."""

import pandas as pd
from arch.data import nasdaq, sp500

COLUMNS = ["open", "high", "low", "close", "volume"]


def bars(name: str) -> pd.DataFrame:
    """Columns timestamps, open, high, low, close, volume."""
    table = {"sp500": sp500, "nasdaq": nasdaq}[name].load()
    table = table.rename(columns=str.lower)[COLUMNS].astype(float)
    return table.rename_axis("timestamps").reset_index()
