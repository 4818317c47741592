"""Properties of the networks that no golden figure shows: padding, causality, checked settings, checkpoints on disk."""

import itertools
import json
import os
import pickle
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kronos.nn import (
    CheckpointError,
    ConfigError,
    Kronos,
    KronosTokenizer,
    ModelConfig,
    TokenizerConfig,
    save_checkpoint,
)
from kronos.nn.layers import Attention, Dropout, Rotary
from kronos.nn.quantizer import BinarySphericalQuantizer, entropy

LENGTHS = (12, 7, 3)
STEPS = max(LENGTHS)


@pytest.fixture(scope="module")
def tokenizer(golden):
    return KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer")


@pytest.fixture(scope="module", params=[False, True], ids=["unrotated", "rotated"])
def model(request, golden):
    return Kronos.from_pretrained(golden / "tiny" / "model", dependency_rotary=request.param)


@pytest.fixture(scope="module")
def window():
    """Random tokens, time features, bars and next coarse tokens of a window [3, 12]."""
    seeded = torch.Generator().manual_seed(7)
    draw = lambda high: torch.randint(high, (len(LENGTHS), STEPS), generator=seeded)
    stamp = torch.stack([draw(60), draw(24), draw(7), draw(31) + 1, draw(12) + 1], dim=-1)
    return {
        "s1": draw(64),
        "s2": draw(64),
        "stamp": stamp,
        "next_s1": draw(64),
        "bars": torch.randn(len(LENGTHS), STEPS, 6, generator=seeded),
    }


@pytest.fixture(scope="module")
def padding_mask():
    """True at the left padding that makes series of LENGTHS equally long; what stands there is arbitrary."""
    return torch.arange(STEPS)[None, :] < STEPS - torch.tensor(LENGTHS)[:, None]


def same(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5)


def real_parts(window):
    """Each series alone, without its padding: (row, the slice of its real steps, its tensors [1, length, ...])."""
    for row, length in enumerate(LENGTHS):
        real = slice(STEPS - length, STEPS)
        yield row, real, {name: tensor[row : row + 1, real] for name, tensor in window.items()}


# ------------------------------------------------------------------------------------------------ padding


@torch.no_grad()
def test_left_padding_leaves_the_coarse_logits_and_the_context_of_real_steps_unchanged(model, window, padding_mask):
    logits, context = model.decode_s1(window["s1"], window["s2"], window["stamp"], padding_mask)
    assert logits.isfinite().all() and context.isfinite().all()
    for row, real, alone in real_parts(window):
        want_logits, want_context = model.decode_s1(alone["s1"], alone["s2"], alone["stamp"])
        same(logits[row, real], want_logits[0])
        same(context[row, real], want_context[0])


@torch.no_grad()
@pytest.mark.parametrize("queried", [1, 3, STEPS])
def test_left_padding_leaves_the_fine_logits_of_one_or_several_queries_unchanged(model, window, padding_mask, queried):
    _, context = model.decode_s1(window["s1"], window["s2"], window["stamp"], padding_mask)
    logits = model.decode_s2(context, window["next_s1"][:, -queried:], padding_mask)
    assert logits.shape == (len(LENGTHS), queried, 64) and logits.isfinite().all()
    for row, _, alone in real_parts(window):
        _, alone_context = model.decode_s1(alone["s1"], alone["s2"], alone["stamp"])
        want = model.decode_s2(alone_context, alone["next_s1"][:, -queried:])
        same(logits[row, -want.shape[1] :], want[0])


@torch.no_grad()
def test_left_padding_leaves_the_training_pass_and_its_loss_unchanged(model, window, padding_mask):
    s1_logits, s2_logits = model(
        window["s1"],
        window["s2"],
        window["stamp"],
        padding_mask,
        use_teacher_forcing=True,
        s1_targets=window["next_s1"],
    )
    wanted = []
    for row, real, alone in real_parts(window):
        want = model(alone["s1"], alone["s2"], alone["stamp"], use_teacher_forcing=True, s1_targets=alone["next_s1"])
        same(s1_logits[row, real], want[0][0])
        same(s2_logits[row, real], want[1][0])
        wanted.append((*want, alone["next_s1"], alone["s2"]))
    losses = model.head.compute_loss(s1_logits, s2_logits, window["next_s1"], window["s2"], padding_mask)
    joined = (torch.cat(parts, dim=1) for parts in zip(*wanted, strict=True))
    same(torch.stack(losses), torch.stack(model.head.compute_loss(*joined)))


