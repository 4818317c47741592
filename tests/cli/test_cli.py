"""The command line as a user meets it: tables, pictures, one clear line and exit code 2 for what is wrong, nothing half written."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos import Forecast
from kronos.__main__ import main as started_as_a_command
from kronos.cli import main
from kronos.cli.output import show_forecast, show_table
from tests.processes import run_process, started


@pytest.fixture
def pair(golden, tmp_path_factory):
    """A pair of random weights that forecasts in no time."""
    folder = tmp_path_factory.mktemp("pair") / "tiny"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": 32}))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with one good file of 5-minute bars."""
    rng = np.random.default_rng(0)
    close = 100 + rng.normal(0, 0.1, 300).cumsum()
    table = pd.DataFrame(
        {"Date": pd.date_range("2024-03-04 09:00", periods=300, freq="5min"), "Open": close, "High": close + 0.1}
    )
    table["Low"], table["Close"], table["Volume"] = (
        close - 0.1,
        close + rng.uniform(-0.1, 0.1, 300),
        rng.integers(1, 999, 300),
    )
    table.to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """Exit code 2 and exactly one line, which is returned."""
    lines = run(*arguments, code=2).output.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_help_names_every_command_and_loads_nothing_heavy():
    output = run("--help").output
    assert all(command in output for command in ("forecast", "check", "models"))
    heavy = "import sys, kronos.cli; print([m for m in ('torch', 'pandas', 'numpy', 'matplotlib', 'rich') if m in sys.modules])"
    found = run_process([sys.executable, "-c", heavy], check=True).stdout.strip()
    assert found == "[]"


def test_forecast_help_teaches_with_examples():
    output = run("forecast", "--help").output
    assert "kronos forecast prices.csv --horizon 48 --calendar XSHG" in output
    assert "[default: 30]" in output


@pytest.mark.parametrize(
    ("ending", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet), (".json", pd.read_json)]
)
def test_a_forecast_is_written_as_the_ending_says(ending, read, folder, pair):
    run("forecast", "bars.csv", "--model", pair, "--horizon", 5, "--paths", 4, "--out", f"f{ending}")
    table = read(folder / f"f{ending}")
    assert list(table.columns) == ["timestamps", "open", "high", "low", "close", "volume", "close_q10", "close_q90"]
    assert list(pd.to_datetime(table["timestamps"])) == list(pd.date_range("2024-03-05 10:00", periods=5, freq="5min"))
    assert (table["high"] >= table[["open", "close"]].max(axis=1) - 1e-6).all()
    assert (table["low"] <= table[["open", "close"]].min(axis=1) + 1e-6).all()
    assert (table["close_q10"] <= table["close_q90"]).all()


def test_forecast_draws_what_the_python_method_draws(folder, pair):
    (pair / "pair.json").write_text(json.dumps({"max_context": 32, "temperature": 0.8, "top_p": 0.7}))
    asked = f"forecast bars.csv --model {pair} --lookback 20 --horizon 4 --paths 6 --seed 5".split()
    run(*asked, "--save", "own.parquet")
    run(*asked, "--save", "other.parquet", "--temperature", 1, "--top-p", 0.9)
    own, other = Forecast.load("own.parquet"), Forecast.load("other.parquet")
    past = pd.read_csv("bars.csv", parse_dates=["Date"]).rename(columns=str.lower).iloc[-20:]
    predictor = kronos.load(pair, device="cpu")
    settings: dict[str, Any] = {"sample_count": 6, "seed": 5, "verbose": False}
    series = (past.drop(columns="date"), past["date"], own.timestamps[0])
    np.testing.assert_allclose(own.paths, predictor.forecast(*series, **settings).paths, rtol=1e-6)
    drawn = predictor.forecast(*series, T=1.0, top_p=0.9, **settings).paths
    np.testing.assert_allclose(other.paths, drawn, rtol=1e-6)
    assert not np.allclose(own.paths, other.paths)


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_drawn_as_the_ending_says(ending, start, folder, pair):
    run("forecast", "bars.csv", "--model", pair, "--horizon", 5, "--paths", 2, "--plot", f"f{ending}")
    content = (folder / f"f{ending}").read_bytes()
    assert content.startswith(start)
    assert len(content) > 5_000


def test_the_terminal_shows_every_step_of_a_short_forecast_and_both_ends_of_a_long_one(folder, pair):
    short = run("forecast", "bars.csv", "--model", pair, "--horizon", 5, "--paths", 2).output
    assert all(time in short for time in ("10:00", "10:05", "10:20"))
    long = run("forecast", "bars.csv", "--model", pair, "--horizon", 60, "--paths", 2).output
    assert "..." in long
    assert len(long.splitlines()) < 40


