"""Which series there are in a folder or long table, and in which files each of them lies.

Only the symbol and time columns are read, batch by batch, so that planning needs little memory however large the data is.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kronos.errors import message_of
from kronos.io.storage import Storage, StorageEntry
from kronos.klines.read_options import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa

TIME_ROLES = ("timestamps", "date", "time")


class Piece(NamedTuple):
    """Rows of a series in one file: those with this text in its symbol column, or the whole file (None)."""

    file: str
    symbol: str | None


class Member(NamedTuple):
    """A series of the universe. Pieces follow each other in time."""

    name: str
    pieces: tuple[Piece, ...]


class Universe(NamedTuple):
    """The series in the order of the files and of the rows in them, and the files that cannot be read, with reasons."""

    members: list[Member]
    refused: list[tuple[str, str]]


class _Found(NamedTuple):
    piece: Piece
    name: str
    first: Any
    last: Any


def is_parquet(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def table_files(store: Storage) -> list[StorageEntry]:
    """The files of the store that the reader reads; an ``index.csv`` that lists files is left out with a warning.

    Raises:
        ValueError: there is no such place, or none in it.
    """
    from kronos.klines.catalog import INDEX, is_catalog, left_out
    from kronos.klines.formats import is_table

    if not store.exists:
        raise ValueError(f"{store.place}: there is no such folder or file")
    files = [entry for entry in store.list() if is_table(Path(entry.name))]
    for entry in [entry for entry in files if Path(entry.name).name == INDEX and entry.name != store.file]:
        if is_catalog(entry.name, store.read(entry.name) or b""):
            warnings.warn(left_out(f"{store.place}/{entry.name}"), stacklevel=2)
            files.remove(entry)
    if not files:
        raise ValueError(f"{store.place} has no Parquet, Feather, CSV or TSV file")
    return files


def find_series(
    store: Storage,
    files: list[StorageEntry],
    columns: Mapping[str, str] | None,
    verbose: bool = False,
    dialect: ReadOptions | None = None,
) -> Universe:
    """Look through the files.

    A file without a symbol column is one series, called after a folder symbol=NAME, or after the file. A symbol in several
    files is one series where their times follow each other (a table cut by dates), and otherwise several, called
    SYMBOL@FILE from the second on (one symbol at several frequencies).
    """
    from tqdm.auto import tqdm

    from kronos.klines import KlineError

    found: dict[str, list[_Found]] = {}
    refused: list[tuple[str, str]] = []
    for entry in tqdm(files, desc="looking for series", unit="file", disable=not verbose, leave=False):
        try:
            for one in _series_in(store, entry.name, columns, dialect):
                found.setdefault(one.name, []).append(one)
        except (KlineError, OSError) as error:
            refused.append((entry.name, first_line(error)))
    members: list[Member] = []
    taken = set(found)
    for name, parts in found.items():
        if follow_each_other(parts):
            members.append(Member(name, tuple(one.piece for one in parts)))
            continue
        for number, one in enumerate(parts):
            own = name if number == 0 else f"{name}@{Path(one.piece.file).name.split('.')[0]}"
            if number and own in taken:
                own = f"{name}@{one.piece.file}"
            taken.add(own)
            members.append(Member(own, (one.piece,)))
    return Universe(members, refused)


def first_line(error: Exception) -> str:
    return message_of(error).first_line()


def follow_each_other(parts: list[_Found]) -> bool:
    """Sorts the pieces by time; False where two of them overlap or their times cannot be compared."""
    if len(parts) == 1:
        return True
    try:
        parts.sort(key=lambda one: one.first)
        return all(one.last <= after.first for one, after in zip(parts, parts[1:], strict=False))
    except TypeError:
        return False


def _series_in(
    store: Storage, file: str, columns: Mapping[str, str] | None, dialect: ReadOptions | None
) -> Iterator[_Found]:
    if not is_parquet(file):
        yield from _in_text(store, file, columns, dialect)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kronos.klines import KlineError

    try:
        with store.fs.open_input_file(store.path(file)) as stream:
            table = pq.ParquetFile(stream)
            roles = roles_of(table.schema_arrow.names, columns)
            time = next(roles[role] for role in TIME_ROLES if role in roles)
            if "symbol" not in roles:
                ends = _ends(table, None, time)
                yield _Found(Piece(file, None), _name_of(file), *next(iter(ends.values()), (None, None)))
                return
            for symbol, (first, last) in _ends(table, roles["symbol"], time).items():
                if symbol is not None:
                    yield _Found(Piece(file, symbol), symbol.strip(), first, last)
    except pa.ArrowException as error:
        raise KlineError(f"a damaged Parquet file: {first_line(error)}") from error


def roles_of(names: list[str], columns: Mapping[str, str] | None) -> dict[str, str]:
    """The column of each role.

    Raises:
        KlineError: a price or the time is missing.
    """
    from kronos.klines import KlineError
    from kronos.klines.columns import describe_missing, find_columns, missing_roles

    found = find_columns(names, columns)
    missing = missing_roles(found)
    if missing:
        raise KlineError(describe_missing(missing, names))
    return {role: names[position] for role, position in found.items()}


def _ends(table: Any, symbol: str | None, time: str) -> dict[str | None, tuple[Any, Any]]:
    """{symbol: (first time, last time)} in the order of appearance, read batch by batch."""
    import pyarrow as pa

    ends: dict[str | None, tuple[Any, Any]] = {}
    wanted = [time] if symbol is None else [symbol, time]
    for batch in table.iter_batches(columns=wanted, batch_size=2**18):
        times = batch.column(batch.schema.names.index(time))
        if symbol is None:
            keys = pa.array([None] * len(times), pa.string())
        else:
            keys = as_text(batch.column(batch.schema.names.index(symbol)))
        if pa.types.is_dictionary(times.type):
            times = times.cast(times.type.value_type)
        plain = pa.table({"key": keys, "time": times})
        spans = plain.group_by("key", use_threads=False).aggregate([("time", "min"), ("time", "max")])
        for key, first, last in zip(
            *(spans[name].to_pylist() for name in ("key", "time_min", "time_max")), strict=True
        ):
            known = ends.get(key)
            if known is not None and first is not None and known[0] is not None:
                first, last = min(first, known[0]), max(last, known[1])
            elif known is not None and first is None:
                first, last = known
            ends[key] = (first, last)
    return ends


def as_text(column: pa.Array) -> pa.Array:
    """A symbol column as the reader reads it: text, numbers spelled out."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _in_text(
    store: Storage, file: str, columns: Mapping[str, str] | None, dialect: ReadOptions | None
) -> Iterator[_Found]:
    """A text or Feather file is read as a whole."""
    from kronos.klines import list_symbols, read_table

    with local_copy(store, file) as path:
        named = bool(list_symbols(path, columns=columns, options=dialect))
        table = read_table(path, columns=columns, options=dialect)
    spans = table.groupby("symbol", sort=False)["timestamps"].agg(["min", "max"])
    for symbol, first, last in spans.itertuples():
        yield _Found(Piece(file, symbol if named else None), symbol if named else _name_of(file), first, last)


def _name_of(file: str) -> str:
    """From a folder symbol=NAME, as partitioned tables have it, or from the file's own name."""
    from kronos.klines.columns import find_columns

    for part in reversed(file.split("/")[:-1]):
        key, equals, value = part.partition("=")
        if equals and value and "symbol" in find_columns([key]):
            from urllib.parse import unquote

            return unquote(value)
    return Path(file).name.split(".")[0]


class local_copy:
    """The file itself where it lies on a disk, else a copy of it for as long as the block lasts."""

    def __init__(self, store: Storage, file: str) -> None:
        self.store, self.file = store, file
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        from kronos.klines import MAX_FILE_BYTES, KlineError

        if self.store.is_local:
            return Path(self.store.path(self.file))
        if self.store.fs.get_file_info(self.store.path(self.file)).size > MAX_FILE_BYTES:
            raise KlineError(f"{self.file} is larger than {MAX_FILE_BYTES / 2**30:g} GiB; split the file")
        self.folder = tempfile.TemporaryDirectory(prefix="kronos-")
        path = Path(self.folder.name) / Path(self.file).name
        path.write_bytes(self.store.read(self.file) or b"")
        return path

    def __exit__(self, *error: object) -> None:
        if self.folder is not None:
            self.folder.cleanup()
