"""The bars of some series of a universe, a few at a time, so that memory stays flat."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.errors import Argument
from kronos.io.storage import Storage
from kronos.klines.read_options import ReadOptions
from kronos.scoring.universe import Member, as_text, first_line, is_parquet, local_copy, roles_of

if TYPE_CHECKING:
    import pandas as pd

READ_TOGETHER = 64
"""Series whose rows are in memory at once."""


def read_members(
    store: Storage,
    members: Sequence[Member],
    tz: str | None,
    columns: Mapping[str, str] | None,
    dialect: ReadOptions | None = None,
) -> Iterator[tuple[str, pd.DataFrame | str]]:
    """(name, its rows as the reader gives them, not judged), in order; a text in place of rows is why they cannot be read."""
    for start in range(0, len(members), READ_TOGETHER):
        group = members[start : start + READ_TOGETHER]
        rows = _read_group(store, group, tz, columns, dialect)
        yield from ((member.name, rows.pop(member.name)) for member in group)


def _read_group(
    store: Storage,
    group: Sequence[Member],
    tz: str | None,
    columns: Mapping[str, str] | None,
    dialect: ReadOptions | None = None,
) -> dict[str, pd.DataFrame | str]:
    import pandas as pd

    from kronos.klines import KlineError

    wanted: dict[str, list[str | None]] = {}
    for member in group:
        for piece in member.pieces:
            wanted.setdefault(piece.file, []).append(piece.symbol)
    read = {file: _read_file(store, file, symbols, tz, columns, dialect) for file, symbols in wanted.items()}
    result: dict[str, pd.DataFrame | str] = {}
    for member in group:
        parts = [read[piece.file][piece.symbol] for piece in member.pieces]
        reason = next((part for part in parts if isinstance(part, str)), None)
        if reason is not None:
            result[member.name] = reason
            continue
        try:
            zones = {str(part["timestamps"].dt.tz) for part in parts if not isinstance(part, str)}
            if len(zones) > 1:
                raise KlineError(
                    f"its files have different time zones: {', '.join(sorted(zones))}; give ", Argument("tz")
                )
            result[member.name] = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)  # type: ignore[assignment,arg-type]
        except KlineError as error:
            result[member.name] = error.message
    return result


def _read_file(
    store: Storage,
    file: str,
    symbols: list[str | None],
    tz: str | None,
    columns: Mapping[str, str] | None,
    dialect: ReadOptions | None = None,
) -> dict[str | None, pd.DataFrame | str]:
    """Rows by the text of the symbol column. Rows that the reader refuses cost their own series, not the others."""
    from kronos.klines import KlineError, read_table

    try:
        if not is_parquet(file) or symbols == [None]:
            with local_copy(store, file) as path:
                table = read_table(path, tz=tz, columns=columns, options=dialect)
        else:
            with tempfile.TemporaryDirectory(prefix="kronos-") as folder:
                table = read_table(
                    _extract(store, file, symbols, columns, Path(folder)), tz=tz, columns=columns, options=dialect
                )
    except (KlineError, OSError) as error:
        if len(symbols) == 1:
            return {symbols[0]: _said(error, file)}
        middle = len(symbols) // 2
        halves = (symbols[:middle], symbols[middle:])
        return {
            name: rows for half in halves for name, rows in _read_file(store, file, half, tz, columns, dialect).items()
        }
    table.attrs = {}
    if symbols == [None]:
        return {None: table.drop(columns="symbol")}
    rows_of = {name: rows.drop(columns="symbol") for name, rows in table.groupby("symbol", sort=False)}
    return {symbol: rows_of.get((symbol or "").strip(), "its rows are gone from the file") for symbol in symbols}


def _said(error: Exception, file: str) -> str:
    """The reader names the file it read, which may be a copy."""
    _, found, reason = first_line(error).partition(f"{Path(file).name}: ")
    return f"{file}: {reason if found else first_line(error)}"


def _extract(
    store: Storage, file: str, symbols: list[str | None], columns: Mapping[str, str] | None, folder: Path
) -> Path:
    """The rows of some symbols as a Parquet file of their own; row groups without them are not read."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    from kronos.klines import KlineError

    target = folder / Path(file).name
    try:
        data = ds.dataset(store.path(file), filesystem=store.fs, format="parquet", partitioning=None)
        roles = roles_of(data.schema.names, columns)
        name = roles["symbol"]
        kind = data.schema.field(name).type
        field = ds.field(name)
        if pa.types.is_string(kind):
            chosen = field.isin(pa.array(symbols, pa.string()))
            table = data.to_table(columns=list(dict.fromkeys(roles.values())), filter=chosen)
        else:  # numbers and dictionaries are compared as the reader spells them
            import pyarrow.compute as pc

            wanted = pa.array(symbols, pa.string())
            batches = data.to_batches(columns=list(dict.fromkeys(roles.values())))
            kept = (
                b.filter(pc.is_in(as_text(b.column(b.schema.names.index(name))), value_set=wanted)) for b in batches
            )
            table = pa.Table.from_batches([b for b in kept if len(b)])
        pq.write_table(table, target, compression="none")
    except (pa.ArrowException, KeyError) as error:
        raise KlineError(f"{file}: {first_line(error)}") from error
    return target
