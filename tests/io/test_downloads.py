"""Fetching from an address: what it takes, and that nothing leads to another scheme, too much or too long."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kronos.io.downloads import download

BODY = b"Date,Close\n2024-01-01,1\n"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        send = {
            "/ok": lambda: self.answer(200, {"Content-Length": str(len(BODY))}, BODY),
            "/moved": lambda: self.answer(302, {"Location": "/ok"}),
            "/file": lambda: self.answer(302, {"Location": "file:///etc/passwd"}),
            "/ftp": lambda: self.answer(302, {"Location": "ftp://127.0.0.1/x"}),
            "/loop": lambda: self.answer(302, {"Location": "/loop"}),
            "/large": lambda: self.answer(200, {"Content-Length": "1000"}, b"x" * 1000),
            "/large-unsaid": lambda: self.answer(200, {}, b"x" * 1000),
            "/short": lambda: self.answer(200, {"Content-Length": "1000"}, b"x" * 10),
            "/empty": lambda: self.answer(200, {"Content-Length": "0"}),
            "/slow": self.slow,
        }
        send.get(self.path, lambda: self.answer(404, {}))()

    def answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def slow(self):
        self.answer(200, {})
        for _ in range(40):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/ok", "/moved"])
def test_a_file_is_fetched_also_after_a_redirect(address, path):
    assert download(address + path, 100) == BODY


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/file", "Redirection to url .file:///etc/passwd. is not allowed"),
        ("/ftp", "leads on to ftp://127.0.0.1/x, which is not followed"),
        ("/loop", "answers 302"),
        ("/large", "sends more than 9.537e-05 MiB, which is the limit"),
        ("/large-unsaid", "which is the limit"),
        ("/short", "broke off after 10 of 1,000 bytes|cannot be fetched"),
        ("/empty", "sends nothing"),
        ("/nothing", "answers 404 Not Found"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(address, path, message):
    with pytest.raises(ValueError, match=message):
        download(address + path, 100 if "large" in path else 2000)


def test_time_is_limited_however_steadily_the_server_sends(address):
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"takes more than 0\.3 s|timed out"):
        download(address + "/slow", 2000, total=0.3)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("given", ["file:///etc/passwd", "ftp://a/b", "data:text/plain,x", "http:///x", "gopher://a"])
def test_other_schemes_are_refused(given):
    with pytest.raises(ValueError, match="only http:// and https:// addresses are fetched"):
        download(given, 100)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="a user name or password") as found:
        download("http://me:secret@127.0.0.1/x", 100)
    assert "secret" not in str(found.value)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"http://127.0.0.1:1/x cannot be fetched: .*refused"):
        download("http://127.0.0.1:1/x", 100)
