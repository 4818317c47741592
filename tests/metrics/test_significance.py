"""Tests of difference against independent implementations, and how often they are wrong where nothing differs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kronos.evaluation.statistics import STATISTICS, mean_of
from kronos.metrics.significance import LEAST_BLOCKS, Blocks, diebold_mariano, holm

RNG = np.random.default_rng(1)


def by_statsmodels(d, h):
    """Mean over its rectangular-kernel HAC error, corrected as Harvey, Leybourne and Newbold do."""
    import statsmodels.api as sm
    from statsmodels.stats.sandwich_covariance import weights_uniform

    fit = sm.OLS(d, np.ones(len(d))).fit(
        cov_type="HAC", cov_kwds={"maxlags": h - 1, "weights_func": weights_uniform, "use_correction": False}
    )
    n = len(d)
    statistic = fit.tvalues[0] * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return statistic, 2 * stats.t.sf(abs(statistic), n - 1)


@pytest.mark.parametrize("h", [1, 2, 5])
def test_diebold_mariano_agrees_with_statsmodels(h):
    noise = RNG.normal(size=90)
    d = 0.2 + noise[h:] + 0.5 * noise[:-h]
    test = diebold_mariano(d, h)
    statistic, p = by_statsmodels(d, h)
    assert test.statistic == pytest.approx(statistic, abs=1e-6)
    assert test.p == pytest.approx(p, abs=1e-4)


def test_with_one_step_it_is_students_t_test():
    d = RNG.normal(0.3, 1, 40)
    expected = stats.ttest_1samp(d, 0)
    # the variance of Diebold and Mariano divides by n, and the correction by (n - 1) / n makes up for it
    assert diebold_mariano(d).p == pytest.approx(expected.pvalue, abs=1e-10)


def test_equal_losses_are_no_difference_and_too_few_are_refused():
    assert diebold_mariano(np.zeros(5)).p == 1
    with pytest.raises(ValueError, match="at least 2"):
        diebold_mariano(np.ones(1))


def test_holm_agrees_by_hand_and_leaves_missing_out():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03])), [0.03, 0.06, np.nan, 0.06])


def interval_of_mean(blocks, values):
    statistic = mean_of("x", "")
    return blocks.interval(statistic.columns(pd.DataFrame({"x": values})), statistic.of)


def blocks_of(windows_a_day, days, horizon_hours=3):
    cutoff = pd.Series(np.repeat(pd.date_range("2025-01-01", periods=days, freq="D"), windows_a_day))
    return Blocks.of(cutoff, cutoff + pd.Timedelta(hours=horizon_hours))


def test_blocks_are_whole_days_as_long_as_the_longest_horizon():
    assert (blocks_of(4, 30).days, blocks_of(4, 30).count) == (1, 30)
    assert (blocks_of(4, 30, 60).days, blocks_of(4, 30, 60).count) == (3, 10)


def test_with_one_window_a_block_the_test_over_blocks_is_diebold_mariano():
    d = RNG.normal(0.2, 1, 60)
    assert blocks_of(1, 60).test(d).p == pytest.approx(diebold_mariano(d, 2).p, abs=1e-12)


def test_windows_that_fail_together_do_not_count_as_many():
    """A hundred windows a day with the same luck are one day; a test that counted windows would see skill in half of all noise."""
    blocks = blocks_of(100, 60)
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        d = np.repeat(rng.normal(0, 1, 60), 100) + 0.1 * rng.normal(size=6000)
        wrong += blocks.test(d).p < 0.05
    assert wrong <= 25
    assert stats.ttest_1samp(d, 0).pvalue < 1e-3 or abs(d.mean()) < 0.05


def test_a_real_difference_is_found():
    d = np.repeat(RNG.normal(0, 1, 60), 10) + 0.6
    assert blocks_of(10, 60).test(d).p < 0.01


def test_intervals_of_the_mean_hold_it_about_95_percent_of_the_time():
    blocks, inside = blocks_of(5, 60), 0
    for seed in range(200):
        values = np.repeat(np.random.default_rng(seed).normal(0, 1, 60), 5)
        low, high = interval_of_mean(blocks, values)
        inside += low <= 0 <= high
    assert 178 <= inside <= 199


def test_interval_of_the_mean_agrees_with_the_block_bootstrap_of_arch():
    bootstrap = pytest.importorskip("arch.bootstrap")
    values = RNG.normal(0, 1, 80)
    ours = interval_of_mean(blocks_of(1, 80), values)
    theirs = bootstrap.CircularBlockBootstrap(2, values, seed=1).conf_int(np.mean, 4000, method="percentile", size=0.95)
    np.testing.assert_allclose(ours, theirs.ravel(), atol=0.03)


def test_interval_of_a_correlation_holds_it():
    x = RNG.normal(size=600)
    y = 0.5 * x + RNG.normal(size=600)
    ic = STATISTICS["return_ic"]
    columns = ic.columns(pd.DataFrame({"return_forecast": x, "return_true": y}))
    assert ic.of(columns.sum(0)) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    low, high = blocks_of(10, 60).interval(columns, ic.of)
    assert low < np.corrcoef(x, y)[0, 1] < high
    assert high - low < 0.3


def test_too_few_blocks_say_nothing():
    blocks = blocks_of(50, LEAST_BLOCKS - 1)
    assert np.isnan(blocks.test(RNG.normal(5, 1, 50 * (LEAST_BLOCKS - 1))).p)
    assert np.isnan(interval_of_mean(blocks, np.ones(50 * (LEAST_BLOCKS - 1)))[0])


def test_scores_of_sums_are_the_scores_by_definition():
    from kronos.metrics import probabilistic as metrics

    n = 120
    losses = pd.DataFrame(
        {
            "id": np.tile([f"s{i}" for i in range(6)], n // 6),
            "cutoff": np.repeat(pd.date_range("2025-01-01", periods=n // 6), 6),
            "return_forecast": RNG.normal(size=n),
            "variance_forecast": RNG.uniform(1, 2, n),
            "variance_true": RNG.uniform(1, 2, n),
        }
    )
    losses["return_true"] = 0.4 * losses["return_forecast"] + RNG.normal(size=n)
    value = {name: STATISTICS[name].value(losses) for name in STATISTICS if name in EXPECTED}
    a, b = losses["return_forecast"], losses["return_true"]
    assert value["return_ic"] == pytest.approx(stats.pearsonr(a, b)[0], abs=1e-10)
    assert value["return_rank_ic"] == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-10)
    v, t = losses["variance_forecast"].to_numpy(), losses["variance_true"].to_numpy()
    assert value["volatility_mae"] == pytest.approx(np.abs(v - t).mean() / t.mean())
    assert value["volatility_r2"] == pytest.approx(metrics.r_squared(v, t))
    days = [stats.spearmanr(p["return_forecast"], p["return_true"])[0] for _, p in losses.groupby("cutoff")]
    assert value["daily_ic"] == pytest.approx(np.mean(days))
    assert value["daily_icir"] == pytest.approx(np.mean(days) / np.std(days, ddof=1))


EXPECTED = ("return_ic", "return_rank_ic", "volatility_mae", "volatility_r2", "daily_ic", "daily_icir")
