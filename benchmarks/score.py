"""Scoring a universe, from end to end: one process, Ray with one and two workers, a worker killed, a run stopped and resumed.

    python benchmarks/score.py --series 2000

Made-up daily bars go through ``kronos score`` as a user runs it. Prints series/s and peak memory (all processes of the run
together, sampled ten times a second; shared pages count in each), whether all tables are identical, and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from kronos.scoring import read_scores

COMMAND = [sys.executable, "-c", "from kronos.cli import main; main()", "score"]
Act = Callable[[psutil.Process, int], bool]
"""Called while a run goes on, with its process and the number of parts that are done, until it says True."""


def universe(series: int, bars: int, path: Path) -> None:
    """A long table of random walks, a hundred series a row group."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=bars, freq="D")
    close = 100 * np.exp(rng.normal(0, 0.02, (series, bars)).cumsum(1))
    open_ = np.concatenate([np.full((series, 1), 100.0), close[:, :-1]], axis=1)
    names = np.repeat([f"S{i:06d}" for i in range(series)], bars)
    table = pd.DataFrame({"symbol": names, "timestamps": np.tile(times, series), "open": open_.ravel()})
    table["high"] = np.maximum(open_, close).ravel() * 1.005
    table["low"] = np.minimum(open_, close).ravel() * 0.995
    table["close"], table["volume"] = close.ravel(), rng.integers(100, 10_000, series * bars).astype(float)
    table.to_parquet(path, index=False, row_group_size=100 * bars)


def run(arguments: list[str], out: Path, act: Act | None = None) -> dict[str, float]:
    """One run: seconds, peak memory in GB, exit code."""
    began = time.monotonic()
    started = subprocess.Popen([*COMMAND, *arguments, "--out", str(out)], stderr=subprocess.PIPE, text=True)
    process, peak = psutil.Process(started.pid), 0
    while started.poll() is None:
        try:
            tree = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in tree))
        except psutil.Error:
            continue
        if act is not None:
            done = len(list((out / "parts").glob("*.json"))) if (out / "parts").is_dir() else 0
            if act(process, done):
                act = None
        time.sleep(0.1)
    if started.returncode not in (0, 130):
        raise SystemExit(started.communicate()[1])
    if act is not None:
        raise SystemExit("the run ended before it could be disturbed; give more --series")
    return {"seconds": time.monotonic() - began, "peak_gb": peak / 1e9, "code": started.returncode}


def kill_a_worker(process: psutil.Process, done: int) -> bool:
    """SIGKILL to a Ray actor once something is done."""
    if done < 1:
        return False
    for child in process.children(recursive=True):
        if "MapWorker" in " ".join(child.cmdline()):
            os.kill(child.pid, signal.SIGKILL)
            return True
    return False


def stop(process: psutil.Process, done: int) -> bool:
    """What Ctrl-C does, once something is done."""
    if done < 1:
        return False
    process.send_signal(signal.SIGINT)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--bars", type=int, default=120, help="in the data")
    parser.add_argument("--lookback", type=int, default=90)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--paths", type=int, default=10)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--no-ray", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "bars.parquet"
        universe(told.series, told.bars, data)
        shape = ("lookback", "horizon", "paths", "model")
        base = [str(data), "--device", "cpu", *(f"--{key}={getattr(told, key)}" for key in shape)]
        runs = {"one process": run(base, folder / "one")}
        stopped = run(base, folder / "stopped", stop)
        runs["stopped and resumed"] = run(base, folder / "stopped")
        runs["stopped and resumed"]["seconds"] += stopped["seconds"]
        tables = ["stopped"]
        if not told.no_ray:
            ray = [*base, "--ray", "local"]
            runs["Ray, 1 worker"] = run([*ray, "--workers", "1"], folder / "ray1")
            runs["Ray, 2 workers"] = run([*ray, "--workers", "2"], folder / "ray2")
            runs["Ray, 2 workers, one killed"] = run([*ray, "--workers", "2"], folder / "killed", kill_a_worker)
            tables += ["ray1", "ray2", "killed"]
        expected = read_scores(str(folder / "one"))
        same = all(read_scores(str(folder / table)).equals(expected) for table in tables)
    print("| run | seconds | series/s | peak memory, GB |\n| --- | --- | --- | --- |")
    for what, found in runs.items():
        print(f"| {what} | {found['seconds']:.0f} | {told.series / found['seconds']:.0f} | {found['peak_gb']:.2f} |")
    print(f"{len(expected):,} scores; all tables identical: {same}")
    print(json.dumps({"settings": vars(told), "runs": runs, "scores": len(expected), "identical": same}))


if __name__ == "__main__":
    main()
