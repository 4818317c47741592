"""Tables in memory: read as files are, and forecast in one line. All bars are made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import kronos
from kronos.klines import KlineError, read_klines
from kronos.schema import FEATURES


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    times = pd.bdate_range("2023-01-02", periods=80, name="timestamps")
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, 80)))
    open_ = np.r_[50.0, close[:-1]]
    table = pd.DataFrame({"open": open_, "high": np.maximum(open_, close) + 0.2, "low": np.minimum(open_, close) - 0.2})
    table["close"], table["volume"] = close, rng.integers(1_000, 9_000, 80).astype(float)
    table.insert(0, "timestamps", times)
    return table


@pytest.fixture(scope="module")
def predictor() -> kronos.KronosPredictor:
    return kronos.load("nano", device="cpu")


def by_yfinance(bars: pd.DataFrame, *tickers: str) -> pd.DataFrame:
    """Columns of two levels (Price, Ticker), times in the index."""
    parts = {}
    for ticker in tickers:
        for name in ("close", "high", "low", "open", "volume"):
            parts[(name.title(), ticker)] = bars[name].to_numpy()
    table = pd.DataFrame(parts, index=pd.DatetimeIndex(bars["timestamps"], name="Date"))
    table.columns = table.columns.set_names(["Price", "Ticker"])
    return table


def titled(bars: pd.DataFrame) -> pd.DataFrame:
    """Open, High, ... with the times in the index."""
    return bars.set_index("timestamps").rename(columns=str.title).rename_axis("Date")


def same(found: pd.DataFrame, bars: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, bars, check_like=True, check_index_type=False, check_dtype=False)


def test_read_klines_of_titled_columns_and_index_gives_the_bars(bars):
    given = titled(bars)
    before = given.copy()
    same(read_klines(given), bars)
    pd.testing.assert_frame_equal(given, before)


@pytest.mark.parametrize("index", ["period", "unnamed", "text", "multi"])
def test_read_klines_finds_times_in_any_index(bars, index):
    table = titled(bars)
    if index == "period":
        table.index = pd.DatetimeIndex(table.index).to_period("D")
    elif index == "unnamed":
        table.index.name = None
    elif index == "text":
        table.index = pd.DatetimeIndex(table.index).strftime("%Y-%m-%d")
    else:
        table = pd.concat({"AAPL": table}, names=["Ticker", "Date"])
    found = read_klines(table)
    assert found["timestamps"].tolist() == bars["timestamps"].tolist()
    assert found.attrs.get("symbol") == ("AAPL" if index == "multi" else None)


def test_read_klines_of_a_zoned_index_keeps_the_zone(bars):
    assert str(read_klines(titled(bars).tz_localize("America/New_York"))["timestamps"].dt.tz) == "America/New_York"


@pytest.mark.parametrize("swapped", [False, True])
def test_read_klines_of_two_level_columns_of_one_ticker(bars, swapped):
    table = by_yfinance(bars, "AAPL")
    found = read_klines(table.swaplevel(axis=1) if swapped else table)
    same(found, bars)
    assert found.attrs["symbol"] == "AAPL"


def test_read_klines_of_several_tickers_names_them(bars):
    table = by_yfinance(bars, "AAPL", "MSFT")
    with pytest.raises(KlineError, match=r"df: it holds 2 symbols: AAPL, MSFT; choose one with symbol="):
        read_klines(table)
    same(read_klines(table, symbol="MSFT"), bars)


def test_read_klines_of_an_arrow_table_gives_the_bars(bars):
    same(read_klines(pa.Table.from_pandas(bars)), bars)


def test_read_klines_of_a_polars_frame_gives_the_bars(bars):
    polars = pytest.importorskip("polars")
    table = polars.from_arrow(pa.Table.from_pandas(bars))
    same(read_klines(table), bars)
    with pytest.raises(KlineError, match="LazyFrame; call collect"):
        read_klines(table.lazy())


def test_read_klines_of_index_and_column_that_differ_raises(bars):
    table = bars.set_index(pd.DatetimeIndex(bars["timestamps"] + pd.Timedelta("1h")))
    with pytest.raises(KlineError, match=r"index and column 'timestamps' give different times.*in row 1"):
        read_klines(table)


@pytest.mark.parametrize("value", [None, 3, pd.Series([1.0])])
def test_read_klines_of_no_table_raises(value):
    with pytest.raises(KlineError, match="expected a table"):
        read_klines(value)


def test_forecast_by_horizon_equals_forecast_by_times(predictor, bars):
    future = kronos.future_timestamps(bars["timestamps"], 4)
    values = bars[[name for name in FEATURES if name in bars]]
    by_times = predictor.forecast(values, bars["timestamps"], future, sample_count=3, seed=1, verbose=False)
    for table in (bars, titled(bars), by_yfinance(bars, "AAPL"), pa.Table.from_pandas(bars)):
        found = predictor.forecast(table, horizon=4, sample_count=3, seed=1, verbose=False)
        assert np.array_equal(found.paths, by_times.paths)
        assert found.timestamps[0].equals(by_times.timestamps[0])


def test_forecast_by_calendar_skips_its_holidays(predictor, bars):
    past = bars[bars["timestamps"] < "2023-04-05"]  # Good Friday was the 7th
    found = predictor.forecast(past, horizon=3, calendar="XNYS", lookback=20, sample_count=1, verbose=False)
    assert [f"{time:%m-%d}" for time in found.timestamps[0]] == ["04-05", "04-06", "04-10"]
    assert len(found.history[0]) == 20


def test_forecast_of_a_list_names_series_by_ticker(predictor, bars):
    tables = [by_yfinance(bars, "AAPL"), by_yfinance(bars, "MSFT")]
    found = predictor.forecast(tables, horizon=2, sample_count=1, verbose=False)
    assert found.ids == ("AAPL", "MSFT")


def test_forecast_of_a_file_is_named_after_it(predictor, bars, tmp_path):
    bars.to_csv(tmp_path / "gold.csv", index=False)
    assert predictor.forecast(tmp_path / "gold.csv", horizon=2, sample_count=1, verbose=False).ids == ("gold",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say how many bars to forecast, such as horizon=24"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1, found 0"),
        ({"horizon": 2, "lookback": 1}, "lookback must be a whole number of at least 2, found 1"),
        ({"horizon": 2, "lookback": 81}, "lookback 81 is more than the 80 bars"),
        ({"x_timestamp": 24}, "for so many bars say horizon=24"),
        ({"x_timestamp": ["2024-01-01"]}, "x_timestamp is given without y_timestamp"),
        ({"x_timestamp": [1], "y_timestamp": [2], "horizon": 1, "tz": "UTC"}, "horizon, tz cannot be given with"),
    ],
)
def test_forecast_with_arguments_that_do_not_fit_raises(predictor, bars, arguments, message):
    with pytest.raises(ValueError, match=message):
        predictor.forecast(bars, **arguments)


def test_forecast_of_several_tickers_points_to_predict_df(predictor, bars):
    with pytest.raises(
        ValueError, match="2 symbols: AAPL, MSFT; choose one with symbol=, or forecast all of them with predict_df"
    ):
        predictor.forecast(by_yfinance(bars, "AAPL", "MSFT"), horizon=2)


def test_predict_df_takes_usual_names_and_index(predictor, bars):
    plain = predictor.predict_df(bars, 2, num_samples=2, seed=0, verbose=False)
    dated = titled(bars).reset_index()
    for table in (dated, titled(bars), pa.Table.from_pandas(dated)):
        found = predictor.predict_df(table, 2, num_samples=2, seed=0, verbose=False)
        assert found.columns[0] == "Date"
        assert found["mean"].tolist() == plain["mean"].tolist()
    long = pd.concat([dated.assign(Ticker=name) for name in ("A", "B")])
    found = predictor.predict_df(long, 2, num_samples=2, seed=0, verbose=False)
    assert found["Ticker"].tolist() == ["A", "A", "B", "B"]


def test_predict_df_of_two_level_columns_says_how_to_stack(predictor, bars):
    with pytest.raises(ValueError, match=r"columns of 2 levels.*stack\(level=1\)"):
        predictor.predict_df(by_yfinance(bars, "AAPL", "MSFT"), 2)
    stacked = by_yfinance(bars, "AAPL", "MSFT").stack(level=1, future_stack=True).reset_index()
    found = predictor.predict_df(stacked, 2, num_samples=1, verbose=False)
    assert found["Ticker"].tolist() == ["AAPL", "AAPL", "MSFT", "MSFT"]


def four_paths() -> kronos.Forecast:
    paths = np.ones((1, 4, 2, 6)) * 100
    paths[0, :, 0, 3] = [98, 100, 101, 103]
    paths[0, :, 1, 3] = [90, 100, 110, 120]
    return kronos.Forecast(paths, [pd.date_range("2024-01-01", periods=2)], last=[np.full(6, 100.0)])


@pytest.mark.parametrize(
    ("bounds", "share"),
    [
        ({"return_above": 0.02, "step": 1}, 0.25),
        ({"return_above": 0.0}, 0.5),
        ({"return_below": 0.0}, 0.25),
        ({"return_above": -0.05, "return_below": 0.15}, 0.5),
        ({"price_above": 100, "step": 1}, 0.5),
        ({"price_below": 90}, 0.0),
        ({"price_above": 95, "price_below": 115}, 0.5),
    ],
)
def test_prob_is_the_share_of_paths_beyond_the_bound(bounds, share):
    assert four_paths().prob(**bounds).tolist() == [share]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "found none"),
        ({"return_above": 0.1, "price_below": 3}, "found bounds of both kinds"),
        ({"return_above": "2%"}, "return_above must be a finite number"),
        ({"price_above": 5, "price_below": 4}, "no close lies between"),
        ({"return_above": 0.1, "step": 3}, "step 3 is beyond the horizon"),
    ],
)
def test_prob_with_bounds_that_do_not_fit_raises(bounds, message):
    with pytest.raises(ValueError, match=message):
        four_paths().prob(**bounds)


def test_prob_of_a_last_close_at_zero_is_nan():
    paths = np.ones((1, 2, 1, 6))
    forecast = kronos.Forecast(paths, [pd.date_range("2024-01-01", periods=1)], last=[np.zeros(6)])
    assert forecast.prob(return_above=0).isna().all()
    assert forecast.prob(price_above=0.5).tolist() == [1.0]
