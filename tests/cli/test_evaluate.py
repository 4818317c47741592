"""`kronos evaluate` as a user meets it, and the report that people look at."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.cli import main
from kronos.evaluation import TASKS, cross_validation, read_series
from kronos.evaluation.report.sentences import judged
from kronos.evaluation.scores import score
from kronos.evaluation.tasks import PAPER_WINDOWS, Task
from kronos.evaluation.window_losses import daily_correlations, window_losses
from tests.evaluation_bars import bars
from tests.processes import started


@pytest.fixture
def folder(golden, tmp_path, monkeypatch):
    """An empty working folder with a tiny pair of random weights, a market of two files, and a file with a fault."""
    shutil.copytree(golden / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "pair.json").write_text(json.dumps({"max_context": 64}))
    (tmp_path / "market").mkdir()
    for i, name in enumerate(("a.csv", "b.csv")):
        bars(i).to_csv(tmp_path / "market" / name, index=False)
    faulty = bars(3)
    faulty.loc[7, "close"] = -1
    faulty.to_csv(tmp_path / "faulty.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGUMENTS = ["--model", "tiny", "--baselines", "last,bootstrap", "--paths", "20", "--windows", "20"]


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def refused(*arguments):
    lines = run(*arguments, code=2).strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_one_command_scores_a_folder_and_says_in_words_what_was_found(folder):
    output = run("evaluate", "market", *ARGUMENTS, "--out", "eval")
    assert re.search(
        r"tiny: as a point forecast (worse than|better than|not distinguishable from) the last price", output
    )
    assert "80 % intervals held the truth" in output
    board = pd.read_csv("eval/leaderboard.csv").set_index("model")
    assert list(board.index) == ["tiny", "last", "bootstrap"]
    assert (board.loc["last", ["relative_mase", "relative_crps"]] == 1).all()
    groups = pd.read_csv("eval/groups.csv")
    assert set(groups["market"]) == {"a", "b"}
    assert (groups["horizon"] == 12).all()


def test_the_report_is_one_file_that_loads_nothing_and_begins_with_words(folder):
    run("evaluate", "market", *ARGUMENTS, "--out", "eval", "--quiet")
    page = (folder / "eval" / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert page.index("as a point forecast") < page.index("<table>") < page.index("<img")
    pictures = sorted(p.name for p in (folder / "eval" / "figures").iterdir())
    assert pictures == [f"{n}.png" for n in (
        "example-best", "example-median", "example-worst", "groups", "leaderboard", "pit", "reliability", "steps", "volatility",
    )]  # fmt: skip
    assert all((folder / "eval" / "figures" / n).read_bytes().startswith(b"\x89PNG") for n in pictures)


def test_names_from_data_cannot_put_code_into_the_page(folder):
    table = bars(0)
    table["symbol"] = "<script>alert(1)</script>"
    table.to_csv("odd.csv", index=False)
    run("evaluate", "odd.csv", *ARGUMENTS, "--out", "eval", "--quiet")
    assert "<script" not in (folder / "eval" / "report.html").read_text()


def test_running_again_computes_nothing_and_gives_the_same_files(folder):
    run("evaluate", "market", *ARGUMENTS, "--out", "eval", "--quiet")
    first = {p: p.read_bytes() for p in (folder / "eval").rglob("*") if p.is_file()}
    times = {p: p.stat().st_mtime_ns for p in (folder / "eval" / "parts").rglob("*.parquet")}
    run("evaluate", "market", *ARGUMENTS, "--out", "eval", "--quiet")
    assert {p: p.read_bytes() for p in (folder / "eval").rglob("*") if p.is_file()} == first
    assert {p: p.stat().st_mtime_ns for p in times} == times


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nothing.csv", "--out", "x"], "nothing.csv: no such file or folder"),
        (["evaluate", "faulty.csv", "--out", "x"], "non-positive price"),
        (["evaluate", "market", "--out", "x", "--baselines", "luck"], "no baseline 'luck'"),
        (["evaluate", "market", "--out", "x", "--model", "nobody"], "no model 'nobody'"),
        (["evaluate", "market", "--out", "x", "--model", "python:os"], "write python:module:attribute"),
        (["evaluate", "market", "--out", "x", "--model", "python:nowhere:f"], "cannot be imported"),
        (["evaluate", "market", "--out", "x", "--paths", "0"], "--paths must be a whole number of at least 1"),
        (["evaluate", "market", "--out", "x", "--windows", "-1"], "--windows must be a whole number"),
        (["evaluate", "market", "--out", "x", "--lookback", "5000", "--horizon", "9"], "no series is long enough"),
        (["evaluate", "market", "--out", "x", "--reference", "luck"], "the reference 'luck' is not among the models"),
        (["evaluate", "market", "--out", "market"], "market holds other files, which are not of this run: a.csv"),
        (["generate", "market", "--out", "x", "--lookback", "5"], "give --lookback and --horizon together"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(folder, arguments, message):
    extra = [] if arguments[0] == "generate" or "--model" in arguments else ["--model", "tiny"]
    extra += [] if arguments[0] == "generate" or "--baselines" in arguments else ["--baselines", "bootstrap"]
    assert message in refused(*arguments, *extra, "--quiet")


def test_a_faulty_series_can_be_cleaned_or_is_left_out_with_its_reason(folder):
    shutil.copy("faulty.csv", "market/c.csv")
    output = run("evaluate", "market", *ARGUMENTS, "--out", "eval")
    assert "1 series left out, such as c:" in output
    assert "non-positive price" in (folder / "eval" / "report.html").read_text()
    run("evaluate", "market", *ARGUMENTS, "--clean", "drop", "--out", "eval2", "--quiet")
    assert set(pd.read_csv("eval2/groups.csv")["market"]) == {"a", "b", "c"}


def test_a_model_of_ones_own_is_imported_by_name(folder, monkeypatch):
    (folder / "mine.py").write_text(
        "def same(windows, horizon, paths, seed):\n    return [[w.last] * horizon for w in windows]\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    output = run(
        "evaluate", "market", "--model", "python:mine:same", "--baselines", "last", "--windows", "20", "--out", "eval"
    )
    assert "mine.same: as a point forecast the same as the last price" in output


def test_ctrl_c_ends_with_130_and_the_run_goes_on_afterwards(folder):
    command = [
        sys.executable,
        "-m",
        "kronos.cli",
        "evaluate",
        "market",
        *ARGUMENTS[:-2],
        "--lookback",
        "40",
        "--horizon",
        "12",
    ]
    command += ["--step-size", "1", "--out", "eval", "--quiet"]
    code = "import sys; from kronos.cli import main; main(sys.argv[1:], prog_name='kronos')"
    command[1:3] = ["-c", code]
    with started(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        deadline = time.time() + 60
        while (
            not list((folder / "eval").glob("parts/tiny/*.parquet"))
            and time.time() < deadline
            and process.poll() is None
        ):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "no file was left half written" in error
    parts = {p: p.stat().st_mtime_ns for p in (folder / "eval").glob("parts/tiny/*.parquet")}
    assert parts
    assert not (folder / "eval" / "forecasts.parquet").exists()


def test_presets_are_the_papers_and_can_be_changed_but_not_to_nonsense():
    assert TASKS["price"].window("5m") == (480, 96) == PAPER_WINDOWS["5m"]
    assert TASKS["returns"].window("1d") == (40, 12)
    assert TASKS["price"].window("1m") == (480, 96)  # the paper has no 1m; the nearest
    assert (TASKS["price"].temperature, TASKS["price"].top_p, TASKS["price"].paths) == (0.6, 0.9, 10)
    assert (TASKS["volatility"].temperature, TASKS["volatility"].top_p, TASKS["volatility"].paths) == (0.9, 0.9, 1)
    assert (TASKS["synthetic"].temperature, TASKS["synthetic"].top_p) == (1.0, 0.95)
    assert TASKS["synthetic"].window("15m") == (120, 96)
    assert TASKS["synthetic"].window("1d") == (96, 35)
    assert TASKS["investment"].investment["presets"]["csi300"] == {"topk": 50, "n_drop": 5}
    assert TASKS["price"].with_(horizon=7).window("5m") == (480, 7)
    with pytest.raises(ValueError, match="paths must be a whole number"):
        Task("x", "price", paths=0)
    with pytest.raises(ValueError, match="no lookback and horizon for 1h"):
        TASKS["synthetic"].window("1h")


def test_the_returns_task_shows_the_papers_columns(folder):
    output = run("evaluate", "market", *ARGUMENTS, "--task", "returns", "--out", "eval")
    assert "return RankIC" in output


def test_series_know_their_market_frequency_and_season(folder, tmp_path):
    bars(0, freq="h", n=200).to_parquet("market/hours.parquet")
    pd.DataFrame({"file": ["hours.parquet"], "market": ["crypto"], "freq": ["1h"]}).to_csv(
        "market/index.csv", index=False
    )
    dataset = read_series("market")
    assert [(s.id, s.market, s.frequency, s.season) for s in dataset.series] == [
        ("a", "a", "1d", 7), ("b", "b", "1d", 7), ("hours", "crypto", "1h", 24),
    ]  # fmt: skip


def test_a_split_series_is_evaluated_segment_by_segment():
    table = bars(0, n=600)
    table.loc[300:, ["open", "high", "low", "close"]] *= 5
    names = [s.id for s in read_series({"a": table}).series]
    assert names == ["a"]


def test_the_cross_section_of_a_day_is_the_rank_correlation_over_its_series():
    from scipy.stats import spearmanr

    data = {f"s{i}": bars(i, n=80) for i in range(8)}
    slope = lambda w, h, p, s: np.stack([x.last + (x.last - x.close[0]) * np.arange(1, h + 1) for x in w])
    losses = window_losses(cross_validation(data, {"slope": slope}, h=5, n_windows=3, lookback=20))
    daily = daily_correlations(losses)
    assert len(daily) == 3
    for day, part in losses.groupby("cutoff"):
        assert daily[day] == pytest.approx(spearmanr(part["return_forecast"], part["return_true"])[0])


def test_models_that_were_asked_different_windows_are_not_compared():
    table = cross_validation(
        {"a": bars(0)},
        {"one": lambda w, h, p, s: np.full((len(w), h), 1.0)},
        h=5,
        n_windows=4,
        lookback=20,
        baselines=("last",),
    )
    some = table[(table["model"] == "last") | (table["cutoff"] > table["cutoff"].min())]
    with pytest.raises(ValueError, match="not asked for the same windows"):
        score(some)


@pytest.mark.parametrize(
    ("relative", "p", "blocks", "said"),
    [
        (0.9, 0.01, 40, "better"),
        (1.1, 0.01, 40, "worse"),
        (0.5, 0.06, 40, "not distinguishable"),
        (0.5, 0.001, 5, "too little data"),
    ],
)
def test_a_verdict_follows_the_test_and_nothing_else(relative, p, blocks, said):
    assert judged(relative, p, blocks) == said
