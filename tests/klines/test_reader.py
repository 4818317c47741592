"""Reading K-line files in the shapes that users have; every file here is made in tmp_path."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.klines import KlineError, list_symbols, read_klines, read_table
from kronos.klines import formats as files
from kronos.klines.reader import iter_tables

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"real market data is not at {DATA}")


def series(n: int = 40, start: str = "2024-07-01 09:30", freq: str = "5min", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    open_ = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range(start, periods=n, freq=freq).astype("datetime64[ns]"),
            "open": open_,
            "high": np.maximum(open_, close) * 1.001,
            "low": np.minimum(open_, close) * 0.999,
            "close": close,
            "volume": rng.integers(1, 1000, n).astype(float),
            "amount": rng.random(n) * 1e5,
        }
    )


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def two_rows(times: list[str], header: str = "time,open,high,low,close") -> str:
    return header + "\n" + "".join(f"{t},10,11,9,10.5\n" for t in times)


def times_of(tmp_path: Path, *times: str) -> pd.Series:
    return read_klines(write(tmp_path / "times.csv", two_rows(list(times))))["timestamps"]


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(KlineError) as caught:
        read_klines(path, **options)  # type: ignore[arg-type]
    assert caught.value.summary.startswith(str(path)), "the message names the file"
    assert "\n" not in caught.value.summary
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".csv.gz", ".parquet", ".feather"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_a_frame_written_in_any_format_reads_back_equal(tmp_path, ending, zone):
    frame = series()
    if zone:
        frame["timestamps"] = frame["timestamps"].dt.tz_localize(zone)
    path = tmp_path / f"klines{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".feather":
        frame.to_feather(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending in (".tsv", ".txt") else ",")
    got = read_klines(path)
    if zone == "Asia/Shanghai" and ending not in (".parquet", ".feather"):
        assert got["timestamps"].iloc[0].utcoffset() == pd.Timedelta(hours=8)  # a text keeps the offset, not the name
        got["timestamps"] = got["timestamps"].dt.tz_convert(zone)
    pd.testing.assert_frame_equal(got, frame, check_exact=True, check_flags=False)
    assert got.attrs["source"] == str(path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_separator_and_encoding_are_found_from_the_content(tmp_path, separator, encoding):
    rows = [
        "日期 开盘 收盘 最高 最低 成交量 成交额",
        "2024-07-01 10 10.5 11 9 100 1000",
        "2024-07-02 10.5 10 12 8 200 2000",
    ]
    text = "\n".join(line.replace(" ", separator) for line in rows)
    got = read_klines(write(tmp_path / "a.csv", text, encoding))
    assert list(got.columns) == ["timestamps", "open", "high", "low", "close", "volume", "amount"]
    assert got.iloc[1].tolist() == [pd.Timestamp("2024-07-02"), 10.5, 12, 8, 10, 200, 2000]


def test_a_chinese_file_that_turns_to_gb18030_after_the_head_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_HEAD_BYTES", 60)
    text = "date,open,high,low,close,note\n" + "2024-07-01,10,11,9,10,a\n" * 3
    text += "2024-07-02,10,11,9,10,停牌\n"
    path = write(tmp_path / "a.csv", text, "gb18030")
    assert len(read_table(path)) == 4


def test_a_quoted_comma_is_no_separator_and_thousands_are_read(tmp_path):
    path = write(
        tmp_path / "a.csv", 'Date,Open,High,Low,Close,Volume\n2024-07-01,"1,000.5",1002,999,1001,"1,234,567"\n' * 1
    )
    got = read_klines(path, min_rows=1)
    assert got.loc[0, "open"] == 1000.5 and got.loc[0, "volume"] == 1234567


def test_decimal_commas_are_read_in_a_semicolon_file_without_points(tmp_path):
    path = write(
        tmp_path / "a.csv", "Date;Open;High;Low;Close\n31.07.2024;1,250;1,3;1,2;1,25\n01.08.2024;1,2;1,3;1;1,25\n"
    )
    got = read_klines(path)
    assert got["open"].tolist() == [1.25, 1.2] and got["low"].tolist() == [1.2, 1.0]
    assert got["timestamps"].tolist() == [pd.Timestamp("2024-07-31"), pd.Timestamp("2024-08-01")]


def test_metatrader_columns_use_tick_volume_only_when_volume_is_all_zero(tmp_path):
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    text = (
        header + "2026.01.23\t21:00:00\t1\t2\t0.5\t1.5\t1879\t{}\t1\n2026.01.25\t22:00:00\t1\t2\t0.5\t1.5\t57\t0\t1\n"
    )
    ticks = read_klines(write(tmp_path / "a.csv", text.format(0)))
    real = read_klines(write(tmp_path / "b.csv", text.format(3)))
    assert ticks["volume"].tolist() == [1879, 57] and real["volume"].tolist() == [3, 0]
    assert ticks["timestamps"].iloc[1] == pd.Timestamp("2026-01-25 22:00")


def test_yahoo_adjusted_close_is_not_taken_for_the_close(tmp_path):
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2024-07-01,10,11,9,10.5,5,7\n2024-07-02,10,11,9,10,5,8\n"
    assert read_klines(write(tmp_path / "a.csv", text))["close"].tolist() == [10.5, 10]


def test_yfinance_three_line_header_is_understood_and_many_tickers_are_refused(tmp_path):
    text = "Price,Close,High,Low,Open,Volume\nTicker,{},A,A,A,A\nDate,,,,,\n"
    text += "2024-07-01,10.5,11,9,10,7\n2024-07-02,10,11,9,10,8\n"
    got = read_klines(write(tmp_path / "a.csv", text.format("A")))
    assert got["close"].tolist() == [10.5, 10] and got["timestamps"].iloc[0] == pd.Timestamp("2024-07-01")
    assert "2 tickers side by side" in refusal(write(tmp_path / "b.csv", text.format("B")))


def test_headerless_binance_klines_are_read_and_unknown_orders_refused(tmp_path):
    row = "{},1,2,0.5,1.5,10,{},15,3,5,7,0\n"
    path = write(tmp_path / "BTCUSDT-1m.csv", row.format(1719792000000, 1) + row.format(1719792060000, 2))
    got = read_klines(path)
    assert got["timestamps"].tolist() == list(pd.to_datetime(["2024-07-01 00:00Z", "2024-07-01 00:01Z"]))
    assert got["volume"].tolist() == [10, 10] and got["amount"].tolist() == [15, 15]
    message = refusal(write(tmp_path / "b.csv", "2024-07-01,2,1,0.5,1.5\n2024-07-02,2,1,0.5,1.5\n"))
    assert "no header row" in message and "names=" in message


def test_a_title_above_the_header_is_skipped(tmp_path):
    path = write(tmp_path / "a.csv", "https://example.com/data\n\n" + two_rows(["2024-07-01", "2024-07-02"]))
    assert len(read_klines(path)) == 2


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
def test_epoch_numbers_of_every_unit_become_utc(tmp_path, factor):
    got = times_of(tmp_path, str(1719792000 * factor), str(1719792300 * factor))
    assert str(got.dt.tz) == "UTC"
    assert got.tolist() == list(pd.to_datetime(["2024-07-01 00:00Z", "2024-07-01 00:05Z"]))


def test_epochs_before_2001_share_one_unit_and_modern_ones_may_mix(tmp_path):
    old = times_of(tmp_path, "-86400000", "0", "86400000", "1719792000000")
    assert old.iloc[0] == pd.Timestamp("1969-12-31", tz="UTC") and old.iloc[3] == pd.Timestamp("2024-07-01", tz="UTC")
    mixed = times_of(tmp_path, "1735603200000", "1735689600000000")  # Binance: ms until 2024, us from 2025
    assert mixed.tolist() == list(pd.to_datetime(["2024-12-31 00:00Z", "2025-01-01 00:00Z"]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-07-01", "2024-07-02"),
        ("2024/7/1", "2024/7/2"),
        ("2024.07.01", "2024.07.02"),
        ("20240701", "20240702"),
        ("20240701000000", "20240702000000"),
        ("20240701000000000", "20240702000000000"),
        ("202407010000", "202407020000"),
        ("2024年07月01日", "2024年07月02日"),
        ("1-Jul-2024", "2-Jul-2024"),
        ("2024-07-01T00:00:00.000", "2024-07-02T00:00:00"),
    ],
)
def test_dates_in_many_spellings_stay_naive(tmp_path, first, second):
    got = times_of(tmp_path, first, second)
    assert got.dt.tz is None
    assert got.tolist() == [pd.Timestamp("2024-07-01"), pd.Timestamp("2024-07-02")]


def test_day_and_month_are_told_apart_by_the_column_or_refused(tmp_path):
    assert times_of(tmp_path, "12/07/2024", "13/07/2024").iloc[0] == pd.Timestamp("2024-07-12")
    assert times_of(tmp_path, "07/12/2024", "07/13/2024").iloc[0] == pd.Timestamp("2024-07-12")
    message = refusal(write(tmp_path / "a.csv", two_rows(["01/07/2024", "02/07/2024"])))
    assert "day first or month first" in message and "data row 1" in message


def test_one_offset_is_kept_several_are_one_exchange_and_partly_missing_offsets_are_refused(tmp_path):
    one = times_of(tmp_path, "2024-07-01 09:30:00-04:00", "2024-07-01 09:35:00-04:00")
    assert one.iloc[0].utcoffset() == pd.Timedelta(hours=-4)
    several = times_of(tmp_path, "2024-11-03 01:30:00-04:00", "2024-11-03 01:30:00-05:00")
    assert str(several.dt.tz) == "America/New_York" and several.diff().iloc[1] == pd.Timedelta(hours=1)
    path = write(tmp_path / "a.csv", two_rows(["2024-07-01 09:30:00Z", "2024-07-01 09:35:00"]))
    assert "with and without a zone offset" in refusal(path) and "data row 2" in refusal(path)


def test_tz_localises_naive_times_and_converts_the_others(tmp_path):
    naive = write(tmp_path / "a.csv", two_rows(["2024-07-01 09:30", "2024-07-01 09:35"]))
    epoch = write(tmp_path / "b.csv", two_rows(["1719792000", "1719792300"]))
    assert read_klines(naive, tz="Asia/Shanghai")["timestamps"].iloc[0].isoformat() == "2024-07-01T09:30:00+08:00"
    assert read_klines(epoch, tz="Asia/Shanghai")["timestamps"].iloc[0].isoformat() == "2024-07-01T08:00:00+08:00"
    assert "unknown time zone 'Mars'" in refusal(naive, tz="Mars")
    gap = write(tmp_path / "c.csv", two_rows(["2024-03-10 02:30", "2024-03-10 03:30"]))
    assert "2024-03-10 02:30:00 is a nonexistent time" in refusal(gap, tz="America/New_York")


def test_date_and_time_columns_are_joined(tmp_path):
    for number, clocks in enumerate((["09:35:00", "10:00:00"], ["93500", "100000"], ["0935", "1000"])):
        text = "date,time,open,high,low,close\n" + "".join(f"20240701,{c},10,11,9,10\n" for c in clocks)
        got = read_klines(write(tmp_path / f"{number}.csv", text))
        assert got["timestamps"].tolist() == [pd.Timestamp("2024-07-01 09:35"), pd.Timestamp("2024-07-01 10:00")]
    baostock = "date,time,code,open,high,low,close\n" + "".join(
        f"2024-07-01,20240701{c}00000,sh.600000,10,11,9,10\n" for c in ("0935", "1000")
    )
    assert read_klines(write(tmp_path / "b.csv", baostock))["timestamps"].iloc[1] == pd.Timestamp("2024-07-01 10:00")


@pytest.mark.parametrize("name", ["Date", None])
def test_a_datetime_index_stored_in_parquet_or_csv_is_the_timestamps(tmp_path, name):
    frame = series().set_index("timestamps").rename_axis(name)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv")
    for path in (tmp_path / "a.parquet", tmp_path / "a.csv"):
        pd.testing.assert_frame_equal(read_klines(path), series(), check_flags=False)


def test_a_row_counter_is_not_taken_for_time(tmp_path):
    frame = series().drop(columns="timestamps")
    frame.to_csv(tmp_path / "a.csv")
    assert "small numbers like 39" in refusal(tmp_path / "a.csv")


def test_explicit_columns_win_over_aliases_and_can_be_ignored(tmp_path):
    text = "When,Price,Close,Open,High,Low,Amount\n2024-07-01,10.5,1,10,11,9,5\n2024-07-02,10,1,10,11,9,\n"
    path = write(tmp_path / "a.csv", text)
    mapping = {"When": "timestamps", "Price": "close"}
    assert "missing value: 1 in amount (data row 2)" in refusal(path, columns=mapping)
    assert 'columns={"amount": "ignore"}' in refusal(path, columns=mapping)
    got = read_klines(path, columns={**mapping, "amount": "ignore"})
    assert got["close"].tolist() == [10.5, 10] and "amount" not in got
    assert "columns= names 'Nope'" in refusal(path, columns={"Nope": "close"})
    assert "no column role" in refusal(path, columns={"Price": "target"})


def test_an_unknown_layout_says_what_was_sought_found_and_how_to_map(tmp_path):
    message = refusal(write(tmp_path / "a.csv", "date,first,high,low,clse\n2024-07-01,10,11,9,10\n"))
    assert "no column for open, close among 'date', 'first', 'high', 'low', 'clse'" in message
    assert 'columns={"first": "open", "clse": "close"}' in message and "开盘" in message


def test_two_columns_of_one_name_are_refused(tmp_path):
    message = refusal(write(tmp_path / "a.csv", "date,open,high,low,close,Close\n2024-07-01,10,11,9,10,10\n"))
    assert "two columns could be close: 'close' and 'Close'" in message


def test_a_volume_column_without_any_value_counts_as_absent(tmp_path):
    path = write(
        tmp_path / "a.csv", "date,open,high,low,close,volume\n2024-07-01,10,11,9,10,\n2024-07-02,10,11,9,10,\n"
    )
    assert list(read_klines(path).columns) == ["timestamps", "open", "high", "low", "close"]


def test_bad_files_are_refused_in_one_clear_sentence(tmp_path, monkeypatch):
    good = two_rows(["2024-07-01", "2024-07-02"])
    cases = {
        "no such file": tmp_path / "absent.csv",
        "a folder": tmp_path,
        "the file is empty": write(tmp_path / "empty.csv", ""),
        "file is empty": write(tmp_path / "blank.csv", "\n\n"),
        "no data rows": write(tmp_path / "header.csv", "date,open,high,low,close\n"),
        "ending '.dat' is not supported": write(tmp_path / "a.dat", good),
        "ending '' is not supported": write(tmp_path / "noending", good),
        "not that format": write(tmp_path / "a.parquet", good),
        "damaged or locked .zip": write(tmp_path / "a.xlsx", "PK\x03\x04...."),
        "column 'open' has 'ten' in data row 2": write(
            tmp_path / "n.csv", good.replace("2024-07-02,10", "2024-07-02,ten")
        ),
        "column 'time' has 'soon' in data row 2": write(tmp_path / "t.csv", good.replace("2024-07-02", "soon")),
        "line 3 has 6 cells, expected 5": write(tmp_path / "r.csv", good[:-1] + ",7\n"),
    }
    for expected, path in cases.items():
        assert expected in refusal(path)
    (tmp_path / "garbage.csv").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "binary content" in refusal(tmp_path / "garbage.csv")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1" + b"x" * 100)
    assert "damaged Parquet" in refusal(tmp_path / "damaged.parquet")
    (tmp_path / "damaged.csv.gz").write_bytes(gzip.compress(good.encode())[:-12])
    assert "damaged .gz" in refusal(tmp_path / "damaged.csv.gz")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 50)
    assert "expected at most" in refusal(write(tmp_path / "large.csv", good))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 60)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"1" * 5000))
    assert "unpacks to more" in refusal(tmp_path / "bomb.csv.gz")


def test_content_wins_over_the_ending(tmp_path):
    series().to_parquet(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(read_klines(tmp_path / "a.csv"), series(), check_flags=False)


def test_too_few_rows_are_refused_with_the_number_needed(tmp_path):
    series(5).to_csv(tmp_path / "a.csv", index=False)
    assert refusal(tmp_path / "a.csv", min_rows=400).endswith(
        "5 rows, expected at least 400\n  too few rows: 5, expected at least 400"
    )


def long_table(tmp_path: Path) -> Path:
    parts = [series(10, seed=i).assign(代码=code) for i, code in enumerate(["000001", "600977", "000002"])]
    pd.concat(parts).sort_values("timestamps", kind="stable").to_csv(tmp_path / "long.csv", index=False)
    return tmp_path / "long.csv"


def test_a_table_of_several_symbols_asks_for_one_and_keeps_leading_zeros(tmp_path):
    path = long_table(tmp_path)
    assert list_symbols(path) == ["000001", "600977", "000002"]
    assert "it holds 3 symbols: 000001, 600977, 000002; choose one with symbol=" in refusal(path)
    assert "no symbol 'X'" in refusal(path, symbol="X")
    got = read_klines(path, symbol="600977")
    pd.testing.assert_frame_equal(got, series(10, seed=1), check_flags=False)
    assert got.attrs["symbol"] == "600977"


def test_read_table_gives_all_symbols_in_file_order_and_checks_on_request(tmp_path):
    path = long_table(tmp_path)
    table = read_table(path)
    assert list(table.columns[:3]) == ["symbol", "timestamps", "open"] and len(table) == 30
    assert table["symbol"].head(3).tolist() == ["000001", "600977", "000002"]
    assert set(read_table(path, symbols=["000002"])["symbol"]) == {"000002"}
    read_table(path, check=True)
    frame = pd.read_csv(path, dtype={"代码": str})
    frame.loc[7, "close"] = np.nan
    frame.to_csv(path, index=False)
    assert len(read_table(path)) == 30
    with pytest.raises(KlineError, match=r"symbol 600977: .*missing value 1(.|\n)*data row 8\b"):
        read_table(path, check=True)
    assert "(data row 8)" in refusal(path, symbol="600977"), "rows are counted in the file, not in the series"
    with pytest.raises(KlineError, match="no symbol X"):
        read_table(path, symbols=["X"])


def test_read_table_names_a_single_series_after_its_file(tmp_path):
    series(5).to_csv(tmp_path / "AAPL.csv", index=False)
    assert set(read_table(tmp_path / "AAPL.csv")["symbol"]) == {"AAPL"} and list_symbols(tmp_path / "AAPL.csv") == []
    assert "no symbol column" in refusal(tmp_path / "AAPL.csv", symbol="AAPL")


def test_clean_drop_reads_a_dirty_file_and_says_what_was_left_out(tmp_path):
    frame = series(20)
    frame.loc[3, "close"] = np.nan
    dirty = pd.concat([frame, frame.iloc[[5]]]).sample(frac=1, random_state=0)
    dirty.to_csv(tmp_path / "a.csv", index=False)
    refusal(tmp_path / "a.csv")
    got = read_klines(tmp_path / "a.csv", clean="drop")
    pd.testing.assert_frame_equal(got, series(20).drop(3).reset_index(drop=True), check_flags=False)
    assert "kept 19 of 21 rows, sorted by time" in got.attrs["cleaning"]
    assert "1 missing value" in got.attrs["cleaning"] and "1 duplicate timestamp" in got.attrs["cleaning"]


def test_clean_split_gives_the_last_segment(tmp_path):
    frame = pd.concat([series(1100), series(1200, start="2025-01-01")], ignore_index=True)
    frame.loc[1100, ["open", "high", "low", "close"]] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    got = read_klines(tmp_path / "a.csv", clean="split")
    assert len(got) == 1199 and got["timestamps"].iloc[0] == pd.Timestamp("2025-01-01 00:05")
    assert "2 segments" in got.attrs["cleaning"] and "last segment, 1199 rows" in got.attrs["cleaning"]
    series(100).to_csv(tmp_path / "b.csv", index=False)
    assert "nothing is left" in refusal(tmp_path / "b.csv", clean="split")


@needs_data
def test_every_csv_of_real_users_reads_and_the_dirty_one_is_refused_with_all_its_faults():
    paths = sorted((DATA / "csv").glob("*.csv"))
    assert paths
    for path in paths:
        if not path.name.startswith("dirty"):
            frame = read_klines(path)
            assert len(frame) > 300 and frame["timestamps"].is_monotonic_increasing
            continue
        message = refusal(path)
        for line in (
            "missing value: 1 in close (data row 51)",
            "infinite value: 1 in volume (data row 81)",
            "non-positive price: 1 in open (data row 71)",
            "high below low: 1 in high, low (data row 61)",
            "duplicate timestamp: 4 in timestamps (data rows 1065, 1230, 1283, 1291)",
            "unsorted timestamp: 734 in timestamps (data rows 2, 4, 6, 10, 12, ...)",
        ):
            assert line in message
        assert len(read_klines(path, clean="drop")) == 1496


@needs_data
def test_every_long_table_of_real_data_reads():
    # the large corpus files take seconds each and have the same columns as the small ones
    paths = [f for f in sorted(DATA.glob("*/*.parquet")) if f.stat().st_size < 2**21]
    assert len(paths) > 30
    for path in paths:
        table = read_table(path)
        assert len(table) > 100 and list(table.columns[:6]) == ["symbol", "timestamps", "open", "high", "low", "close"]


@pytest.mark.parametrize("together", [True, False])
def test_a_long_table_comes_in_pieces_of_whole_series(tmp_path, together):
    names = [name for name, bars in (("a", 3), ("b", 11), ("c", 1), ("d", 2)) for _ in range(bars)]
    table = pd.DataFrame({"symbol": names, "timestamp": pd.date_range("2024-01-01", periods=len(names), freq="h")})
    table[["open", "high", "low", "close", "volume"]] = np.arange(len(names) * 5.0).reshape(-1, 5) + 1
    if not together:
        table = table.sort_values("close", ascending=False, key=lambda c: c % 3, kind="stable")
    table.to_parquet(tmp_path / "long.parquet", index=False, row_group_size=4)
    pieces = list(iter_tables(tmp_path / "long.parquet", rows=4))
    parts = [["a"], ["b", "c"], ["d"]] if together else [["a", "b", "c", "d"]]
    assert [sorted(set(piece["symbol"])) for piece in pieces] == parts
    pd.testing.assert_frame_equal(
        pd.concat(pieces, ignore_index=True), read_table(tmp_path / "long.parquet"), check_index_type=False
    )


def test_a_cell_that_says_now_is_no_time(tmp_path):
    table = series(5).astype({"timestamps": "str"})
    table.loc[3, "timestamps"] = "now"
    table.to_csv(tmp_path / "now.csv", index=False)
    with pytest.raises(KlineError, match="has 'now' in data row 4: expected a date or time"):
        read_klines(tmp_path / "now.csv")


def test_a_parquet_file_without_rows_is_refused_in_pieces_too(tmp_path):
    series(5).iloc[:0].to_parquet(tmp_path / "empty.parquet", index=False)
    with pytest.raises(KlineError, match="there is a header but no data rows"):
        list(iter_tables(tmp_path / "empty.parquet"))