def test_holdout_compares_with_what_happened_and_with_the_last_price(folder, pair):
    output = run("forecast", "bars.csv", "--model", pair, "--horizon", 6, "--paths", 10, "--holdout").output
    bars = pd.read_csv("bars.csv")
    naive = (bars["Close"].iloc[-6:] - bars["Close"].iloc[-7]).abs().mean()
    assert "actual close" in output
    assert f"the last close by {naive:.6g}." in output
    assert "of 6) lie in the 80 % interval" in output and "One window says nothing about a model" in output


def test_windows_are_scored_one_by_one_and_added_up(folder, pair):
    options = ("--model", pair, "--horizon", 5, "--lookback", 30, "--paths", 10, "--holdout", "--quiet")
    together = run("forecast", "bars.csv", *options, "--windows", 3).output
    table, inside = pd.read_csv("bars.csv"), 0
    for number in range(3):
        table.iloc[: len(table) - 5 * number].to_csv(f"{number}.csv", index=False)
        alone = run("forecast", f"{number}.csv", *options[:-1]).output
        inside += int(alone.split("of the closes (")[1].split()[0])
    assert f"Over 3 windows of 5 bars {inside / 15:.0%} of the closes ({inside} of 15)" in together
    assert "random walk:" in together and "last close:" in together


def test_the_same_seed_gives_the_same_file_and_another_seed_another(folder, pair):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            "forecast",
            "bars.csv",
            "--model",
            pair,
            "--horizon",
            4,
            "--paths",
            3,
            "--seed",
            seed,
            "--out",
            f"{name}.csv",
            "--quiet",
        )
    a, b, c = ((folder / f"{n}.csv").read_bytes() for n in "abc")
    assert a == b
    assert a != c


def test_a_named_calendar_skips_the_holiday(folder, pair):
    days = pd.bdate_range("2024-05-01", periods=40)
    days = days[(days != "2024-05-27") & (days != "2024-06-19")]
    prices = np.linspace(10, 11, len(days))
    pd.DataFrame({"date": days, "open": prices, "high": prices + 1, "low": prices - 1, "close": prices}).to_csv(
        "daily.csv", index=False
    )
    run("forecast", "daily.csv", "--model", pair, "--horizon", 6, "--paths", 2, "--calendar", "XNYS", "--out", "f.csv")
    dates = list(pd.read_csv("f.csv")["timestamps"])
    assert "2024-07-04" not in dates
    assert "2024-07-05" in dates or max(dates) < "2024-07-04"
    assert "volume" not in pd.read_csv("f.csv").columns


def test_quiet_prints_nothing_on_standard_output(folder, pair):
    assert run("forecast", "bars.csv", "--model", pair, "--horizon", 2, "--paths", 1, "--quiet").stdout == ""


def test_columns_can_be_mapped(folder, pair):
    table = pd.read_csv("bars.csv").rename(columns={"Close": "Target"})
    table.to_csv("odd.csv", index=False)
    assert "close" in refused("forecast", "odd.csv", "--model", pair)
    run("forecast", "odd.csv", "--model", pair, "--horizon", 2, "--paths", 1, "--map", "close=Target")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.csv"], "absent.csv"),
        ([], "give a FILE"),
        (["bars.csv", "--sample", "sp500"], "not both"),
        (["bars.csv", "--horizon", "0"], "--horizon must lie in 1..10,000, found 0"),
        (["bars.csv", "--paths", "-3"], "--paths must lie in"),
        (["bars.csv", "--lookback", "5000"], "300 bars"),
        (["bars.csv", "--holdout", "--horizon", "300"], "--holdout hides 300 bars"),
        (["bars.csv", "--holdout", "--windows", "100"], "take --windows"),
        (["bars.csv", "--windows", "2"], "give --holdout with it"),
        (["bars.csv", "--out", "f.xlsx"], ".csv, .parquet, .json"),
        (["bars.csv", "--plot", "no/such/f.png"], "there is no folder"),
        (["bars.csv", "--map", "close"], "ROLE=COLUMN"),
        (["bars.csv", "--model", "nosuch"], "the zoo has nano, mini, small, base"),
        (["bars.csv", "--calendar", "XNYZ"], "XNYS"),
        (["bars.csv", "--temperature", "-1"], "temperature"),
        (["bars.csv", "--top-p", "1.5"], "top_p"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, says, folder, pair):
    extra = [] if "--model" in arguments else ["--model", str(pair)]
    assert says in refused("forecast", *arguments, *extra)
    assert [p.name for p in folder.iterdir()] == ["bars.csv"]


