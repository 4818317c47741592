"""``kronos calibrate``: from bars to a calibration with a verdict, or a refusal; stopped runs go on."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.calibration import Calibration
from kronos.cli import main as cli
from tests.processes import started

FAST = ("--lookback", "32", "--horizon", "4", "--paths", "10", "--quiet", "--device", "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices").mkdir()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        close = 100 * np.exp((rng.normal(0, 0.01, 400) * np.exp(np.sin(np.arange(400) / 40))).cumsum())
        opens = np.concatenate(([100.0], close[:-1]))
        table = pd.DataFrame({"timestamps": pd.date_range("2022-01-01", periods=400), "open": opens})
        table["high"], table["low"] = np.maximum(opens, close) * 1.004, np.minimum(opens, close) * 0.996
        table.assign(close=close).to_csv(tmp_path / "prices" / f"s{seed}.csv", index=False)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_a_calibration_is_written_with_its_verdict_and_used_by_forecast(folder, golden, monkeypatch):
    from kronos.calibration import fitting

    collect = fitting.collect

    def narrow(*arguments, **keys):
        found = collect(*arguments, **keys)
        found.y = found.y * 0.3  # a model far too narrow, whatever the built-in one is
        return found

    monkeypatch.setattr(fitting, "collect", narrow)
    done = run("calibrate", "prices", "--out", "cal.json", "--windows", "200", *FAST)
    assert done.exit_code == 0, done.output
    assert "verdict on the latest" in done.output and "80 % intervals cover:" in done.output
    made = Calibration.load("cal.json")
    assert made.fitted_on["model"] == "nano" and made.verdict["crps"] < 1 and made.fitted_on["windows"] > 100
    before, after = made.verdict["covers"]
    assert before < 0.6 and after > 0.7
    assert not (folder / "cal.windows").exists()
    options = ("--horizon", "4", "--paths", "20", "--out")
    for name, how in (("wide.csv", "cal.json"), ("raw.csv", "none")):
        assert run("forecast", "prices/s0.csv", "--calibration", how, *options, name).exit_code == 0
    wide, raw = (pd.read_csv(name) for name in ("wide.csv", "raw.csv"))
    width, drawn = ((one["close_q90"] - one["close_q10"]).sum() for one in (wide, raw))
    assert abs(width / drawn - 1) > 0.02


def test_a_calibration_that_does_not_help_is_not_written(folder, monkeypatch):
    from dataclasses import replace

    from kronos.calibration import fitting

    evaluate_calibration = fitting.evaluate_calibration
    monkeypatch.setattr(
        fitting, "evaluate_calibration", lambda *a, **k: replace(evaluate_calibration(*a, **k), crps=1.01)
    )
    done = run("calibrate", "prices", "--out", "cal.json", "--windows", "60", *FAST)
    assert done.exit_code == 2 and "does not help on the held-out windows (CRPS 1.010" in done.stderr
    assert not (folder / "cal.json").exists()


def test_what_cannot_be_is_said_in_one_line(folder):
    for arguments, said in (
        (("prices", "--out", "cal.csv"), "give a .json file"),
        (("--out", "cal.json"), "give DATA, a file or folder of bars, or --store"),
        (
            ("prices/s0.csv", "--out", "cal.json", "--lookback", "380", "--horizon", "10"),
            "has 2 windows of 380 + 10 bars",
        ),
    ):
        done = run("calibrate", *arguments)
        assert done.exit_code == 2 and said in done.stderr, done.output
    assert "there is no nosuch.json" in run("forecast", "prices/s0.csv", "--calibration", "nosuch.json").stderr


def test_a_stopped_run_goes_on_with_the_forecasts_it_has(folder):
    command = [sys.executable, "-c", "from kronos.cli import main; main()", "calibrate", "prices", "--out", "cal.json"]
    command += ["--windows", "300", *FAST[:5], "60", *FAST[6:]]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not list(folder.glob("cal.windows/*.npz")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    kept = {p.name: p.stat().st_mtime_ns for p in folder.glob("cal.windows/*.npz")}
    assert kept and not (folder / "cal.json").exists()
    other = run("calibrate", "prices", "--out", "cal.json", "--windows", "100", *FAST)
    assert other.exit_code == 2 and "was made with other settings: paths was 60 and is 10" in other.stderr
    assert "delete it, or take another --out" in other.stderr and len(other.stderr.strip().splitlines()) == 1
    assert json.loads((folder / "cal.windows" / "settings.json").read_text())["paths"] == 60


def test_a_calibration_leaves_a_folder_of_other_files_alone(folder):
    (folder / "cal.windows").mkdir()
    (folder / "cal.windows" / "000000.npz").write_bytes(b"mine")
    done = run("calibrate", "prices", "--out", "cal.json", "--windows", "60", *FAST)
    assert done.exit_code == 2 and "cal.windows holds other files, which are not of this run: 000000.npz" in done.stderr
    assert (folder / "cal.windows" / "000000.npz").read_bytes() == b"mine"
