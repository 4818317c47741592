"""The processes that read what callers send (`kronos.serving.reader_process`), and the queue before them."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict

from kronos.serving.config import Limits
from kronos.serving.problems import busy
from kronos.serving.reader_process import Answer, ReadTask, pack_task, receive, send, too_much_time, unpack_answer

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Readers:
    """A few processes, each reading one file or body at a time.

    Args:
        limits: see `Limits`. count: processes.
    """

    def __init__(self, limits: Limits, count: int = 2) -> None:
        self._limits = limits
        self._idle: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
        self._all = [_Reader(limits) for _ in range(count)]
        for reader in self._all:
            self._idle.put(reader)
        self._free = asyncio.Semaphore(count)
        self._threads = ThreadPoolExecutor(count, "kronos-reader")

    def start(self) -> None:
        """Start the processes, without waiting for them; those that are not started by then start with their first task."""
        for reader in self._all:
            reader.start()

    async def read(self, task: ReadTask) -> Answer:
        """Read in one of the processes.

        Raises:
            Problem: 400, 413 or 422; 503, no process was free in time.
        """
        try:
            await asyncio.wait_for(self._free.acquire(), self._limits.timeout)
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            raise busy(5) from None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, task)
        finally:
            self._free.release()

    def _read(self, task: ReadTask) -> Answer:
        reader = self._idle.get()
        try:
            return reader.read(task)
        finally:
            self._idle.put(reader)

    def close(self) -> None:
        for reader in self._all:
            reader.end()
        self._threads.shutdown()


class _Reader:
    """One process, started anew where it has ended."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        # the same modules as here, and nothing of the folder that the service happens to run in
        path = os.pathsep.join(entry for entry in sys.path if entry)
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others take far more addresses than memory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kronos.serving.reader_process", json.dumps(asdict(self._limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def read(self, task: ReadTask) -> Answer:
        self.start()
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        if not self._ready and receive(process.stdout) is None:
            self.end()
            raise RuntimeError("the process that reads files did not start; what it said stands above")
        self._ready = True
        late = threading.Timer(self._limits.timeout, process.kill)
        late.start()
        try:
            send(process.stdin, pack_task(task), task.content)
            message = receive(process.stdout)
        except OSError:
            message = None
        finally:
            late.cancel()
        if message is None:
            self.end()
            raise too_much_time(self._limits)
        return unpack_answer(*message)

    def end(self) -> None:
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not taken any more
                    stream.close()
