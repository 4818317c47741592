"""Normalised paths brought to prices: anchored, above zero, with the history's gaps, calibrated."""

from __future__ import annotations

import numpy as np

from kronos.calibration.calibration import Calibration
from kronos.forecast.anchoring import Anchor, GapMap, align_opens, anchored, keep_positive
from kronos.generation.paths import Drawn
from kronos.generation.prepared import PreparedSeries
from kronos.heads.marginals import HeadMarginals


def in_prices(
    one: PreparedSeries,
    drawn: Drawn,
    anchor: Anchor | None,
    projected: bool,
    calibration: Calibration | HeadMarginals | None,
    first: int = 0,
    before: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Paths [P, K, 6] in prices from normalised ones, before and after calibration.

    Anchored, and if ``projected``, with the history's gaps and above zero. ``first`` is the step that they begin with, ``before``
    the closes [P] of the step before, before and after calibration, where that is not the last observed bar.
    """
    known = one.scale.restore(drawn.known)
    paths = anchored(one.scale.restore(drawn.paths), one.last, known[-1], anchor, first)
    if not projected:
        return paths, paths
    if one.positive:
        paths = keep_positive(paths, float(one.last[3]))
    if anchor is not None:
        closes = np.full(len(paths), one.last[3]) if before is None else before[0]
        paths = align_opens(paths, closes, GapMap.of(one.bars, known))
    how = None if calibration is None else calibration.of(one.bars, one.past, one.future)
    return paths, paths if how is None else how(paths, first, before)
