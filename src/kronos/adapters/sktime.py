"""sktime: `KronosForecaster`, a zero-shot forecaster of bars, of any columns, and of their distribution.

from kronos.adapters.sktime import KronosForecaster
forecaster = KronosForecaster(model="nano", paths=100).fit(bars[["open", "high", "low", "close"]])
forecaster.predict(fh=range(1, 11))
forecaster.predict_interval(fh=range(1, 11), coverage=0.9)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from kronos.adapters.tables import AdapterSettings, TableHistory, dated, sample
from kronos.calendars import future_timestamps
from kronos.metrics.quantiles import path_quantiles

KEPT = 5_000
"""Latest rows that a fitted forecaster keeps."""


class KronosForecaster(BaseForecaster):
    """Zero-shot sktime forecaster by a Kronos model: ``fit`` stores the history and trains nothing.

    A table with open, high, low and close (and volume, amount) is forecast as K-lines; of any other table each column alone,
    as bars from one value to the next. Quantiles, intervals and variances are those of the sampled paths.

    Args:
        model: "nano" (built in), "mini", "small", "base", a Hub id or a folder.
        tokenizer: where it does not follow from ``model``.
        lookback: latest rows that the model sees; None takes what the context holds, up to 400.
        paths: sampled paths.
        temperature, top_p: None takes the model's own.
        top_k: 0 is off.
        seed: the same seed gives the same forecast; None draws anew at every call.
        calendar: of the rows to come where the index is of dates without a frequency (see `kronos.future_timestamps`).
        device: None takes the best there is.

    Examples:
        >>> from sktime.datasets import load_airline
        >>> from kronos.adapters.sktime import KronosForecaster
        >>> forecaster = KronosForecaster(paths=10).fit(load_airline())
        >>> forecast = forecaster.predict(fh=[1, 2, 3])
        >>> band = forecaster.predict_interval(fh=[1, 2, 3], coverage=0.8)
    """

    _config: ClassVar[dict[str, Any]] = {"remember_data": True}  # said, since sktime is about to change its default
    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["Kronos"],
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": False,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "y_inner_mtype": "pd.DataFrame",
    }

    def __init__(
        self,
        model: str = "nano",
        tokenizer: str | None = None,
        lookback: int | None = None,
        paths: int = 100,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float | None = None,
        seed: int | None = 0,
        calendar: str | None = None,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.lookback = lookback
        self.paths = paths
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed
        self.calendar = calendar
        self.device = device
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> KronosForecaster:
        self._history = y.iloc[-KEPT:]
        return self

    def _update(self, y: pd.DataFrame, X: Any = None, update_params: bool = True) -> KronosForecaster:
        """Add newer rows, and replace values of known rows by newer ones."""
        known = self._history[~self._history.index.isin(y.index)]
        self._history = pd.concat([known, y]).sort_index().iloc[-KEPT:]
        return self

    def _predict(self, fh: ForecastingHorizon, X: Any) -> pd.DataFrame:
        paths, index = self._paths(fh)
        return pd.DataFrame(paths.mean(0), index=index, columns=self._history.columns)

    def _predict_quantiles(self, fh: ForecastingHorizon, X: Any, alpha: list[float]) -> pd.DataFrame:
        paths, index = self._paths(fh)
        names = self._get_varnames()
        columns = pd.MultiIndex.from_product([names, alpha])
        levels = path_quantiles(paths, alpha)  # [levels, H, C]
        return pd.DataFrame(levels.transpose(1, 2, 0).reshape(len(index), -1), index=index, columns=columns)

    def _predict_var(self, fh: ForecastingHorizon, X: Any, cov: bool = False) -> pd.DataFrame:
        paths, index = self._paths(fh)
        names = self._get_varnames()
        if not cov:
            return pd.DataFrame(paths.var(0), index=index, columns=names)
        centred = paths - paths.mean(0)
        blocks = np.einsum("phc,pkc->hck", centred, centred) / len(paths)
        columns = pd.MultiIndex.from_product([names, index])
        return pd.DataFrame(blocks.reshape(len(index), -1), index=index, columns=columns)

    def _paths(self, fh: ForecastingHorizon) -> tuple[np.ndarray, pd.Index]:
        """Sample paths [P, H, C] at the steps of fh; return them and their index."""
        steps = np.asarray(fh.to_relative(self.cutoff).to_pandas(), dtype=np.int64)
        index = self._index_of(int(steps.max()))
        first = (
            0 if isinstance(self._history.index, (pd.DatetimeIndex, pd.PeriodIndex)) else int(self._history.index[0])
        )
        history = TableHistory(self._history, dated(self._history.index, first), dated(index, first))
        told = {name: value for name, value in self.get_params(deep=False).items() if name in AdapterSettings._fields}
        (paths,) = sample([history], AdapterSettings(**told))
        return paths[:, steps - 1], index[steps - 1].set_names(self._history.index.name)

    def _index_of(self, count: int) -> pd.Index:
        """Return the index of the next ``count`` rows."""
        if self._irregular():
            return future_timestamps(pd.DatetimeIndex(self._history.index), count, self.calendar)
        return ForecastingHorizon(range(1, count + 1), is_relative=True).to_absolute_index(self.cutoff)

    def _irregular(self) -> bool:
        """Whether the index has dates without a frequency, as with holidays; sktime then takes only steps, not dates, for fh."""
        index = self._history.index
        return (
            isinstance(index, pd.DatetimeIndex)
            and index.freq is None
            and (len(index) < 3 or pd.infer_freq(index) is None)
        )

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return settings for sktime's tests: the built-in model and few paths."""
        return [{"paths": 4, "lookback": 16}, {"paths": 3, "temperature": 0.8, "top_k": 20, "seed": 7}]