@torch.no_grad()
def test_left_padding_leaves_the_tokenizer_unchanged_at_real_steps(tokenizer, window, padding_mask):
    ids = tokenizer.encode(window["bars"], padding_mask=padding_mask)
    s1, s2 = tokenizer.encode(window["bars"], half=True, padding_mask=padding_mask)
    bars = tokenizer.decode(window["s1"] | window["s2"] << 6, padding_mask=padding_mask)
    (coarse, full), _, quantised, forward_ids = tokenizer(window["bars"], padding_mask)
    for row, real, alone in real_parts(window):
        want_s1, want_s2 = tokenizer.encode(alone["bars"], half=True)
        assert ids[row, real].equal(tokenizer.encode(alone["bars"])[0])
        assert forward_ids[row, real].equal(ids[row, real])
        assert s1[row, real].equal(want_s1[0]) and s2[row, real].equal(want_s2[0])
        same(bars[row, real], tokenizer.decode((alone["s1"], alone["s2"]), half=True)[0])
        (want_coarse, want_full), _, want_quantised, _ = tokenizer(alone["bars"])
        same(coarse[row, real], want_coarse[0])
        same(full[row, real], want_full[0])
        same(quantised[row, real], want_quantised[0])


@torch.no_grad()
def test_a_padding_mask_may_be_numbers_and_a_mask_without_padding_changes_nothing(model, window, padding_mask):
    ids = window["s1"], window["s2"], window["stamp"]
    assert model.decode_s1(*ids, padding_mask.long())[0].equal(model.decode_s1(*ids, padding_mask)[0])
    same(model.decode_s1(*ids, torch.zeros_like(padding_mask))[0], model.decode_s1(*ids)[0])


def test_a_padding_mask_of_another_shape_is_refused_with_both_shapes(model, window, padding_mask):
    with pytest.raises(ValueError, match=r"\[3, 12\].*\[3, 11\]"):
        model.decode_s1(window["s1"], window["s2"], None, padding_mask[:, 1:])


def test_a_loss_over_nothing_but_padding_is_refused(model, window):
    logits = torch.zeros(3, STEPS, 64)
    with pytest.raises(ValueError, match="no bar"):
        model.head.compute_loss(logits, logits, window["s1"], window["s2"], torch.ones(3, STEPS))


# ---------------------------------------------------------------------------------------------- causality


@torch.no_grad()
@pytest.mark.parametrize("now", [1, 6, 11])
def test_nothing_the_model_says_of_a_step_depends_on_later_steps(model, window, now):
    changed = {name: tensor.clone() for name, tensor in window.items()}
    for name, modulus in (("s1", 64), ("s2", 64), ("next_s1", 64), ("stamp", 7)):
        changed[name][:, now:] = (changed[name][:, now:] + 1) % modulus
    outputs = []
    for inputs in (window, changed):
        ids = inputs["s1"], inputs["s2"], inputs["stamp"]
        s1_logits, context = model.decode_s1(*ids)
        training = model(*ids, use_teacher_forcing=True, s1_targets=inputs["next_s1"])
        outputs.append((s1_logits, context, model.decode_s2(context, inputs["next_s1"]), *training))
    for before, after in zip(*outputs, strict=True):
        same(after[:, :now], before[:, :now], atol=1e-6)
        assert not torch.allclose(after[:, now:], before[:, now:])


