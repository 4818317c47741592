"""A local Ray cluster gives the table that one process gives, also when a worker is killed in the middle."""

import importlib.util
import json
import logging
import os
import shutil
import signal
import threading
import time
from typing import Any

import pandas as pd
import psutil
import pytest

from kronos.scoring import ScoreSettings, read_scores, score
from tests.scoring.test_run import market

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray: pip install 'kronos-forecast[ray]'", allow_module_level=True)

from kronos.scoring.ray_executor import on_ray


@pytest.fixture(scope="module")
def settings(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") / "tiny"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": 64}))
    return ScoreSettings(horizon=20, model=str(folder), lookback=30, paths=60, part=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    market(count=40, n=120).to_parquet(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def expected(data, settings, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("one") / "out")
    score(data, out, settings)
    return read_scores(out)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests: starting it takes most of the time."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def actors():
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_two_actors_give_the_table_of_one_process(data, settings, expected, tmp_path):
    report = score(data, str(tmp_path / "out"), settings, execute=on_ray("local", 2))
    assert (report.scores, report.rejected, report.parts) == (40, 0, 10)
    pd.testing.assert_frame_equal(read_scores(str(tmp_path / "out")), expected, check_exact=True)


def test_a_worker_killed_in_the_middle_costs_nothing_and_repeats_nothing(data, settings, expected, tmp_path):
    out = tmp_path / "out"
    killed: list[Any] = []

    def kill():
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            done = len(list((out / "parts").glob("*.json"))) if (out / "parts").is_dir() else 0
            victims = actors() if 1 <= done < 8 else []
            if victims:
                os.kill(victims[0].pid, signal.SIGKILL)
                killed.append(victims[0].pid)
            time.sleep(0.02)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    report = score(data, str(out), settings, execute=on_ray("local", 2))
    killer.join(timeout=5)
    assert killed, "no worker was killed"
    assert report.scores == 40
    pd.testing.assert_frame_equal(read_scores(str(out)), expected, check_exact=True)
    assert len(list((out / "parts").glob("*.json"))) == 10


def test_parts_that_are_done_are_not_scored_again(data, settings, tmp_path):
    out = str(tmp_path / "out")
    score(data, out, settings)
    (tmp_path / "out/parts/part-000004.json").unlink()
    report = score(data, out, settings, execute=on_ray("local", 2))
    assert report.resumed == 9
