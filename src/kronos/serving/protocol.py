"""HTTP/1.1 on a connection: limits on the header of a request, before anything of it is kept.

uvicorn's parsers gather a header of any size (httptools) or look only at its size (h11); neither limits the time it takes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from kronos.serving.config import Limits
from kronos.serving.problems import MEDIA_TYPE, Problem, header_too_large

if TYPE_CHECKING:
    Protocol: Any = object
else:
    Protocol = AutoHTTPProtocol

END = b"\r\n\r\n"


class LimitedProtocol(Protocol):
    """uvicorn's protocol; connections without a whole header in time, or with one too large, are closed.

    The first request of a connection must have sent its header ``limits.head_seconds`` after the connection is made, each later one
    after its first byte. A connection that waits between requests is closed by uvicorn's own ``timeout_keep_alive``.
    """

    limits = Limits()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._in_head, self._head_bytes, self._tail = True, 0, b""
        self._timer: asyncio.TimerHandle | None = None
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._timer is None:
                self._start_timer()
            if self._head_bytes + len(data) > self.limits.head:
                # A body may follow in the same piece: only what stands before the empty line counts.
                end = (self._tail + data).find(END)
                if end < 0 or self._head_bytes - len(self._tail) + end > self.limits.head:
                    self._refuse(header_too_large(self.limits))
                    return
            self._head_bytes += len(data)
            self._tail = (self._tail + data)[-len(END) + 1 :]
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._in_head = False
            self._stop_timer()

    def on_response_complete(self) -> None:
        self._in_head, self._head_bytes, self._tail = True, 0, b""
        super().on_response_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.head_seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._in_head and not self.transport.is_closing():
            self._refuse(
                Problem(408, f"the header took more than {self.limits.head_seconds:g} s to arrive", "slow"),
                said=self._head_bytes > 0,
            )

    def _refuse(self, problem: Problem, said: bool = True) -> None:
        """Answer, unless nothing was asked, and close."""
        self._stop_timer()
        if said:
            body = problem.body()
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (problem.status, MEDIA_TYPE.encode(), len(body), body)
            )
        self.transport.close()


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn, with these limits."""
    made: type[asyncio.Protocol] = type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})
    return made
