"""`predictor.embed` and `predictor.score`: held to the networks' own modules, in any batch, without later bars."""

import numpy as np
import pandas as pd
import pytest
import torch

from kronos import Kronos, KronosPredictor, KronosTokenizer
from kronos.generation.prepared import PreparedSeries
from kronos.schema import FEATURES

CONTEXT = 32


@pytest.fixture(scope="module")
def bars(golden):
    return pd.read_csv(golden / "tiny" / "bars.csv", parse_dates=["timestamps"])


@pytest.fixture(scope="module")
def predictor(golden):
    folder = golden / "tiny"
    networks = Kronos.from_pretrained(folder / "model"), KronosTokenizer.from_pretrained(folder / "tokenizer")
    return KronosPredictor(*networks, device="cpu", max_context=CONTEXT)


@pytest.fixture(scope="module")
def parts(bars):
    """Windows of several lookbacks."""
    return [bars.iloc[start : start + length] for start, length in ((0, 20), (3, 9), (5, 20), (1, 31))]


@pytest.fixture(scope="module")
def frames(parts):
    return [part[list(FEATURES)] for part in parts]


@pytest.fixture(scope="module")
def times(parts):
    return [part["timestamps"] for part in parts]


def tokens_and_stamp(predictor, frame, time):
    window = PreparedSeries(frame, time, (), 0, predictor.clip).window
    s1, s2 = predictor.tokenizer.encode(torch.from_numpy(window.bars.astype(np.float32).copy())[None], half=True)
    return s1, s2, torch.from_numpy(window.stamp)[None]


@torch.no_grad()
def states_by_modules(predictor, frame, time, layer):
    model = predictor.model
    s1, s2, stamp = tokens_and_stamp(predictor, frame, time)
    x = model.embedding([s1, s2]) + model.time_emb(stamp)
    for block in model.transformer[:layer]:
        x = block(x)
    return (model.norm(x) if layer == model.n_layers else x)[0].numpy()


def test_embed_every_layer_equals_the_modules(predictor, frames, times):
    for layer in range(predictor.model.n_layers + 1):
        found = predictor.embed(frames, times, layer=layer, pooling=None)
        for i, (frame, time) in enumerate(zip(frames, times, strict=True)):
            expected = states_by_modules(predictor, frame, time, layer)
            np.testing.assert_allclose(found[i, -len(frame) :], expected, atol=1e-5)
            assert np.isnan(found[i, : -len(frame)]).all()


def test_embed_default_is_the_last_state_after_the_norm(predictor, frames, times):
    found = predictor.embed(frames, times)
    assert found.dtype == np.float32
    assert found.shape == (len(frames), predictor.model.d_model)
    every = predictor.embed(frames, times, layer=predictor.model.n_layers, pooling=None)
    np.testing.assert_allclose(found, every[:, -1], atol=1e-6)


def test_embed_last_bar_of_every_layer_equals_the_modules(predictor, frames, times):
    for layer in range(predictor.model.n_layers + 1):
        found = predictor.embed(frames, times, layer=layer)
        for states, frame, time in zip(found, frames, times, strict=True):
            expected = states_by_modules(predictor, frame, time, layer)[-1]
            np.testing.assert_allclose(states, expected, atol=1e-5)


def test_embed_mean_leaves_out_padding(predictor, frames, times):
    every = predictor.embed(frames, times, pooling=None)
    np.testing.assert_allclose(predictor.embed(frames, times, pooling="mean"), np.nanmean(every, axis=1), atol=1e-6)


def test_embed_in_small_batches_equals_embed_alone(predictor, frames, times, golden):
    small = KronosPredictor(predictor.model, predictor.tokenizer, device="cpu", max_context=CONTEXT, memory=1)
    alone = np.concatenate([predictor.embed(frame, time) for frame, time in zip(frames, times, strict=True)])
    np.testing.assert_allclose(small.embed(frames, times), alone, atol=1e-5)
    np.testing.assert_allclose(predictor.embed(frames, times), alone, atol=1e-5)


