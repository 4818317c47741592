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

import numpy as np
import pandas as pd

from kronos.klines.cleaning import Policy
from kronos.klines.cleaning import clean as clean_rows
from kronos.klines.columns import (
    OPTIONAL_COLUMNS,
    PRICE_COLUMNS,
    VALUE_COLUMNS,
    KlineError,
    join_date_and_time,
    parse_numbers,
    parse_timestamps,
    set_zone,
    uses_decimal_comma,
)
from kronos.klines.files import Raw, raw_pieces, read_raw
from kronos.klines.validation import validate


def read_klines(
    path: str | os.PathLike[str],
    *,
    symbol: str | None = None,
    tz: str | None = None,
    clean: Policy | None = None,
    min_rows: int = 2,
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One series of K-lines, (n, 5..7), sorted in time: timestamps, open, high, low, close[, volume][, amount].

    timestamps are datetime64[ns], with a zone where the source states one (epoch numbers are UTC) or tz is given;
    the rest float64. Fresh RangeIndex. A volume or amount column without a single value counts as absent.
    attrs: "source", the path; "symbol", when the file has that column; "cleaning", what was left out, when clean is
    given; "validation", the report, when warnings remain; "unused", the names of columns without a role.

    symbol: which series of a table that holds several. tz: zone of naive times, else the zone to convert to.
    clean: None refuses a table with faults; "drop", "sort" and "split" as in `cleaning.clean`, where "split" gives
    the last, most recent segment. min_rows: rows the result needs. columns: explicit names, `{"Price": "close"}`,
    or "ignore" to leave a column out, `{"amount": "ignore"}`.
    Raises KlineError (a ValueError) that says what is wrong with the file, its columns or its rows.
    """
    table = _load(path, columns)
    source = str(path)
    attrs: dict[str, object] = {"source": source} | {k: v for k, v in table.attrs.items() if k == "unused"}
    if "symbol" in table:
        name, table = _choose(table, symbol, source)
        attrs["symbol"] = name
    elif symbol is not None:
        raise KlineError(f"{source}: symbol={symbol!r} was given, but the file has no symbol column")
    return _finished(table, source, attrs, tz, clean, min_rows)


def iter_klines(
    path: str | os.PathLike[str],
    *,
    tz: str | None = None,
    clean: Policy | None = None,
    min_rows: int = 2,
    columns: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, pd.DataFrame | KlineError]]:
    """Every series of a file, as (symbol, what `read_klines` gives for it, or the error it raises); the file is read once.

    A file without a symbol column is one series, named after the file.
    Raises KlineError where the file itself cannot be read.
    """
    table = _load(path, columns)
    if "symbol" in table:
        groups = [(str(name), rows.drop(columns="symbol")) for name, rows in table.groupby("symbol", sort=False)]
    else:
        groups = [(Path(path).name.split(".")[0], table)]
    for name, rows in groups:
        source = f"{path}, symbol {name}" if len(groups) > 1 else str(path)
        try:
            yield name, _finished(rows, source, {"source": str(path), "symbol": name}, tz, clean, min_rows)
        except KlineError as error:
            yield name, error


def _finished(
    table: pd.DataFrame, source: str, attrs: dict[str, object], tz: str | None, clean: Policy | None, min_rows: int
) -> pd.DataFrame:
    """One series as it was loaded, checked or cleaned; its index still numbers the file's rows."""
    rows: np.ndarray | None = table.index.to_numpy() + 1
    frame = table.reset_index(drop=True)
    frame = frame.drop(columns=[c for c in OPTIONAL_COLUMNS if c in frame and len(frame) and frame[c].isna().all()])
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
    return frame


def read_table(
    path: str | os.PathLike[str],
    *,
    symbols: Sequence[str] | None = None,
    tz: str | None = None,
    columns: Mapping[str, str] | None = None,
    check: bool = False,
    min_rows: int = 2,
) -> pd.DataFrame:
    """A long table, (n, 6..8): symbol, then the columns of `read_klines`, rows in file order.

    symbols: only these. A file without a symbol column is one series, named after the file.
    check: validate each symbol and raise KlineError for the first with faults; otherwise values are not judged.
    Raises KlineError as `read_klines` does.
    """
    table = _with_symbol(_load(path, columns), path)
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


def iter_tables(path: str | os.PathLike[str], rows: int = 250_000) -> Iterator[pd.DataFrame]:
    """The long table of `read_table` in pieces that hold whole series: so many rows each, or the longest series.

    Memory follows the pieces where the rows of a series follow one another in a Parquet file; any other file is one piece.
    Raises KlineError as `read_klines` does.
    """
    rest: list[pd.DataFrame] = []
    with _named(str(path)):
        raws = raw_pieces(Path(path), rows)
        first = [*itertools.islice(raws, 2)]
        if len(first) == 1:
            yield _with_symbol(_standard(first[0]), path)
            return
        for raw in itertools.chain(first, raws):
            table = _with_symbol(_standard(raw), path)
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


def _with_symbol(table: pd.DataFrame, path: str | os.PathLike[str]) -> pd.DataFrame:
    """A file without a symbol column is one series, named after the file."""
    if "symbol" not in table:
        table.insert(0, "symbol", pd.Series(Path(path).name.split(".")[0], index=table.index, dtype="str"))
    return table


def list_symbols(path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None) -> list[str]:
    """The names in the file's symbol column in order of appearance; empty when it has no such column."""
    table = _load(path, columns, only_symbols=True)
    return table["symbol"].unique().tolist() if "symbol" in table else []


def _cleaned(frame: pd.DataFrame, policy: Policy, rows: np.ndarray | None) -> tuple[pd.DataFrame, str]:
    result = clean_rows(frame, policy, row_numbers=rows)
    if not result.frames:
        raise KlineError(f'{result.report}: nothing is left; use clean="drop" for a series this short')
    chosen, report = result.frames[-1], result.report
    if len(result.frames) > 1:
        report += f"; this is the last segment, {len(chosen)} rows from {chosen['timestamps'].iloc[0]}"
    return chosen, report


def _choose(table: pd.DataFrame, symbol: str | None, source: str) -> tuple[str, pd.DataFrame]:
    names = table["symbol"]
    if symbol is None:
        if names.nunique() > 1:
            raise KlineError(f"{source}: {_say_symbols(names)}; choose one with symbol=")
        symbol = names.iloc[0]
    chosen = table[names == str(symbol)]
    if chosen.empty:
        raise KlineError(f"{source}: no symbol {symbol!r}; {_say_symbols(names)}")
    return str(symbol), chosen.drop(columns="symbol")


def _say_symbols(names: pd.Series) -> str:
    every = names.unique().tolist()
    first = ", ".join(every[:5]) + (", ..." if len(every) > 5 else "")
    return f"the file holds {len(every)} symbol{'s' if len(every) > 1 else ''}: {first}"


class _named:
    """Puts the file's name in front of a KlineError raised inside."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KlineError):
            raise KlineError(f"{self.source}: {error}", report=error.report) from error


# ------------------------------------------------------------------------------- file -> standard columns


def _load(path: str | os.PathLike[str], columns: Mapping[str, str] | None, only_symbols: bool = False) -> pd.DataFrame:
    """The file's rows under their standard names and types, index 0..n-1 = data row - 1; symbol first if present."""
    with _named(str(path)):
        return _standard(read_raw(Path(path), columns), only_symbols)


def _standard(raw: Raw, only_symbols: bool = False) -> pd.DataFrame:
    if raw.table.empty:
        raise KlineError("the file has a header but no data rows")
    cells = {role: raw.table.iloc[:, position] for role, position in raw.found.items()}
    out: dict[str, pd.Series] = {}
    if "symbol" in cells:
        out["symbol"] = _symbols(cells["symbol"], raw.names[raw.found["symbol"]])
    if not only_symbols:
        out["timestamps"] = _times(cells, raw)
        out |= _numbers(cells, raw)
    frame = pd.DataFrame(out)
    if raw.unused:
        frame.attrs["unused"] = raw.unused
    return frame


def _numbers(cells: dict[str, pd.Series], raw: Raw) -> dict[str, pd.Series]:
    """The value columns that the file has, in their standard order."""
    prices = raw.table.iloc[:, [raw.found[role] for role in PRICE_COLUMNS]]
    comma = raw.separator not in (None, ",") and uses_decimal_comma(prices)
    numbers = {
        role: parse_numbers(cells[role], raw.names[raw.found[role]], decimal_comma=comma)
        for role in (*VALUE_COLUMNS, "tick_volume")
        if role in cells
    }
    # MetaTrader writes VOL = 0 for markets without a central exchange and counts ticks instead
    if "tick_volume" in numbers and ("volume" not in numbers or not numbers["volume"].fillna(0).any()):
        numbers["volume"] = numbers["tick_volume"]
    return {role: numbers[role] for role in VALUE_COLUMNS if role in numbers}


def _symbols(cells: pd.Series, name: str) -> pd.Series:
    if cells.isna().any():
        row = int(np.flatnonzero(cells.isna().to_numpy())[0]) + 1
        raise KlineError(f"column {name!r} is empty in data row {row}: expected a symbol in every row")
    return cells.astype("str").str.strip()


def _times(cells: dict[str, pd.Series], raw: Raw) -> pd.Series:
    role = next(r for r in ("timestamps", "date", "time") if r in cells)
    name = raw.names[raw.found[role]]
    if role == "date" and "time" in cells:
        name = f"{name} + {raw.names[raw.found['time']]}"
        return parse_timestamps(join_date_and_time(cells["date"], cells["time"]), name)
    return parse_timestamps(cells[role], name)
