"""Candles made of closes: what they look like, that they are said to be made, and that a fault stays one."""

import numpy as np
import pandas as pd
import pytest

from kronos import read_klines
from kronos.klines import KlineError
from kronos.klines.closes import NOTE
from kronos.klines.read_options import ReadOptions
from kronos.klines.reader import iter_klines

CLOSES = [10.0, 12.0, 11.0, 11.0]


@pytest.fixture
def file(tmp_path):
    times = pd.date_range("2024-01-01", periods=4, freq="D").strftime("%Y-%m-%d")
    path = tmp_path / "nav.csv"
    pd.DataFrame({"Date": times, "Close": CLOSES, "Volume": [1, 2, 3, 4]}).to_csv(path, index=False)
    return path


def test_each_candle_opens_at_the_close_before_it_and_has_no_wicks(file):
    bars = read_klines(file, close_only=True)
    assert bars["open"].tolist() == [10.0, 10.0, 12.0, 11.0]
    assert bars["high"].tolist() == [10.0, 12.0, 12.0, 11.0]
    assert bars["low"].tolist() == [10.0, 10.0, 11.0, 11.0]
    assert bars["close"].tolist() == CLOSES and bars["volume"].tolist() == [1, 2, 3, 4]
    assert NOTE in bars.attrs["notes"]


def test_prices_that_are_there_are_not_read(tmp_path, file):
    table = pd.read_csv(file).assign(Open="x", High=-1, Low=np.nan)
    table.to_csv(tmp_path / "more.csv", index=False)
    again = read_klines(tmp_path / "more.csv", close_only=True)
    pd.testing.assert_frame_equal(again, read_klines(file, close_only=True))


@pytest.mark.parametrize("form", ["frame", "parquet", "mapped"])
def test_closes_are_read_from_other_forms(tmp_path, file, form):
    table, columns = pd.read_csv(file), None
    if form == "parquet":
        table.to_parquet(tmp_path / "nav.parquet")
        table = tmp_path / "nav.parquet"
    if form == "mapped":
        table, columns = table.rename(columns={"Close": "NAV per share"}), {"NAV per share": "close"}
    bars = read_klines(table, close_only=True, columns=columns)
    assert bars["open"].tolist() == [10.0, 10.0, 12.0, 11.0]


def test_the_bar_before_is_the_one_before_in_time_and_of_the_same_symbol(tmp_path):
    table = pd.DataFrame(
        {
            "Date": ["2024-01-03", "2024-01-02", "2024-01-01", "2024-01-02", "2024-01-01"],
            "Symbol": ["A", "A", "A", "B", "B"],
            "Close": [3.0, 2.0, 1.0, 20.0, 10.0],
        }
    )
    table.to_csv(tmp_path / "two.csv", index=False)
    options = ReadOptions(close_only=True, clean="sort")
    pieces = iter_klines(tmp_path / "two.csv", options=options)
    found = {name: bars["open"].tolist() for name, bars in pieces if isinstance(bars, pd.DataFrame)}
    assert found == {"A": [1.0, 1.0, 2.0], "B": [10.0, 10.0]}


def test_a_close_that_is_missing_is_still_a_fault(tmp_path, file):
    table = pd.read_csv(file)
    table.loc[1, "Close"] = np.nan
    table.to_csv(file, index=False)
    with pytest.raises(KlineError, match="missing value 1") as found:
        read_klines(file, close_only=True)
    assert found.value.report is not None
    assert found.value.report.faults[0].rows == (2,)


def test_a_table_of_closes_is_refused_with_the_way_to_read_it(file):
    with pytest.raises(KlineError, match=r"no column for open, high, low .* closes alone is read with close_only=True"):
        read_klines(file)