@torch.no_grad()
@pytest.mark.parametrize("now", [1, 6, 11])
def test_nothing_the_tokenizer_says_of_a_bar_depends_on_later_bars(tokenizer, window, now):
    bars = window["bars"].clone()
    bars[:, now:] += 1.0
    (coarse, full), _, quantised, ids = tokenizer(window["bars"])
    (coarse_2, full_2), _, quantised_2, ids_2 = tokenizer(bars)
    assert ids_2[:, :now].equal(ids[:, :now]) and not ids_2[:, now:].equal(ids[:, now:])
    for before, after in ((coarse, coarse_2), (full, full_2), (quantised, quantised_2)):
        same(after[:, :now], before[:, :now], atol=1e-6)
    tokens = ids.clone()
    tokens[:, now:] ^= 0b101
    same(tokenizer.decode(tokens)[:, :now], tokenizer.decode(ids)[:, :now], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("queried", [STEPS, 5])
def test_several_queries_at_once_equal_one_query_at_a_time(model, window, queried):
    _, context = model.decode_s1(window["s1"], window["s2"], window["stamp"])
    at_once = model.decode_s2(context, window["next_s1"][:, -queried:])
    one_by_one = [
        model.decode_s2(context[:, : t + 1], window["next_s1"][:, t : t + 1]) for t in range(STEPS - queried, STEPS)
    ]
    same(at_once, torch.cat(one_by_one, dim=1))


@torch.no_grad()
def test_only_a_model_with_dependency_rotary_generates_as_it_trains(model, window):
    ids = window["s1"], window["s2"], window["stamp"]
    s1_logits, s2_logits = model(*ids, use_teacher_forcing=True, s1_targets=window["next_s1"])
    generated_s1, context = model.decode_s1(*ids)
    generated_s2 = model.decode_s2(context, window["next_s1"])
    same(generated_s1, s1_logits)
    if model.config.dependency_rotary:
        same(generated_s2, s2_logits)
    else:
        assert (generated_s2 - s2_logits)[:, 1:].abs().max() > 1e-3


@torch.no_grad()
def test_without_teacher_forcing_the_fine_logits_follow_a_drawn_coarse_token(model, window):
    ids = window["s1"], window["s2"]
    torch.manual_seed(3)
    s1_logits, s2_logits = model(*ids)
    torch.manual_seed(3)
    drawn = torch.multinomial(s1_logits.flatten(0, 1).softmax(-1), 1).view(3, STEPS)
    same(s2_logits, model(*ids, use_teacher_forcing=True, s1_targets=drawn)[1])


def test_wrong_shapes_are_refused_in_words(model, tokenizer, window):
    s1, s2 = window["s1"], window["s2"]
    with pytest.raises(ValueError, match=r"\[3, 12\] and s2_ids \[3, 11\]"):
        model.decode_s1(s1, s2[:, 1:])
    with pytest.raises(ValueError, match=r"stamp must have the shape \[series, 12, 5\].*\[3, 11, 5\]"):
        model.decode_s1(s1, s2, window["stamp"][:, 1:])
    with pytest.raises(ValueError, match="needs s1_targets"):
        model(s1, s2, use_teacher_forcing=True)
    with pytest.raises(ValueError, match="12 coarse tokens for a context of 4 steps"):
        model.decode_s2(torch.zeros(3, 4, 32), s1)
    with pytest.raises(ValueError, match=r"\[series, steps, 6\], found \[3, 12, 5\]"):
        tokenizer.encode(window["bars"][..., :5])


# ----------------------------------------------------------------------------------------- codes and ids


@torch.no_grad()
def test_the_composite_id_has_the_coarse_token_in_its_low_bits(tokenizer, window):
    ids = tokenizer.encode(window["bars"])
    s1, s2 = tokenizer.encode(window["bars"], half=True)
    assert ids.equal(s1 | s2 << tokenizer.s1_bits)
    assert s1.equal(ids % 2**tokenizer.s1_bits) and s2.equal(ids >> tokenizer.s1_bits)
    assert tokenizer.decode(ids).equal(tokenizer.decode((s1, s2), half=True))
    assert tokenizer.decode(ids).equal(tokenizer.decode([s1, s2], half=True))


def test_every_id_survives_the_way_to_its_corner_and_back(tokenizer):
    quantizer = tokenizer.quantizer
    for bits in (tokenizer.s1_bits, tokenizer.codebook_dim):
        ids = torch.arange(2**bits).view(1, -1)
        corners = quantizer.corners(ids, bits)
        assert quantizer.ids(corners).equal(ids)
        same(corners.abs(), torch.full_like(corners, tokenizer.codebook_dim**-0.5))
    assert quantizer.corners(torch.tensor(1), 3).sign().tolist() == [1, -1, -1]  # little-endian


def test_quantising_takes_the_sign_and_passes_the_gradient_straight_through(tokenizer):
    z = torch.tensor([[[0.3, -0.2, 0.0] * 4]], requires_grad=True)
    quantised = tokenizer.quantizer.quantise(z)
    same(quantised.sign(), torch.tensor([[[1.0, -1.0, -1.0] * 4]]))  # zero counts as -1
    quantised.sum().backward()
    same(z.grad, torch.full_like(z, 12**-0.5))


@pytest.mark.parametrize("sharpness", [1.0, 7.5])
@pytest.mark.parametrize("group_size", [1, 2, 3, 4, 6])
def test_grouped_codebook_entropy_equals_the_softmax_over_all_codes_of_a_group(group_size, sharpness):
    bits = 12
    quantizer = BinarySphericalQuantizer(bits, 0, 0, 1, 1, group_size, "groups", sharpness)
    z = torch.nn.functional.normalize(torch.randn(4, 9, bits, generator=torch.Generator().manual_seed(1)), dim=-1)
    codes = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=group_size))) * bits**-0.5
    groups = z.view(4, 9, bits // group_size, group_size)
    average = torch.softmax(2 * sharpness * groups @ codes.T, dim=-1).mean((0, 1))
    want = entropy(average).sum()
    torch.testing.assert_close(quantizer.grouped_entropy(z), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(quantizer.loss(z, quantizer.quantise(z)), -want, atol=1e-5, rtol=1e-5)


def test_only_the_grouped_entropy_notices_bits_that_repeat_each_other():
    half = torch.randn(1, 4096, 2, generator=torch.Generator().manual_seed(1)).sign()
    repeated = torch.cat((half, half), dim=-1) * 0.5
    free = torch.randn(1, 4096, 4, generator=torch.Generator().manual_seed(2)).sign() * 0.5
    published, grouped = (BinarySphericalQuantizer(4, 0, 0, 1, 1, 4, form, 20.0) for form in ("bits", "groups"))
    loss = lambda quantizer, z: quantizer.loss(z, z).item()
    assert loss(published, repeated) == pytest.approx(loss(published, free), abs=0.01)
    assert loss(grouped, repeated) > loss(grouped, free) + 1.0  # two bits of four are lost: 2 ln 2 = 1.39


# ----------------------------------------------------------------------------------------------- settings


def config_of(golden, part):
    return json.loads((golden / "tiny" / part / "config.json").read_text())


@pytest.mark.parametrize(("part", "settings"), [("model", ModelConfig), ("tokenizer", TokenizerConfig)])
def test_missing_and_unknown_settings_are_all_named_with_the_file(golden, part, settings):
    values = config_of(golden, part)
    del values["ff_dim"], values["s1_bits"]
    with pytest.raises(ConfigError, match=r"x/config.json lacks .*and has unknown colour, size") as error:
        settings.from_dict({**values, "colour": 1, "size": 2}, source="x/config.json")
    assert "lacks" in str(error.value) and "ff_dim" in str(error.value) and "s1_bits" in str(error.value)


IMPOSSIBLE = [
    ("model", "n_layers", 0, "n_layers"),
    ("model", "n_layers", 2.0, "n_layers"),
    ("model", "n_layers", True, "n_layers"),
    ("model", "n_layers", "2", "n_layers"),
    ("model", "n_heads", 3, "d_model 32 .* 3 heads"),
    ("model", "n_heads", 32, "d_model 32 .* 32 heads"),
    ("model", "d_model", 20, "d_model 20 .* 4 heads of the dependency layer"),
    ("model", "s1_bits", 21, "at most 20"),
    ("model", "ffn_dropout_p", 1.0, "ffn_dropout_p"),
    ("model", "token_dropout_p", -0.1, "token_dropout_p"),
    ("model", "attn_dropout_p", float("nan"), "attn_dropout_p"),
    ("model", "resid_dropout_p", None, "resid_dropout_p"),
    ("model", "learn_te", 1, "learn_te"),
    ("model", "dependency_rotary", "yes", "dependency_rotary"),
    ("tokenizer", "d_in", 0, "d_in"),
    ("tokenizer", "n_enc_layers", 0, "n_enc_layers"),
    ("tokenizer", "group_size", 5, "group_size 5 .* 12"),
    ("tokenizer", "beta", -1, "beta"),
    ("tokenizer", "zeta", float("inf"), "zeta"),
    ("tokenizer", "gamma", float("nan"), "gamma"),
    ("tokenizer", "codebook_entropy", "codes", "codebook_entropy"),
    ("tokenizer", "codebook_entropy", ["bits"], "codebook_entropy"),
    ("tokenizer", "entropy_sharpness", "1", "entropy_sharpness"),
]


@pytest.mark.parametrize(("part", "key", "value", "named"), IMPOSSIBLE)
def test_an_impossible_setting_is_named_at_construction(golden, part, key, value, named):
    values = {**config_of(golden, part), key: value}
    if (part, key) == ("model", "d_model"):
        values["n_heads"] = 2
    with pytest.raises(ConfigError, match=named):
        {"model": Kronos, "tokenizer": KronosTokenizer}[part](**values)


def test_an_impossible_setting_in_a_file_is_named_with_the_file(golden, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**config_of(golden, "model"), "n_heads": 3}))
    with pytest.raises(ConfigError, match=rf"{tmp_path}/config.json: d_model 32"):
        Kronos.from_pretrained(tmp_path)


