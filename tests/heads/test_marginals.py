"""Paths with the marginals of a head: its quantiles at every step, in the order that the model drew."""

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.heads.head import Head, HeadNetwork, HeadSpec, model_digest

BACK, AHEAD, PATHS = 40, 4, 21


@pytest.fixture(scope="module")
def predictor():
    predictor = kronos.load("nano", device="cpu")
    spec = HeadSpec("distribution", AHEAD, predictor.model.d_model)
    predictor.heads["distribution"] = Head(spec, HeadNetwork(spec), model_digest(predictor.model), BACK)
    return predictor


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(5)
    tables = []
    for _ in range(2):
        close = 50 * np.exp(rng.normal(0, 0.02, BACK).cumsum())
        open_ = np.concatenate(([50.0], close[:-1]))
        high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
        tables.append(pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}))
    times = pd.date_range("2024-01-01", periods=BACK + AHEAD)
    return tables, [times[:BACK]] * 2, [times[BACK:]] * 2


def drawn(predictor, given, calibration):
    return predictor.predict_samples(
        *given, AHEAD, sample_count=PATHS, seed=3, verbose=False, calibration=calibration
    ).astype(np.float64)


def test_paths_take_the_quantiles_of_the_head_at_every_step(predictor, given):
    closes = np.sort(drawn(predictor, given, "head")[..., 3], axis=1)
    levels = (np.arange(PATHS) + 0.5) / PATHS
    expected = predictor.quantiles_direct(*given, quantile_levels=levels)
    np.testing.assert_allclose(
        closes, expected, rtol=2e-3
    )  # a path lies between two of the head's levels on a log scale


def test_paths_keep_their_order_and_are_valid_candles(predictor, given):
    raw, moved = drawn(predictor, given, None), drawn(predictor, given, "head")
    np.testing.assert_array_equal(*(one[..., 3].argsort(1, kind="stable") for one in (raw, moved)))
    open_, high, low, close = np.moveaxis(moved[..., :4], -1, 0)
    assert (high >= np.maximum(open_, close)).all() and (low <= np.minimum(open_, close)).all()
    assert np.abs(raw[..., 3] / moved[..., 3] - 1).max() > 0.001


def test_bars_that_are_watched_are_those_of_the_end(predictor, given):
    series = [predictor.prepare(*one) for one in zip(*given, strict=True)]
    seen = {}
    found = predictor.sample_prepared(
        series,
        predictor.sampling,
        PATHS,
        [1, 2],
        calibration="head",
        on_bar=lambda n, k, bars: seen.update({(n, k): bars}),
    )
    for number, paths in enumerate(found):
        together = np.stack([seen[number, step] for step in range(AHEAD)], axis=1)
        np.testing.assert_allclose(together, paths, rtol=1e-5, atol=1e-9)


def test_pair_without_head_and_too_many_steps_raise(predictor, given):
    tables, pasts, _ = given
    longer = [pd.date_range(pasts[0][-1], periods=AHEAD + 2)[1:]] * 2
    with pytest.raises(ValueError, match=f"trained for at most {AHEAD} bars ahead"):
        predictor.predict_samples(tables, pasts, longer, AHEAD + 1, sample_count=2, verbose=False, calibration="head")
    bare = kronos.load("nano", device="cpu")
    with pytest.raises(ValueError, match="no head for distribution"):
        drawn(bare, given, "head")


def test_forecast_says_what_it_was_calibrated_with(predictor, given):
    forecast = predictor.forecast(*given, sample_count=3, seed=0, verbose=False, calibration="head")
    assert forecast.calibration == "the marginals of a head"
