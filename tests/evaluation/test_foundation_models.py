"""Peers run through their own libraries, with tiny checkpoints of random weights made here."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kronos.evaluation import cross_validation
from kronos.evaluation.forecasters.models import forecaster_of
from kronos.evaluation.tasks import TASKS

T5: dict[str, Any] = {
    "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
    "initializer_factor": 0.05, "feed_forward_proj": "relu", "vocab_size": 2, "pad_token_id": 0, "decoder_start_token_id": 0,
}  # fmt: skip


@pytest.fixture
def data():
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 140).cumsum())
    bars = dict.fromkeys(("open", "high", "low", "close"), close)
    return {"a": pd.DataFrame({"timestamps": pd.date_range("2025-01-01", periods=140, freq="D"), **bars})}


def check(spec, data):
    table = cross_validation(data, [spec], h=12, n_windows=3, lookback=64, baselines=("last",))
    mine = table[table["model"] == spec]
    assert len(mine) == 36
    assert np.isfinite(mine[["mean", "q0.1", "q0.5", "q0.9", "crps"]].to_numpy()).all()
    assert (mine["q0.1"] <= mine["q0.9"]).all()


def test_chronos_bolt_forecasts_through_its_library(tmp_path, data):
    pytest.importorskip("chronos", reason="needs chronos-forecasting (the extra chronos)")
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    settings = {
        "context_length": 64, "prediction_length": 16, "input_patch_size": 8, "input_patch_stride": 8,
        "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "use_reg_token": True,
    }  # fmt: skip
    own: dict[str, Any] = {"chronos_config": settings, "chronos_pipeline_class": "ChronosBoltPipeline"}
    config = T5Config(**T5, **own, is_encoder_decoder=True)
    config.architectures = ["ChronosBoltModelForForecasting"]
    ChronosBoltModelForForecasting(config).save_pretrained(tmp_path / "bolt")
    check(f"chronos:{tmp_path / 'bolt'}", data)


def test_chronos_2_forecasts_through_its_library(tmp_path, data):
    pytest.importorskip("chronos", reason="needs chronos-forecasting (the extra chronos)")
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    settings = {
        "context_length": 64, "output_patch_size": 16, "input_patch_size": 16, "input_patch_stride": 16, "use_reg_token": True,
        "quantiles": [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99], "max_output_patches": 4,
        "time_encoding_scale": 64, "use_arcsinh": True,
    }  # fmt: skip
    config = Chronos2CoreConfig(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        chronos_config=settings,
        chronos_pipeline_class="Chronos2Pipeline",
    )
    config.architectures = ["Chronos2Model"]
    Chronos2Model(config).save_pretrained(tmp_path / "two")
    check(f"chronos:{tmp_path / 'two'}", data)


def test_timesfm_forecasts_through_its_library(tmp_path, data, monkeypatch):
    pytest.importorskip("timesfm", reason="needs timesfm (the extra timesfm)")
    from safetensors.torch import save_file
    from timesfm.timesfm_2p5 import timesfm_2p5_torch

    module = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module
    full = module.config
    width, replace = 32, dataclasses.replace
    inner = replace(full.stacked_transformers.transformer, model_dims=width, hidden_dims=width, num_heads=2)
    tiny = replace(
        full,
        tokenizer=replace(full.tokenizer, hidden_dims=width, output_dims=width),
        stacked_transformers=replace(full.stacked_transformers, num_layers=1, transformer=inner),
        output_projection_point=replace(full.output_projection_point, input_dims=width, hidden_dims=width),
        output_projection_quantiles=replace(full.output_projection_quantiles, input_dims=width, hidden_dims=width),
    )
    monkeypatch.setattr(module, "config", tiny)
    (tmp_path / "fm").mkdir()
    save_file(module().state_dict(), tmp_path / "fm" / "model.safetensors")
    check(f"timesfm:{tmp_path / 'fm'}", data)


def test_a_checkpoint_that_is_not_there_is_refused_with_the_ways_out(tmp_path):
    pytest.importorskip("chronos", reason="needs chronos-forecasting (the extra chronos)")
    with pytest.raises(ValueError, match="give a folder that holds its config"):
        forecaster_of(f"chronos:{tmp_path / 'nothing'}", TASKS["forecast"])


def test_a_peer_without_its_library_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ValueError, match=r"kronos-forecast\[timesfm\]"):
        forecaster_of("timesfm:x", TASKS["forecast"])
