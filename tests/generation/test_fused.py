"""Weights made ready for generation: they follow the network, and rounded ones are what they say."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from kronos.generation import engine
from kronos.generation.fused import Projection, QuantizedLinear, fused_model, rms_normalize, rotary_freqs, rotate
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos
from kronos.nn.layers import RMSNorm, Rotary

pytestmark = pytest.mark.usefixtures("products")


def network(width=64, layers=2):
    torch.manual_seed(0)
    shape: dict[str, Any] = {"d_model": width, "n_layers": layers, "n_heads": 4, "ff_dim": 2 * width, "learn_te": True}
    drops: dict[str, Any] = dict.fromkeys(
        ("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p", "token_dropout_p"), 0.0
    )
    return Kronos(s1_bits=6, s2_bits=6, **shape, **drops).eval()


def logits(model, precision="float32"):
    """Coarse logits after a lookback of 8 and a step, of two paths."""
    generator = torch.Generator().manual_seed(3)
    s1, s2 = torch.randint(64, (2, 1, 8), generator=generator)
    fused = fused_model(model, precision)
    with torch.inference_mode():
        window = engine.ModelWindow(fused, s1, s2, torch.zeros(1, 8, model.d_model), None, 2, 1)
        window.step(torch.tensor([[1, 2]]), torch.tensor([[3, 4]]), torch.zeros(1, 2, model.d_model))
        return window.coarse_logits()


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 300])
@pytest.mark.parametrize("weights", [2**23, 2**21, 2**19])
def test_a_projection_is_a_linear_map_for_any_number_of_rows(rows, weights):
    torch.manual_seed(rows)
    weight, bias, x, other = torch.randn(96, 64), torch.randn(96), torch.randn(rows, 64), torch.randn(rows, 96)
    with torch.inference_mode():
        projection = Projection(weight, bias, weights)
        want = F.linear(x, weight, bias)
        torch.testing.assert_close(projection(x), want, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(projection.plus(x, other), want + other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.01), ("int8", 0.02)])
def test_few_and_many_rows_are_multiplied_with_the_same_rounded_weights(precision, error):
    torch.manual_seed(0)
    weight, bias, x = torch.randn(96, 64), torch.randn(96), torch.randn(40, 64)
    with torch.inference_mode():
        projection = QuantizedLinear(precision, weight, bias, 2**19)
        exact, many = F.linear(x, weight, bias), projection(x)
        assert 0 < (many - exact).abs().max() / exact.abs().max() < error
        for row in range(4):
            few = projection(x[row : row + 1])
            assert few.dtype == torch.float32
            assert (few - many[row]).abs().max() / exact.abs().max() < 0.01


def test_a_unit_of_an_rms_norm_times_root_of_width_is_the_norm_also_of_tiny_rows():
    torch.manual_seed(0)
    x = torch.randn(5, 64) * torch.tensor([1e-6, 1e-3, 1.0, 1e3, 0.0])[:, None]
    norm, epsilon = RMSNorm(64), torch.tensor((64 * 1e-5) ** 0.5)
    torch.testing.assert_close(rms_normalize(x, epsilon) * 8, norm(x), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_turning_neighbouring_pairs_is_the_rotation_of_halves_up_to_the_order(dtype):
    torch.manual_seed(0)
    rotary, x, positions = Rotary(8), torch.randn(1, 2, 5, 8, dtype=dtype), torch.arange(5)
    halves = rotary.rotation(positions[None])(x.float())
    pairs = x.unflatten(-1, (2, 4)).transpose(-1, -2).flatten(-2)
    turned = rotate(pairs, rotary_freqs(rotary.inv_freq, positions)[None, None]).float()
    back = turned.unflatten(-1, (4, 2)).transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(back, halves, atol=1e-5 if dtype == torch.float32 else 0.05, rtol=1e-4)


def test_what_is_ready_follows_every_way_of_changing_a_weight():
    model = network()
    before = logits(model)
    torch.testing.assert_close(logits(model), before)
    assert fused_model(model) is fused_model(model)
    changes = [
        lambda: model.transformer[0].ffn.w1.weight.data.mul_(1.5),
        lambda: model.load_state_dict({k: v * 0.9 for k, v in model.state_dict().items()}),
        lambda: setattr(model.head.proj_s1, "weight", torch.nn.Parameter(model.head.proj_s1.weight * 2)),
    ]
    for change in changes:
        change()
        after = logits(model)
        assert not torch.allclose(after, before, atol=1e-4)
        before = after


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.03), ("int8", 0.1)])
def test_rounded_weights_move_the_logits_a_little_and_no_more(precision, error):
    model = network()
    exact, rounded = logits(model), logits(model, precision)
    assert 0 < (rounded - exact).abs().max() / exact.abs().max() < error


def test_the_same_rounded_model_draws_whole_paths():
    model = network()
    s1, s2 = torch.randint(64, (2, 3, 8)).unbind(0)
    stamp, numbers = torch.zeros(3, 12, 5, dtype=torch.long), torch.rand(6, 4, 2, dtype=torch.float64)
    for precision in ("float32", "bfloat16", "int8"):
        new1, new2 = engine.generate_tokens(model, s1, s2, stamp, numbers, 32, Sampling(), precision=precision)
        assert new1.shape == new2.shape == (6, 4)
        assert new1.max() < 64 and new2.max() < 64


def test_an_unknown_precision_and_one_that_does_not_fit_the_model_are_refused():
    with pytest.raises(ValueError, match="'float32', 'bfloat16', 'float16', 'int8', found 'int4'"):
        fused_model(network(), "int4")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"'int8' is not to be had for torch.bfloat16 weights on cpu: load the model in float32"
    ):
        fused_model(network().bfloat16(), "int8")
