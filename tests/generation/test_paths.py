"""Sampled paths of many series: ragged batches, independent random streams, batches that fit in memory."""

import numpy as np
import pytest
import torch

from kronos.generation import engine
from kronos.generation.batch_plan import Window, bytes_of, memory_budget, plan, planned_bytes
from kronos.generation.paths import sample_paths, stride_of, uniforms
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer

CONTEXT = 32

Pair = tuple[KronosTokenizer, Kronos]


@pytest.fixture(scope="module")
def pair(golden):
    return KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer"), Kronos.from_pretrained(
        golden / "tiny" / "model"
    )


def window(lookback, horizon, seed):
    rng = np.random.default_rng(seed)
    stamp = np.stack([rng.integers(0, n, lookback + horizon) for n in (60, 24, 7, 32, 13)], axis=1)
    return Window(rng.normal(0, 1, (lookback, 6)).astype(np.float32), stamp[:lookback], stamp[lookback:])


@pytest.fixture(scope="module")
def universe():
    """64 series of many lookbacks and horizons: inside the context, filling it, sliding past it, longer than it."""
    rng = np.random.default_rng(0)
    return [window(int(rng.integers(2, 45)), int(rng.integers(1, 13)), i) for i in range(62)] + [
        window(8, 40, 62),
        window(28, 20, 63),
    ]


def test_the_same_seed_gives_a_series_the_same_paths_alone_and_in_a_shuffled_ragged_batch(pair: Pair, universe):
    order = np.random.default_rng(1).permutation(len(universe))
    together = sample_paths(*pair, [universe[i] for i in order], 3, CONTEXT, Sampling(), 7)
    for place, i in enumerate(order):
        alone = sample_paths(*pair, [universe[i]], 3, CONTEXT, Sampling(), 7)[0]
        assert alone.paths.shape == (3, universe[i].horizon, 6)
        np.testing.assert_allclose(together[place].paths, alone.paths, atol=1e-5)
        np.testing.assert_allclose(together[place].last, alone.last, atol=1e-5)


def test_greedy_in_a_ragged_batch_equals_one_by_one(pair: Pair, universe):
    greedy = Sampling(top_k=1)
    together = sample_paths(*pair, universe, 1, CONTEXT, greedy, 0)
    for i, got in enumerate(together):
        alone = sample_paths(*pair, [universe[i]], 1, CONTEXT, greedy, 0)[0]
        np.testing.assert_allclose(got.paths, alone.paths, atol=1e-5)


def test_more_paths_begin_with_the_same_paths_and_another_seed_gives_others(pair: Pair, universe):
    few, many = (sample_paths(*pair, universe[:3], n, CONTEXT, Sampling(), 7) for n in (2, 6))
    other = sample_paths(*pair, universe[:3], 2, CONTEXT, Sampling(), 8)
    for a, b, c in zip(few, many, other, strict=True):
        np.testing.assert_allclose(a.paths, b.paths[:2], atol=1e-5)
        assert not np.allclose(a.paths, c.paths)


def test_streams_are_even_and_differ_between_series_paths_steps_and_tokens():
    numbers = uniforms(window(10, 500, 0), 3, slice(0, 40))
    assert numbers.shape == (40, 500, 2)
    assert 0.49 < numbers.mean() < 0.51
    assert len(np.unique(numbers)) == numbers.size
    assert abs(np.corrcoef(numbers[0].ravel(), numbers[1].ravel())[0, 1]) < 0.1
    assert not np.isin(uniforms(window(10, 500, 1), 3, slice(0, 1)), numbers).any()
    np.testing.assert_array_equal(uniforms(window(10, 500, 0), 3, slice(5, 7)), numbers[5:7])


@pytest.mark.parametrize("memory", [1, 500_000, 5_000_000])
def test_every_path_of_every_series_is_in_exactly_one_batch_and_batches_fit(pair: Pair, universe, memory):
    _, model = pair
    seen = np.zeros((len(universe), 10), dtype=int)
    for batch in plan(model, universe, 10, CONTEXT, memory):
        for i in batch.members:
            seen[i, batch.paths] += 1
        lookback = min(max(universe[i].lookback for i in batch.members), CONTEXT)
        horizon = max(universe[i].horizon for i in batch.members)
        need = len(batch.members) * bytes_of(model, lookback, horizon, batch.paths.stop - batch.paths.start)
        assert need <= memory or len(batch.members) == 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("lookback", "horizon", "stride", "window"),
    [
        (256, 10, 32, (119, 10, 20)),  # the first window has room for all bars once the stride is dropped
        (128, 1, 0, (128, 1, 20)),
        (90, 38, 0, (90, 38, 20)),
    ],
)
def test_a_window_that_is_read_once_is_planned_with_shared_keys(pair, lookback, horizon, stride, window):
    assert planned_bytes(pair[1], lookback, horizon, 20, 128, stride) == bytes_of(pair[1], *window)


@pytest.mark.parametrize(("stride", "longest", "steps"), [(0, 128, 1), (32, 122, 7)])
def test_a_window_that_is_read_again_is_planned_for_every_path(pair, stride, longest, steps):
    planned = planned_bytes(pair[1], 90, 39 + 33 + 33 + 7, 20, 128, stride)
    assert planned == 20 * bytes_of(pair[1], longest, steps, 1)


def test_more_memory_means_fewer_batches(pair: Pair, universe):
    counts = [len(list(plan(pair[1], universe, 10, CONTEXT, memory))) for memory in (1, 10**6, 10**8)]
    assert counts[0] > counts[1] > counts[2]


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_paths_stay_the_same(
    pair: Pair, universe, monkeypatch
):
    want = sample_paths(*pair, universe[:5], 4, CONTEXT, Sampling(), 7)
    real, sizes = engine.generate_tokens, []

    def small_machine(model, s1, s2, stamp, uniforms, *rest):
        sizes.append(len(uniforms))
        if len(uniforms) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried ...")
        return real(model, s1, s2, stamp, uniforms, *rest)

    monkeypatch.setattr(engine, "generate_tokens", small_machine)
    got = sample_paths(*pair, universe[:5], 4, CONTEXT, Sampling(), 7)
    assert max(sizes) > 2
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.paths, b.paths, atol=1e-5)


def test_an_error_that_is_not_about_memory_is_not_swallowed(pair: Pair, universe, monkeypatch):
    def broken(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(engine, "generate_tokens", broken)
    with pytest.raises(RuntimeError, match="something else"):
        sample_paths(*pair, universe[:5], 4, CONTEXT, Sampling(), 7)


def test_the_default_budget_is_at_most_a_gibibyte_on_a_cpu():
    assert 2**26 <= memory_budget(torch.device("cpu")) <= 2**30


def test_sliding_is_exact_or_strided():
    assert stride_of("exact", 512) == 0
    assert stride_of("strided", 512) == 128
    with pytest.raises(ValueError, match="'exact' or 'strided', found 'fast'"):
        stride_of("fast", 512)  # type: ignore[arg-type]
