"""Drawing a token: the distribution is the one that temperature, top-k and top-p define, and edge cases are safe."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from kronos.generation.sampling import Sampling, draw, sample_from_logits, weights

LOGITS = torch.tensor([2.0, 1.7, 1.5, 1.1, 0.9, 0.4, 0.0, -0.3, -1.0, -2.5, -4.0, 1.3])
DRAWS = 60_000


def exact(logits, temperature, top_k, top_p):
    """The restricted distribution, the slow way in float64: the k likeliest, renormalised, then the nucleus of those."""
    scaled = logits.double().numpy() / temperature
    order = np.argsort(-scaled)
    p = np.exp(scaled - scaled.max())
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    if top_p is not None:
        before = np.cumsum(p[order]) - p[order]
        p[order[before > top_p]] = 0
        p /= p.sum()
    return p


def share(logits, sampling):
    p = weights(logits, sampling)
    return p / p.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "kept"),
    [
        (1.0, None, None, 12),
        (1.7, 0, 1.0, 12),
        (0.6, None, None, 12),
        (1.0, 5, None, 5),
        (1.0, None, 0.8, 6),
        (0.7, 8, 0.85, 5),
        (1.4, 6, 0.95, 6),
    ],
)
def test_draws_follow_the_exactly_restricted_distribution(temperature, top_k, top_p, kept):
    p = exact(LOGITS, temperature, top_k, top_p)
    assert (p > 0).sum() == kept
    rows = LOGITS.expand(DRAWS, -1)
    drawn = draw(rows, Sampling(temperature, top_k, top_p), torch.Generator().manual_seed(11))
    assert drawn.shape == (DRAWS, 1) and drawn.dtype == torch.int64
    counts = np.bincount(drawn.flatten(), minlength=len(p))
    assert counts[p == 0].sum() == 0
    assert chisquare(counts[p > 0], DRAWS * p[p > 0]).pvalue > 1e-3
    torch.testing.assert_close(
        share(LOGITS[None], Sampling(temperature, top_k, top_p))[0].double(), torch.from_numpy(p)
    )


def test_the_nucleus_is_taken_from_what_top_k_left():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # Of the two likeliest the first holds 4/7 = 0.571 > 0.5 alone; without top-k the first holds 0.4 and the second is needed.
    kept = lambda **settings: (weights(logits, Sampling(**settings)) > 0).sum().item()
    assert (kept(top_k=2), kept(top_p=0.5), kept(top_k=2, top_p=0.5)) == (2, 2, 1)


def test_rows_are_restricted_each_by_its_own_distribution():
    rows = torch.tensor([[10.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert (weights(rows, Sampling(top_p=0.9)) > 0).sum(-1).tolist() == [1, 4]


def test_off_settings_change_nothing():
    for sampling in (
        Sampling(),
        Sampling(1, None, None),
        Sampling(1.0, 0, 1.0),
        Sampling(1.0, 12, None),
        Sampling(1.0, 99),
    ):
        assert weights(LOGITS[None], sampling).equal(LOGITS[None].softmax(-1))


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(0.0, 5, 0.5), Sampling(top_k=1), Sampling(1e-40)])
def test_greedy_takes_the_likeliest_code_and_no_random_number(sampling):
    assert sampling.greedy
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    rows = torch.stack((LOGITS, LOGITS.flip(0)))
    assert draw(rows, sampling, generator).flatten().tolist() == [0, 11]
    assert generator.get_state().equal(before)


def test_a_tiny_top_p_keeps_the_likeliest_code():
    assert (draw(LOGITS.expand(500, -1), Sampling(top_p=1e-9)) == 0).all()


def test_a_low_temperature_approaches_greedy_and_a_high_one_the_uniform_draw():
    assert (draw(LOGITS.expand(500, -1), Sampling(1e-3)) == 0).all()
    assert (draw(LOGITS.expand(500, -1), Sampling(1e-7)) == 0).all()
    torch.testing.assert_close(weights(LOGITS[None], Sampling(1e6)), torch.full((1, 12), 1 / 12), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.01), Sampling(0.5, 3, 0.9), Sampling(0)])
def test_extreme_logits_of_any_precision_are_drawn_from(dtype, sampling):
    logits = torch.tensor([[6e4, -6e4, 0.0, -torch.inf], [-torch.inf, -torch.inf, -6e4, -torch.inf]]).to(dtype)
    assert draw(logits, sampling).flatten().tolist() == [0, 2]


def test_excluded_codes_are_never_drawn():
    logits = torch.full((2000, 8), -torch.inf)
    logits[:, [2, 5]] = 0.0
    drawn = draw(logits, Sampling(1.0, 6, 0.99), torch.Generator().manual_seed(0))
    assert set(drawn.flatten().tolist()) == {2, 5}


def test_the_same_generator_state_repeats_the_draw_and_leaves_the_global_stream_alone():
    rows = LOGITS.expand(100, -1)
    before = torch.get_rng_state()
    first, again, other = (draw(rows, Sampling(), torch.Generator().manual_seed(s)) for s in (4, 4, 5))
    assert first.equal(again) and not first.equal(other)
    assert torch.get_rng_state().equal(before)


def test_logits_and_settings_are_not_changed_by_a_draw():
    logits = LOGITS.expand(3, -1).clone()
    draw(logits, Sampling(0.5, 3, 0.5))
    assert logits.equal(LOGITS.expand(3, -1))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": 5.0}, "top_k"),
        ({"top_k": float("inf")}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"top_k": "5"}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": -0.5}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"top_p": "0.9"}, "top_p"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, named):
    value = next(iter(settings.values()))
    with pytest.raises(ValueError, match=f"^{named} must .* found") as error:
        Sampling(**settings)
    assert str(error.value).endswith(repr(value))


def test_what_is_given_takes_the_place_of_the_models_own_setting():
    own = Sampling(0.9, top_p=0.95)
    assert own.with_() == own
    assert own.with_(0, top_k=5) == Sampling(0, 5, 0.95)
    assert own.with_(top_k=0, top_p=1) == Sampling(0.9, 0, 1)
    with pytest.raises(ValueError, match=r"top_p must lie in .* found 0"):
        own.with_(top_p=0)


def test_numpy_numbers_are_settings_too():
    sampling = Sampling(np.float32(0.5), np.int64(3), np.float64(0.9))  # type: ignore[arg-type]
    assert draw(LOGITS[None], sampling).item() in (0, 1, 2)


def test_the_kept_function_draws_alike_and_takes_the_likeliest_code_when_told_not_to_sample():
    rows = LOGITS.expand(50, -1)
    torch.manual_seed(2)
    first = sample_from_logits(rows, temperature=0.8, top_k=5, top_p=0.9)
    torch.manual_seed(2)
    assert first.equal(draw(rows, Sampling(0.8, 5, 0.9)))
    assert first.shape == (50, 1)
    assert (sample_from_logits(rows, sample_logits=False) == 0).all()
