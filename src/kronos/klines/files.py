"""From a file to raw cells: CSV, TSV, Parquet and Feather files as users have them.

`read_raw` is the one entrance; it knows formats, encodings, separators and header lines, and finds the columns by name
(see `columns.ALIASES`). What their cells mean is the reader's business.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.klines.columns import (
    BINANCE_COLUMNS,
    PRICE_COLUMNS,
    KlineError,
    describe_missing,
    find_columns,
    missing_roles,
    normalise_name,
)

# Larger files (and .gz files that unpack to more) are refused before they are read: one series of 1-minute bars over
# twenty years is about 1 GB of CSV, so 2 GiB is generous, and a whole table is held in memory several times over.
MAX_FILE_BYTES = 2 * 1024**3

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".tab")
ARROW_ENDINGS = (".parquet", ".pq", ".feather", ".arrow")
_SEPARATORS = (",", ";", "\t", "|")
_HEAD_BYTES = 65536
_HEADER_LINES = 5  # a title or a web address may stand above the header
# The default of pandas 2 reads some numbers off by the last digit; pandas 3 does not, and deprecates the option.
_EXACT: dict[str, Any] = {"float_precision": "round_trip"} if pd.__version__.startswith("2.") else {}
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Raw:
    """A file's cells as they are. found: the position of each role (see `columns.find_columns`)."""

    table: pd.DataFrame  # columns by position
    names: list[str]
    found: dict[str, int]
    separator: str | None  # None for Parquet and Feather
    unused: tuple[str, ...] = ()
    """Names of the columns that have no role."""


def read_raw(file: Path, columns: Mapping[str, str] | None) -> Raw:
    """The cells of a file of any known format, told by content first and by ending second.

    Raises KlineError when the file cannot be read or a required column is not found.
    """
    magic = _check_file(file)
    ending = _ending(file)
    if magic[:4] == b"PAR1":
        return _read_arrow(file, columns, "Parquet")
    if magic[:6] == b"ARROW1" or magic[:4] == b"FEA1":
        return _read_arrow(file, columns, "Feather")
    if ending in ARROW_ENDINGS:
        raise KlineError(f"named {ending}, but its content is not that format")
    if magic[:4] == b"PK\x03\x04" or ending in (".xlsx", ".xls", ".zip"):
        raise KlineError("an Excel or zip file: save the sheet as CSV")
    if ending not in TEXT_ENDINGS:
        known = ", ".join(TEXT_ENDINGS + ARROW_ENDINGS)
        raise KlineError(f"ending {ending!r} is not supported: expected one of {known} (text also .gz)")
    return _read_text(file, columns, zipped=magic[:2] == b"\x1f\x8b")


def is_table(file: Path) -> bool:
    """Whether the file's ending is one that `read_raw` reads."""
    return _ending(file) in TEXT_ENDINGS + ARROW_ENDINGS


def table_files(place: Path, leave_out: str | None = None, deep: bool = False) -> list[Path]:
    """The tables of a folder in order of name, or the one file that ``place`` is.

    ``leave_out``: the name of a file that is none of them. ``deep``: folders in the folder too.
    Raises ValueError when there is nothing of that name, or the folder has no table.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ValueError(f"{place}: no such file or folder")
    inside = place.rglob("*") if deep else place.iterdir()
    files = sorted(file for file in inside if file.is_file() and is_table(file) and file.name != leave_out)
    if not files:
        raise ValueError(f"the folder {place} has no CSV, TSV, Parquet or Feather file")
    return files


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


def _read_arrow(file: Path, columns: Mapping[str, str] | None, kind: str) -> Raw:
    from pyarrow import feather, parquet  # type: ignore[import-untyped,unused-ignore]

    with _damaged(kind):
        if kind == "Parquet":
            names = list(parquet.read_schema(file).names)
        else:
            names = list(feather.read_table(file, memory_map=True).schema.names)
        wanted, found = _wanted(names, columns)
        read: Any = parquet.read_table if kind == "Parquet" else feather.read_table
        # metadata ignored: an index that pandas stored comes back as the ordinary column it is in the file
        table = read(file, columns=wanted).to_pandas(ignore_metadata=True)
    return Raw(table[wanted], wanted, found, None, tuple(name for name in names if name not in wanted))


def raw_pieces(file: Path, rows: int) -> Iterator[Raw]:
    """The cells of a file in turn: a Parquet file's ``rows`` at a time where each symbol's rows lie together, others at once.

    A piece may end within a symbol.
    """
    from pyarrow import parquet

    if _check_file(file)[:4] != b"PAR1":
        yield read_raw(file, None)
        return
    with _damaged("Parquet"):
        opened = parquet.ParquetFile(file)
        names = list(opened.schema_arrow.names)
        wanted, found = _wanted(names, None)
        apart = "symbol" in found and not _lie_together(opened, wanted[found["symbol"]], rows)
        if apart or not opened.metadata.num_rows:
            yield read_raw(file, None)
            return
        for batch in opened.iter_batches(rows, columns=wanted):
            table = batch.to_pandas(ignore_metadata=True)
            yield Raw(table[wanted], wanted, found, None)


def _lie_together(file: Any, column: str, rows: int) -> bool:
    """Whether the rows of each value of a column follow one another."""
    seen: set[str] = set()
    last = None
    for batch in file.iter_batches(rows, columns=[column]):
        values = batch.column(0).dictionary_encode()
        ids = values.indices.to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
        for value in (values.dictionary[int(i)].as_py() for i in ids[starts]):
            if value != last:
                if value in seen:
                    return False
                seen.add(value)
                last = value
    return True


def _wanted(names: list[str], columns: Mapping[str, str] | None) -> tuple[list[str], dict[str, int]]:
    """The columns to read of a file with these names, and where each role is among them."""
    found = _found_or_raise(names, columns)
    wanted = [names[i] for i in dict.fromkeys(found.values())]
    return wanted, {role: wanted.index(names[i]) for role, i in found.items()}


@contextmanager
def _damaged(kind: str) -> Iterator[None]:
    import pyarrow  # type: ignore[import-untyped,unused-ignore]

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise KlineError(f"a damaged {kind} file: {str(error).splitlines()[0]}") from error


def _read_text(file: Path, columns: Mapping[str, str] | None, zipped: bool) -> Raw:
    data = _unpack(file) if zipped else None
    if data is None:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    else:
        head = data[:_HEAD_BYTES]
    encodings = _encodings(head)
    for encoding in encodings:
        lines = _decode(head, encoding).splitlines()
        header = _find_header(lines, columns)
        try:
            table = _parse_text(file if data is None else io.BytesIO(data), header, encoding)
        except UnicodeDecodeError:
            continue
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            lost = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
            what = "some rows have more cells than the header"
            if lost:
                what = f"line {lost[2]} has {lost[3]} cells, expected {lost[1]}"
            raise KlineError(f"{what} (separator {header.separator!r}): one cell for each column name") from error
        except pd.errors.EmptyDataError:
            table = pd.DataFrame(columns=range(len(header.names)))
        used = set(header.found.values())
        unused = tuple(name for i, name in enumerate(header.names) if i not in used and name)
        return Raw(table, header.names, header.found, header.separator, unused)
    raise KlineError(f"text that is not {' or '.join(encodings)}: save it as UTF-8")


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


def _encodings(head: bytes) -> list[str]:
    """Encodings to try, best first."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]  # MetaTrader exports
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        raise KlineError("binary content, not a table: expected text, Parquet or Feather")
    choices = []
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            _decode(head, encoding)
            choices.append(encoding)
        except UnicodeDecodeError:
            continue
    if not choices:
        raise KlineError("text that is neither UTF-8 nor GB18030: save it as UTF-8")
    return choices


