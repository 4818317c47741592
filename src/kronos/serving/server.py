"""Running the service: models into memory, a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from kronos.serving.app import create_app
from kronos.serving.config import Limits, Settings
from kronos.serving.memory import set_up_memory
from kronos.serving.middleware import Guard
from kronos.serving.protocol import protocol_of
from kronos.serving.reader_pool import Readers
from kronos.serving.startup import BACKLOG, address_of, listen, load_models  # noqa: F401 (imported from here by callers)
from kronos.serving.work import LoadedModel

GRACE = 120
"""Seconds that requests begun before the end are given to be finished."""


def suited(
    settings: Settings,
    offered: Mapping[str, LoadedModel],
    batch: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> Settings:
    """Batches and worker threads for the device, where nothing was said.

    On a CPU two workers with a core each do more than one with two, and what a batch of more than 16 series needs is in no cache.
    A GPU takes one large batch at a time.
    """
    if any(str(one.predictor.device) != "cpu" for one in offered.values()):
        return replace(settings, batch=batch or 64, workers=workers or 1, threads=threads)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = workers or cores
    return replace(settings, batch=batch or 16, workers=workers, threads=threads or max(1, cores // workers))


def server_of(app: Guard, limits: Limits) -> uvicorn.Server:
    """uvicorn, set up as the service needs it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=GRACE,
            backlog=BACKLOG,
            lifespan="on",
            ws="none",
            http=protocol_of(limits),
        )
    )


def serve(offered: Mapping[str, LoadedModel], settings: Settings, bound: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; what was begun is finished first (a second Ctrl-C does not wait)."""
    set_up_logging()
    set_up_memory()
    readers = Readers(settings.limits)
    readers.start()
    gc.collect()
    gc.freeze()  # or each full collection goes over all of PyTorch and pandas again, 150 ms in which nobody is answered
    with _signals_end_quietly():
        server_of(create_app(offered, settings, readers), settings.limits).run(sockets=[bound])


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """uvicorn sends a signal that it has obeyed once more to the handlers before its own; these do nothing."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def set_up_logging() -> None:
    """One line of JSON a request on standard error; words for the rest."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger("kronos.access")
    access.handlers, access.propagate = [lines], False
    access.setLevel(logging.INFO)
    words = logging.StreamHandler(sys.stderr)
    words.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("kronos.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [words], False
        logger.setLevel(logging.WARNING)
