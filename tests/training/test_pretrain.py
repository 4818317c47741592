"""From files to a store, a tokenizer, a model, its recommended sampling and a pair that forecasts, by the commands."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.cli import main as cli
from kronos.evaluation.leakage.provenance import check_provenance
from kronos.training.bar_store import Store
from kronos.training.trackers import read_log
from tests import training_run
from tests.processes import started

SMALL = ["network.d_model=16", "network.ff_dim=32", "network.n_heads=2", "bars_a_step=256", "lengths=[64]"]
TOKENIZER = [*SMALL, "network.s1_bits=4", "network.s2_bits=4", "network.group_size=4", "network.n_enc_layers=2"]
MODEL = [*SMALL, "network.s1_bits=4", "network.s2_bits=4", "network.n_layers=1"]
EVERY = ["report_every=1", "validate_every=8", "save_every=4", "held_out=1", "steps=16"]


def command(stage: str, store: Path, out: Path) -> list[str]:
    sets = [*(TOKENIZER if stage == "tokenizer" else MODEL), *EVERY]
    options = ["--store", str(store), "--out", str(out), "--device", "cpu"]
    return ["-m", "kronos", "pretrain", stage, *options, *(part for s in sets for part in ("--set", s))]


def losses(folder: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_log(folder) if row["kind"] == "train"}


def kronos_says(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    (folder / "in").mkdir()
    parts = [training_run.walk(700, seed).assign(symbol=f"S{seed}") for seed in range(4)]
    pd.concat(parts).to_parquet(folder / "in" / "walks.parquet", index=False)
    kronos_says("store", "build", folder / "in", "--out", folder / "store", "--workers", 1)
    return folder / "store"


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> Path:
    """A whole run, never interrupted."""
    out = tmp_path_factory.mktemp("run")
    for stage in ("tokenizer", "model"):
        done = training_run.launch(command(stage, store, out))
        assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize(("stage", "processes"), [("tokenizer", 1), ("model", 1), ("model", 2)])
def test_a_killed_pretraining_goes_on_with_the_same_losses(store, run, tmp_path, stage, processes):
    if stage == "model":
        (tmp_path / "tokenizer").symlink_to(run / "tokenizer")
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started([*launcher, *command(stage, store, tmp_path)], **quiet) as process:
        deadline = time.monotonic() + 120
        while not any(step >= 6 for step in losses(tmp_path / stage)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    seen = max(losses(tmp_path / stage))
    assert 6 <= seen < 16, "the run was over before it was killed"
    done = training_run.launch(command(stage, store, tmp_path), processes)
    assert done.returncode == 0 and "resumed at step" in done.stdout, done.stdout + done.stderr
    tolerance: dict[str, Any] = {"abs": 1e-6} if processes == 1 else {"abs": 1e-5}
    assert losses(tmp_path / stage) == pytest.approx(losses(run / stage), **tolerance)


def test_a_run_says_what_it_was_trained_on_and_draws_its_curves(store, run):
    data = json.loads((run / "model" / "data.json").read_text())
    bars = Store.open(store)
    assert data["store"] == bars.digest() and (data["first"], data["last"]) == bars.span()
    assert (run / "model" / "curves.png").read_bytes().startswith(b"\x89PNG")
    validated = [row for row in read_log(run / "tokenizer") if row["kind"] == "validation"]
    assert {"mse", "mse_coarse", "used_s1", "entropy_s2", "mse walks 1d"} <= set(validated[-1])


def test_refused_recipe_leaves_the_description_of_the_run(store, run):
    before = (run / "model" / "recipe.json").read_bytes()
    done = training_run.launch([*command("model", store, run), "--set", "learning_rate=0.5"])
    assert done.returncode == 2 and "learning_rate was" in done.stderr, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (run / "model" / "recipe.json").read_bytes() == before


def test_advice_is_chosen_on_held_out_bars_and_goes_into_the_pair(store, run, tmp_path):
    said = kronos_says(
        "pretrain", "advise", "--store", store, "--out", run, "--windows", 8, "--lookback", 40, "--horizon", 5
    )
    advice = json.loads((run / "advice.json").read_text())
    best = min(advice["table"], key=lambda row: row["crps"])
    assert (advice["temperature"], advice["top_p"]) == (best["temperature"], best["top_p"])
    assert len(advice["table"]) == 12 and f"temperature {best['temperature']}" in said
    kronos_says("pretrain", "export", "--out", run, tmp_path / "pair")
    settings = json.loads((tmp_path / "pair" / "pair.json").read_text())
    assert settings.pop("trained_bars") == [64, 64]  # the one length of this recipe
    assert settings == {"max_context": 64, "temperature": best["temperature"], "top_p": best["top_p"]}
    later, during = pd.Timestamp("2026-06-01"), pd.Timestamp(advice["last"])
    assert [f.status for f in check_provenance(str(tmp_path / "pair"), later, later)] == ["ok", "ok"]
    assert [f.status for f in check_provenance(str(tmp_path / "pair"), during, during)] == ["warning", "leak"]
    past = training_run.walk(60, 9)
    values = past[["open", "high", "low", "close", "volume"]]
    future = pd.Series(pd.date_range("2024-03-01", periods=3, freq="D"))
    forecast = kronos.load(tmp_path / "pair", device="cpu").predict(values, past["timestamp"], future, 3, verbose=False)
    assert forecast.shape == (3, 6) and np.isfinite(forecast.to_numpy()).all()


def test_advice_before_training_says_what_to_do(store, tmp_path):
    result = CliRunner().invoke(cli, ["pretrain", "advise", "--store", str(store), "--out", str(tmp_path)])
    assert result.exit_code == 2 and "run kronos pretrain tokenizer first" in result.output