def test_a_faulty_file_is_refused_in_one_line_that_names_the_remedy_and_reads_with_it(folder, pair):
    table = pd.read_csv("bars.csv")
    table.loc[7, "Close"] = np.nan
    table.loc[9, "High"] = -1
    table.to_csv("dirty.csv", index=False)
    line = refused("forecast", "dirty.csv", "--model", pair, "--plot", "f.png")
    assert "missing value 1" in line
    assert "--clean drop" in line
    assert not (folder / "f.png").exists()
    assert "data row 8" in run("check", "dirty.csv", code=2).output
    run("forecast", "dirty.csv", "--model", pair, "--horizon", 2, "--paths", 1, "--clean", "drop")


def test_check_describes_a_good_file(folder):
    output = run("check", "bars.csv").output
    assert "300 bars" in output
    assert "5-minute bars" in output
    assert "no faults found" in output


def test_models_lists_the_zoo_with_contexts_and_pairing():
    output = run("models").output
    for name in ("nano", "mini", "small", "base"):
        assert name in output
    assert "2048" in output
    assert "Kronos-Tokenizer-2k" in output


def test_ctrl_c_leaves_nothing_and_ends_with_130(folder):
    command = [
        sys.executable,
        "-c",
        "from kronos.cli import main; main()",
        "forecast",
        "bars.csv",
        "--model",
        "nano",
    ]
    command += ["--horizon", "10000", "--paths", "300", "--out", "f.csv", "--plot", "f.png"]
    with started(command, stderr=subprocess.PIPE) as process:
        time.sleep(8)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"stopped" in said
    assert [p.name for p in folder.iterdir()] == ["bars.csv"]


def test_the_embedded_model_forecasts_the_sample_without_a_network(folder):
    run(
        "forecast",
        "--sample",
        "synthetic",
        "--horizon",
        3,
        "--lookback",
        64,
        "--paths",
        2,
        "--holdout",
        "--out",
        "f.csv",
    )
    table = pd.read_csv("f.csv")
    assert len(table) == 3
    assert table["close"].between(30, 60).all()


def test_quantiles_and_intervals_become_columns_and_bands(folder, pair):
    options = ("--model", pair, "--horizon", 3, "--paths", 20)
    run(
        "forecast",
        "bars.csv",
        *options,
        "--quantiles",
        "0.05,0.5",
        "--interval",
        "0.8",
        "--out",
        "f.csv",
        "--plot",
        "f.svg",
    )
    table = pd.read_csv("f.csv")
    assert [c for c in table.columns if "_q" in c] == ["close_q5", "close_q10", "close_q50", "close_q90"]
    assert (table["close_q5"] <= table["close_q90"]).all()
    assert "80 %" in (folder / "f.svg").read_text() or (folder / "f.svg").stat().st_size > 10_000


def test_all_paths_are_kept_and_a_page_is_made(folder, pair):
    run(
        "forecast", "bars.csv", "--model", pair, "--horizon", 3, "--paths", 7, "--save", "f.parquet", "--plot", "f.html"
    )
    forecast = Forecast.load("f.parquet")
    assert forecast.paths.shape == (1, 7, 3, 6)
    assert "plotly" in (folder / "f.html").read_text().lower()


@pytest.fixture
def market(folder):
    """A folder with a table of three symbols, one of them faulty, and a file of one series."""
    (folder / "market").mkdir()
    bars = pd.read_csv("bars.csv")
    table = pd.concat([bars.assign(symbol=name) for name in ("AAA", "B/../B", "BAD")])
    table.loc[table["symbol"] == "BAD", "Close"] = np.nan
    table.to_csv(folder / "market" / "many.csv", index=False)
    bars.iloc[50:].to_csv(folder / "market" / "single.csv", index=False)
    return folder / "market"


