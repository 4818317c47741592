"""Examples that heads are trained on: what is known of past windows, and the returns that came.

Legend: N windows, K steps, D model width, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.calibration.calibration import frequency_of
from kronos.calibration.fitting import PastWindow, is_usable
from kronos.calibration.volatility_features import features_of, lookback_volatility
from kronos.heads.covariates import Tables, covariates_of
from kronos.klines.features import to_matrix
from kronos.schema import CLOSE

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor

EMBED_BATCH = 256
"""Windows that are read together."""


@dataclass
class HeadInputs:
    """What a head reads of N windows; nothing of it depends on a bar after the last known one.

    Attributes:
        states: float32 [N, D], the model's last hidden state of the last bar.
        features: float64 [N, K, F], see `kronos.calibration.volatility_features.FEATURES`.
        volatility: float64 [N], root mean squared log return of a bar; 0 where the close stood still.
        frequency: str [N].
        covariates: float64 [N, K, X], see `kronos.heads.covariates`; X is 0 without any.
    """

    states: np.ndarray
    features: np.ndarray
    volatility: np.ndarray
    frequency: np.ndarray
    covariates: np.ndarray

    def __len__(self) -> int:
        return len(self.states)


@dataclass
class HeadExamples(HeadInputs):
    """Inputs with what came.

    Attributes:
        truth: float64 [N, K], log return of each close on the last known one.
        start, end: datetime64 [N], the last known bar and the last bar that came.
        series: str [N], the series' names.
        number: int [N], of each window among those that were given.
    """

    truth: np.ndarray
    start: np.ndarray
    end: np.ndarray
    series: np.ndarray
    number: np.ndarray

    def part(self, rows: np.ndarray) -> HeadExamples:
        """Those of a mask or of row numbers."""
        return HeadExamples(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence[HeadExamples]) -> HeadExamples:
        """Several, one behind the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def known_features(
    bars: Sequence[np.ndarray], pasts: Sequence[pd.DatetimeIndex], futures: Sequence[pd.DatetimeIndex]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [N, K, F], volatility [N] and frequency [N] of lookbacks [L, 6] with positive prices."""
    return (
        np.stack([features_of(one, past, future) for one, past, future in zip(bars, pasts, futures, strict=True)]),
        np.array([lookback_volatility(one[:, CLOSE]) for one in bars]),
        np.array([frequency_of(past) for past in pasts]),
    )


def collect_examples(
    predictor: KronosPredictor,
    windows: Sequence[PastWindow],
    names: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
    covariates: Tables | None = None,
    past_covariates: Sequence[str] = (),
    known_covariates: Sequence[str] = (),
) -> HeadExamples:
    """Read past windows of one horizon; those that stand still or have prices at or below zero are left out.

    Args:
        names: of each window's series; None numbers the windows.
        progress: called with the windows done since the last call.
        covariates: a table of further columns indexed by time, or one for each window, and the names of those that are read at past
            times and of those that are known ahead.

    Raises:
        ValueError: no window is left, or covariates that cannot be used.
    """
    parts: list[HeadExamples] = []
    named = [str(i) for i in range(len(windows))] if names is None else list(map(str, names))
    for first in range(0, len(windows), EMBED_BATCH):
        rows = [i for i in range(first, min(first + EMBED_BATCH, len(windows))) if is_usable(windows[i])]
        if rows:
            chosen = [windows[i] for i in rows]
            pasts, futures = [one.past for one in chosen], [one.future for one in chosen]
            known = known_features([to_matrix(one.bars) for one in chosen], pasts, futures)
            given = (
                covariates
                if covariates is None or isinstance(covariates, pd.DataFrame)
                else [covariates[i] for i in rows]
            )
            last = np.array([one.bars["close"].iloc[-1] for one in chosen])
            parts.append(
                HeadExamples(
                    predictor.embed([one.bars for one in chosen], pasts),
                    *known,
                    covariates_of(given, past_covariates, known_covariates, pasts, futures),
                    np.log(np.stack([one.truth for one in chosen]) / last[:, None]),
                    np.array([plain_time(past[-1]) for past in pasts]),
                    np.array([plain_time(future[-1]) for future in futures]),
                    np.array([named[i] for i in rows]),
                    np.array(rows),
                )
            )
        if progress is not None:
            progress(len(windows[first : first + EMBED_BATCH]))
    if not parts:
        raise ValueError("no window has positive prices that move: there is nothing to train a head on")
    return HeadExamples.joined(parts)


def plain_time(time: pd.Timestamp) -> np.datetime64:
    """UTC where there is a zone, so that windows of several zones can be ordered."""
    return (
        (time if time.tz is None else time.tz_convert("UTC").tz_localize(None)).to_datetime64().astype("datetime64[ns]")
    )
