"""Candles of a series of closes: funds, rates and indices that are quoted once a bar.

Measured with nano (``python benchmarks/close_only.py``; S&P 500, NASDAQ and both samples, 96 windows of 12 bars, 256 looked back
on, 40 paths): the CRPS of the closes is 0.987 of that with the real candles (95 % interval 0.972 to 1.003). With four equal prices
a bar it is 1.033 (1.015 to 1.049), and the 80 % interval holds 54 to 71 % of the closes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.schema import CLOSE, FEATURES

NOTE = (
    "candles are made of the closes: each opens at the close before it and has no wicks; the highs and lows of the forecast are "
    "those of such candles, and only its closes can be taken for forecasts"
)


def candles_of_closes(bars: pd.DataFrame) -> pd.DataFrame:
    """Open at the close of the bar before (the first at its own), high and low the larger and the smaller of open and close.

    Args:
        bars: one series with timestamps and close, in any order; other prices are replaced, volume and amount stay.

    Returns:
        A new table with the rows in the order given.
    """
    close = bars[FEATURES[CLOSE]].to_numpy(np.float64)
    order = np.argsort(bars["timestamps"].to_numpy(), kind="stable")
    opens = np.empty_like(close)
    opens[order] = np.concatenate([close[order][:1], close[order][:-1]])
    opens = np.where(np.isnan(opens), close, opens)  # after a close that is missing
    return bars.assign(open=opens, high=np.maximum(opens, close), low=np.minimum(opens, close))
