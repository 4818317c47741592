"""Prepare one series for the networks: check and normalise it, and keep the scale that maps its forecast back.

Legend: L lookback, H horizon, 6 features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import KronosError, KronosWarning, message_of
from kronos.generation.batch_plan import Window
from kronos.klines.features import as_timestamps, time_features, to_matrix
from kronos.klines.jumps import find_jumps
from kronos.klines.normalize import Normalizer
from kronos.schema import CLOSE, FEATURES, OPEN

Timestamps = Iterable[Any] | pd.Series | pd.DatetimeIndex


class KlineWarning(KronosWarning):
    """Warning that something about the bars or times of a series makes its forecast doubtful."""


class PreparedSeries:
    """Prepared series: normalised bars [L, 6], time features [L, 5] and [H, 5], and the scale that maps its forecast back.

    A ``pred_len`` of 0, with an empty ``y_timestamp``, is for callers that read the history alone.

    Raises:
        ValueError: no DataFrame, fewer than 2 bars, or timestamps that do not match the bars or ``pred_len``.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        x_timestamp: Timestamps,
        y_timestamp: Timestamps,
        pred_len: int | None,
        clip: float,
    ) -> None:
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"df must be a pandas DataFrame, found {type(frame).__name__}")
        self.past = past = as_timestamps(x_timestamp, "x_timestamp")
        self.future = past[:0] if pred_len == 0 else as_timestamps(y_timestamp, "y_timestamp")
        if len(frame) < 2:
            raise ValueError(f"a lookback of at least 2 bars is needed to forecast from, found {len(frame)}")
        if len(past) != len(frame):
            raise ValueError(
                f"x_timestamp has {len(past)} timestamps for {len(frame)} bars; give one for each bar of df"
            )
        if pred_len is None and not len(self.future):
            raise ValueError("y_timestamp is empty; give the timestamp of each bar to forecast")
        if pred_len is not None and len(self.future) != pred_len:
            raise ValueError(
                f"y_timestamp has {len(self.future)} timestamps, pred_len is {pred_len}; give the timestamp of each forecast bar, "
                "or derive them with kronos.future_timestamps(x_timestamp, pred_len)"
            )
        bars = to_matrix(frame)
        self.positive = bool((bars[:, :4] > 0).all())
        self.bars = bars
        self.last = bars[-1].astype(np.float64)
        self.last[:4] = [float(frame[name].iloc[-1]) for name in FEATURES[:4]]  # as given, not to float32
        self.scale = Normalizer.of(bars)
        self.window = Window(self.scale.normalise(bars, clip), time_features(past), time_features(self.future))

    @property
    def content(self) -> bytes:
        """Bytes of the bars as given, to distinguish copies of a series from series that are equal only once normalised."""
        return self.bars.tobytes()

    def doubts_of_times(self) -> dict[str, str]:
        """Find doubts about the timestamps: {kind: sentence}."""
        past, future, found = self.past, self.future, {}
        for times, name in ((past, "x_timestamp"), (future, "y_timestamp")):
            steps = np.diff(times.asi8)
            if (steps > 0).all():
                continue
            if (steps <= 0).all() and (steps < 0).any():
                found[f"order of {name}"] = (
                    f"{name} runs backwards, from {times[0]} to {times[-1]}: give the oldest bar first"
                )
            elif (steps < 0).any():
                place = int(np.argmax(steps < 0))
                found[f"order of {name}"] = (
                    f"{name} is out of order: {times[place]} is followed by {times[place + 1]}; sort the bars by time"
                )
            if times.has_duplicates:
                again = times[times.duplicated()][0]
                found[f"copies in {name}"] = f"{name} has {again} more than once; keep one bar of each time"
        if not _same_local_time(past, future):
            found["zones"] = (
                f"x_timestamp is in {past.tz or 'no time zone'} and y_timestamp in {future.tz or 'no time zone'}; give both in the "
                "exchange's local time"
            )
        if len(future) and (past.tz is None) == (future.tz is None) and future.min() <= past.max():
            found["overlap"] = (
                f"y_timestamp begins at {future.min()}, which is not after the last bar ({past.max()}); give the times of the bars "
                "to come"
            )
        return found

    def doubts_of_prices(self) -> dict[str, str]:
        """Find doubts about the prices, such as a spread far above the last price, or jumps: {kind: sentence}."""
        close, found = self.bars[:, CLOSE].astype(np.float64), {}
        if self.positive and close.std() > close[-1]:
            found["spread"] = (
                f"the closes of the lookback vary by {close.std():g}, more than the last price ({close[-1]:g}): the forecast says "
                "little; take a shorter lookback, or adjust the prices"
            )
        jumps = find_jumps(self.bars[:, OPEN], close)
        if jumps:
            last = jumps[-1]
            found["jumps"] = (
                f"{len(jumps)} jump{'s' if len(jumps) > 1 else ''} of the price, the last at {self.past[last.row]}, {last}: "
                "forecasts across a jump are poor; adjust the prices or begin after it"
            )
        return found


