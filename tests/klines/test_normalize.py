"""z-scores of training windows."""

import numpy as np
import pytest

from kronos.klines.normalize import Normalizer


def windows(count=5, bars=40):
    return np.random.default_rng(0).lognormal(3, 0.2, (count, bars, 6))


@pytest.mark.parametrize("lookback", [[20] * 5, [20, 25, 30, 35, 40]], ids=["one lookback", "mixed lookbacks"])
def test_prefix_has_mean_zero_and_deviation_one(lookback):
    bars = windows()
    z = Normalizer.of_prefix(bars, np.array(lookback)).normalise(bars, np.inf)
    for window, length in zip(z, lookback, strict=True):
        np.testing.assert_allclose(window[:length].mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(window[:length].std(0), 1, rtol=1e-4)


def test_bars_after_the_prefix_do_not_change_the_scale():
    bars = windows()
    changed = bars.copy()
    changed[:, 20:] *= 7
    before, after = (Normalizer.of_prefix(each, np.full(5, 20)) for each in (bars, changed))
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.deviation, after.deviation)


def test_window_without_movement_is_zero():
    bars = np.full((1, 10, 6), 4.0)
    assert not Normalizer.of_prefix(bars, np.array([5])).normalise(bars, 5).any()


def test_scores_are_clipped():
    bars = windows()
    bars[:, 30] = 1e6
    z = Normalizer.of_prefix(bars, np.full(5, 20)).normalise(bars, 5)
    assert z.max() == 5
