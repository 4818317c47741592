"""The data of a forecast: the sampled paths of many series, with their names, times, last observed bars and lookbacks.

Legend: S series, P paths, H horizon (each series has its own, H_i), 6 features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from kronos.forecast.checks import check_histories, check_ids, check_last, check_paths, check_timestamps

Some = TypeVar("Some", bound="ForecastPaths")


class ForecastPaths:
    """Base of `kronos.forecast.Forecast`: holds and checks the data, and selects series."""

    def __init__(
        self,
        paths: Sequence[np.ndarray] | np.ndarray,
        timestamps: Sequence[pd.DatetimeIndex],
        ids: Sequence[object] | None = None,
        last: Sequence[pd.Series | np.ndarray] | np.ndarray | None = None,
        history: Sequence[pd.DataFrame] | None = None,
        calibration: str | None = None,
    ) -> None:
        self.calibration = calibration
        """What the paths were calibrated by, in a few words; None: they are as the model draws them."""
        self._ids = check_ids(ids, len(paths))
        self._places: dict[object, int] = {name: place for place, name in enumerate(self._ids)}
        self._paths = check_paths(paths, self._ids)
        self._timestamps = check_timestamps(timestamps, self._ids, self.horizons)
        self._history = check_histories(history, self._ids, self._timestamps)
        self._last = check_last(last, self._ids, self._history)

    @property
    def ids(self) -> tuple[int | str, ...]:
        """Names of the S series."""
        return self._ids

    @property
    def n_paths(self) -> int:
        """P, the same for every series."""
        return int(self._paths[0].shape[0])

    @property
    def horizons(self) -> tuple[int, ...]:
        """H_i, the number of bars forecast, series by series."""
        return tuple(int(paths.shape[1]) for paths in self._paths)

    @property
    def timestamps(self) -> tuple[pd.DatetimeIndex, ...]:
        """The times of the bars, series by series."""
        return self._timestamps

    @property
    def last(self) -> np.ndarray | None:
        """The last observed bars, float64 [S, 6], where they are known."""
        return self._last

    @property
    def history(self) -> tuple[pd.DataFrame, ...] | None:
        """The lookback tables, series by series, where they were given."""
        return None if self._history is None else tuple(self._history)

    @property
    def paths(self) -> np.ndarray:
        """The paths, float [S, P, H, 6] in prices; read-only.

        Raises:
            ValueError: the horizons differ; take ``forecast[id].paths``.
        """
        if len(set(self.horizons)) > 1:
            raise ValueError(
                f"the series have horizons from {min(self.horizons)} to {max(self.horizons)} and do not fit one array; take "
                f"one series, such as forecast[{self._ids[0]!r}].paths, or those of one horizon, forecast[[...]].paths"
            )
        stacked = self._paths[0][None] if len(self) == 1 else np.stack(self._paths)
        stacked.flags.writeable = False
        return stacked

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._ids)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, (int, str, np.integer)) and not isinstance(id, bool) and id in self._places

    def __repr__(self) -> str:
        low, high = min(self.horizons), max(self.horizons)
        names = ", ".join(map(str, self._ids[:5])) + (", ..." if len(self) > 5 else "")
        bars = f"{low} bars" if low == high else f"{low} to {high} bars"
        return f"<Forecast of {len(self)} series ({names}): {self.n_paths} paths of {bars}>"

    def __getitem__(self: Some, id: object) -> Some:
        """Return the forecast of the series of that id, or of several for a list of ids.

        Raises:
            KeyError: there is no such series.
            ValueError: an empty list, or an id twice in it.
        """
        chosen = id if isinstance(id, list) else [id]
        for name in chosen:
            if name not in self:
                shown = ", ".join(map(repr, self._ids[:5])) + (", ..." if len(self) > 5 else "")
                raise KeyError(f"there is no series {name!r}; the {len(self)} series are {shown}")
        places = [self._places[name] for name in chosen]
        part = object.__new__(type(self))
        part.calibration = self.calibration
        part._ids = check_ids([self._ids[i] for i in places], len(places))
        part._places = {name: place for place, name in enumerate(part._ids)}
        part._paths = [self._paths[i] for i in places]
        part._timestamps = tuple(self._timestamps[i] for i in places)
        part._history = None if self._history is None else [self._history[i] for i in places]
        part._last = None if self._last is None else self._last[places]
        return part

    def _one(self: Some, id: int | str | None) -> Some:
        if id is not None:
            return self[id]
        if len(self) > 1:
            raise ValueError(f"the forecast has {len(self)} series; say which one to draw, such as id={self._ids[0]!r}")
        return self

    def _times(self, times: int = 1) -> pd.DatetimeIndex:
        """The timestamps of every series ``times`` times over, one below the other."""
        parts = list(self._timestamps)
        if len({str(part.tz) for part in parts}) > 1:
            parts = [part.tz_convert("UTC") for part in parts]
        repeated = [part.take(np.tile(np.arange(len(part)), times)) for part in parts]
        return repeated[0].append(repeated[1:]).rename("timestamps")  # type: ignore[return-value,arg-type]

    def _id_index(self) -> pd.Index:
        return pd.Index(list(self._ids), name="id")

    def _repeated_ids(self, times: int) -> pd.Index:
        """The id of every row of a table with ``times`` rows a bar."""
        return self._id_index().repeat([times * horizon for horizon in self.horizons])

    def _known_last(self) -> np.ndarray:
        if self._last is None:
            raise ValueError(
                "this figure starts from the last observed bar, which the forecast was made without; make it with "
                "Forecast(..., last=[...]) or with history=[...]"
            )
        return self._last
