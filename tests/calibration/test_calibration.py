"""Calibration: an increasing map of each path, fitted on past windows, that mends spreads which are too narrow."""

import json

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.calibration import AdaptiveLevels, Calibration
from kronos.calibration.fitting import FitWindows, calibrated, evaluate_calibration, fit
from kronos.calibration.volatility_features import features_of
from kronos.forecast.forecast import valid_candles

STEPS = 12


def lookback(bars: int = 100, seed: int = 0) -> tuple[np.ndarray, pd.DatetimeIndex, pd.DatetimeIndex]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, bars).cumsum())
    opens = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    times = pd.date_range("2024-01-01", periods=bars + STEPS, freq="h")
    return np.stack([opens, high, low, close, close, close], 1), times[:bars], times[bars:]


def windows(spread: float, n: int = 400, paths: int = 60, seed: int = 0) -> FitWindows:
    """Walks of changing volatility, forecast with a given share of their true spread."""
    rng = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(rng.normal(0, 0.4, n))
    recent = rng.normal(0, 0.5, n)
    true = volatility * np.exp(0.6 * recent)  # the volatility to come follows the recent one
    truth = (rng.standard_normal((n, STEPS)) * true[:, None]).cumsum(1)
    y = (rng.standard_normal((n, paths, STEPS)) * volatility[:, None, None] * spread).cumsum(2)
    features = np.zeros((n, STEPS, 4))
    features[..., 0], features[..., 1] = np.log(np.arange(1, STEPS + 1)), recent[:, None]
    frequency = np.where(np.arange(n) % 2, "1d", "1h")
    time = pd.date_range("2020-01-01", periods=n).to_numpy()
    return FitWindows(y.astype(np.float32), truth, features, volatility, frequency, time)


def test_a_model_four_times_too_narrow_covers_what_it_should_after_calibration():
    told = windows(0.25, n=2000, paths=40)
    calibration = fit(told.part(np.arange(1000)))
    verdict = evaluate_calibration(told.part(np.arange(1000, 2000)), calibration)
    assert verdict.covers[0] < 0.4
    assert 0.77 <= verdict.covers[1] <= 0.83
    assert verdict.helps and verdict.interval[1] < 0.9
    assert calibration.features["recent"] == pytest.approx(0.6, abs=0.15)


def test_a_model_that_is_right_is_left_nearly_as_it_is():
    told = windows(1.0, n=1000)
    told.truth, told.y = told.y[:, 0].astype(float), told.y[:, 1:]
    found = calibrated(told, fit(told))
    assert np.median(np.abs(found.std(1) / told.y.std(1) - 1)) < 0.05


def test_the_map_is_increasing_and_the_same_for_every_path():
    bars, past, future = lookback()
    calibration = Calibration(shrink=0.3, spread=0.2, own_spread=-0.3)
    y = np.random.default_rng(1).normal(0, 0.02, (40, STEPS)).cumsum(1)
    own = calibration.of(bars, past, future)
    assert own is not None
    found = own.closes(y)
    for step in range(STEPS):
        order = np.argsort(y[:, step])
        slope = np.diff(found[order, step]) / np.diff(y[order, step])
        assert slope.min() > 0
        np.testing.assert_allclose(slope, slope[0], rtol=1e-6)


def test_shrinking_and_stretching_do_what_they_say():
    bars, past, future = lookback()
    y = 0.05 + np.random.default_rng(1).normal(0, 0.02, (4000, STEPS))
    own = Calibration(shrink=0.3, spread=np.log(1.5)).of(bars, past, future)
    assert own is not None
    found = own.closes(y)
    np.testing.assert_allclose(found.mean(0), 0.3 * y.mean(0), atol=1e-4)
    np.testing.assert_allclose(found.std(0), 1.5 * y.std(0), rtol=1e-2)


def test_candles_stay_valid_with_their_gaps_and_wicks_and_volume_stays():
    bars, past, future = lookback()
    paths = valid_candles(np.stack([lookback(STEPS, seed)[0] for seed in range(20)]) * bars[-1, 3] / 100)
    found = Calibration(shrink=0.2, spread=0.5).apply(paths, bars, past, future)
    np.testing.assert_allclose(valid_candles(found), found, rtol=1e-12)
    before = np.concatenate((np.full((20, 1), bars[-1, 3]), paths[:, :-1, 3]), 1)
    now = np.concatenate((np.full((20, 1), bars[-1, 3]), found[:, :-1, 3]), 1)
    np.testing.assert_allclose(found[..., 0] / now, paths[..., 0] / before, rtol=1e-9)
    np.testing.assert_array_equal(found[..., 4:], paths[..., 4:])
    assert not np.shares_memory(found, paths)


def test_step_by_step_gives_the_same_as_all_steps_at_once():
    bars, past, future = lookback()
    paths = valid_candles(np.stack([lookback(STEPS, seed)[0] for seed in range(20)]) * bars[-1, 3] / 100)
    one = Calibration(shrink=0.2, spread=0.3, own_spread=-0.2).of(bars, past, future)
    assert one is not None
    whole, before = one(paths), None
    for step in range(STEPS):
        part = one(paths[:, step : step + 1], step, before)
        np.testing.assert_allclose(part[:, 0], whole[:, step], rtol=1e-9)
        before = (paths[:, step, 3], part[:, 0, 3])


