"""Reading K-line tables from CSV, TSV, Parquet and Feather files as users have them.

`read_klines` gives one series, validated or cleaned; `read_table` a long table of several; `list_symbols` their names.
Opening the file and finding its columns is `files`; here their cells become times and numbers.
Row numbers in messages count data rows: 1 is the first row after the header.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.aggregation import aggregate
from kronos.klines.cleaning import Policy
from kronos.klines.cleaning import clean as clean_rows
from kronos.klines.clock_zones import set_zone
from kronos.klines.closes import NOTE, candles_of_closes
from kronos.klines.columns import KlineError
from kronos.klines.formats import raw_pieces, read_raw
from kronos.klines.frames import is_frame, raw_of_frame
from kronos.klines.read_options import ReadOptions
from kronos.klines.standard_table import standard_table
from kronos.klines.validation import validate
from kronos.schema import OPTIONAL_COLUMNS

FRAME = "df"
"""Name of a table in memory in messages."""


def read_klines(
    path: str | os.PathLike[str] | Any,
    *,
    symbol: str | None = None,
    tz: str | None = None,
    clean: Policy | None = None,
    min_rows: int = 2,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    names: Sequence[str] | None = None,
    close_only: bool = False,
    options: ReadOptions | None = None,
) -> pd.DataFrame:
    """Read one series of K-lines, sorted in time.

    Args:
        path: a file (docs/data.md has the formats); or a table in memory, of pandas (also with times in the index, or
            yfinance's columns of two levels), Polars or PyArrow, which is not changed.
        symbol: which series of a table that holds several.
        tz: zone of naive times; of others, the zone to convert to.
        clean: None refuses a table with faults; "drop", "sort" and "split" as in `kronos.clean`, where "split" gives the latest
            segment.
        min_rows: rows that the result needs.
        columns: explicit names, ``{"Price": "close"}``, or "ignore" to leave a column out, ``{"amount": "ignore"}``.
        encoding: encoding of the text; None finds it, as of the next three. See `ReadOptions`.
        decimal: the decimal sign.
        thousands: the sign between groups of digits.
        names: names of the columns of a file without a header.
        close_only: the table has closes alone, or is read as if it had; candles are made of them, and "notes" says so.
        options: all of these together; arguments of their own win over it.

    Returns:
        A table (n, 5 to 7) with a fresh RangeIndex: timestamps (datetime64[ns], with a zone where the source states one or ``tz``
        is given; epoch numbers are UTC), open, high, low, close and, where there are, volume and amount, float64. A volume or
        amount column without a single value counts as absent. ``attrs``: "source", the path; "notes", what was assumed; "symbol",
        where the file has that column; "cleaning", what was left out; "validation", the report, where warnings remain; "unused",
        the columns without a role.

    Raises:
        KlineError: a ValueError that says what is wrong with the file, its columns or its rows.
    """
    given = (options or ReadOptions()).but(
        columns=columns,
        encoding=encoding,
        decimal=decimal,
        thousands=thousands,
        names=names,
        symbol=symbol,
        tz=tz,
        clean=clean,
        close_only=close_only or None,
    )
    symbol = given.symbol
    table = _load(path, given)
    source = FRAME if is_frame(path) else str(path)
    attrs: dict[str, object] = {"source": source} | {k: v for k, v in table.attrs.items() if k in ("unused", "notes")}
    if "symbol" in table:
        name, table = _choose(table, symbol, source)
        attrs["symbol"] = name
    elif symbol is not None:
        raise KlineError(f"{source}: ", Argument("symbol", symbol), " was given, but there is no symbol column")
    return _finished(table, source, attrs, given, min_rows)


def iter_klines(
    path: str | os.PathLike[str],
    *,
    tz: str | None = None,
    clean: Policy | None = None,
    min_rows: int = 2,
    columns: Mapping[str, str] | None = None,
    options: ReadOptions | None = None,
) -> Iterator[tuple[str, pd.DataFrame | KlineError]]:
    """Every series of a file, as (symbol, what `read_klines` gives for it, or the error it raises); the file is read once.

    A file without a symbol column is one series, named after the file.
    Raises KlineError where the file itself cannot be read.
    """
    given = (options or ReadOptions()).but(columns=columns, tz=tz, clean=clean)
    table = _load(path, given)
    if "symbol" in table:
        groups = [(str(name), rows.drop(columns="symbol")) for name, rows in table.groupby("symbol", sort=False)]
    else:
        groups = [(Path(path).name.split(".")[0], table)]
    for name, rows in groups:
        source = f"{path}, symbol {name}" if len(groups) > 1 else str(path)
        try:
            yield name, _finished(rows, source, {"source": str(path), "symbol": name}, given, min_rows)
        except KlineError as error:
            yield name, error


def _finished(
    table: pd.DataFrame, source: str, attrs: dict[str, object], given: ReadOptions, min_rows: int
) -> pd.DataFrame:
    """One series as it was loaded, checked or cleaned; its index still numbers the file's rows."""
    tz, clean = given.tz, given.clean
    rows: np.ndarray | None = table.index.to_numpy() + 1
    frame = table.reset_index(drop=True)
    frame = frame.drop(columns=[c for c in OPTIONAL_COLUMNS if c in frame and len(frame) and frame[c].isna().all()])
    if given.close_only:
        frame = candles_of_closes(frame)
        attrs["notes"] = (*attrs.get("notes", ()), NOTE)  # type: ignore[misc]
    with _named(source):
        if tz is not None:
            frame["timestamps"] = set_zone(frame["timestamps"], tz)
        if clean is not None:
            frame, attrs["cleaning"] = _cleaned(frame, clean, rows)
            rows = None
    report = validate(frame, min_rows=min_rows, row_numbers=rows)
    report.raise_if_bad(source if clean is None else f"{source} ({attrs['cleaning']})")
    if report.faults:
        attrs["validation"] = ("" if clean is None else "rows counted after cleaning: ") + str(report)
    frame.attrs.update(attrs)
    if given.timeframe is None:
        return frame
    with _named(source):
        made = aggregate(frame, given.timeframe)
        validate(made, min_rows=min_rows).raise_if_bad(f"bars of {given.timeframe}")
    return made


def read_table(
    path: str | os.PathLike[str],
    *,
    symbols: Sequence[str] | None = None,
    tz: str | None = None,
    columns: Mapping[str, str] | None = None,
    check: bool = False,
    min_rows: int = 2,
    options: ReadOptions | None = None,
) -> pd.DataFrame:
    """A long table, (n, 6..8): symbol, then the columns of `read_klines`, rows in file order.

    symbols: only these. A file without a symbol column is one series, named after the file.
    check: validate each symbol and raise KlineError for the first with faults; otherwise values are not judged.
    Raises KlineError as `read_klines` does.
    """
    given = (options or ReadOptions()).but(columns=columns, tz=tz)
    tz = given.tz
    table = _with_symbol(_load(path, given), path)
    source = str(path)
    if symbols is not None:
        absent = sorted(set(map(str, symbols)) - set(table["symbol"]))
        if absent:
            raise KlineError(f"{source}: no symbol {', '.join(absent[:5])}; {_say_symbols(table['symbol'])}")
        table = table[table["symbol"].isin([str(s) for s in symbols])]
    rows = table.index.to_numpy() + 1
    table = table.reset_index(drop=True)
    if tz is not None:
        with _named(source):
            table["timestamps"] = set_zone(table["timestamps"], tz)
    if check:
        for name, positions in table.groupby("symbol", sort=False).indices.items():
            part = table.iloc[positions].drop(columns="symbol")
            report = validate(part, min_rows=min_rows, row_numbers=rows[positions])
            report.raise_if_bad(f"{source}, symbol {name}")
    table.attrs["source"] = source
    return table


def iter_tables(
    path: str | os.PathLike[str], rows: int = 250_000, options: ReadOptions | None = None
) -> Iterator[pd.DataFrame]:
    """The long table of `read_table` in pieces that hold whole series: so many rows each, or the longest series.

    Memory follows the pieces where the rows of a series follow one another in a Parquet file; any other file is one piece.
    Raises KlineError as `read_klines` does.
    """
    rest: list[pd.DataFrame] = []
    tz = None if options is None else options.tz
    with _named(str(path)):
        raws = raw_pieces(Path(path), rows, options)
        first = [*itertools.islice(raws, 2)]
        if len(first) == 1:
            yield _in_zone(_with_symbol(standard_table(first[0], options), path), tz)
            return
        for raw in itertools.chain(first, raws):
            table = _in_zone(_with_symbol(standard_table(raw, options), path), tz)
            last = int(np.flatnonzero((table["symbol"] == table["symbol"].iloc[-1]).to_numpy())[0])
            if not last and rest and rest[0]["symbol"].iloc[-1] == table["symbol"].iloc[0]:
                rest.append(table)  # one series goes on
                continue
            before, goes_on = pd.concat([*rest, table.iloc[:last]], ignore_index=True), table.iloc[last:]
            if len(before):
                yield before
            rest = [goes_on]
    if rest:
        yield pd.concat(rest, ignore_index=True)


def _in_zone(table: pd.DataFrame, tz: str | None) -> pd.DataFrame:
    return table if tz is None else table.assign(timestamps=set_zone(table["timestamps"], tz))


def _with_symbol(table: pd.DataFrame, path: str | os.PathLike[str]) -> pd.DataFrame:
    """A file without a symbol column is one series, named after the file."""
    if "symbol" not in table:
        table.insert(0, "symbol", pd.Series(Path(path).name.split(".")[0], index=table.index, dtype="str"))
    return table


def list_symbols(
    path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None, options: ReadOptions | None = None
) -> list[str]:
    """The names of the file's series in order of appearance; empty when no column tells series apart."""
    table = _load(path, (options or ReadOptions()).but(columns=columns), only_symbols=True)
    return table["symbol"].unique().tolist() if "symbol" in table else []


def _cleaned(frame: pd.DataFrame, policy: Policy, rows: np.ndarray | None) -> tuple[pd.DataFrame, str]:
    result = clean_rows(frame, policy, row_numbers=rows)
    if not result.frames:
        raise KlineError(
            result.report, ": nothing is left; use ", Argument("clean", "drop"), " for a series this short"
        )
    chosen, report = result.frames[-1], result.report
    if len(result.frames) > 1:
        report += f"; this is the last segment, {len(chosen)} rows from {chosen['timestamps'].iloc[0]}"
    return chosen, report


def _choose(table: pd.DataFrame, symbol: str | None, source: str) -> tuple[str, pd.DataFrame]:
    names = table["symbol"]
    if symbol is None:
        if names.nunique() > 1:
            raise KlineError(f"{source}: {_say_symbols(names)}; choose one with ", Argument("symbol"))
        symbol = names.iloc[0]
    chosen = table[names == str(symbol)]
    if chosen.empty:
        raise KlineError(f"{source}: no symbol {symbol!r}; {_say_symbols(names)}")
    return str(symbol), chosen.drop(columns="symbol")


def _say_symbols(names: pd.Series) -> str:
    every = names.unique().tolist()
    first = ", ".join(every[:5]) + (", ..." if len(every) > 5 else "")
    return f"it holds {len(every)} symbol{'s' if len(every) > 1 else ''}: {first}"


class _named:
    """Puts the file's name in front of a KlineError raised inside."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KlineError):
            raise KlineError(f"{self.source}: ", error.message, report=error.report) from error


def _load(path: str | os.PathLike[str] | Any, options: ReadOptions, only_symbols: bool = False) -> pd.DataFrame:
    """The file's or the table's rows under their standard names and types, index 0..n-1 = data row - 1; symbol first if present."""
    with _named(FRAME if is_frame(path) else str(path)):
        raw = raw_of_frame(path, options) if is_frame(path) else read_raw(Path(path), options)
        return standard_table(raw, options, only_symbols)
