"""Kronos as a model of Qlib: `fit` trains a head on the train and valid segments, `predict` gives a signal a day and instrument.

The bars come from Qlib's data folder, not from the dataset's features; of the dataset only segments and index are used. It needs
pyqlib.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from qlib.data import D
from qlib.data.dataset.handler import DataHandlerLP
from qlib.model.base import Model

from kronos.calibration.fitting import PastWindow
from kronos.errors import KronosError
from kronos.heads import HeadSettings, train_head
from kronos.heads.head import Head
from kronos.loading import load
from kronos.number_checks import check_plain_whole

Signal = Literal["rank", "return"]
FIELDS = ("open", "high", "low", "close", "volume")
FEWEST_OF_A_DAY = 5
"""Instruments of a day, for a rank head to learn from it."""
BATCH = 512
"""Windows that are read or forecast together."""


class KronosModel(Model):
    """A Kronos pair as a model of a Qlib workflow (see examples/qlib_kronos_model.yaml).

    Args:
        model, tokenizer, device: as of `kronos.load`.
        signal: "rank" is the score of a head that is trained in `fit`; "return" is the mean log return of sampled paths over the
            horizon, and `fit` does nothing.
        lookback: bars of a window; an instrument with fewer gets no signal. horizon: bars ahead.
        windows: windows to train on, about and at most. paths: of each forecast.
        seed: of training and sampling.
        head: further settings of `kronos.heads.HeadSettings`, such as epochs.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        model: str = "nano",
        signal: Signal = "rank",
        lookback: int = 90,
        horizon: int = 5,
        tokenizer: str | None = None,
        device: str | None = None,
        windows: int = 20_000,
        paths: int = 10,
        seed: int = 0,
        head: dict[str, Any] | None = None,
    ) -> None:
        if signal not in ("rank", "return"):
            raise ValueError(f"signal must be 'rank' or 'return', found {signal!r}")
        counts = {"lookback": (lookback, 2), "horizon": (horizon, 1), "windows": (windows, 200), "paths": (paths, 1)}
        for name, (value, least) in counts.items():
            check_plain_whole(value, name, least)
        self.settings = HeadSettings("rank", **{"seed": seed, **(head or {})})
        self.name_or_path, self.tokenizer, self.device = model, tokenizer, device
        self.signal, self.lookback, self.horizon = signal, lookback, horizon
        self.windows, self.paths, self.seed = windows, paths, seed
        self.head: Head | None = None

    def fit(self, dataset: Any, reweighter: Any = None) -> None:
        """Train the head on windows of the train and valid segments, whose horizons end within them.

        Both together are cut by time into training, validation and verdict, purged, as `kronos heads train` does. Weights of a
        reweighter are not taken.

        Raises:
            ValueError: too few windows or days with `FEWEST_OF_A_DAY` instruments.
        """
        if self.signal == "return":
            return
        index = _index_of(dataset, "train").union(_index_of(dataset, "valid"))
        bars = _Bars(index, self.lookback, self.horizon)
        chosen = self._training_days(index)
        found = list(bars.windows(index[index.get_level_values("datetime").isin(chosen)], self.lookback, self.horizon))
        end = index.get_level_values("datetime").max()
        kept = [(one, key) for one, key in found if len(one.truth) == self.horizon and one.future[-1] <= end]
        if not kept:
            raise KronosError(
                "", f"no window of {self.lookback} + {self.horizon} bars lies in the train and valid segments"
            )
        predictor = load(self.name_or_path, tokenizer=self.tokenizer, device=self.device)
        windows, names = [one for one, _ in kept], [instrument for _, (_, instrument) in kept]
        told = {"model": self.name_or_path, "horizon": self.horizon}
        self.head = train_head(predictor, windows, self.settings, names, told)

    def predict(self, dataset: Any, segment: Any = "test") -> pd.Series:
        """Signals by datetime and instrument, in the order of the segment; those without a full lookback are left out.

        Raises:
            ValueError: the head was not trained.
        """
        if self.signal == "rank" and self.head is None:
            raise ValueError("the head is not trained: call fit first, or take signal='return'")
        index = _index_of(dataset, segment)
        predictor = load(self.name_or_path, tokenizer=self.tokenizer, device=self.device)
        if self.head is not None:
            predictor.heads["rank"] = self.head
        batch: list[tuple[PastWindow, tuple[pd.Timestamp, str]]] = []
        parts: list[pd.Series] = []
        for item in _Bars(index, self.lookback, self.horizon).windows(index, self.lookback, self.horizon):
            batch.append(item)
            if len(batch) == BATCH:
                parts.append(self._signals(predictor, batch))
                batch = []
        if batch:
            parts.append(self._signals(predictor, batch))
        if not parts:
            raise KronosError("", f"no instrument of the segment has {self.lookback} bars")
        found = pd.concat(parts)
        return found.reindex(index[index.isin(found.index)])

    def _signals(self, predictor: Any, batch: list[tuple[PastWindow, tuple[pd.Timestamp, str]]]) -> pd.Series:
        given = ([w.bars for w, _ in batch], [w.past for w, _ in batch], [w.future for w, _ in batch])
        if self.signal == "rank":
            values = predictor.rank_direct(*given)
        else:
            closes = predictor.predict_samples(
                *given, self.horizon, sample_count=self.paths, seed=self.seed, verbose=False
            )
            last = np.array([w.bars["close"].iloc[-1] for w, _ in batch])
            values = np.log(closes[:, :, -1, 3] / last[:, None]).mean(1)
        keys = pd.MultiIndex.from_tuples([key for _, key in batch], names=["datetime", "instrument"])
        return pd.Series(values, index=keys, name="score", dtype=float)

    def _training_days(self, index: pd.MultiIndex) -> np.ndarray:
        """Days spread over the segments, with about `windows` windows in all."""
        days, counts = np.unique(index.get_level_values("datetime"), return_counts=True)
        days, counts = days[counts >= FEWEST_OF_A_DAY], counts[counts >= FEWEST_OF_A_DAY]
        if not len(days):
            raise ValueError(
                f"no day of the train segment has {FEWEST_OF_A_DAY} instruments, which a rank head compares"
            )
        wanted = max(1, min(len(days), int(self.windows / counts.mean())))
        chosen: np.ndarray = days[np.unique(np.linspace(0, len(days) - 1, wanted).round().astype(int))]
        return chosen


