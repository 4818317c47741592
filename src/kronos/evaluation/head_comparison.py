"""A head beside other methods, on windows of its verdict: simple baselines, and paths of the same model.

Legend: N windows, K steps, Q quantile levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.calibration.calibration import frequency_of
from kronos.calibration.volatility_features import lookback_volatility
from kronos.evaluation.forecasters.baselines import make_baseline
from kronos.evaluation.forecasters.models import HeadForecaster, PairForecaster, with_calibration
from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import CHUNK, Past
from kronos.heads.examples import plain_time
from kronos.heads.head_verdict import COVERAGE, ic_columns, interval_of, ratio_of, rounded
from kronos.metrics.significance import Blocks

if TYPE_CHECKING:
    from kronos.calibration.fitting import PastWindow
    from kronos.evaluation.forecasters.models import Forecaster
    from kronos.heads.head import Head
    from kronos.predictor import KronosPredictor

BASELINES = {"last price": "last", "HAR": "har", "GARCH(1,1)": "garch", "LightGBM": "lightgbm"}
"""The baselines of `kronos.evaluation.forecasters` that a head is compared with."""
PATHS = 40
"""Paths of each forecast; CRPS of paths is fair for any number."""
STANDS_STILL = 1e-6
"""Forecast returns that differ by less, in units of the horizon's volatility, say no direction."""
HEAD = "the head"


