"""Fine-tuning on files: split by time, both stages, the comparison, the pair that is kept; and the scripts of the four steps."""

import json
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from kronos.cli import main
from kronos.finetune import comparison
from kronos.finetune.config import FinetuneConfig
from kronos.finetune.datasets import open_parts
from kronos.finetune.estimate import Pace, _stage_seconds, estimate, in_words
from kronos.finetune.run import prepare_files, read_series
from kronos.finetune.stages import Feed, is_mirrored
from kronos.klines import ReadOptions, read_klines
from kronos.loading import load, load_model, load_tokenizer
from kronos.nn import save_checkpoint
from kronos.training.bar_store import Store
from kronos.training.distributed import World
from kronos.training.losses import KnownTokens, tokens_of
from kronos.training.trackers import read_log
from kronos.training.windows import Windows, upside_down
from tests import training_run
from tests.processes import run_process, started

ALONE = World(0, 1, torch.device("cpu"))
FAST = ["--lookback", "20", "--horizon", "5", "--epochs", "2", "--batch-size", "16"]
FEW = ["--set", "n_train_iter=160", "--set", "n_val_iter=64", "--set", "log_interval=5", "--set", "save_every=4"]
FEW += ["--set", "select_windows=48"]
TOKENIZER = ["--tune-tokenizer", "--set", "predictor_learning_rate=0.001"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A small pair as a folder."""
    folder = tmp_path_factory.mktemp("pair")
    tokenizer, model = training_run.small_pair()
    save_checkpoint(tokenizer, folder / "tokenizer")
    save_checkpoint(model, folder / "model")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of six series, one of them faulty, and one too short."""
    folder = tmp_path_factory.mktemp("prices")
    for i in range(6):
        training_run.walk(260, i).to_csv(folder / f"s{i}.csv", index=False)
    training_run.walk(15, 8).to_csv(folder / "short.csv", index=False)
    faulty = training_run.walk(260, 9)
    faulty.loc[40, "close"] = -1.0
    faulty.to_csv(folder / "faulty.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pair, files):
    """A whole run through the command line: its folder and what it said."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = CliRunner().invoke(
        main, ["finetune", "--data", str(files), "--model", str(pair), "--out", str(out), *FAST, *FEW, *TOKENIZER]
    )
    assert done.exit_code == 0, done.output
    return out, done.output


def test_a_run_tunes_both_networks_compares_them_and_writes_a_pair_that_forecasts(finished, files):
    out, said = finished
    for stage in ("tokenizer", "model"):
        best = json.loads((out / stage / "summary.json").read_text())
        assert best["complete"] and best["steps"] == 20
        assert (out / stage / "checkpoints" / "best_model" / "model.safetensors").exists()
        losses = [row["loss"] for row in read_log(out / stage) if row["kind"] == "train"]
        assert len(losses) == 4
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"] in said
    assert {row["name"] for row in summary["comparison"]} == {"last price", "as it was", "fine-tuned"}
    assert {row["part"] for row in summary["comparison"]} == {"val", "test"}
    at = {row["name"]: row for row in summary["comparison"] if row["part"] == "val"}
    if summary["better"] == "fine-tuned":
        assert at["fine-tuned"]["crps"] < at["as it was"]["crps"]
    assert f"Kept is the pair {summary['better']}" in summary["verdict"]
    assert all(f"{at[name]['token_loss']:.4f}" in summary["verdict"] for name in ("fine-tuned", "as it was"))
    bars = pd.read_csv(files / "s0.csv", parse_dates=["timestamp"])
    future = pd.date_range(bars["timestamp"].iloc[-1], periods=4, freq="D")[1:]
    forecast = load(out / "pair").predict(bars.tail(20), bars["timestamp"].tail(20), future, 3, verbose=False)
    assert np.isfinite(forecast.to_numpy()).all()


def test_how_long_it_will_take_is_said_before_it_begins_and_what_it_took_at_the_end(finished):
    _, said = finished
    assert re.search(
        r"estimate: \d+ s \(tokenizer \d+ s, model \d+ s, comparison \d+ s\), from steps measured on (cpu|cuda:0)", said
    )
    assert said.index("estimate: ") < said.index("tokenizer: ")
    parts = r"\(tokenizer \d+ s, model \d+ s, comparison \d+ s\)"
    assert re.search(rf"took \d+ s {parts}; the estimate was \d+ s {parts}\n$", said)


def test_an_estimate_counts_steps_of_known_tokens_validations_and_what_is_left(finished):
    out, _ = finished
    config = FinetuneConfig.from_object(SimpleNamespace(**json.loads((out / "summary.json").read_text())["settings"]))
    windows, held = (len(Windows(open_parts(out / "data", ALONE)[part], 20, 6)) for part in ("train", "val"))
    work: Any = SimpleNamespace(feed=Feed(config, open_parts(out / "data", ALONE)))
    pace = Pace(step=1.0, again=0.1, validated=0.01, prepared=0.001)
    held = min(held, 64)
    assert _stage_seconds(config, work, 2, ALONE, pace) == pytest.approx(20 + held * 0.031), (
        "a validation before the first epoch counts"
    )
    # 100 epochs: every window comes for the first time once, and the other steps know their tokens.
    long = config.replace(epochs=100)
    first = windows / 16
    want = first + (1000 - first) * 0.1 + held * (0.001 + 101 * 0.01)
    assert _stage_seconds(long, work, 100, ALONE, pace) == pytest.approx(want)
    assert _stage_seconds(long, work, 3, ALONE, pace) == pytest.approx(3 + held * 0.031)
    two = World(0, 2, torch.device("cpu"))
    assert _stage_seconds(config, work, 2, two, pace) == pytest.approx(10 + held * 0.016)
    assert estimate(config, ALONE) is None, "nothing is left of a finished run"
    anew = estimate(config.replace(save_path="elsewhere"), ALONE)
    assert anew is not None and anew.seconds > 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (300, "5 min"),
        (1210, "20 min"),
        (5999, "100 min"),
        (9000, "2.5 h"),
    ],
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_what_is_left_out_is_said_and_the_parts_do_not_share_targets(finished):
    out, said = finished
    assert "left out: faulty" in said and "left out: short" in said
    parts = open_parts(out / "data", ALONE)
    assert set(parts["train"].names) == {f"s{i}" for i in range(6)}
    windows = {name: Windows(store, 20, 5) for name, store in parts.items()}
    targets = {
        name: {int(t) for first in cut.first for t in parts[name].times[first + 20 : first + 25]}
        for name, cut in windows.items()
    }
    assert targets["train"] and targets["val"] and targets["test"]
    assert max(targets["train"]) < min(targets["val"]) and max(targets["val"]) < min(targets["test"])


def test_the_same_command_again_changes_nothing_and_other_files_are_refused(finished, pair, files, tmp_path):
    out, _ = finished
    weights = out / "model" / "checkpoints" / "best_model" / "model.safetensors"
    before = weights.read_bytes()
    command = ["finetune", "--data", str(files), "--model", str(pair), "--out", str(out), *FAST, *FEW, *TOKENIZER]
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 0 and "resumed at step 20 of 20" in again.output
    assert weights.read_bytes() == before
    command[2] = str(files / "s0.csv")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2 and "holds a run on other files" in refused.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "epochs must be above zero, found 0"),
        (["--set", "bach_size=3"], "did you mean batch_size?"),
        (["--set", "lookback_window=400"], "no series to train on"),
        (["--data", "nowhere"], "no such file or folder"),
        (["--model", "nowhere"], "no tokenizer 'nowhere'"),
        (["--until", "2030-01-01", "2031-01-01"], "range of test is reversed"),
        (["--device", "cuda:99"], "no CUDA GPU here" if not torch.cuda.is_available() else "device cuda:99"),
        (["--set", 'trackers=["x"]'], "unknown tracker 'x'"),
    ],
)
def test_wrong_input_ends_with_exit_code_2_and_one_line(options, message, files, pair, tmp_path):
    given = {"--data": str(files / "s1.csv"), "--model": str(pair), "--out": str(tmp_path / "o")}
    changed = {k: v for k, v in given.items() if k not in options}
    command = ["finetune", *FAST, *(part for pair_ in changed.items() for part in pair_), *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_ctrl_c_saves_with_exit_code_130_and_the_same_command_ends_the_run(files, pair, tmp_path):
    command = [sys.executable, "-m", "kronos", "finetune", "--data", str(files), "--model", str(pair), "--out", "o"]
    command += [*FAST, *FEW, "--keep-tokenizer", "--set", "log_interval=1"]
    with started(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 2/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 130
    assert "stopped and saved at step" in rest
    done = run_process(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stdout
    steps = [row["step"] for row in read_log(tmp_path / "o" / "model") if row["kind"] == "train"]
    assert steps == list(range(1, 21))


def test_only_the_last_block_is_tuned_where_asked_for_and_the_tokenizer_is_left_alone(files, pair, tmp_path):
    command = ["finetune", "--data", str(files), "--model", str(pair), "--out", str(tmp_path / "o"), *FAST, *FEW]
    done = CliRunner().invoke(main, [*command, "--keep-tokenizer", "--tuning", "last", "--learning-rate", "0.01"])
    assert done.exit_code == 0, done.output
    before, after = load_model(pair), load_model(tmp_path / "o" / "model" / "checkpoints" / "best_model")
    assert after.embedding.emb_s1.weight.equal(before.embedding.emb_s1.weight)
    assert not after.head.proj_s1.weight.equal(before.head.proj_s1.weight)
    assert not (tmp_path / "o" / "tokenizer").exists()


def test_a_run_that_makes_forecasts_worse_keeps_the_weights_that_it_began_with(files, pair, tmp_path):
    out = tmp_path / "o"
    command = ["finetune", "--data", str(files), "--model", str(pair), "--out", str(out), *FAST, *FEW]
    done = CliRunner().invoke(main, [*command, "--learning-rate", "3", "--epochs", "3", "--set", "early_stopping=2"])
    assert done.exit_code == 0, done.output
    rows = [row for row in read_log(out / "model") if row["kind"] == "validation"]
    assert [row["step"] for row in rows] == [0, 10, 20] and all(row["crps"] > rows[0]["crps"] for row in rows[1:])
    assert "nothing was better than the weights that training began with (crps)" in done.output
    assert "Fine-tuning changed nothing" in done.output and "Kept is the pair as it was" in done.output
    start, best = load_model(pair), load_model(out / "model" / "checkpoints" / "best_model")
    for (name, before), after in zip(start.state_dict().items(), best.state_dict().values(), strict=True):
        assert before.equal(after), name


def test_lora_tunes_and_exports_an_ordinary_model(files, pair, tmp_path):
    pytest.importorskip("peft")
    command = ["finetune", "--data", str(files), "--model", str(pair), "--out", str(tmp_path / "o"), *FAST, *FEW]
    done = CliRunner().invoke(main, [*command, "--tuning", "lora", "--learning-rate", "0.01"])
    assert done.exit_code == 0, done.output
    before, after = load_model(pair), load_model(tmp_path / "o" / "model" / "checkpoints" / "best_model")
    assert after.config == before.config
    weights = [model.get_parameter("transformer.0.ffn.w1.weight") for model in (before, after)]
    assert not weights[0].equal(weights[1])
    assert after.head.proj_s1.weight.equal(before.head.proj_s1.weight)


def test_the_last_price_pair_scores_as_the_last_price_and_foresight_is_perfect(finished):
    out, _ = finished
    store = open_parts(out / "data", ALONE)["val"]
    sample = comparison.draw_sample(store, 20, 5, 5.0, 50)
    assert 20 < len(sample.windows) <= 50
    flat = np.repeat(sample.last[:, None, None], 3, 1).repeat(5, 2)
    scores = comparison.scores(flat, sample)
    naive = np.abs(sample.truth - sample.last[:, None]).mean()
    assert scores["mae"] == pytest.approx(naive) == scores["crps"]
    perfect = comparison.scores(np.repeat(sample.truth[:, None], 3, 1), sample)
    assert perfect["mae"] == pytest.approx(0, abs=1e-12) and perfect["rank_ic"] == pytest.approx(1)


def comparison_of(shift: float, noise: float) -> comparison.Comparison:
    """A comparison on 60 days of 8 windows, where the tuned pair's CRPS is ``shift`` above the other's, and noisy by the day."""
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(60), 8)
    before = rng.gamma(4, 0.1, 480)
    moved = np.repeat(rng.normal(0, noise, 60), 8)
    crps = {"as it was": before, "fine-tuned": before + moved - moved.mean() + shift}
    rows = [
        {"part": "val", "name": name, "crps": each.mean(), "mae": 0.5, "token_loss": 2.0} for name, each in crps.items()
    ]
    table = pd.DataFrame([*rows, {"part": "val", "name": "last price", "crps": 0.5, "mae": 0.5}])
    return comparison.Comparison(table, {("val", name): each for name, each in crps.items()}, {"val": days})


@pytest.mark.parametrize(
    ("shift", "noise", "kept", "said"),
    [
        (-0.02, 0.03, "fine-tuned", "Fine-tuning helped"),
        (0.02, 0.03, "as it was", "Fine-tuning made it worse"),
        (-0.002, 0.03, "as it was", "no proof that fine-tuning helped"),
        (-0.006, 0.03, "fine-tuned", "no proof that fine-tuning helped, though it is the more likely"),
        (0.0, 0.0, "as it was", "Fine-tuning changed nothing"),
    ],
)
def test_the_fine_tuned_pair_is_kept_where_it_is_better_by_more_than_chance_makes_likely(shift, noise, kept, said):
    better, sentence = comparison.verdict(comparison_of(shift, noise), "as it was", "fine-tuned")
    assert better == kept and said in sentence and f"Kept is the pair {kept}" in sentence


def test_a_sample_has_few_symbols_of_many_days():
    tables = ((f"S{i}", training_run.walk(80, i)) for i in range(30))
    store = Store.of(tables)
    sample = comparison.draw_sample(store, 20, 5, 5.0, 240)
    days, counts = np.unique(sample.day, return_counts=True)
    assert len(days) == 20 and (counts == comparison.SYMBOLS_A_DAY).all()


def test_a_window_upside_down_is_a_candle_of_the_negated_prices(finished):
    bars, _ = Windows(open_parts(finished[0] / "data", ALONE)["val"], 20, 5).take(np.arange(3))
    turned = upside_down(bars)
    assert turned[..., 3].equal(-bars[..., 3]) and turned[..., 1].equal(-bars[..., 2])
    assert turned[..., 4:].equal(bars[..., 4:]) and upside_down(turned).equal(bars)
    assert is_mirrored(np.arange(8), 0.25).tolist() == [False, False, False, True] * 2
    assert not is_mirrored(np.arange(8), 0.0).any() and is_mirrored(np.arange(8), 1.0).all()


def test_a_difference_of_days_is_told_from_chance_and_chance_is_not():
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(50), 10)
    shared = np.repeat(rng.normal(0, 1, 50), 10)
    low, high = comparison.difference(shared, days)
    assert low < 0 < high and high - low == pytest.approx(4 * shared.std() / np.sqrt(50), rel=0.15)
    assert comparison.difference(shared - 2, days)[1] < 0


def test_the_returns_of_a_sample_are_those_of_the_bars(finished):
    out, _ = finished
    store = open_parts(out / "data", ALONE)["val"]
    sample = comparison.draw_sample(store, 20, 5, 5.0, 10_000)
    windows = Windows(store, 20, 5)
    assert len(sample.windows) == len(windows)
    raw = windows.raw(np.arange(len(windows)))[..., 3]
    want = raw[:, -1] / raw[:, 19] - 1
    np.testing.assert_allclose((sample.truth[:, -1] - sample.last) * sample.to_return, want, atol=1e-9)


def test_files_of_one_symbol_name_are_refused(files, tmp_path):
    (tmp_path / "a").mkdir()
    copy = tmp_path / "a" / "s1.csv"
    copy.write_bytes((files / "s1.csv").read_bytes())
    with pytest.raises(ValueError, match=r"'s1' .* is also in another file"):
        prepare_files([files / "s1.csv", copy], tmp_path / "out", 20, 5, echo=lambda _: None)


def test_networks_load_by_zoo_name_by_pair_and_by_their_own_folder(pair):
    assert load_tokenizer("nano").s1_bits == 10
    assert load_model(pair).config == load_model(pair / "model").config
    with pytest.raises(ValueError, match=r"no model 'nanno': the zoo has nano"):
        load_model("nanno")


def script(name: str, folder: Path, *sets: str, processes: int = 1) -> subprocess.CompletedProcess:
    """A script of ``finetune/`` as users start it."""
    path = Path(__file__).parents[2] / "finetune" / name
    options = [part for pair in sets for part in ("--set", pair)]
    return training_run.launch([str(path), *options], processes, cwd=folder)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_training_scripts_work_alone_and_under_torchrun(files, pair, tmp_path, processes):
    prepare_files(sorted(files.glob("s?.csv")), tmp_path / "data", 20, 5, echo=lambda _: None)
    sets = [
        "dataset_path=data", "save_path=models", f"pretrained_tokenizer_path={pair}", f"pretrained_predictor_path={pair}",
        "lookback_window=20", "predict_window=5", "epochs=1", f"batch_size={16 // processes}", "n_train_iter=160",
        "n_val_iter=64", "log_interval=5", "device=cpu",
        'val_time_range=["2023-01-01", "2024-06-30"]', 'test_time_range=["2024-07-01", "2025-06-05"]',
    ]  # fmt: skip
    early = script("train_predictor.py", tmp_path, *sets)
    assert early.returncode == 2 and "there is no fine-tuned tokenizer" in early.stderr
    for name in ("train_tokenizer.py", "train_predictor.py"):
        done = script(name, tmp_path, *sets, processes=processes)
        assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "models" / "finetune_predictor_demo"
    assert json.loads((run / "summary.json").read_text())["processes"] == processes
    assert load_model(run / "checkpoints" / "best_model").s1_bits == 5
    assert "Kept is the pair" in done.stdout and (tmp_path / "models" / "pair" / "model").is_dir()


def test_settings_are_read_from_config_py_as_it_is():
    module = runpy.run_path(str(Path(__file__).parents[2] / "finetune" / "config.py"))
    config = FinetuneConfig.from_object(module["Config"]())
    assert isinstance(config, FinetuneConfig)
    assert (config.lookback_window, config.predict_window, config.epochs, config.batch_size) == (90, 10, 30, 50)


def test_tokens_of_a_window_that_comes_again_are_looked_up_and_the_same(pair, monkeypatch):
    tokenizer = load_tokenizer(pair / "tokenizer")
    asked = []

    def encode(bars):
        asked.append(len(bars))
        return tokens_of(tokenizer, bars)

    bars = torch.randn(6, 25, 6)
    known = KnownTokens(encode, windows=6, length=25)
    first, again = known(bars, np.arange(6)), known(bars[[4, 1]], np.array([4, 1]))
    assert asked == [6]
    for a, b, c in zip(first, again, tokens_of(tokenizer, bars), strict=True):
        assert a.equal(c) and b.equal(c[[4, 1]]) and b.dtype == torch.int64
    monkeypatch.setattr(KnownTokens, "MOST_BYTES", 100)
    large = KnownTokens(encode, windows=6, length=25)
    large(bars, np.arange(6)), large(bars, np.arange(6))
    assert asked == [6, 6, 6]


def test_a_zone_that_is_told_gives_the_clock_that_other_commands_read(tmp_path):
    times = pd.date_range("2024-01-02 01:30", periods=6, freq="h", tz="UTC")
    table = pd.DataFrame({"timestamps": times, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 5.0})
    table.to_csv(tmp_path / "zoned.csv", index=False)
    table.assign(timestamps=times.tz_localize(None)).to_csv(tmp_path / "naive.csv", index=False)
    options = ReadOptions(tz="Asia/Shanghai")
    for name, hour in (("zoned", 9), ("naive", 1)):
        got = read_series([tmp_path / f"{name}.csv"], 2, None, print, options)["timestamp"]
        same = read_klines(tmp_path / f"{name}.csv", options=options)["timestamps"]
        assert got.tolist() == same.dt.tz_localize(None).tolist()
        assert got.iloc[0] == pd.Timestamp(2024, 1, 2, hour, 30)