def _index_of(dataset: Any, segment: Any) -> pd.MultiIndex:
    """Days and instruments of a segment, in its order."""
    frame = dataset.prepare(segment, col_set=DataHandlerLP.CS_ALL, data_key=DataHandlerLP.DK_I)
    index = frame.index
    if list(index.names) != ["datetime", "instrument"]:
        raise ValueError(f"the dataset's index must be datetime and instrument, found {list(index.names)}")
    return index


class _Bars:
    """Bars of the instruments of an index, from Qlib's folder, from a lookback before its first day to a horizon after its last."""

    def __init__(self, index: pd.MultiIndex, lookback: int, horizon: int) -> None:
        days = index.get_level_values("datetime")
        calendar = pd.DatetimeIndex(D.calendar(freq="day"))
        first = max(0, calendar.searchsorted(days.min()) - 2 * lookback)
        last = min(len(calendar) - 1, calendar.searchsorted(days.max()) + horizon)
        names = sorted(set(index.get_level_values("instrument")))
        table = D.features(names, [f"${name}" for name in FIELDS], calendar[first], calendar[last], freq="day")
        table.columns = list(FIELDS)
        table["volume"] = table["volume"].fillna(0.0)
        self.table = {
            name: rows.droplevel("instrument").dropna() for name, rows in table.astype(np.float64).groupby("instrument")
        }
        after = pd.bdate_range(calendar[-1] + pd.Timedelta(days=1), periods=horizon)
        self.calendar = calendar.append(after)

    def windows(
        self, index: pd.MultiIndex, lookback: int, horizon: int
    ) -> Iterator[tuple[PastWindow, tuple[pd.Timestamp, str]]]:
        """The window up to each day and instrument that has a full lookback; ``truth`` is shorter where the bars end."""
        for day, name in index:
            rows = self.table.get(name)
            if rows is None:
                continue
            stop = rows.index.searchsorted(day, side="right")
            if stop < lookback or rows.index[stop - 1] != day:
                continue
            past = rows.iloc[stop - lookback : stop]
            after = self.calendar.searchsorted(day, side="right")
            closes = rows["close"].to_numpy()[stop : stop + horizon]
            whole = len(closes) == horizon
            times = pd.DatetimeIndex(
                rows.index[stop : stop + horizon] if whole else self.calendar[after : after + horizon]
            )
            if len(times) == horizon:
                yield (
                    PastWindow(past.reset_index(drop=True), rows.index[stop - lookback : stop], times, closes),
                    (day, name),
                )
