"""From a Qlib folder of synthetic bars to prepared data, signals, a backtest and its report, through the scripts' own commands."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from kronos.finetune.config import FinetuneConfig
from tests import backtest_bars

pytest.importorskip("qlib", reason="needs pyqlib")

from kronos.backtest.run import run_backtest
from kronos.backtest.simulate import last_tradable, risk_of
from kronos.cli.backtest import backtest_command
from kronos.cli.evaluate import evaluate as evaluate_command
from kronos.cli.prepare import qlib_command
from kronos.qlib.folder import check_qlib
from kronos.qlib.prepare import clean_rows, prepare_qlib
from tests.processes import run_process

ROOT = Path(__file__).parents[2]
CSP = "default-src 'none'"


class Settings:
    """Like ``finetune/config.py``'s Config."""

    def __init__(self, root: Path, **more: object) -> None:
        vars(self).update(backtest_bars.settings(root, **more))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qlib folder and what step 1 makes of it."""
    folder = tmp_path_factory.mktemp("market")
    series = backtest_bars.market()
    series["SYN003"] = series["SYN003"].iloc[:10]  # too short
    series["SYN004"] = series["SYN004"].drop(index=range(50, 55))
    backtest_bars.qlib_folder(folder / "qlib", series)
    result = CliRunner().invoke(qlib_command, [], obj=Settings(folder))
    assert result.exit_code == 0, result.output
    (folder / "printed.txt").write_text(result.output)
    return folder


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, object]:
    """The report of a backtest of nano as it is."""
    result = CliRunner().invoke(
        backtest_command,
        ["--device", "cpu", "--model", "nano", "--signal", "return", "--signal", "max"],
        obj=Settings(root),
    )
    assert result.exit_code == 0, (result.output, result.exception)
    (root / "backtest.txt").write_text(result.output)
    return json.loads((results(root) / "report.json").read_text())  # type: ignore[no-any-return]


def results(root: Path) -> Path:
    return root / "results" / "finetune_backtest_demo"


def config(root: Path, **more: object) -> FinetuneConfig:
    return FinetuneConfig(**backtest_bars.settings(root, **more))  # type: ignore[arg-type]


def test_step_one_writes_the_parts_as_parquet_and_as_the_documented_pickles(root: Path) -> None:
    for part in ("train", "val", "test"):
        table = pd.read_parquet(root / "data" / f"{part}.parquet")
        frames = pickle.loads((root / "data" / f"{part}_data.pkl").read_bytes())
        assert list(table.columns) == ["symbol", "timestamp", "open", "high", "low", "close", "volume", "amount"]
        assert sorted(frames) == sorted(table["symbol"].unique()) and "SYN003" not in frames
        for symbol, frame in frames.items():
            mine = table[table["symbol"] == symbol]
            assert (
                type(frames) is dict
                and frame.index.name == "datetime"
                and list(frame.columns) == list(FinetuneConfig().feature_list)
            )
            np.testing.assert_array_equal(frame.to_numpy(), mine[list(table.columns[2:])].to_numpy())
            assert frame.index.tolist() == mine["timestamp"].tolist()


def test_bars_are_those_of_the_market_and_amount_is_the_datas_own(root: Path) -> None:
    table = pd.read_parquet(root / "data" / "test.parquet")
    whole = backtest_bars.bars(7)
    mine = table[table["symbol"] == "SYN007"]
    assert mine["timestamp"].iloc[0] == pd.bdate_range(end="2024-07-31", periods=backtest_bars.LOOKBACK)[0]
    truth = whole[whole["timestamps"].isin(mine["timestamp"])]
    np.testing.assert_allclose(mine["close"], truth["close"], rtol=1e-6)
    np.testing.assert_allclose(mine["amount"], truth["amount"], rtol=1e-6)


def test_the_report_of_step_one_says_what_was_left_out_and_why(root: Path) -> None:
    report = json.loads((root / "data" / "report.json").read_text())
    assert report["symbols_kept"] == 11
    assert report["rows_with_faults_by_symbol"] == {"SYN004": 5}
    assert report["dropped"] == {"all parts: 10 rows; 25 are needed": ["SYN003"]}
    assert report["leak_check"].startswith("passed")
    assert report["rows_read"] - report["rows_with_faults"] - 10 == report["rows_kept"]
    printed = (root / "printed.txt").read_text()
    assert "SYN003" in printed and "leak check passed" in printed and "5 rows with missing" in printed


def test_step_one_is_deterministic(root: Path, tmp_path: Path) -> None:
    prepare_qlib(config(root, dataset_path=str(tmp_path)), verbose=False)
    for file in (root / "data").iterdir():
        if file.is_file():
            again = (tmp_path / file.name).read_bytes().replace(str(tmp_path).encode(), str(root / "data").encode())
            assert again == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("columns", "source", "expected"),
    [
        ({"amount": 7.0, "vwap": 2.0}, "amount", 7.0),
        ({"vwap": 2.0}, "volume times vwap", 20.0),
        ({}, "volume times mean price", 15.0),
    ],
)
def test_amount_comes_from_the_best_there_is(columns: dict[str, float], source: str, expected: float) -> None:
    index = pd.MultiIndex.from_product(
        [["A"], pd.bdate_range("2024-01-01", periods=3)], names=["instrument", "datetime"]
    )
    raw = pd.DataFrame(
        {"open": 1.0, "high": 2.0, "low": 1.0, "close": [2.0, np.nan, -1.0], "volume": 10.0, **columns}, index
    )
    rows, said = clean_rows(raw)
    assert said == source and len(rows) == 1
    assert rows["amount"].iloc[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"qlib_data_path": "absent"}, "no such folder"),
        ({"instrument": "csi300"}, "no instrument list 'csi300' .* all, syn"),
        ({"backtest_benchmark": "SYN01"}, "backtest_benchmark 'SYN01' has no data .*SYN01"),
        ({"test_time_range": ("2024-08-01", "2024-12-31")}, "beyond the calendar .* 2024-01-01 to 2024-10-04"),
        ({"freq": "5min"}, "it has day"),
        ({"backtest_time_range": ("2024-08-03", "2024-08-04")}, "no day of the calendar"),
    ],
)
def test_what_is_not_in_the_data_is_named_before_any_work(root: Path, more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_qlib(config(root, **more))


def test_a_split_that_no_symbol_has_enough_bars_for_is_refused_and_nothing_is_written(
    root: Path, tmp_path: Path
) -> None:
    small = config(
        root,
        dataset_path=str(tmp_path / "d"),
        val_time_range=("2024-06-01", "2024-06-05"),
        test_time_range=("2024-06-06", "2024-10-04"),
    )
    with pytest.raises(ValueError, match=r"no instrument has 25 bars .* in the val range"):
        prepare_qlib(small.replace(lookback_window=20, predict_window=4), verbose=False)
    assert not (tmp_path / "d").exists()


def test_the_backtest_prints_risk_scores_and_a_verdict(root: Path, report: dict[str, object]) -> None:
    printed = (root / "backtest.txt").read_text()
    for word in (
        "benchmark",
        "excess_return_without_cost",
        "excess_return_with_cost",
        "information_ratio",
        "RankICIR",
        "chance",
    ):
        assert word in printed
    assert list(report["strategy"]) == ["return", "max"]  # type: ignore[call-overload]
    assert list(report["ic"]) == ["return", "last", "mean", "max", "min"]  # type: ignore[call-overload]


def test_figures_of_the_report_follow_from_its_daily_table(root: Path, report: dict[str, object]) -> None:
    daily = pd.read_parquet(results(root) / "report.parquet")
    mine = daily[(daily["signal"] == "return") & daily["account"].notna()].set_index("datetime")
    totals = report["strategy"]["return"]["totals"]  # type: ignore[index]
    assert totals["days"] == len(mine)
    assert mine.index[0] == pd.Timestamp("2024-08-01")  # traded by the signals of the day before
    assert totals["strategy_with_cost"] == pytest.approx((mine["return"] - mine["cost"]).sum())
    # The account is what its own daily returns after costs make of the cash.
    assert mine["account"].iloc[-1] == pytest.approx(1e8 * np.prod(1 + mine["return"] - mine["cost"]), rel=1e-3)
    risk, reported = risk_of(mine), report["strategy"]["return"]["risk"]  # type: ignore[index]
    assert set(risk) == set(reported)
    for curve, figures in risk.items():
        assert figures == pytest.approx(reported[curve]), curve
    bench = backtest_bars.market()
    bench["SYN003"], bench["SYN004"] = bench["SYN003"].iloc[:10], bench["SYN004"].drop(index=range(50, 55))
    change = pd.DataFrame({n: b.set_index("timestamps")["close"] for n, b in bench.items()}).pct_change().mean(axis=1)
    np.testing.assert_allclose(mine["bench"], change.reindex(mine.index), atol=1e-5)


def test_the_picture_and_the_page_are_there_and_the_page_works_offline(root: Path, report: dict[str, object]) -> None:
    picture = (results(root) / "backtest.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 20_000
    page = (results(root) / "report.html").read_text()
    assert CSP in page and "src=" not in page.split("<script>")[0]
    body = re.sub(r"<[^>]+>", "", page.split('<div class="verdict">')[1].split("</div>")[0])
    assert body.startswith("Traded by the signal “return” from 2024-08-01 to 2024-10-03")
    charts = json.loads(page.rsplit("const charts = ", 1)[1].split(";\n//")[0])
    assert set(charts) == {"returns0", "returns1", "ic"}
    names = [trace["name"] for trace in charts["returns0"]["data"]]
    assert "strategy, after costs" in names and "benchmark" in names
    last = charts["returns0"]["data"][0]["y"][-1]
    assert last == pytest.approx(report["strategy"]["return"]["totals"]["strategy_with_cost"], abs=1e-5)  # type: ignore[index]


def test_names_in_the_page_cannot_be_code(root: Path, tmp_path: Path) -> None:
    days = backtest_bars.bars(0)["timestamps"].iloc[150:]
    evil = "</script><script>alert(1)</script>"
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [{"datetime": d, "instrument": f"SYN{n:03d}", evil: rng.normal()} for d in days for n in range(5, 12)]
    )
    table.to_parquet(tmp_path / "s.parquet")
    run_backtest(
        config(root, backtest_result_path=str(tmp_path)),
        signals=tmp_path / "s.parquet",
        verbose=False,
        echo=lambda t: None,
    )
    page = (tmp_path / "finetune_backtest_demo" / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def foresight(root: Path, path: Path, sign: float = 1.0) -> Path:
    """Signals that know the next days, a little blurred."""
    rows, rng = [], np.random.default_rng(0)
    for name, bars in backtest_bars.market().items():
        if name != "SYN003":
            came = bars["close"].shift(-5) / bars["close"] - 1
            rows.append(
                pd.DataFrame(
                    {
                        "datetime": bars["timestamps"],
                        "instrument": name,
                        "known": sign * came + rng.normal(0, 0.002, len(came)),
                    }
                )
            )
    pd.concat(rows).to_parquet(path)
    return path


def test_a_signal_that_knows_the_future_wins_and_its_opposite_loses(root: Path, tmp_path: Path) -> None:
    outcomes = []
    for sign in (1.0, -1.0):
        found = run_backtest(
            config(root, backtest_result_path=str(tmp_path), predict_window=5),
            signals=foresight(root, tmp_path / "s.parquet", sign),
            verbose=False,
            echo=lambda text: None,
        )
        outcomes.append(found)
    good, bad = (o["strategy"]["known"]["totals"]["excess_return_with_cost"] for o in outcomes)
    assert good > 0.1 > -0.1 > bad
    assert outcomes[0]["ic"]["known"]["5d"]["rank_ic"] == pytest.approx(1, abs=0.02)
    assert outcomes[1]["ic"]["known"]["5d"]["ic"] == pytest.approx(-1, abs=0.02)
    assert "ahead of the benchmark" in outcomes[0]["verdict"][1] and "behind the benchmark" in outcomes[1]["verdict"][1]
    assert "ranked instruments better than chance" in outcomes[0]["verdict"][2]


def test_costs_are_taken(root: Path, tmp_path: Path) -> None:
    path = foresight(root, tmp_path / "s.parquet")
    free, dear = (
        run_backtest(
            config(
                root,
                backtest_result_path=str(tmp_path),
                backtest_open_cost=c,
                backtest_close_cost=c,
                backtest_min_cost=0.0,
            ),
            signals=path,
            verbose=False,
            echo=lambda text: None,
        )["strategy"]["known"]["totals"]
        for c in (0.0, 0.01)
    )
    assert free["cost"] == 0 and free["strategy_with_cost"] == free["strategy_without_cost"]
    assert dear["cost"] > 0.05 and dear["account_at_end"] < free["account_at_end"]


def test_without_a_benchmark_the_mean_of_the_instruments_is_it(root: Path, tmp_path: Path) -> None:
    found = run_backtest(
        config(root, backtest_benchmark="", backtest_result_path=str(tmp_path)),
        signals=foresight(root, tmp_path / "s.parquet"),
        verbose=False,
        echo=lambda text: None,
    )
    assert found["benchmark"] == "mean of the 11 instruments"


def test_signals_of_instruments_without_data_are_named_and_left_out(root: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(foresight(root, tmp_path / "s.parquet"))
    strange = table[table["instrument"] == "SYN001"].assign(instrument="GHOST")
    pd.concat([table, strange]).to_parquet(tmp_path / "s.parquet")
    found = run_backtest(
        config(root, backtest_result_path=str(tmp_path)),
        signals=tmp_path / "s.parquet",
        verbose=False,
        echo=lambda text: None,
    )
    assert found["instruments_without_data"] == ["GHOST"] and found["instruments"] == 11


def test_trading_ends_a_day_before_the_calendar_does() -> None:
    calendar = pd.bdate_range("2024-01-01", periods=5)
    assert last_tradable(calendar, calendar[-1]) == calendar[-2]
    assert last_tradable(calendar, calendar[1] + pd.Timedelta(hours=3)) == calendar[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "nano", "--signals", "x.parquet"], "not both"),
        (["--signals", "absent.parquet"], "no such file"),
        ([], "no fine-tuned model"),
        (["--model", "nano", "--signal", "mystery"], "no signal 'mystery'; there are return, last, mean, max, min"),
        (["--model", "nano", "--prepared", "absent"], "prepare the data first"),
        (["--model", "nano", "--set", "freq=1min"], "trades days"),
        (["--set", "backtest_hold=3"], "did you mean"),
        (["--model", "nano", "--benchmark", "SH000300"], "has no data"),
        (["--model", "nano", "--set", "backtest_n_symbol_hold=11", "--out", "new"], "has 11 instruments"),
    ],
)
def test_what_the_backtest_cannot_do_is_said_before_it_starts(root: Path, arguments: list[str], says: str) -> None:
    result: Result = CliRunner().invoke(backtest_command, arguments, obj=Settings(root))
    assert isinstance(result.exception, ValueError) and re.search(says, str(result.exception)), result.exception


def test_holding_all_instruments_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backtest_n_symbol_hold=2"):
        run_backtest(
            config(root, backtest_n_symbol_hold=50, backtest_result_path=str(tmp_path)),
            signals=foresight(root, tmp_path / "s.parquet"),
            verbose=False,
            echo=lambda text: None,
        )


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "finetune" / name), *arguments]
    return run_process(command, cwd=cwd, timeout=200)


def sets(values: dict[str, object]) -> list[str]:
    texts = {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return [part for name, text in texts.items() for part in ("--set", f"{name}={text}")]


def test_the_scripts_run_from_any_folder_and_leave_nothing_else_behind(root: Path, tmp_path: Path) -> None:
    data = {name: value for name, value in backtest_bars.settings(root).items() if not name.startswith("backtest_")}
    first = script("qlib_data_preprocess.py", *sets({**data, "dataset_path": "data"}), cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "leak check passed" in first.stdout
    trade = {
        "backtest_n_symbol_hold": 3,
        "backtest_n_symbol_drop": 1,
        "inference_sample_count": 2,
        "backtest_benchmark": "MEAN",
    }
    rest = ["--yaml", "data/settings.yaml", *sets({**trade, "backtest_result_path": "results"})]
    last = script("qlib_test.py", "--device", "cpu", "--model", "nano", *rest, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert "excess_return_with_cost" in last.stdout and "no advice" in last.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"data", "results"}
    found = {path.name for path in (tmp_path / "results" / "finetune_backtest_demo").iterdir()}
    assert found == {
        "signals.parquet",
        "predictions.pkl",
        "signals.json",
        "report.json",
        "report.parquet",
        "backtest.png",
        "report.html",
    }


def test_a_fault_ends_a_script_with_one_line_and_exit_code_two(tmp_path: Path) -> None:
    result = script("qlib_data_preprocess.py", "--data", "absent", cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.strip() == (
        "qlib_data_preprocess.py: qlib_data_path absent: no such folder; give a Qlib data folder, or write one from files with "
        "kronos export-qlib"
    )
    assert "lookback_window = 90" in script("qlib_test.py", "--settings", cwd=tmp_path).stdout


def test_the_investment_task_is_one_command_on_qlib_data_with_the_papers_rules(root: Path, tmp_path: Path) -> None:
    options = ["--task", "investment", "--model", "nano", "--lookback", "20", "--horizon", "4", "--paths", "2"]
    days = [
        "--instrument",
        "syn",
        "--range",
        "2024-08-01,2024-09-02",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "inv"),
    ]
    result = CliRunner().invoke(evaluate_command, [str(root / "qlib"), *options, *days])
    assert result.exit_code == 0, (result.output, result.exception)
    written = json.loads((tmp_path / "inv" / "report.json").read_text())
    settings = written["settings"]
    assert (settings["backtest_n_symbol_hold"], settings["backtest_n_symbol_drop"]) == (2, 1)
    assert settings["backtest_open_cost"] == settings["backtest_close_cost"] == 0.0015
    assert (settings["inference_T"], settings["inference_top_p"], settings["inference_sample_count"]) == (0.6, 0.9, 2)
    assert set(written["ic"]["return"]) == {"1d", "4d"} and (tmp_path / "inv" / "report.html").exists()
    signals = pd.read_parquet(tmp_path / "inv" / "signals.parquet")
    assert signals["datetime"].min() == pd.Timestamp("2024-07-31") and signals["instrument"].nunique() == 11


def test_the_investment_task_without_a_list_says_what_it_needs(root: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(evaluate_command, [str(root / "qlib"), "--task", "investment", "--out", str(tmp_path)])
    assert isinstance(result.exception, ValueError) and "needs --instrument" in str(result.exception)
