"""Sampled paths of many series: ragged batches, independent random streams, batches that fit in memory."""

import numpy as np
import pytest

from kronos.generation.paths import Window, bytes_of, plan, sample_paths, uniforms
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer

CONTEXT = 32


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


def test_the_same_seed_gives_a_series_the_same_paths_alone_and_in_a_shuffled_ragged_batch(pair, universe):
    order = np.random.default_rng(1).permutation(len(universe))
    together = sample_paths(*pair, [universe[i] for i in order], 3, CONTEXT, Sampling(), 7)
    for place, i in enumerate(order):
        alone = sample_paths(*pair, [universe[i]], 3, CONTEXT, Sampling(), 7)[0]
        assert alone.shape == (3, universe[i].horizon, 6)
        np.testing.assert_allclose(together[place], alone, atol=1e-5)


def test_greedy_in_a_ragged_batch_equals_one_by_one(pair, universe):
    greedy = Sampling(top_k=1)
    together = sample_paths(*pair, universe, 1, CONTEXT, greedy, 0)
    for i, got in enumerate(together):
        np.testing.assert_allclose(got, sample_paths(*pair, [universe[i]], 1, CONTEXT, greedy, 0)[0], atol=1e-5)


def test_more_paths_begin_with_the_same_paths_and_another_seed_gives_others(pair, universe):
    few, many = (sample_paths(*pair, universe[:3], n, CONTEXT, Sampling(), 7) for n in (2, 6))
    other = sample_paths(*pair, universe[:3], 2, CONTEXT, Sampling(), 8)
    for a, b, c in zip(few, many, other, strict=True):
        np.testing.assert_allclose(a, b[:2], atol=1e-5)
        assert not np.allclose(a, c)


def test_streams_are_even_and_differ_between_series_paths_steps_and_tokens():
    numbers = uniforms(window(10, 500, 0), 3, slice(0, 40))
    assert numbers.shape == (40, 500, 2)
    assert 0.49 < numbers.mean() < 0.51
    assert len(np.unique(numbers)) == numbers.size
    assert abs(np.corrcoef(numbers[0].ravel(), numbers[1].ravel())[0, 1]) < 0.1
    assert not np.isin(uniforms(window(10, 500, 1), 3, slice(0, 1)), numbers).any()
    np.testing.assert_array_equal(uniforms(window(10, 500, 0), 3, slice(5, 7)), numbers[5:7])


@pytest.mark.parametrize("memory", [1, 500_000, 5_000_000])
def test_every_path_of_every_series_is_in_exactly_one_batch_and_batches_fit(pair, universe, memory):
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


def test_more_memory_means_fewer_batches(pair, universe):
    counts = [len(list(plan(pair[1], universe, 10, CONTEXT, memory))) for memory in (1, 10**6, 10**8)]
    assert counts[0] > counts[1] > counts[2]
