"""Cells of Parquet and Feather files: only the columns that have a role are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kronos.klines.columns import KlineError
from kronos.klines.layout import found_or_raise, two_levels
from kronos.klines.raw_cells import Raw, long_of
from kronos.klines.read_options import ReadOptions


def read_arrow(file: Path, options: ReadOptions, kind: str) -> Raw:
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


def arrow_pieces(file: Path, rows: int, options: ReadOptions) -> Iterator[Raw] | None:
    """The cells of a Parquet file, ``rows`` at a time; None where a symbol's rows do not lie together, or there are none."""
    from pyarrow import parquet

    with _damaged("Parquet"):
        opened = parquet.ParquetFile(file)
        names = list(opened.schema_arrow.names)
        if _level_names(names) is not None or not opened.metadata.num_rows:
            return None
        wanted, found = _wanted(names, options)
        if "symbol" in found and not _lie_together(opened, wanted[found["symbol"]], rows):
            return None
    return _batches(opened, rows, wanted, found)


def _batches(opened: Any, rows: int, wanted: list[str], found: dict[str, int]) -> Iterator[Raw]:
    with _damaged("Parquet"):
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
