"""Sampled paths with the marginals of a distribution head: at every step the paths keep their order and take the head's quantiles.

The order of the paths, which says how steps belong together (ranges, drawdowns), is the model's; the distribution of each step is
the head's.

Legend: P paths, L lookback, K steps, Q a head's quantile levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kronos.calibration.calibration import with_closes
from kronos.generation.batch_plan import Window
from kronos.heads.covariates import covariates_of
from kronos.heads.examples import HeadInputs, known_features
from kronos.heads.head import LEVELS, Head
from kronos.klines.features import time_features
from kronos.klines.normalize import Normalizer
from kronos.schema import CLOSE


@dataclass
class HeadMarginals:
    """Takes the place of a `Calibration` where paths are drawn with ``calibration="head"``.

    Attributes:
        head: a distribution head.
        states_of: from windows to the hidden states of their last bars, float32 [S, D].
        clip: of normalised bars. max_context: bars that the model reads at most; longer lookbacks are cut.
    """

    head: Head
    states_of: Callable[[Sequence[Window]], np.ndarray]
    clip: float
    max_context: int
    _known: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Short description, for `Forecast.calibration`."""
        told = self.head.trained_on
        span = f" trained on bars from {told['first']} to {told['last']}" if "first" in told and "last" in told else ""
        return f"the marginals of a head{span}"

    def of(self, bars_L6: np.ndarray, past: pd.DatetimeIndex, future: pd.DatetimeIndex) -> SeriesMarginals | None:
        """The marginals of one series; None where a price of its lookback is not positive or its close is constant.

        Raises:
            ValueError: more steps than the head was trained for, or a head that was trained with covariates.
        """
        bars, past = bars_L6[-self.max_context :], past[-self.max_context :]
        if not (bars[:, :4] > 0).all() or not np.ptp(bars[:, CLOSE]) > 0:
            return None
        key = bars.tobytes() + past.asi8.tobytes() + future.asi8.tobytes()
        if key not in self._known:  # asked for again at every bar of a forecast that is watched
            window = Window(Normalizer.of(bars).normalise(bars, self.clip), time_features(past), time_features(future))
            known = known_features([bars], [past], [future])
            spec = self.head.spec
            further = covariates_of(None, spec.past_covariates, spec.known_covariates, [past], [future])
            self._known[key] = self.head(HeadInputs(self.states_of([window]), *known, further))[0]
        return SeriesMarginals(self._known[key], float(bars[-1, CLOSE]))


@dataclass(frozen=True)
class SeriesMarginals:
    """Quantiles [K, Q] of the log return on the last close of one series, at `LEVELS`, and that close."""

    returns_KQ: np.ndarray
    last: float

    def closes(self, y_PK: np.ndarray, first: int = 0) -> np.ndarray:
        """Give log returns on the last close [P, K], from step ``first`` on, the head's quantiles in their order.

        One path stays as it is.
        """
        paths, steps = y_PK.shape
        if paths == 1:
            return y_PK
        order = y_PK.argsort(0, kind="stable")
        middle = (np.arange(paths) + 0.5) / paths
        found = np.empty_like(y_PK)
        for step in range(steps):
            found[order[:, step], step] = np.interp(middle, LEVELS, self.returns_KQ[first + step])
        return found

    def __call__(
        self, paths_PK6: np.ndarray, first: int = 0, before: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Paths [P, K, 6] in positive prices with these closes, as of `SeriesCalibration`."""
        return with_closes(paths_PK6, self.last, self.closes, first, before)
