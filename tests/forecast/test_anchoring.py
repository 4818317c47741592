"""Anchored paths go on from the last observed close."""

import numpy as np
import pytest

from kronos.forecast.anchoring import HALF_LIFE, GapMap, align_opens, anchored

LAST = np.array([9.0, 12.0, 8.0, 10.0, 50.0, 500.0])
MADE = np.array([9.5, 12.5, 8.5, 8.0, 70.0, 700.0])  # the tokenizer's close is 2 too low


def paths(steps=3):
    bars = np.tile(np.array([8.0, 9.0, 7.0, 8.0, 60.0, 600.0], dtype=np.float32), (2, steps, 1))
    return bars


def test_level_adds_the_error_of_the_close_to_all_prices_and_keeps_volume():
    got = anchored(paths(), LAST, MADE, "level")
    np.testing.assert_allclose(got[0], [[10, 11, 9, 10, 60, 600]] * 3)


def test_log_scales_prices_by_the_ratio_of_the_closes():
    got = anchored(paths(), LAST, MADE, "log")
    np.testing.assert_allclose(got[1, 2], [10, 11.25, 8.75, 10, 60, 600])


def test_log_falls_back_to_level_where_a_close_is_not_positive():
    below = MADE - 20
    np.testing.assert_allclose(anchored(paths(), LAST, below, "log"), anchored(paths(), LAST, below, "level"))


def test_decaying_halves_the_shift_every_half_life():
    got = anchored(paths(HALF_LIFE + 1), LAST, MADE, "decaying")[0, :, 3]
    assert got[0] == pytest.approx(10)
    assert got[HALF_LIFE] == pytest.approx(9)


def test_none_gives_an_equal_copy_and_nothing_is_changed():
    given = paths()
    got = anchored(given, LAST, MADE, None)
    assert got is not given
    np.testing.assert_array_equal(got, given)
    anchored(given, LAST, MADE, "level")
    np.testing.assert_array_equal(given, paths())


def test_an_unknown_way_is_named():
    with pytest.raises(ValueError, match="'level', 'log', 'decaying' or None, found 'glue'"):
        anchored(paths(), LAST, MADE, "glue")  # type: ignore[arg-type]


def gappy(gap: float, bars: int = 200, seed: int = 0) -> np.ndarray:
    """Bars of a walk whose opens lie about ``gap`` from the close before."""
    rng = np.random.default_rng(seed)
    close = 100 + rng.normal(0, 1, bars).cumsum()
    opens = np.concatenate(([100.0], close[:-1])) + rng.normal(0, gap, bars)
    return np.stack([opens, np.maximum(opens, close), np.minimum(opens, close), close, close, close], axis=1)


def gap_sizes(bars: np.ndarray) -> np.ndarray:
    return np.abs(bars[..., 1:, 0] - bars[..., :-1, 3])


def test_gaps_of_paths_get_the_sizes_of_the_history_and_closes_stay():
    history, noisy = gappy(0.05), gappy(0.5)
    paths = np.stack([gappy(0.5, 60, seed) for seed in range(1, 30)])
    found = align_opens(paths, np.full(29, 100.0), GapMap.of(history, noisy))
    assert np.median(gap_sizes(found)) == pytest.approx(np.median(gap_sizes(history)), rel=0.1)
    assert np.quantile(gap_sizes(found), 0.9) == pytest.approx(np.quantile(gap_sizes(history), 0.9), rel=0.2)
    np.testing.assert_array_equal(found[..., 1:], paths[..., 1:])
    np.testing.assert_array_equal(found, align_opens(found[..., :], np.full(29, 100.0), None))
    one = align_opens(paths[:1], np.full(1, 100.0), GapMap.of(history, noisy))
    np.testing.assert_array_equal(one[0], found[0])


def test_rare_large_gaps_of_the_history_stay_large():
    history, noise = gappy(0.05), np.random.default_rng(9).normal(0, 0.2, 200)
    history[::20, 0] += 5.0  # a session opens every twenty bars
    noisy = history.copy()
    noisy[:, 0] += noise
    found = align_opens(noisy[None], np.array([100.0]), GapMap.of(history, noisy))[0]
    assert gap_sizes(found)[19::20] == pytest.approx(5.0, abs=1.0)
    assert np.median(gap_sizes(found)) < 0.06


def test_gaps_are_never_widened_and_too_short_a_history_changes_nothing():
    history, noisy = gappy(1.0), gappy(0.1)
    paths = gappy(0.1, 50, 3)[None]
    np.testing.assert_allclose(align_opens(paths, np.array([100.0]), GapMap.of(history, noisy)), paths)
    assert GapMap.of(history[:16], noisy) is None