def test_features_do_not_see_the_future_and_follow_the_recent_volatility():
    bars, past, future = lookback()
    known = features_of(bars, past, future)
    assert known.shape == (STEPS, 4)
    wild = bars.copy()
    wild[-5:, 3] *= np.exp([0.05, -0.05, 0.05, -0.05, 0.05])
    assert features_of(wild, past, future)[0, 1] > known[0, 1] + 0.3
    later = future.shift(1000)
    np.testing.assert_allclose(features_of(bars, past, later)[:, :3], known[:, :3])


def test_prices_that_stand_still_or_are_not_positive_are_left_alone():
    bars, past, future = lookback()
    paths = np.ones((3, STEPS, 6))
    for odd in (np.full_like(bars, 5.0), bars - 200):
        np.testing.assert_array_equal(Calibration(shrink=0.1).apply(paths, odd, past, future), paths)


def test_a_calibration_is_json_that_is_checked_when_read(tmp_path):
    path = tmp_path / "cal.json"
    made = fit(windows(0.5, n=60), {"model": "nano"})
    made.save(path)
    assert Calibration.load(path) == made
    told = json.loads(path.read_text())
    assert told["version"] == 1 and told["fitted_on"]["windows"] == 60 and "first" in told["fitted_on"]
    for change, said in (
        ({"version": 2}, "no calibration of version 1"),
        ({"extra": 1}, "unknown keys extra"),
        ({"spread": "wide"}, "spread must be a finite number"),
        ({"features": {"step": 0.0}}, "has the features step, recent"),
        ({"shrink": -1}, "shrink must lie in 0..2"),
    ):
        path.write_text(json.dumps(told | change))
        with pytest.raises(ValueError, match=said):
            Calibration.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a calibration"):
        Calibration.load(path)


def test_adaptive_levels_cover_what_they_should_under_any_drift(tmp_path):
    rng, levels = np.random.default_rng(0), AdaptiveLevels(coverage=0.8, rate=0.05)
    for t in range(2000):
        sample, outcome = rng.normal(0, 1, 200), rng.normal(0, 1 + t / 500)  # the model's spread is ever more wrong
        low, high = np.quantile(sample, levels.levels)
        assert levels.below is not None and levels.above is not None
        levels.update(low if levels.below > 0 else -np.inf, high if levels.above > 0 else np.inf, outcome)
    assert levels.outside / levels.seen == pytest.approx(0.2, abs=0.03)
    levels.save(tmp_path / "state.json")
    assert AdaptiveLevels.load(tmp_path / "state.json") == levels
    with pytest.raises(ValueError, match="coverage and rate"):
        AdaptiveLevels(coverage=1.0)


# ------------------------------------------------------------------------------------------ through the predictor


@pytest.fixture(scope="module")
def nano():
    return kronos.load("nano", device="cpu")


def asked(nano, **options):
    bars, past, future = lookback(120)
    table = pd.DataFrame(bars[:, :5], columns=["open", "high", "low", "close", "volume"])
    return nano.forecast(table, past, future, sample_count=20, seed=0, verbose=False, **options)


def test_a_forecast_says_by_what_it_is_calibrated_and_keeps_it(nano, tmp_path):
    calibration = Calibration(
        shrink=0.1, spread=0.7, fitted_on={"model": "nano", "first": "2020-01-01", "last": "2021-01-01"}
    )
    raw, wide = asked(nano, calibration=None), asked(nano, calibration=calibration)
    assert raw.calibration is None
    assert wide.calibration == "fitted for nano on bars from 2020-01-01 to 2021-01-01"
    assert wide.paths[..., 3].std(1).mean() > 1.7 * raw.paths[..., 3].std(1).mean()
    wide.save(tmp_path / "f.parquet")
    assert kronos.Forecast.load(tmp_path / "f.parquet").calibration == wide[0].calibration == wide.calibration
    calibration.save(tmp_path / "cal.json")
    np.testing.assert_array_equal(asked(nano, calibration=tmp_path / "cal.json").paths, wide.paths)


def test_auto_is_the_pairs_own_and_predict_is_never_calibrated(nano, monkeypatch):
    bars, past, future = lookback(120)
    table = pd.DataFrame(bars[:, :5], columns=["open", "high", "low", "close", "volume"])
    ask = {"sample_count": 3, "seed": 0, "verbose": False}
    before = nano.predict(table, past, future, STEPS, **ask)
    own = Calibration(shrink=0.0, spread=1.0)
    monkeypatch.setattr(nano, "calibration", own)
    np.testing.assert_array_equal(asked(nano).paths, asked(nano, calibration=own).paths)
    pd.testing.assert_frame_equal(nano.predict(table, past, future, STEPS, **ask), before)
    assert asked(nano, anchor=None).calibration is None
    with pytest.raises(ValueError, match="fitted for anchored paths"):
        asked(nano, anchor=None, calibration=own)
    with pytest.raises(ValueError, match='calibration must be "auto", "head", None'):
        asked(nano, calibration=3)
