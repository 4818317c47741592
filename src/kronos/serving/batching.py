"""Dynamic batching: jobs of different callers become one batch of the engine.

A batch waits only while other requests are known to be on their way (their bodies are being read), and no longer than a window.
Worker threads each run a batch of their own; two with half of the cores each do more than one with all, since
they never wait for each other inside of an operation.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kronos.generation.sampling import Sampling
from kronos.serving.memory import give_back

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor

log = logging.getLogger(__name__)

TRIM_EVERY = 2.0
"""Seconds between two times that memory which batches have freed is given back."""
ALIKE = 4
"""Series whose horizons, or whose numbers of paths, differ by more than this factor would mostly wait for each other."""


class Cancelled(Exception):
    """Nobody waits for the job any more."""


@dataclass(eq=False)
class Job:
    """One series to forecast.

    Attributes:
        model: the name of the predictor. series: of `KronosPredictor.prepare`.
        deadline: on time.monotonic, after which nobody waits.
        calibrated: whether the model's own calibration is put on the paths.
        watched: whether the bars are wanted as they are drawn, in ``bars``, [paths, 6] each.
        done: how much of it the engine has done, 0 to 1.
        future: the paths, float32 [paths, horizon, 6].
    """

    model: str
    series: Any
    horizon: int
    paths: int
    seed: int
    sampling: Sampling
    deadline: float
    calibrated: bool = False
    future: Future[np.ndarray] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    watched: bool = False
    bars: list[np.ndarray] = field(default_factory=list)
    done: float = 0.0
    waited: float = 0.0
    company: int = 1
    """Series in its batch."""

    def wanted(self) -> bool:
        return not self.cancelled and time.monotonic() < self.deadline

    def goes_with(self, other: Job) -> bool:
        """Whether both can be in one batch without one of them paying for the other.

        A calibration reads all paths of a series, so that calibrated series go only with as many.
        """
        return (
            self.model == other.model
            and self.sampling == other.sampling
            and _alike(self.horizon, other.horizon)
            and self.calibrated == other.calibrated
            and (self.paths == other.paths if self.calibrated else _alike(self.paths, other.paths))
        )


def _alike(one: int, other: int) -> bool:
    return max(one, other) <= ALIKE * min(one, other)


class Watcher(Protocol):
    """Who is told of every batch (see `metrics`)."""

    def batch_done(self, series: int, bars: int, seconds: float) -> None: ...


class Batcher:
    """The queue, and the worker threads that empty it.

    Args:
        predictors: by name. window: seconds a batch waits at most for requests on their way. most: series in a batch.
        workers: worker threads, each with a batch of its own. threads: cores that a worker uses; None leaves PyTorch's setting.
    """

    def __init__(
        self,
        predictors: dict[str, KronosPredictor],
        window: float,
        most: int,
        workers: int = 1,
        threads: int | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._predictors, self._window, self._most, self._watcher = predictors, window, most, watcher
        self._workers, self._core_threads = workers, threads
        self._waiting: list[Job] = []
        self._expected = 0
        self._working = 0
        self._closing = False
        self._trimmed = self._worked = 0.0
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"kronos-worker-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return not self._closing and all(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """Series in the queue."""
        return len(self._waiting)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While a request is read and checked, a batch may wait for it."""
        with self._changed:
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1
                self._changed.notify_all()

    def submit(self, jobs: list[Job]) -> None:
        with self._changed:
            if self._closing:
                raise Cancelled("the service is stopping")
            self._waiting += jobs
            self._changed.notify_all()

    def freed(self) -> None:
        """Tell that a large request has ended, so that its memory is given back."""
        self._worked = time.monotonic()

    def close(self, timeout: float | None = None) -> None:
        """Take no more, finish what was begun, end the workers."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        if self._core_threads is not None:
            import torch

            torch.set_num_threads(self._core_threads)  # of this thread's operations
        while batch := self._next():
            try:
                self._work(batch)
            except Exception as error:  # the thread must outlive whatever happened
                log.exception("a batch of %d series failed", len(batch))
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(error)
            finally:
                del batch
                with self._changed:
                    self._working -= 1
                    self._trim()
                    self._worked = time.monotonic()

    def _trim(self) -> None:
        """What batches of ever new shapes have freed would pile up."""
        now = time.monotonic()
        if now - self._trimmed > TRIM_EVERY:
            self._trimmed = now
            give_back()

    def _next(self) -> list[Job]:
        """The oldest job and those that go with it; empty when there is nothing more to come."""
        with self._changed:
            while True:
                self._drop_unwanted()
                if not self._waiting:
                    if self._closing:
                        return []
                    if not self._changed.wait(TRIM_EVERY / 2) and self._trimmed < self._worked:
                        gc.collect()  # a refusal holds its request in a circle of references
                        self._trim()  # nothing to do: also what the last batches have freed
                    continue
                left = self._waiting[0].since + self._window - time.monotonic()
                if left <= 0 or not self._expected or self._closing or len(self._waiting) >= self._most:
                    break
                self._changed.wait(left)
            first = self._waiting[0]
            alike = [job for job in self._waiting if job.goes_with(first)]
            free = max(1, self._workers - self._working)
            batch = alike[: min(self._most, -(-len(alike) // free))]  # the rest is for workers that are free too
            self._working += 1
            taken = set(map(id, batch))
            self._waiting = [job for job in self._waiting if id(job) not in taken]
            for job in batch:
                job.future.set_running_or_notify_cancel()
            return batch

    def _drop_unwanted(self) -> None:
        for job in self._waiting:
            if not job.wanted() and job.future.set_running_or_notify_cancel():
                job.future.set_exception(Cancelled("nobody waits for it"))
        self._waiting = [job for job in self._waiting if not job.future.done()]

    def _work(self, batch: list[Job]) -> None:
        began = time.monotonic()
        for job in batch:
            job.waited, job.company = began - job.since, len(batch)
        try:
            drawn = self._draw(batch)
        except Cancelled as error:
            for job in batch:
                job.future.set_exception(error)
            return
        except Exception:
            if len(batch) == 1:
                raise
            log.exception("a batch of %d series failed; each is tried alone", len(batch))
            for job in batch:  # one of them must not spoil it for the others
                try:
                    self._work([job])
                except Exception as error:
                    job.future.set_exception(error)
            return
        seconds = time.monotonic() - began
        if self._watcher is not None:
            self._watcher.batch_done(len(batch), sum(job.paths * job.horizon for job in batch), seconds)
        for job, paths in zip(batch, drawn, strict=True):
            job.future.set_result(paths[: job.paths])

    def _draw(self, batch: list[Job]) -> list[np.ndarray]:
        def progress(done: int, total: int) -> None:
            if not any(job.wanted() for job in batch):
                raise Cancelled("nobody waits for it")
            for job in batch:
                job.done = done / total

        def on_bar(number: int, step: int, bars: np.ndarray) -> None:
            job = batch[number]
            if job.watched and step == len(job.bars):  # a batch that did not fit in memory begins again
                job.bars.append(bars[: job.paths])

        return self._predictors[batch[0].model].sample_prepared(
            [job.series for job in batch],
            batch[0].sampling,
            max(job.paths for job in batch),
            [job.seed for job in batch],
            calibration="auto" if batch[0].calibrated else None,
            progress=progress,
            on_bar=on_bar if any(job.watched for job in batch) else None,
        )