def test_a_grouped_entropy_over_too_many_codes_is_refused(golden):
    with pytest.raises(ConfigError, match="at most 12"):
        TokenizerConfig(
            **{**config_of(golden, "tokenizer"), "s1_bits": 8, "s2_bits": 8, "group_size": 16},
            codebook_entropy="groups",
        )


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00\x01"])
def test_a_config_that_is_no_object_of_settings_is_refused_by_name(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        Kronos.from_pretrained(tmp_path)


def test_optional_settings_are_written_only_where_they_differ_from_the_published_behaviour(golden, tmp_path):
    for part, network, chosen in (
        ("model", Kronos, {"dependency_rotary": True}),
        ("tokenizer", KronosTokenizer, {"codebook_entropy": "groups", "entropy_sharpness": 3.0}),
    ):
        published = config_of(golden, part)
        assert network(**published).config.to_dict() == published
        for save in (lambda n, to: n.save_pretrained(to), save_checkpoint):
            save(network(**published, **chosen), tmp_path / part)
            written = json.loads((tmp_path / part / "config.json").read_text())
            assert written == {**published, **chosen}
            assert network.from_pretrained(tmp_path / part).config == network(**published, **chosen).config


# ----------------------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize(("part", "network"), [("model", Kronos), ("tokenizer", KronosTokenizer)])
def test_half_precision_is_for_parameters_on_disk_only(part, network, golden, tmp_path):
    original = network.from_pretrained(golden / "tiny" / part)
    save_checkpoint(original, tmp_path, half=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    stored, state = load_file(tmp_path / "model.safetensors"), original.state_dict()
    parameters = {name for name, _ in original.named_parameters()}
    assert stored.keys() == state.keys()
    for name, tensor in stored.items():
        if name in parameters:
            assert tensor.dtype == torch.float16 and tensor.equal(state[name].half()), name
        else:
            assert tensor.dtype == state[name].dtype and tensor.equal(state[name]), name
    loaded = network.from_pretrained(tmp_path)
    assert not loaded.training
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert {k: v.dtype for k, v in loaded.state_dict().items()} == {k: v.dtype for k, v in state.items()}
    assert (tmp_path / "model.safetensors").stat().st_size < (
        golden / "tiny" / part / "model.safetensors"
    ).stat().st_size


@pytest.fixture
def folder(golden, tmp_path):
    """A writable copy of the tiny model's folder."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((golden / "tiny" / "model" / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("damage", ["empty", "truncated", "header", "garbage", "text"])
def test_a_damaged_weights_file_is_refused_by_name(damage, folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "header": whole[:20],
            "garbage": b"\xff" * 4096,
            "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        }[damage]
    )
    with pytest.raises(CheckpointError, match=rf"{path}"):
        Kronos.from_pretrained(folder)


def test_tensors_of_another_shape_missing_or_unknown_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    path = folder / "model.safetensors"
    save_file({**tensors, "norm.weight": torch.ones(31)}, path)
    with pytest.raises(CheckpointError, match=r"of another shape \(norm.weight is \[31\], expected \[32\]\)"):
        Kronos.from_pretrained(folder, strict=False)
    save_file({k: v for k, v in tensors.items() if k != "norm.weight"} | {"extra.weight": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(norm.weight\); 1 unknown \(extra.weight\)"):
        Kronos.from_pretrained(folder)
    assert isinstance(Kronos.from_pretrained(folder, strict=False), Kronos)


def test_the_other_networks_folder_is_refused(golden):
    with pytest.raises(ConfigError, match=r"tokenizer/config.json lacks n_layers, .* has unknown .*d_in"):
        Kronos.from_pretrained(golden / "tiny" / "tokenizer")


class Trap:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_is_refused_unread(name, folder):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Trap(folder / "trace")))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Kronos.from_pretrained(folder)
    assert not (folder / "trace").exists()


@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(broken, folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    network = Kronos.from_pretrained(folder)
    with torch.no_grad():
        network.norm.weight.add_(1)

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(network, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    monkeypatch.undo()
    save_checkpoint(network, folder)
    assert Kronos.from_pretrained(folder).norm.weight.equal(network.norm.weight)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_settings_given_to_from_pretrained_replace_those_of_the_file(golden):
    network = Kronos.from_pretrained(golden / "tiny" / "model", attn_dropout_p=0.25)
    assert network.config.attn_dropout_p == 0.25
    attention: Any = network.transformer[0].self_attn
    assert attention.attn_dropout_p == 0.25
    assert not network.training


def test_weights_that_are_not_finite_are_refused_by_name(golden, tmp_path):
    diverged = Kronos.from_pretrained(golden / "tiny" / "model")
    with torch.no_grad():
        diverged.norm.weight[0] = torch.nan
    save_checkpoint(diverged, tmp_path)
    with pytest.raises(CheckpointError, match=r"not finite in norm\.weight"):
        Kronos.from_pretrained(tmp_path)


def attended(layer, rotation, x, short):
    """What the attention makes of bars [2, T, 16], and the gradients of its sum of squares; products in bfloat16 if ``short``."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=short):
        out = layer.attend(layer.queries(x), *layer.keys_values(x), rotation, None, causal=True).float()
    return out.detach(), *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])