def _decode(head: bytes, encoding: str) -> str:
    # not final: the head may end within a character
    return codecs.getincrementaldecoder(encoding)().decode(head, final=False)


@dataclass(frozen=True)
class _Header:
    separator: str
    names: list[str]
    found: dict[str, int]
    skip: int  # lines before the first data row


def _find_header(lines: list[str], columns: Mapping[str, str] | None) -> _Header:
    """The first of the first lines that names all required columns; else what the file has instead."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        raise KlineError("the file is empty")
    problems: list[tuple[int, KlineError]] = []
    for i in filled[:_HEADER_LINES]:
        separator, cells = _cells(lines[i])
        yahoo = _yfinance_names(lines, i, separator, cells)
        names, skip = (yahoo, i + 3) if yahoo else (cells, i + 1)
        numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in cells)
        if i == filled[0] and numbers == len(cells) == len(BINANCE_COLUMNS):
            names, skip = list(BINANCE_COLUMNS), i
        elif i == filled[0] and numbers >= len(PRICE_COLUMNS):
            raise KlineError(f"no header row: the first line has {numbers} numbers; put the column names above it")
        try:
            return _Header(separator, names, _found_or_raise(names, columns), skip)
        except KlineError as problem:
            problems.append((len(cells), problem))
    # the line with most cells is the likeliest header; max takes the first of equals
    raise max(problems, key=lambda found: found[0])[1]


def _cells(line: str) -> tuple[str, list[str]]:
    """The separator that makes most of a line, and its cells."""
    rows = {s: next(csv.reader([line], delimiter=s)) for s in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda s: len(rows[s]))
    return separator, [cell.strip() for cell in rows[separator]]


def _yfinance_names(lines: list[str], i: int, separator: str, cells: list[str]) -> list[str] | None:
    """yfinance's three header lines, `Price,Close,...`, `Ticker,AAPL,...`, `Date,,...`: the names, else None."""
    if normalise_name(cells[0]) != "price" or len(lines) < i + 3:
        return None
    second, third = (next(csv.reader([line], delimiter=separator)) for line in lines[i + 1 : i + 3])
    if not second or normalise_name(second[0]) != "ticker" or not third or any(third[1:]):
        return None
    if len(set(second[1:])) > 1:
        raise KlineError(f"yfinance columns of {len(set(second[1:]))} tickers side by side: save one file a ticker")
    return [third[0], *cells[1:]]


def _found_or_raise(names: list[str], columns: Mapping[str, str] | None) -> dict[str, int]:
    found = find_columns(names, columns)
    missing = missing_roles(found)
    if missing:
        raise KlineError(describe_missing(missing, names))
    return found


def _parse_text(source: Path | io.BytesIO, header: _Header, encoding: str) -> pd.DataFrame:
    # as text: symbols keep their zeros (000001), times their digits
    as_text = {i: "str" for role, i in header.found.items() if role in ("symbol", "timestamps", "date", "time")}
    with warnings.catch_warnings():
        # pandas only warns when it throws surplus cells away
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            source,
            sep=header.separator,
            encoding=encoding,
            header=None,
            names=range(len(header.names)),
            skiprows=header.skip,
            index_col=False,
            dtype=as_text,
            skipinitialspace=True,
            low_memory=False,
            **_EXACT,
        )
