"""What the service asks of the library: seeds of their own, progress, bars as they are drawn, and batches that mix callers."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
import kronos
from kronos.forecast.anchoring import anchored
from kronos.generation.sampling import Sampling
from kronos.serving.batching import Batcher, Cancelled, Job
from tests.serving.test_api import offered  # noqa: F401
from tests.serving_server import bars

SAMPLING = Sampling(0.9, 0, 0.95)


@pytest.fixture(scope="module")
def predictor(offered):  # noqa: F811
    return offered["tiny"].predictor


def prepared(predictor, lookback, horizon, seed=0):
    frame = bars(lookback, seed)
    future = kronos.future_timestamps(frame["timestamps"], horizon)
    return predictor.prepare(frame.drop(columns="timestamps"), frame["timestamps"], future)


def test_every_series_has_its_own_seed_and_fewer_paths_are_the_first_of_more(predictor):
    series = [prepared(predictor, 30 + i, 4 + i, i) for i in range(3)]
    together = predictor.sample_prepared(series, SAMPLING, 5, [7, 8, 7])
    for one, seed, paths in zip(series, [7, 8, 7], together, strict=True):
        alone = predictor.sample_prepared([one], SAMPLING, 3, [seed])[0]
        np.testing.assert_allclose(paths[:3], alone, rtol=1e-5)
    other = predictor.sample_prepared(series[1:2], SAMPLING, 5, [7])[0]
    assert not np.allclose(other, together[1])


@pytest.mark.parametrize("anchor", ["level", "decaying", None])
@pytest.mark.parametrize("horizon", [6, 50])
def test_bars_come_as_they_are_drawn_and_are_those_of_the_forecast(predictor, anchor, horizon):
    """Inside the context of 64 bars and sliding past it."""
    series = [prepared(predictor, 40, horizon, 1), prepared(predictor, 40, horizon, 2)]
    seen, steps = {}, []
    drawn = predictor.sample_prepared(
        series,
        SAMPLING,
        3,
        [1, 2],
        anchor=anchor,
        progress=lambda done, total: steps.append((done, total)),
        on_bar=lambda number, step, found: seen.update({(number, step): found}),
    )
    assert steps[-1][0] == steps[-1][1] and [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert sorted(seen) == [(number, step) for number in range(2) for step in range(horizon)]
    for (number, step), found in seen.items():
        np.testing.assert_allclose(found, drawn[number][:, step], rtol=1e-4)


def test_a_horizon_that_fills_the_context_is_drawn_without_bars_on_the_way(predictor):
    seen = []
    drawn = predictor.sample_prepared(
        [prepared(predictor, 20, 70)], SAMPLING, 2, [0], on_bar=lambda *bar: seen.append(bar)
    )
    assert drawn[0].shape == (2, 70, 6) and not seen


def test_what_progress_raises_ends_the_run(predictor):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        predictor.sample_prepared([prepared(predictor, 30, 5)], SAMPLING, 2, [0], progress=stop)


def test_anchoring_part_by_part_is_anchoring_the_whole():
    rng = np.random.default_rng(0)
    paths, last, known = rng.normal(size=(2, 5, 6)).astype(np.float32), rng.normal(size=6), rng.normal(size=6)
    whole = anchored(paths, last, known, "decaying")
    parts = [anchored(paths[:, i : i + 1], last, known, "decaying", i) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole)


def job(predictor, horizon=4, paths=2, seed=0, **more):
    series = prepared(predictor, 30, horizon, seed)
    return Job("tiny", series, horizon, paths, seed, SAMPLING, time.monotonic() + 30, **more)


class Recorder:
    def __init__(self):
        self.batches = []

    def batch_done(self, series, bars, seconds):
        self.batches.append((series, bars))


def test_jobs_that_would_wait_for_each_other_are_not_put_together(predictor):
    recorder = Recorder()
    batcher = Batcher({"tiny": predictor}, 0.5, 64, watcher=recorder)
    with batcher.expecting():
        jobs = [
            job(predictor, 2),
            job(predictor, 40),
            job(predictor, 4),
            job(predictor, 3, paths=20),
            job(predictor, 8),
        ]
        greedy = job(predictor, 4)
        greedy.sampling = Sampling(0)
        batcher.submit([*jobs, greedy])
    for one in [*jobs, greedy]:
        assert one.future.result(30).shape == (one.paths, one.horizon, 6)
    batcher.close(30)
    assert [series for series, _ in recorder.batches] == [3, 1, 1, 1]


def test_workers_share_the_work_and_a_closed_batcher_finishes_what_it_has(predictor):
    recorder = Recorder()
    batcher = Batcher({"tiny": predictor}, 0.2, 64, workers=2, threads=1, watcher=recorder)
    jobs = [job(predictor, seed=i) for i in range(6)]
    with batcher.expecting():
        batcher.submit(jobs)
    batcher.close(30)
    assert all(one.future.done() for one in jobs)
    assert sorted(series for series, _ in recorder.batches) == [3, 3]
    assert not batcher.alive
    with pytest.raises(Cancelled):
        batcher.submit([job(predictor)])


def test_jobs_that_nobody_waits_for_are_dropped_unworked(predictor):
    recorder = Recorder()
    batcher = Batcher({"tiny": predictor}, 0, 64, watcher=recorder)
    late, gone, good = job(predictor), job(predictor), job(predictor)
    late.deadline, gone.cancelled = 0.0, True
    batcher.submit([late, gone, good])
    assert len(good.future.result(30)) == 2
    for one in (late, gone):
        with pytest.raises(Cancelled):
            one.future.result(30)
    batcher.close(30)
    assert recorder.batches == [(1, 8)]


def test_a_batch_waits_only_while_others_are_on_their_way(predictor):
    batcher = Batcher({"tiny": predictor}, 0.4, 64)
    began = time.monotonic()
    alone = job(predictor)
    batcher.submit([alone])
    alone.future.result(30)
    assert alone.waited < 0.3
    arrived = threading.Event()

    def late():
        with batcher.expecting():
            arrived.set()
            time.sleep(0.1)
            batcher.submit([second])

    first, second = job(predictor), job(predictor, seed=1)
    thread = threading.Thread(target=late)
    thread.start()
    arrived.wait()
    batcher.submit([first])
    assert (first.future.result(30) is not None) and first.company == 2
    thread.join()
    batcher.close(30)
    assert time.monotonic() - began < 20
