"""Anchored paths go on from the last observed close."""

import numpy as np
import pytest

from kronos.anchoring import HALF_LIFE, anchored

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
        anchored(paths(), LAST, MADE, "glue")
