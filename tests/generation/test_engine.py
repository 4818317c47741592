"""The engine computes what the reference loop computes: tokens equal under greedy decoding, bars to rounding."""

import pytest
import torch

from kronos.generation import engine, reference
from kronos.generation.fused import fused_model, fused_tokenizer
from kronos.generation.sampling import Sampling, weights
from kronos.nn import Kronos, KronosTokenizer

GREEDY = Sampling(top_k=1)

pytestmark = pytest.mark.usefixtures("products")


@pytest.fixture(
    scope="module", params=[("tiny", False), ("tiny", True), ("tiny-fixed-te", False)], ids=["tiny", "rotary", "fixed"]
)
def pair(request, golden):
    name, rotary = request.param
    folder = golden / name
    model = Kronos.from_pretrained(folder / "model", dependency_rotary=rotary)
    return KronosTokenizer.from_pretrained(folder / "tokenizer"), model


def history(pair, series, lookback, horizon, seed=0):
    """Tokens [S, L] twice and time features [S, L + K, 5]."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer, _ = pair
    s1, s2 = (
        torch.randint(2**b, (series, lookback), generator=generator) for b in (tokenizer.s1_bits, tokenizer.s2_bits)
    )
    rows = [60, 24, 7, 32, 13]
    stamp = torch.stack([torch.randint(n, (series, lookback + horizon), generator=generator) for n in rows], dim=-1)
    return s1, s2, stamp


@pytest.fixture
def seen(monkeypatch):
    """The logits that tokens are picked from, coarse and fine in turn."""
    logits: list[torch.Tensor] = []
    real = engine.sample_from_uniform

    def noted(x, sampling, u):
        logits.append(x.flatten(0, -2))
        return real(x, sampling, u)

    monkeypatch.setattr(engine, "sample_from_uniform", noted)
    return logits


def uniforms(rows, horizon, seed=1):
    return torch.rand(rows, horizon, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("lookbacks", [(30, 30, 30), (30, 7, 1)], ids=["alike", "ragged"])
def test_bars_are_encoded_as_the_tokenizer_encodes_them(pair, lookbacks):
    tokenizer, _ = pair
    bars = torch.randn(3, 30, 6, generator=torch.Generator().manual_seed(3))
    hidden = None
    if len(set(lookbacks)) > 1:
        hidden = torch.arange(30)[None] < 30 - torch.tensor(lookbacks)[:, None]
    want = tokenizer.encode(bars, half=True, padding_mask=hidden)
    for ours, theirs in zip(engine.encode(tokenizer, bars, hidden), want, strict=True):
        real = torch.ones_like(ours, dtype=torch.bool) if hidden is None else ~hidden
        assert ours[real].equal(theirs[real])


@pytest.mark.parametrize("made_in", [True, False], ids=["inference", "ordinary"])
def test_encoding_does_not_depend_on_the_mode_of_the_caller(pair, made_in):
    tokenizer, model = pair
    bars = torch.randn(3, 80, 6, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(made_in):
        fused_tokenizer(tokenizer), fused_model(model)  # made ready in one mode ...
        want = tokenizer.encode(bars, half=True)
    with torch.inference_mode(not made_in):  # ... and used in the other
        found = engine.encode(tokenizer, bars)
    assert all(ours.equal(theirs) for ours, theirs in zip(found, want, strict=True))


@pytest.mark.parametrize("use", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("make", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("load", [torch.inference_mode, torch.enable_grad])
def test_windows_give_the_same_numbers_in_every_grad_mode(golden, load, make, use):
    with load():
        tokenizer = KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer")
        model = Kronos.from_pretrained(golden / "tiny" / "model")
    s1, s2, stamp = history((tokenizer, model), 2, 10, 2)

    def made():
        fused = fused_model(model)
        window = engine.ModelWindow(fused, s1, s2, fused.time_emb(stamp[:, :10]), None, 3, 2)
        return window, engine.SuffixDecoder(tokenizer, s1, s2, 1, 3, 32)

    def used(window, decoder):
        codes = torch.arange(6).view(2, 3)
        fine = window.fine_logits(codes)
        window.step(codes, codes, torch.zeros(2, 3, model.d_model))
        return fine, window.coarse_logits(), decoder.decode(codes[..., None], codes[..., None])

    with torch.inference_mode():
        want = used(*made())
    with make():
        parts = made()
    with use():
        found = used(*parts)
    assert all(ours.equal(theirs) for ours, theirs in zip(found, want, strict=True))


def test_a_tokenizer_without_blocks_encodes_too(golden):
    config = KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer").config.to_dict()
    tokenizer = KronosTokenizer(**{**config, "n_enc_layers": 1}).eval()
    bars = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(3))
    for ours, theirs in zip(engine.encode(tokenizer, bars), tokenizer.encode(bars, half=True), strict=True):
        assert ours.equal(theirs)


@pytest.mark.parametrize(
    ("lookback", "horizon", "context"),
    [(20, 10, 32), (23, 10, 32), (32, 1, 32), (30, 14, 32), (45, 8, 32), (5, 40, 16), (1, 6, 32), (2, 5, 3)],
    ids=["inside", "fills", "full", "slides", "long", "horizon_over_context", "one_bar", "tiny_context"],
)
def test_greedy_tokens_equal_those_of_the_reference_loop(pair, lookback, horizon, context):
    _, model = pair
    s1, s2, stamp = history(pair, 3, lookback, horizon)
    want = reference.generate_tokens(model, s1, s2, stamp, horizon, context, GREEDY)
    got = engine.generate_tokens(model, s1, s2, stamp, uniforms(3, horizon), context, GREEDY)
    assert got[0].equal(want[0][:, lookback:])
    assert got[1].equal(want[1][:, lookback:])


@pytest.mark.parametrize("context", [32, 14])
def test_logits_of_drawn_paths_equal_those_of_a_recomputed_window(pair, context, seen):
    """Paths that share a prefix and differ after it: every step's logits are those of reading the whole window anew."""
    _, model = pair
    lookback, horizon, paths = 10, 8, 4
    s1, s2, stamp = history(pair, 2, lookback, horizon)
    new1, new2 = engine.generate_tokens(model, s1, s2, stamp, uniforms(8, horizon), context, Sampling())
    assert len({tuple(row.tolist()) for row in new1}) > 4
    whole1, whole2 = (torch.cat((old.repeat_interleave(paths, 0), new), 1) for old, new in ((s1, new1), (s2, new2)))
    stamps = stamp.repeat_interleave(paths, 0)
    with torch.inference_mode():
        for i in range(horizon):
            window = slice(max(0, lookback + i - context), lookback + i)
            s1_logits, hidden = model.decode_s1(whole1[:, window], whole2[:, window], stamps[:, window])
            torch.testing.assert_close(seen[2 * i], s1_logits[:, -1], atol=1e-5, rtol=1e-5)
            fine = model.decode_s2(hidden, new1[:, i : i + 1])[:, -1]
            torch.testing.assert_close(seen[2 * i + 1], fine, atol=1e-5, rtol=1e-5)


