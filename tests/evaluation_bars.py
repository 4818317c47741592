"""Synthetic bars for the tests of evaluation."""

import numpy as np
import pandas as pd


def bars(seed, n=400, start="2024-07-01", freq="D"):
    """A random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, n).cumsum())
    return pd.DataFrame(
        {
            "timestamps": pd.date_range(start, periods=n, freq=freq),
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": rng.uniform(1, 2, n),
        }
    )
