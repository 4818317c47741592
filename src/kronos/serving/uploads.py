"""Files of callers: held to limits, put under a name of our own, and read by `kronos.klines`.

A caller's file name is only ever shown back. Feather is not taken: its buffers unpack to any size before they can be counted.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kronos.serving.config import Limits
from kronos.serving.problems import Problem

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".tab")
PARQUET_ENDINGS = (".parquet", ".pq")
SEPARATORS = (b",", b";", b"\t", b"|", b" ")
SHOWN = 80


def shown_name(name: str | None) -> str:
    """The caller's name of a file, fit to be shown: its last part, without control characters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:SHOWN] or "the file"


@contextmanager
def stored(content: bytes, name: str | None, limits: Limits) -> Iterator[Path]:
    """The content as a file for as long as the block runs.

    Raises:
        Problem: 413 or 422, the content is empty, of no known kind, or unpacks beyond the limits.
    """
    ending, content = _judged(content, shown_name(name).lower(), limits)
    with tempfile.TemporaryDirectory(prefix="kronos-") as folder:
        file = Path(folder) / f"upload{ending}"
        file.write_bytes(content)
        if ending == ".parquet":
            _check_parquet(file, limits)
        yield file


def _judged(content: bytes, name: str, limits: Limits) -> tuple[str, bytes]:
    """The ending to store the content under, and the content unpacked."""
    if not content:
        raise Problem(422, "the file is empty", "unfit")
    if content[:2] == b"\x1f\x8b":
        content, name = _unpacked(content, limits.unpacked), name.removesuffix(".gz")
    if content[:4] == b"PAR1":
        return ".parquet", content
    if name.endswith(PARQUET_ENDINGS):
        raise Problem(422, "the file is named as Parquet, but its content is not that format", "unfit")
    if content[:6] == b"ARROW1" or content[:4] == b"FEA1":
        raise Problem(422, "Feather files are not taken over HTTP: send CSV or Parquet", "unfit")
    if content[:4] == b"PK\x03\x04":
        raise Problem(422, "an Excel or zip file: save the sheet as CSV", "unfit")
    rows = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    if rows > limits.rows + 10:
        raise Problem(
            413, f"the file has about {rows:,} rows; {limits.rows:,} are allowed: send the latest", "too-many-rows"
        )
    _check_columns(_widest(content, limits.columns), limits)
    # Only from the first byte of a cell: from each byte, a file of long cells would take minutes.
    if re.search(rb"(?<![^\r\n,;\t| ])[^\r\n,;\t| ]{%d}" % (limits.cell + 1), content):
        raise _cell_too_large(limits)
    return next((ending for ending in TEXT_ENDINGS if name.endswith(ending)), ".csv"), content


def _widest(content: bytes, columns: int) -> int:
    """Cells of the line that has most, by whichever sign stands between them; a line that is shorter than that has no more."""
    lines = (line for line in content.splitlines() if len(line) > columns)
    return max((max(line.count(sign) for sign in SEPARATORS) + 1 for line in lines), default=0)


def _check_columns(count: int, limits: Limits) -> None:
    if count > limits.columns:
        raise Problem(
            413,
            f"the file has {count:,} columns; {limits.columns:,} are allowed: send those of one series",
            "too-many-columns",
        )


def _cell_too_large(limits: Limits) -> Problem:
    return Problem(413, f"the file has a cell of more than {limits.cell:,} bytes, which is the limit", "too-large")


def _unpacked(content: bytes, most: int) -> bytes:
    """A .gz file's content, never more of it in memory than is allowed."""
    parts: list[bytes] = []
    left = most + 1
    while content:  # a .gz file may have several members, one behind the other
        machine = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            parts.append(machine.decompress(content, left))
        except zlib.error as error:
            raise Problem(422, "a damaged .gz file", "unfit") from error
        left -= len(parts[-1])
        if left <= 0:
            raise Problem(413, f"the file unpacks to more than {most / 2**20:.0f} MiB", "too-large")
        if not machine.eof:
            raise Problem(422, "a damaged .gz file: it ends too early", "unfit")
        content = machine.unused_data.lstrip(b"\0")  # zeros may fill up a member, as for gzip itself
    return b"".join(parts)


def _check_parquet(file: Path, limits: Limits) -> None:
    """By what its footer says, before any page of it is unpacked."""
    import pyarrow
    from pyarrow import parquet

    try:
        facts = parquet.ParquetFile(file).metadata
        size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        raise Problem(422, "a damaged Parquet file", "unfit") from error
    _check_columns(facts.num_columns, limits)
    if facts.num_rows > limits.rows:
        raise Problem(
            413, f"the file has {facts.num_rows:,} rows; {limits.rows:,} are allowed: send the latest", "too-many-rows"
        )
    if size > limits.unpacked:
        raise Problem(413, f"the file unpacks to more than {limits.unpacked / 2**20:.0f} MiB", "too-large")
    _check_parquet_cells(file, limits)


def _check_parquet_cells(file: Path, limits: Limits) -> None:
    """The longest text of each column, each different text read once: in a dictionary a long one may stand for every row."""
    import pyarrow
    from pyarrow import compute, parquet, types

    try:
        opened = parquet.ParquetFile(file)
        texts = [
            field.name
            for field in opened.schema_arrow
            if types.is_string(field.type) or types.is_binary(field.type) or types.is_dictionary(field.type)
        ]
        for name in texts:
            column = parquet.ParquetFile(file, read_dictionary=[name]).read([name]).column(0)
            for chunk in column.chunks if types.is_dictionary(column.type) else ():
                longest = compute.max(compute.binary_length(chunk.dictionary)).as_py()
                if longest is not None and longest > limits.cell:
                    raise _cell_too_large(limits)
    except (pyarrow.ArrowException, OSError) as error:
        raise Problem(422, "a damaged Parquet file", "unfit") from error
