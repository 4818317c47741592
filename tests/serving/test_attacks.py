"""Attacks on the service over raw sockets: what each is answered, and that others are served meanwhile."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from kronos.serving.config import Limits, Settings
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
