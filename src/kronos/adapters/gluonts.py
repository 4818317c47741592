"""GluonTS: `KronosGluonPredictor`, whose forecasts are the sampled paths.

from gluonts.evaluation import Evaluator, make_evaluation_predictions
from kronos.adapters.gluonts import KronosGluonPredictor
predictor = KronosGluonPredictor(prediction_length=24, model="nano")
forecasts, series = make_evaluation_predictions(dataset, predictor, num_samples=100)
figures, by_item = Evaluator()(series, forecasts)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.itertools import batcher
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor

from kronos.adapters.tables import AdapterSettings, TableHistory, sample
from kronos.schema import FEATURES

TOGETHER = 64
"""Items of a data set that are forecast in one call."""


class KronosGluonPredictor(RepresentablePredictor):
    """GluonTS predictor for the items of a data set, univariate (targets [T]) or multivariate ([D, T]).

    Four to six rows of a multivariate target are open, high, low, close, volume and amount, in this order. With another number
    of rows each row is forecast alone, like a univariate target: as bars from one value to the next.

    Args:
        prediction_length: bars to forecast.
        model, tokenizer, lookback, temperature, top_k, top_p, seed, device: as in `kronos.adapters.sktime.KronosForecaster`.
        num_samples: paths, where ``predict`` gets no number.
    """

    @validated()
    def __init__(
        self,
        prediction_length: int,
        model: str = "nano",
        tokenizer: str | None = None,
        lookback: int | None = None,
        num_samples: int = 100,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float | None = None,
        seed: int | None = 0,
        device: str | None = None,
    ) -> None:
        super().__init__(prediction_length=prediction_length)
        self.num_samples = num_samples
        self.settings = AdapterSettings(
            model, tokenizer, lookback, num_samples, temperature, top_k, top_p, seed, device
        )

    def predict(self, dataset: Any, num_samples: int | None = None, **kwargs: Any) -> Iterator[SampleForecast]:
        """Yield a SampleForecast for each item, [P, H] or [P, H, D]."""
        told = self.settings._replace(paths=num_samples or self.num_samples)
        for items in batcher(dataset, TOGETHER):
            paths = sample([self._history(item) for item in items], told)
            for item, drawn in zip(items, paths, strict=True):
                target = np.asarray(item["target"])
                yield SampleForecast(
                    samples=drawn[..., 0] if target.ndim == 1 else drawn,
                    start_date=item["start"] + target.shape[-1],
                    item_id=item.get("item_id"),
                )

    def predict_item(self, item: Any) -> SampleForecast:
        return next(self.predict([item]))

    def _history(self, item: Any) -> TableHistory:
        target = np.atleast_2d(np.asarray(item["target"], dtype=np.float64))  # [D, T]
        name = item.get("item_id", "an item")
        real = np.flatnonzero(~np.isnan(target).any(0))
        first = int(real[0]) if len(real) else 0  # rows are often padded at the front
        if len(real) < target.shape[1] - first or len(real) < 2:
            raise ValueError(
                f"{name}: a value is missing, or there are fewer than 2; fill the gaps first (leading ones may stay)"
            )
        rows, length = target.shape
        columns = list(FEATURES[:rows]) if 4 <= rows <= 6 else [f"row {i}" for i in range(rows)]
        values = pd.DataFrame(target[:, first:].T, columns=columns)
        periods = pd.period_range(item["start"], periods=length + self.prediction_length)
        times = periods.to_timestamp()
        return TableHistory(values, times[first:length], times[length:])
