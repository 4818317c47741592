"""Faults that gave an answer without a word: inputs written over, stamps out of range, lost members, notes that were not given."""

import gzip
import hashlib
import os

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calendars import future_timestamps
from kronos.cli import main as cli
from kronos.io.atomic import inputs_kept, whole_folder, write_file
from kronos.klines import KlineError, read_klines
from kronos.klines.notes import future_notes, missing_bars, notes_of

FEW = ("--horizon", "2", "--paths", "2")


def table(times, **columns) -> pd.DataFrame:
    close = 100 + np.sin(np.arange(len(times)))
    bars = {"timestamps": times, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 10.0}
    return pd.DataFrame(bars | columns)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(pd.bdate_range("2023-06-01", "2023-12-29")).to_csv("prices.csv", index=False)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def digests(folder) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


# ------------------------------------------------------------------------------------------ inputs


@pytest.mark.parametrize(
    "arguments",
    [
        ("forecast", "prices.csv", "--out", "prices.csv"),
        ("forecast", "prices.csv", "--out", "../{name}/prices.csv"),
        ("forecast", "prices.csv", "--out", "hard.csv"),
        ("forecast", "prices.csv", "--out", "soft.csv"),
        ("forecast", "hard.csv", "--out", "prices.csv"),
        ("evaluate", "prices.csv", "--out", "prices.csv"),
        ("generate", "prices.csv", "--out", "prices.csv"),
        ("score", "prices.csv", "--out", "prices.csv"),
        ("export-qlib", "prices.csv", "--out", "prices.csv"),
        ("store", "build", "prices.csv", "--out", "prices.csv"),
        ("finetune", "--data", "prices.csv", "--out", "prices.csv"),
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]),
)
def test_no_command_writes_over_a_file_that_it_reads(arguments, folder):
    os.link("prices.csv", "hard.csv")
    os.symlink("prices.csv", "soft.csv")
    before = digests(folder)
    done = run(*(part.format(name=folder.name) for part in arguments))
    assert done.exit_code == 2, done.output
    assert "is read: it would be written over" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert digests(folder) == before


def test_a_folder_of_inputs_is_not_written_into(folder):
    table(pd.bdate_range("2023-06-01", "2023-12-29")).to_csv("other.csv", index=False)
    before = digests(folder)
    assert run("forecast", ".", "--out", ".", *FEW).exit_code == 2
    assert digests(folder) == before