def test_left_padded_series_of_different_lookbacks_get_the_tokens_they_get_alone(pair):
    _, model = pair
    horizon, lookbacks = 6, [20, 13, 1, 8]
    s1, s2, stamp = history(pair, 4, 20, horizon)
    hidden = torch.stack([torch.arange(20) < 20 - n for n in lookbacks])
    together = engine.generate_tokens(model, s1, s2, stamp, uniforms(4, horizon), 32, GREEDY, hidden)
    for i, n in enumerate(lookbacks):
        alone = engine.generate_tokens(
            model,
            s1[i : i + 1, -n:],
            s2[i : i + 1, -n:],
            stamp[i : i + 1, -n - horizon :],
            uniforms(1, horizon),
            32,
            GREEDY,
        )
        assert together[0][i].equal(alone[0][0])
        assert together[1][i].equal(alone[1][0])


@pytest.mark.parametrize("stride", [1, 5, 15])
def test_strided_sliding_evaluates_the_model_on_the_context_it_says(pair, stride, seen):
    """Each step's logits are exact for a window between max_context - stride and max_context bars."""
    _, model = pair
    lookback, horizon, context = 14, 20, 16
    s1, s2, stamp = history(pair, 2, lookback, horizon)
    new1, new2 = engine.generate_tokens(model, s1, s2, stamp, uniforms(2, horizon), context, GREEDY, stride=stride)
    whole1, whole2 = torch.cat((s1, new1), 1), torch.cat((s2, new2), 1)
    widths = []
    with torch.inference_mode():
        for i in range(horizon):
            now = lookback + i
            for width in range(min(now, context), max(0, min(now, context) - stride) - 1, -1):
                window = slice(now - width, now)
                logits = model.decode_s1(whole1[:, window], whole2[:, window], stamp[:, window])[0][:, -1]
                if torch.allclose(logits, seen[2 * i], atol=1e-5, rtol=1e-5):
                    widths.append(width)
                    break
    assert len(widths) == horizon
    assert min(widths) >= min(lookback, context - stride)
    # Windows are cut so that the steps between two readings fill the context to the brim, but never more than that.
    assert max(widths) == context
    assert sum(after < before for before, after in zip(widths, widths[1:], strict=False)) <= horizon / (stride + 1)


