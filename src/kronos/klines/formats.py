"""From a file to raw cells: text, JSON, Parquet, Feather, .xlsx, and any of these in a .gz or .zip file.

`read_raw` tells the format by content first, by ending second; `encodings` tells the encoding, `layout` finds the header, and
`columns` the roles by name. The meaning of the cells is the reader's business.
"""

from __future__ import annotations

import ast
import gzip
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import COMMA_LANGUAGES, KlineError, normalise_name
from kronos.klines.encodings import decode, encodings_of, ranked
from kronos.klines.json_tables import MAX_JSON_BYTES, read_json
from kronos.klines.layout import SPACES, Header, count_footers, find_header, found_or_raise, two_levels, unwrapped
from kronos.klines.numbers import looks_mixed
from kronos.klines.read_options import ReadOptions
from kronos.klines.workbooks import sheet_texts
from kronos.schema import FEATURES, PRICE_COLUMNS

# Larger files (and .gz files that unpack to more) are refused before they are read: one series of 1-minute bars over
# twenty years is about 1 GB of CSV, so 2 GiB is generous, and a whole table is held in memory several times over.
MAX_FILE_BYTES = 2 * 1024**3

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".tab", ".prn")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
SHEET_ENDINGS = (".xlsx", ".xls", ".zip")
ARROW_ENDINGS = (".parquet", ".pq", ".feather", ".arrow")
_HEAD_BYTES = 65536
# The default of pandas 2 reads some numbers off by the last digit; pandas 3 does not, and deprecates the option.
_EXACT: dict[str, Any] = {"float_precision": "round_trip"} if pd.__version__.startswith("2.") else {}
_COMMA_LANGUAGES = frozenset(map(normalise_name, COMMA_LANGUAGES))


@dataclass(frozen=True)
class Raw:
    """A file's cells as they are. found: the position of each role (see `columns.find_columns`)."""

    table: pd.DataFrame  # columns by position
    names: list[str]
    found: dict[str, int]
    separator: str | None  # None where the file is no text
    unused: tuple[str, ...] = ()
    """Names of the columns that have no role."""
    notes: tuple[str, ...] = ()
    """What was assumed, and lines that were left out, for people."""
    comma_locale: bool = False
    """The names of the columns are in a language that writes a decimal comma."""
    texts: Callable[[], pd.DataFrame] | None = None
    """Reads the columns of text without a role, by name, where `table` does not hold them."""


def read_raw(file: Path, options: ReadOptions | None = None) -> Raw:
    """The cells of a file of any known format, told by content first and by ending second.

    Raises:
        KlineError: the file cannot be read, or a required column is not found.
    """
    options = options or ReadOptions()
    magic = _check_file(file)
    ending = _ending(file)
    if magic[:4] == b"PAR1":
        return _read_arrow(file, options, "Parquet")
    if magic[:6] == b"ARROW1" or magic[:4] == b"FEA1":
        return _read_arrow(file, options, "Feather")
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


def is_table(file: Path) -> bool:
    """Whether the file's ending is one that `read_raw` reads from a folder: text, JSON lines, Parquet or Feather."""
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


def _read_arrow(file: Path, options: ReadOptions, kind: str) -> Raw:
    from pyarrow import feather, parquet, types  # type: ignore[import-untyped,unused-ignore]

    read: Any = parquet.read_table if kind == "Parquet" else feather.read_table
    with _damaged(kind):
        schema = parquet.read_schema(file) if kind == "Parquet" else feather.read_table(file, memory_map=True).schema
        names = list(schema.names)
        levels = _level_names(names)
        if levels is not None:
            table = read(file).to_pandas(ignore_metadata=True)
            return long_of(table, *levels, None, ())
        wanted, found = _wanted(names, options)
        # metadata ignored: an index that pandas stored comes back as the ordinary column it is in the file
        table = read(file, columns=wanted).to_pandas(ignore_metadata=True)
    kinds = {n: schema.field(n).type for n in names if n not in wanted and names.count(n) == 1}
    texts = [n for n, k in kinds.items() if types.is_string(k) or types.is_large_string(k) or types.is_dictionary(k)]
    unused = tuple(name for name in names if name not in wanted)
    return Raw(
        table[wanted], wanted, found, None, unused,
        texts=(lambda: read(file, columns=texts).to_pandas(ignore_metadata=True)) if texts else None,
    )  # fmt: skip


