"""Bars of a longer timeframe."""

import numpy as np
import pandas as pd
import pytest

from kronos.evaluation.dataset import read_series
from kronos.klines import KlineError, ReadOptions, aggregate, read_klines


def minutes(times):
    n = len(times)
    close = 100 + np.arange(n, dtype=float)
    return pd.DataFrame(
        {"timestamps": times, "open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 2.0}
    )


def test_minutes_become_hours_with_first_highest_lowest_last_and_sum():
    bars = minutes(pd.date_range("2024-03-04", periods=180, freq="min"))
    before = bars.copy()
    made = aggregate(bars, "1h")
    assert list(made["timestamps"]) == list(pd.date_range("2024-03-04", periods=3, freq="h"))
    assert made.iloc[1].drop("timestamps").to_dict() == {
        "open": 159.5, "high": 220.0, "low": 159.0, "close": 219.0, "volume": 120.0
    }  # fmt: skip
    pd.testing.assert_frame_equal(bars, before)


def test_hours_begin_where_days_begin():
    days = [pd.date_range(f"2024-03-0{day} 09:30", periods=390, freq="min") for day in (4, 5, 6)]
    made = aggregate(minutes(days[0].append(days[1:])), "1h")
    assert [str(time)[11:16] for time in made["timestamps"][:7]] == [
        "09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"
    ]  # fmt: skip
    assert len(made) == 21


def test_days_are_those_of_the_zone_also_when_clocks_change():
    times = pd.date_range("2024-03-08", "2024-03-13", freq="h", tz="America/New_York", inclusive="left")
    made = aggregate(minutes(times), "1d")
    assert [time.isoformat() for time in made["timestamps"][1:4]] == [
        "2024-03-09T00:00:00-05:00", "2024-03-10T00:00:00-05:00", "2024-03-11T00:00:00-04:00"
    ]  # fmt: skip
    assert list(made["volume"]) == [48, 48, 46, 48, 48]


def test_the_hour_that_comes_twice_gives_two_bars():
    times = pd.date_range("2024-11-03 00:00", "2024-11-03 04:00", freq="15min", tz="America/New_York", inclusive="left")
    made = aggregate(minutes(times), "1h")
    assert len(made) == 5 and (made["volume"] == 8).all() and made["timestamps"].is_unique


def test_weeks_begin_on_monday():
    times = pd.date_range("2024-03-04", periods=21, freq="D")
    made = aggregate(minutes(times), "1w")
    assert list(made["timestamps"]) == list(pd.date_range("2024-03-04", periods=3, freq="7D"))


def test_a_last_period_that_is_not_complete_is_left_out_and_said():
    made = aggregate(minutes(pd.date_range("2024-03-04", periods=60 * 5 + 20, freq="min")), "1h")
    assert len(made) == 5 and "not complete" in made.attrs["notes"][-1]


def test_a_volume_that_is_missing_throughout_stays_missing():
    bars = minutes(pd.date_range("2024-03-04", periods=180, freq="min"))
    bars.loc[:59, "volume"] = np.nan
    assert np.isnan(aggregate(bars, "1h")["volume"].iloc[0])


@pytest.mark.parametrize(
    ("freq", "timeframe", "says"),
    [
        ("min", "2h", "expected one of 5min, 15min"),
        ("h", "1h", "the bars are of 1 h already"),
        ("10min", "15min", "no multiple of the bars' own 10 min"),
        ("min", "1d", "make fewer than two"),
    ],
)
def test_a_timeframe_that_cannot_be_made_is_refused(freq, timeframe, says):
    with pytest.raises(KlineError, match=says):
        aggregate(minutes(pd.date_range("2024-03-04", periods=100, freq=freq)), timeframe)


@pytest.fixture
def quarters(tmp_path):
    minutes(pd.date_range("2024-03-04", periods=400, freq="15min")).to_csv(tmp_path / "a.csv", index=False)
    return tmp_path


def test_reader_makes_longer_bars_where_it_is_told(quarters):
    made = read_klines(quarters / "a.csv", options=ReadOptions(timeframe="1h"))
    pd.testing.assert_frame_equal(made, aggregate(read_klines(quarters / "a.csv"), "1h"))
    assert made.attrs["aggregated"] == (400, False)
    with pytest.raises(KlineError, match=r"a\.csv.*5min.*the bars are of 15 min already"):
        read_klines(quarters / "a.csv", options=ReadOptions(timeframe="5min"))
    with pytest.raises(KlineError, match="100 rows, expected at least 200"):
        read_klines(quarters / "a.csv", options=ReadOptions(timeframe="1h"), min_rows=200)


def test_evaluation_scores_longer_bars_at_their_own_frequency(quarters):
    (quarters / "index.csv").write_text("file,market,freq\na.csv,FX,15m\n")
    found = read_series(quarters, options=ReadOptions(timeframe="4h"))
    assert [(one.market, one.frequency, len(one.bars)) for one in found.series] == [("FX", "4h", 25)]


def test_short_names_of_exchanges_are_understood():
    bars = minutes(pd.date_range("2024-03-04", periods=180, freq="min"))
    pd.testing.assert_frame_equal(aggregate(bars, "15m"), aggregate(bars, "15min"))
