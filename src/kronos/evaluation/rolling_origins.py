"""Rolling origins: windows of a series, with the lookback that a model sees kept apart from the bars that followed.

Of the time after its cutoff a `Past` holds only the timestamps of the bars to forecast, so that a model that is given windows
cannot look ahead.

Legend: L lookback, H horizon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.evaluation.dataset import Series
from kronos.schema import PRICE_COLUMNS

CHUNK = 128
"""Windows that are forecast together and saved as one file; a run that is stopped computes its current chunk again."""


@dataclass(frozen=True)
class Past:
    """Input of a model for one window.

    Attributes:
        id, market, frequency, season: of the series.
        bars: the lookback [L]: open, high, low, close[, volume][, amount]; ``times`` their timestamps in local time.
        future: the timestamps of the bars to forecast [H].
        cutoff: the timestamp of the last bar seen (naive; UTC where the source states a zone).
    """

    id: str
    market: str
    frequency: str
    season: int
    bars: pd.DataFrame
    times: pd.DatetimeIndex
    future: pd.DatetimeIndex
    cutoff: pd.Timestamp

    @cached_property
    def close(self) -> np.ndarray:
        """Closes of the lookback [L], float64."""
        return self.bars["close"].to_numpy(np.float64)

    @property
    def last(self) -> float:
        return float(self.close[-1])

    @property
    def horizon(self) -> int:
        return len(self.future)

    @cached_property
    def unit(self) -> float:
        """Mean absolute change of close from bar to bar: the unit in which errors of different series are compared."""
        return float(np.abs(np.diff(self.close)).mean())

    @cached_property
    def returns(self) -> np.ndarray:
        """Log returns of close [L - 1]; zero where a price is not positive."""
        close = self.close
        if (close <= 0).any():
            return np.zeros(len(close) - 1)
        return np.diff(np.log(close))


class EvaluationWindow(NamedTuple):
    """Window with its truth: timestamps [H] as in the tables, open, high, low, close [H, 4], volume [H] if there is one."""

    past: Past
    times: np.ndarray
    truth: np.ndarray
    volume: np.ndarray | None


def cut_points(bars: int, lookback: int, horizon: int, step_size: int, n_windows: int | None) -> list[int]:
    """Return the number of bars seen at each cutoff, rising; the last window ends with the series, as in Nixtla's tools.

    Args:
        bars: of the series.
        lookback, horizon: bars of a window.
        step_size: bars between cutoffs.
        n_windows: windows counted from the end; None for all that fit.
    """
    points = list(range(bars - horizon, lookback - 1, -step_size))
    return sorted(points if n_windows is None else points[:n_windows])


def origin_at(series: Series, seen: int, lookback: int, horizon: int) -> EvaluationWindow:
    """Cut the window whose last visible bar is number ``seen`` - 1.

    Raises:
        ValueError: the series has too few bars before or after it.
    """
    before, after = slice(seen - lookback, seen), slice(seen, seen + horizon)
    if before.start < 0 or after.stop > len(series.bars):
        raise ValueError(f"{series.id}: {lookback} bars before and {horizon} after bar {seen} are more than there are")
    values = series.bars.drop(columns="timestamps")
    past = Past(
        series.id,
        series.market,
        series.frequency,
        series.season,
        values.iloc[before].reset_index(drop=True),
        series.local[before],
        series.local[after],
        series.bars["timestamps"].iloc[seen - 1],
    )
    coming = values.iloc[after]
    truth = coming[list(PRICE_COLUMNS)].to_numpy(np.float64)
    volume = coming["volume"].to_numpy(np.float64) if "volume" in coming else None
    return EvaluationWindow(past, series.bars["timestamps"].to_numpy()[after], truth, volume)


class WindowRef(NamedTuple):
    """Reference to a window, by series and position; its tables are made on demand, so that many windows take little memory."""

    series: Series
    seen: int
    lookback: int
    horizon: int

    def origin(self) -> EvaluationWindow:
        return origin_at(self.series, self.seen, self.lookback, self.horizon)

    @property
    def kind(self) -> tuple[int, int, str]:
        return self.lookback, self.horizon, self.series.frequency


class Planned(NamedTuple):
    """Windows to forecast, and the number of windows left out because their lookback has constant closes."""

    refs: list[WindowRef]
    still: int
    short: list[str]
    """Series too short for one window."""


def plan_windows(
    series: Iterable[Series], windows: dict[str, tuple[int, int]], step_size: int | None, n_windows: int | None
) -> Planned:
    """Plan the windows of every series. ``windows``: {frequency: (lookback, horizon)}."""
    refs, still, short = [], 0, []
    for one in series:
        lookback, horizon = windows[one.frequency]
        points = cut_points(len(one.bars), lookback, horizon, step_size or horizon, n_windows)
        if not points:
            short.append(f"{one.id}: {len(one.bars)} bars, {lookback + horizon} are needed")
        close = one.bars["close"].to_numpy(np.float64)
        for seen in points:
            if np.ptp(close[seen - lookback : seen]) > 0:
                refs.append(WindowRef(one, seen, lookback, horizon))
            else:
                still += 1
    return Planned(refs, still, short)


def chunks_of(refs: Sequence[WindowRef], size: int = CHUNK) -> list[list[WindowRef]]:
    """Group windows of one lookback, horizon and frequency into chunks of at most ``size``, in a fixed order."""
    result: list[list[WindowRef]] = []
    for ref in sorted(refs, key=lambda s: s.kind):
        if not result or len(result[-1]) == size or result[-1][0].kind != ref.kind:
            result.append([])
        result[-1].append(ref)
    return result
