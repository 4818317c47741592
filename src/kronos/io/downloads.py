"""Fetch one file from an http(s) address: no other scheme, also after redirects, within a size and a time."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

SCHEMES = ("http", "https")
SILENCE = 20.0
"""Seconds that the server may say nothing."""
TOTAL = 120.0
"""Seconds for the whole file."""
PIECE = 2**16


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow to http(s) alone, and from https to nothing less; five times at most."""

    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in SCHEMES or (before, after) == ("https", "http"):
            raise ValueError(f"{req.full_url} leads on to {newurl[:200]}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(address: str, most: int, total: float = TOTAL) -> bytes:
    """What the address sends.

    Args:
        address: http:// or https://; a user name or password in it is refused.
        most: bytes. total: seconds.

    Raises:
        ValueError: another scheme, an answer other than 200, too much, too slow, or nothing.
    """
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{address}: only http:// and https:// addresses are fetched")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user name or password in it is not fetched: download the file yourself")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(address, headers={"User-Agent": "kronos-forecast", "Accept-Encoding": "identity"})
    end = time.monotonic() + total
    try:
        with opener.open(request, timeout=min(SILENCE, total)) as answer:
            content = _read(answer, address, most, end, total)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{address} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"{address} cannot be fetched: {reason or type(error).__name__}") from error
    if not content:
        raise ValueError(f"{address} sends nothing")
    return content


def _read(answer: Any, address: str, most: int, end: float, total: float) -> bytes:
    """Piece by piece, so that size and time are looked at in between."""
    limit = ValueError(f"{address} sends more than {most / 2**20:.4g} MiB, which is the limit")
    length = answer.headers.get("Content-Length")
    if length is not None and length.isdigit() and int(length) > most:
        raise limit
    content = bytearray()
    while piece := answer.read1(PIECE):
        content += piece
        if len(content) > most:
            raise limit
        if time.monotonic() > end:
            raise ValueError(f"{address} takes more than {total:g} s; download the file yourself")
    if length is not None and length.isdigit() and len(content) < int(length):
        raise ValueError(f"{address} broke off after {len(content):,} of {int(length):,} bytes; try again")
    return bytes(content)