def _level_names(names: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """(fields, tickers) of columns that pandas stored as ('Close', 'AAPL'), with "" for the ticker of the time."""
    pairs: list[tuple[str, str]] = []
    for name in names:
        try:
            value = ast.literal_eval(name) if name.startswith("(") and len(name) < 200 else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        pairs.append((str(value[0]), str(value[1])) if isinstance(value, tuple) and len(value) == 2 else ("", name))
    wide = [pair for pair in pairs if pair[0]]
    if len(wide) < 4:
        return None
    levels = two_levels([a for a, b in wide if b], [b for a, b in wide if b])
    if levels is None:
        return None
    fields, tickers = map(iter, levels)
    timed = [bool(a and b) for a, b in pairs]
    return [next(fields) if yes else a or b for yes, (a, b) in zip(timed, pairs, strict=True)], [
        next(tickers) if yes else "" for yes in timed
    ]


def long_of(
    table: pd.DataFrame, fields: list[str], tickers: list[str], separator: str | None, notes: tuple[str, ...]
) -> Raw:
    """A table with the columns of several tickers side by side, as rows of each ticker after the other."""
    names = list(dict.fromkeys(ticker for ticker in tickers if ticker))
    times = [i for i, ticker in enumerate(tickers) if not ticker]
    if len(times) != 1:
        raise KlineError(
            f"columns of {len(names)} tickers side by side, and {len(times)} columns beside them: expected one of times"
        )
    wanted = list(dict.fromkeys(field for field, ticker in zip(fields, tickers, strict=True) if ticker))
    parts = []
    for name in names:
        own = {f: i for i, (f, t) in enumerate(zip(fields, tickers, strict=True)) if t == name}
        try:
            found_or_raise(["Date", *own], None)
        except KlineError as error:
            raise KlineError(f"columns of {len(names)} tickers side by side; {name}: ", error.message) from error
        cells = table.iloc[:, [times[0], *own.values()]].set_axis(["Date", *own], axis=1)
        cells = cells[~cells[list(own)].isna().all(axis=1)] if len(names) > 1 else cells
        cells.insert(1, "Ticker", name)
        parts.append(cells.reindex(columns=["Date", "Ticker", *wanted]))
    long = pd.concat(parts, ignore_index=True)
    all_names = list(map(str, long.columns))
    found = found_or_raise(all_names, None)
    unused = tuple(name for i, name in enumerate(all_names) if i not in found.values())
    return Raw(long.set_axis(range(long.shape[1]), axis=1), all_names, found, separator, unused, notes)


def raw_pieces(file: Path, rows: int, options: ReadOptions | None = None) -> Iterator[Raw]:
    """The cells of a file in turn: a Parquet file's ``rows`` at a time where each symbol's rows lie together, others at once.

    A piece may end within a symbol.
    """
    from pyarrow import parquet

    options = options or ReadOptions()
    if _check_file(file)[:4] != b"PAR1":
        yield read_raw(file, options)
        return
    with _damaged("Parquet"):
        opened = parquet.ParquetFile(file)
        names = list(opened.schema_arrow.names)
        if _level_names(names) is not None:
            yield read_raw(file, options)
            return
        wanted, found = _wanted(names, options)
        apart = "symbol" in found and not _lie_together(opened, wanted[found["symbol"]], rows)
        if apart or not opened.metadata.num_rows:
            yield read_raw(file, options)
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


def _wanted(names: list[str], options: ReadOptions) -> tuple[list[str], dict[str, int]]:
    """The columns to read of a file with these names, and where each role is among them."""
    found = found_or_raise(names, options.columns)
    wanted = [names[i] for i in dict.fromkeys(found.values())]
    return wanted, {role: wanted.index(names[i]) for role, i in found.items()}


@contextmanager
def _damaged(kind: str) -> Iterator[None]:
    import pyarrow  # type: ignore[import-untyped,unused-ignore]

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise KlineError(f"a damaged {kind} file: {str(error).splitlines()[0]}") from error


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
    encodings = [options.encoding] if options.encoding else encodings_of(head)
    problem: KlineError | None = None
    for number, encoding in enumerate(encodings):
        try:
            raw = _decoded(file, data, head, encoding, options)
        except UnicodeDecodeError as error:
            if number == 0 and len(encodings) > 1 and head.isascii():  # other signs come after the head
                encodings[1:] = _ranked_later(file, data)
            if options.encoding:
                raise KlineError(
                    f"text that is not {encoding}, as ", Argument("encoding"), f" says: {error.reason}"
                ) from error
            continue
        except KlineError as error:
            problem = problem or error
            if head.isascii() or number == len(encodings) - 1:
                raise problem from error
            continue
        assumed = options.encoding is None and encoding not in ("utf-8-sig", "utf-16")
        return replace(raw, notes=(f"the text is read as {encoding}", *raw.notes)) if assumed else raw
    raise problem or KlineError(
        "text of no known encoding; name it with ", Argument("encoding"), ", or save it as UTF-8"
    )


def _ranked_later(file: Path, data: bytes | None) -> list[str]:
    """Encodings of a text whose head is plain ASCII, by the lines that are not."""
    content = file.read_bytes() if data is None else data
    lines = content.split(b"\n")
    return ranked(b"\n".join([*lines[:5], *[line for line in lines if not line.isascii()][:500]]))


def _decoded(file: Path, data: bytes | None, head: bytes, encoding: str, options: ReadOptions) -> Raw:
    try:
        text = decode(head, encoding)
    except UnicodeDecodeError:
        raise
    except UnicodeError as error:  # utf-16 without a mark, named by the caller
        raise KlineError(f"text that is not {encoding}: {error}") from error
    header = find_header(re.split("\r\n|\r|\n", text), options.columns, options.names)

    def content() -> Path | io.BytesIO:
        return file if data is None else io.BytesIO(data)

    notes = [f"left out above the header: {title[:80]}" for title in header.titles]
    notes += [header.note] if header.note else []
    if header.tickers:
        table = _parse_text(content(), header, encoding, everything=False)
        return long_of(table, header.names, list(header.tickers), header.separator, tuple(notes))
    table = _parse_text(content(), header, encoding, everything=False)
    footers = count_footers(table, header.found)
    table = table.iloc[: len(table) - footers] if footers else table
    comma = sum(normalise_name(name) in _COMMA_LANGUAGES for name in header.names) >= 2
    if _needs_text(table, header, options, comma):
        whole = _parse_text(content(), header, encoding, everything=True)
        table, cut = whole.iloc[: len(table)], whole.iloc[len(table) :]
    else:
        cut = (
            table.iloc[:0] if not footers else _parse_text(content(), header, encoding, everything=True).iloc[-footers:]
        )
    table, again = _without_headers(table, header)
    if again:
        rows = ", ".join(map(str, again[:3])) + (", ..." if len(again) > 3 else "")
        notes.append(f"left out: the header again, in data row{'s' if len(again) > 1 else ''} {rows}")
    for _, row in cut.iterrows():
        line = " ".join(str(cell) for cell in row if isinstance(cell, str) and cell.strip())
        notes.append(f"left out below the last bar: {line[:80]}")
    used = set(header.found.values())
    unused = tuple(name for i, name in enumerate(header.names) if i not in used and name)
    return Raw(table, header.names, header.found, header.separator, unused, tuple(notes), comma)


def _unwrapped(table: pd.DataFrame) -> pd.DataFrame:
    """The cells without the signs that make them texts for a spreadsheet, where the first row has any."""
    if not len(table):
        return table
    for at, cell in enumerate(table.iloc[0]):
        if isinstance(cell, str) and cell.lstrip()[:1] in ("=", "'"):
            cells = table.iloc[:, at].astype("str").where(table.iloc[:, at].notna())
            table[table.columns[at]] = cells.map(lambda text: unwrapped(text.strip()), na_action="ignore")
    return table


def _without_headers(table: pd.DataFrame, header: Header) -> tuple[pd.DataFrame, list[int]]:
    """Rows that are not the header once more, under their old labels, and the numbers of those that are (1 = first)."""
    places = [header.found[role] for role in PRICE_COLUMNS]
    if any(pd.api.types.is_numeric_dtype(table.iloc[:, at].dtype) for at in places):
        return table, []
    repeated = np.ones(len(table), dtype=bool)
    for at in places:
        repeated &= (table.iloc[:, at].str.strip().str.lower() == header.names[at].lower()).to_numpy(
            dtype=bool, na_value=False
        )
    return (table[~repeated], (np.flatnonzero(repeated) + 1).tolist()) if repeated.any() else (table, [])


def _needs_text(table: pd.DataFrame, header: Header, options: ReadOptions, comma_language: bool) -> bool:
    """Whether numbers must be read from their text: some column is no plain number, or the numbers may mean something else."""
    values = [table.iloc[:, at] for role, at in header.found.items() if role in (*FEATURES, "tick_volume")]
    if any(not pd.api.types.is_numeric_dtype(cells.dtype) for cells in values):
        return True
    if options.decimal == "," or options.thousands == ".":
        return True
    if options.decimal == "." or options.thousands is not None:
        return False
    prices = [table.iloc[:, header.found[role]].to_numpy("float64") for role in PRICE_COLUMNS]
    if comma_language and header.separator != ",":
        return True
    return any(looks_mixed(cells) for cells in prices)


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


def _parse_text(source: Path | io.BytesIO, header: Header, encoding: str, *, everything: bool) -> pd.DataFrame:
    """The data rows. everything: every column as text; otherwise plain numbers are parsed.

    Raises:
        KlineError: a row has more cells than the header.
    """
    # as text: symbols keep their zeros (000001), times their digits
    as_text: Any = {i: "str" for role, i in header.found.items() if role in ("symbol", "timestamps", "date", "time")}
    try:
        with warnings.catch_warnings():
            # pandas only warns when it throws surplus cells away
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                source,
                sep=header.separator,
                encoding=encoding,
                header=None,
                names=range(len(header.names)),
                skiprows=header.skip,
                index_col=False,
                dtype="str" if everything else as_text,
                skipinitialspace=True,
                low_memory=False,
                compression=None,  # told by the first bytes, never by the name
                **_EXACT,
            )
            return _unwrapped(table)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        lost = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        what = "some rows have more cells than the header"
        if lost:
            what = f"line {lost[2]} has {lost[3]} cells, expected {lost[1]}"
        apart = "spaces" if header.separator == SPACES else repr(header.separator)
        raise KlineError(f"{what} (separator {apart}): one cell for each column name") from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=range(len(header.names)))
