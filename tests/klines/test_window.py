"""The window of a series: its lookback, its hidden bars, the times to forecast."""

import pandas as pd
import pytest

from kronos.klines.window import chosen_lookback, cut_window, default_lookback


def bars(count=30):
    times = pd.date_range("2024-01-01", periods=count, freq="D")
    return pd.DataFrame({"timestamps": times, "close": range(count)})


@pytest.mark.parametrize(
    ("count", "horizon", "context", "expected"),
    [(50, 10, 512, 50), (1000, 10, 512, 400), (1000, 200, 512, 312), (1000, 400, 512, 256)],
    ids=["whole series", "at most 400", "room for the horizon", "half of the context"],
)
def test_default_lookback_fits_series_and_context(count, horizon, context, expected):
    assert default_lookback(count, horizon, context) == expected


def test_lookback_longer_than_series_raises():
    with pytest.raises(ValueError, match=r"^lookback 31 is more than the 30 bars"):
        cut_window(bars(), 5, 512, lookback=31)


def test_lookback_longer_than_series_is_shortened_where_asked():
    assert chosen_lookback(31, 30, 5, 512, shorten=True) == 30


def test_window_without_holdout_continues_the_series():
    window = cut_window(bars(), 5, 512, lookback=10)
    assert list(window.past["close"]) == list(range(20, 30))
    assert list(window.future) == list(pd.date_range("2024-01-31", periods=5))
    assert window.truth is None


def test_holdout_of_the_horizon_takes_hidden_times():
    window = cut_window(bars(), 5, 512, lookback=10, holdout=5)
    assert list(window.past["close"]) == list(range(15, 25))
    assert list(window.future) == list(bars()["timestamps"].iloc[-5:])
    assert window.truth is not None
    assert list(window.truth["close"]) == list(range(25, 30))


def test_holdout_longer_than_horizon_hides_the_rest():
    window = cut_window(bars(), 3, 512, holdout=8)
    assert len(window.past) == 22
    assert window.truth is not None
    assert list(window.truth["close"]) == [22, 23, 24]


def test_holdout_shorter_than_horizon_goes_on_after_the_series():
    window = cut_window(bars(), 6, 512, holdout=2)
    assert list(window.future) == list(pd.date_range("2024-01-29", periods=6))
    assert window.truth is not None
    assert list(window.truth["close"]) == [28, 29]


def test_lookback_is_compared_with_bars_left_by_holdout():
    with pytest.raises(ValueError, match=r"^--lookback 26 is more than the 25 bars"):
        cut_window(bars(), 5, 512, lookback=26, holdout=5, dashes="--")


def test_holdout_that_leaves_one_bar_raises():
    with pytest.raises(ValueError, match=r"^holdout hides 29 bars and needs 2 more to look back on; there are 30"):
        cut_window(bars(), 29, 512, holdout=29)
