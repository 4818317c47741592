"""From a file to raw cells: text, JSON, Parquet, Feather, .xlsx, and any of these in a .gz or .zip file.

`read_raw` tells the format by content first, by ending second; `encodings` tells the encoding, `layout` finds the header, and
`columns` the roles by name. The meaning of the cells is the reader's business.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from kronos.errors import Argument
from kronos.klines.arrow_files import arrow_pieces, read_arrow
from kronos.klines.catalog import HEAD_BYTES, INDEX, is_catalog, left_out
from kronos.klines.columns import KlineError
from kronos.klines.json_tables import MAX_JSON_BYTES, read_json
from kronos.klines.layout import found_or_raise
from kronos.klines.raw_cells import Raw
from kronos.klines.read_options import ReadOptions
from kronos.klines.text_files import read_delimited
from kronos.klines.workbooks import sheet_texts

# Larger files (and .gz files that unpack to more) are refused before they are read: one series of 1-minute bars over
# twenty years is about 1 GB of CSV, so 2 GiB is generous, and a whole table is held in memory several times over.
MAX_FILE_BYTES = 2 * 1024**3

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".tab", ".prn")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
SHEET_ENDINGS = (".xlsx", ".xls", ".zip")
ARROW_ENDINGS = (".parquet", ".pq", ".feather", ".arrow")
_HEAD_BYTES = 65536


def read_raw(file: Path, options: ReadOptions | None = None) -> Raw:
    """The cells of a file of any known format, told by content first and by ending second.

    Raises:
        KlineError: the file cannot be read, or a required column is not found.
    """
    options = options or ReadOptions()
    magic = _check_file(file)
    ending = _ending(file)
    if magic[:4] == b"PAR1":
        return read_arrow(file, options, "Parquet")
    if magic[:6] == b"ARROW1" or magic[:4] == b"FEA1":
        return read_arrow(file, options, "Feather")
    if ending in ARROW_ENDINGS:
        raise KlineError(f"named {ending}, but its content is not that format")
    if magic[:4] == b"PK\x03\x04":
        return _read_zip(file, options)
    if magic[:4] == b"\xd0\xcf\x11\xe0":
        raise KlineError("a binary Excel file (.xls): save the sheet as .xlsx or CSV")
    known = TEXT_ENDINGS + JSON_ENDINGS + SHEET_ENDINGS
    if ending not in known:
        raise KlineError(
            f"ending {ending!r} is not supported: expected one of {', '.join(known + ARROW_ENDINGS)} (text also .gz)"
        )
    if ending in (".xlsx", ".zip"):
        raise KlineError(f"named {ending}, but its content is not that format")
    return _read_text(file, options, _unpack(file) if magic[:2] == b"\x1f\x8b" else None)


def raw_pieces(file: Path, rows: int, options: ReadOptions | None = None) -> Iterator[Raw]:
    """The cells of a file in turn: a Parquet file's ``rows`` at a time where each symbol's rows lie together, others at once.

    A piece may end within a symbol.
    """
    options = options or ReadOptions()
    pieces = arrow_pieces(file, rows, options) if _check_file(file)[:4] == b"PAR1" else None
    if pieces is None:
        yield read_raw(file, options)
    else:
        yield from pieces


def is_table(file: Path) -> bool:
    """Whether the file's ending is one that `read_raw` reads from a folder: text, JSON lines, Parquet or Feather."""
    return _ending(file) in TEXT_ENDINGS + ARROW_ENDINGS


def table_files(place: Path, leave_out: str | None = None, deep: bool = False) -> list[Path]:
    """The tables of a folder in order of name, or the one file that ``place`` is.

    ``leave_out``: the name of a file that is none of them. ``deep``: folders in the folder too. An ``index.csv`` that lists files
    (see `kronos.klines.catalog`) is left out with a warning.
    Raises ValueError when there is nothing of that name, or the folder has no table.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ValueError(f"{place}: no such file or folder")
    inside = place.rglob("*") if deep else place.iterdir()
    files = sorted(file for file in inside if file.is_file() and is_table(file) and file.name != leave_out)
    for file in [file for file in files if file.name == INDEX and is_catalog(file.name, _head(file))]:
        warnings.warn(left_out(str(file)), stacklevel=2)
        files.remove(file)
    if not files:
        raise ValueError(f"the folder {place} has no CSV, TSV, Parquet or Feather file")
    return files


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _ending(file: Path) -> str:
    """The last ending, lower case, .gz aside; "" when there is none."""
    endings = [e.lower() for e in file.suffixes]
    if endings[-1:] == [".gz"]:
        endings.pop()
    return endings[-1] if endings else ""


def _check_file(file: Path) -> bytes:
    """The first bytes of a file that exists, has content and is not too large."""
    if not file.exists():
        raise KlineError("no such file")
    if not file.is_file():
        raise KlineError("not a file" + (", but a folder: name one file in it" if file.is_dir() else ""))
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise KlineError(f"{size / 2**30:.1f} GiB: expected at most {MAX_FILE_BYTES / 2**30:g} GiB; split the file")
        with file.open("rb") as stream:
            magic = stream.read(8)
    except OSError as error:
        raise KlineError(f"cannot be read: {error.strerror}") from error
    if not magic:
        raise KlineError("the file is empty")
    return magic


def _read_text(file: Path, options: ReadOptions, data: bytes | None) -> Raw:
    """data: the content where it is not the file's own (unpacked); None reads the file."""
    if data is None:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    else:
        head = data[:_HEAD_BYTES]
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in (b"{", b"[") or _ending(file) in JSON_ENDINGS:
        return _read_document(file, options, data)
    if re.match(rb"<(!doctype|html|table|\?xml)", start, re.IGNORECASE):
        raise KlineError("a page of HTML or XML, not a table: save it as CSV")
    return read_delimited(file, options, data, head)


