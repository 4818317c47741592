"""A small client of ``kronos serve``, for programs that call forecasts over HTTP.

    from kronos.client import Client

    with Client("http://127.0.0.1:8000") as client:
        table = client.forecast(bars, horizon=24, paths=100, quantiles=[0.05, 0.5, 0.95])

Needs httpx2, which the extra ``serve`` brings (and so does huggingface_hub).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx2
import pandas as pd

from kronos.klines.features import as_timestamps
from kronos.schema import FEATURES

MOST_PATIENCE = 30.0
"""Seconds that a client waits at most before it tries again, whatever the service says."""


class ServiceError(Exception):
    """The service refused, or failed.

    Attributes:
        status: of HTTP. code: the short name of the problem, such as "queue-full" or "faulty-bars".
        problem: all that the service said (RFC 9457).
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(problem.get("detail") or f"the service answered with status {status}")
        self.status, self.problem = status, dict(problem)
        self.code = str(problem.get("type", "")).removeprefix("urn:kronos:")


class Event(NamedTuple):
    """One event of a stream: "queued", "progress", "bar" or "forecast", and its data."""

    name: str
    data: dict[str, Any]


class Client:
    """Calls one service.

    Args:
        url: its address. token: where it asks for one.
        timeout: seconds to wait for an answer.
        retries: how often a request that found the queue full (503) is tried again, as late as the service says.
        options: further arguments of `httpx2.Client`, such as ``verify``.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        timeout: float = 120.0,
        retries: int = 5,
        **options: Any,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, **options)
        self._retries = retries

    def forecast(self, bars: pd.DataFrame, horizon: int = 24, **options: Any) -> pd.DataFrame:
        """The long table of `KronosPredictor.predict_df` for one series.

        Args:
            bars: open, high, low, close and, where there are, volume and amount; times in a column ``timestamps`` or as index.
            options: as in docs/service.md: model, lookback, holdout, paths, quantiles, target, calendar, seed, ...

        Returns:
            timestamp, [target_name], mean, and a column a quantile. ``attrs`` hold the rest of the answer: summary, score, ...

        Raises:
            ServiceError: the service refused; ``problem`` says why, with the rows of faulty bars.
        """
        return _table(self._post("/v1/forecast", {"bars": columns_of(bars), "horizon": horizon, **options}))

    def forecast_many(self, series: Mapping[str, pd.DataFrame], horizon: int = 24, **options: Any) -> pd.DataFrame:
        """The long table of several series, {id: bars}, in one request; its first column is ``id``.

        Series that could not be forecast are in ``attrs["errors"]``.
        """
        parts = [{"id": name, "bars": columns_of(bars)} for name, bars in series.items()]
        return _table(self._post("/v1/forecast/batch", {"series": parts, "horizon": horizon, **options}))

    def stream(self, bars: pd.DataFrame, horizon: int = 24, **options: Any) -> Iterator[Event]:
        """The events of a forecast as they come: every bar as it is drawn, then the whole answer.

        Raises:
            ServiceError: the service refused, or could not finish.
        """
        body = {"bars": columns_of(bars), "horizon": horizon, **options}
        with self._http.stream("POST", "/v1/forecast", json=body, headers={"Accept": "text/event-stream"}) as response:
            if response.status_code != 200:
                response.read()
                raise _error(response)
            name = ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    event = Event(name, json.loads(value))
                    if name == "problem":
                        raise ServiceError(event.data["status"], event.data)
                    yield event

    def models(self) -> list[dict[str, Any]]:
        """The models that the service has in memory."""
        response = self._http.get("/v1/models")
        if response.status_code != 200:
            raise _error(response)
        found: list[dict[str, Any]] = response.json()["models"]
        return found

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        for turn in range(self._retries + 1):
            response = self._http.post(path, json=body)
            if response.status_code == 200:
                found: dict[str, Any] = response.json()
                return found
            if response.status_code != 503 or turn == self._retries:
                break
            time.sleep(min(float(response.headers.get("Retry-After", 1)), MOST_PATIENCE))
        raise _error(response)


def columns_of(bars: pd.DataFrame) -> dict[str, list[Any]]:
    """A table of bars as the service takes it; the table is not changed.

    Raises:
        ValueError: it has no times, or they cannot be read.
    """
    if "timestamps" not in bars.columns and not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError(f"bars need a column timestamps or an index of times; the columns are {list(bars.columns)}")
    times = as_timestamps(bars["timestamps"] if "timestamps" in bars.columns else bars.index)
    plain = bars.astype({name: float for name in FEATURES if name in bars.columns})
    values = {
        name: [None if value != value else value for value in plain[name].tolist()]
        for name in FEATURES
        if name in bars.columns
    }
    return {"timestamps": [time.isoformat() for time in times], **values}


def _table(answer: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(answer.pop("forecast"))
    table["timestamp"] = pd.to_datetime(table["timestamp"])
    table.attrs.update(answer)
    return table


def _error(response: httpx2.Response) -> ServiceError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    return ServiceError(response.status_code, problem if isinstance(problem, dict) else {})
