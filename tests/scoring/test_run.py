"""A whole market scored: what comes out, that nothing after a cut-off is looked at, that a stopped run loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calibration import Calibration
from kronos.cli import main
from kronos.io.storage import Storage
from kronos.scoring import ScoreSettings, parse_cutoffs, read_scores, score
from kronos.scoring.config import LATEST, cutoff_label
from kronos.scoring.universe import find_series, table_files
from tests.processes import run_process, started


def bars(symbol, n=60, start="2024-01-01", seed=0, freq="D", volume=True):
    rng = np.random.default_rng([seed, *symbol.encode()])
    close = 100 * np.exp(rng.normal(0, 0.02, n).cumsum())
    open_ = np.concatenate([[100], close[:-1]])
    table = pd.DataFrame({"symbol": symbol, "timestamps": pd.date_range(start, periods=n, freq=freq), "open": open_})
    table["high"], table["low"] = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    table["close"] = close
    if volume:
        table["volume"] = rng.integers(100, 9999, n).astype(float)
    return table


def market(count=7, n=60):
    return pd.concat([bars(f"S{i:02d}", n) for i in range(count)], ignore_index=True)


@pytest.fixture(scope="module")
def pair(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") / "tiny"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": 64}))
    return str(folder)


@pytest.fixture
def settings(pair):
    def make(**changes):
        return ScoreSettings(**{"horizon": 3, "model": pair, "lookback": 20, "paths": 4, "part": 3, **changes})

    return make


@pytest.fixture
def data(tmp_path):
    market().to_parquet(tmp_path / "bars.parquet", index=False)
    return str(tmp_path / "bars.parquet")


def run(data, out, settings, **options):
    report = score(data, str(out), settings, **options)
    return report, read_scores(str(out))


def test_scores_are_the_figures_of_the_forecast_of_each_series(data, tmp_path, settings, pair):
    names = ("return", "log_return", "prob_up", "volatility", "drawdown", "q05", "q95", "var95", "es95")
    _, table = run(data, tmp_path / "out", settings(signals=names, paths=9))
    assert table["symbol"].tolist() == [f"S{i:02d}" for i in range(7)]
    predictor = kronos.load(pair, device="cpu")
    for _, row in table.iloc[::3].iterrows():
        past = bars(row["symbol"]).iloc[-20:]
        future = kronos.future_timestamps(bars(row["symbol"])["timestamps"], 3)
        one = predictor.forecast(
            past[["open", "high", "low", "close", "volume"]],
            past["timestamps"],
            future,
            sample_count=9,
            seed=0,
            verbose=False,
        )
        assert one.last is not None
        returns = one.paths[0, :, -1, 3] / one.last[0, 3] - 1
        expected = {
            "return": one.expected_return().iloc[0],
            "log_return": one.expected_return(log=True).iloc[0],
            "prob_up": one.prob_up().iloc[0],
            "volatility": one.realised_volatility().iloc[0],
            "drawdown": one.max_drawdown().iloc[0],
            "q05": np.quantile(returns, 0.05, method="weibull"),
            "q95": np.quantile(returns, 0.95, method="weibull"),
            "var95": one.value_at_risk(0.95).iloc[0],
            "es95": one.expected_shortfall(0.95).iloc[0],
        }
        assert row[list(expected)].astype(float).to_dict() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert row["last_close"] == past["close"].iloc[-1]
        assert row["last_bar"] == past["timestamps"].iloc[-1] and row["horizon_end"] == future[-1]


def test_nothing_after_a_cutoff_is_looked_at(data, tmp_path, settings):
    told = settings(cutoffs=("2024-02-10", "2024-02-20"), part=100)
    _, whole = run(data, tmp_path / "whole", told)
    cut = market()
    cut[cut["timestamps"] <= "2024-02-10"].to_parquet(tmp_path / "cut.parquet", index=False)
    _, alone = run(str(tmp_path / "cut.parquet"), tmp_path / "alone", settings(cutoffs=("2024-02-10",), part=100))
    early = whole[whole["cutoff"] == "2024-02-10"].reset_index(drop=True)
    assert early["last_bar"].eq(pd.Timestamp("2024-02-10")).all()
    pd.testing.assert_frame_equal(early, alone, rtol=1e-4)


def test_each_part_holds_as_many_scores_as_asked_and_lies_under_its_cutoff(data, tmp_path, settings):
    report, table = run(data, tmp_path / "out", settings(cutoffs=("2024-02-10", "2024-02-12", "2024-02-20")))
    assert (report.scores, report.parts, report.resumed) == (21, 9 - 2, 0)  # the last part takes all three at once
    files = sorted(str(f.relative_to(tmp_path / "out/scores")) for f in (tmp_path / "out/scores").rglob("*.parquet"))
    assert files[0] == "cutoff=2024-02-10/part-000000.parquet" and len(files) == 9
    assert table.groupby("cutoff").size().to_dict() == {"2024-02-10": 7, "2024-02-12": 7, "2024-02-20": 7}


def test_the_same_command_again_keeps_what_is_there_and_another_one_is_refused(data, tmp_path, settings):
    out = tmp_path / "out"
    _, first = run(data, out, settings())
    (out / "parts/part-000001.json").unlink()
    kept = (out / "scores/cutoff=latest/part-000000.parquet").stat().st_mtime_ns
    report, second = run(data, out, settings())
    assert report.resumed == 2 and report.parts == 3
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert (out / "scores/cutoff=latest/part-000000.parquet").stat().st_mtime_ns == kept
    with pytest.raises(
        ValueError, match="made with other settings: seed was 0 and is 1; give another folder, or overwrite=True"
    ):
        score(data, str(out), settings(seed=1))
    _, other = run(data, out, settings(seed=1), overwrite=True)
    assert len(other) == 7 and not other["return"].equals(first["return"])


def test_a_changed_file_is_noticed(data, tmp_path, settings):
    run(data, tmp_path / "out", settings())
    market(count=6).to_parquet(data, index=False)
    with pytest.raises(ValueError, match=r"made with other settings: bytes was \d+ and is \d+, data was"):
        score(data, str(tmp_path / "out"), settings())


def test_a_folder_that_holds_something_else_is_left_alone(data, tmp_path, settings):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"holds other files.*notes\.txt"):
            score(data, str(tmp_path / "mine"), settings(), overwrite=overwrite)
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]


def test_run_begun_by_the_version_before_goes_on(data, tmp_path, settings):
    out = tmp_path / "out"
    run(data, out, settings())
    record = out / "settings.json"
    record.write_text(json.dumps(json.loads(record.read_text()), indent=1))  # as it was written then
    report, _ = run(data, out, settings())
    assert report.resumed == report.parts


def test_rejected_series_are_listed_with_their_reasons_and_cost_no_other(tmp_path, settings):
    table = market()
    table.loc[(table["symbol"] == "S02") & (table["timestamps"] == "2024-02-01"), "close"] = -1
    table = table[(table["symbol"] != "S04") | (table["timestamps"] < "2024-01-10")]
    folder = tmp_path / "data"
    folder.mkdir()
    table.to_parquet(folder / "bars.parquet", index=False)
    (folder / "broken.parquet").write_bytes(b"PAR1 no")
    (folder / "words.csv").write_text("a,b\n1,2\n")
    report, scores = run(str(folder), tmp_path / "out", settings())
    assert scores["symbol"].tolist() == ["S00", "S01", "S03", "S05", "S06"]
    rejected = pd.read_csv(tmp_path / "out/rejected.csv").set_index("series")
    assert report.rejected == len(rejected) == 4
    assert "non-positive price 1" in rejected["reason"]["S02"]
    assert rejected.loc["S04", "reason"] == "lookback 20 is more than the 9 bars there are to look back on"
    assert "damaged Parquet" in rejected["reason"]["broken.parquet"]
    assert "no column for timestamps" in rejected["reason"]["words.csv"]
    _, mended = run(str(folder), tmp_path / "mended", settings(clean="drop"))
    assert "S02" in set(mended["symbol"])


def test_a_fault_after_the_cutoff_rejects_nothing(tmp_path, settings):
    table = market()
    table.loc[table["timestamps"] == "2024-02-20", "close"] = np.nan
    table.to_parquet(tmp_path / "bars.parquet", index=False)
    report, _ = run(str(tmp_path / "bars.parquet"), tmp_path / "out", settings(cutoffs=("2024-02-19", "2024-02-21")))
    assert (report.scores, report.rejected) == (7, 7)


def test_series_that_ended_long_ago_are_rejected_where_asked(tmp_path, settings):
    table = pd.concat([bars("OLD", 30), bars("NEW", 60)], ignore_index=True)
    table.to_parquet(tmp_path / "bars.parquet", index=False)
    report, scores = run(
        str(tmp_path / "bars.parquet"), tmp_path / "out", settings(cutoffs=("2024-02-25",), max_age=10)
    )
    assert scores["symbol"].tolist() == ["NEW"] and report.rejected == 1


@pytest.mark.parametrize("form", ["one table", "by date", "a file each", "hive", "csv", "sorted by date"])
def test_the_layout_of_the_data_does_not_change_the_scores(form, tmp_path, settings, data):
    folder = tmp_path / "data"
    folder.mkdir()
    table = market()
    if form == "one table":
        table.to_parquet(folder / "bars.parquet", index=False)
    elif form == "by date":
        for month, rows in table.groupby(table["timestamps"].dt.to_period("M")):
            (folder / f"date={month}").mkdir()
            rows.to_parquet(folder / f"date={month}/part-0.parquet", index=False)
    elif form == "a file each":
        for name, rows in table.groupby("symbol"):
            rows.drop(columns="symbol").to_parquet(folder / f"{name}.parquet", index=False)
    elif form == "hive":
        for name, rows in table.groupby("symbol"):
            (folder / f"symbol={name}").mkdir()
            rows.drop(columns="symbol").to_parquet(folder / f"symbol={name}/0.parquet", index=False)
    elif form == "csv":
        table.to_csv(folder / "bars.csv", index=False)
    else:
        ordered = table.sort_values("timestamps", kind="stable").astype({"symbol": "category"})
        ordered.to_parquet(folder / "bars.parquet", index=False, row_group_size=50)
    _, expected = run(data, tmp_path / "a", settings())
    _, found = run(str(folder), tmp_path / "b", settings())
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_a_symbol_at_two_frequencies_is_two_series(tmp_path):
    bars("BTC").to_parquet(tmp_path / "daily.parquet", index=False)
    bars("BTC", freq="h").to_parquet(tmp_path / "hourly.parquet", index=False)
    store = Storage(str(tmp_path))
    universe = find_series(store, table_files(store), None)
    assert [member.name for member in universe.members] == ["BTC", "BTC@hourly"]


def test_a_uri_is_read_and_written_as_a_path_is(data, tmp_path, settings):
    _, expected = run(data, tmp_path / "a", settings())
    _, found = run(Path(data).as_uri(), (tmp_path / "b").as_uri(), settings())
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    with pytest.raises(ValueError, match="cannot be opened"):
        Storage("nosuch://bucket/x")


def test_object_storage_is_read_and_written_through_arrows_file_systems(data, tmp_path, settings):
    place = "fsspec+memory://desk"  # objects in this process, which appear when their upload is complete
    Storage(place).write("bars/part=1/0.parquet", Path(data).read_bytes())
    _, expected = run(data, tmp_path / "a", settings())
    report, found = run(f"{place}/bars", f"{place}/scores", settings())
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    again, _ = run(f"{place}/bars", f"{place}/scores", settings())
    assert (report.resumed, again.resumed) == (0, report.parts)
    begun_anew, other = run(f"{place}/bars", f"{place}/scores", settings(seed=5), overwrite=True)
    assert begun_anew.resumed == 0 and len(other) == 7


def test_zoned_data_keep_their_instants(tmp_path, settings):
    table = market(count=2)
    table["timestamps"] = table["timestamps"].dt.tz_localize("Asia/Shanghai")
    table.to_parquet(tmp_path / "bars.parquet", index=False)
    _, scores = run(str(tmp_path / "bars.parquet"), tmp_path / "out", settings(cutoffs=("2024-02-10",)))
    assert scores["tz"].tolist() == ["Asia/Shanghai"] * 2
    assert scores["last_bar"].eq(pd.Timestamp("2024-02-09 16:00")).all()


def test_cutoffs_are_dates_times_and_ranges():
    assert parse_cutoffs([]) == (LATEST,)
    assert parse_cutoffs(["2024-07-01", "2024-07-01"]) == ("2024-07-01",)
    assert parse_cutoffs(["2024-07-01 15:00"]) == ("2024-07-01T150000",) == parse_cutoffs(["2024-07-01T150000"])
    assert parse_cutoffs(["2024-07-01..2024-07-16/W-FRI"]) == ("2024-07-05", "2024-07-12")
    assert parse_cutoffs(["2024-07-01..2024-07-01T08:00/4h"])[-1] == "2024-07-01T080000"
    assert cutoff_label("2024-07-01") == "2024-07-01"
    for wrong in ("yesterday-ish", "2024-07-01..2024-06-01", "2024-07-01..2024-07-05/XX", "2024-07-01T00:00+08:00"):
        with pytest.raises(ValueError, match="cut-off"):
            parse_cutoffs([wrong])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": 0}, "horizon must be"),
        ({"signals": ("alpha",)}, "unknown signal 'alpha'"),
        ({"signals": ("q05", "q05")}, "each once"),
        ({"signals": ()}, "each once"),
        ({"seed": -1}, "seed must be"),
        ({"cutoffs": ("2024-7-1",)}, "must be written '2024-07-01"),
        ({"max_age": -1.0}, "max_age"),
    ],
)
def test_wrong_settings_are_refused_in_words(change, said, settings):
    with pytest.raises(ValueError, match=said):
        settings(**change)


def test_settings_survive_json(settings):
    told = settings(cutoffs=("2024-07-01",), columns=(("Last", "close"),))
    assert ScoreSettings.from_dict(json.loads(json.dumps(told.to_dict()))) == told
    for how in (None, Calibration(shrink=0.5)):
        told = settings(calibration=how)
        assert ScoreSettings.from_dict(json.loads(json.dumps(told.to_dict()))).calibration == how
    with pytest.raises(ValueError, match="calibration must be"):
        settings(calibration="cal.json")


def test_scores_are_of_calibrated_paths(data, tmp_path, settings, pair):
    own = Calibration(spread=np.log(2))
    own.save(tmp_path / "cal.json")
    command = ["score", str(tmp_path / "bars.parquet"), "--model", pair, "--lookback", "20", "--horizon", "3"]
    command += ["--paths", "40", "--device", "cpu", "--signals", "q10,q90", "--quiet"]
    for name in ("none", "cal.json"):
        how = name if name == "none" else str(tmp_path / name)
        done = CliRunner().invoke(main, [*command, "--calibration", how, "--out", str(tmp_path / name[:3])])
        assert done.exit_code == 0, done.output
    raw, wide = (read_scores(str(tmp_path / name)) for name in ("non", "cal"))
    wide_width, raw_width = (np.log1p((table["q90"] - table["q10"]).to_numpy()) for table in (wide, raw))
    assert wide_width / raw_width == pytest.approx(2 + 1 / 39, rel=0.05)


def test_the_command_scores_and_says_so_in_one_line(data, tmp_path, pair, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["score", "bars.parquet", "--model", pair, "--lookback", "20", "--horizon", "3", "--paths", "4"]
    done = CliRunner().invoke(main, [*command, "--out", "scores", "--signals", "return,q10", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("7 scores in scores/scores, 0 rejected")
    assert list(read_scores("scores").columns[-2:]) == ["return", "q10"]
    for arguments, said in (
        (["score", "nothing.parquet", "--out", "x"], "kronos: nothing.parquet: there is no such folder or file"),
        ([*command, "--out", "scores", "--seed", "3"], "or --overwrite to begin anew"),
        ([*command, "--out", "y", "--signals", "alpha"], "unknown signal 'alpha'"),
        ([*command, "--out", "z", "--lookback", "500"], "nothing could be scored; see z/rejected.csv"),
    ):
        refused = CliRunner().invoke(main, arguments)
        assert refused.exit_code == 2 and said in refused.output, refused.output
        assert len(refused.output.strip().splitlines()) == 1


def test_a_run_that_is_stopped_goes_on_to_the_same_table(tmp_path, settings, pair):
    market(count=80, n=120).to_parquet(tmp_path / "bars.parquet", index=False)
    command = [sys.executable, "-m", "kronos.cli", "score", "bars.parquet", "--out", "out", "--model", pair]
    command += ["--lookback", "30", "--horizon", "20", "--paths", "60", "--part", "4", "--device", "cpu"]
    command[1:3] = ["-c", "from kronos.cli import main; main()"]
    with started(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not list((tmp_path / "out").glob("parts/*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in said, said
    done = len(list((tmp_path / "out/parts").glob("*.json")))
    assert 1 <= done < 20
    assert not [f for f in (tmp_path / "out").rglob(".*") if f.is_file()]
    again = run_process(command, cwd=tmp_path)
    assert f"20 parts, {done} of them there before" in again.stderr, again.stderr
    told = settings(lookback=30, horizon=20, paths=60, part=4)
    _, whole = run(str(tmp_path / "bars.parquet"), tmp_path / "whole", told)
    pd.testing.assert_frame_equal(read_scores(str(tmp_path / "out")), whole, check_exact=True)


def test_scores_keep_within_the_price_limit_of_each_board(tmp_path, settings):
    names = ("600519", "300750", "830799", "ST600225", "AAPL")
    table = pd.concat([bars(name, seed=3) for name in names], ignore_index=True)
    table[["open", "high", "low", "close"]] = table[["open", "high", "low", "close"]].round(2)
    table.to_csv(tmp_path / "bars.csv", index=False)
    told = settings(horizon=1, paths=40, signals=("q01", "q99"), price_limit="cn", temperature=3.0)
    _, scores = run(str(tmp_path / "bars.csv"), tmp_path / "out", told)
    _, free = run(str(tmp_path / "bars.csv"), tmp_path / "free", settings(**{**told.to_dict(), "price_limit": None}))
    scores, free = (found.set_index("symbol") for found in (scores, free))
    for name, share in {"600519": 0.1, "300750": 0.2, "830799": 0.3, "ST600225": 0.05}.items():
        close = scores.loc[name, "last_close"]
        high = np.floor(close * (1 + share) * 100 + 0.5 + 1e-6) / 100 / close - 1
        low = np.floor(close * (1 - share) * 100 + 0.5 + 1e-6) / 100 / close - 1
        assert scores.loc[name, "q99"] == pytest.approx(min(free.loc[name, "q99"], high), abs=1e-5)
        assert scores.loc[name, "q01"] == pytest.approx(max(free.loc[name, "q01"], low), abs=1e-5)
    stopped = free.loc["ST600225", ["q01", "q99"]].astype(float).abs()
    assert (stopped > 0.051).any(), "no path reached the limit: the test shows nothing"
    rejected = pd.read_csv(tmp_path / "out/rejected.csv").set_index("series")
    assert rejected.index.tolist() == ["AAPL"]
    assert "price limit of 'AAPL' is not known" in rejected["reason"]["AAPL"]


def test_a_price_limit_that_is_no_share_is_refused(settings):
    with pytest.raises(ValueError, match="takes cn or a share between 0 and 1"):
        settings(price_limit="10")