def test_states_of_normalised_bars_do_not_depend_on_later_ones(predictor, frames, times):
    from kronos.generation.hidden_states import read_windows

    window = PreparedSeries(frames[0], times[0], (), 0, predictor.clip).window
    changed = window._replace(bars=window.bars.copy(), stamp=window.stamp.copy())
    changed.bars[12:] = -changed.bars[12:] + 1
    changed.stamp[12:, 1] = (changed.stamp[12:, 1] + 5) % 24
    read = lambda one: (
        next(read_windows(predictor.tokenizer, predictor.model, [one], CONTEXT, predictor.model.n_layers, None))
        .states[0]
        .numpy()
    )
    before, after = read(window), read(changed)
    np.testing.assert_allclose(before[:12], after[:12], atol=1e-6)
    assert np.abs(before[12:] - after[12:]).max(axis=1).min() > 1e-3


def test_embed_of_hooked_model_runs_the_hook(predictor, frames, times):
    plain = predictor.embed(frames, times)
    hook = predictor.model.transformer[0].register_forward_hook(lambda module, given, out: out + 1)
    try:
        with pytest.warns(UserWarning, match="forward hook"):
            hooked = predictor.embed(frames, times)
    finally:
        hook.remove()
    assert np.abs(hooked - plain).max() > 1e-3


def test_embed_leaves_the_table_as_it_was(predictor, frames, times):
    before = frames[0].copy(deep=True)
    predictor.embed(frames[0], times[0])
    pd.testing.assert_frame_equal(frames[0], before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": 99}, "layer must be a whole number from -"),
        ({"layer": True}, "found True"),
        ({"pooling": "max"}, 'pooling must be "last", "mean" or None, found \'max\''),
    ],
)
def test_embed_bad_argument_raises(predictor, frames, times, given, message):
    with pytest.raises(ValueError, match=message):
        predictor.embed(frames[0], times[0], **given)


@pytest.mark.parametrize("method", ["embed", "score"])
def test_more_bars_than_the_context_raises(predictor, bars, method):
    part = bars.iloc[: CONTEXT + 1]
    with pytest.raises(
        ValueError, match=rf"at most {CONTEXT} bars \(max_context\), found {CONTEXT + 1}; give the last"
    ):
        getattr(predictor, method)(part[list(FEATURES)], part["timestamps"])


def test_embed_zoned_timestamps_equal_local_ones(predictor, frames, times):
    zoned = times[0].dt.tz_localize("Asia/Shanghai")
    np.testing.assert_array_equal(predictor.embed(frames[0], zoned), predictor.embed(frames[0], times[0]))


@torch.no_grad()
def test_score_equals_logits_step_by_step(predictor, frames, times):
    model = predictor.model
    tables = predictor.score(frames, times)
    for frame, time, table in zip(frames, times, tables, strict=True):
        s1, s2, stamp = tokens_and_stamp(predictor, frame, time)
        assert table["s1"].tolist() == s1[0].tolist()
        assert table["s2"].tolist() == s2[0].tolist()
        assert table.index.equals(pd.DatetimeIndex(time))
        assert np.isnan(table[["log_p_s1", "log_p_s2", "surprise"]].iloc[0]).all()
        for step in range(1, len(frame)):
            coarse, context = model.decode_s1(s1[:, :step], s2[:, :step], stamp[:, :step])
            fine = model.decode_s2(context, s1[:, step : step + 1])
            expected = (
                coarse[0, -1].log_softmax(-1)[s1[0, step]].item(),
                fine[0, -1].log_softmax(-1)[s2[0, step]].item(),
            )
            found = table.iloc[step]
            np.testing.assert_allclose((found["log_p_s1"], found["log_p_s2"]), expected, atol=1e-4)
            assert found["surprise"] == pytest.approx(-sum(expected), abs=2e-4)


def test_score_of_one_table_is_one_table(predictor, frames, times):
    alone = predictor.score(frames[1], times[1])
    pd.testing.assert_frame_equal(alone, predictor.score(frames, times)[1], atol=1e-5)
