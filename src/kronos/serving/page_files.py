"""The page's files: read once from the package, served from memory. What a caller asks for is looked up, never opened."""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI, Request
from starlette.responses import Response

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File(NamedTuple):
    plain: bytes
    packed: bytes
    kind: str
    tag: str


class PageFiles:
    """index.html under /, the others under /static/."""

    def __init__(self) -> None:
        names = sorted(p for p in PAGE.iterdir() if p.suffix in TYPES)
        self._load: dict[str, Callable[[], _File]] = {
            f"/static/{p.name}": functools.cache(lambda p=p: _read(p)) for p in names
        }
        self._load["/"] = self._load["/static/index.html"]

    @property
    def paths(self) -> frozenset[str]:
        return frozenset((*self._load, "/favicon.ico"))

    def add_to(self, app: FastAPI) -> None:
        for path in self._load:
            app.add_api_route(path, self._serve, methods=["GET", "HEAD"], include_in_schema=False)
        app.add_api_route("/favicon.ico", lambda: Response(status_code=204), methods=["GET"], include_in_schema=False)

    def warm(self) -> None:
        """Read and pack them all, so that the first visitor does not wait for it."""
        for load in self._load.values():
            load()

    def _serve(self, request: Request) -> Response:
        file = self._load[request.url.path]()
        # no-cache: asked for again every time, answered with 304 while it is the same
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, media_type=file.kind, headers={**headers, "Content-Encoding": "gzip"})
        return Response(file.plain, media_type=file.kind, headers=headers)


def _read(path: Path) -> _File:
    return _packed(path.read_bytes(), path.suffix)


def _packed(content: bytes, suffix: str) -> _File:
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    return _File(content, gzip.compress(content, 6), TYPES[suffix], tag)
