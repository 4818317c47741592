"""Names, parameters and numbers of the published modules, and the ways in which scripts import them."""

import datetime
import inspect
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import kronos.model as package
import model as folder
from kronos import compat
from kronos.model import kronos as networks
from kronos.model import module
from kronos.nn import Kronos, KronosTokenizer
from kronos.predictor import KronosPredictor
from tests.processes import run_process

ROOT = Path(__file__).parents[2]
PUBLISHED = [line for line in (ROOT / "tests/published_names.txt").read_text().splitlines() if line[0] != "#"]
DROPOUTS = dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.0)


@pytest.fixture(scope="module")
def tokenizer(golden):
    return KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer")


@pytest.fixture(scope="module")
def network(golden):
    return Kronos.from_pretrained(golden / "tiny" / "model")


@pytest.fixture(scope="module")
def want(golden):
    return load_file(golden / "tiny" / "figures.safetensors")


def close(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), atol=atol, rtol=1e-5)


# ------------------------------------------------------------------------------------- names and parameters


@pytest.mark.parametrize("line", PUBLISHED)
def test_published_name_takes_the_published_parameters(line):
    name, _, parameters = line.partition("(")
    where, *path = name.split(".")
    found: Any = {"module": module, "kronos": networks, "package": package}[where]
    for part in path:
        found = getattr(found, part)
    ours = [p for p in inspect.signature(found).parameters.values() if p.name not in ("self", "ctx")]
    theirs = list(inspect.signature(eval(f"lambda {parameters[:-1]}: 0")).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [(p.name, p.default) for p in theirs]
    assert all(p.default is not p.empty for p in ours[len(theirs) :])


def test_every_package_gives_the_same_names():
    import model.kronos
    import model.module

    for name in compat.__all__:
        assert getattr(folder, name) is getattr(package, name) is getattr(compat, name)
    for name in networks.__all__:
        assert getattr(model.kronos, name) is getattr(networks, name)
    for name in module.__all__:
        assert getattr(model.module, name) is getattr(networks, name) is getattr(module, name)


def test_model_classes_are_found_by_name():
    assert package.model_dict == {
        "kronos_tokenizer": KronosTokenizer,
        "kronos": Kronos,
        "kronos_predictor": KronosPredictor,
    }
    assert package.get_model_class("kronos") is Kronos
    with pytest.raises(NotImplementedError, match="'kronos_large'; there are kronos_tokenizer, kronos"):
        package.get_model_class("kronos_large")


def test_constructor_values_are_attributes():
    shape: dict[str, Any] = {"d_model": 32, "n_heads": 2, "ff_dim": 48, "s1_bits": 4, "s2_bits": 5}
    drops: dict[str, Any] = {"ffn_dropout_p": 0.1, "attn_dropout_p": 0.2, "resid_dropout_p": 0.3}
    given: dict[str, Any] = {**shape, **drops, "n_layers": 3, "token_dropout_p": 0.4, "learn_te": False}
    network = Kronos(**given)
    assert {name: getattr(network, name) for name in given} == given
    assert network.s1_vocab_size == 16 and (network.head.vocab_s1, network.head.vocab_s2) == (16, 32)
    attention: Any = network.transformer[2].self_attn
    assert (attention.d_model, attention.n_heads, attention.head_dim) == (32, 2, 16)
    assert network.dep_layer.cross_attn.head_dim == 8
    assert (network.embedding.s1_bits, network.embedding.s2_bits, network.embedding.d_model) == (4, 5, 32)
    loss: dict[str, Any] = {"beta": 0.1, "gamma0": 0.2, "gamma": 0.3, "zeta": 0.4, "group_size": 3}
    tokenizer = KronosTokenizer(d_in=6, n_enc_layers=3, n_dec_layers=2, **shape, **drops, **loss)
    for name, value in {**shape, **drops, "d_in": 6, "enc_layers": 3, "dec_layers": 2, "codebook_dim": 9}.items():
        assert getattr(tokenizer, name) == value
    assert {name: getattr(tokenizer.tokenizer.bsq, name) for name in loss} == loss


def test_predictor_has_the_published_attributes(network, tokenizer):
    predictor = KronosPredictor(network, tokenizer, device="cpu")
    assert predictor.price_cols == ["open", "high", "low", "close"]
    assert (predictor.vol_col, predictor.amt_vol) == ("volume", "amount")
    assert predictor.time_cols == ["minute", "hour", "weekday", "day", "month"]


def test_networks_are_made_of_the_published_classes(network, tokenizer, golden):
    fixed = Kronos.from_pretrained(golden / "tiny-fixed-te" / "model")
    for part, name in (
        (network.embedding, "HierarchicalEmbedding"),
        (network.time_emb, "TemporalEmbedding"),
        (fixed.time_emb.hour_embed, "FixedEmbedding"),
        (network.transformer[0], "TransformerBlock"),
        (network.transformer[0].self_attn, "MultiHeadAttentionWithRoPE"),
        (network.transformer[0].self_attn.rotary, "RotaryPositionalEmbedding"),
        (network.transformer[0].ffn, "FeedForward"),
        (network.norm, "RMSNorm"),
        (network.dep_layer, "DependencyAwareLayer"),
        (network.dep_layer.cross_attn, "MultiHeadCrossAttentionWithRoPE"),
        (network.head, "DualHead"),
        (tokenizer.encoder[0], "TransformerBlock"),
        (tokenizer.tokenizer, "BSQuantizer"),
    ):
        assert isinstance(part, getattr(module, name)), name


# ------------------------------------------------------------------- the networks, layer by layer, as published


@torch.no_grad()
def test_tokenizer_called_layer_by_layer_gives_the_golden_figures(tokenizer, want):
    z = tokenizer.embed(want["x"])
    for layer in tokenizer.encoder:
        z = layer(z)
    z = tokenizer.quant_embed(z)
    loss, quantised, (s1, s2) = tokenizer.tokenizer(z, half=True)
    assert s1.equal(want["s1"]) and s2.equal(want["s2"])
    close(quantised, want["quantized"])
    close(loss, want["bsq_loss"].reshape(()))
    assert tokenizer.tokenizer(z)[2].equal(want["token"])
    assert tokenizer.tokenizer(z, collect_metrics=False)[0] == 0
    close(tokenizer.indices_to_bits(want["token"]), want["quantized"])
    close(tokenizer.indices_to_bits([s1, s2], half=True), want["quantized"])
    z = tokenizer.post_quant_embed(quantised)
    for layer in tokenizer.decoder:
        z = layer(z)
    close(tokenizer.head(z), want["recon"])


def context(network, s1, s2, stamp):
    x = network.token_drop(network.embedding([s1, s2]) + network.time_emb(stamp))
    for layer in network.transformer:
        x = layer(x, key_padding_mask=None)
    return network.norm(x)


@torch.no_grad()
def test_model_called_layer_by_layer_gives_the_golden_figures(network, want):
    s1, s2, stamp = want["s1"], want["s2"], want["stamp"]
    h = context(network, s1, s2, stamp)
    close(network.head(h), want["s1_logits"])
    x2 = network.dep_layer(h, network.embedding.emb_s1(want["picked_s1"]))
    assert x2.shape == h.shape
    close(network.head.cond_forward(x2)[:, -1], want["s2_logits_last"])
    h = context(network, s1[:, :-1], s2[:, :-1], stamp[:, :-1])
    x2 = network.dep_layer(h, network.embedding.emb_s1(s1[:, 1:]))
    close(network.head.cond_forward(x2), want["train_s2_logits"])


@torch.no_grad()
def test_one_query_is_rotated_where_the_model_generates_with_rotation(golden):
    rotated = Kronos.from_pretrained(golden / "tiny" / "model", dependency_rotary=True)
    h, coarse = torch.randn(2, 5, 32), torch.randn(2, 5, 32)
    close(rotated.dep_layer(h, coarse[:, -1:])[:, -1], rotated.dep_layer(h, coarse)[:, -1])


def block_in_float64(block, x_TD, heads):
    """The block of one series without padding, position by position: what the published layer computes."""
    w = {name: t.double().numpy() for name, t in block.state_dict().items()}
    norm = lambda x, name: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"]
    steps, width = x_TD.shape
    size = width // heads
    normed = norm(x_TD, "norm1")
    q, k, v = (normed @ w[f"self_attn.{n}_proj.weight"].T + w[f"self_attn.{n}_proj.bias"] for n in "qkv")

    def turned(row, head, at):
        out = np.empty(size)
        part = row[head * size : (head + 1) * size]
        for i in range(size // 2):
            angle = at * 10000.0 ** (-2 * i / size)
            a, b = part[i], part[i + size // 2]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + size // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    attended = np.zeros_like(x_TD)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for t in range(steps):
            scores = [turned(q[t], head, t) @ turned(k[s], head, s) / math.sqrt(size) for s in range(t + 1)]
            share = np.exp(scores) / np.exp(scores).sum()
            attended[t, part] = share @ v[: t + 1, part]
    x = x_TD + attended @ w["self_attn.out_proj.weight"].T + w["self_attn.out_proj.bias"]
    normed = norm(x, "norm2")
    gate = normed @ w["ffn.w1.weight"].T
    return x + (gate / (1 + np.exp(-gate)) * (normed @ w["ffn.w3.weight"].T)) @ w["ffn.w2.weight"].T


@torch.no_grad()
def test_block_with_key_padding_mask_computes_each_series_as_if_alone(network):
    torch.manual_seed(0)
    block, x = network.transformer[0], torch.randn(3, 7, 32)
    padded = torch.zeros(3, 7, dtype=torch.bool)
    padded[1, :3], padded[2, 5:] = True, True
    out, attended = block(x, key_padding_mask=padded), block.self_attn(x, key_padding_mask=padded)
    assert out.isfinite().all() and attended.shape == x.shape
    for row, real in enumerate((slice(0, 7), slice(3, 7), slice(0, 5))):
        alone = block_in_float64(block, x[row, real].double().numpy(), network.n_heads)
        close(out[row, real], alone)
        close(attended[row, real], block.self_attn(x[row : row + 1, real])[0])


@torch.no_grad()
def test_replaced_block_with_the_published_call_is_used(golden, want):
    class Doubled(module.TransformerBlock):
        def forward(self, x, key_padding_mask=None):
            return 2 * x

    network = Kronos.from_pretrained(golden / "tiny" / "model")
    shape = (network.d_model, network.n_heads, network.ff_dim)
    for i in range(network.n_layers):
        network.transformer[i] = Doubled(*shape)
    ids = want["s1"], want["s2"]
    x = network.embedding(ids) + network.time_emb(want["stamp"])
    close(network.decode_s1(*ids, want["stamp"])[1], network.norm(2**network.n_layers * x))


# ----------------------------------------------------------------------------------------- stand-alone classes


def alone(layer, weights, prefix):
    layer.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    return layer.eval()


@torch.no_grad()
def test_stand_alone_layers_take_published_weights_and_equal_those_of_the_model(network, want, golden):
    weights = load_file(golden / "tiny" / "model" / "model.safetensors")
    bits, width, heads = (network.s1_bits, network.s2_bits), network.d_model, network.n_heads
    x, ids = torch.randn(2, 7, width), [want["s1"], want["s2"]]
    for layer, prefix, inputs in (
        (module.HierarchicalEmbedding(*bits, width), "embedding.", (ids,)),
        (module.TemporalEmbedding(width, True), "time_emb.", (want["stamp"],)),
        (module.TransformerBlock(width, heads, network.ff_dim), "transformer.1.", (x,)),
        (module.MultiHeadAttentionWithRoPE(width, heads), "transformer.1.self_attn.", (x,)),
        (module.FeedForward(width, network.ff_dim), "transformer.1.ffn.", (x,)),
        (module.RMSNorm(width), "norm.", (x,)),
        (module.DependencyAwareLayer(width), "dep_layer.", (x, x)),
        (module.MultiHeadCrossAttentionWithRoPE(width, 4), "dep_layer.cross_attn.", (x, x, x)),
        (module.DualHead(*bits, width), "head.", (x,)),
    ):
        same = network.get_submodule(prefix[:-1])
        assert alone(layer, weights, prefix)(*inputs).equal(same(*inputs)), prefix


def test_rotary_embedding_turns_queries_and_keys_by_their_positions():
    rotary = module.RotaryPositionalEmbedding(4)
    q, k = torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 4)
    with torch.inference_mode():
        rotary(q, k)
    turned = rotary(q.requires_grad_(), k)
    turned[0].sum().backward()  # not through what was kept of inference mode
    for before, after in zip((q, k), turned, strict=True):
        first, second = torch.complex(*before.double().chunk(2, -1)), torch.complex(*after.double().chunk(2, -1))
        for i, frequency in enumerate((1.0, 0.01)):
            angle = torch.arange(6).double() * frequency
            torch.testing.assert_close(second[..., i], first[..., i] * torch.polar(torch.ones(6).double(), angle))
    assert rotary.seq_len_cached == 6
    kept = rotary.cos_cached
    rotary(q, k)
    assert rotary.cos_cached is kept
    one = rotary(q[:, :, :1], k)
    assert one[0].equal(q[:, :, :1]) and one[1].equal(k)


def test_fixed_embedding_is_sinusoids_without_gradient():
    table = module.FixedEmbedding(24, 8)
    assert not table.emb.weight.requires_grad and not table(torch.tensor([3])).requires_grad
    close(table(torch.tensor(5))[2:4], [math.sin(5 * 10000**-0.25), math.cos(5 * 10000**-0.25)])


def test_composite_embedding_ids_have_the_coarse_token_in_their_high_bits():
    layer = module.HierarchicalEmbedding(4, 3, 8)
    assert abs(layer.emb_s1.weight.std() - 8**-0.5) < 0.1
    s1, s2 = torch.tensor([[3, 15]]), torch.tensor([[7, 2]])
    assert [t.tolist() for t in layer.split_token(torch.tensor([[31, 122]]), 3)] == [s1.tolist(), s2.tolist()]
    assert layer(torch.tensor([[31, 122]])).equal(layer([s1, s2])) and layer((s1, s2)).equal(layer([s1, s2]))


@torch.no_grad()
def test_quantizer_with_published_arguments_has_the_golden_loss(tokenizer, want):
    config = tokenizer.config
    bits = config.s1_bits + config.s2_bits
    weights = (config.beta, config.gamma0, config.gamma, config.zeta)
    bsq = module.BinarySphericalQuantizer(bits, *weights, group_size=config.group_size).eval()
    bsq.load_state_dict(tokenizer.tokenizer.bsq.state_dict())
    z = tokenizer.embed(want["x"])
    for layer in tokenizer.encoder:
        z = layer(z)
    z = F.normalize(tokenizer.quant_embed(z), dim=-1)
    q, loss, figures = bsq(z)
    close(q, want["quantized"])
    close(loss, want["bsq_loss"].reshape(()))
    p = torch.sigmoid(-4 * z / bits**0.5).mean((0, 1))
    close(figures["avg_prob"], torch.stack((p, 1 - p), dim=-1))
    close(figures["H"], -(p * p.log() + (1 - p) * (1 - p).log()).sum())
    assert figures["used_codes"].equal(figures["indices"].unique()) and figures["group_indices"].shape[-1] > 1
    assert bsq.train()(z)[2]["used_codes"] is None


@pytest.mark.parametrize("scaled", [True, False])
def test_grouped_quantizer_loss_is_the_softmax_over_the_codes_of_each_group(scaled):
    torch.manual_seed(0)
    z = F.normalize(torch.randn(3, 5, 6), dim=-1)
    bsq = module.BinarySphericalQuantizer(
        6, 0.3, 1.5, 0.7, 0.2, "blc", True, 3, "group", l2_norm=scaled, inv_temperature=2.0
    )
    scale = 6**-0.5 if scaled else 1.0
    codes = torch.tensor([[1.0 if code >> bit & 1 else -1.0 for bit in (2, 1, 0)] for code in range(8)]) * scale
    share = torch.stack([(2 * 2.0 * z[..., 3 * g : 3 * g + 3] @ codes.T).softmax(-1) for g in (0, 1)], dim=2)
    H = lambda p: -(p * p.log()).sum(-1)
    sample, average = H(share).sum(-1).mean(), share.mean((0, 1))
    q = torch.where(z > 0, scale, -scale)
    want = 0.3 * (q - z).square().sum(-1).mean() + 0.2 * (1.5 * sample - 0.7 * H(average).sum()) / 2.0
    found, loss, figures = bsq(z)
    close(found, q)
    close(loss, want)
    close(figures["avg_prob"], average)
    close(torch.stack(bsq.soft_entropy_loss(z)[:2]), torch.stack((sample, H(average).sum())))


def test_quantizer_codes_are_big_endian_and_survive_the_way_back():
    bsq = module.BinarySphericalQuantizer(4, 0, 0, 0, 0, group_size=2, input_format="blc")
    codes = torch.tensor([[[1.0, -1, -1, -1], [-1, -1, 1, 1], [1, 1, 1, 1], [-1, 1, -1, 1]]])
    assert bsq.codes_to_indexes(codes).tolist() == [[8, 3, 15, 5]]
    assert bsq.codes_to_group_indexes(codes).tolist() == [[[2, 0], [0, 3], [3, 3], [1, 1]]]
    assert bsq.indexes_to_codes(bsq.codes_to_indexes(codes)).equal(codes.long())
    assert bsq.group_indexes_to_codes(bsq.codes_to_group_indexes(codes)).equal(codes.long())
    assert bsq.quantize(torch.tensor([[[0.2, -0.1, 0.0, 3.0]]])).tolist() == [[[1, -1, -1, 1]]]
    assert bsq.get_codebook_entry(torch.tensor([[8]])).tolist() == [[[0.5, -0.5, -0.5, -0.5]]]
    image = module.BinarySphericalQuantizer(4, 0, 0, 0, 0, group_size=2)
    entry = image.get_codebook_entry(torch.tensor([[8, 3, 15, 5]]))
    assert entry.shape == (1, 4, 2, 2) and entry[0, :, 1, 0].tolist() == [0.5] * 4
    assert image.get_group_codebook_entry(image.codes_to_group_indexes(codes)).equal(entry)
    with pytest.raises(ValueError, match="3 codes make no square"):
        image.get_codebook_entry(torch.tensor([[8, 3, 15]]))
    with pytest.raises(ValueError, match="group_size 3 does not divide embed_dim 4"):
        module.BinarySphericalQuantizer(4, 0, 0, 0, 0, group_size=3)
    with pytest.raises(ValueError, match="cb_entropy_compute must be one of 'group', 'nce', found 'x'"):
        module.BinarySphericalQuantizer(4, 0, 0, 0, 0, group_size=2, cb_entropy_compute="x")


def test_codebook_entropy_counts_codes_and_has_the_published_gradient():
    codes = torch.tensor([[-1.0, 1], [1, 1], [1, 1], [-1, -1]], requires_grad=True)
    entropy = module.codebook_entropy(codes, torch.tensor([2, 1]), 2, eps=1e-12)
    close(entropy, -(0.25 * math.log(0.25) * 2 + 0.5 * math.log(0.5)))
    entropy.backward()
    slope = torch.tensor([math.log(0.25), math.log(0.5), math.log(0.5), math.log(0.25)]) + 1
    close(codes.grad, -slope[:, None] / 4 / 2 * codes.detach())


# --------------------------------------------------------------------------------------------------- functions


def kept_by_hand(row, top_k, top_p, least):
    """Codes of a row of logits that the published filter keeps, or None where it returns nothing."""
    order = sorted(range(len(row)), key=lambda i: -row[i])
    if top_k > 0:
        return set(order[: min(max(top_k, least), len(row))])
    if top_p >= 1:
        return None
    p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    kept, mass = set(), 0.0
    for rank, code in enumerate(order):
        if rank == 0 or mass <= top_p or (least > 1 and rank <= least):
            kept.add(code)
        mass += p[code]
    return kept


@pytest.mark.parametrize("top_k", [-1, 0, 1, 3, 50])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("least", [1, 4])
def test_filtering_keeps_the_published_codes_in_place(top_k, top_p, least):
    logits = torch.randn(4, 20, generator=torch.Generator().manual_seed(1)) * 2
    given = logits.clone()
    out = networks.top_k_top_p_filtering(given, top_k, top_p, filter_value=-99.0, min_tokens_to_keep=least)
    wanted = [kept_by_hand(row.double().numpy(), top_k, top_p, least) for row in logits]
    if wanted[0] is None:
        assert out is None and given.equal(logits)
        return
    assert out is given
    for row, before, kept in zip(given, logits, wanted, strict=True):
        assert {i for i in range(20) if row[i] != -99} == kept
        assert all(row[i] == before[i] for i in kept)


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (0, 1.0), (-1, 0.9), (5, None), (None, 0.7), (2, 1.5)])
def test_sampling_draws_the_published_code_of_a_seed(top_k, top_p):
    logits = torch.randn(200, 20, generator=torch.Generator().manual_seed(2))
    scaled = logits / 0.8
    p = scaled.softmax(-1)
    if (top_k or 0) > 0 or (top_p or 1) < 1:
        rows = scaled.double().numpy()
        kept = [kept_by_hand(row, top_k or 0, top_p if (top_k or 0) <= 0 else 1.0, 1) for row in rows]
        p = p * torch.tensor([[i in codes for i in range(20)] for codes in kept])
    torch.manual_seed(5)
    want = torch.multinomial(p / p.sum(-1, keepdim=True), 1)
    torch.manual_seed(5)
    assert networks.sample_from_logits(logits, 0.8, top_k, top_p).equal(want)