@pytest.mark.parametrize("rows", [18, 1000], ids=["in pieces", "at once"])
@pytest.mark.parametrize(("lookback", "horizon", "context"), [(20, 10, 32), (28, 14, 32), (45, 8, 32), (6, 12, 16)])
def test_decoded_bars_equal_those_of_the_reference(pair, monkeypatch, lookback, horizon, context, rows):
    monkeypatch.setattr(engine, "DECODED_ROWS", {"cpu": rows})
    tokenizer, _ = pair
    s1, s2, _ = history(pair, 2, lookback, horizon)
    new1, new2, _ = history(pair, 6, horizon, 1, seed=5)
    got, known = engine.decode_suffix(tokenizer, s1, s2, new1, new2, context)
    coarse, fine = (torch.cat((old.repeat_interleave(3, 0), new), 1) for old, new in ((s1, new1), (s2, new2)))
    want = reference.decode_tail(tokenizer, coarse, fine, horizon, context)[:, -horizon:]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    keep = min(lookback, context - horizon)
    torch.testing.assert_close(known, tokenizer.decode((s1[:, -keep:], s2[:, -keep:]), half=True), atol=1e-5, rtol=1e-5)


def test_decoding_of_left_padded_series_equals_decoding_them_alone(pair):
    tokenizer, _ = pair
    s1, s2, _ = history(pair, 2, 15, 1)
    new1, new2, _ = history(pair, 2, 6, 1, seed=3)
    hidden = torch.stack([torch.arange(15) < 15 - n for n in (15, 4)])
    together = engine.decode_suffix(tokenizer, s1, s2, new1, new2, 32, hidden)
    alone = engine.decode_suffix(tokenizer, s1[1:, -4:], s2[1:, -4:], new1[1:], new2[1:], 32)
    torch.testing.assert_close(together[0][1:], alone[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[1][1:, -4:], alone[1], atol=1e-5, rtol=1e-5)  # the rest is padding


def test_picks_follow_the_restricted_distribution():
    """Chi-square of many draws from evenly random numbers, temperature, top-k and top-p together."""
    logits = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -3.0])
    sampling = Sampling(0.8, top_k=5, top_p=0.9)
    want = weights(logits[None], sampling)[0].double()
    want /= want.sum()
    draws = 200_000
    u = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = torch.bincount(engine.sample_from_uniform(logits.expand(draws, -1), sampling, u), minlength=6).double()
    assert (counts[want == 0] == 0).all()
    kept = want > 0
    chi2 = ((counts[kept] - draws * want[kept]) ** 2 / (draws * want[kept])).sum()
    assert chi2 < 25
    extremes = torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64)
    assert engine.sample_from_uniform(logits.expand(2, -1), sampling, extremes).tolist() == [
        0,
        int(kept.nonzero().max()),
    ]


def test_what_cannot_be_is_refused(pair):
    tokenizer, model = pair
    s1, s2, stamp = history(pair, 2, 20, 20)
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    with pytest.raises(ValueError, match="group them by lookback"):
        engine.generate_tokens(model, s1, s2, stamp, uniforms(2, 20), 32, GREEDY, hidden)
    with pytest.raises(ValueError, match=r"stride must lie in 0\.\.31"):
        engine.generate_tokens(model, s1, s2, stamp, uniforms(2, 20), 32, GREEDY, stride=32)
    with pytest.raises(ValueError, match="leaves no history"):
        engine.decode_suffix(tokenizer, s1, s2, s1, s2, 20)


@pytest.mark.parametrize("lookbacks", [(20, 20, 20), (20, 7, 1)], ids=["alike", "ragged"])
@pytest.mark.parametrize("paths", [1, 4])
@pytest.mark.parametrize(("horizon", "context", "stride"), [(12, 32, 0), (30, 32, 8)], ids=["inside", "slides"])
def test_steps_that_count_on_the_device_draw_the_same_bars(
    pair, monkeypatch, lookbacks, paths, horizon, context, stride
):
    """A GPU records such a step: the same operations on the same memory every time."""
    if horizon > 12 and len(set(lookbacks)) > 1:
        pytest.skip("padded series do not slide")
    model = pair[1]
    s1, s2, stamp = history(pair, 3, 20, horizon)
    hidden = None
    if len(set(lookbacks)) > 1:
        hidden = torch.arange(20)[None] < 20 - torch.tensor(lookbacks)[:, None]
    rows = (model, s1, s2, stamp, uniforms(3 * paths, horizon), context, Sampling(1.0, top_p=0.9), hidden, stride)
    want = engine.generate_tokens(*rows)
    monkeypatch.setattr(engine, "worth_recording", lambda device, steps: steps > 2)
    told = []
    found = engine.generate_tokens(*rows, on_bar=lambda *bar: told.append([t.clone() for t in bar]))
    for ours, theirs, bars in zip(found, want, zip(*told, strict=True), strict=True):
        assert ours.equal(theirs)
        assert torch.stack(bars, dim=-1).flatten(0, 1).equal(theirs)
