"""What the running service holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread

from kronos import __version__
from kronos.serving.batching import Batcher, Cancelled
from kronos.serving.config import Settings
from kronos.serving.metrics import Metrics
from kronos.serving.problems import stopping
from kronos.serving.reader_pool import Readers
from kronos.serving.work import LoadedModel, Work

Made = TypeVar("Made")
READERS = 4
"""Threads that prepare requests and write answers; more would only wait for Python's lock."""


@dataclass
class State:
    """Settings, the models in memory, the queue, and the figures."""

    settings: Settings
    offered: Mapping[str, LoadedModel]
    batcher: Batcher
    metrics: Metrics
    readers: Readers
    version: str = __version__
    threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS))

    def begun(self, works: list[Work], watched: bool) -> None:
        """Hand the jobs to the engine; those that are watched give their bars as they are drawn."""
        for work in works:
            work.job.watched = watched
        try:
            self.batcher.submit([work.job for work in works])
        except Cancelled as error:
            raise stopping() from error


async def in_thread(state: State, make: Callable[[], Made]) -> Made:
    """Run what takes long beside the event loop."""
    return await anyio.to_thread.run_sync(make, limiter=state.threads)
