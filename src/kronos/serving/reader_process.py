"""Read callers' files and JSON in a process of its own; `kronos.serving.reader_pool` starts it and asks it.

The process reads one request after the other from standard input and answers on standard output. Where the system has ``fork``,
each request is read in a copy of the process that is held to limits of memory and time and ends afterwards: whatever a file does
there, it can neither fill the memory of the service nor hold its lock. Elsewhere the process reads by itself and only the time is
limited, by `reader_pool`. What crosses back is JSON and plain arrays, nothing that is unpickled.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import pandas as pd

from kronos.klines.read_options import ReadOptions
from kronos.serving.bodies import ReadSeries, read_batch, read_forecast
from kronos.serving.config import MIB, Limits
from kronos.serving.inputs import CALENDARS, from_file, inspected
from kronos.serving.memory import LARGE, give_back
from kronos.serving.problems import Problem
from kronos.serving.schemas import RequestOptions

SIZES = struct.Struct("<QQ")
"""Before each message: bytes of its JSON and of its content."""
NICENESS = 5
"""Added to the process's own: what others wait for goes first."""


@dataclass(frozen=True)
class ReadTask:
    """What is to be read.

    Attributes:
        kind: "file" (one series of a file), "inspect" (what is in a file), "forecast" or "batch" (JSON bodies).
        content: the file or the body. name: the file's. options: how a file is read. calendar: of an inspection.
        timeframe: of the bars that are made of a file's.
    """

    kind: str
    content: bytes
    name: str | None = None
    options: ReadOptions | None = None
    calendar: str | None = None
    timeframe: str | None = None


@dataclass(frozen=True)
class Answer:
    """What was read: series, or an inspection as JSON."""

    series: tuple[ReadSeries, ...] = ()
    document: bytes = b""


def read(task: ReadTask, limits: Limits) -> Answer:
    """Read in this process.

    Raises:
        Problem: 400, 413 or 422.
    """
    options = task.options or ReadOptions()
    if task.kind == "inspect":
        return Answer(document=inspected(task.content, task.name, None, limits, options, task.calendar, task.timeframe))
    if task.kind == "file":
        frame = from_file(task.content, task.name, limits, options, task.timeframe)
        return Answer((ReadSeries(str(frame.attrs.get("symbol", "")), None, frame),))
    if task.kind == "forecast":
        return Answer((read_forecast(task.content, limits),))
    return Answer(read_batch(task.content, limits))


# ------------------------------------------------------------------------------------------------ messages


