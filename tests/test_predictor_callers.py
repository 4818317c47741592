"""What other people's code does with a predictor: copies in a batch, adapters, hooks, overridden methods, odd times."""

import json
import shutil
import sys
import warnings
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import kronos
from kronos import Forecast, Kronos, KronosPredictor, KronosTokenizer
from kronos.cli import main
from kronos.evaluation.synthetic.sequences import SYNTHETIC
from kronos.generation.module_path import special_part
from kronos.generation.prepared import KlineWarning
from kronos.generation.reference import auto_regressive_inference
from kronos.generation.sampling import Sampling
from kronos.klines.features import time_features, to_matrix
from kronos.klines.normalize import Normalizer
from kronos.schema import FEATURES
from tests.processes import run_process

LOOKBACK, HORIZON, CONTEXT = 20, 6, 32
GREEDY: dict[str, Any] = {"top_k": 1, "verbose": False}
Networks = tuple[Kronos, KronosTokenizer]
Series = tuple[pd.DataFrame, pd.Series, pd.Series]


@pytest.fixture(scope="module")
def bars(golden):
    return pd.read_csv(golden / "tiny" / "bars.csv", parse_dates=["timestamps"])


@pytest.fixture
def networks(golden):
    """Fresh ones, since tests change them."""
    folder = golden / "tiny"
    return Kronos.from_pretrained(folder / "model"), KronosTokenizer.from_pretrained(folder / "tokenizer")


@pytest.fixture
def series(bars):
    past, future = bars.iloc[:LOOKBACK], bars.iloc[LOOKBACK : LOOKBACK + HORIZON]
    return past[list(FEATURES)], past["timestamps"], future["timestamps"]


def predictor_of(networks: Networks) -> KronosPredictor:
    return KronosPredictor(*networks, device="cpu", max_context=CONTEXT)


def reference(networks: Networks, series: Series) -> np.ndarray:
    """The reference loop's greedy forecast in prices, through the modules."""
    df, x, y = series
    model, tokenizer = networks
    matrix = to_matrix(df)
    scale = Normalizer.of(matrix)
    inputs = (scale.normalise(matrix, 5)[None], time_features(x)[None], time_features(y)[None])
    with torch.no_grad():
        found = auto_regressive_inference(tokenizer, model, *inputs, CONTEXT, HORIZON, 5, 1.0, 1, 1.0, 1)
    return scale.restore(found[0, -HORIZON:])


# ------------------------------------------------------------------------------------------ copies in a batch


