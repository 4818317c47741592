"""Kronos inside sktime and GluonTS: their own checks, and the figures of the sampled paths."""

import importlib.util
import pickle

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.adapters.tables import AdapterSettings, TableHistory, candle_columns, sample

HAS_SKTIME, HAS_GLUONTS = (importlib.util.find_spec(name) is not None for name in ("sktime", "gluonts"))
needs_sktime = pytest.mark.skipif(not HAS_SKTIME, reason="needs sktime: make test-frameworks")
needs_gluonts = pytest.mark.skipif(not HAS_GLUONTS, reason="needs gluonts: make test-frameworks")
pytestmark = pytest.mark.filterwarnings("ignore")


def bars(n=80, freq="D", seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, n).cumsum())
    open_ = np.concatenate([[100.0], close[:-1]])
    table = pd.DataFrame({"open": open_, "high": np.maximum(open_, close) + 0.2, "low": np.minimum(open_, close) - 0.2})
    table["close"], table["volume"] = close, rng.uniform(100, 900, n)
    return table.set_axis(pd.date_range("2024-01-01", periods=n, freq=freq))


def test_bars_are_told_from_other_tables_by_their_columns():
    assert candle_columns(["Open", "High", "Low", "Close"]) == {"open": 0, "high": 1, "low": 2, "close": 3}
    found = candle_columns(["close", "open", "low", "high", "Volume"])
    assert found is not None and found["volume"] == 4
    for other in (["a", "b"], ["open", "close"], [0, 1, 2, 3], ["open", "high", "low", "close", "sentiment"]):
        assert candle_columns(other) is None


def test_paths_of_a_table_are_those_of_the_predictor_whatever_the_order_of_its_columns():
    table = bars()
    future = pd.date_range("2024-03-21", periods=4)
    settings = AdapterSettings(paths=5, lookback=40)
    shuffled = table[["close", "volume", "open", "low", "high"]].rename(columns=str.title)
    (found,) = sample([TableHistory(shuffled, shuffled.index, future)], settings)
    past = table.iloc[-40:]
    expected = kronos.load("nano").predict_samples(past, past.index, future, 4, sample_count=5, seed=0, verbose=False)
    np.testing.assert_allclose(found, expected[0][..., [3, 4, 0, 2, 1]], rtol=1e-4)


def test_a_column_alone_is_forecast_as_bars_from_one_value_to_the_next():
    values = bars()[["close"]].rename(columns={"close": "x"})
    future = pd.date_range("2024-03-21", periods=4)
    (found,) = sample([TableHistory(values, values.index, future)], AdapterSettings(paths=5))
    assert found.shape == (5, 4, 1) and np.isfinite(found).all()
    last = values["x"].iloc[-1]
    assert abs(found[:, 0].mean() - last) < 0.1 * last