def test_a_folder_is_forecast_series_by_series_and_ranked(market, folder, pair):
    said = run("forecast", market, "--model", pair, "--horizon", 3, "--paths", 5, "--out", "all").output
    assert "1 skipped" in said and "3 series forecast" in said
    assert "BAD" in (folder / "all" / "skipped.csv").read_text()
    files = sorted(p.name for p in (folder / "all").glob("*.csv"))
    assert len(files) == 5 and {"AAA.csv", "single.csv", "summary.csv", "skipped.csv"} < set(files)
    assert not list(folder.glob("*.csv-*")) and sorted(p.name for p in folder.iterdir()) == [
        "all",
        "bars.csv",
        "market",
    ]
    summary = pd.read_csv("all/summary.csv")
    assert set(summary["symbol"]) == {"AAA", "B/../B", "single"}
    assert summary["expected_return"].is_monotonic_decreasing
    run("forecast", market / "single.csv", "--model", pair, "--horizon", 3, "--paths", 5, "--out", "one.csv")
    alone, among = pd.read_csv("one.csv"), pd.read_csv("all/single.csv")
    np.testing.assert_allclose(alone["close"], among["close"], rtol=1e-5)


def test_a_stopped_run_goes_on_and_other_settings_are_refused(market, folder, pair):
    options = ("--model", pair, "--paths", 2, "--out", "all", "--quiet")
    run("forecast", market, *options, "--horizon", 3)
    whole = (folder / "all" / "AAA.csv").read_bytes()
    (folder / "all" / "single.csv").unlink()
    kept = (folder / "all" / "AAA.csv").stat().st_mtime_ns
    run("forecast", market, *options, "--horizon", 3)
    assert (folder / "all" / "single.csv").is_file()
    assert (folder / "all" / "AAA.csv").stat().st_mtime_ns == kept
    said = refused("forecast", market, *options, "--horizon", 4)
    assert "all was made with other settings: horizon was 3 and is 4; give another folder, or --overwrite to" in said
    assert (folder / "all" / "AAA.csv").read_bytes() == whole
    run("forecast", market, *options, "--horizon", 4, "--overwrite")
    assert len(pd.read_csv("all/AAA.csv")) == 4


def test_forecasts_go_into_a_folder_whose_parents_are_made(market, folder, pair):
    run("forecast", market, "--model", pair, "--horizon", 3, "--paths", 2, "--out", "no/such", "--quiet")
    assert (folder / "no" / "such" / "summary.csv").is_file()


def test_overwrite_leaves_a_folder_of_other_files_alone(market, folder, pair):
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("precious")
    said = refused("forecast", market, "--model", pair, "--out", "mine", "--overwrite")
    assert "mine holds other files, which are not of this run: thesis.txt;" in said
    assert [file.name for file in (folder / "mine").iterdir()] == ["thesis.txt"]


def test_a_user_s_csv_among_forecasts_is_neither_deleted_nor_ranked(market, folder, pair):
    options = ("--model", pair, "--paths", 2, "--out", "all", "--quiet")
    run("forecast", market, *options, "--horizon", 3)
    (folder / "all" / "positions.csv").write_text("timestamps,symbol,size\n2024-01-01,AAA,7\n")
    before = {file.name: file.read_bytes() for file in (folder / "all").iterdir()}
    run("forecast", market, *options, "--horizon", 3)
    assert {file.name: file.read_bytes() for file in (folder / "all").iterdir()} == before
    assert "positions.csv" in refused("forecast", market, *options, "--horizon", 4, "--overwrite")
    assert {file.name: file.read_bytes() for file in (folder / "all").iterdir()} == before


def test_settings_of_forecasts_that_are_cut_off_are_refused_in_a_line(market, folder, pair):
    options = ("--model", pair, "--paths", 2, "--horizon", 3, "--out", "all", "--quiet")
    run("forecast", market, *options)
    record = folder / "all" / "settings.json"
    record.write_bytes(record.read_bytes()[:40])
    for more in ((), ("--overwrite",)):
        assert "settings.json cannot be read as JSON" in refused("forecast", market, *options, *more)
    assert (folder / "all" / "AAA.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bars.csv", "--quantiles", "0.5,2"], "found '2'"),
        (["bars.csv", "--quantiles", "half"], "found 'half'"),
        (["bars.csv", "--interval", "80"], "--interval takes a share between 0 and 1, such as 0.8, found 80"),
        (["bars.csv", "--save", "f.csv"], "--save f.csv: the ending must be one of .parquet"),
        (["market"], "with --out FOLDER"),
        (["market", "--out", "all", "--plot", "f.png"], "--plot is for one series"),
        (["market/many.csv"], "--out FOLDER"),
    ],
)
def test_what_is_wrong_with_distributions_and_markets_is_said_in_one_line(arguments, says, market, folder, pair):
    assert says in refused("forecast", *arguments, "--model", pair)
    assert sorted(p.name for p in folder.iterdir()) == ["bars.csv", "market"]


