"""Anchoring: remove the tokenizer's error at the last observed close from the forecast, and the artefacts that follow from it.

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
"""Steps after which the shift of the anchor "decaying" has halved."""
DEFAULT_ANCHOR: Anchor = "level"


POSITIVE_BELOW = 0.5
"""Share of the last close below which prices of paths are compressed, so that none reaches zero."""


def keep_positive(paths_PK6: np.ndarray, last_close: float) -> np.ndarray:
    """Map paths [..., K, 6] in prices above zero where the last close is; return a new array of the same type.

    The four prices are mapped one by one, as `above_zero` does; volume and amount are kept.
    """
    result = np.array(paths_PK6, copy=True)
    result[..., :4] = above_zero(result[..., :4], last_close)
    return result


def above_zero(prices: np.ndarray, last_close: float | np.ndarray) -> np.ndarray:
    """Map prices of any shape above zero; return a new array of the same type.

    Prices from half of the last close on stay as they are. Below that half h, a price p becomes h^2 / (2 h - p): the map and its
    slope are continuous, and it rises with p, so that candles keep their order. Of the maps that do not change ordinary
    forecasts it had the best score (docs/forecasts.md).

    Args:
        last_close: the last observed close, of a shape that fits the prices; where it is not positive nothing is changed.
    """
    half = POSITIVE_BELOW * np.asarray(last_close, np.float64)
    depth = np.maximum(2 * half - prices.astype(np.float64), half)
    with np.errstate(divide="ignore", invalid="ignore"):
        mapped = np.maximum(half * (half / depth), np.finfo(prices.dtype).tiny)
    return np.where((half > 0) & (prices < half), mapped, prices).astype(prices.dtype)


GAP_LEVELS = np.linspace(0, 1, 21)
"""Quantile levels at which the gaps of paths are mapped to those of the history."""
LEAST_GAPS = 16
"""Bars of history; with no more than these the quantiles of gaps are not estimated."""


class GapMap(NamedTuple):
    """Quantile mapping of the size of gaps (open less the close before), from the tokenizer's reconstruction to the history."""

    reconstructed: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, history_L6: np.ndarray, reconstructed_L6: np.ndarray) -> GapMap | None:
        """Estimate it from the last observed bars and their reconstruction, in prices; None where there are too few."""
        length = min(len(history_L6), len(reconstructed_L6))
        if length <= LEAST_GAPS:
            return None
        both = (np.asarray(bars[-length:], np.float64) for bars in (reconstructed_L6, history_L6))
        return cls(*(np.quantile(np.abs(bars[1:, OPEN] - bars[:-1, CLOSE]), GAP_LEVELS) for bars in both))

    def __call__(self, gaps: np.ndarray) -> np.ndarray:
        """Map the gaps of paths to the history's quantile at the same level of the reconstructed gaps; no gap grows."""
        size = np.abs(gaps)
        most, known = self.observed[-1], self.reconstructed[-1]
        mapped = np.interp(size, self.reconstructed, self.observed)
        mapped = np.where(size > known, most + (size - known) * min(1.0, most / max(known, 1e-300)), mapped)
        return np.sign(gaps) * np.minimum(size, mapped)


def align_opens(paths_PK6: np.ndarray, before_P: np.ndarray, gaps: GapMap | None) -> np.ndarray:
    """Move the opens of paths [P, K, 6] in prices so that their gaps are as large as the history's; return a new array.

    Tokens are too coarse for a gap of a hundredth of the price's spread: its size in decoded bars is quantisation noise, most
    visibly in markets that never close. Closes, highs and lows stay as they are; each path is mapped on its own.

    Args:
        before_P: the close before the first bar of each path.
        gaps: the mapping; None returns the paths as they are.
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
    """Shift paths [..., K, 6] in prices so that they start from the last observed close; return a new array.

    Args:
        last_6, reconstructed_6: the last observed bar, and its reconstruction by the tokenizer, in prices.
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
