"""Charts of a forecast: its history, mean candles and fan as plain data for `kronos.plotting`.

Legend: P paths, H horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.forecast.checks import check_truth, fractions
from kronos.metrics.quantiles import path_quantiles
from kronos.number_checks import whole
from kronos.plotting.fan import Band, Chart

if TYPE_CHECKING:
    from kronos.forecast.forecast import Forecast


def charts_of(
    forecast: Forecast,
    history_bars: int | None,
    truth: Mapping[int | str, pd.DataFrame],
    coverages: Sequence[float],
    samples: int,
) -> list[Chart]:
    """Return a chart for each series; the arguments are those of `Forecast.plot` and `Forecast.to_html`.

    Raises:
        ValueError: ``truth`` has an id that is no series of the forecast.
    """
    bars = None if history_bars is None else whole(history_bars, "history_bars", 0)
    levels = fractions(coverages, "coverages") if np.size(coverages) else []
    thin = whole(samples, "samples", 0)
    unknown = [name for name in truth if name not in forecast]
    if unknown:
        raise ValueError(f"truth is given for {unknown[0]!r}, which is no series of the forecast")
    return [_chart_of(forecast[name], bars, truth.get(name), levels, thin) for name in forecast]


def _chart_of(
    one: Forecast, bars: int | None, truth: pd.DataFrame | None, coverages: Sequence[float], samples: int
) -> Chart:
    mean = one.mean()
    paths = one.paths[0]
    closes = paths[:, :, list(mean.columns).index("close")].astype(np.float64)  # [P, H]
    if one.history is not None:
        bars = max(60, 3 * len(mean)) if bars is None else bars
        history = one.history[0].iloc[max(0, len(one.history[0]) - bars) :]
    else:
        history = mean.iloc[:0]
    bands: list[Band] = []
    if len(closes) > 1:  # of one path, every quantile is the path
        for coverage in coverages:
            lower, upper = path_quantiles(closes, [(1 - coverage) / 2, (1 + coverage) / 2])
            bands.append((coverage, lower, upper))
    return Chart(
        history,
        mean,
        bands,
        np.median(closes, axis=0) if bands else None,
        closes[:samples] if samples else None,
        None if truth is None else check_truth(truth, one.ids[0], one.timestamps[0]),
    )