def _read_document(file: Path, options: ReadOptions, data: bytes | None) -> Raw:
    """A JSON file."""
    content = file.read_bytes() if data is None else data
    if len(content) > MAX_JSON_BYTES:
        raise KlineError(
            f"JSON of {len(content) / 2**20:.0f} MiB: expected at most {MAX_JSON_BYTES >> 20} MiB; use CSV or Parquet"
        )
    try:
        text = content.decode(
            options.encoding or ("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        )
    except UnicodeDecodeError as error:
        raise KlineError("JSON that is not UTF-8; name its encoding with ", Argument("encoding")) from error
    table, names, notes = read_json(text, options.names)
    found = found_or_raise(names, options.columns)
    unused = tuple(name for i, name in enumerate(names) if i not in found.values() and name)
    return Raw(table, names, found, None, unused, tuple(notes))


def _read_zip(file: Path, options: ReadOptions) -> Raw:
    """A .zip file with one member, or a workbook."""
    try:
        with zipfile.ZipFile(file) as packed:
            members = [
                one for one in packed.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")
            ]
            if any(one.filename == "xl/workbook.xml" for one in members):
                return _read_sheet(file, options, sum(one.file_size for one in members))
            if len(members) != 1:
                listed = ", ".join(one.filename[:40] for one in members[:5])
                raise KlineError(f"a .zip file with {len(members)} members ({listed}): expected one; unpack it")
            with packed.open(members[0]) as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, KlineError):
            raise
        raise KlineError(f"a damaged or locked .zip file: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise KlineError(f"unpacks to more than {MAX_FILE_BYTES / 2**30:g} GiB; split the file")
    if not data:
        raise KlineError("the file is empty")
    if data[:4] in (b"PAR1", b"PK\x03\x04") or data[:2] == b"\x1f\x8b" or data[:6] == b"ARROW1":
        raise KlineError(f"a .zip file around {members[0].filename[:40]}, which is packed itself: unpack it")
    name = members[0].filename
    raw = _read_text(file.with_name(Path(name).name or "member.csv"), options, data)
    return replace(raw, notes=(f"read from {name[:80]} in the .zip file", *raw.notes))


def _read_sheet(file: Path, options: ReadOptions, size: int) -> Raw:
    """The sheets of a workbook that hold tables of bars, by way of text."""
    sheets = sheet_texts(file, size)
    problems: list[tuple[str, KlineError]] = []
    read: list[tuple[str, Raw]] = []
    for title, text in sheets:
        if not text.strip():
            continue
        try:
            read.append((title, _read_text(file, replace(options, encoding="utf-8"), text.encode())))
        except KlineError as error:
            problems.append((title, error))
    if not read:
        raise problems[0][1] if problems else KlineError("a workbook without a filled sheet")
    left = tuple(f"the sheet {title!r} is left out: it holds no bars" for title, _ in problems)
    if len(read) > 1:
        return _several_sheets(read, options, left)
    title, raw = read[0]
    said = (f"read from the sheet {title!r}",) if len(sheets) > 1 else ()
    return replace(raw, notes=(*said, *left, *raw.notes))


def _several_sheets(read: list[tuple[str, Raw]], options: ReadOptions, left: tuple[str, ...]) -> Raw:
    """The sheets of a workbook, one series each, named after its sheet; sheets with a column of symbols one after the other."""
    titles = [title for title, _ in read]
    chosen = [(title, raw) for title, raw in read if title == options.symbol]
    if chosen:
        read = chosen
    first = read[0][1]
    if any(raw.names != first.names for _, raw in read):
        listed = ", ".join(map(repr, titles[:5])) + (", ..." if len(titles) > 5 else "")
        raise KlineError(
            f"{len(titles)} sheets hold bars, with different columns: {listed}; choose one with ",
            Argument("symbol", titles[0]),
        )
    notes = tuple(f"{title}: {note}" if len(read) > 1 else note for title, raw in read for note in raw.notes)
    if "symbol" in first.found:
        table = pd.concat([raw.table for _, raw in read], ignore_index=True)
        said = f"read from {len(read)} sheets, one after the other"
        return replace(first, table=table, notes=(said, *left, *notes), texts=None)
    parts = [raw.table.assign(**{"sheet": title}) for title, raw in read]
    table = pd.concat(parts, ignore_index=True).astype({"sheet": "str"})
    names = [*first.names, "sheet"]
    said = f"each of {len(titles)} sheets is a series, named after its sheet"
    return Raw(
        table.set_axis(range(table.shape[1]), axis=1), names, first.found | {"symbol": len(names) - 1}, first.separator,
        first.unused, (said, *left, *notes), first.comma_locale,
    )  # fmt: skip


def _unpack(file: Path) -> bytes:
    try:
        with gzip.open(file) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise KlineError(f"a damaged .gz file: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise KlineError(f"unpacks to more than {MAX_FILE_BYTES / 2**30:g} GiB; split the file")
    if not data:
        raise KlineError("the file is empty")
    return data
