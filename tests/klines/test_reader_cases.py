"""Files as people have them: one small table for each kind, and the shared cases with their expected values."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.calendars import future_timestamps
from kronos.klines import KlineError, ReadOptions, list_symbols, read_klines
from kronos.klines.reader import iter_tables
from kronos.klines.zones import is_utc

CASES = Path(__file__).parents[3] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason=f"the shared cases are not at {CASES}")
EXPECTED = json.loads((CASES / "expected.json").read_text()) if CASES.exists() else {}
READ = [name for name, want in EXPECTED.items() if want.get("rows")]


def bars(n: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = np.round(100 + np.cumsum(rng.normal(0, 0.5, n)), 2)
    first = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-10", periods=n, freq="D").astype("datetime64[ns]"),
            "open": first,
            "high": np.round(np.maximum(first, close) + 0.31, 2),
            "low": np.round(np.minimum(first, close) - 0.27, 2),
            "close": close,
            "volume": rng.integers(10_001, 99_999, n).astype(float),
        }
    )


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def text_of(frame: pd.DataFrame, header: str | None, separator: str = ",", times: str = "%Y-%m-%d") -> str:
    rows = frame.assign(timestamps=frame["timestamps"].dt.strftime(times))
    body = rows.to_csv(index=False, header=False, sep=separator, lineterminator="\n")
    return body if header is None else header + "\n" + body


def same(got: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(got, wanted, check_flags=False)


@needs_cases
@pytest.mark.parametrize("name", READ)
def test_shared_case_reads_as_expected(name):
    want = EXPECTED[name]
    frame = read_klines(CASES / name, clean="sort")  # refuses every other fault
    times = frame["timestamps"].dt.tz_localize(None)
    assert len(frame) == want["rows"]
    for key, value in (("first", times.iloc[0]), ("last", times.iloc[-1])):
        if want.get(key):
            assert value == pd.Timestamp(want[key])
    for key in ("first_close", "last_close"):
        if key in want:
            at = 0 if key.startswith("first") else -1
            assert frame["close"].iloc[at] == pytest.approx(want[key], rel=1e-4)
    for column in ("volume", "amount"):
        key = f"first_{column}"
        if key in want and want[key] is None:
            assert column not in frame
        elif key in want:
            assert frame[column].iloc[0] == pytest.approx(want[key], rel=1e-4)


@pytest.mark.parametrize("header", ["date open high low close volume", "日期 开盘 最高 最低 收盘 成交量"])
def test_columns_apart_by_spaces_read_as_by_commas(tmp_path, header):
    wanted = bars()
    lines = text_of(wanted, header.replace(" ", ",")).splitlines()
    spaced = "\n".join([header, *(line.replace(",", "   ", 2).replace(",", " ") + " " for line in lines[1:])])
    same(read_klines(write(tmp_path / "bars.txt", spaced)), wanted)


def test_columns_apart_by_spaces_under_names_with_spaces_are_refused(tmp_path):
    text = "Date Open High Low Close Adj Close Volume\n" + "2024-01-02 1 2 1 1.5 1.5 100\n" * 3
    with pytest.raises(ValueError, match=r"line 1 stand apart by spaces alone.*separate the columns by commas or tabs"):
        read_klines(write(tmp_path / "bars.txt", text))


@needs_cases
@pytest.mark.parametrize("name", ["alphavantage_py.csv", "barchart.csv", "cdd.csv"])
def test_newest_first_asks_for_sorting(name):
    with pytest.raises(ValueError, match=r'unsorted timestamp.*clean="sort" sorts them'):
        read_klines(CASES / name)
    assert read_klines(CASES / name, clean="sort")["timestamps"].is_monotonic_increasing


@needs_cases
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("barchart.csv", "left out below the last bar: Downloaded from Barchart.com as of 03-26-2024 08:42am CDT"),
        ("cdd.csv", "left out above the header: https://www.example.com"),
        ("d_ths_lead.txt", "the text is read as gb18030"),
        ("de_cp1252.csv", "the text is read as cp1252"),
        ("mt4.csv", "no header row: read as date, time, open, high, low, close, volume"),
    ],
)
def test_shared_case_says_how_it_was_read(name, said):
    assert said in read_klines(CASES / name, clean="sort").attrs["notes"]


@needs_cases
def test_volume_and_amount_of_two_currencies_are_told_apart():
    assert {"volume", "amount"} <= set(read_klines(CASES / "cdd.csv", clean="sort"))


@needs_cases
def test_turnover_rate_is_no_amount():
    frame = read_klines(CASES / "tushare_hist_turnover_rate.csv")
    assert "amount" not in frame and "it is not price times volume" in frame.attrs["notes"][0]


@needs_cases
def test_two_offsets_of_one_exchange_keep_local_midnight_of_weekdays():
    times = read_klines(CASES / "yfinance_eu_daily_two_offsets.csv")["timestamps"]
    assert (times.dt.hour == 0).all() and (times.dt.day_of_week < 5).all()
    assert {moment.utcoffset().seconds for moment in times} == {3600, 7200}


@needs_cases
def test_shared_ambiguous_prices_are_refused_and_settled_by_an_option():
    comma, cross = CASES / "decimal_comma_three_places.csv", CASES / "y_cross1000_point.csv"
    for path in (comma, cross):
        for policy in (None, "drop", "sort"):
            with pytest.raises(KlineError, match=r"decimal=.*thousands="):
                read_klines(path, clean=policy)
    assert read_klines(comma, decimal=",")["close"].iloc[0] == 150.135
    assert read_klines(comma, thousands=",")["close"].iloc[0] == 150135
    assert read_klines(cross, thousands=".")["close"].iloc[-1] == 1034


@needs_cases
def test_shared_table_of_three_stocks_is_three_series():
    path = CASES / "kaggle_name_column.csv"
    assert sorted(list_symbols(path)) == ["AAL", "AAP", "AAPL"]
    for policy in (None, "drop", "sort", "split"):
        with pytest.raises(KlineError, match="3 symbols"):
            read_klines(path, clean=policy)
    assert len(read_klines(path, symbol="AAL", clean="sort")) == 60


@needs_cases
def test_shared_bitstamp_tells_volume_from_amount_and_names_missing_rows():
    path = CASES / "kaggle_bitstamp.csv"
    with pytest.raises(KlineError, match="60 rows with faults: missing value 9"):
        read_klines(path)
    frame = read_klines(path, clean="drop")
    assert len(frame) == 51 and frame["amount"].iloc[0] / frame["volume"].iloc[0] == pytest.approx(101, rel=0.01)


@needs_cases
def test_shared_parquet_takes_time_from_the_date_and_not_the_row_counter():
    frame = read_klines(CASES / "row_counter_and_date.parquet", clean="sort")
    assert len(frame) == 60 and frame["timestamps"].iloc[0] == pd.Timestamp("2024-01-02")


@needs_cases
def test_shared_footers_titles_and_encodings_are_said():
    notes = {
        n: " ".join(read_klines(CASES / n).attrs["notes"]) for n in ("tdx_daily.txt", "wind_footer.csv", "jp_sjis.csv")
    }
    assert (
        "gb18030" in notes["tdx_daily.txt"]
        and "浦发银行" in notes["tdx_daily.txt"]
        and "通达信" in notes["tdx_daily.txt"]
    )
    assert "Wind" in notes["wind_footer.csv"] and "cp932" in notes["jp_sjis.csv"]


@pytest.mark.parametrize("header", [",Date,Open,High,Low,Close,Volume", "Unnamed: 0,time,Open,High,Low,Close,Volume"])
def test_a_row_counter_beside_a_date_is_not_time(tmp_path, header):
    text = text_of(bars(), None).splitlines()
    path = write(tmp_path / "a.csv", "\n".join([header, *(f"{i},{line}" for i, line in enumerate(text))]))
    same(read_klines(path), bars())


def test_a_shuffled_parquet_index_is_not_time(tmp_path):
    frame = bars().rename(columns={"timestamps": "date"}).sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "a.parquet")
    same(read_klines(tmp_path / "a.parquet", clean="sort"), bars())


@pytest.mark.parametrize("column", ["Name", "Firma"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_one_time_are_told_apart_by_a_text_column(tmp_path, column, ending):
    both = pd.concat([bars().assign(**{column: "A"}), bars().assign(**{column: "B"})]).sort_values("timestamps")
    path = tmp_path / f"a.{ending}"
    both.to_csv(path, index=False) if ending == "csv" else both.to_parquet(path, index=False)
    assert list_symbols(path) == ["A", "B"]
    same(read_klines(path, symbol="B"), bars())


def test_several_series_without_a_name_are_never_merged(tmp_path):
    both = pd.concat([bars(), bars().assign(open=5.0, high=6.0, low=4.0, close=5.5)])
    both.to_csv(tmp_path / "a.csv", index=False)
    for policy in (None, "drop", "sort", "split"):
        with pytest.raises(KlineError, match="several series in one table"):
            read_klines(tmp_path / "a.csv", clean=policy)


@pytest.mark.parametrize("ticker_first", [True, False])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_both_orders_of_yfinance_columns_are_series(tmp_path, ticker_first, ending):
    wide = pd.concat({t: bars().set_index("timestamps") for t in ("AAPL", "MSFT")}, axis=1, names=["Ticker", "Price"])
    wide = wide.rename(columns=str.title, level=1).rename_axis("Date")
    wide = wide if ticker_first else wide.swaplevel(axis=1)
    path = tmp_path / f"a.{ending}"
    wide.to_csv(path) if ending == "csv" else wide.to_parquet(path)
    assert list_symbols(path) == ["AAPL", "MSFT"]
    same(read_klines(path, symbol="MSFT"), bars())


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (["$1,234.50", "$985.25"], [1234.5, 985.25]),
        (["1.234,50", "985,25"], [1234.5, 985.25]),
        (["1 234,50", "985,25"], [1234.5, 985.25]),
        (["1\u202f234,50 €", "985,25 €"], [1234.5, 985.25]),
        (["1'234.50", "985.25"], [1234.5, 985.25]),
        (["12,34,567.25", "985.25"], [1234567.25, 985.25]),
        (["985", "1,034"], [985, 1034]),
    ],
)
def test_prices_of_one_convention_are_read(tmp_path, cells, number):
    rows = "".join("\t".join([f"2024-01-{10 + i}", *[cell] * 4]) + "\n" for i, cell in enumerate(cells))
    got = read_klines(write(tmp_path / "a.tsv", "date\topen\thigh\tlow\tclose\n" + rows))
    assert got["close"].tolist() == number


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1.2M", 1.2e6), ("225.91K", 225910), ("1.5B", 1.5e9), ("12.35万", 123500), ("1.2亿", 1.2e8), ("2T", 2e12)],
)
def test_volumes_with_suffixes_are_read(tmp_path, cell, number):
    text = "date,open,high,low,close,volume\n" + "".join(f"2024-01-1{i},10.5,11,9,10,{cell}\n" for i in range(2))
    assert read_klines(write(tmp_path / "a.csv", text))["volume"].tolist() == [number] * 2


@pytest.mark.parametrize(
    ("separator", "cells"), [(";", ["1.234,50", "1,234.50"]), ("\t", ["985", "1.034"]), (";", ["150,765"] * 2)]
)
def test_prices_of_two_conventions_or_none_are_refused(tmp_path, separator, cells):
    rows = [separator.join([f"2024-01-1{i}", *[cell] * 4]) for i, cell in enumerate(cells)]
    path = write(tmp_path / "a.csv", "\n".join([separator.join(["date", "open", "high", "low", "close"]), *rows]))
    for policy in (None, "drop"):
        with pytest.raises(KlineError, match=r"decimal=|two conventions"):
            read_klines(path, clean=policy)


@pytest.mark.parametrize(
    ("spelling", "wanted"),
    [
        ("1/22/2024 09:30:00 PM", "2024-01-22 21:30"),
        ("2024-01-22 12-AM", "2024-01-22 00:00"),
        ("20240122  09:30:00", "2024-01-22 09:30"),
        ("20240122 093000", "2024-01-22 09:30"),
        ("01/22/24", "2024-01-22"),
        ("113/01/22", "2024-01-22"),
        ("2024-01-22 Mon", "2024-01-22"),
        ("2024/01/22(月)", "2024-01-22"),
        ("2024年1月22日", "2024-01-22"),
        ("22. Januar 2024", "2024-01-22"),
    ],
)
def test_times_in_further_spellings_are_read(tmp_path, spelling, wanted):
    path = write(tmp_path / "a.tsv", f"time\topen\thigh\tlow\tclose\n{spelling}\t10\t11\t9\t10\n")
    assert read_klines(path, min_rows=1)["timestamps"].iloc[0] == pd.Timestamp(wanted)


def test_a_zone_name_behind_the_time_is_its_zone(tmp_path):
    path = write(tmp_path / "a.csv", "time,open,high,low,close\n20240122 09:30:00 US/Eastern,10,11,9,10\n")
    assert read_klines(path, min_rows=1)["timestamps"].iloc[0].isoformat() == "2024-01-22T09:30:00-05:00"


@pytest.mark.parametrize(
    ("spelling", "wanted"),
    [
        ("2024-01-02 01:00 UTC+8", "2024-01-02T01:00:00+08:00"),
        ("2024-01-02 01:00 UTC+08:00", "2024-01-02T01:00:00+08:00"),
        ("2024/1/2 1:00 utc+8", "2024-01-02T01:00:00+08:00"),
        ("2024-01-02 01:00 (UTC+8)", "2024-01-02T01:00:00+08:00"),
        ("Jan 2 2024 1:00 GMT+8", "2024-01-02T01:00:00+08:00"),
        ("2024-01-02 01:00 PM GMT+8", "2024-01-02T13:00:00+08:00"),
        ("2024-01-02 01:00 GMT-5", "2024-01-02T01:00:00-05:00"),
        ("2024-01-02 01:00 GMT+5:30", "2024-01-02T01:00:00+05:30"),
        ("Tue Jan 02 2024 01:00:00 GMT+0800 (China Standard Time)", "2024-01-02T01:00:00+08:00"),
    ],
)
def test_an_offset_from_utc_or_gmt_has_the_sign_of_iso(tmp_path, spelling, wanted):
    path = write(tmp_path / "a.csv", f"time,open,high,low,close\n{spelling},10,11,9,10\n")
    assert read_klines(path, min_rows=1)["timestamps"].iloc[0].isoformat() == wanted


@pytest.mark.parametrize("spelling", ["Jan 2 2024 01:00 CST-6", "Jan 2 2024 01:00 PST8PDT", "2024-01-02 01:00 UTC+99"])
def test_an_offset_of_unknown_sign_is_refused_with_its_cell(tmp_path, spelling):
    path = write(tmp_path / "a.csv", f"time,open,high,low,close\n{spelling},10,11,9,10\n")
    with pytest.raises(KlineError, match=r"'[^']*01:00 [^']*' in data row 1"):
        read_klines(path, min_rows=1)


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (("2024-01-02 23:00", "2024-01-02 24:00"), ("2024-01-02 23:00", "2024-01-03 00:00")),
        (("20240102 2300", "20240102 2400"), ("2024-01-02 23:00", "2024-01-03 00:00")),
        (("45292", "45293"), ("2024-01-01", "2024-01-02")),
        (("45292.5", "45292.541666667"), ("2024-01-01 12:00", "2024-01-01 13:00")),
        (("240131", "240201"), ("2024-01-31", "2024-02-01")),
        (("310124", "010224"), ("2024-01-31", "2024-02-01")),
        (("1130131", "1130201"), ("2024-01-31", "2024-02-01")),
        (("2024010209", "2024010210"), ("2024-01-02 09:00", "2024-01-02 10:00")),
        (("22.01.24", "23.01.24"), ("2024-01-22", "2024-01-23")),
        (("24.01.22", "24.01.23"), ("2024-01-22", "2024-01-23")),
        (("02/01/2567", "31/01/2567"), ("2024-01-02", "2024-01-31")),
        (("2567-02-28", "2567-02-29"), ("2024-02-28", "2024-02-29")),
        (("25670228", "25670229"), ("2024-02-28", "2024-02-29")),
        (("２０２４－０１－０２", "２０２４－０１－０３"), ("2024-01-02", "2024-01-03")),
        (("2024年1月2日 9時30分", "2024年1月2日 10時30分"), ("2024-01-02 09:30", "2024-01-02 10:30")),
        (('="2024-01-02"', '="2024-01-03"'), ("2024-01-02", "2024-01-03")),
    ],
)
def test_times_of_spreadsheets_and_other_calendars_are_read(tmp_path, cells, wanted):
    path = write(tmp_path / "a.csv", "date,open,high,low,close\n" + "".join(f"{cell},10,11,9,10\n" for cell in cells))
    got = read_klines(path)
    assert got["timestamps"].tolist() == [pd.Timestamp(one) for one in wanted]
    odd = "2567" in cells[0] or (cells[0].isascii() and cells[0].replace(".", "").isdigit())
    assert any(f"{cells[0]!r} is read as" in note for note in got.attrs.get("notes", ())) == odd


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(638_397_846_000_000_000, id=".NET, 2024-01-02 09:30"),
        pytest.param(133_486_614_000_000_000, id="Windows, 2024-01-02 09:30"),
    ],
)
def test_ticks_of_100_ns_are_times_since_their_own_year(tmp_path, first):
    rows = "".join(f"{first + i * 600_000_000},10,11,9,10\n" for i in range(3))
    got = read_klines(write(tmp_path / "a.csv", "date,open,high,low,close\n" + rows))
    assert (
        got["timestamps"].dt.tz_localize(None).tolist()
        == pd.date_range("2024-01-02 09:30", periods=3, freq="min").tolist()
    )


def test_epochs_in_minutes_are_refused_and_old_ones_in_seconds_read(tmp_path):
    table = "date,open,high,low,close\n{},10,11,9,10\n{},10,11,9,10\n"
    with pytest.raises(KlineError, match=r"28440001, an epoch of 1971 in seconds, or of another unit"):
        read_klines(write(tmp_path / "a.csv", table.format(28440000, 28440001)))
    got = read_klines(write(tmp_path / "b.csv", table.format(28425600, 28512000)))
    assert got["timestamps"].dt.tz_localize(None).tolist() == [pd.Timestamp("1970-11-26"), pd.Timestamp("1970-11-27")]


def test_epochs_in_scientific_form_are_read_where_no_digit_is_cut(tmp_path):
    lines = "date,open,high,low,close\n{},10,11,9,10\n{},10,11,9,10\n"
    got = read_klines(write(tmp_path / "a.csv", lines.format("1.7040672E+12", "1.7041536E+12")))
    assert got["timestamps"].dt.tz_localize(None).tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]
    with pytest.raises(KlineError, match=r"'1.7E\+12' in data row 1, an epoch whose last digits a spreadsheet has cut"):
        read_klines(write(tmp_path / "b.csv", lines.format("1.7E+12", "1.7E+12")))


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_counter_of_rows_is_no_day_of_a_spreadsheet(tmp_path, name):
    with pytest.raises(KlineError, match="holds small numbers like 45293"):
        read_klines(write(tmp_path / "a.csv", f"{name},open,high,low,close\n45292,10,11,9,10\n45293,10,11,9,10\n"))


def test_the_order_of_the_rows_tells_day_from_month_over_five_days(tmp_path):
    days = ["01/02/2024", "05/02/2024", "02/03/2024", "03/03/2024", "04/04/2024"]
    table = "date,open,high,low,close\n" + "".join(f"{day},10,11,9,10\n" for day in days)
    got = read_klines(write(tmp_path / "a.csv", table))
    assert got["timestamps"].dt.strftime("%d/%m/%Y").tolist() == days
    with pytest.raises(KlineError, match="could be day first or month first"):
        read_klines(write(tmp_path / "b.csv", table.rsplit("\n", 2)[0]))


def test_cells_made_texts_for_a_spreadsheet_are_read(tmp_path):
    lines = '="代码",日期,="开盘",最高,最低,收盘,成交量\n' + "".join(
        f'="000001",\'2024-01-0{day},="100",="110",="90",="10{day}",="1000"\n' for day in (2, 3)
    )
    got = read_klines(write(tmp_path / "a.csv", lines))
    assert got.attrs["symbol"] == "000001" and got["close"].tolist() == [102.0, 103.0]
    assert got["timestamps"].tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]


def test_digits_and_commas_of_full_width_are_read_and_refused_as_separators(tmp_path):
    path = write(
        tmp_path / "a.tsv",
        "Date\tOpen\tHigh\tLow\tClose\n2024-01-02\t１，２３４．５\t１，２４４．５\t１，２３３．５\t１，２３４\n",
    )
    assert read_klines(path, min_rows=1)["open"].tolist() == [1234.5]
    with pytest.raises(KlineError, match=r"line 1 has full-width commas .* replace them"):
        read_klines(write(tmp_path / "b.csv", "日期，开盘，最高，最低，收盘\n2024-01-02，10，11，9，10\n"))


def test_a_header_in_the_middle_is_left_out_and_rows_keep_their_numbers(tmp_path):
    header = "timestamps,open,high,low,close,volume"
    first, second = bars().iloc[:12], bars().iloc[12:]
    text = text_of(first, header) + text_of(second, header)
    got = read_klines(write(tmp_path / "a.csv", text))
    same(got, bars())
    assert got.attrs["notes"] == ("left out: the header again, in data row 13",)
    faulty = text_of(first, header) + text_of(second.assign(close=-1.0), header)
    with pytest.raises(KlineError, match=r"data rows 14, 15"):
        read_klines(write(tmp_path / "b.csv", faulty))


@pytest.mark.parametrize(
    "footer", ["Average,10,11,9,10,1000", "Total,,,,,99999", "合计,10,11,9,10,1", ",Average,10,11,9,10"]
)
def test_averages_and_totals_below_the_bars_are_left_out_and_said(tmp_path, footer):
    path = write(tmp_path / "a.csv", text_of(bars(), "timestamps,open,high,low,close,volume") + footer + "\n")
    got = read_klines(path)
    same(got, bars())
    assert got.attrs["notes"][-1].startswith("left out below the last bar: ")


def test_an_average_between_the_bars_is_refused_with_its_cell(tmp_path):
    head = "timestamps,open,high,low,close,volume"
    text = text_of(bars().iloc[:12], head) + "Average,10,11,9,10,1\n" + text_of(bars().iloc[12:], None)
    with pytest.raises(KlineError, match="'Average' in data row 13"):
        read_klines(write(tmp_path / "a.csv", text))


def test_quotes_of_two_sides_are_refused_until_one_is_chosen(tmp_path):
    names = [f"{side} {price}" for side in ("Bid", "Ask") for price in ("Open", "High", "Low", "Close")]
    path = write(tmp_path / "a.csv", f"Time,{','.join(names)}\n2024-01-02,10,11,9,10,12,13,11,12\n")
    with pytest.raises(
        KlineError, match=r"quotes of bid and ask: choose one side with columns=\{.Bid Open.: .open., "
    ) as refused:
        read_klines(path, min_rows=1)
    assert "'Ask Close'" in str(refused.value)
    told = dict(zip(names[4:], ("open", "high", "low", "close"), strict=True))
    assert read_klines(path, min_rows=1, columns=told)["open"].tolist() == [12.0]
    ticks = write(tmp_path / "b.csv", "Time,Bid,Ask\n2024-01-02,10,11\n")
    with pytest.raises(KlineError, match=r"quotes of bid and ask .* not bars"):
        read_klines(ticks)


def test_the_beginning_and_the_end_of_a_bar_are_no_time_with_an_offset(tmp_path):
    rows = "".join(f"2024-01-29 {hour:02}:00-{hour + 1:02}:00,10,11,9,10\n" for hour in range(9, 15))
    with pytest.raises(KlineError, match=r"'2024-01-29 09:00-10:00' in data row 1, the beginning and the end of a bar"):
        read_klines(write(tmp_path / "a.csv", "date,open,high,low,close\n" + rows))


def test_prices_that_may_be_thirty_seconds_are_refused_until_it_is_said(tmp_path):
    rows = "".join(f"2024-01-0{day},110'160,110'240,110'080,110'20{day}\n" for day in (2, 5))
    path = write(tmp_path / "a.csv", "date,open,high,low,close\n" + rows)
    with pytest.raises(KlineError, match=r"\"110'160\" may be 110160, or 110 and 16/32: say thousands"):
        read_klines(path)
    assert read_klines(path, thousands="'")["open"].tolist() == [110160.0, 110160.0]
    swiss = write(tmp_path / "b.csv", "date,open,high,low,close\n2024-01-02,12'160,12'240,12'080,12'199\n")
    assert read_klines(swiss, min_rows=1)["close"].tolist() == [12199.0]


def test_whole_numbers_of_databento_are_prices_times_a_billion(tmp_path):
    head = "ts_event,rtype,publisher_id,open,high,low,close,volume\n"
    row = "1706486400000000000,33,1,4900250000000,4901000000000,4899750000000,4900500000000,450\n"
    got = read_klines(write(tmp_path / "a.csv", head + row), min_rows=1)
    assert got[["open", "high", "low", "close"]].iloc[0].tolist() == [4900.25, 4901.0, 4899.75, 4900.5]
    assert any("Databento" in note for note in got.attrs["notes"])


def test_several_series_in_one_json_document_are_never_cut_to_one(tmp_path):
    one = [{"t": f"2024-01-0{day}", "o": 10, "h": 11, "l": 9, "c": 10.5} for day in (2, 3)]
    by_key = write(tmp_path / "a.json", json.dumps({"bars": {"AAPL": one, "MSFT": one}}))
    assert list_symbols(by_key) == ["AAPL", "MSFT"]
    in_list = write(tmp_path / "b.json", json.dumps([{"symbol": name, "values": one} for name in ("AAPL", "MSFT")]))
    assert list_symbols(in_list) == ["AAPL", "MSFT"]
    arrays = [[1706486400 + 3600 * i, 10, 11, 9, 10.5, 7] for i in range(3)]
    with pytest.raises(KlineError, match=r"JSON with 2 tables of bars \(A, B\): keep one of them"):
        read_klines(write(tmp_path / "c.json", json.dumps({"A": arrays, "B": arrays})))


def test_money_named_volume_beside_a_volume_named_amount_is_told_by_the_price(tmp_path):
    rows = [
        {
            "ts": 1706486400 + 3600 * i,
            "open": 250,
            "close": 251,
            "low": 249,
            "high": 252,
            "amount": 5 + i,
            "vol": (5 + i) * 250.5,
        }
        for i in range(5)
    ]
    got = read_klines(write(tmp_path / "a.json", json.dumps({"data": rows})))
    assert got["volume"].tolist() == [5.0, 6.0, 7.0, 8.0, 9.0] and got["amount"].iloc[0] == 1252.5
    assert any("'amount' is read as the volume" in note for note in got.attrs["notes"])


def test_a_line_of_units_below_the_names_is_read_as_units(tmp_path):
    head = "Date,Open,High,Low,Close,Volume\n,USD,USD,USD,USD,thousands\n"
    got = read_klines(write(tmp_path / "a.csv", head + "2024-01-02,10,11,9,10,5\n"), min_rows=1)
    assert got[["close", "volume"]].iloc[0].tolist() == [10.0, 5000.0]


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"klines": [f"2024-01-0{day},1610.00,1620.00,1630.00,1600.00,20000,32300000,1.8,0.6,10,0.1" for day in (2, 3)]}},
        {"data": {"sh600519": {"day": [[f"2024-01-0{day}", "1610", "1620", "1630", "1600", "20000"] for day in (2, 3)]}}},
        {"data": {"column": ["timestamp", "volume", "open", "high", "low", "close"],
                  "item": [[f"2024-01-0{day}", 20000, 1610, 1630, 1600, 1620] for day in (2, 3)]}},
        [{"t": f"2024-01-0{day}", "T": f"2024-01-0{day}T23:59", "o": 1610, "c": 1620, "h": 1630, "l": 1600, "v": 20000, "V": 3,
          "L": 8} for day in (2, 3)],
    ],
    ids=["East Money", "Tencent", "Xueqiu", "Binance stream"],
)  # fmt: skip
def test_json_of_further_vendors_is_read(tmp_path, document):
    got = read_klines(write(tmp_path / "a.json", json.dumps(document)))
    assert got["timestamps"].tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]
    assert got[["open", "high", "low", "close", "volume"]].iloc[0].tolist() == [1610, 1630, 1600, 1620, 20000]


def test_a_zone_in_the_name_of_the_time_is_said_to_be_left_out(tmp_path):
    path = write(tmp_path / "a.csv", "Time (UTC+8),open,high,low,close\n2024-01-02 09:30,10,11,9,10\n")
    got = read_klines(path, min_rows=1)
    assert got["timestamps"].iloc[0] == pd.Timestamp("2024-01-02 09:30")
    assert any("names a zone" in note for note in got.attrs["notes"])


def test_prices_one_level_down_in_json_are_read(tmp_path):
    price = {"o": "10", "h": "11", "l": "9", "c": "10.5"}
    rows = [{"time": f"2024-01-0{day}T00:00:00Z", "volume": 5, "mid": price} for day in (2, 3)]
    got = read_klines(write(tmp_path / "a.json", json.dumps({"candles": rows})))
    assert got["close"].tolist() == [10.5, 10.5] and got["volume"].tolist() == [5.0, 5.0]
    both = [{"time": row["time"], "bid": price, "ask": price} for row in rows]
    with pytest.raises(KlineError, match="quotes of bid and ask: choose one side"):
        read_klines(write(tmp_path / "b.json", json.dumps(both)))


@pytest.mark.parametrize(
    ("name", "column", "number"),
    [
        ("成交量(万手)", "volume", 123_000.0),
        ("成交量（百万股）", "volume", 12_300_000.0),
        ("Volume (K)", "volume", 12_300.0),
        ("Vol. (M)", "volume", 12_300_000.0),
        ("Volume (in thousands)", "volume", 12_300.0),
        ("Volume ('000)", "volume", 12_300.0),
        ("Volume_mn", "volume", 12_300_000.0),
        ("出来高(千株)", "volume", 12_300.0),
        ("Объём (тыс. шт.)", "volume", 12_300.0),
        ("成交量(手)", "volume", 12.3),
        ("Volume (BTC)", "volume", 12.3),
        ("成交额(亿元)", "amount", 1_230_000_000.0),
        ("成交額/億元", "amount", 1_230_000_000.0),
        ("Amount (USD mn)", "amount", 12_300_000.0),
        ("Amount (₹ Cr)", "amount", 123_000_000.0),
        ("Amount (HK$ mn)", "amount", 12_300_000.0),
    ],
)
def test_a_unit_in_the_name_of_a_column_is_its_factor(tmp_path, name, column, number):
    path = write(tmp_path / "a.csv", f"date;open;high;low;close;{name}\n2024-01-02;10;11;9;10;12.3\n")
    bars = read_klines(path, min_rows=1)
    assert bars[column].tolist() == [number]
    said = any("unit in its name" in note for note in bars.attrs.get("notes", ()))
    assert said == (number != 12.3)


def test_turnover_in_millions_is_money_where_it_fits_price_times_volume(tmp_path):
    lines = "".join(f"2024-01-{day:02};10;11;9;10;{day}00000;{day}.0\n" for day in range(10, 20))
    bars = read_klines(write(tmp_path / "a.csv", "date;open;high;low;close;volume;Turnover (mn)\n" + lines))
    assert bars["amount"].tolist() == [day * 1e6 for day in range(10, 20)]


@pytest.mark.parametrize(
    ("name", "cell", "said"),
    [
        (
            "Volume (T)",
            "12.3",
            r"the unit in the name .* is unclear.*with columns=\{.Volume \(T\).: .volume.\}",
        ),
        ("成交量(万手/元)", "12.3", "unclear"),
        ("Volume (USD mn)", "12.3", "a volume in units of money"),
        ("Volume (K)", "12.3K", "in its name and in its cells"),
    ],
)
def test_an_unclear_unit_in_a_name_is_refused_with_the_remedy(tmp_path, name, cell, said):
    path = write(tmp_path / "a.csv", f"date,open,high,low,close,{name}\n2024-01-02,10,11,9,10,{cell}\n")
    with pytest.raises(KlineError, match=said):
        read_klines(path, min_rows=1)
    if "K" not in name:
        assert read_klines(path, min_rows=1, columns={name: "volume"})["volume"].iloc[0] in (12.3, 12.3e6)


def workbook(path: Path, sheets: dict[str, pd.DataFrame]) -> Path:
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(path) as writer:
        for title, frame in sheets.items():
            frame.to_excel(writer, index=False, sheet_name=title)
    return path


def test_sheets_with_bars_are_series_of_their_names(tmp_path):
    second = bars().assign(close=bars()["open"])
    text = pd.DataFrame({"note": ["made up"]})
    path = workbook(tmp_path / "a.xlsx", {"AAA": bars(), "about": text, "BBB": second})
    assert list_symbols(path) == ["AAA", "BBB"]
    with pytest.raises(KlineError, match="holds 2 symbols: AAA, BBB; choose one"):
        read_klines(path)
    got = read_klines(path, symbol="BBB")
    same(got, second)
    assert any("'about' is left out" in note for note in got.attrs["notes"])


def test_sheets_of_different_columns_are_refused_until_one_is_chosen(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"AAA": bars(), "BBB": bars().rename(columns={"volume": "Volume (K)"})})
    with pytest.raises(KlineError, match="2 sheets hold bars, with different columns: 'AAA', 'BBB'; choose one"):
        read_klines(path)
    assert read_klines(path, symbol="BBB")["volume"].iloc[0] == 1000 * bars()["volume"].iloc[0]


def test_sheets_with_a_column_of_symbols_are_one_table(tmp_path):
    sheets = {year: bars().assign(symbol=f"S{year}") for year in ("2023", "2024")}
    assert list_symbols(workbook(tmp_path / "a.xlsx", sheets)) == ["S2023", "S2024"]


def test_short_dates_that_could_be_two_are_refused(tmp_path):
    with pytest.raises(KlineError, match=r"'01/02/03' in data row 1"):
        read_klines(write(tmp_path / "a.csv", "time,open,high,low,close\n01/02/03,10,11,9,10\n"), min_rows=1)


def test_titles_and_footers_are_left_out_and_said(tmp_path):
    text = "600000 somewhere\n" + text_of(bars(), "Date,Open,High,Low,Close,Volume") + "Downloaded from somewhere\n"
    got = read_klines(write(tmp_path / "a.csv", text))
    same(got, bars())
    assert "left out below the last bar: Downloaded from somewhere" in got.attrs["notes"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_without_a_header_is_read_by_the_order_of_its_prices(tmp_path, separator):
    path = write(tmp_path / "a.csv", text_of(bars(), None, separator))
    same(read_klines(path), bars())
    got = read_klines(path, names=["date", "open", "high", "low", "close", "x"])
    assert "volume" not in got and got["close"].tolist() == bars()["close"].tolist()


def json_documents(frame: pd.DataFrame) -> dict[str, object]:
    stamps = (frame["timestamps"].astype("int64") // 10**6).tolist()
    columns = [frame[c].tolist() for c in ("open", "high", "low", "close", "volume")]
    rows = [list(row) for row in zip(stamps, *columns, strict=True)]
    kraken = [[t // 1000, str(o), str(h), str(low), str(c), "1.0", str(v), 5] for t, o, h, low, c, v in rows]
    coinbase = [[t // 1000, low, h, o, c, v] for t, o, h, low, c, v in rows]
    records = [dict(zip("tohlcv", row, strict=True)) for row in rows]
    return {
        "records": records,
        "arrays": rows,
        "polygon": {"ticker": "A", "results": records, "count": len(rows)},
        "kraken": {"error": [], "result": {"XXBTZUSD": kraken, "last": 5}},
        "coinbase": coinbase,
        "columns": {"s": "ok"} | {k: [r[k] for r in records] for k in "tohlcv"},
    }


@pytest.mark.parametrize("kind", ["records", "arrays", "polygon", "kraken", "coinbase", "columns"])
def test_json_of_exchanges_is_read(tmp_path, kind):
    path = write(tmp_path / "a.json", json.dumps(json_documents(bars())[kind]))
    got = read_klines(path)
    got["timestamps"] = got["timestamps"].dt.tz_localize(None)
    same(got, bars())


def test_json_lines_a_zip_with_one_member_and_a_workbook_are_read(tmp_path):
    lines = bars().assign(timestamps=bars()["timestamps"].astype("str")).to_json(orient="records", lines=True)
    same(read_klines(write(tmp_path / "a.jsonl", lines)), bars())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.csv", bars().to_csv(index=False))
    same(read_klines(tmp_path / "a.zip"), bars())
    pytest.importorskip("openpyxl")
    buffer = io.BytesIO()
    bars().to_excel(buffer, index=False)
    (tmp_path / "a.xlsx").write_bytes(buffer.getvalue())
    same(read_klines(tmp_path / "a.xlsx"), bars())


@pytest.mark.parametrize(
    ("encoding", "header"),
    [
        ("gb18030", "日期,开盘,最高,最低,收盘,总手"),
        ("big5", "日期,開盤價,最高價,最低價,收盤價,成交量"),
        ("cp932", "日付,始値,高値,安値,終値,出来高"),
        ("cp949", "날짜,시가,고가,저가,종가,거래량"),
        ("cp1252", "Datum,Eröffnung,Hoch,Tief,Schluss,Stücke"),
        ("cp1251", "Дата,Откр.,Макс.,Мин.,Закрытие,Объём"),
        ("utf-16", "Fecha,Apertura,Máximo,Mínimo,Último,Vol."),
        ("utf-8", "Date,Ouv.,Plus Haut,Plus Bas,Dernier,Vol."),
    ],
)
def test_names_of_many_languages_are_known_in_their_encodings(tmp_path, encoding, header):
    same(read_klines(write(tmp_path / "a.csv", text_of(bars(), header), encoding)), bars())


@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_turnover_that_fits_price_times_volume_is_money(tmp_path, factor):
    frame = bars()
    money = frame.assign(turnover=frame["volume"] * (frame["high"] + frame["low"]) / 2 * factor)
    money.to_csv(tmp_path / "a.csv", index=False)
    assert "amount" in read_klines(tmp_path / "a.csv")
    frame.assign(turnover=0.31).to_csv(tmp_path / "b.csv", index=False)
    got = read_klines(tmp_path / "b.csv")
    assert "amount" not in got and any("turnover" in note for note in got.attrs["notes"])


def half_hours(zone: str | None) -> pd.Series:
    """Half-hour bars of New York's sessions up to the change of the clock of 10 March 2024."""
    days = pd.bdate_range("2024-02-20", "2024-03-08")
    local = [pd.date_range(f"{day:%Y-%m-%d} 09:30", periods=13, freq="30min", tz="America/New_York") for day in days]
    times = pd.DatetimeIndex(np.concatenate([one.tz_convert(zone or one.tz).tz_localize(None) for one in local]))
    return pd.Series(times)


