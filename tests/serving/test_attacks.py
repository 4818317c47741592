"""Attacks on the service over raw sockets, and by files: what each is answered, and that others are served meanwhile."""

import gzip
import io
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import httpx2 as httpx
import numpy as np
import pandas as pd
import psutil
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from kronos.serving.config import Limits, Settings
from tests.processes import started
from tests.serving.test_api import offered  # noqa: F401
from tests.serving_server import Server

PROMPT = 0.25
"""Seconds within which others are answered while an attack runs."""


@pytest.fixture
def server(offered):  # noqa: F811
    limits = Limits(head_seconds=1.0, reading=3.0, waiting=4, receiving=2**20)
    with Server(offered, Settings(port=0, limits=limits)) as running, running.client() as client:
        client.get("/healthz")
        yield running


def connect(server, stack=None):
    host, port = server.url.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    return made if stack is None else stack.enter_context(made)


def answer_of(connection):
    parts = []
    try:
        while piece := connection.recv(65536):
            parts.append(piece)
    except OSError:  # reset: what was sent is no longer read
        pass
    return b"".join(parts)


def worst_wait(server, seconds):
    """The longest time of /healthz of another caller."""
    waits = []
    with server.client() as client:
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            began = time.monotonic()
            assert client.get("/healthz").status_code == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.01)
    return max(waits)


def test_a_header_without_end_is_closed_while_others_are_answered(server):
    sent = []

    def attack():
        with connect(server) as connection:
            total = 0
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                while total < 64 * 2**20:
                    total += connection.send(b"a" * 65536)
            except OSError:
                pass
            sent.append(total)

    thread = threading.Thread(target=attack)
    thread.start()
    assert worst_wait(server, 1.0) < PROMPT
    thread.join(30)
    assert sent[0] < 16 * 2**20  # what the sockets hold, and no more


def test_a_whole_header_beyond_64_kib_is_431(server):
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 431")


def test_more_than_100_header_lines_are_431(server):
    lines = b"".join(b"X-%d: 1\r\n" % i for i in range(120))
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 431")


def test_a_body_behind_a_small_header_counts_as_no_header(server):
    body = b"{" + b" " * 200_000 + b"}"
    head = (
        b"POST /v1/forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with connect(server) as connection:
        connection.sendall(head % len(body) + body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 422")


def test_a_header_in_drops_is_408_after_its_time(server):
    with connect(server) as connection:
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a")
        assert answer_of(connection).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 10


def test_a_silent_connection_is_closed(server):
    with connect(server) as connection:
        assert answer_of(connection) == b""


def test_bodies_that_do_not_come_take_no_place_in_the_queue(server):
    head = b"POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=a\r\nContent-Length: 999\r\n\r\n-"  # noqa: E501
    with ExitStack() as stack, server.client() as client:
        for _ in range(64):
            connect(server, stack).sendall(head)
        time.sleep(0.3)
        assert worst_wait(server, 0.5) < PROMPT
        answer = client.post("/v1/forecast", json={"sample": "synthetic", "horizon": 2, "paths": 2})
        assert answer.status_code == 200, answer.text


def test_bodies_that_arrive_are_limited_together(server):
    head = b"POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=a\r\nContent-Length: 900000\r\n\r\n"  # noqa: E501
    with ExitStack() as stack:
        first, second = connect(server, stack), connect(server, stack)
        first.sendall(head + b"-" * 800_000)
        time.sleep(0.3)
        second.sendall(head + b"-" * 800_000)
        assert second.recv(4096).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize(
    "hosts", ["Host: localhost\r\nHost: evil.example", "Host: evil.example@localhost", "Host: localhost/x"]
)
def test_a_host_header_twice_or_with_more_than_a_name_is_400(server, hosts):
    with connect(server) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\n{hosts}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_200_slow_connections_leave_others_served(server):
    with ExitStack() as stack:
        for _ in range(200):
            connect(server, stack).sendall(b"GET / HTTP/1.1\r\nX")
        assert worst_wait(server, 0.5) < PROMPT


# --------------------------------------------------------------------------------------- what unpacks to much

SMALL = 1_500
"""MB that all processes of the service may take together."""


@pytest.fixture(scope="module")
def service():
    """A service in a process of its own: its address and its processes."""
    with started(
        [sys.executable, "-m", "kronos", "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        lines = process.stderr
        assert lines is not None
        url = next(found[1] for line in lines if (found := re.search(r"listens on (http://\S+)", line)))
        threading.Thread(target=lambda: [None for _ in lines], daemon=True).start()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            client.post("/v1/inspect", files={"file": ("a.csv", "a,b")})
        yield url, psutil.Process(process.pid)


def dictionary_bomb(role, rows=5_000, size=200_000):
    """A Parquet file in which one text of a dictionary stands in every row."""
    import pyarrow
    from pyarrow import parquet

    prices = {name: np.full(rows, 100.0) for name in ("open", "high", "low", "close")}
    table = pyarrow.table({"timestamps": pd.date_range("2024-01-01", periods=rows, freq="min"), **prices})
    texts = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, "int32"), pyarrow.array(["x" * size]))
    buffer = io.BytesIO()
    parquet.write_table(table.append_column(role, texts), buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()


def wide_bomb(rows=90_000, columns=305):
    head = "date,open,high,low,close," + ",".join(f"c{i}" for i in range(columns - 5))
    rest = ",1" * (columns - 1)
    days = pd.date_range("1850-01-01", periods=rows).strftime("%Y-%m-%d")
    return gzip.compress("\n".join([head, *(day + rest for day in days)]).encode())


BOMBS = {
    "dictionary of a symbol": (lambda: dictionary_bomb("symbol"), "a.parquet", 413, "a cell of more than 4,096 bytes"),
    "dictionary of a note": (lambda: dictionary_bomb("note"), "a.parquet", 413, "a cell of more than 4,096 bytes"),
    "90,000 rows of 305 columns": (wide_bomb, "a.csv.gz", 200, '"rows":90000'),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of memory are those of Linux")
@pytest.mark.parametrize("bomb", BOMBS)
def test_four_files_that_unpack_to_much_leave_others_served_in_little_memory(service, bomb):
    url, process = service
    make, name, status, says = BOMBS[bomb]
    content, answers, waits, peak = make(), [], [], 0.0

    def send():
        answers.append(httpx.post(f"{url}/v1/inspect", files={"file": (name, content)}, timeout=120, trust_env=False))

    attackers = [threading.Thread(target=send) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while any(attacker.is_alive() for attacker in attackers):
            began = time.monotonic()
            assert client.get("/healthz").status_code == 200
            waits.append(time.monotonic() - began)
            peak = max(peak, taken(process))
            time.sleep(0.02)
    assert {(answer.status_code, says in answer.text) for answer in answers} == {(status, True)}
    assert max(waits) < PROMPT and peak < SMALL


def taken(process):
    """Memory in MB of a process and its descendants, what they share counted once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def test_json_of_a_million_faults_is_refused_by_the_first(server):
    began = time.monotonic()
    with server.client() as client:
        answer = client.post("/v1/forecast", json={"bars": [{}] * 20_000})
    assert answer.status_code == 422 and len(answer.json()["errors"]) < 10
    assert time.monotonic() - began < 10
