"""Scores against independent implementations, and against what theory says of them."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from kronos.evaluation.prediction import Prediction
from kronos.metrics import probabilistic as metrics

RNG = np.random.default_rng(0)


def benchmark():
    """benchmarks/nano.py, the earlier and smaller evaluation."""
    path = Path(__file__).parents[2] / "benchmarks" / "nano.py"
    spec = importlib.util.spec_from_file_location("nano_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_crps_of_paths_agrees_with_properscoring_and_the_benchmark_and_is_fair():
    properscoring = pytest.importorskip("properscoring")
    paths, y = RNG.normal(size=(5, 30, 7)), RNG.normal(size=(5, 7))
    ours = metrics.crps_paths(paths, y)
    # properscoring's ensemble score counts pairs of a path with itself; the fair one does not
    biased = properscoring.crps_ensemble(y, np.moveaxis(paths, 1, -1))
    gap = np.abs(paths[:, :, None] - paths[:, None]).sum((1, 2)) * (1 / (2 * 30 * 30) - 1 / (2 * 30 * 29))
    np.testing.assert_allclose(ours, biased + gap, atol=1e-10)
    np.testing.assert_allclose(ours[0], benchmark().crps(paths[0], y[0]), atol=1e-12)


def test_crps_of_one_path_is_its_absolute_error():
    paths, y = RNG.normal(size=(3, 1, 4)), RNG.normal(size=(3, 4))
    np.testing.assert_allclose(metrics.crps_paths(paths, y), np.abs(paths[:, 0] - y))


def test_the_expected_crps_does_not_depend_on_how_many_paths_are_drawn():
    y = RNG.normal(size=(40_000, 1))
    few, many = (metrics.crps_paths(RNG.normal(size=(40_000, n, 1)), y).mean() for n in (2, 40))
    assert few == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)
    assert many == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)


def test_crps_of_normals_agrees_with_properscoring():
    properscoring = pytest.importorskip("properscoring")
    mean, sigma, y = RNG.normal(size=50), RNG.uniform(0.1, 3, 50), RNG.normal(size=50)
    np.testing.assert_allclose(
        metrics.crps_normal(mean, sigma, y), properscoring.crps_gaussian(y, mean, sigma), atol=1e-10
    )
    np.testing.assert_allclose(metrics.crps_normal(mean, np.zeros(50), y), np.abs(y - mean))


def test_crps_from_quantiles_is_near_that_of_the_distribution():
    levels = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    y = RNG.normal(size=5000)
    approximate = metrics.crps_quantiles(y, np.broadcast_to(stats.norm.ppf(levels), (5000, 11)), levels).mean()
    assert approximate == pytest.approx(metrics.crps_normal(np.array(0), np.array(1), y).mean(), rel=0.03)


def test_mae_mase_pinball_mape_rmse_and_coverage_agree_with_utilsforecast():
    losses = pytest.importorskip("utilsforecast.losses")
    past, y = RNG.normal(size=(4, 50)).cumsum(1) + 100, RNG.normal(size=(4, 9)) + 100
    mean, low, high = y + RNG.normal(size=y.shape), y - RNG.uniform(-0.5, 2, y.shape), y + RNG.uniform(-0.5, 2, y.shape)
    ids = np.repeat(list("abcd"), 9)
    df = pd.DataFrame(
        {
            "unique_id": ids,
            "ds": np.tile(range(50, 59), 4),
            "y": y.ravel(),
            "m": mean.ravel(),
            "lo": low.ravel(),
            "hi": high.ravel(),
        }
    )
    train = pd.DataFrame({"unique_id": np.repeat(list("abcd"), 50), "ds": np.tile(range(50), 4), "y": past.ravel()})
    mase = losses.mase(df, ["m"], seasonality=1, train_df=train)["m"].to_numpy()
    np.testing.assert_allclose(np.abs(mean - y).mean(1) / metrics.mase_scale(past), mase, atol=1e-6)
    season = losses.mase(df, ["m"], seasonality=5, train_df=train)["m"].to_numpy()
    np.testing.assert_allclose(np.abs(mean - y).mean(1) / metrics.mase_scale(past, 5), season, atol=1e-6)
    quantile = losses.quantile_loss(df, {"m": "lo"}, q=0.1)["m"].to_numpy()
    np.testing.assert_allclose(metrics.pinball(y, low[..., None], np.array([0.1]))[..., 0].mean(1), quantile, atol=1e-6)
    df["m-lo-80"], df["m-hi-80"] = df["lo"], df["hi"]
    covered = losses.coverage(df, ["m"], level=80)["m"].to_numpy()
    np.testing.assert_allclose(((y >= low) & (y <= high)).mean(1), covered, atol=1e-6)


def test_window_losses_agree_with_utilsforecast_and_by_hand():
    losses = pytest.importorskip("utilsforecast.losses")
    from kronos.evaluation import cross_validation
    from kronos.evaluation.window_losses import window_losses

    close = 100 * np.exp(RNG.normal(0, 0.01, 200).cumsum())
    bars = dict.fromkeys(("open", "high", "low", "close"), close)
    data = {"a": pd.DataFrame({"timestamps": pd.date_range("2025-01-01", periods=200, freq="D"), **bars})}
    table = cross_validation(
        data,
        {"walk": lambda w, h, p, s: np.random.default_rng(s).normal(0, 1, (len(w), p, h)) + w[0].last},
        h=6,
        n_windows=4,
        lookback=50,
    )
    mine = window_losses(table)
    df = table.rename(columns={"timestamp": "ds", "mean": "m"})
    df["unique_id"] = df["cutoff"].astype("str")
    for name, function in (("rmse", losses.rmse), ("mape", losses.mape)):
        theirs = function(df[["unique_id", "ds", "y", "m"]], ["m"])["m"].to_numpy()
        unit = table.groupby("cutoff")["unit"].first().to_numpy()
        ours = mine[name].to_numpy() * (unit if name == "rmse" else 0.01)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    by_hand = [
        np.square(np.diff(np.log(np.append(g["last"].iloc[0], g["y"])))).sum() for _, g in table.groupby("cutoff")
    ]
    np.testing.assert_allclose(mine["variance_true"], by_hand, rtol=1e-12)


def test_energy_score_agrees_with_scipy_distances_and_with_crps_at_one_step():
    paths, y = RNG.normal(size=(3, 12, 6)), RNG.normal(size=(3, 6))
    for i in range(3):
        expected = cdist(paths[i], y[i : i + 1]).mean() - pdist(paths[i]).sum() / (12 * 11)
        assert metrics.energy_score(paths, y)[i] == pytest.approx(expected / np.sqrt(6), abs=1e-10)
    np.testing.assert_allclose(
        metrics.energy_score(paths[..., :1], y[..., :1]), metrics.crps_paths(paths[..., :1], y[..., :1])[:, 0]
    )


def test_correlations_agree_with_scipy_and_are_missing_where_one_side_is_constant():
    x, y = RNG.normal(size=(5, 20)).round(1), RNG.normal(size=(5, 20))
    for i in range(5):
        assert metrics.correlation(x, y)[i] == pytest.approx(stats.pearsonr(x[i], y[i])[0], abs=1e-10)
        assert metrics.rank_correlation(x, y)[i] == pytest.approx(stats.spearmanr(x[i], y[i])[0], abs=1e-10)
    assert np.isnan(metrics.correlation(np.full(20, 3.3), y[0]))


def test_r_squared_and_qlike_by_definition():
    forecast, truth = RNG.uniform(1, 2, 40), RNG.uniform(1, 2, 40)
    assert metrics.r_squared(truth.copy(), truth) == 1
    assert metrics.r_squared(np.full(40, truth.mean()), truth) == pytest.approx(0)
    assert metrics.qlike(truth, truth) == pytest.approx(0)
    np.testing.assert_allclose(metrics.qlike(forecast, truth), truth / forecast - np.log(truth / forecast) - 1)
    assert np.isnan(metrics.qlike(np.array(0.0), np.array(1.0)))


@pytest.mark.parametrize("paths", [19, 30, 100])
def test_the_80_percent_interval_of_perfect_paths_covers_80_percent_whatever_their_number(paths):
    drawn, y = RNG.normal(size=(20_000, paths, 1)), RNG.normal(size=(20_000, 1))
    q = metrics.quantiles_of_paths(drawn, np.array([0.1, 0.9]))
    assert ((y >= q[..., 0]) & (y <= q[..., 1])).mean() == pytest.approx(0.8, abs=0.01)


def test_the_usual_quantiles_of_20_perfect_paths_cover_only_72_percent():
    drawn, y = RNG.normal(size=(20_000, 20)), RNG.normal(size=20_000)
    low, high = np.quantile(drawn, [0.1, 0.9], axis=1)
    assert ((y >= low) & (y <= high)).mean() == pytest.approx(0.724, abs=0.012)


def test_pit_is_uniform_for_perfect_paths_and_for_perfect_normals():
    y = RNG.normal(size=(4000, 3))
    paths = Prediction.of_paths(RNG.normal(size=(4000, 9, 3))).pit(y, RNG.random((4000, 3)))
    normal = Prediction.of_normals(np.zeros((4000, 3)), np.ones((4000, 3))).pit(y, np.full((4000, 3), np.nan))
    for values in (paths, normal):
        assert stats.kstest(values.ravel(), "uniform").pvalue > 0.001
    narrow = Prediction.of_paths(0.5 * RNG.normal(size=(4000, 9, 3))).pit(y, RNG.random((4000, 3)))
    assert stats.kstest(narrow.ravel(), "uniform").pvalue < 1e-6


def test_pit_between_quantiles_interpolates():
    levels = np.array([0.1, 0.5, 0.9])
    q = np.array([[[0.0, 1.0, 3.0]]])
    at = [metrics.pit_quantiles(np.array([[y]]), q, levels)[0, 0] for y in (-1.0, 0.5, 2.0, 9.0)]
    np.testing.assert_allclose(at, [0.05, 0.3, 0.7, 0.95])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prediction.of_paths(np.zeros((2, 3))), "paths must have the shape"),
        (lambda: Prediction.of_normals(np.zeros((2, 3)), np.zeros((2, 4))), "sigma must have the shape"),
        (lambda: Prediction.of_quantiles(np.zeros((2, 3, 2)), [0.9, 0.1]), "levels must rise"),
        (lambda: Prediction.of_points(np.full((2, 3), np.nan)), "6 values in mean that are no numbers"),
    ],
)
def test_a_forecast_of_a_wrong_form_is_refused_with_its_shape(make, message):
    with pytest.raises(ValueError, match=message):
        make()
