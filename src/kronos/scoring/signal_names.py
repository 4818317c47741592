"""Signals: one number a series and cut-off, made of its sampled paths.

Legend: S series, P paths, H horizon.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kronos.metrics import risk
from kronos.metrics.quantiles import path_quantiles

if TYPE_CHECKING:
    from kronos.forecast.forecast import Forecast

CLOSE = 3
PLAIN = ("return", "log_return", "prob_up", "volatility", "drawdown")
"""Names without a number; the others are qNN, varNN and esNN."""
DEFAULT_SIGNALS = ("return", "prob_up", "volatility", "q05", "q95")
_WITH_LEVEL = re.compile(r"(q|var|es)(\d{1,2}(?:\.\d+)?)")


def check_signals(names: Sequence[str]) -> tuple[str, ...]:
    """The names themselves.

    Raises:
        ValueError: none, one twice, or one that is no signal.
    """
    for name in names:
        if name not in PLAIN and _level_of(name) is None:
            raise ValueError(
                f"unknown signal {name!r}; there are {', '.join(PLAIN)}, qNN (quantile of the return, such as q05), "
                "varNN and esNN (value at risk and expected shortfall, such as var95)"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"signals must be named, each once, found {', '.join(names) or 'none'}")
    return tuple(names)


def _level_of(name: str) -> tuple[str, float] | None:
    """q05 -> ("q", 0.05); the levels of var and es lie between 0 and 1."""
    match = _WITH_LEVEL.fullmatch(name)
    if match is None or (match[1] != "q" and not float(match[2]) > 0):
        return None
    return match[1], float(match[2]) / 100


def signals_of(forecast: Forecast, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Each signal as float64 [S], over the whole horizon, in fractions of the last observed close.

    return: mean close at the end of the horizon over the last close, less one; log_return: mean of the paths' log returns;
    prob_up: share of the paths that end above the last close; volatility: realised volatility over the horizon; drawdown:
    largest fall from a peak, both means of the paths; q05: 5 % quantile of the paths' simple returns; var95, es95: loss at
    that level, as in `kronos.Forecast`.
    """
    return {name: _signal(forecast, name) for name in names}


def _signal(forecast: Forecast, name: str) -> np.ndarray:
    special = _level_of(name)
    if special is not None:
        kind, level = special
        if kind == "q":
            return _return_quantiles(forecast, level)
        figure = forecast.value_at_risk(level) if kind == "var" else forecast.expected_shortfall(level)
    elif name in ("return", "log_return"):
        figure = forecast.expected_return(log=name == "log_return")
    elif name == "prob_up":
        figure = forecast.prob_up()
    else:
        figure = forecast.realised_volatility() if name == "volatility" else forecast.max_drawdown()  # type: ignore[assignment]
    return np.asarray(figure, dtype=np.float64)


def _return_quantiles(forecast: Forecast, level: float) -> np.ndarray:
    assert forecast.last is not None
    ends = (forecast[name].paths[0, :, -1, CLOSE] for name in forecast.ids)
    pairs = zip(ends, forecast.last[:, CLOSE], strict=True)
    return np.array([path_quantiles(risk.simple_returns(end, float(last)), level) for end, last in pairs])
