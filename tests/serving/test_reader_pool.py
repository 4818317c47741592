"""Reading in processes of their own: what crosses back, and how each limit ends."""

import asyncio
import glob
import gzip
import json
import os
import signal
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from kronos.klines.read_options import ReadOptions
from kronos.serving.config import Limits
from kronos.serving.problems import Problem
from kronos.serving.reader_pool import Readers
from kronos.serving.reader_process import Answer, ReadTask, read
from tests.serving_server import bars, columns, until

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="the limits of memory are those of Linux")
LIMITS = Limits(file_memory=160 * 2**20, file_seconds=1.0)


@pytest.fixture(scope="module")
def readers():
    made = Readers(LIMITS, 1)
    made.start()
    yield made
    made.close()


def ask(readers, task) -> Answer:
    return asyncio.run(readers.read(task))


def bars_of(answer) -> pd.DataFrame:
    return answer.series[0].bars


def refusal(readers, task):
    with pytest.raises(Problem) as caught:
        ask(readers, task)
    return caught.value.status, caught.value.detail


def stored_files():
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "kronos-*")))


def csv(frame):
    return frame.to_csv(index=False).encode()


@pytest.mark.parametrize("zone", [None, "America/New_York", "UTC"])
def test_a_file_read_apart_equals_one_read_here(readers, zone):
    content = csv(bars(50, freq="1D", start="2024-03-04").assign(note="x"))
    task = ReadTask("file", content, "a.csv", ReadOptions(tz=zone))
    apart, here = bars_of(ask(readers, task)), bars_of(read(task, LIMITS))
    pd.testing.assert_frame_equal(apart, here)
    assert apart.attrs["unused"] == ["note"] == list(here.attrs["unused"])


def test_times_with_an_offset_and_notes_of_cleaning_cross_back(readers):
    frame = bars(50).assign(timestamps=lambda f: f["timestamps"].dt.tz_localize("+08:00").map(str))
    frame.loc[3, "high"] = 0
    task = ReadTask("file", csv(frame), "a.csv", ReadOptions(clean="drop"))
    apart, here = bars_of(ask(readers, task)), bars_of(read(task, LIMITS))
    pd.testing.assert_series_equal(apart["timestamps"], here["timestamps"], check_dtype=False)
    assert apart.attrs["cleaning"] == here.attrs["cleaning"]


def test_an_inspection_read_apart_equals_one_read_here(readers):
    task = ReadTask("inspect", csv(bars(50, freq="1D")), "a.csv", calendar="XNYS")
    assert ask(readers, task).document == read(task, LIMITS).document


def test_a_batch_crosses_back_with_its_faults(readers):
    good = columns(bars(40))
    series = [{"id": "a", "bars": good, "seed": 5}, {"id": "b", "bars": {**good, "high": [0.0] * 40}}]
    task = ReadTask("batch", json.dumps({"series": series, "quantiles": [0.2, 0.8]}).encode())
    sound, faulty = ask(readers, task).series
    assert sound.options is not None and (sound.options.seed, sound.options.quantiles) == (5, [0.2, 0.8])
    assert isinstance(sound.bars, pd.DataFrame) and len(sound.bars) == 40
    assert isinstance(faulty.bars, Problem) and faulty.bars.status == 422 and faulty.bars.more["rows"] == 40


@pytest.fixture
def patient_readers():
    made = Readers(replace(LIMITS, file_seconds=30.0), 1)
    made.start()
    yield made
    made.close()


@needs_limits
def test_a_file_that_takes_too_much_memory_is_413(patient_readers):
    # Fewer columns than are narrowed, of long texts.
    head = b"date,open,high,low,close," + b",".join(b"note%d" % i for i in range(20)) + b"\n"
    line = b",1,1,1,1," + b",".join([b"x" * 1_000] * 20) + b"\n"
    content = gzip.compress(head + b"".join(b"%d" % (86400 * i) + line for i in range(3_000)), 1)
    status, detail = refusal(patient_readers, ReadTask("inspect", content, "a.csv.gz"))
    assert status == 413 and "more than 160 MiB of memory" in detail


@needs_limits
def test_json_that_takes_too_much_memory_is_413(readers):
    bar = b'{"timestamp":1,"open":1,"high":1,"low":1,"close":1},'
    status, detail = refusal(readers, ReadTask("forecast", b'{"bars":[' + bar * 250_000 + b"{}]}"))
    assert status == 413 and "more than 160 MiB of memory" in detail


@needs_limits
def test_a_file_that_takes_too_long_is_413_and_leaves_nothing(readers):
    content = b"date,open,high,low,close\n" + b"".join(
        b"%d Januar 20x%d,1,1,1,1\n" % (i % 31, i) for i in range(99_000)
    )
    before = stored_files()
    status, detail = refusal(readers, ReadTask("inspect", content, "a.csv"))
    assert status == 413 and "more than 1 s of a processor" in detail
    assert bars_of(ask(readers, ReadTask("file", csv(bars(30)), "a.csv"))).shape == (30, 6)
    until(lambda: stored_files() <= before)


def test_a_cell_beyond_the_limit_is_413(readers):
    content = b"date,open,high,low,close\n2020-01-01,1,1,1," + b"1" * 5_000 + b"\n"
    assert refusal(readers, ReadTask("inspect", content, "a.csv")) == (
        413, "the file has a cell of more than 4,096 bytes, which is the limit"
    )  # fmt: skip


@needs_limits
def test_a_process_that_was_killed_is_started_again(readers):
    (process,) = [child for child in psutil.Process().children() if "kronos.serving.reader_process" in child.cmdline()]
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert len(bars_of(ask(readers, ReadTask("file", csv(bars(30)), "a.csv")))) == 30


def test_who_finds_no_process_free_in_time_is_told_503():
    readers = Readers(replace(LIMITS, timeout=0.05), 1)

    async def two():
        tasks = [readers.read(ReadTask("inspect", csv(bars(30)), "a.csv")) for _ in range(2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    try:
        statuses = {getattr(answer, "status", 200) for answer in asyncio.run(two())}
    finally:
        readers.close()
    assert 503 in statuses


def test_numbers_of_a_file_are_the_same_bits(readers):
    frame = bars(40)
    apart = bars_of(ask(readers, ReadTask("file", csv(frame), "a.csv")))
    assert np.array_equal(apart["close"].to_numpy(), frame["close"].to_numpy())