def test_sampling_without_drawing_or_with_no_probability_takes_the_likeliest():
    logits = torch.randn(50, 20)
    likeliest = logits.argmax(-1, keepdim=True)
    assert networks.sample_from_logits(logits, sample_logits=False).equal(likeliest)
    assert networks.sample_from_logits(logits, top_k=None, top_p=0.0).equal(likeliest)


def test_time_stamps_are_the_calendar_fields_of_each_bar():
    times = [datetime.datetime(2023, 12, 30, 22, 5) + datetime.timedelta(minutes=97 * i) for i in range(100)]
    table = networks.calc_time_stamps(pd.Series(times))
    assert list(table.columns) == ["minute", "hour", "weekday", "day", "month"]
    assert table.to_numpy().tolist() == [[t.minute, t.hour, t.weekday(), t.day, t.month] for t in times]
    assert set(table.dtypes) == {np.dtype("int32")}


# ----------------------------------------------------------------------------------------- the folder model/


def run_script(tmp_path, source, name="main.py", repository=ROOT, installed=True, **files):
    """What a script beside other files prints as JSON; ``installed`` says whether Python finds the package by itself."""
    for file, text in files.items():
        path = tmp_path / file.replace("__slash__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".py").write_text(text)
    hide = "" if installed else "sys.path = [p for p in sys.path if not p.endswith('src')]\n"
    (tmp_path / name).write_text(f"import json, sys\nREPOSITORY = {str(repository)!r}\n{hide}{source}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, name]
    return run_process(command, cwd=tmp_path, env=environment)


def printed(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


CLASSES = "print(json.dumps([c.__module__ for c in (Kronos, KronosTokenizer, KronosPredictor)]))\n"
OURS = ["kronos.nn.model", "kronos.nn.tokenizer", "kronos.predictor.predictor"]
IMPORT = "sys.path.append(REPOSITORY)\nfrom model import Kronos, KronosTokenizer, KronosPredictor\n"


@pytest.mark.parametrize("add", ["sys.path.append(REPOSITORY + '/model')", "sys.path.insert(0, REPOSITORY + '/model')"])
@pytest.mark.parametrize("installed", [True, False])
def test_folder_model_itself_on_the_path(add, installed, tmp_path):
    script = (
        f"{add}\nfrom kronos import Kronos, KronosTokenizer, KronosPredictor\n"
        "import kronos.calendars, module\n"
        "assert module.RMSNorm.__module__ == 'kronos.nn.layers' and kronos.nn.Kronos is Kronos\n"
    )
    if not (installed and "append" in add):  # else the package is found first, and knows nothing of this folder
        script += "from kronos import auto_regressive_inference, calc_time_stamps, sample_from_logits\n"
    done = run_script(tmp_path, script + CLASSES, installed=installed)
    assert printed(done) == OURS and "UserWarning" not in done.stderr


@pytest.mark.parametrize("installed", [True, False])
def test_file_kronos_beside_the_script_is_passed_by_with_a_warning(installed, tmp_path):
    script = IMPORT + "from model.kronos import top_k_top_p_filtering\nimport kronos.calendars\n" + CLASSES
    done = run_script(tmp_path, script, installed=installed, kronos="raise RuntimeError('executed')\n")
    assert printed(done) == OURS
    assert f"{tmp_path / 'kronos.py'} has the name of the package kronos" in done.stderr


def test_script_named_kronos(tmp_path):
    assert printed(run_script(tmp_path, IMPORT + CLASSES, "kronos.py")) == OURS


def test_own_module_kronos_that_imports_model_keeps_its_names(tmp_path, golden):
    own = (
        "import sys\nimport torch.nn as nn\n"
        f"sys.path.append({str(ROOT)!r})\n"
        "from model import Kronos, KronosTokenizer, KronosPredictor\n"
        "load = lambda: 'own'\n"
        "class Forecaster:\n"
        "    def __init__(self, folder):\n"
        "        parts = KronosTokenizer.from_pretrained(folder + '/tokenizer'), Kronos.from_pretrained(folder + '/model')\n"
        "        self.predictor = KronosPredictor(parts[1], parts[0], device='cpu', max_context=32)\n"
    )
    script = (
        "import pandas as pd, kronos\nfrom kronos import Forecaster, load, nn\n"
        "from model.module import RMSNorm\nfrom kronos.klines import read_klines\n"
        f"bars = pd.read_csv({str(golden / 'tiny' / 'bars.csv')!r})[:24]\n"
        "times = pd.Series(pd.date_range('2024-01-01', periods=26, freq='h'))\n"
        "values = bars[['open', 'high', 'low', 'close', 'volume', 'amount']]\n"
        f"predictor = Forecaster({str(golden / 'tiny')!r}).predictor\n"
        "out = predictor.predict(values, times[:24], times[24:], 2, top_k=1, verbose=False)\n"
        "ours = kronos.KronosPredictor.__module__\n"
        "print(json.dumps([load(), nn.__name__, kronos.nn.__name__, ours, list(out.shape)]))\n"
    )
    done = run_script(tmp_path, script, kronos=own)
    assert printed(done) == ["own", "torch.nn", "torch.nn", "kronos.predictor.predictor", [2, 6]]


def test_other_package_kronos_is_named_in_one_line(tmp_path):
    other = {"kronos__slash____init__": "from kronos import service\n", "kronos__slash__service": IMPORT}
    other["kronos__slash__service"] = f"import sys\nREPOSITORY = {str(ROOT)!r}\n" + IMPORT
    done = run_script(tmp_path, "import kronos\n", **other)
    assert done.returncode == 1
    hidden = tmp_path / "kronos" / "__init__.py"
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: the package {hidden} hides the package kronos")


def test_clone_in_a_folder_named_kronos_without_installation(tmp_path):
    (tmp_path / "kronos").symlink_to(ROOT)
    script = "sys.path.append('kronos')\nfrom model import Kronos, KronosTokenizer, KronosPredictor\n" + CLASSES
    assert printed(run_script(tmp_path, script, installed=False)) == OURS


def test_folder_model_without_the_package_says_what_to_install(tmp_path):
    copy = tmp_path / "copy" / "model"
    copy.mkdir(parents=True)
    for path in (ROOT / "model").glob("*.py"):
        (copy / path.name).write_bytes(path.read_bytes())
    done = run_script(tmp_path, IMPORT, repository=copy.parent, installed=False, kronos="")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: the package kronos is not installed, and not in {copy.parent / 'src'}")
    assert f"{tmp_path / 'kronos.py'} has its name" in last
