"""Exported graphs give PyTorch's tokens, at any batch and length, and run without PyTorch."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import kronos
from kronos.cli import main
from kronos.export.onnx import check_onnx, export_onnx
from kronos.export.onnx_runtime import OnnxKronos, time_features, units
from kronos.klines import Normalizer, to_matrix
from kronos.klines import time_features as frame_features
from kronos.nn import Kronos
from tests.processes import run_process

NEEDED = ("onnx", "onnxscript", "onnxruntime")
if any(importlib.util.find_spec(name) is None for name in NEEDED):
    pytest.skip(f"needs {', '.join(NEEDED)}: pip install 'kronos-forecast[onnx]'", allow_module_level=True)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def predictor():
    return kronos.load("nano", device="cpu")


@pytest.fixture(scope="module")
def folder(predictor, tmp_path_factory):
    target = tmp_path_factory.mktemp("onnx") / "nano"
    export_onnx(predictor, target, "nano")
    return target


def test_64_greedy_steps_give_equal_ids_for_several_batches_and_growing_caches(predictor, folder):
    results = list(check_onnx(predictor, folder, steps=64, batches=(1, 4), lookbacks=(2, 63, 200)))
    assert [(one.batch, one.lookback) for one in results] == [(b, n) for b in (1, 4) for n in (2, 63, 200)]
    assert all(one.ids_equal for one in results)
    assert max(one.bars_apart for one in results) < 1e-4


def test_logits_along_a_drawn_path_are_pytorchs(predictor, folder):
    exported, model = OnnxKronos(folder), predictor.model
    rng = np.random.default_rng(1)
    s1, s2 = rng.integers(0, 1024, (2, 2, 20))
    stamp = rng.integers([0, 0, 0, 1, 1], [60, 24, 7, 29, 13], (2, 20, 5))
    coarse, context, *caches = exported._run("prefill", s1[:, :12], s2[:, :12], np.ascontiguousarray(stamp[:, :12]))
    for at in range(12, 20):
        with torch.inference_mode():
            part = [torch.from_numpy(ids[:, :at]) for ids in (s1, s2, stamp)]
            expected, hidden = model.decode_s1(*part)
            fine = model.decode_s2(hidden, torch.from_numpy(s1[:, at : at + 1]))[:, -1]
        np.testing.assert_allclose(coarse, expected[:, -1], atol=2e-4)
        np.testing.assert_allclose(exported._run("fine", s1[:, at], context, *caches[2:])[0], fine, atol=2e-4)
        assert caches[0].shape[3] == caches[2].shape[2] == at
        coarse, context, *caches = exported._run(
            "step", s1[:, at], s2[:, at], np.ascontiguousarray(stamp[:, at]), *caches
        )


def test_an_export_draws_by_the_models_own_sampling(predictor, folder):
    exported, own = OnnxKronos(folder), predictor.sampling
    assert (exported.settings["temperature"], exported.settings["top_p"]) == (own.temperature, own.top_p)
    rng = np.random.default_rng(1)
    bars = np.abs(rng.normal(100, 1, (30, 6)))
    times = pd.date_range("2024-01-01", periods=34, freq="h").to_numpy()
    draw = lambda **given: exported.forecast(bars, times[:30], times[30:], 4, **given)
    np.testing.assert_array_equal(draw(), draw(temperature=own.temperature, top_p=own.top_p))
    assert not np.array_equal(draw(), draw(top_p=0.2))


def test_drawn_paths_have_the_distribution_of_the_predictors(predictor, folder):
    rng = np.random.default_rng(3)
    times = pd.date_range("2024-01-01", periods=130, freq="h")
    close = 100 * np.exp(rng.normal(0, 0.004, 120).cumsum())
    opened = np.concatenate([[100], close[:-1]])
    bars = np.stack(
        [opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(120, 5.0), 5 * close], 1
    )
    found = OnnxKronos(folder).forecast(bars, times[:120].to_numpy(), times[120:].to_numpy(), 200, top_p=1.0)
    frame = pd.DataFrame(bars, columns=["open", "high", "low", "close", "volume", "amount"])
    expected = predictor.predict_samples(
        frame, times[:120], times[120:], 10, top_p=1.0, sample_count=200, seed=0, verbose=False, anchor=None
    )[0]
    spread = expected[:, -1, 3].std()
    assert abs(found[:, -1, 3].mean() - expected[:, -1, 3].mean()) < 0.35 * spread
    assert 0.75 < found[:, -1, 3].std() / spread < 1.33


@pytest.mark.parametrize("power", [-9, -4, 0, 12])
def test_units_are_those_of_the_predictor(power):
    rng = np.random.default_rng(power + 10)
    close = 100 * 10.0**power * np.exp(rng.normal(0, 0.004, 120).cumsum())
    table = pd.DataFrame(dict.fromkeys(["open", "high", "low", "close"], close)).assign(volume=rng.random(120) * 1e-5)
    for frame in (table, table.assign(volume=0.0), table.assign(volume=3e7), table.iloc[:1]):
        matrix = to_matrix(frame)
        unit = Normalizer.of(matrix).unit
        assert unit is not None
        np.testing.assert_allclose(units(matrix), unit, rtol=1e-6)


def test_no_drawn_price_is_at_or_below_zero_after_a_collapse(folder):
    times = pd.date_range("2024-01-01", periods=70, freq="h")
    close = np.concatenate([np.full(40, 100.0), np.geomspace(80, 0.01, 20)])
    bars = np.stack([close, close * 1.01, close * 0.99, close, np.full(60, 5.0), 5 * close], 1)
    found = OnnxKronos(folder).forecast(bars, times[:60].to_numpy(), times[60:].to_numpy(), 100, top_p=1.0)
    assert found[..., :4].min() > 0


def test_time_features_are_those_of_the_reader():
    times = pd.date_range("2023-12-30 21:17", periods=500, freq="7h31min")
    np.testing.assert_array_equal(time_features(times.to_numpy()), frame_features(times))


def test_beyond_the_context_is_refused(folder):
    exported = OnnxKronos(folder)
    ids = np.zeros((1, 500), dtype=np.int64)
    with pytest.raises(ValueError, match="exceed the context of 512"):
        exported.generate(ids, ids, np.ones((1, 520, 5), dtype=np.int64), 20)
    with pytest.raises(ValueError, match="holds no exported Kronos"):
        OnnxKronos(folder.parent)


def test_the_example_runs_where_torch_cannot_be_imported(folder):
    blocked = "import sys; sys.modules['torch'] = None; sys.modules['pandas'] = None; import runpy; "
    code = f"{blocked}sys.argv = ['x', {str(folder)!r}]; runpy.run_path({str(ROOT / 'examples/onnx_example.py')!r})"
    done = run_process([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "10 % to 90 %" in done.stdout


def test_the_command_exports_and_checks_a_pair_without_rotary_positions_in_its_dependency_layer(golden, tmp_path):
    assert not Kronos.from_pretrained(golden / "tiny" / "model").dependency_rotary
    done = CliRunner().invoke(main, ["export-onnx", str(golden / "tiny"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.output.count("ids equal") == 4
    refused = CliRunner().invoke(main, ["export-onnx", str(golden / "tiny"), "--out", str(tmp_path / "no/where/out")])
    assert refused.exit_code == 2 and "there is no folder" in refused.output
