"""Child processes of tests: always ended, with all that they started.

Tests start processes by `started` and `run_process` alone; ruff refuses those of `subprocess` in tests (pyproject.toml).
"""

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil

MARK = "KRONOS_TEST_PROCESS"
"""The environment variable by which descendants are found: torchrun starts its workers in sessions of their own."""


@contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen]:
    """A process that is killed with all its descendants when the block is left; one thread, unless ``env`` says otherwise."""
    mark = uuid.uuid4().hex
    environment = options.pop("env", None) or {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [str(part) for part in command]
    process = subprocess.Popen(words, start_new_session=True, env={**environment, MARK: mark}, **options)
    try:
        yield process
    finally:
        end(process, mark)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def end(process: subprocess.Popen, mark: str) -> None:
    """Kill the process first, so that it starts no others in place of those that are killed after it."""
    if process.poll() is None:
        process.kill()
    process.wait()
    while left := descendants(mark):
        for other in left:
            with suppress(psutil.NoSuchProcess):
                other.kill()
        psutil.wait_procs(left, timeout=5)


def descendants(mark: str) -> list[psutil.Process]:
    """Running processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def run_process(
    command: Sequence[object], *, timeout: float = 240, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` does, with the output as text and an end for all descendants."""
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        out, error = process.communicate(timeout=timeout)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, error)
    if check and done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {command}\n{out}{error}")
    return done