@pytest.mark.parametrize("steps", [1, 3, 100, 300])
def test_attention_with_products_in_bfloat16_is_that_of_float32_to_its_rounding(steps):
    torch.manual_seed(0)
    layer = Attention(16, 2)
    rotation = Rotary(8).rotation(torch.arange(steps)[None])
    x = torch.randn(2, steps, 16)
    for exact, rounded in zip(*(attended(layer, rotation, x, short) for short in (False, True)), strict=True):
        assert (rounded - exact).norm() < 0.03 * max(exact.norm(), 1e-3)


def test_attention_with_products_in_bfloat16_does_not_see_later_bars():
    torch.manual_seed(0)
    layer, rotation = Attention(16, 2), Rotary(8).rotation(torch.arange(150)[None])
    x = torch.randn(1, 150, 16)
    changed = torch.cat((x[:, :97], torch.randn(1, 53, 16)), dim=1)
    before, after = attended(layer, rotation, x, True)[0], attended(layer, rotation, changed, True)[0]
    assert before[:, :97].equal(after[:, :97])
    assert not before[:, 97:].equal(after[:, 97:])


@pytest.mark.parametrize("p", [0.001, 0.2, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(1)
    out = Dropout(p)(torch.ones(1001, 999))
    dropped = (out == 0).float().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / out.numel()) ** 0.5
    assert out[out != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)
    columns = (out == 0).float().mean(0)  # the four numbers of a draw do not depend on each other
    assert (columns - p).abs().max() < 6 * (p * (1 - p) / len(out)) ** 0.5
    pairs = (out[:, 1:] == 0) & (out[:, :-1] == 0)
    assert abs(pairs.float().mean().item() - p * p) < 6 * p / out.numel() ** 0.5


def test_dropout_follows_the_seed_ends_with_training_and_can_drop_all():
    x = torch.randn(3, 5)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(x))
    assert drawn[0].equal(drawn[1])
    assert Dropout(0.5).eval()(x).equal(x)
    assert not Dropout(1.0)(x).any()
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16
