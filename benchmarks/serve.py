"""The service under load, on loopback: batched against one at a time, overload, and memory over many requests.

    python benchmarks/serve.py                 everything (about five minutes)
    python benchmarks/serve.py throughput      32 clients, 400 bars -> 24, 10 paths, against a server that runs them one at a time
    python benchmarks/serve.py load            64 clients for 60 s
    python benchmarks/serve.py overload        more callers than places
    python benchmarks/serve.py memory          5,000 mixed requests

Every server is a process of its own (`kronos serve`), and so are the clients. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

HERE = Path(__file__)


class Answer(NamedTuple):
    """One request: when it began, how long it took, what came back."""

    began: float
    seconds: float
    status: int


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, int, int]]:
    """Host, port and process id of a fresh server that has answered for two seconds."""
    command = [str(Path(sys.executable).parent / "kronos"), "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listens on http://([\d.]+):(\d+)", line):
            break
    else:
        raise SystemExit("the server did not start")
    threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()  # its access log
    try:
        apart("clients", found[1], int(found[2]), 2, 2)
        yield found[1], int(found[2]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0, "the server did not end cleanly"


def body(seed: int, bars: int = 400, **options: Any) -> bytes:
    """A request for a series of its own."""
    rng = np.random.default_rng(seed)
    close = 100 + rng.normal(0, 0.2, bars).cumsum()
    times = pd.date_range("2024-03-04 09:00", periods=bars, freq="5min")
    columns = {
        "timestamps": [time.isoformat() for time in times],
        "open": close.tolist(),
        "high": (close + 0.1).tolist(),
        "low": (close - 0.1).tolist(),
        "close": close.tolist(),
        "volume": rng.integers(1, 1000, bars).astype(float).tolist(),
    }
    return json.dumps({"bars": columns, "horizon": 24, "paths": 10, "seed": seed, **options}).encode()


JSON, FORM = "application/json", "multipart/form-data; boundary=edge"


def call(
    connection: http.client.HTTPConnection, content: bytes, path: str = "/v1/forecast", kind: str = JSON
) -> Answer:
    began = time.monotonic()
    connection.request("POST", path, content, {"Content-Type": kind})
    response = connection.getresponse()
    response.read()
    return Answer(began, time.monotonic() - began, response.status)


CONNECTING = 0.5
"""Seconds in which all callers open their connections at once."""


def clients(host: str, port: int, count: int, seconds: float, pause: float = 0.0) -> list[Answer]:
    """Callers that each ask again as soon as they are answered (after a 503 only when the pause is over)."""
    answers: list[list[Answer]] = [[] for _ in range(count)]
    bodies = [[body(1000 * i + j) for j in range(4)] for i in range(count)]  # beforehand: it takes Python's lock
    stop = time.monotonic() + seconds

    def run(i: int) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=120)
        while time.monotonic() < stop:
            answers[i].append(call(connection, random.Random(len(answers[i])).choice(bodies[i])))
            if answers[i][-1].status == 503:
                time.sleep(pause)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for own in answers for answer in own]


def apart(function: str, *arguments: Any) -> list[Answer]:
    """Clients in a process of their own, so that they do not wait for this one's lock."""
    code = f"import sys, json; sys.path.insert(0, {str(HERE.parent)!r}); import serve; "
    code += f"print(json.dumps(serve.{function}(*{arguments!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [Answer(*values) for values in json.loads(done.stdout.splitlines()[-1])]


def said(answers: list[Answer], warm: float = 0.0) -> dict[str, Any]:
    """Rate and times of what was answered, after the first seconds."""
    first = min(answer.began for answer in answers) + warm
    done = [answer for answer in answers if answer.status == 200 and answer.began >= first]
    times = np.array([answer.seconds for answer in done])
    span = max(answer.began + answer.seconds for answer in done) - first
    return {
        "requests": len(answers),
        "status": dict(Counter(str(answer.status) for answer in answers)),
        "per_second": round(len(done) / span, 2),
        "p50": round(float(np.quantile(times, 0.5)), 3),
        "p95": round(float(np.quantile(times, 0.95)), 3),
    }


def throughput(seconds: float, count: int = 32) -> dict[str, Any]:
    """Batched, against one at a time on all cores (as PyTorch runs by itself) and on one, which suits small models better."""
    alone = ("--batch", "1", "--workers", "1", "--threads")
    cores = str(len(os.sched_getaffinity(0)))
    servers = {"one at a time, all cores": (*alone, cores), "one at a time, one core": (*alone, "1"), "batched": ()}
    found: dict[str, Any] = {}
    for name, options in servers.items():
        with serving(*options) as (host, port, _):
            found[name] = said(apart("clients", host, port, count, seconds), warm=2)
        print(f"{name:>24}: {found[name]}", flush=True)
    rates = {name: result["per_second"] for name, result in found.items()}
    best = max(rate for name, rate in rates.items() if name != "batched")
    return {**found, "ratio_to_the_better": round(rates["batched"] / best, 2)}