def test_n_copies_of_one_path_are_the_n_paths_of_predict_samples(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    copies = predictor.predict_batch([df.copy() for _ in range(5)], [x] * 5, [y] * 5, HORIZON, seed=3, verbose=False)
    paths = predictor.predict_samples(df, x, y, HORIZON, 1.0, 0, 0.9, 5, 3, False, anchor=None)[0]
    for copy, path in zip(copies, paths, strict=True):
        found = copy.to_numpy()
        np.testing.assert_array_equal(
            found[:, [0, 3]], path[:, [0, 3]]
        )  # high, low and volume are made valid in samples
    assert len({tuple(copy["close"]) for copy in copies}) == 5


def test_copies_of_two_paths_take_the_path_numbers_in_turn(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    first, second = predictor.predict_batch([df] * 2, [x] * 2, [y] * 2, HORIZON, sample_count=2, seed=3, verbose=False)
    paths = predictor.predict_samples(df, x, y, HORIZON, 1.0, 0, 0.9, 4, 3, False, anchor=None)[0][..., 3]
    np.testing.assert_allclose(first["close"], paths[:2].mean(0), rtol=1e-6)
    np.testing.assert_allclose(second["close"], paths[2:].mean(0), rtol=1e-6)


def test_a_series_gets_the_same_path_alone_and_between_copies_of_another(networks: Networks, series: Series, bars):
    predictor, (df, x, y) = predictor_of(networks), series
    other = bars.iloc[40 : 40 + LOOKBACK]
    alone = predictor.predict(df, x, y, HORIZON, seed=3, verbose=False)
    frames, times = [other[list(FEATURES)], df, other[list(FEATURES)]], [other["timestamps"], x, other["timestamps"]]
    y_other = bars["timestamps"].iloc[60 : 60 + HORIZON]
    found = predictor.predict_batch(frames, times, [y_other, y, y_other], HORIZON, seed=3, verbose=False)
    pd.testing.assert_frame_equal(found[1], alone, rtol=1e-5)


def test_series_that_are_alike_only_when_normalised_are_no_copies(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    flat = df.assign(**dict.fromkeys(FEATURES, 10.0))
    low, high = predictor.predict_batch([flat, flat * 2], [x, x], [y, y], HORIZON, seed=3, verbose=False)
    pd.testing.assert_frame_equal(low, predictor.predict(flat, x, y, HORIZON, seed=3, verbose=False))
    pd.testing.assert_frame_equal(high, predictor.predict(flat * 2, x, y, HORIZON, seed=3, verbose=False))
    assert abs(high["close"] - 20).max() < 0.01


# ------------------------------------------------------------------------------------------ more than weights


class LoRALinear(nn.Module):
    """A low-rank addition as people write it by hand."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)
        nn.init.normal_(self.up.weight, std=0.5)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Doubled(nn.Module):
    def forward(self, weight):
        return weight * 2


class Louder(Kronos):
    """A subclass that changes a method."""

    def decode_s2(self, context, s1_ids, padding_mask=None):
        return -super().decode_s2(context, s1_ids, padding_mask)


def by_hand(model, tokenizer):
    model.transformer[0].ffn.w1 = LoRALinear(model.transformer[0].ffn.w1)
    return model, tokenizer


def by_hook(model, tokenizer):
    model.transformer[0].register_forward_hook(lambda module, inputs, out: out * 1.5)
    return model, tokenizer


def by_pre_hook(model, tokenizer):
    tokenizer.embed.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5,))
    return model, tokenizer


def by_parametrization(model, tokenizer):
    torch.nn.utils.parametrize.register_parametrization(model.head.proj_s1, "weight", Doubled())
    return model, tokenizer


def by_subclass(model, tokenizer):
    louder = Louder(**model.config.to_dict())
    louder.load_state_dict(model.state_dict())
    return louder.eval(), tokenizer


def by_method(model, tokenizer):
    own = model.decode_s1
    model.decode_s1 = lambda *args, **keys: tuple(part * 0.5 for part in own(*args, **keys))
    return model, tokenizer


def by_peft_in_place(model, tokenizer):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["w1", "q_proj"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, model)
    return model, tokenizer


def by_peft_wrapper(model, tokenizer):
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["w1", "q_proj"], init_lora_weights=False)
    ), tokenizer


def by_bias(model, tokenizer):
    """A bias where the network has none, as bias-only tuning adds it."""
    w1 = model.transformer[0].ffn.w1
    w1.bias = nn.Parameter(torch.ones(w1.out_features))
    return model, tokenizer


def by_skipped_block(model, tokenizer):
    class Skipped(nn.Module):
        def forward(self, x, key_padding_mask=None):
            return x

    model.transformer[0] = Skipped()
    return model, tokenizer


def by_compiled_block(model, tokenizer):
    by_hook(model, tokenizer)
    model.transformer[1] = torch.compile(model.transformer[1], backend="eager")
    return model, tokenizer


def by_tokenizer_subclass(model, tokenizer):
    class Softer(KronosTokenizer):
        def decode(self, x, half=False, padding_mask=None):
            return super().decode(x, half, padding_mask) * 0.5

    softer = Softer(**tokenizer.config.to_dict())
    softer.load_state_dict(tokenizer.state_dict())
    return model, softer.eval()


CHANGES = (
    by_hand,
    by_hook,
    by_pre_hook,
    by_parametrization,
    by_subclass,
    by_method,
    by_peft_in_place,
    by_peft_wrapper,
    by_bias,
    by_skipped_block,
    by_compiled_block,
    by_tokenizer_subclass,
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_network_changes_its_forecast_as_in_the_reference(change, networks: Networks, series: Series):
    plain = predictor_of(networks).predict(*series, HORIZON, **GREEDY)
    torch.manual_seed(0)
    model, tokenizer = change(*networks)
    with pytest.warns(UserWarning, match="module by module"):
        found = predictor_of((model.eval(), tokenizer)).predict(*series, HORIZON, **GREEDY)
    assert special_part(networks[0] if change is by_peft_wrapper else model) or special_part(tokenizer)
    base = model.get_base_model() if change is by_peft_wrapper else model
    np.testing.assert_allclose(found, reference((base, tokenizer), series), rtol=1e-5)
    assert not np.allclose(found, plain, rtol=1e-4)


def test_the_warning_about_a_changed_network_comes_once(networks: Networks, series: Series):
    predictor = predictor_of(by_hook(*networks))
    with pytest.warns(UserWarning, match=r"have a forward hook at transformer.0, .* module by module"):
        predictor.predict(*series, HORIZON, **GREEDY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict(*series, HORIZON, **GREEDY)


def test_a_method_replaced_in_a_class_itself_is_honoured(networks: Networks, series: Series, monkeypatch):
    plain = predictor_of(networks).predict(*series, HORIZON, **GREEDY)
    own = kronos.nn.layers.SwiGLU.forward
    monkeypatch.setattr(kronos.nn.layers.SwiGLU, "forward", lambda self, x: own(self, x) * 1.5)
    with pytest.warns(UserWarning, match=r"SwiGLU.forward at \S+, .* module by module"):
        found = predictor_of(networks).predict(*series, HORIZON, **GREEDY)
    np.testing.assert_allclose(found, reference(networks, series), rtol=1e-5)
    assert not np.allclose(found, plain, rtol=1e-4)


def test_a_network_put_in_place_of_the_predictors_is_used(networks: Networks, series: Series):
    predictor = predictor_of(networks)
    plain = predictor.predict(*series, HORIZON, **GREEDY)
    other = by_subclass(*networks)[0]
    predictor.model = other
    with pytest.warns(UserWarning, match=r"Louder.decode_s2, .* module by module"):
        found = predictor.predict(*series, HORIZON, **GREEDY)
    np.testing.assert_allclose(found, reference((other, networks[1]), series), rtol=1e-5)
    assert not np.allclose(found, plain, rtol=1e-4)


def test_a_changed_network_in_train_mode_is_evaluated_and_stays_in_its_mode(networks: Networks, series: Series):
    model, tokenizer = by_hand(*networks)
    model.transformer[0].ffn.w1.up = nn.Sequential(model.transformer[0].ffn.w1.up, nn.Dropout(0.9))
    predictor = predictor_of((model, tokenizer))
    with pytest.warns(UserWarning, match="module by module"):
        want = predictor.predict(*series, HORIZON, **GREEDY)
    model.transformer[0].train()
    pd.testing.assert_frame_equal(predictor.predict(*series, HORIZON, **GREEDY), want)
    assert model.transformer[0].ffn.w1.up[1].training and not model.training


def test_steps_are_told_and_memory_is_kept_module_by_module(networks: Networks, series: Series):
    predictor = predictor_of(by_hook(*networks))
    prepared = predictor.prepare(*series)
    told = []
    sampling = Sampling(1.0, top_p=0.9)
    draw = lambda: predictor.sample_prepared([prepared], sampling, 5, [1], progress=lambda *at: told.append(at))[0]
    with pytest.warns(UserWarning, match="module by module"):
        whole = draw()
    assert told == [(step + 1, HORIZON) for step in range(HORIZON)]
    predictor.memory = 1
    np.testing.assert_allclose(draw(), whole, rtol=1e-5)
    assert told[-1] == (5 * HORIZON, 5 * HORIZON)


def test_the_engine_and_the_modules_draw_the_same_paths(networks: Networks, series: Series):
    fast = predictor_of(networks).predict_samples(*series, HORIZON, sample_count=3, seed=5, verbose=False)
    networks[0].transformer[0].register_forward_hook(lambda module, inputs, out: out)
    with pytest.warns(UserWarning, match="module by module"):
        slow = predictor_of(networks).predict_samples(*series, HORIZON, sample_count=3, seed=5, verbose=False)
    np.testing.assert_allclose(fast, slow, rtol=1e-4)


def test_a_compiled_model_gives_the_forecast_of_the_model(networks: Networks, series: Series):
    plain = predictor_of(networks).predict(*series, HORIZON, **GREEDY)
    compiled = cast(Kronos, torch.compile(networks[0]))
    predictor = predictor_of((compiled, networks[1]))
    assert predictor.model is compiled
    pd.testing.assert_frame_equal(predictor.predict(*series, HORIZON, **GREEDY), plain)


def test_plain_networks_and_subclasses_that_change_nothing_are_plain(networks: Networks):
    class Named(Kronos):
        nickname = "mine"

    named = Named(**networks[0].config.to_dict())
    assert [special_part(network) for network in (*networks, named)] == [None] * 3
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert special_part(named) == "a global forward hook"
    handle.remove()


def test_comparing_with_a_plain_network_does_not_import_the_compiler_of_torch():
    """It takes seconds, which the first forecast of every process would wait for."""
    code = (
        "import sys, kronos; from kronos.generation.module_path import special_part; nano = kronos.load('nano'); "
        "print(special_part(nano.model), special_part(nano.tokenizer), 'torch._dynamo' in sys.modules)"
    )
    assert run_process([sys.executable, "-c", code], check=True).stdout.split() == ["None", "None", "False"]


# ------------------------------------------------------------------------------------------ generate


def test_generate_is_the_step_between_normalised_windows_and_forecasts(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    matrix = to_matrix(df)
    scale = Normalizer.of(matrix)
    inputs = (scale.normalise(matrix, 5)[None], time_features(x)[None], time_features(y)[None])
    found = predictor.generate(*inputs, HORIZON, 1.0, 1, 1.0, 1, False)
    assert found.shape == (1, HORIZON, 6)
    want = predictor.predict(df, x, y, HORIZON, **GREEDY).to_numpy()
    np.testing.assert_allclose(scale.restore(found[0]), want, rtol=1e-6)


def test_every_forecast_goes_through_an_overridden_generate(networks: Networks, series: Series, monkeypatch):
    calls = []

    class Flat(KronosPredictor):
        def generate(self, x, x_stamp, y_stamp, pred_len, T, top_k, top_p, sample_count, verbose):
            calls.append((x.shape, y_stamp.shape, T, top_k, top_p, sample_count))
            return np.repeat(x[:, -1:], pred_len, axis=1)

    df, x, y = series
    predictor = Flat(*networks, device="cpu", max_context=CONTEXT)
    found = predictor.predict(df, x, y, HORIZON, T=0.7, top_p=0.8, sample_count=4, verbose=False)
    np.testing.assert_allclose(found, np.repeat(df.to_numpy()[-1:], HORIZON, axis=0), rtol=1e-5)
    assert calls == [((1, LOOKBACK, 6), (1, HORIZON, 5), 0.7, 0, 0.8, 4)]
    batch = predictor.predict_batch([df, df.iloc[5:]], [x, x.iloc[5:]], [y, y], HORIZON, verbose=False)
    np.testing.assert_allclose(batch[1]["close"], df["close"].iloc[-1], rtol=1e-5)
    paths = predictor.predict_samples(df, x, y, HORIZON, sample_count=3, verbose=False, anchor=None)
    np.testing.assert_allclose(paths[..., 3], df["close"].iloc[-1], rtol=1e-5)
    monkeypatch.setattr(predictor, "generate", lambda x, *_: np.zeros((len(x), 1, 6)))
    with pytest.raises(ValueError, match=r"must return an array of shape \[1, 6, 6\], found \[1, 1, 6\]"):
        predictor.predict(df, x, y, HORIZON, verbose=False)


def test_equal_windows_get_different_paths_from_generate(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    prepared = predictor.prepare(df, x, y).window
    values, x_stamp, y_stamp = (np.repeat(part[None], 3, axis=0) for part in prepared)
    torch.manual_seed(0)
    found = predictor.generate(values, x_stamp, y_stamp, HORIZON, 1.0, 0, 0.9, 1, False)
    assert len({tuple(path) for path in found[:, :, 3]}) == 3
    torch.manual_seed(0)
    mean = predictor.generate(values[:1], x_stamp[:1], y_stamp[:1], HORIZON, 1.0, 0, 0.9, 3, False)
    np.testing.assert_allclose(mean[0], found.mean(axis=0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"y_stamp must have 9 steps \(pred_len\), found 6"):
        predictor.generate(values, x_stamp, y_stamp, 9, 1.0, 0, 0.9, 1, False)


def test_an_override_that_calls_the_published_generate_draws_paths(networks: Networks, series: Series):
    class Shifted(KronosPredictor):
        def generate(self, *arguments):
            assert [part.dtype for part in arguments[:3]] == [np.float32] * 3
            return super().generate(*arguments) + 1

    df, x, y = series
    predictor = Shifted(*networks, device="cpu", max_context=CONTEXT)
    torch.manual_seed(5)
    stream = torch.get_rng_state()
    draw = lambda seed: predictor.predict_samples(df, x, y, HORIZON, sample_count=4, seed=seed, verbose=False)
    paths = draw(1)
    assert torch.get_rng_state().equal(stream)
    assert len(np.unique(paths[0, :, -1, 3])) == 4
    np.testing.assert_array_equal(draw(1), paths)
    assert not np.array_equal(draw(2), paths)


def test_a_generate_patched_in_the_class_is_called(networks: Networks, series: Series, monkeypatch):
    monkeypatch.setattr(KronosPredictor, "generate", lambda self, x, *rest: np.zeros((len(x), HORIZON, 6)))
    df, x, y = series
    found = predictor_of(networks).predict(df, x, y, HORIZON, verbose=False)
    np.testing.assert_allclose(found["close"], df["close"].mean(), rtol=1e-6)


# ------------------------------------------------------------------------------------------ names and settings


def test_names_of_the_published_class_are_there(networks: Networks):
    predictor = predictor_of(networks)
    assert predictor.device == "cpu"
    device = KronosPredictor(*networks, device=torch.device("cpu")).device
    assert isinstance(device, torch.device) and device.type == "cpu"  # as it was given
    assert predictor.price_cols == ["open", "high", "low", "close"]
    assert (predictor.vol_col, predictor.amt_vol) == ("volume", "amount")
    assert predictor.time_cols == ["minute", "hour", "weekday", "day", "month"]


def test_a_negative_top_k_is_off_in_predict(networks: Networks, series: Series):
    predictor = predictor_of(networks)
    off, negative = (predictor.predict(*series, HORIZON, top_k=k, seed=1, verbose=False) for k in (0, -1))
    pd.testing.assert_frame_equal(off, negative)


@pytest.mark.parametrize("top_p", [None, 1, 1.0, 1.5])
def test_a_top_p_of_one_or_more_is_off_in_predict(top_p, networks: Networks, series: Series):
    predictor = predictor_of(networks)
    off, given = (predictor.predict(*series, HORIZON, top_p=p, seed=1, verbose=False) for p in (1.0, top_p))
    pd.testing.assert_frame_equal(off, given)


def test_a_top_p_of_nothing_takes_the_likeliest_code(networks: Networks, series: Series):
    predictor = predictor_of(networks)
    found = predictor.predict(*series, HORIZON, top_p=0.0, seed=1, verbose=False)
    pd.testing.assert_frame_equal(found, predictor.predict(*series, HORIZON, **GREEDY))


def test_numbers_written_as_texts_forecast_as_numbers(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    want = predictor.predict(df, x, y, HORIZON, **GREEDY)
    pd.testing.assert_frame_equal(predictor.predict(df.astype(str), x, y, HORIZON, **GREEDY), want)


def test_forecasts_are_drawn_by_the_models_own_sampling(series: Series):
    df, x, y = series
    predictor, own = kronos.load("nano", device="cpu"), kronos.loading.pair_settings("nano")
    assert (predictor.sampling.temperature, predictor.sampling.top_p) == (own.temperature, own.top_p)
    quiet: dict[str, Any] = {"sample_count": 3, "seed": 1, "verbose": False}
    drawn = predictor.forecast(df, x, y, **quiet).paths
    np.testing.assert_array_equal(
        drawn, predictor.forecast(df, x, y, T=own.temperature, top_p=own.top_p, **quiet).paths
    )
    other = predictor.forecast(df, x, y, T=0.5, top_p=0.5, **quiet).paths
    assert not np.array_equal(drawn, other)


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_a_volume_that_is_all_missing_is_refused_as_in_the_published_class(missing, networks: Networks, series: Series):
    df, x, y = series
    with pytest.raises(ValueError, match=r"20 values are missing .* in column 'volume', row 0"):
        predictor_of(networks).predict(df.assign(volume=missing), x, y, HORIZON, **GREEDY)


@pytest.fixture
def pair(golden, tmp_path):
    """A pair whose own sampling is far from the published defaults."""
    folder = tmp_path / "pair"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": CONTEXT, "temperature": 0.4, "top_p": 0.3}))
    return folder


@pytest.mark.parametrize("spec", ["nano", "pair"])
def test_the_command_line_and_python_draw_the_same_paths(spec, pair, bars, tmp_path):
    model = str(pair) if spec == "pair" else spec
    bars.to_csv(tmp_path / "bars.csv", index=False)
    options = [
        "--horizon",
        "6",
        "--lookback",
        "20",
        "--holdout",
        "--paths",
        "3",
        "--seed",
        "5",
        "--quiet",
        "--device",
        "cpu",
    ]
    files = [str(tmp_path / name) for name in ("bars.csv", "paths.parquet")]
    done = CliRunner().invoke(main, ["forecast", files[0], "--model", model, *options, "--save", files[1]])
    assert done.exit_code == 0, done.output
    past, future = bars.iloc[-26:-6], bars["timestamps"].iloc[-6:]
    predictor = kronos.load(model, device="cpu")
    found = predictor.forecast(past[list(FEATURES)], past["timestamps"], future, sample_count=3, seed=5, verbose=False)
    np.testing.assert_array_equal(found.paths[0], Forecast.load(files[1]).paths[0])
    published = predictor.forecast(
        past[list(FEATURES)], past["timestamps"], future, 1.0, 0, 0.9, sample_count=3, seed=5, verbose=False
    )
    assert spec == "nano" or not np.array_equal(found.paths[0], published.paths[0])


def test_generated_sequences_are_drawn_by_the_models_own_sampling(pair, bars, tmp_path):
    bars.to_csv(tmp_path / "bars.csv", index=False)
    told = ["--temperature", "0.4", "--top-p", "0.3"]
    drawn = {}
    for name, options in (("own", []), ("told", told), ("other", ["--top-p", "0.95"])):
        arguments = [
            str(tmp_path / "bars.csv"),
            "--model",
            str(pair),
            "--lookback",
            "20",
            "--horizon",
            "6",
            "--count",
            "10",
        ]
        done = CliRunner().invoke(
            main, ["generate", *arguments, "--device", "cpu", "--out", str(tmp_path / name), *options]
        )
        assert done.exit_code == 0, done.output
        drawn[name] = pd.read_parquet(tmp_path / name / SYNTHETIC)
    pd.testing.assert_frame_equal(drawn["own"], drawn["told"])
    assert not drawn["own"].equals(drawn["other"])


# ------------------------------------------------------------------------------------------ doubtful times


def backwards(df, x, y):
    return df.iloc[::-1], x.iloc[::-1], y


def repeated(df, x, y):
    return df, x.where(x.index != 3, x.iloc[2]), y


def out_of_order(df, x, y):
    order = [1, 0, *range(2, len(x))]
    return df.iloc[order], x.iloc[order], y


def overlapping(df, x, y):
    return df, x, x.iloc[-HORIZON:]


def mixed_zones(df, x, y):
    return df, x.dt.tz_localize("Asia/Shanghai"), y


DOUBTS = {
    backwards: "runs backwards",
    repeated: "more than once",
    out_of_order: "out of order",
    overlapping: "which is not after the last bar",
    mixed_zones: "in Asia/Shanghai and y_timestamp in no time zone",
}


@pytest.mark.parametrize(("change", "text"), DOUBTS.items(), ids=[change.__name__ for change in DOUBTS])
def test_doubtful_times_are_warned_of_by_predict_and_refused_by_forecast(
    change, text, networks: Networks, series: Series
):
    predictor = predictor_of(networks)
    changed: Series = change(*series)
    with pytest.warns(KlineWarning, match=text) as caught:
        assert predictor.predict(*changed, HORIZON, **GREEDY).notna().all().all()
    assert len([w for w in caught if text in str(w.message)]) == 1
    with pytest.raises(ValueError, match=text):
        predictor.forecast(*changed, sample_count=2, verbose=False)
    with pytest.raises(ValueError, match=text):
        predictor.predict_samples(*changed, HORIZON, sample_count=2, verbose=False)


def test_a_batch_is_warned_of_once_for_each_kind_of_doubt(networks: Networks, series: Series):
    predictor, (df, x, y) = predictor_of(networks), series
    odd, day = df.iloc[::-1], pd.Timedelta(days=1)
    times = [x, x.iloc[::-1] - day, x.iloc[::-1] - 2 * day]
    with pytest.warns(KlineWarning, match=r"^series 1 \(and 1 more of 3\): x_timestamp runs backwards") as caught:
        predictor.predict_batch([df, odd, odd], times, [y] * 3, HORIZON, **GREEDY)
    assert len(caught) == 1


def test_two_names_of_one_clock_are_not_mixed_zones(networks: Networks, series: Series):
    df, x, y = series
    future = [f"{time}+08:00" for time in y]
    drawn = predictor_of(networks).forecast(df, x.dt.tz_localize("Asia/Shanghai"), future, verbose=False)
    assert drawn.horizons == (HORIZON,)
    with pytest.raises(ValueError, match="in Asia/Shanghai and y_timestamp in UTC;"):
        predictor_of(networks).forecast(df, x.dt.tz_localize("Asia/Shanghai"), y.dt.tz_localize("UTC"), verbose=False)


def test_prepare_refuses_doubtful_times_as_forecast_does(networks: Networks, series: Series):
    with pytest.raises(ValueError, match="which is not after the last bar"):
        predictor_of(networks).prepare(*overlapping(*series))