def send(stream: IO[bytes], head: Mapping[str, Any], content: bytes | bytearray = b"") -> None:
    packed = json.dumps(head).encode()
    stream.write(SIZES.pack(len(packed), len(content)) + packed)
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None where the stream has ended."""
    sizes = stream.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    heads, contents = SIZES.unpack(sizes)
    head, content = stream.read(heads), stream.read(contents)
    return (json.loads(head), content) if len(content) == contents else None


def pack_task(task: ReadTask) -> dict[str, Any]:
    options = None if task.options is None else asdict(task.options)
    return {
        "kind": task.kind,
        "name": task.name,
        "options": options,
        "calendar": task.calendar,
        "timeframe": task.timeframe,
    }


def _unpack_task(head: Mapping[str, Any], content: bytes) -> ReadTask:
    options = None if head["options"] is None else ReadOptions(**head["options"])
    return ReadTask(head["kind"], content, head["name"], options, head["calendar"], head["timeframe"])


def _pack_answer(answer: Answer) -> tuple[dict[str, Any], bytearray]:
    content = bytearray(answer.document)
    series = [_pack_series(one, content) for one in answer.series]
    return {"series": series, "document": len(answer.document)}, content


def unpack_answer(head: Mapping[str, Any], content: bytes) -> Answer:
    """The answer of a message.

    Raises:
        Problem: the one that the message tells.
    """
    if "problem" in head:
        raise _unpack_problem(head["problem"])
    if "failed" in head:
        raise RuntimeError(f"reading failed:\n{head['failed']}")
    view = memoryview(content)[head["document"] :]
    series = []
    for packed in head["series"]:
        one, used = _unpack_series(packed, view)
        series.append(one)
        view = view[used:]
    return Answer(tuple(series), content[: head["document"]])


def _pack_series(one: ReadSeries, content: bytearray) -> dict[str, Any]:
    """A series as JSON, its numbers appended to ``content``: times as nanoseconds (UTC where there is a zone), then float64."""
    packed: dict[str, Any] = {"id": one.id, "options": None if one.options is None else one.options.model_dump()}
    if isinstance(one.bars, Problem):
        return packed | {"problem": _pack_problem(one.bars)}
    times = pd.DatetimeIndex(one.bars["timestamps"])
    names = [name for name in one.bars.columns if name != "timestamps"]
    content += times.as_unit("ns").asi8.astype("<i8").tobytes()
    for name in names:
        content += one.bars[name].to_numpy("<f8").tobytes()
    attrs = {
        name: one.bars.attrs[name]
        for name in ("symbol", "notes", "unused", "cleaning", "validation")
        if name in one.bars.attrs
    }
    return packed | {
        "rows": len(times),
        "tz": None if times.tz is None else str(times.tz),
        "names": names,
        "attrs": attrs,
    }


def _unpack_series(packed: Mapping[str, Any], view: memoryview) -> tuple[ReadSeries, int]:
    options = None if packed["options"] is None else RequestOptions.model_validate(packed["options"])
    if "problem" in packed:
        return ReadSeries(packed["id"], options, _unpack_problem(packed["problem"])), 0
    rows, names = packed["rows"], packed["names"]
    times = pd.DatetimeIndex(np.frombuffer(view, "<i8", rows).astype("datetime64[ns]"))
    if packed["tz"] is not None:
        times = times.tz_localize("UTC").tz_convert(packed["tz"])
    values = np.frombuffer(view, "<f8", rows * len(names), offset=8 * rows).reshape(len(names), rows)
    frame = pd.DataFrame({"timestamps": times, **{name: row.copy() for name, row in zip(names, values, strict=True)}})
    frame.attrs.update(packed["attrs"])
    return ReadSeries(packed["id"], options, frame), 8 * rows * (1 + len(names))


def _pack_problem(problem: Problem) -> dict[str, Any]:
    return {"status": problem.status, "detail": problem.detail, "code": problem.code, "more": problem.more}


def _unpack_problem(packed: Mapping[str, Any]) -> Problem:
    return Problem(packed["status"], packed["detail"], packed["code"], packed["more"])


# ------------------------------------------------------------------------------------------------- process


def main() -> None:
    """Answer until standard input ends. The first argument is the limits as JSON."""
    limits = Limits(**json.loads(sys.argv[1]))
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the service ends this one
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    _load()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    send(answers, {})  # ready
    while (message := receive(requests)) is not None:
        with tempfile.TemporaryDirectory(prefix="kronos-") as folder:  # removed however the copy ends
            tempfile.tempdir = folder
            task = _unpack_task(*message)
            del message
            _warm(task.calendar)
            if hasattr(os, "fork"):
                _answer_in_copy(task, limits, answers)
            else:
                send(answers, *_answered(task, limits))
            large = len(task.content) > LARGE
            del task
            tempfile.tempdir = None
        if large:
            give_back()


def _load() -> None:
    """Import what reading may need, and read once, so that copies begin at once."""
    import exchange_calendars  # noqa: F401
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    rows = "".join(f"2024-01-{day:02},1,2,0.5,1.5,10\n" for day in range(1, 29))
    inspected(f"date,open,high,low,close,volume\n{rows}".encode(), "a.csv", None, Limits(), ReadOptions())


def _warm(calendar: str | None) -> None:
    """Build an exchange calendar before the copy is made, since copies forget."""
    if calendar is None:
        return
    from kronos.calendars import describe_calendar

    try:
        with CALENDARS:
            describe_calendar(pd.Series(pd.date_range("2024-01-02", periods=10)), calendar)
    except ValueError:
        pass  # told by the inspection


def _answer_in_copy(task: ReadTask, limits: Limits, answers: IO[bytes]) -> None:
    copy = os.fork()
    if not copy:
        status = 1
        try:
            _hold(limits)
            answer = _answered(task, limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(answers, *answer)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(copy, 0)
    if ended:
        send(answers, {"problem": _pack_problem(_ended_by(ended, limits))})


def _hold(limits: Limits) -> None:
    """Bound the memory and the time of this process."""
    import resource

    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # libraries that run out of memory write there
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, wherever it is
    signal.setitimer(signal.ITIMER_PROF, limits.file_seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm", "rb") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # no Linux: elsewhere the limit is not kept, or counts what is shared
    most = held + limits.file_memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _answered(task: ReadTask, limits: Limits) -> tuple[dict[str, Any], bytes | bytearray]:
    try:
        return _pack_answer(read(task, limits))
    except Problem as problem:
        if _out_of_memory(problem):
            problem = too_much_memory(limits)
        return {"problem": _pack_problem(problem)}, b""
    except Exception as error:
        if _out_of_memory(error):
            return {"problem": _pack_problem(too_much_memory(limits))}, b""
        return {"failed": traceback.format_exc()}, b""


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is that the limit of memory was reached."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        error = error.__cause__ or error.__context__
    return False


def too_much_memory(limits: Limits) -> Problem:
    return Problem(
        413,
        f"it takes more than {limits.file_memory / MIB:.0f} MiB of memory to read: send the columns of one series, or fewer rows",
        "too-large",
    )


def too_much_time(limits: Limits) -> Problem:
    return Problem(
        413,
        f"it takes more than {limits.file_seconds:g} s of a processor to read: send the columns of one series, or fewer rows",
        "too-large",
    )


def _ended_by(status: int, limits: Limits) -> Problem:
    """What is said where the copy ended without an answer: by time, by memory that a library did not get, or by a fault of one."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGPROF:
        return too_much_time(limits)
    if number in (0, signal.SIGABRT, signal.SIGKILL):
        return too_much_memory(limits)
    return Problem(422, "it cannot be read: reading it broke off; save it again, or send CSV", "unfit")


if __name__ == "__main__":
    main()
