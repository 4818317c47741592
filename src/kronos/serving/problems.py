"""What callers are told when something is wrong: problem+json (RFC 9457), never an internal of the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kronos.errors import NAME_ALONE, Argument, message_of
from kronos.klines import KlineError
from kronos.serving.config import Limits

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed from there",
    404: "There is nothing here",
    405: "Not this method",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "Not this kind of content",
    422: "The request cannot be carried out",
    431: "The header is too large",
    499: "The caller has gone",
    500: "Something went wrong in the server",
    503: "Too busy",
    504: "Not done in time",
}


class Problem(Exception):
    """An answer other than 200.

    Args:
        status: of HTTP.
        detail: what was found, where, and what to do.
        code: a short name that programs can rely on.
        more: further members of the answer, such as the faults of a table. headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.code = status, detail, code
        self.more, self.headers = dict(more or {}), dict(headers)

    def members(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "type": f"urn:kronos:{self.code}",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }

    def body(self) -> bytes:
        return json.dumps(self.members(), ensure_ascii=False).encode("utf-8", "replace")


def busy(seconds: int) -> Problem:
    """The queue is full."""
    return Problem(
        503,
        f"the service has as many requests as it can take; try again in {seconds} s",
        "queue-full",
        headers={"Retry-After": str(seconds)},
    )


def header_too_large(limits: Limits) -> Problem:
    """More bytes or lines than a header may have."""
    return Problem(
        431,
        f"the header has more than {limits.head // 1024} KiB or {limits.headers} lines, which is the limit",
        "header-too-large",
        headers={"Connection": "close"},
    )


def internal(request: str) -> Problem:
    """A fault of the server's own."""
    return Problem(500, f"the server failed; its log has the reason under {request}", "internal")


def late() -> Problem:
    """Past the deadline."""
    return Problem(504, "not done within the time that was given for it; ask for less, or for more time", "deadline")


def stopping() -> Problem:
    """The service ends."""
    return Problem(503, "the service is stopping", "stopping", headers={"Retry-After": "5"})


def unfit(error: ValueError, source: str | None = None, name: str = "the file") -> Problem:
    """A ValueError of the library, which speaks to its users, as a 422; ``source`` is a path that stands for ``name``."""
    text = message_of(error).spelled(member_of)
    if source is not None:
        text = text.replace(source, name) if source in text else f"{name}: {text}"
    lines = text.strip().splitlines() or ["the request cannot be carried out"]
    report = error.report if isinstance(error, KlineError) else None
    if report is None:
        return Problem(422, lines[0], "unfit")
    return Problem(422, lines[0], "faulty-bars", {"faults": faults_of(report), "rows": report.n_rows})


def faults_of(report: Any) -> list[dict[str, Any]]:
    """The faults of a `kronos.klines.Report`; rows are the first few, 1 is the first after the header."""
    return [
        {
            "kind": fault.kind,
            "level": fault.level,
            "count": fault.count,
            "columns": list(fault.columns),
            "rows": list(fault.rows),
            "note": fault.note.lstrip(", "),
        }
        for fault in report.faults
    ]


def member_of(argument: Argument) -> str:
    """Spell an argument as a member of a request's JSON object."""
    name, value = argument
    if value is None:
        return f"no {name}"
    if value is NAME_ALONE:
        return f'"{name}"'
    if name == "columns":
        value = ",".join(f"{role}={column}" for column, role in value.items())
    if isinstance(value, (list, tuple)):
        value = ["..." if one is ... else one for one in value]
    return f'"{name}": {json.dumps(value, ensure_ascii=False)}'
