"""Before a server answers: models into memory, and an address to listen on."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from kronos.serving.work import LoadedModel

BACKLOG = 512
"""Connections that wait to be accepted."""


def load_models(names: Sequence[str], device: str | None = None, precision: str = "float32") -> dict[str, LoadedModel]:
    """Each once, ready to forecast.

    Raises:
        ValueError: a name twice, or a model that cannot be loaded.
    """
    from kronos.loading import load

    result: dict[str, LoadedModel] = {}
    for name in names:
        short = name.rstrip("/").rsplit("/", 1)[-1]  # callers see a name, not where the folder is
        if short in result:
            raise ValueError(f"two models would be called {short}; give each once")
        predictor = load(name, device=device, precision=precision)  # type: ignore[arg-type]
        result[short] = LoadedModel(short, predictor)
    return result


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound.

    Raises:
        ValueError: the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)  # from here on callers wait for the server instead of being turned away
    except OSError as error:
        raise ValueError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another --port"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