def test_naive_utc_is_told_from_local_time_by_the_sessions():
    utc, local = half_hours("UTC"), half_hours(None)
    assert is_utc(utc, "XNYS") and not is_utc(local, "XNYS")
    assert not is_utc(utc, None) and not is_utc(utc, "24/7") and not is_utc(utc.dt.tz_localize("UTC"), "XNYS")
    first = future_timestamps(utc.dt.tz_localize("UTC"), 1, "XNYS")[0]
    assert first == pd.Timestamp("2024-03-11 13:30", tz="UTC")


@needs_cases
def test_shared_naive_utc_is_recognised_with_a_calendar():
    times = read_klines(CASES / "us_30m_naive_utc.csv")["timestamps"]
    assert is_utc(times, "XNYS")
    assert future_timestamps(times.dt.tz_localize("UTC"), 1, "XNYS")[0] == pd.Timestamp("2024-03-11 13:30", tz="UTC")


def night_bars(step: str = "30min") -> pd.DataFrame:
    """Two weeks of a product that trades from 21:00 to 02:30 and in the day, labelled with the day of the clock."""
    times = [
        day + slot
        for day in pd.bdate_range("2024-03-01", "2024-03-14")
        for run in (("9h", "15h"), ("21h", "26h 30min"))
        for slot in pd.timedelta_range(*run, freq=step)
    ]
    frame = bars(len(times))
    return frame.assign(timestamps=pd.Series(times).astype("datetime64[ns]"))


