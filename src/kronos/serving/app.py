"""The application: routes, the page's files, and the guard before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kronos import __version__
from kronos.serving.batching import Batcher
from kronos.serving.config import Settings
from kronos.serving.metrics import Metrics
from kronos.serving.middleware import Guard
from kronos.serving.openapi import openapi_of
from kronos.serving.page_files import PageFiles
from kronos.serving.problems import MEDIA_TYPE, Problem, internal
from kronos.serving.reader_pool import Readers
from kronos.serving.routes import router
from kronos.serving.state import State
from kronos.serving.work import LoadedModel

ABOUT = "Forecasts of K-lines (candlesticks) by Kronos. Forecasts are uncertain and no advice."


def create_app(offered: Mapping[str, LoadedModel], settings: Settings, readers: Readers | None = None) -> Guard:
    """The whole service as an ASGI application; the models are in memory already.

    ``readers``: processes that were started before, ended with the service; otherwise they start with the first file.
    """
    metrics = Metrics()
    files_read = readers or Readers(settings.limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = Batcher(
            {name: one.predictor for name, one in offered.items()},
            settings.window,
            settings.batch,
            settings.workers,
            settings.threads,
            metrics,
        )
        app.state.service = State(settings, offered, batcher, metrics, files_read)
        yield
        batcher.close(settings.limits.timeout)
        files_read.close()

    app = FastAPI(
        title="Kronos", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan,
        redirect_slashes=False,
    )  # fmt: skip
    app.include_router(router)
    files = PageFiles()
    files.add_to(app)
    app.openapi = lambda: openapi_of(app)  # type: ignore[method-assign]
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)  # the guard, which it reaches afterwards, writes it down
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)

    def retry_after() -> int:
        service: State = app.state.service
        return 1 + service.batcher.waiting // 32

    def freed() -> None:
        app.state.service.batcher.freed()

    return Guard(app, settings, metrics, files.paths, retry_after, freed)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return Response(error.body(), error.status, dict(error.headers), MEDIA_TYPE)


def _gone(request: Request, error: Exception) -> Response:
    """In the middle of sending; nobody reads this."""
    return _problem(request, Problem(499, "the caller has gone", "gone"))


def _failed(request: Request, error: Exception) -> Response:
    return _problem(request, internal(request.state.request_id))


def _http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    known = {404: "there is nothing at this address", 405: "this address does not take that method"}
    status = error.status_code if error.status_code in known else 400
    headers: dict[str, Any] = dict(error.headers or {})
    return _problem(request, Problem(status, known.get(status, "the request cannot be read"), "http", headers=headers))


def _invalid(request: Request, error: Exception) -> Response:
    """Path parameters: the only ones that FastAPI checks."""
    return _problem(request, Problem(404, "there is nothing at this address", "http"))
