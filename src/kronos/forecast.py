"""What comes out of a forecast: sampled paths, and the candles made of them.

Legend: paths [..., 6] in prices, features in the order open, high, low, close, volume, amount.
"""

from __future__ import annotations

import numpy as np


def valid_candles(bars: np.ndarray) -> np.ndarray:
    """The nearest bars that can exist: high raised to max(open, close), low lowered to min(open, close), no negative volume.

    Open and close, which carry the path, are kept; a high below the low takes part in both bounds. Returns a new array.
    """
    result = np.array(bars, copy=True)
    result[..., 1] = bars[..., :4].max(-1)
    result[..., 2] = bars[..., :4].min(-1)
    result[..., 4:] = np.maximum(bars[..., 4:], 0)
    return result
