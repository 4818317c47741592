"""A real server on loopback for the tests of the service and of its page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2 as httpx
import numpy as np
import pandas as pd

from kronos.serving.app import create_app
from kronos.serving.config import Settings
from kronos.serving.server import server_of
from kronos.serving.startup import address_of, listen
from kronos.serving.work import LoadedModel


class Server:
    """Started on a free port in a thread of this process; `guard` is the application."""

    def __init__(self, offered: Mapping[str, LoadedModel], settings: Settings | None = None) -> None:
        self.settings = settings or Settings(port=0)
        self.guard = create_app(offered, self.settings)
        self._socket = listen(self.settings.host, 0)
        self.url = address_of(self._socket)
        self._server = server_of(self.guard, self.settings.limits)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)

    @property
    def batcher(self):
        app: Any = self.guard._app
        return app.state.service.batcher

    def __enter__(self) -> Server:
        self._thread.start()
        until = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < until and self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not end"

    def client(self, **settings: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **settings)


def until(condition: Callable[..., object], seconds: float = 30) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def bars(count: int = 60, seed: int = 0, start: str = "2024-03-04 09:00", freq: str = "5min") -> pd.DataFrame:
    """Sound bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 + rng.normal(0, 0.2, count).cumsum()
    opening = np.concatenate([[100], close[:-1]])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range(start, periods=count, freq=freq),
            "open": opening,
            "high": np.maximum(opening, close) + 0.1,
            "low": np.minimum(opening, close) - 0.1,
            "close": close,
            "volume": rng.integers(1, 1000, count).astype(float),
        }
    )


def columns(frame: pd.DataFrame) -> dict[str, list]:
    """A table as the API's columns."""
    table = frame.assign(timestamps=frame["timestamps"].map(str))
    return {str(name): table[name].tolist() for name in table}
