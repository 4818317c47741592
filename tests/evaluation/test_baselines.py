"""Baselines: what they are, and that they win where they must."""

import numpy as np
import pandas as pd
import pytest

from kronos.evaluation import cross_validation
from kronos.evaluation.dataset import make_series
from kronos.evaluation.forecasters import BASELINES, make_baseline
from kronos.evaluation.rolling_origins import origin_at
from kronos.evaluation.scores import score
from kronos.evaluation.window_losses import window_losses
from kronos.metrics.probabilistic import qlike


def table_of(close, freq="h"):
    bars = dict.fromkeys(("open", "high", "low", "close"), close)
    return pd.DataFrame({"timestamps": pd.date_range("2024-07-01", periods=len(close), freq=freq), **bars})


def window(close, horizon=6, freq="h", lookback=None):
    series = make_series("s", table_of(close, freq))
    lookback = lookback or len(close) - horizon
    return origin_at(series, len(close) - horizon, lookback, horizon).past


@pytest.fixture
def past():
    return window(100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 206).cumsum()))


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_baseline_gives_numbers_and_the_same_ones_alone_and_in_a_batch(name, past):
    other = window(50 * np.exp(np.random.default_rng(1).normal(0, 0.02, 206).cumsum()))
    model = make_baseline(name)
    together, alone = model.forecast([other, past], 6, 20, 0), model.forecast([past], 6, 20, 0)
    np.testing.assert_array_equal(together.mean[1], alone.mean[0])
    np.testing.assert_array_equal(together.at([0.1, 0.9])[1], alone.at([0.1, 0.9])[0])
    assert (alone.at([0.1])[..., 0] < alone.at([0.9])[..., 0]).all()


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_baseline_survives_a_lookback_that_hardly_moves(name):
    close = np.full(66, 100.0)
    close[30] = 100.01
    answer = make_baseline(name).forecast([window(close)], 6, 20, 0)
    assert np.abs(answer.mean / 100 - 1).max() < 0.01


def test_last_price_is_the_last_price_exactly_and_drift_the_mean_change(past):
    np.testing.assert_array_equal(make_baseline("last").forecast([past], 6, 1, 0).mean[0], np.full(6, past.last))
    slope = (past.close[-1] - past.close[0]) / (len(past.close) - 1)
    np.testing.assert_allclose(
        make_baseline("drift").forecast([past], 6, 1, 0).mean[0], past.last + slope * np.arange(1, 7)
    )


def test_seasonal_naive_repeats_the_same_hours_of_the_day_before():
    close = 100 + np.tile(np.sin(np.arange(24)), 6)
    past = window(close, horizon=24)
    assert past.season == 24
    np.testing.assert_allclose(make_baseline("seasonal").forecast([past], 24, 1, 0).mean[0], close[-24:])


def test_the_bootstrap_walk_has_the_lookbacks_own_mean_and_width(past):
    answer = make_baseline("bootstrap").forecast([past], 6, 20_000, 0)
    assert answer.paths is not None and answer.variance is not None
    np.testing.assert_allclose(answer.paths.mean(1), answer.mean, rtol=1e-3)
    assert np.log(answer.paths[0, :, -1]).std() == pytest.approx(past.returns.std() * np.sqrt(6), rel=0.03)
    assert answer.variance[0] == pytest.approx(6 * np.square(past.returns).mean())


def simulated_garch(bars, seed, omega=0.05, alpha=0.12, beta=0.83):
    rng = np.random.default_rng(seed)
    variance, out = omega / (1 - alpha - beta), np.empty(bars)
    for i in range(bars):
        out[i] = np.sqrt(variance) * rng.standard_normal()
        variance = omega + alpha * out[i] ** 2 + beta * variance
    return 100 * np.exp(0.01 * out.cumsum())


@pytest.fixture(scope="module")
def volatile():
    data = {f"g/{i}": table_of(simulated_garch(2300, i), "h") for i in range(4)}
    table = cross_validation(
        data, {}, h=12, n_windows=100, step_size=13, lookback=480, paths=40, baselines=("last", "har", "garch")
    )
    return table, score(table)


def test_where_volatility_is_garch_the_garch_baseline_forecasts_it_better_than_har_and_the_last_value(volatile):
    _, scores = volatile
    board = scores.leaderboard.set_index("model")
    for measure in ("volatility_mae", "qlike"):
        assert board.loc["garch", measure] < board.loc["har", measure]
        assert board.loc["garch", measure] < board.loc["last", measure]
    assert board.loc["garch", "volatility_r2"] > max(
        board.loc["har", "volatility_r2"], board.loc["last", "volatility_r2"]
    )


def test_the_forecast_variance_is_unbiased_where_the_model_is_true(volatile):
    losses = window_losses(volatile[0])
    mine = losses[losses["model"] == "garch"]
    assert mine["variance_forecast"].mean() == pytest.approx(mine["variance_true"].mean(), rel=0.15)
    assert mine["qlike"].mean() < qlike(np.array(mine["variance_true"].mean()), mine["variance_true"].to_numpy()).mean()


def test_an_unknown_baseline_and_a_missing_library_are_refused_by_name(monkeypatch):
    with pytest.raises(ValueError, match="no baseline 'luck': there are last, drift"):
        make_baseline("luck")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs lightgbm, which is not installed: pip install 'kronos-forecast\[evaluate\]'"
    ):
        make_baseline("lightgbm")
