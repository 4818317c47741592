"""Input given in place of a file's name: ``-`` for standard input, or an address."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kronos.errors import Argument, KronosError

STDIN = "-"
MOST_BYTES = 256 * 2**20
"""Of standard input, or of what an address sends."""
ENDINGS = ((b"PAR1", ".parquet"), (b"ARROW1", ".feather"), (b"FEA1", ".feather"), (b"PK\x03\x04", ".xlsx"))

_names: dict[str, str] = {}


def shown(text: str) -> str:
    """A text for people, with what was given in place of the temporary file it was put into."""
    for path, name in _names.items():
        text = text.replace(path, name)
    return text


@contextmanager
def given_file(file: str | None, allow_url: bool) -> Iterator[str | None]:
    """The name of a file with the bars, there for as long as the block runs; any other name is given back as it is.

    Raises:
        ValueError: an address without ``--allow-url``, one that cannot be fetched, or no or too much input.
    """
    if file is None or (file != STDIN and not is_address(file)):
        yield file
        return
    if file == STDIN:
        content, name = _standard_input(), "standard input"
    else:
        if not allow_url:
            raise KronosError(f"{file} is an address; give ", Argument("allow_url", True), " to fetch it")
        from kronos.io.downloads import download

        content, name = download(file, MOST_BYTES), file
    ending = next((ending for magic, ending in ENDINGS if content.startswith(magic)), ".csv")
    with tempfile.TemporaryDirectory(prefix="kronos-") as folder:
        path = Path(folder) / f"{_stem(file)}{ending}"
        path.write_bytes(content)
        _names[str(path)] = name  # for messages after the block too
        yield str(path)


def is_address(file: str) -> bool:
    """Whether it names a scheme of its own; ``ccxt:binance:BTC/USDT`` and ``C:\\prices.csv`` do not."""
    return "://" in file


def _stem(file: str) -> str:
    """Name of the series: the last part of an address, else stdin."""
    from urllib.parse import urlsplit

    last = "stdin" if file == STDIN else urlsplit(file).path.rsplit("/", 1)[-1].split(".")[0]
    return "".join(c for c in last if c.isalnum() or c in "-_")[:80] or "bars"


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("- reads bars from standard input; pipe them into it: cat prices.csv | kronos forecast -")
    content: bytes = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"standard input has more than {MOST_BYTES // 2**20} MiB: save it as a file")
    if not content:
        raise ValueError("standard input is empty; pipe bars into it: cat prices.csv | kronos forecast -")
    return content