def trading_day_labels(times: pd.Series) -> pd.Series:
    """The labels that Chinese terminals write: bars of a night carry the date of the next trading day."""
    day = (times - pd.Timedelta("6h")).dt.normalize()
    night = (times - day) >= pd.Timedelta("18h")
    return times.dt.normalize().where(~night, day + pd.offsets.BDay()) + (times - times.dt.normalize())


@pytest.mark.parametrize("policy", ["sort", "drop"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_night_bars_labelled_with_their_trading_day_are_set_on_the_clock(tmp_path, policy, newest_first):
    frame = night_bars()
    labelled = frame.assign(timestamps=trading_day_labels(frame["timestamps"]))
    labelled = labelled[::-1] if newest_first else labelled
    labelled.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(KlineError, match=r"night bars are labelled with their trading day.*clean=\"sort\" gives them"):
        read_klines(tmp_path / "a.csv")
    got = read_klines(tmp_path / "a.csv", clean=policy)
    same(got, frame)
    assert "were set back" in got.attrs["cleaning"]


def test_night_bars_labelled_by_the_clock_are_left_as_they_are(tmp_path):
    night_bars().to_csv(tmp_path / "a.csv", index=False)
    same(read_klines(tmp_path / "a.csv"), night_bars())
    night_bars().sample(frac=1, random_state=0).to_csv(tmp_path / "b.csv", index=False)
    got = read_klines(tmp_path / "b.csv", clean="sort")
    same(got, night_bars())
    assert "set back" not in got.attrs["cleaning"]


@needs_cases
def test_shared_night_bars_keep_their_order():
    path = CASES / "tdx_night_trading_day_label.csv"
    with pytest.raises(KlineError, match="trading day"):
        read_klines(path)
    got = read_klines(path, clean="sort")
    written = pd.read_csv(path)
    assert got["close"].tolist() == written["close"].tolist()
    assert got["timestamps"].iloc[0] == pd.Timestamp("2024-03-01 21:30")


@needs_cases
@pytest.mark.parametrize("calendar", [None, "cn-futures"])
def test_shared_night_session_has_no_bars_on_saturday_morning(calendar):
    times = read_klines(CASES / "cn_night_session_15m.csv")["timestamps"]
    for cut in (200, 240, 270):
        assert list(future_timestamps(times[:cut], 60, calendar)) == list(times[cut : cut + 60])


@needs_cases
def test_shared_split_is_named_with_its_ratio():
    report = str(read_klines(CASES / "unadjusted_split.csv").attrs["validation"])
    assert "jump" in report and "10:1" in report


def test_pieces_of_a_table_are_read_in_the_zone_that_is_told(tmp_path):
    bars().to_csv(tmp_path / "a.csv", index=False)
    for zone, first in (("Asia/Shanghai", "2024-01-10T00:00:00+08:00"), ("UTC", "2024-01-10T00:00:00+00:00")):
        (table,) = iter_tables(tmp_path / "a.csv", options=ReadOptions(tz=zone))
        assert table["timestamps"].iloc[0].isoformat() == first