def compare_head(
    predictor: KronosPredictor,
    head: Head,
    windows: Sequence[PastWindow],
    most: int,
    names: Sequence[str] | None = None,
    seed: int = 0,
    covariates: pd.DataFrame | None = None,
    echo: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Scores of a head that was just trained, of baselines that see the same lookbacks, and of paths of its model.

    Args:
        predictor: the pair; its own calibration is applied to the paths where there is one.
        head: as `kronos.heads.train_head` gives it for these windows; those of its verdict alone are forecast.
        most: windows that are forecast, about (a rank head's dates stay whole), spread over time.
        names: of each window's series; None numbers the windows.
        covariates: the table that the head was trained with.
        echo: called with a line before each method.

    Returns:
        windows, blocks, paths; ``methods``: {name: figures}, the head's first; ``left_out``: {name: reason}.

        Figures: seconds; ic of the forecast with the return over the horizon (within each date for a rank head), None where a
        method says no direction; for a distribution head crps (of the close, over the lookback's volatility times the root of
        the step), coverage_80, and of the others head_over: the head's crps over this one, below 1 where the head is better.
        Each but crps has its 95 % interval of a bootstrap of blocks of time, ..._interval; None with fewer than ten blocks.

    Raises:
        ValueError: ``most`` below 1, or a head that was not trained on these windows.
    """
    if most < 1 or not head.tested or max(head.tested) >= len(windows):
        raise ValueError(
            "a head is compared on at least one window of its verdict: give the windows that it was trained on"
        )
    numbers = _spread(windows, np.array(head.tested), most, head.spec.task == "rank")
    chosen = [windows[i] for i in numbers]
    pasts = [_past(str(i if names is None else names[i]), windows[i]) for i in numbers]
    truth = np.stack([one.truth for one in chosen])
    start = np.array([plain_time(one.past[-1]) for one in chosen])
    end = np.array([plain_time(one.future[-1]) for one in chosen])
    blocks = Blocks.of(pd.Series(start), pd.Series(end), seed)
    last = np.array([one.last for one in pasts])
    volatility = np.array([lookback_volatility(one.close) for one in pasts])
    unit = (last * volatility)[:, None] * np.sqrt(np.arange(1, truth.shape[1] + 1))
    scale = unit[:, -1] / last
    came = np.log(truth[:, -1] / last) / scale
    by_date, distribution = head.spec.task == "rank", head.spec.task == "distribution"

    methods: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    own_crps = np.empty(0)
    for name, make in _methods(predictor, head, covariates).items():
        try:
            forecast = make()
        except ValueError as error:  # a library that is not installed
            left_out[name] = str(error)
            continue
        if echo is not None:
            echo(f"comparing on {len(chosen):,} windows: {name}")
        clock = time.perf_counter()
        parts = [forecast(pasts[i : i + CHUNK], seed) for i in range(0, len(pasts), CHUNK)]
        figures: dict[str, Any] = {}
        predictions = [part for part in parts if isinstance(part, Prediction)]
        if distribution:
            crps = _crps(predictions, truth, unit)
            figures["crps"] = rounded(crps.mean())
            if methods:
                columns = np.stack((own_crps, crps), 1)
                figures["head_over"] = rounded(ratio_of(columns.sum(0)))
                figures["head_over_interval"] = interval_of(blocks, columns, ratio_of)
            else:
                own_crps = crps
            inside = _inside(predictions, truth)
            figures["coverage_80"] = rounded(inside.mean())
            figures["coverage_80_interval"] = interval_of(blocks, np.stack((inside, np.ones_like(inside)), 1), ratio_of)
        if predictions:
            expected = np.concatenate([part.mean[:, -1] for part in predictions]) / last
            signal = np.log(np.maximum(expected, 1e-9)) / scale
        else:
            signal = np.concatenate([np.asarray(part) for part in parts])
        columns, of = ic_columns(signal, came, start, by_date)
        speaks = np.ptp(signal) > STANDS_STILL
        figures["ic"] = rounded(of(columns.sum(0))) if speaks else None
        figures["ic_interval"] = interval_of(blocks, columns, of) if speaks else None
        figures["seconds"] = round(time.perf_counter() - clock, 1)
        methods[name] = figures
    return {
        "windows": len(chosen),
        "blocks": blocks.count,
        "paths": PATHS,
        "methods": methods,
        "left_out": left_out,
    }


_Call = Callable[[Sequence[Past], int], "Prediction | np.ndarray"]


def _methods(predictor: KronosPredictor, head: Head, covariates: pd.DataFrame | None) -> dict[str, Callable[[], _Call]]:
    """A function that makes each method's forecasts, by name; the head's first."""

    def of(make: Callable[[], Forecaster]) -> Callable[[], _Call]:
        def made() -> _Call:
            forecaster = make()
            return lambda pasts, seed: forecaster.forecast(pasts, pasts[0].horizon, PATHS, seed)

        return made

    def own() -> _Call:
        asked = {"direction": predictor.direction_direct, "rank": predictor.rank_direct}[head.spec.task]

        def score(pasts: Sequence[Past], seed: int) -> np.ndarray:
            found = asked([p.bars for p in pasts], [p.times for p in pasts], [p.future for p in pasts], covariates)
            return found[:, 2] - found[:, 0] if head.spec.task == "direction" else found

        return score

    sampled = PairForecaster("", predictor)
    calibrated = with_calibration(sampled, "auto")
    paths = "paths, " + ("as drawn" if calibrated is None else "calibrated")
    return {
        HEAD: of(lambda: HeadForecaster("", predictor, covariates)) if head.spec.task == "distribution" else own,
        paths: of(lambda: sampled if calibrated is None else calibrated),
        **{name: of(partial(make_baseline, baseline)) for name, baseline in BASELINES.items()},
    }


def _spread(windows: Sequence[PastWindow], tested: np.ndarray, most: int, by_date: bool) -> np.ndarray:
    """Numbers of about ``most`` of the tested windows, evenly in time; whole dates where windows of one date are compared."""
    start = np.array([plain_time(windows[i].past[-1]) for i in tested])
    tested, start = tested[np.argsort(start, kind="stable")], np.sort(start)
    if not by_date:
        return tested[np.unique(np.linspace(0, len(tested) - 1, min(most, len(tested))).round().astype(int))]
    dates = np.unique(start)
    wanted = max(1, min(len(dates), round(most * len(dates) / len(tested))))
    kept = dates[np.unique(np.linspace(0, len(dates) - 1, wanted).round().astype(int))]
    return tested[np.isin(start, kept)]


def _past(name: str, one: PastWindow) -> Past:
    cutoff = pd.Timestamp(plain_time(one.past[-1]))
    return Past(name, "", frequency_of(one.past), 1, one.bars, one.past, one.future, cutoff)


def _crps(parts: Sequence[Prediction], truth: np.ndarray, unit: np.ndarray) -> np.ndarray:
    ends = np.cumsum([len(part.mean) for part in parts])[:-1]
    found = [part.crps(y) for part, y in zip(parts, np.split(truth, ends), strict=True)]
    return (np.concatenate(found) / unit).mean(1)


def _inside(parts: Sequence[Prediction], truth: np.ndarray) -> np.ndarray:
    bounds = np.concatenate([part.at(COVERAGE) for part in parts])
    return ((truth >= bounds[..., 0]) & (truth <= bounds[..., 1])).mean(1)
