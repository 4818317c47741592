"""The routes: requests in, JSON or server-sent events out. Heavy steps run in threads; the event loop only passes things on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from kronos.klines.read_options import ReadOptions
from kronos.klines.samples import available_samples
from kronos.serving import openapi as documents
from kronos.serving.batching import Cancelled
from kronos.serving.inputs import inspected, iso_times
from kronos.serving.metrics import CONTENT_TYPE_LATEST
from kronos.serving.problems import Problem, late, stopping
from kronos.serving.requests import batch_works, forecast_work, inspection
from kronos.serving.responses import DISCLAIMER, about, answer, long_rows
from kronos.serving.schemas import RequestOptions
from kronos.serving.state import State, in_thread
from kronos.serving.work import Work

if TYPE_CHECKING:
    from kronos.calibration.calibration import Calibration

router = APIRouter()
Made = TypeVar("Made")
Pairs = list[tuple[RequestOptions, Work]]
BEAT = 0.1
"""Seconds between two looks at how far the engine is, for those who watch."""


@router.post("/v1/forecast", openapi_extra=documents.FORECAST_BODY, responses=documents.FORECAST)
async def forecast(request: Request) -> Response:
    """Forecast one series: bars as JSON, an uploaded file, or a built-in sample.

    With ``Accept: text/event-stream`` the answer is a stream of events: ``progress`` (bars done, bars there are), then
    ``forecast`` with the JSON object, or ``problem``. Every ``bar`` comes as soon as it is drawn, as rows of the long table.
    """
    state: State = request.app.state.service
    with state.batcher.expecting():
        options, work = await forecast_work(request, state)
        streamed = _wants_stream(request)
        state.begun([work], streamed)
    make = lambda: answer(work, work.paths(), options)
    if streamed:
        return _stream(request, state, [(options, work)], make)
    await _finished(request, [work])
    return _json(await in_thread(state, make))


@router.post("/v1/forecast/batch", openapi_extra=documents.BATCH_BODY, responses=documents.BATCH)
async def batch(request: Request) -> Response:
    """Forecast several series in one request. A faulty one is reported under ``errors`` and does not stop the others."""
    state: State = request.app.state.service
    with state.batcher.expecting():
        pairs, errors = await batch_works(request, state)
        works = [work for _, work in pairs]
        streamed = _wants_stream(request)
        state.begun(works, streamed)

    def make() -> dict[str, Any]:
        rows, series = [], []
        for each, work in pairs:
            paths = work.paths()
            rows += long_rows(work, paths, each, named=True)
            series.append({"id": work.id, **about(work, paths, each)})
        return {
            "model": works[0].offered.name,
            "forecast": rows,
            "series": series,
            "errors": errors,
            "advice": DISCLAIMER,
        }

    if streamed:
        return _stream(request, state, pairs, make)
    await _finished(request, works)
    return _json(await in_thread(state, make))


@router.post("/v1/inspect", openapi_extra=documents.INSPECT_BODY, responses=documents.INSPECT)
async def inspect_file(request: Request) -> Response:
    """Say what is in a file: its columns, symbols and rhythm, every fault with its rows, and the bars if it is sound."""
    state: State = request.app.state.service
    return Response(await inspection(request, state), media_type="application/json")


@router.get("/v1/samples/{name}", responses=documents.SAMPLE)
async def sample(request: Request, name: documents.SampleName) -> Response:
    """The bars of a built-in sample, as /v1/inspect gives them."""
    state: State = request.app.state.service
    limits = state.settings.limits
    found = await in_thread(state, lambda: inspected(None, None, name.value, limits, ReadOptions()))
    return Response(found, media_type="application/json")


@router.get("/v1/models", responses=documents.MODELS)
async def models(request: Request) -> Response:
    """The models in memory, the samples, and what may be asked for."""
    state: State = request.app.state.service
    limits = state.settings.limits
    return JSONResponse(
        {
            "models": [
                {
                    "name": offered.name,
                    "context": offered.predictor.max_context,
                    "parameters": sum(p.numel() for p in offered.predictor.model.parameters()),
                    "temperature": offered.predictor.sampling.temperature,
                    "top_p": offered.predictor.sampling.top_p,
                    "top_k": offered.predictor.sampling.top_k,
                    "calibration": _calibration_facts(offered.predictor.calibration),
                }
                for offered in state.offered.values()
            ],
            "samples": available_samples(),
            "limits": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
            "version": state.version,
            "advice": DISCLAIMER,
        }
    )


def _calibration_facts(how: Calibration | None) -> dict[str, Any] | None:
    if how is None:
        return None
    told = how.verdict
    return {
        "name": how.name,
        "until": how.fitted_on.get("last"),
        "covers": told.get("covers"),
        "windows": told.get("windows"),
    }


@router.get("/healthz", responses=documents.PROBE)
async def healthz() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", responses=documents.READY)
async def readyz(request: Request) -> Response:
    """The models are loaded and requests are taken."""
    if not request.app.state.service.batcher.alive:
        raise stopping()
    return JSONResponse({"status": "ready"})


@router.get("/metrics", responses=documents.METRICS)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    state: State = request.app.state.service
    state.metrics.waiting.set(state.batcher.waiting)
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _json(value: object) -> Response:
    # Not FastAPI's own: values are made of plain types, and need no second look at each of thousands of rows.
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")), media_type="application/json")


async def _finished(request: Request, works: list[Work]) -> None:
    """Wait for the engine, as long as the caller does.

    Raises:
        Problem: 504 past the deadline. asyncio.CancelledError: the caller has gone.
    """
    async for _ in _waiting(request, works, None):
        pass


async def _waiting(request: Request, works: list[Work], beat: float | None) -> AsyncIterator[None]:
    """Ends when all are done; gives a sign every ``beat`` seconds. However it ends, what is not done by then is abandoned."""
    futures = [asyncio.wrap_future(work.job.future) for work in works]
    done: asyncio.Future[Any] = asyncio.ensure_future(asyncio.wait(futures))
    gone: asyncio.Future[Any] = asyncio.ensure_future(_gone(request))
    deadline = works[0].job.deadline
    try:
        while not done.done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise late()
            await asyncio.wait({done, gone}, timeout=min(left, beat or left), return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not done.done():
                raise Problem(499, "the caller has gone", "gone")
            yield
        failures = [error for error in (future.exception() for future in futures) if error is not None]
        if any(isinstance(error, Cancelled) for error in failures):
            raise late() if time.monotonic() >= deadline else stopping()
        if failures:
            raise failures[0]
    finally:
        for work in works:
            work.job.cancelled = True
        for task in (gone, done, *futures):
            task.cancel()


async def _gone(request: Request) -> None:
    """Returns when the caller closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _wants_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def _stream(request: Request, state: State, pairs: Pairs, make: Callable[[], dict[str, Any]]) -> Response:
    events = _events(request, state, pairs, make)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(
    request: Request, state: State, pairs: Pairs, make: Callable[[], dict[str, Any]]
) -> AsyncIterator[bytes]:
    works = [work for _, work in pairs]
    told, given = None, [0] * len(pairs)
    times = iso_times(works[0].future) if len(works) == 1 else []
    yield _event("queued", {"waiting": state.batcher.waiting, "times": times})
    try:
        async for _ in _waiting(request, works, BEAT):
            now = _progress(works)
            if now == told:
                yield b": \n\n"  # a sign of life
                continue
            told = now
            yield _event("progress", now)
            for rows in await in_thread(state, lambda: _new_bars(pairs, given)):
                yield _event("bar", rows)
        yield _event("forecast", await in_thread(state, make))
    except Problem as problem:
        yield _event("problem", problem.members())


def _new_bars(pairs: Pairs, given: list[int]) -> list[dict[str, Any]]:
    """Rows of the bars that were drawn since the last look, series by series."""
    found = []
    for i, (options, work) in enumerate(pairs):
        bars = work.bars_since(given[i])
        for step in range(bars.shape[1]):
            at = given[i] + step
            rows = long_rows(work, bars[:, step : step + 1], options, named=len(pairs) > 1, first=at)
            found.append({"step": at + 1, "rows": rows})
        given[i] += bars.shape[1]
    return found


def _progress(works: list[Work]) -> dict[str, int]:
    """Bars done and bars there are, over all series."""
    done = round(sum(work.job.done * work.job.horizon for work in works))
    return {"done": done, "total": sum(work.job.horizon for work in works)}


def _event(name: str, value: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, allow_nan=False, separators=(',', ':'))}\n\n".encode()
