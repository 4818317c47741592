"""The embedded pair is what its card says it is."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import kronos
import kronos.hub
from kronos.klines import read_table, to_matrix
from kronos.loading import pair_settings
from kronos.training.windows import normalise_on_prefix

FOLDER = Path(kronos.hub.__file__).parent / "nano"
CARD = (Path(__file__).parents[2] / "docs" / "nano.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def predictor():
    return kronos.load("nano", device="cpu")


def test_each_file_is_under_4_mb_and_holds_half_precision_parameters():
    for part in ("tokenizer", "model"):
        path = FOLDER / part / "model.safetensors"
        assert path.stat().st_size < 4_000_000
        with safe_open(path, framework="pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (not a dict)
        assert {kind for name, kind in kinds.items() if name.endswith((".weight", ".bias"))} == {"F16"}


def test_it_is_float32_in_use_with_10_and_10_bits_and_a_context_of_512(predictor):
    assert {p.dtype for network in (predictor.model, predictor.tokenizer) for p in network.parameters()} == {
        torch.float32
    }
    assert (predictor.model.s1_bits, predictor.model.s2_bits) == (10, 10)
    assert predictor.max_context == pair_settings("nano").max_context == 512
    assert predictor.model.dependency_rotary


def test_the_card_beside_the_weights_is_the_one_in_the_docs():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == CARD


def test_the_card_states_the_parameters_that_there_are(predictor):
    for network in (predictor.model, predictor.tokenizer):
        assert f"{sum(p.numel() for p in network.parameters()):,}" in CARD


def mse(predictor, matrix):
    windows = matrix[: len(matrix) // 256 * 256].astype(np.float64).reshape(-1, 256, 6)
    x = torch.from_numpy(normalise_on_prefix(windows, np.full(len(windows), 256)))
    with torch.inference_mode():
        s1, s2 = predictor.tokenizer.encode(x, half=True)
        return (predictor.tokenizer.decode((s1, s2), half=True) - x).square().mean().item()


def test_it_reconstructs_the_sample_within_the_bar(predictor):
    bars = pytest.importorskip("arch.data.sp500").load().rename(columns=str.lower)
    assert mse(predictor, to_matrix(bars[["open", "high", "low", "close", "volume"]])) < 0.03


def test_it_reconstructs_bars_that_came_after_its_training_within_the_bar(predictor, shared_data):
    errors = []
    for file in sorted((shared_data / "evaluation").glob("*_1h.parquet")):
        for _, bars in read_table(file).groupby("symbol"):
            whole = bars.drop(columns=["symbol", "timestamps"]).dropna(axis=1)
            errors.append(mse(predictor, to_matrix(whole)))
    assert np.mean(errors) < 0.03


def test_its_paths_start_near_the_last_price_and_spread_with_time(predictor):
    bars = pytest.importorskip("arch.data.sp500").load().rename(columns=str.lower).iloc[-600:-100]
    future = kronos.future_timestamps(bars.index, 20, "XNYS")
    past = bars[["open", "high", "low", "close", "volume"]].iloc[-256:]
    close = predictor.predict_samples(past, past.index, future, 20, top_p=None, sample_count=50, seed=0, verbose=False)[
        0, :, :, 3
    ]
    last = past["close"].iloc[-1]
    step = past["close"].pct_change().std() * last
    assert abs(np.median(close[:, 0]) - last) < 3 * step
    assert close[:, -1].std() > 1.3 * close[:, 0].std()


def test_the_settings_beside_the_weights_are_complete():
    settings = json.loads((FOLDER / "pair.json").read_text())
    assert settings.keys() == {"max_context", "temperature", "top_p", "trained_bars"}
    assert not re.search(r"@[A-Z]+@", CARD)
