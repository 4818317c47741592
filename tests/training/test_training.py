"""Training: windows that a step alone determines, a loop that resumes as if it had never stopped, a recipe that learns."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from kronos.cli import main
from kronos.generation import engine
from kronos.loading import load
from kronos.nn import Kronos, KronosTokenizer, save_checkpoint
from kronos.training import trainer
from kronos.training.bar_store import Store
from kronos.training.corpus import CATALOGUE, COUNTS, build, find_sources
from kronos.training.distributed import world
from kronos.training.losses import TokenizerObjective, candle_error, encoder_of, tokens_of
from kronos.training.mixed_precision import ProductTimes, choose_precision, measure_products
from kronos.training.pretrain import begin_from, recipe_of, reconstruction_figures
from kronos.training.schedule import learning_rate
from kronos.training.trackers import open_trackers, read_log
from kronos.training.trainer import LoopSettings, TrainingTask, train
from kronos.training.tuning import Tuning, merged, trained_share
from kronos.training.windows import Order, Sampler, Windows, WindowSettings, normalise_on_prefix
from tests import training_run
from tests.processes import started


def series(bars: int, seed: int, volume: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, bars).cumsum())
    table = pd.DataFrame(
        {"symbol": f"S{seed}", "timestamp": pd.date_range("2024-01-01", periods=bars, freq="h"), "open": close}
    )
    table["high"], table["low"], table["close"] = close * 1.01, close * 0.99, close
    if volume:
        table["volume"] = rng.integers(1, 1000, bars).astype(float)
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("corpus")
    pd.concat([series(900, 1), series(300, 2)]).to_parquet(target / "stocks_1h.parquet")
    series(600, 3, volume=False).to_parquet(target / "fx_1h.parquet")
    return target


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    """A store, as the command line builds it."""
    out = tmp_path_factory.mktemp("store") / "store"
    done = CliRunner().invoke(main, ["store", "build", str(folder), "--out", str(out), "--workers", "1"])
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def corpus(built):
    return Store.open(built)


def test_a_store_holds_every_clean_bar_and_knows_its_groups(corpus, built):
    assert corpus.names == ["fx_1h 1h", "stocks_1h 1h"]
    assert [s.stop - s.start for s in corpus.segments] == [600, 900, 300]
    assert corpus.bars.shape == (1800, 6)
    assert (corpus.bars[:600, 4:] == 0).all()
    np.testing.assert_allclose(corpus.bars[600:, 5], corpus.bars[600:, 4] * corpus.bars[600:, :4].mean(1), rtol=1e-5)
    catalogue = pd.read_parquet(built / CATALOGUE)
    assert catalogue["symbol"].tolist() == ["S3", "S1", "S2"]
    assert (built / "report.png").read_bytes().startswith(b"\x89PNG")
    shown = CliRunner().invoke(main, ["store", "show", str(built)])
    assert "stocks_1h" in shown.output and "1200" in shown.output


def test_a_series_is_split_at_bad_prices_and_jumps_and_every_bar_is_counted_once(tmp_path):
    table = series(1500, 0)
    table.loc[300, "close"] = np.nan
    table.loc[700:, ["open", "high", "low", "close"]] *= 2
    table.loc[1100:1109, "close"] = 150.0
    table.loc[1100:1109, "open"] = 150.0
    table.loc[1100:1109, ["high", "low"]] = [151.0, 149.0]
    (tmp_path / "in").mkdir()
    table.to_csv(tmp_path / "in" / "x.csv", index=False)
    report = build(find_sources([tmp_path / "in"]), tmp_path / "out", workers=1).iloc[0]
    assert report["bars"] == 1500 == report[list(COUNTS[1:])].sum()
    assert report["bad prices"] == 1 and report["same close for too long"] == 10
    store = Store.open(tmp_path / "out")
    lengths = [s.stop - s.start for s in store.segments]
    assert lengths[:2] == [300, 399] and sum(lengths) == report["kept"]
    np.testing.assert_allclose(store.bars[:300, 3], table["close"].to_numpy()[:300], rtol=1e-6)


def test_a_store_is_built_again_from_what_is_new_and_is_the_same(folder, built, tmp_path, monkeypatch):
    out = tmp_path / "store"
    sources = find_sources([folder])
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    broken = find_sources([tmp_path / "broken.csv"])
    with pytest.raises(ValueError, match=r"broken.csv"):
        build([*sources, *broken], out, workers=1)
    assert len(list((out / "shards").iterdir())) >= 1 and not (out / "index.json").exists()
    build(sources, out, workers=2)
    assert (Store.open(out).bars == Store.open(built).bars).all()
    assert sorted(f.name for f in (out / "shards").iterdir()) == sorted(s.key for s in sources)


def test_what_an_index_says_of_files_is_in_the_catalogue(folder, tmp_path):
    for file in folder.glob("*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "index.csv").write_text("file,market,freq,licence,source\na/fx_1h.parquet,FX,1h,MIT,somewhere\n")
    fx, stocks = find_sources([tmp_path])
    assert (fx.market, fx.frequency, fx.licence, fx.origin) == ("FX", "1h", "MIT", "somewhere")
    assert (stocks.market, stocks.frequency) == ("stocks_1h", None)
    with pytest.raises(ValueError, match="no such file or folder"):
        find_sources([tmp_path / "none"])


def test_a_step_alone_determines_its_batch(corpus):
    settings = WindowSettings(length=64, batch=8)
    one, other = Sampler(corpus, settings, seed=3), Sampler(corpus, settings, seed=3)
    other.batch(0)
    assert one.batch(5).bars.equal(other.batch(5).bars)
    assert not one.batch(5).bars.equal(one.batch(6).bars)
    assert not one.batch(5).bars.equal(Sampler(corpus, settings, seed=4).batch(5).bars)


def test_validation_bars_are_never_trained_on(corpus):
    train_part, held_out = corpus.split(share=0.1, least=100)
    trained = {i for s in train_part.segments for i in range(s.start, s.stop)}
    held = {i for s in held_out.segments for i in range(s.start, s.stop)}
    assert held
    assert not trained & held


def test_the_scale_comes_from_the_lookback_alone():
    bars = np.random.default_rng(0).normal(10, 2, (2, 100, 6))
    lookback = np.array([40, 100])
    z = normalise_on_prefix(bars, lookback)
    np.testing.assert_allclose(z[0, :40].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z[0, :40].std(0), 1, atol=1e-4)
    changed = bars.copy()
    changed[0, 40:] += 100
    assert (normalise_on_prefix(changed, lookback)[0, :40] == z[0, :40]).all()
    assert normalise_on_prefix(changed, lookback).max() == 5.0


def test_volume_is_hidden_in_about_the_share_asked_for(corpus):
    sampler = Sampler(corpus, WindowSettings(length=64, batch=64, hide_volume=0.3, balance=1.0), seed=0)
    hidden = [
        batch.bars[i, :, 4].abs().sum() == 0
        for batch in map(sampler.batch, range(20))
        for i in range(64)
        if batch.group[i] == 1
    ]
    assert len(hidden) > 300
    assert 0.2 < np.mean(hidden) < 0.4


def test_amount_alone_is_hidden_in_its_own_share(corpus):
    settings = WindowSettings(length=64, batch=64, hide_volume=0.2, hide_amount=0.3, balance=1.0)
    batches = [Sampler(corpus, settings, seed=0).batch(i) for i in range(20)]
    absent = torch.cat([(b.bars[..., 4:].abs().sum(1) == 0)[torch.from_numpy(b.group == 1)] for b in batches])
    volume, amount = absent.float().mean(0)
    assert 0.12 < volume < 0.28
    assert 0.4 < amount < 0.6
    assert not (absent[:, 0] & ~absent[:, 1]).any()


def test_candle_error_of_a_shifted_level_is_zero_and_of_a_gap_is_in_mean_ranges():
    bars = torch.tensor([[[0.0, 2.0, -2.0, 1.0, 0, 0], [1.0, 3.0, -1.0, 2.0, 0, 0]]])  # each of range 4
    assert candle_error(bars + 0.7, bars) == 0
    wide = bars.clone()
    wide[0, 1, 0] += 0.8  # the gap is off by .8, the body by -.8, the middle by .4
    want = (0.8**2 + 0.8**2 + 0.4**2 + 0.4**2) / 4 / 4**2
    assert candle_error(wide, bars) == pytest.approx(want)


def test_tokenizer_loss_adds_the_candle_error_to_the_published_loss():
    torch.manual_seed(0)
    tokenizer, bars = training_run.small_pair()[0], torch.randn(2, 32, 6)
    plain, _ = TokenizerObjective(tokenizer)(bars)
    weighted, figures = TokenizerObjective(tokenizer, 0.5)(bars)
    assert plain.item() == pytest.approx(tokenizer.compute_loss(bars)[0].item())
    assert weighted.item() == pytest.approx(plain.item() + 0.5 * figures["candle"].item())


def test_reconstruction_figures_tell_position_stretch_and_column():
    bars = torch.zeros(1, 128, 6)
    bars[0, 100:, 3] = 2.0
    squared = torch.zeros(1, 128, 6)
    squared[0, 50:64] = 1.0
    squared[0, 110, 3] = 6.0
    found = reconstruction_figures(squared, bars)
    assert found["mse to bar 64"] == pytest.approx(14 / 20)
    assert found["mse to bar 128"] == pytest.approx(6 / 120)
    assert found["mse |z| 1.5 to 3"] == pytest.approx(6 / (28 * 6))
    assert found["mse open"] == pytest.approx(14 / 128)
    assert "mse |z| 3 to inf" not in found


def test_a_deeper_network_begins_with_the_numbers_of_the_trained_one():
    small = training_run.small_pair()[1]
    deep = Kronos(**small.config.to_dict() | {"n_layers": 3})
    begin_from(deep, small)
    s1, s2, stamp = torch.randint(32, (2, 20)), torch.randint(32, (2, 20)), torch.zeros(2, 20, 5, dtype=torch.long)
    for ours, theirs in zip(deep.eval().decode_s1(s1, s2, stamp), small.eval().decode_s1(s1, s2, stamp), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(ValueError, match="at most as many blocks"):
        begin_from(small, deep)


@pytest.mark.parametrize("made_in", [torch.inference_mode, torch.enable_grad])
def test_the_encoder_of_every_processor_gives_the_tokenizers_tokens_to_train_on(products, made_in):
    tokenizer, bars = training_run.small_pair()[0], torch.randn(2, 32, 6)
    with made_in():
        engine.encode(tokenizer, bars)
    encode = encoder_of(tokenizer, compiled=False)
    for ours, theirs in zip(encode(bars), tokens_of(tokenizer, bars), strict=True):
        assert ours.equal(theirs)
        torch.nn.functional.embedding(ours, torch.ones(32, 1, requires_grad=True)).sum().backward()


def test_balance_zero_draws_every_group_equally_often(corpus):
    sampler = Sampler(corpus, WindowSettings(length=64, batch=64, balance=0.0), seed=0)
    share = np.mean(np.concatenate([sampler.batch(i).group for i in range(30)]))
    assert 0.45 < share < 0.55


def losses(folder):
    return {row["step"]: row["loss"] for row in read_log(folder) if row["kind"] == "train"}


def held_out(folder):
    return {row["step"]: row["loss"] for row in read_log(folder) if row["kind"] == "validation"}


def start(folder, *options, processes=1, expect=0):
    """A run as users start it: alone with python, several with torchrun."""
    script = str(Path(__file__).parents[1] / "training_run.py")
    done = training_run.launch([script, str(folder), *map(str, options)], processes)
    assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The curve of an uninterrupted run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with world("cpu") as process:
        assert training_run.run(folder, process)
    return folder


def test_a_run_learns_and_keeps_its_best_network_and_its_log(alone):
    assert list(losses(alone)) == list(range(1, 13))
    assert list(held_out(alone)) == [5, 10, 12]
    assert held_out(alone)[12] < held_out(alone)[5]
    best = Kronos.from_pretrained(alone / "checkpoints" / "best_model")
    last = load_file(alone / "state" / "weights-12.safetensors")
    assert best.head.proj_s1.weight.equal(last["head.proj_s1.weight"])
    table = pd.read_csv(alone / "log.csv")
    assert table.loc[table["kind"] == "train", "loss"].tolist() == pytest.approx(list(losses(alone).values()))


def test_parts_of_a_batch_add_up_to_the_large_batch(alone, tmp_path):
    with world("cpu") as process:
        training_run.run(tmp_path, process, windows=4, accumulation=2)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
    assert held_out(tmp_path) == pytest.approx(held_out(alone), abs=1e-5)


def test_two_processes_and_one_with_the_same_batch_give_the_same_curve(alone, tmp_path):
    start(tmp_path, "--windows", 4, processes=2)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
    assert held_out(tmp_path) == pytest.approx(held_out(alone), abs=1e-5)


def test_sharded_over_two_processes_the_curve_is_the_same_and_the_best_network_whole(alone, tmp_path):
    start(tmp_path, "--windows", 4, "--sharded", processes=2)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
    sharded, whole = (Kronos.from_pretrained(f / "checkpoints" / "best_model") for f in (tmp_path, alone))
    for a, b in zip(sharded.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_with_identical_losses(tmp_path, processes):
    share = ("--windows", 8 // processes, "--dropout", 0.2)
    start(tmp_path / "whole", *share, processes=processes)
    start(tmp_path / "killed", *share, "--die-at", 6, processes=processes, expect=1)
    assert json.loads((tmp_path / "killed" / "state" / "state.json").read_text())["step"] == 4
    said = start(tmp_path / "killed", *share, processes=processes)
    assert "resumed at step 4 of 12" in said
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert held_out(tmp_path / "killed") == held_out(tmp_path / "whole")


def test_ctrl_c_saves_and_the_same_command_goes_on_as_if_nothing_had_been(alone, tmp_path):
    script = str(Path(__file__).parents[1] / "training_run.py")
    command = [sys.executable, script, tmp_path, "--steps", "100000"]
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "step 3/" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert "stopped and saved at step" in rest
    step = json.loads((tmp_path / "state" / "state.json").read_text())["step"]
    assert 3 <= step < 100_000
    assert {k: v for k, v in losses(tmp_path).items() if k <= 3} != {}


def test_other_settings_are_refused_by_name_before_anything_is_trained(tmp_path):
    with world("cpu") as process:
        training_run.run(tmp_path, process, steps=5)
        with pytest.raises(ValueError, match=r"learning_rate was 0.01 and is 0.02"):
            training_run.run(tmp_path, process, steps=5, learning_rate=0.02)


def test_training_does_not_begin_among_files_of_others(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "train.log").write_text("the shell's")
    with world("cpu") as process, pytest.raises(ValueError, match=r"holds other files.*: thesis\.tex; give"):
        training_run.run(tmp_path, process, steps=5)
    assert not (tmp_path / "settings.json").exists()


def test_training_settings_that_are_cut_off_are_refused(tmp_path):
    with world("cpu") as process:
        training_run.run(tmp_path, process, steps=5)
        (tmp_path / "settings.json").write_text('{"steps": 5, "lea')
        with pytest.raises(ValueError, match=r"settings\.json cannot be read as JSON"):
            training_run.run(tmp_path, process, steps=5)


def test_saving_deletes_older_states_alone(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "mine-4.safetensors").write_bytes(b"mine")
    with world("cpu") as process:
        training_run.run(tmp_path, process, steps=8)  # saved after 4 and 8 steps
    names = sorted(file.name for file in (tmp_path / "state").glob("*.safetensors"))
    assert names == ["mine-4.safetensors", "optimiser-8.safetensors", "weights-8.safetensors"]


def times(float32: float, bfloat16: float) -> ProductTimes:
    return ProductTimes(float32, bfloat16, (256, 128, 1024), "processor with AVX2, no AVX512_BF16 or AMX")


@pytest.mark.parametrize(
    ("bfloat16", "chosen"), [(0.001, "bfloat16"), (0.0016, "bfloat16"), (0.0017, "float32"), (0.06, "float32")]
)
def test_auto_precision_is_bfloat16_only_where_the_product_gains_a_quarter(bfloat16, chosen):
    found, line = choose_precision("auto", times(0.002, bfloat16))
    assert found == chosen
    assert line.startswith(f"precision: {chosen}, since a product of 256 x 128 x 1024 takes ")


def test_asking_for_slower_bfloat16_keeps_it_and_warns_with_the_figure():
    chosen, line = choose_precision("bfloat16", times(0.002, 0.03))
    assert chosen == "bfloat16"
    assert "15.0 times slower than float32 here" in line
    assert "30 ms in bfloat16, 2 in float32 (processor with AVX2, no AVX512_BF16 or AMX)" in line
    assert choose_precision("bfloat16", times(0.002, 0.0015)) == ("bfloat16", "")


def test_measured_products_keep_threads_and_the_random_state():
    network = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Linear(64, 16))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = measure_products(network, torch.device("cpu"))
    assert 0 < found.float32 < 1 and 0 < found.bfloat16 < 1
    assert found.size == (256, 64, 16)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_a_resumed_run_of_auto_precision_keeps_the_type_it_began_with(tmp_path, monkeypatch, capsys, first):
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(InterruptedError))
    with world("cpu") as process:
        training_run.run(tmp_path / "whole", process, precision=first)
        for measured, die_at in ((first, 6), ("float32" if first == "bfloat16" else "bfloat16", None)):
            monkeypatch.setattr(
                trainer,
                "measure_products",
                lambda *_, found=measured: times(0.01 if found == "bfloat16" else 0.001, 0.005),
            )
            with pytest.raises(InterruptedError) if die_at else nullcontext():
                training_run.run(tmp_path / "parts", process, precision="auto", die_at=die_at)
    said = capsys.readouterr().out
    assert f"precision: {first}, since" in said and f"precision: {first}, as this run began" in said
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_without_progress_for_the_patience_a_run_ends_early(tmp_path):
    with world("cpu") as process:
        assert training_run.run(tmp_path, process, steps=60, learning_rate=1e-9, patience=2, validate_every=1)
    assert max(losses(tmp_path)) < 60


def test_an_average_of_the_weights_is_what_is_validated_and_kept(tmp_path, alone):
    with world("cpu") as process:
        training_run.run(tmp_path / "a", process, ema=0.5)
        training_run.run(tmp_path / "b", process, steps=12, ema=0.5, save_every=5)
    assert losses(tmp_path / "a") == losses(alone)
    kept = Kronos.from_pretrained(tmp_path / "a" / "checkpoints" / "best_model")
    averaged = load_file(tmp_path / "a" / "state" / "averaged-12.safetensors")
    own = load_file(tmp_path / "a" / "state" / "weights-12.safetensors")
    assert kept.head.proj_s1.weight.equal(averaged["module.head.proj_s1.weight"])
    assert not kept.head.proj_s1.weight.equal(own["head.proj_s1.weight"])


def test_a_state_that_cannot_be_written_ends_in_words_and_leaves_the_last_one_whole(tmp_path, monkeypatch):
    with world("cpu") as process:
        training_run.run(tmp_path, process, steps=4)
        written = {f.name: f.read_bytes() for f in (tmp_path / "state").iterdir()}

        def full(path, content):
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr("kronos.training.run_state.write_file", full)
        (tmp_path / "settings.json").unlink()
        with pytest.raises(
            OSError, match=r"cannot save step 8 .*No space left on device; the state of step 4 is whole"
        ):
            training_run.run(tmp_path, process, steps=12)
    assert {f.name: f.read_bytes() for f in (tmp_path / "state").iterdir()} == written


def test_a_gradient_that_is_not_finite_ends_the_run_in_words(tmp_path):
    network = torch.nn.Linear(1, 1)

    class Objective(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x).sum(), {}

    infinite = (torch.full((1, 1), torch.inf),)
    task = TrainingTask(network, Objective(), lambda *_: infinite, [infinite], lambda *_: None)
    with world("cpu") as process, pytest.raises(FloatingPointError, match="not finite at step 0"):
        train(task, LoopSettings(steps=3), tmp_path, process, echo=lambda _: None)


def test_nothing_to_validate_on_is_refused(tmp_path):
    network = torch.nn.Linear(1, 1)
    task = TrainingTask(network, network, lambda *_: (), [], lambda *_: None)
    with world("cpu") as process, pytest.raises(ValueError, match="validation part is empty"):
        train(task, LoopSettings(steps=3), tmp_path, process)


def test_one_cycle_is_that_of_torch_and_a_cosine_ends_where_it_should():
    steps = 1000
    optimiser = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-4, total_steps=steps, pct_start=0.03, div_factor=10)
    for step in range(steps):
        ours = learning_rate("onecycle", step, steps, 3e-4, 0, 0)
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-3)
        optimiser.step()
        theirs.step()
    assert learning_rate("cosine", 0, 100, 1.0, 10, 0.1) == pytest.approx(0.19)
    assert learning_rate("cosine", 10, 100, 1.0, 10, 0.1) == 1.0
    assert learning_rate("cosine", 99, 100, 1.0, 10, 0.1) == pytest.approx(0.1, abs=1e-3)


def test_a_store_saved_and_mapped_is_the_same_and_a_folder_of_something_else_is_refused(tmp_path):
    store = Store.of((f"S{i}", training_run.walk(50, i)) for i in range(3))
    mapped = Store.open(store.save(tmp_path / "store"))
    assert isinstance(mapped.bars, np.memmap)
    assert (mapped.bars == store.bars).all() and (mapped.times == store.times).all()
    assert mapped.segments == store.segments and mapped.names == ["S0", "S1", "S2"]
    with pytest.raises(ValueError, match="is no store of bars"):
        Store.open(tmp_path)


def test_an_order_has_every_window_once_before_any_comes_again_and_parts_are_distinct():
    windows = Windows(Store.of((f"S{i}", training_run.walk(40, i)) for i in range(3)), 20, 5)
    assert len(windows) == 3 * 16
    order = Order(windows, seed=0)
    assert sorted(order.numbers(0, 48)) == list(range(48)) == sorted(order.numbers(48, 48))
    assert not np.array_equal(order.numbers(0, 48), order.numbers(48, 48))
    assert np.array_equal(
        np.concatenate([order.numbers(0, 30), order.numbers(30, 40)]), Order(windows, 0).numbers(0, 70)
    )


def test_balanced_every_symbol_comes_equally_often_however_long_it_is():
    windows = Windows(Store.of([("long", training_run.walk(400, 0)), ("short", training_run.walk(30, 1))]), 20, 5)
    order = Order(windows, seed=0, balanced=True)
    drawn = windows.group[order.numbers(0, 400)]
    assert 0.4 < (drawn == 1).mean() < 0.6
    assert np.array_equal(order.numbers(10, 5), order.numbers(0, 400)[10:15])


def test_windows_never_cross_from_one_series_to_the_next():
    store = Store.of(
        [("a", training_run.walk(30, 0)), ("b", training_run.walk(26, 1)), ("c", training_run.walk(10, 2))]
    )
    windows = Windows(store, 20, 5)
    bars, _ = windows.take(np.arange(len(windows)))
    assert len(windows) == 6 + 2 and bars.shape == (8, 25, 6)
    want = normalise_on_prefix(store.bars[None, 31:56].astype(float), np.array([20]))
    np.testing.assert_array_equal(bars[-1].numpy(), want[0])
    with pytest.raises(ValueError, match=r"no series has 75 bars"):
        Order(Windows(store, 70, 5), 0)


def test_the_coarse_token_in_training_is_drawn_by_the_windows_own_numbers():
    _, model = training_run.small_pair()
    tokens = torch.randint(32, (2, 3, 8), generator=torch.Generator().manual_seed(0))
    uniform = torch.rand(3, 8, generator=torch.Generator().manual_seed(1))
    logits, fine = model(*tokens, s1_uniforms=uniform)
    edges = logits.softmax(-1).cumsum(-1)
    drawn = (edges <= uniform[..., None] * edges[..., -1:]).sum(-1)
    torch.testing.assert_close(fine, model(*tokens, use_teacher_forcing=True, s1_targets=drawn)[1])
    alone = model(tokens[0, 1:2], tokens[1, 1:2], s1_uniforms=uniform[1:2])[1]
    torch.testing.assert_close(fine[1:2], alone)


def test_lora_trains_little_and_what_is_kept_is_an_ordinary_network_with_it_merged(tmp_path):
    pytest.importorskip("peft")
    _, model = training_run.small_pair()
    plain = [p.detach().clone() for p in model.parameters()]
    tuning = Tuning("lora", rank=2)
    torch.manual_seed(0)
    tuning.prepare(model)
    trained, everything = trained_share(model)
    assert 0 < trained < everything / 4
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(32, (2, 3, 8), generator=torch.Generator().manual_seed(0))
    whole = merged(model)
    assert [p.shape for p in whole.parameters()] == [p.shape for p in plain]
    with torch.no_grad():
        torch.testing.assert_close(
            whole.decode_s1(*tokens)[0], model.eval().decode_s1(*tokens)[0], atol=1e-5, rtol=1e-4
        )
    assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), plain, strict=True))
    save_checkpoint(whole, tmp_path)
    assert Kronos.from_pretrained(tmp_path).config == whole.config


def test_only_the_last_blocks_are_trained_where_that_is_asked_for():
    tokenizer, model = training_run.small_pair()
    Tuning("last", blocks=1).prepare(model)
    frozen = [p.requires_grad for p in model.transformer[0].parameters()]
    assert not any(frozen) and all(p.requires_grad for p in model.transformer[1].parameters())
    assert not model.embedding.emb_s1.weight.requires_grad and model.head.proj_s1.weight.requires_grad
    with pytest.raises(ValueError, match="blocks must be at most 2, found 3"):
        Tuning("last", blocks=3).prepare(model)
    with pytest.raises(ValueError, match="a tokenizer is trained whole"):
        Tuning("last").prepare(tokenizer)


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused_in_words(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown tracker 'x': use tensorboard, comet, wandb"):
        open_trackers(["x"], tmp_path)
    monkeypatch.setitem(sys.modules, "comet_ml", None)
    with pytest.raises(ValueError, match="pip install comet-ml"):
        open_trackers(["comet"], tmp_path)


def pretrain(stage, store, out, *sets, processes=1, expect=0):
    """The command, alone or under torchrun."""
    small = [
        "network.d_model=32", "network.ff_dim=64", "lengths=[64, 48]", "bars_a_step=1024", "steps=60", "validate_every=20",
        "save_every=10", "held_out=1", "warmup=5", "report_every=1",
        "precision=float32",
    ]  # fmt: skip
    command = ["-m", "kronos", "pretrain", stage, "--store", str(store), "--out", str(out)]
    command += [part for pair in (*small, *sets) for part in ("--set", pair)]
    done = training_run.launch(command, processes)
    assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_recipe_of_nano_trains_a_pair_that_learns_and_exports_it(built, tmp_path):
    """The preset, narrower, on little data and few steps: losses fall, and the exported pair forecasts."""
    early = pretrain("model", built, tmp_path, expect=1)
    assert "run kronos pretrain tokenizer first" in early
    for stage in ("tokenizer", "model"):
        pretrain(stage, built, tmp_path)
        held = [row for row in read_log(tmp_path / stage) if row["kind"] == "validation"]
        figure = "mse" if stage == "tokenizer" else "loss"
        assert len(held) == 3
        assert held[-1][figure] < 0.95 * held[0][figure], stage
        assert f"{figure} stocks_1h 1h" in held[-1]
        assert (tmp_path / stage / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert 0 < [r for r in read_log(tmp_path / "tokenizer") if r["kind"] == "validation"][-1]["used_s1"] <= 1
    done = CliRunner().invoke(main, ["pretrain", "export", "--out", str(tmp_path), str(tmp_path / "pair")])
    assert done.exit_code == 0, done.output
    model = Kronos.from_pretrained(tmp_path / "pair" / "model")
    assert model.dependency_rotary
    bars = series(64, 9)
    future = pd.date_range(bars["timestamp"].iloc[-1], periods=4, freq="h")[1:]
    predictor = load(tmp_path / "pair")
    assert predictor.max_context == 64
    assert np.isfinite(predictor.predict(bars, bars["timestamp"], future, 3, verbose=False).to_numpy()).all()


@pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need two GPUs, or none")
def test_two_processes_pretrain_as_one_does(built, tmp_path):
    """A model; a tokenizer's codebook entropy is that of each process's own batch, so its curves are near but not the same."""
    pretrain("tokenizer", built, tmp_path / "1", "steps=6", processes=2)
    shutil.copytree(tmp_path / "1" / "tokenizer", tmp_path / "2" / "tokenizer")
    sets = ("steps=6", "lengths=[64, 32]", "coarse=sampled")
    for processes in (1, 2):
        pretrain("model", built, tmp_path / str(processes), *sets, processes=processes)
    one, two = (losses(tmp_path / name / "model") for name in ("1", "2"))
    assert one == pytest.approx(two, abs=1e-4)


def test_a_recipe_is_checked_by_name(built):
    assert recipe_of("base", "model").network["d_model"] == 832
    assert (recipe_of("small", "model").learning_rate, recipe_of("small", "model").warmup) == (1e-3, 15000)
    with pytest.raises(ValueError, match="no preset 'huge': there are base, mini, nano, small"):
        recipe_of("huge", "model")
    with pytest.raises(ValueError, match="a recipe has no 'stepz'"):
        recipe_of("nano", "model", {"stepz": 3})
    command = ["pretrain", "tokenizer", "--store", str(built), "--out", "x", "--set", "lengths=[4000]"]
    refused = CliRunner().invoke(main, [*command, "--set", "bars_a_step=4000"])
    assert refused.exit_code == 2 and "no segment of the store has 4000 bars" in refused.stderr


def test_published_sizes_are_those_of_the_presets():
    for name, parameters in (("mini", 4_108_032), ("small", 24_741_376), ("base", 102_310_592)):
        with torch.device("meta"):
            model = Kronos(**recipe_of(name, "model").network)
            tokenizer = KronosTokenizer(**recipe_of(name, "tokenizer").network)
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert sum(p.numel() for p in tokenizer.parameters()) == 3_958_042


def test_layers_near_the_input_get_lower_rates():
    from kronos.training.trainer import RATE, LoopSettings, adamw
    from kronos.training.tuning import layer_rates

    tokenizer, model = training_run.small_pair()
    rates = layer_rates(model, 0.5)
    first = {name: rates[name] for name in ("embedding.emb_s1.weight", "transformer.0.ffn.w1.weight")}
    assert first == {"embedding.emb_s1.weight": 0.125, "transformer.0.ffn.w1.weight": 0.25}
    assert rates["transformer.1.ffn.w1.weight"] == 0.5 and rates["head.proj_s1.weight"] == rates["norm.weight"] == 1.0
    groups = adamw(model, LoopSettings(steps=1, layer_decay=0.5)).param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in model.parameters())
    assert {group[RATE] for group in groups} == {0.125, 0.25, 0.5, 1.0}
    assert {group[RATE] for group in adamw(tokenizer, LoopSettings(steps=1, layer_decay=0.5)).param_groups} == {1.0}