def test_the_writers_themselves_refuse_inputs_at_any_depth(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.csv"
    path.write_text("x")
    with inputs_kept([tmp_path / "in"]):
        with pytest.raises(ValueError, match=r"a.csv, which is read"):
            write_file(path, b"y")
        with pytest.raises(ValueError, match=r"a.csv, which is read"), whole_folder(tmp_path / "in"):
            pass
        write_file(tmp_path / "in" / "b.csv", b"y")
    write_file(path, b"y")
    assert path.read_bytes() == b"y"


# ------------------------------------------------------------------------------------------ stamps

DAYS = np.arange(30)
STAMPS = {
    "seconds of 2300": (10413792000 + 86400 * DAYS, "outside 1678..2261"),
    "milliseconds of 2300": ((10413792000 + 86400 * DAYS) * 1000, "outside 1678..2261"),
    "texts of 2300": ([f"2300-01-{i + 1:02d}" for i in DAYS], "outside 1678..2261"),
    "texts of 1600": ([f"1600-01-{i + 1:02d}" for i in DAYS], "outside 1678..2261"),
    "thirty digits": ([10**30 + int(i) for i in DAYS], "beyond the epoch of any year"),
    "twenty digits": ([10**19 + int(i) * 10**15 for i in DAYS], "beyond the epoch of any year"),
    "infinite": (["inf"] * 30, "expected a date or time"),
}


@pytest.mark.parametrize(("times", "said"), STAMPS.values(), ids=STAMPS)
def test_stamps_out_of_range_are_refused_with_their_column(times, said, tmp_path):
    table(list(map(str, times))).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(KlineError, match=said) as error:
        read_klines(tmp_path / "a.csv")
    assert "timestamps" in str(error.value)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epochs_of_every_unit_are_the_times_they_say(unit, tmp_path):
    times = pd.date_range("2261-11-01", periods=30, freq="D")
    table(times.as_unit(unit).asi8).to_csv(tmp_path / "a.csv", index=False)
    assert (read_klines(tmp_path / "a.csv")["timestamps"].dt.tz_localize(None) == times).all()


def test_times_a_nanosecond_apart_have_no_rhythm():
    with pytest.raises(ValueError, match="positions 0 and 1 are less than a microsecond apart"):
        future_timestamps(pd.to_datetime(1_700_000_000_000_000_000 + DAYS), 3)


def test_json_stamps_of_2300_are_refused_by_the_service():
    from kronos.serving.inputs import _times

    with pytest.raises(KlineError, match=r"outside 1678..2261"):
        _times(["2300-01-01T00:00:00", "2300-01-02T00:00:00"])
    assert _times(["2261-01-01T00:00:00"])[0] == pd.Timestamp("2261-01-01")


# ------------------------------------------------------------------------------------------ members, levels, remedies


def parts() -> tuple[bytes, bytes]:
    first, second = (table(pd.date_range(day, periods=30)) for day in ("2024-01-01", "2024-01-31"))
    return first.to_csv(index=False).encode(), second.to_csv(index=False, header=False).encode()


def test_all_members_of_a_gz_file_are_read_from_disk_and_over_http(tmp_path):
    from kronos.serving.uploads import _unpacked

    first, second = parts()
    joined = gzip.compress(first) + gzip.compress(second)
    (tmp_path / "a.csv.gz").write_bytes(joined)
    assert len(read_klines(tmp_path / "a.csv.gz")) == 60
    assert _unpacked(joined + b"\0\0", 10**6) == first + second


def test_a_second_member_that_is_damaged_or_too_large_is_refused():
    from kronos.serving.problems import Problem
    from kronos.serving.uploads import _unpacked

    first, second = parts()
    for tail, said in ((gzip.compress(second)[:-9], "ends too early"), (b"nonsense", "damaged")):
        with pytest.raises(Problem, match=said):
            _unpacked(gzip.compress(first) + tail, 10**6)
    with pytest.raises(Problem, match="unpacks to more than"):
        _unpacked(gzip.compress(first) + gzip.compress(b"0" * 10**6), 10**6)


def test_quantiles_whose_columns_would_have_one_name_are_refused():
    near = (0.1000000000001, 0.1000000000002)
    bars = table(pd.date_range("2024-01-01", periods=30))
    predictor = kronos.load("nano", device="cpu")
    with pytest.raises(ValueError, match=r"0.1000000000001 and 0.1000000000002, which are too near"):
        predictor.predict_df(bars.rename(columns={"timestamps": "timestamp"}), 2, quantile_levels=near, verbose=False)
    from kronos.serving.responses import check_levels

    with pytest.raises(ValueError, match="too near"):
        check_levels(near)


def test_the_remedy_for_gaps_in_amount_is_to_leave_the_column_out(folder):
    bars = pd.read_csv("prices.csv").assign(amount=1000.0)
    bars.loc[bars.index[-3:], "amount"] = np.nan
    bars.to_csv("prices.csv", index=False)
    done = run("forecast", "prices.csv", *FEW)
    assert done.exit_code == 2
    assert (
        "--map ignore=amount leaves the column out, --clean drop leaves such rows out (the newest 3 among them, so that "
        "forecasts would begin earlier)" in done.stderr
    )
    assert run("forecast", "prices.csv", "--map", "ignore=amount", *FEW).exit_code == 0
    dropped = run("forecast", "prices.csv", "--clean", "drop", *FEW)
    assert (
        "the newest 3 of them, so that the series ends at 2023-12-26 00:00:00 and no longer at 2023-12-29"
        in dropped.stderr
    )
    for said in (done.stderr, dropped.stderr, run("check", "prices.csv").output):
        assert "clean=" not in said and "columns=" not in said


# ------------------------------------------------------------------------------------------ notes


def test_columns_without_a_role_are_told(folder):
    pd.read_csv("prices.csv").assign(**{"Adj Close": 1.0, "Dividends": 0}).to_csv("prices.csv", index=False)
    for done in (run("check", "prices.csv"), run("forecast", "prices.csv", *FEW)):
        assert "note: columns left out: Adj Close, Dividends" in done.output + done.stderr
    pd.read_csv("prices.csv").to_parquet("prices.parquet")
    assert notes_of(read_klines("prices.parquet")) == ["columns left out: Adj Close, Dividends"]


def test_missing_hours_of_a_market_around_the_clock_are_counted(folder):
    hours = pd.date_range("2024-01-01", periods=1000, freq="h")
    gappy = hours.delete(np.r_[100:150, 300:310])
    assert missing_bars(pd.Series(hours)) is None
    told = "60 of 1,000 bars are missing from a series that trades around the clock; the longest gap is 50 bars"
    said = missing_bars(pd.Series(gappy))
    assert said is not None and said.startswith(told)
    table(gappy).to_csv("btc.csv", index=False)
    said = run("check", "btc.csv").output
    assert told in said and "no faults found" not in said


def test_pauses_of_a_market_with_sessions_are_no_missing_bars():
    days = pd.bdate_range("2024-01-01", periods=200)
    assert missing_bars(pd.Series(days)) is None
    sessions = pd.DatetimeIndex([day + pd.Timedelta(hours=h) for day in days for h in range(9, 16)])
    assert missing_bars(pd.Series(sessions)) is None


def test_holidays_are_said_to_be_unknown_without_a_calendar(folder):
    done = run("forecast", "prices.csv", "--horizon", "3", "--paths", "2")
    assert "note: holidays are not known without a calendar (2024-01-01 is forecast)" in done.stderr
    assert "holidays" not in run("forecast", "prices.csv", "--calendar", "XNYS", *FEW).stderr
    assert "holidays" not in run("forecast", "prices.csv", "--holdout", *FEW).stderr


def test_a_weekend_forecast_from_three_bars_is_told():
    past = pd.Series(pd.date_range("2024-01-03", periods=3))
    future = pd.date_range("2024-01-06", periods=3)
    (note,) = future_notes(past, future, None)
    assert note.startswith(
        "3 bars over less than a week do not show whether weekends are traded; 2 of the 3 bars to come"
    )
    assert future_notes(past, future, "24/7") == []


def test_warnings_of_the_library_are_one_line_of_the_command(folder):
    bars = pd.read_csv("prices.csv")
    bars.loc[100:, ["open", "high", "low", "close"]] /= 10
    bars.to_csv("prices.csv", index=False)
    done = run("forecast", "prices.csv", *FEW)
    assert done.exit_code == 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert any("looks like a 10:1 split" in line for line in lines)
