"""Training: windows that a step alone determines, a loop that resumes as if it had never stopped, a recipe that learns."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from kronos.nn import Kronos, KronosTokenizer
from kronos.training import nano
from kronos.training.loop import LoopSettings, train
from kronos.training.windows import Corpus, WindowSettings, clean_runs, normalise_on_prefix


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
def corpus(folder):
    return Corpus.read(folder)


def test_a_corpus_holds_every_clean_bar_and_knows_its_groups(corpus):
    assert corpus.names == ["fx_1h", "stocks_1h"]
    assert [s.stop - s.start for s in corpus.segments] == [600, 900, 300]
    assert corpus.bars.shape == (1800, 6)
    assert (corpus.bars[:600, 4:] == 0).all()
    np.testing.assert_allclose(corpus.bars[600:, 5], corpus.bars[600:, 4] * corpus.bars[600:, :4].mean(1), rtol=1e-5)


def test_a_series_is_split_at_bad_prices_and_jumps_and_never_patched():
    table = series(400, 0)
    table.loc[100, "close"] = np.nan
    table.loc[200:, ["open", "high", "low", "close"]] *= 2
    table.loc[300, "low"] = -1.0
    assert clean_runs(table, 50) == [(0, 100), (101, 200), (200, 300), (301, 400)]
    assert clean_runs(table, 100) == [(0, 100), (200, 300)]


def test_a_step_alone_determines_its_batch(corpus):
    settings = WindowSettings(length=64, batch=8)
    one, other = corpus.sampler(settings, seed=3), corpus.sampler(settings, seed=3)
    other.batch(0)
    assert one.batch(5).bars.equal(other.batch(5).bars)
    assert not one.batch(5).bars.equal(one.batch(6).bars)
    assert not one.batch(5).bars.equal(corpus.sampler(settings, seed=4).batch(5).bars)


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
    sampler = corpus.sampler(WindowSettings(length=64, batch=64, hide_volume=0.3, balance=1.0), seed=0)
    hidden = [
        batch.bars[i, :, 4].abs().sum() == 0
        for batch in map(sampler.batch, range(20))
        for i in range(64)
        if batch.group[i] == 1
    ]
    assert len(hidden) > 300
    assert 0.2 < np.mean(hidden) < 0.4


def test_balance_zero_draws_every_group_equally_often(corpus):
    sampler = corpus.sampler(WindowSettings(length=64, batch=64, balance=0.0), seed=0)
    share = np.mean(np.concatenate([sampler.batch(i).group for i in range(30)]))
    assert 0.45 < share < 0.55


def linear_run(folder, steps, stop_at=None):
    """A small real run; returns its weights."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def loss_of(step):
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        loss = (network(x) - x.sum(1, keepdim=True)).square().mean()
        return loss, {"mse": loss.item()}

    said = []
    settings = LoopSettings(steps=steps, learning_rate=0.05, warmup=5, report_every=1, validate_every=10, save_every=7)
    done = train(network, loss_of, lambda: {"x": 1.0}, settings, folder, said.append)
    return done, torch.cat([p.detach().flatten() for p in network.parameters()]), said


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_a_run_stopped_by_ctrl_c_resumes_with_identical_losses_and_weights(tmp_path):
    _, whole, _ = linear_run(tmp_path / "whole", 40)
    done, _, said = linear_run(tmp_path / "parts", 40, stop_at=23)
    assert not done
    assert "stopped and saved at step 24" in said[-1]
    done, resumed, said = linear_run(tmp_path / "parts", 40)
    assert done
    assert "resumed at step 24" in said[0]
    assert resumed.equal(whole)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert losses(tmp_path / "whole")[40] < 0.2 * losses(tmp_path / "whole")[1]


def test_a_killed_run_resumes_from_its_last_save(tmp_path):
    code = f"""
import pathlib, sys; sys.path.insert(0, {str(os.path.dirname(__file__))!r})
from test_training import linear_run
linear_run(pathlib.Path({str(tmp_path / "killed")!r}), 100_000)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    marker = tmp_path / "killed" / "state" / "step"
    for _ in range(600):
        if marker.exists() and int(marker.read_text() or 0) > 20:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    saved = int(marker.read_text())
    assert saved > 20
    _, _, said = linear_run(tmp_path / "killed", saved + 3)
    assert f"resumed at step {saved:,}" in said[0]


def test_a_gradient_that_is_not_finite_ends_the_run_in_words(tmp_path):
    network = torch.nn.Linear(1, 1)
    settings = LoopSettings(steps=3)
    with pytest.raises(FloatingPointError, match="not finite at step 0"):
        train(
            network,
            lambda step: (network(torch.full((1, 1), torch.inf)).sum(), {}),
            dict,
            settings,
            tmp_path,
            lambda _: None,
        )


def test_the_recipe_of_nano_trains_a_pair_that_learns_and_exports_it(folder, tmp_path, monkeypatch):
    """The real recipe, narrower, on little data and few steps: losses fall, and the exported pair forecasts."""
    monkeypatch.setattr(nano, "TOKENIZER", replace(nano.TOKENIZER, d_model=48, ff_dim=96))
    monkeypatch.setattr(nano, "MODEL", replace(nano.MODEL, d_model=48, ff_dim=96, n_layers=2))
    monkeypatch.setattr(nano, "TOKENIZER_WINDOWS", WindowSettings(length=64, batch=16))
    monkeypatch.setattr(
        nano, "MODEL_WINDOWS", (WindowSettings(length=64, batch=16), WindowSettings(length=48, batch=16))
    )
    monkeypatch.setattr(nano, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    monkeypatch.setattr(nano, "LoopSettings", partial(LoopSettings, validate_every=20))
    whole = Corpus.read(folder)
    train_part, held_out = whole.split(share=0.2, least=64)
    nano.train_tokenizer(train_part, held_out, tmp_path / "tokenizer", 60, 2e-3, 0)
    tokenizer = KronosTokenizer.from_pretrained(tmp_path / "tokenizer" / "checkpoint")
    nano.train_model(train_part, held_out, tokenizer, tmp_path / "model", 60, 2e-3, 0)
    for part in ("tokenizer", "model"):
        rows = [json.loads(line) for line in (tmp_path / part / "log.jsonl").read_text().splitlines()]
        held = [row["mse" if part == "tokenizer" else "loss"] for row in rows if row.get("kind") == "validation"]
        assert len(held) == 3
        assert held[-1] < 0.9 * held[0], part
    nano.export(tmp_path, tmp_path / "pair")
    model = Kronos.from_pretrained(tmp_path / "pair" / "model")
    assert model.dependency_rotary
    assert all(
        (tmp_path / "pair" / part / "model.safetensors").stat().st_size < 4_000_000 for part in ("model", "tokenizer")
    )
    from kronos.hub.loading import load

    bars = series(64, 9)
    future = pd.date_range(bars["timestamp"].iloc[-1], periods=4, freq="h")[1:]
    assert np.isfinite(
        load(tmp_path / "pair").predict(bars, bars["timestamp"], future, 3, verbose=False).to_numpy()
    ).all()
