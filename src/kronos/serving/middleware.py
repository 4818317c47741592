"""What stands before every request: who may call, from where, how much at a time; and what is written down of it.

A plain ASGI wrapper around the application, so that a refusal costs next to nothing and nothing of the body is parsed for it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

from kronos.klines.samples import SAMPLES
from kronos.serving.config import Settings
from kronos.serving.memory import LARGE
from kronos.serving.metrics import Metrics
from kronos.serving.problems import MEDIA_TYPE, Problem, busy, header_too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

access = logging.getLogger("kronos.access")
log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
HEAVY = frozenset({"/v1/forecast", "/v1/forecast/batch", "/v1/inspect"})
"""Routes that take a place in the queue."""
PROBES = frozenset({"/healthz", "/readyz"})
API = HEAVY | PROBES | {f"/v1/samples/{name}" for name in SAMPLES} | {"/v1/models", "/metrics", "/openapi.json"}
DRAINED = 2**26
"""Bytes of a refused request that are still read: where a body is arriving, closing at once would lose the answer."""
PIECE = 2**16
"""Bytes of a body that are passed on at a time."""
PATIENCE = {503: 0.02}
"""Seconds that are spent on it, by status; two for others."""


class Guard:
    """Wraps the application.

    Args:
        page: paths of the page's files, which need no token. retry_after: seconds, told to those who find the queue full.
        freed: told when a large request has ended.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        metrics: Metrics,
        page: frozenset[str],
        retry_after: Callable[[], int],
        freed: Callable[[], None],
    ) -> None:
        self._app, self._settings, self._metrics, self._page = app, settings, metrics, page
        self._retry_after, self._freed = retry_after, freed
        self.active = 0
        self._receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send, self._settings)
        admitted = False
        try:
            self._check(scope)
            if scope["method"] == "POST" and scope["path"] in HEAVY:
                self._refuse_if_full()
                await request.gather(self._reserve)
                self._refuse_if_full()  # it may have filled up while the body came
                self.active += 1
                admitted = True
                self._metrics.active.set(self.active)
            await self._app(scope, request.receive, request.send)
        except Problem as problem:
            await request.refuse(problem)
        except ClientDisconnect:
            request.status = request.status or 499
        except Exception:
            log.exception("request %s failed", request.id)
            await request.refuse(
                Problem(500, f"the server failed; its log has the reason under {request.id}", "internal")
            )
        finally:
            self._receiving -= request.reserved
            if admitted:
                self.active -= 1
                self._metrics.active.set(self.active)
            if request.read > LARGE:
                self._freed()
            self._write_down(scope, request)

    def _refuse_if_full(self) -> None:
        if self.active >= self._settings.limits.waiting:
            raise busy(self._retry_after())

    def _reserve(self, size: int) -> None:
        """Count bytes of a body that is arriving.

        Raises:
            Problem: 503, all bodies together are more than is allowed.
        """
        if self._receiving + size > self._settings.limits.receiving:
            raise busy(self._retry_after())
        self._receiving += size

    def _check(self, scope: Scope) -> None:
        limits = self._settings.limits
        sizes = [len(name) + len(value) + 4 for name, value in scope["headers"]]
        if len(sizes) > limits.headers or sum(sizes) + len(scope.get("raw_path", b"")) > limits.head:
            raise header_too_large(limits)
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        if len(hosts) > 1 or any(set(value) & set(b"@/?#\\ ,") for value in hosts):
            raise Problem(400, "send one Host header, with a name and perhaps a port", "host")
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        settings, path = self._settings, scope["path"]
        host = headers.get(b"host", "")
        if settings.token is None and not _named_plainly(host, (settings.host, *settings.hosts)):
            # A page elsewhere could have its own name point here (DNS rebinding); plain addresses cannot be made to.
            raise Problem(403, "the service is not called by that name; add it with --allow-host", "host")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
            raise Problem(403, "requests from pages of other sites are not taken", "origin")
        if settings.token is None or path in PROBES or path in self._page:
            return
        kind, _, token = headers.get(b"authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), settings.token.encode()):
            raise Problem(
                401,
                "send the service's token as: Authorization: Bearer TOKEN",
                "token",
                headers={"WWW-Authenticate": 'Bearer realm="kronos"'},
            )

    def _write_down(self, scope: Scope, request: _Request) -> None:
        route = scope["path"] if scope["path"] in API else "page" if scope["path"] in self._page else "other"
        seconds = time.monotonic() - request.began
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self._metrics.requests.labels(route, method, request.status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        access.info(
            "%s",
            json.dumps(
                {
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "id": request.id,
                    "method": method,
                    "route": route,
                    "status": request.status,
                    "ms": round(1000 * seconds, 1),
                    "bytes_in": request.read,
                    "bytes_out": request.sent,
                }
            ),
        )


class _Request:
    """One request as it goes by: its body held to size and time, its answer given headers, both counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self.id = secrets.token_hex(8)
        self.began = time.monotonic()
        self.status, self.read, self.sent = 0, 0, 0
        self._receive, self._send, self._limits = receive, send, settings.limits
        self._whole = False
        self._body: bytearray | None = None
        self.reserved = 0
        lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
        self._length = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        scope.setdefault("state", {})["request_id"] = self.id

    async def gather(self, reserve: Callable[[int], None]) -> None:
        """Wait for the whole body, and keep it for `receive`; ``reserve`` is told of each piece before it is kept.

        Raises:
            Problem: the body is too large or too slow. ClientDisconnect: the caller has gone.
        """
        body = bytearray()
        while not self._whole:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            piece = message.get("body", b"")
            reserve(len(piece))
            self.reserved += len(piece)
            body += piece
        self._body = body

    async def receive(self) -> Message:
        if self._body is not None:
            piece = bytes(self._body[:PIECE])
            del self._body[:PIECE]
            more = bool(self._body)
            if not more:
                self._body = None
            await asyncio.sleep(0)  # others between two pieces
            return {"type": "http.request", "body": piece, "more_body": more}
        if self._whole:
            return await self._receive()
        if self._length > self._limits.body:
            raise self._too_large()
        left = self.began + self._limits.reading - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            raise Problem(408, f"the request took more than {self._limits.reading:g} s to arrive", "slow") from None
        if message["type"] != "http.request":
            return message
        self.read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self.read > self._limits.body:
            raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        return Problem(
            413, f"the request has more than {self._limits.body / 2**20:g} MiB, which is the limit", "too-large"
        )

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *HEADERS, (b"x-request-id", self.id.encode())]
            if all(name.lower() != b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
        try:
            await asyncio.wait_for(self._send(message), self._limits.reading)
        except (TimeoutError, asyncio.TimeoutError):
            raise ClientDisconnect from None

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer is on its way already."""
        if self.status:
            return
        await self._drain(PATIENCE.get(problem.status, 2.0))
        body = problem.body()
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self, seconds: float) -> None:
        stop = time.monotonic() + seconds
        try:
            while not self._whole and self._length <= DRAINED and self.read <= DRAINED:
                message = await asyncio.wait_for(self._receive(), max(stop - time.monotonic(), 0))
                if message["type"] != "http.request":
                    return
                self.read += len(message.get("body", b""))
                self._whole = not message.get("more_body", False)
        except (TimeoutError, asyncio.TimeoutError):
            return


def _named_plainly(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header is localhost, an address in figures, or one of the names."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost" or name in {known.lower() for known in names}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