def on_a_terminal(monkeypatch, capsys, width, table, truth=None):
    """What `show_forecast` writes on a terminal of that width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    show_forecast(table, truth, "a.csv: 3 bars")
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.fixture
def long_numbers():
    """A table of 15-minute bars with prices of seven digits and volumes of billions."""
    index = pd.date_range("2024-03-04 09:00", periods=3, freq="15min", name="timestamps")
    prices = {name: [2486.37, 2490.1, 2501.25] for name in ("open", "high", "low", "close")}
    table = pd.DataFrame({**prices, "volume": 3.61e9, "amount": 9e12}, index=index)
    return table.assign(**{"close_q10": 2400.5, "close_q90": 2555.75})


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_table_fits_the_terminal_and_cuts_no_price(monkeypatch, capsys, long_numbers, width):
    output = on_a_terminal(monkeypatch, capsys, width, long_numbers)
    assert "…" not in output and max(map(len, output.splitlines())) <= width
    for price in ("2486.37", "2490.10", "2501.25", "2400.50", "2555.75"):
        assert price in output


def test_what_has_no_room_on_a_terminal_is_named(monkeypatch, capsys, long_numbers):
    output = on_a_terminal(monkeypatch, capsys, 80, long_numbers)
    assert "3.61B" in output and "too narrow for amount; --out FILE has all columns" in output
    assert "9T" in on_a_terminal(monkeypatch, capsys, 100, long_numbers)


def test_prices_of_little_are_written_without_powers_of_ten(monkeypatch, capsys, long_numbers):
    output = on_a_terminal(monkeypatch, capsys, 120, long_numbers[["close"]] * 1e-9)
    assert "0.00000248637" in output and "e-" not in output


@pytest.mark.parametrize(("width", "headers"), [(40, 3), (80, 2), (200, 1)])
def test_a_table_that_is_too_wide_goes_on_below(monkeypatch, capsys, width, headers):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(["model", *(f"column number {i}" for i in range(6))], [["nano", *(f"{i}.123456" for i in range(6))]])
    output = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, output.splitlines())) <= width and output.count("model") == output.count("nano") == headers
    assert re.findall(r"\d\.123456", output) == [f"{i}.123456" for i in range(6)]


def test_help_fits_80_columns_and_cuts_no_sentence():
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert max(map(len, text.splitlines())) <= 80
    assert (
        text.count("...") == 1  # COMMAND [ARGS]...
        and "\n  kronos forecast --sample synthetic --holdout --windows 20 --plot forecast.png\n" in text
    )


def test_sentences_break_between_words_in_a_narrow_terminal(monkeypatch, capsys):
    from kronos.cli.output import show_text

    sentence = (
        "Over 3 windows of 6 bars [most] of the closes lie in the 80 % interval, and this goes on for some words."
    )
    show_text([sentence])
    assert capsys.readouterr().out == sentence + "\n", "a pipe gets whole lines"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    show_text([sentence])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and " ".join(line.strip() for line in lines) == sentence


def test_a_timeframe_makes_longer_bars_for_check_and_forecast(folder, pair):
    said = run("check", "bars.csv", "--timeframe", "1h").output
    assert "25 bars, 2024-03-04 09:00:00 to 2024-03-05 09:00:00" in said
    assert "note: 300 bars of 5 min are read as 25 of 1h" in said
    run("forecast", "bars.csv", "--timeframe", "1h", "--model", pair, "--horizon", 2, "--paths", 2, "--out", "f.csv")
    assert list(pd.read_csv(folder / "f.csv")["timestamps"]) == ["2024-03-05 10:00:00", "2024-03-05 11:00:00"]
    assert "--timeframe 1m: expected one of 5min, 15min" in refused(
        "forecast", "bars.csv", "--timeframe", "1m", "--model", pair
    )


def test_forecasts_of_a_folder_at_another_timeframe_are_not_mixed(folder, pair):
    (folder / "many").mkdir()
    shutil.move("bars.csv", "many/bars.csv")
    common = ("forecast", "many", "--model", pair, "--horizon", 2, "--paths", 2, "--out", "out", "--timeframe")
    run(*common, "1h")
    assert list(pd.read_csv("out/bars.csv")["timestamps"]) == ["2024-03-05 10:00:00", "2024-03-05 11:00:00"]
    assert "timeframe" in refused(*common, "30min")


def test_ctrl_c_while_the_command_is_loaded_ends_with_130_and_no_traceback(monkeypatch, capsys):
    class Interrupt:
        def find_spec(self, name, path=None, target=None):
            if name == "kronos.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "kronos.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        started_as_a_command()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")
