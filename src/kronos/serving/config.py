"""What the service allows, and how it is reached."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from kronos.number_checks import is_plain_number

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on what one caller can ask for. Beyond them a request is refused in words.

    Attributes:
        body: bytes of a request. unpacked: bytes of a .gz or Parquet file once it is unpacked.
        rows: bars of one series. columns: of a file. series: of one request. horizon, lookback, paths: of one series.
        work: bars to generate in one request, over all series and paths.
        waiting: requests that are being worked on or wait; one more is refused with 503.
        timeout: seconds until an answer, the most that can be asked for and the default. reading: seconds a body may take, and
            seconds that a caller may leave a piece of an answer untaken.
        head, headers, head_seconds: bytes, lines and seconds of a request's header.
        receiving: bytes of bodies that are arriving, over all requests.
        file_memory: bytes that reading one file or body may take, besides what the process that reads it has (on Linux).
        file_seconds: seconds of a processor that it may take, and at most ``timeout`` by the clock.
        cell: bytes of one cell of a file.
    """

    body: int = 16 * MIB
    unpacked: int = 64 * MIB
    rows: int = 100_000
    columns: int = 2_000
    series: int = 256
    horizon: int = 1_000
    lookback: int = 4_096
    paths: int = 500
    work: int = 500_000
    waiting: int = 64
    timeout: float = 60.0
    reading: float = 30.0
    head: int = 64 * 2**10
    headers: int = 100
    head_seconds: float = 10.0
    receiving: int = 128 * MIB
    file_memory: int = 256 * MIB
    file_seconds: float = 20.0
    cell: int = 4_096

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not is_plain_number(value) or not value > 0:
                raise ValueError(f"the limit {name} must be a number above 0, found {value!r}")


@dataclass(frozen=True)
class Settings:
    """How the service runs.

    Attributes:
        host, port: the address to listen on; port 0 takes a free one.
        token: callers must send it as ``Authorization: Bearer ...``; None asks for none.
        without_token: allow an address that others can reach although there is no token.
        hosts: names, besides localhost and plain addresses, under which the service may be called where no token protects it.
        window: seconds that a batch waits for requests that are being read already.
        batch: series in one engine batch at most; 1 runs them one at a time.
        workers: worker threads, each with a batch of its own. threads: cores that each of them uses; None leaves PyTorch's setting.
        limits: see `Limits`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    without_token: bool = False
    hosts: tuple[str, ...] = ()
    window: float = 0.02
    batch: int = 64
    workers: int = 1
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must lie in 0..65535, found {self.port}")
        if self.token is not None and (
            len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()
        ):
            raise ValueError("the token must have at least 16 characters, all of them printable ASCII")
        if self.token is None and not self.without_token and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and no token is set; set KRONOS_TOKEN (or --token-file), "
                "or say --without-token if something else protects the service"
            )
        if not 0 <= self.window <= 1:
            raise ValueError(f"window must lie in 0..1 seconds, found {self.window}")
        for name in ("batch", "workers", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