def _same_local_time(past: pd.DatetimeIndex, future: pd.DatetimeIndex) -> bool:
    """Whether both have the same local time, whatever the names of their zones ("UTC+08:00", "Asia/Shanghai")."""
    if past.tz is None or past.tz is future.tz:
        return past.tz is future.tz
    if future.tz is None:
        return False
    return future.tz_convert(past.tz).tz_localize(None).equals(future.tz_localize(None))


def prepare_series(
    frames: Sequence[pd.DataFrame],
    pasts: Sequence[Timestamps],
    futures: Sequence[Timestamps],
    pred_len: int | None,
    clip: float,
    trained_bars: tuple[int, int] | None,
    *,
    strict: bool,
    stacklevel: int,
) -> list[PreparedSeries]:
    """Check and normalise series; warn once of each kind of doubt.

    Args:
        trained_bars: the least and the most bars that the model was trained on; None where that is not known.
        strict: doubtful times are refused, not warned of.
        stacklevel: of the warnings, counted from here.

    Raises:
        ValueError: lists of different lengths, or a series that cannot be forecast from; it says which.
    """
    if isinstance(frames, pd.DataFrame):
        raise ValueError("expected a list of DataFrames, found one DataFrame; use predict() for one series")
    if not len(frames) == len(pasts) == len(futures) or not len(frames):
        raise ValueError(
            f"a list of tables and as many lists of timestamps are needed, found {len(frames)} tables, "
            f"{len(pasts)} x_timestamps and {len(futures)} y_timestamps"
        )
    windows: list[PreparedSeries] = []
    doubtful: dict[str, list[tuple[int, str]]] = {}
    for number, (frame, past, future) in enumerate(zip(frames, pasts, futures, strict=True)):
        try:
            one = PreparedSeries(frame, past, future, pred_len, clip)
            times = one.doubts_of_times()
            if strict:
                for text in times.values():
                    raise ValueError(text)
        except ValueError as error:
            raise KronosError(f"series {number}: " if len(frames) > 1 else "", message_of(error)) from error
        windows.append(one)
        for kind, text in (one.doubts_of_prices() if strict else times).items():
            doubtful.setdefault(kind, []).append((number, text))
        if trained_bars is not None and one.window.lookback > trained_bars[1]:
            text = (
                f"a lookback of {one.window.lookback:,} bars is longer than the {trained_bars[1]:,} that the model was "
                "trained on, and the forecast poorer for it: look back on fewer"
            )
            doubtful.setdefault("lookback", []).append((number, text))
    for found in doubtful.values():  # one warning a kind, however many series
        (number, text), more = found[0], len(found) - 1
        others = f" (and {more} more of {len(frames)})" if more else ""
        which = f"series {number}{others}: " if len(frames) > 1 else ""
        warnings.warn(which + text, KlineWarning, stacklevel=stacklevel)
    return windows