@needs_sktime
def test_sktimes_own_checks_pass_with_the_embedded_model():
    from sktime.utils.estimator_checks import check_estimator

    from kronos.adapters.sktime import KronosForecaster

    results = check_estimator(KronosForecaster, raise_exceptions=False, verbose=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert not failed
    assert len(results) > 500


@needs_sktime
def test_sktime_forecasts_are_figures_of_one_set_of_paths():
    from kronos.adapters.sktime import KronosForecaster

    forecaster = KronosForecaster(paths=50, lookback=40).fit(bars())
    fh = [1, 2, 5]
    mean, quantiles = forecaster.predict(fh), forecaster.predict_quantiles(fh, alpha=[0.1, 0.5, 0.9])
    band, variance = forecaster.predict_interval(fh, coverage=0.8), forecaster.predict_var(fh)
    assert list(mean.columns) == ["open", "high", "low", "close", "volume"]
    assert mean.index.equals(pd.DatetimeIndex(["2024-03-21", "2024-03-22", "2024-03-25"]))
    past = bars().iloc[-40:]
    paths = (
        kronos.load("nano")
        .predict_samples(
            past,
            past.index,
            pd.date_range("2024-03-21", periods=5),
            5,
            sample_count=50,
            seed=0,
            verbose=False,
        )[0]
        .astype(float)[:, [0, 1, 4]]
    )
    np.testing.assert_allclose(mean, paths.mean(0)[:, :5], rtol=1e-5)
    np.testing.assert_allclose(
        quantiles["close"][0.1], np.quantile(paths[..., 3], 0.1, axis=0, method="weibull"), rtol=1e-5
    )
    np.testing.assert_allclose(band["close"][0.8]["upper"], quantiles["close"][0.9], rtol=1e-9)
    np.testing.assert_allclose(variance["close"], paths[..., 3].var(0), rtol=1e-3)
    covariance = forecaster.predict_var(fh, cov=True)["close"]
    np.testing.assert_allclose(covariance, np.cov(paths[..., 3].T, bias=True), rtol=1e-3)


@needs_sktime
def test_sktime_index_of_trading_days_without_a_frequency_goes_on_by_the_calendar():
    import exchange_calendars

    from kronos.adapters.sktime import KronosForecaster

    days = exchange_calendars.get_calendar("XNYS").sessions_in_range("2024-03-01", "2024-06-28")
    table = bars(len(days)).set_axis(pd.DatetimeIndex(days.to_numpy()))  # without the frequency of the calendar
    forecaster = KronosForecaster(paths=3, calendar="XNYS").fit(table)
    assert list(forecaster.predict([1, 2, 3, 4]).index.day) == [1, 2, 3, 5]  # the 4th of July is skipped


@needs_sktime
def test_sktime_forecaster_updates_and_survives_pickling():
    from kronos.adapters.sktime import KronosForecaster

    table = bars()
    forecaster = KronosForecaster(paths=3).fit(table.iloc[:70])
    forecaster.update(table.iloc[70:])
    pd.testing.assert_frame_equal(forecaster.predict([1, 2]), KronosForecaster(paths=3).fit(table).predict([1, 2]))
    again = pickle.loads(pickle.dumps(forecaster))
    pd.testing.assert_frame_equal(again.predict([1, 2]), forecaster.predict([1, 2]))


def gluon_dataset(rows):
    from gluonts.dataset.common import ListDataset

    table = [bars(90, seed=seed) for seed in range(3)]
    target = lambda t: t["close"].to_numpy() if rows == 1 else t.to_numpy().T[:rows]
    entries = [
        {"start": pd.Period("2024-01-01", "D"), "target": target(t), "item_id": f"S{i}"} for i, t in enumerate(table)
    ]
    return ListDataset(entries, freq="D", one_dim_target=rows == 1)


@needs_gluonts
def test_gluonts_evaluates_it_as_any_predictor():
    from gluonts.dataset.split import split
    from gluonts.ev.metrics import MAE, MeanWeightedSumQuantileLoss
    from gluonts.evaluation import Evaluator, make_evaluation_predictions
    from gluonts.model.evaluation import evaluate_model

    from kronos.adapters.gluonts import KronosGluonPredictor

    predictor = KronosGluonPredictor(prediction_length=6, lookback=40)
    dataset = gluon_dataset(1)
    forecasts, series = make_evaluation_predictions(dataset, predictor, num_samples=20)
    forecasts, series = list(forecasts), list(series)
    figures, by_item = Evaluator(quantiles=[0.1, 0.5, 0.9], num_workers=0)(series, forecasts)
    assert [f.item_id for f in forecasts] == ["S0", "S1", "S2"]
    assert forecasts[0].samples.shape == (20, 6)
    assert forecasts[0].start_date == pd.Period("2024-03-25", "D") and len(by_item) == 3
    truth = np.concatenate([s.iloc[-6:, 0].to_numpy() for s in series])
    median = np.concatenate([f.quantile(0.5) for f in forecasts])
    assert figures["abs_error"] == pytest.approx(np.abs(truth - median).sum(), rel=1e-6)
    _, template = split(dataset, offset=-6)
    table = evaluate_model(
        predictor, test_data=template.generate_instances(6), metrics=[MAE(), MeanWeightedSumQuantileLoss([0.1, 0.9])]
    )
    assert np.isfinite(table.to_numpy()).all()


@needs_gluonts
def test_gluonts_multivariate_targets_are_bars():
    from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions

    from kronos.adapters.gluonts import KronosGluonPredictor

    predictor = KronosGluonPredictor(prediction_length=6)
    forecasts, series = make_evaluation_predictions(gluon_dataset(4), predictor, num_samples=8)
    forecasts = list(forecasts)
    assert forecasts[0].samples.shape == (8, 6, 4)
    assert (forecasts[0].samples[..., 1] >= forecasts[0].samples[..., 3]).all()  # high, close
    figures, _ = MultivariateEvaluator(quantiles=[0.5], num_workers=0)(list(series), forecasts)
    assert np.isfinite(figures["mean_wQuantileLoss"])


@needs_gluonts
def test_gluonts_predictor_survives_its_serialisation_and_refuses_gaps(tmp_path):
    from gluonts.model.predictor import Predictor

    from kronos.adapters.gluonts import KronosGluonPredictor

    predictor = KronosGluonPredictor(prediction_length=3, num_samples=4)
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    item = next(iter(gluon_dataset(1)))
    np.testing.assert_array_equal(again.predict_item(item).samples, predictor.predict_item(item).samples)
    padded = {**item, "target": np.concatenate([[np.nan] * 5, item["target"]]), "start": item["start"] - 5}
    np.testing.assert_array_equal(predictor.predict_item(padded).samples, predictor.predict_item(item).samples)
    broken = {**item, "target": np.where(np.arange(90) == 50, np.nan, item["target"])}
    with pytest.raises(ValueError, match="S0: a value is missing"):
        predictor.predict_item(broken)