def load(seconds: float) -> dict[str, Any]:
    """64 clients with 48 places: some are refused, none fails."""
    with serving("--waiting", "48") as (host, port, pid):
        found = said(apart("clients", host, port, 64, seconds, 0.5), warm=2)
        found["memory_mib"] = round(resident(pid))
    print(found, flush=True)
    assert set(found["status"]) <= {"200", "503"}, "there were errors other than 503"
    return found


def overload(seconds: float) -> dict[str, Any]:
    """32 callers for 8 places, and how fast those that find none are told so: when all connect at once, and afterwards."""
    with serving("--waiting", "8") as (host, port, _):
        answers = apart("clients", host, port, 32, seconds, 0.2)
    first = min(answer.began for answer in answers)
    refused = [answer for answer in answers if answer.status == 503]
    connecting = np.array([answer.seconds for answer in refused if answer.began < first + CONNECTING])
    later = np.array([answer.seconds for answer in refused if answer.began >= first + CONNECTING])
    found = {
        "status": dict(Counter(str(answer.status) for answer in answers)),
        "refused_while_connecting_max_ms": round(1000 * float(connecting.max()), 1),
        "refused_p50_ms": round(1000 * float(np.quantile(later, 0.5)), 1),
        "refused_p99_ms": round(1000 * float(np.quantile(later, 0.99)), 1),
        "refused_max_ms": round(1000 * float(later.max()), 1),
    }
    print(found, flush=True)
    assert set(found["status"]) == {"200", "503"}
    return found


def mixed(host: str, port: int, count: int, first: int) -> list[Answer]:
    """Requests of many kinds: lookbacks, horizons, paths, files, batches, faults."""
    answers: list[Answer] = []
    turn = iter(range(first, first + count))
    lock = threading.Lock()

    def run() -> None:
        connection = http.client.HTTPConnection(host, port, timeout=120)
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            answer = call(connection, *_request(number))
            with lock:
                answers.append(answer)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _request(number: int) -> tuple[Any, ...]:
    rng = random.Random(number)
    bars, horizon, paths = rng.randint(50, 450), rng.randint(1, 16), rng.randint(1, 6)
    kind = number % 10
    if kind == 0:  # a file
        table = json.loads(body(number, bars))["bars"]
        path, fields = ("/v1/inspect", {"tz": "UTC"}) if number % 20 else ("/v1/forecast", {"paths": str(paths)})
        text = pd.DataFrame(table).to_csv(index=False).encode()
        return _form(gzip.compress(text), fields), path, FORM
    if kind == 1:  # faulty
        return (body(number, bars, horizon=horizon, paths=paths, quantiles=[2]),)
    if kind == 2:  # several series
        one = json.loads(body(number, bars))["bars"]
        series = [{"id": name, "bars": one, "seed": i} for i, name in enumerate("abc")]
        return json.dumps({"series": series, "horizon": horizon, "paths": paths}).encode(), "/v1/forecast/batch"
    return (body(number, bars, horizon=horizon, paths=paths, samples=paths, target=["close", "high"]),)


def _form(file: bytes, fields: dict[str, str]) -> bytes:
    head = '--edge\r\ncontent-disposition: form-data; name="file"; filename="a.csv.gz"\r\n\r\n'
    rest = "".join(f'\r\n--edge\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}' for k, v in fields.items())
    return head.encode() + file + rest.encode() + b"\r\n--edge--\r\n"


def memory(total: int) -> dict[str, Any]:
    with serving() as (host, port, pid):
        marks: dict[int, float] = {}
        statuses: Counter[str] = Counter()
        for until in (500, *range(1000, total + 1, 500)):
            answers = apart("mixed", host, port, until - max(marks, default=0), max(marks, default=0))
            statuses.update(str(answer.status) for answer in answers)
            time.sleep(5)  # what is free is given back
            marks[until] = round(resident(pid), 1)
            print(f"after {until:>5} requests: {marks[until]:.1f} MiB", flush=True)
    assert set(statuses) <= {"200", "422"}
    return {"status": dict(statuses), "mib": marks, "growth": round(marks[total] / marks[500] - 1, 4)}


def resident(pid: int) -> float:
    """Memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["throughput", "load", "overload", "memory"])
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--requests", type=int, default=5000, help="of the memory run")
    told = parser.parse_args()
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "throughput": lambda: throughput(told.seconds or 20),
        "load": lambda: load(told.seconds or 60),
        "overload": lambda: overload(told.seconds or 10),
        "memory": lambda: memory(told.requests),
    }
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0]}
    for name in [told.what] if told.what else runs:
        print(f"-- {name}", flush=True)
        found[name] = runs[name]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
