"""From series as the predictor prepares them to what a head reads, and from its quantiles to prices.

Legend: S series, K steps, Q a head's quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kronos.errors import KronosError
from kronos.generation.prepared import PreparedSeries
from kronos.heads.covariates import Tables, covariates_of
from kronos.heads.examples import HeadInputs, known_features
from kronos.heads.head import LEVELS, HeadSpec


def inputs_of(
    series: Sequence[PreparedSeries], states_SD: np.ndarray, spec: HeadSpec, covariates: Tables | None = None
) -> HeadInputs:
    """Inputs of a head from series, their hidden states and the covariates that it was trained with.

    Raises:
        ValueError: a price that is not positive, or series of different horizons.
    """
    for number, one in enumerate(series):
        which = f"series {number}: " if len(series) > 1 else ""
        if not one.positive:
            raise KronosError(which, "a head reads logarithms of prices, and one of the history is not positive")
        if len(one.future) != len(series[0].future):
            raise KronosError(
                which,
                f"a head answers for one horizon, found {len(one.future)} y_timestamps where series 0 has {len(series[0].future)}",
            )
    known = known_features([one.bars for one in series], [one.past for one in series], [one.future for one in series])
    times = [one.past for one in series], [one.future for one in series]
    return HeadInputs(states_SD, *known, covariates_of(covariates, spec.past_covariates, spec.known_covariates, *times))


def price_quantiles(returns_SKQ: np.ndarray, last_S: Sequence[float], levels: Sequence[float]) -> np.ndarray:
    """Prices [S, levels, K] from quantiles of log returns at `LEVELS`, linear in between, the outermost beyond."""
    place = np.interp(levels, LEVELS, np.arange(len(LEVELS)))
    low = np.floor(place).astype(int)
    high, share = np.minimum(low + 1, len(LEVELS) - 1), place - low
    found = returns_SKQ[..., low] * (1 - share) + returns_SKQ[..., high] * share
    return np.asarray(last_S)[:, None, None] * np.exp(found.swapaxes(1, 2))
