"""The networks compute what the reference computes: ids equal, logits to 1e-5, losses and gradient norms to 1e-5 relative."""

import pytest
import torch
from safetensors.torch import load_file

from kronos.nn import Kronos, KronosTokenizer

CASES = ["tiny", "tiny-fixed-te"]


@pytest.fixture(params=CASES)
def case(request, golden):
    folder = golden / request.param
    tokenizer = KronosTokenizer.from_pretrained(folder / "tokenizer")
    model = Kronos.from_pretrained(folder / "model")
    return tokenizer, model, load_file(folder / "figures.safetensors")


def close(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def relative(actual, expected, rtol=1e-5):
    torch.testing.assert_close(actual.reshape(expected.shape), expected, atol=0, rtol=rtol)


def gradient_norm(network):
    return torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()


def test_tokenizer_matches_the_golden_figures(case):
    tokenizer, _, want = case
    with torch.no_grad():
        token = tokenizer.encode(want["x"])
        s1, s2 = tokenizer.encode(want["x"], half=True)
        (coarse, full), bsq_loss, quantised, ids = tokenizer(want["x"])
        assert token.equal(want["token"]) and s1.equal(want["s1"]) and s2.equal(want["s2"]) and ids.equal(want["token"])
        close(coarse, want["recon_s1"])
        close(full, want["recon"])
        close(quantised, want["quantized"])
        close(tokenizer.decode(token), want["decode"])
        close(tokenizer.decode([s1, s2], half=True), want["decode"])
        relative(bsq_loss, want["bsq_loss"])
        relative(torch.nn.functional.mse_loss(coarse, want["x"]), want["recon_loss_s1"])
        relative(torch.nn.functional.mse_loss(full, want["x"]), want["recon_loss"])


def test_tokenizer_training_step_matches_the_golden_loss_and_gradient(case):
    tokenizer, _, want = case
    loss, mse_coarse, mse_full, bsq_loss = tokenizer.train().compute_loss(want["x"])
    loss.backward()
    relative(loss.detach(), want["tokenizer_train_loss"])
    relative(gradient_norm(tokenizer), want["tokenizer_train_grad_norm"])
    torch.testing.assert_close(loss, (mse_coarse + mse_full + bsq_loss) / 2)


def test_model_generation_pass_matches_the_golden_logits(case):
    _, model, want = case
    with torch.no_grad():
        s1_logits, context = model.decode_s1(want["s1"], want["s2"], want["stamp"])
        close(s1_logits, want["s1_logits"])
        close(context, want["context"])
        picked = s1_logits[:, -1].argmax(-1, keepdim=True)
        assert picked.equal(want["picked_s1"])
        close(model.decode_s2(context, picked)[:, -1], want["s2_logits_last"])


def test_model_training_pass_matches_the_golden_logits_losses_and_gradient(case):
    _, model, want = case
    s1, s2 = want["s1"], want["s2"]
    s1_logits, s2_logits = model.train()(
        s1[:, :-1], s2[:, :-1], want["stamp"][:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    close(s1_logits, want["train_s1_logits"])
    close(s2_logits, want["train_s2_logits"])
    losses = model.head.compute_loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    losses[0].backward()
    relative(torch.stack(losses).detach(), want["train_loss"])
    relative(gradient_norm(model), want["train_grad_norm"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("part", "network"), [("tokenizer", KronosTokenizer), ("model", Kronos)])
def test_a_saved_checkpoint_has_exactly_the_keys_shapes_types_and_values_of_the_published_form(
    name, part, network, golden, tmp_path
):
    network.from_pretrained(golden / name / part).save_pretrained(tmp_path)
    ours, theirs = load_file(tmp_path / "model.safetensors"), load_file(golden / name / part / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype and ours[key].equal(tensor), key
    assert (tmp_path / "config.json").read_text() == (golden / name / part / "config.json").read_text()


def test_a_fresh_network_has_the_keys_shapes_types_and_buffers_of_the_published_form(golden):
    for name in CASES:
        for part, network in (("tokenizer", KronosTokenizer), ("model", Kronos)):
            loaded = network.from_pretrained(golden / name / part)
            fresh, published = network(**loaded.config.to_dict()).state_dict(), loaded.state_dict()
            assert {k: (v.shape, v.dtype) for k, v in fresh.items()} == {
                k: (v.shape, v.dtype) for k, v in published.items()
            }
            for key in published:
                if key.endswith(("inv_freq", "basis")):
                    torch.testing.assert_close(fresh[key], published[key], atol=1e-6, rtol=1e-6)


def test_fixed_time_tables_are_the_sinusoids_of_the_specification(golden):
    config = Kronos.from_pretrained(golden / "tiny-fixed-te" / "model").config
    table = Kronos(**config.to_dict()).get_parameter("time_emb.hour_embed.emb.weight")
    assert not table.requires_grad
    for hour, column in ((0, 0), (5, 6), (23, 39)):
        angle = torch.tensor(hour * 10000.0 ** (-(column // 2 * 2) / config.d_model))
        torch.testing.assert_close(
            table[hour, column], angle.cos() if column % 2 else angle.sin(), atol=1e-6, rtol=1e-5
        )
