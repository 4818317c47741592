"""Taking the gap out of the first forecast bar.

The tokenizer is lossy: its reconstruction of the last observed bar differs from the bar itself, and the forecast goes on from the
reconstruction. Anchoring shifts the forecast by the error at the last close.

Legend: P paths, K steps, 6 features.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from kronos.schema import CLOSE, OPEN

Anchor = Literal["level", "log", "decaying"]
ANCHORS: tuple[Anchor, ...] = ("level", "log", "decaying")
HALF_LIFE = 8
"""Steps after which the decaying shift has halved."""
DEFAULT_ANCHOR: Anchor = "level"


POSITIVE_BELOW = 0.5
"""Share of the last close below which prices of paths are drawn together, so that none reaches zero."""


def keep_positive(paths_PK6: np.ndarray, last_close: float) -> np.ndarray:
    """Map paths [..., K, 6] in prices above zero, for a history that is; a new array of the same type.

    The four prices are mapped one by one, as `above_zero` does; volume and amount are kept.
    """
    result = np.array(paths_PK6, copy=True)
    result[..., :4] = above_zero(result[..., :4], last_close)
    return result


def above_zero(prices: np.ndarray, last_close: float | np.ndarray) -> np.ndarray:
    """Map prices of any shape above zero; a new array of the same type.

    Prices from half of the last close on stay as they are. Below that half h, a price p becomes h^2 / (2 h - p): the map and its
    slope are continuous, and it rises with p, so that candles keep their order. It scored best of those that leave ordinary
    forecasts alone (docs/forecasts.md).

    Args:
        last_close: the last observed close, of a shape that fits the prices; where it is not positive nothing is changed.
    """
    half = POSITIVE_BELOW * np.asarray(last_close, np.float64)
    depth = np.maximum(2 * half - prices.astype(np.float64), half)
    with np.errstate(divide="ignore", invalid="ignore"):
        mapped = np.maximum(half * (half / depth), np.finfo(prices.dtype).tiny)
    return np.where((half > 0) & (prices < half), mapped, prices).astype(prices.dtype)


GAP_LEVELS = np.linspace(0, 1, 21)
"""Quantiles of gaps by which those of paths are brought into line with the history's."""
LEAST_GAPS = 16
"""Fewer bars of history say too little about its gaps."""


class GapMap(NamedTuple):
    """Quantiles of the size of gaps (open against the close before): as the tokenizer leaves them, and in the history."""

    reconstructed: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, history_L6: np.ndarray, reconstructed_L6: np.ndarray) -> GapMap | None:
        """From the last observed bars in prices, and what the tokenizer makes of them; None where they are too few."""
        length = min(len(history_L6), len(reconstructed_L6))
        if length <= LEAST_GAPS:
            return None
        both = (np.asarray(bars[-length:], np.float64) for bars in (reconstructed_L6, history_L6))
        return cls(*(np.quantile(np.abs(bars[1:, OPEN] - bars[:-1, CLOSE]), GAP_LEVELS) for bars in both))

    def __call__(self, gaps: np.ndarray) -> np.ndarray:
        """Gaps of paths, none larger than it was: each becomes the history's of the same rank among the reconstructed ones."""
        size = np.abs(gaps)
        most, known = self.observed[-1], self.reconstructed[-1]
        mapped = np.interp(size, self.reconstructed, self.observed)
        mapped = np.where(size > known, most + (size - known) * min(1.0, most / max(known, 1e-300)), mapped)
        return np.sign(gaps) * np.minimum(size, mapped)


def align_opens(paths_PK6: np.ndarray, before_P: np.ndarray, gaps: GapMap | None) -> np.ndarray:
    """Paths [P, K, 6] in prices with opens whose distance from the close before is the history's; a new array.

    The tokens are too coarse for a gap that is a hundredth of the price's spread, and leave their noise there, bar after bar, most
    visibly in markets that never close. Closes, highs and lows stay as they are; each path is mapped for itself.

    Args:
        before_P: the close before the first bar, of each path.
    """
    result = np.array(paths_PK6, copy=True)
    if gaps is not None:
        closes = result[..., CLOSE].astype(np.float64)
        before = np.concatenate((np.asarray(before_P, np.float64)[:, None], closes[:, :-1]), axis=1)
        opens = result[..., OPEN].astype(np.float64)
        # Between the two but for rounding, which could take a tiny price to zero.
        result[..., OPEN] = np.clip(before + gaps(opens - before), np.minimum(opens, before), np.maximum(opens, before))
    return result


def check_anchor(how: Anchor | None) -> None:
    if how is not None and how not in ANCHORS:
        raise ValueError(f"anchor must be one of {', '.join(map(repr, ANCHORS))} or None, found {how!r}")


def anchored(
    paths_PK6: np.ndarray, last_6: np.ndarray, reconstructed_6: np.ndarray, how: Anchor | None, first: int = 0
) -> np.ndarray:
    """Paths [..., K, 6] in prices, moved so that they go on from the last observed close; a new array.

    Args:
        last_6, reconstructed_6: the last observed bar, and what the tokenizer makes of it, in prices.
        how: "level" adds the error to the four prices; "log" scales them by the ratio (by level where a close is not positive);
            "decaying" adds an error that halves every `HALF_LIFE` steps; None changes nothing. Volume and amount are kept.
        first: the step that the paths begin with.
    """
    check_anchor(how)
    result = np.array(paths_PK6, copy=True)
    if how is None:
        return result
    close, known = float(last_6[CLOSE]), float(reconstructed_6[CLOSE])
    if how == "log" and close > 0 and known > 0:
        result[..., :4] *= np.float32(close / known)
    else:
        shift = np.full(paths_PK6.shape[-2], close - known)
        if how == "decaying":
            shift *= 0.5 ** ((first + np.arange(len(shift))) / HALF_LIFE)
        result[..., :4] += shift[:, None].astype(result.dtype)
    return result
