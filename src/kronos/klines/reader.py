"""Reading K-line tables from CSV, TSV, Parquet and Feather files as users have them.

`read_klines` gives one series, validated or cleaned; `read_table` a long table of several; `list_symbols` their names.
Opening the file and finding its columns is `files`; here their cells become times and numbers.
Row numbers in messages count data rows: 1 is the first row after the header.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument, Message
from kronos.klines.cleaning import Policy
from kronos.klines.cleaning import clean as clean_rows
from kronos.klines.closes import NOTE, candles_of_closes
from kronos.klines.columns import MONEY_IF_IT_FITS, WEAK_SYMBOLS, KlineError, normalise_name
from kronos.klines.formats import Raw, raw_pieces, read_raw
from kronos.klines.frames import is_frame, raw_of_frame
from kronos.klines.layout import fits_money
from kronos.klines.numbers import given_convention, parse_table, suffixed
from kronos.klines.read_options import ReadOptions
from kronos.klines.timestamps import join_date_and_time, parse_timestamps, set_zone, unusual
from kronos.klines.units import counts_money, scale_of, without_scale
from kronos.klines.validation import validate
from kronos.schema import FEATURES, OPTIONAL_COLUMNS, PRICE_COLUMNS

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
    told = (options or ReadOptions()).but(
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
    symbol = told.symbol
    table = _load(path, told)
    source = FRAME if is_frame(path) else str(path)
    attrs: dict[str, object] = {"source": source} | {
        k: v for k, v in table.attrs.items() if k in ("unused", "numeric", "notes")
    }
    if "symbol" in table:
        name, table = _choose(table, symbol, source)
        attrs["symbol"] = name
    elif symbol is not None:
        raise KlineError(f"{source}: ", Argument("symbol", symbol), " was given, but there is no symbol column")
    return _finished(table, source, attrs, told, min_rows)


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
    told = (options or ReadOptions()).but(columns=columns, tz=tz, clean=clean)
    table = _load(path, told)
    if "symbol" in table:
        groups = [(str(name), rows.drop(columns="symbol")) for name, rows in table.groupby("symbol", sort=False)]
    else:
        groups = [(Path(path).name.split(".")[0], table)]
    for name, rows in groups:
        source = f"{path}, symbol {name}" if len(groups) > 1 else str(path)
        try:
            yield name, _finished(rows, source, {"source": str(path), "symbol": name}, told, min_rows)
        except KlineError as error:
            yield name, error


def _finished(
    table: pd.DataFrame, source: str, attrs: dict[str, object], told: ReadOptions, min_rows: int
) -> pd.DataFrame:
    """One series as it was loaded, checked or cleaned; its index still numbers the file's rows."""
    tz, clean = told.tz, told.clean
    rows: np.ndarray | None = table.index.to_numpy() + 1
    frame = table.reset_index(drop=True)
    frame = frame.drop(columns=[c for c in OPTIONAL_COLUMNS if c in frame and len(frame) and frame[c].isna().all()])
    if told.close_only:
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
    return frame


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
    told = (options or ReadOptions()).but(columns=columns, tz=tz)
    tz = told.tz
    table = _with_symbol(_load(path, told), path)
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
            yield _in_zone(_with_symbol(_standard(first[0], options), path), tz)
            return
        for raw in itertools.chain(first, raws):
            table = _in_zone(_with_symbol(_standard(raw, options), path), tz)
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


# ------------------------------------------------------------------------------- file -> standard columns


def _load(path: str | os.PathLike[str] | Any, options: ReadOptions, only_symbols: bool = False) -> pd.DataFrame:
    """The file's or the table's rows under their standard names and types, index 0..n-1 = data row - 1; symbol first if present."""
    with _named(FRAME if is_frame(path) else str(path)):
        raw = raw_of_frame(path, options) if is_frame(path) else read_raw(Path(path), options)
        return _standard(raw, options, only_symbols)


def _standard(raw: Raw, options: ReadOptions | None = None, only_symbols: bool = False) -> pd.DataFrame:
    options = options or ReadOptions()
    if raw.table.empty:
        raise KlineError("there is a header but no data rows")
    cells = {role: raw.table.iloc[:, position] for role, position in raw.found.items()}
    out: dict[str, pd.Series] = {}
    notes = list(raw.notes)
    if "symbol" in cells:
        out["symbol"] = _symbols(cells["symbol"], raw.names[raw.found["symbol"]])
    if not only_symbols or "symbol" not in out:
        out["timestamps"], said = _times(cells, raw)
        notes += said
        if "symbol" not in out and _repeats(out["timestamps"]):
            named = _telling_apart(raw, out["timestamps"])
            if named is not None:
                out = {"symbol": _symbols(named[1], named[0])} | out
                notes.append(f"times repeat: read as {out['symbol'].nunique()} series by column {named[0]!r}")
    if not only_symbols:
        numbers, more = _numbers(cells, raw, options)
        out |= numbers
        notes += more
    frame = pd.DataFrame(out)
    if raw.unused:
        frame.attrs["unused"] = raw.unused
    if notes:
        frame.attrs["notes"] = tuple(notes)
    if not only_symbols and "symbol" not in frame and _repeats(frame["timestamps"]):
        _refuse_several(frame)
    return frame


def _repeats(times: pd.Series) -> bool:
    """Whether some time stands in two rows; quick where they ascend."""
    steps = np.diff(times.to_numpy("datetime64[ns]").view("int64"))
    return not bool((steps > 0).all()) and bool(times.dropna().duplicated().any())


def _numbers(cells: dict[str, pd.Series], raw: Raw, options: ReadOptions) -> tuple[dict[str, pd.Series], list[str]]:
    """The value columns that the file has, in their standard order, and notes on those that are not taken."""
    present = {role: cells[role] for role in (*FEATURES, "tick_volume") if role in cells}
    names = {role: raw.names[raw.found[role]] for role in present}
    texts = any(not pd.api.types.is_numeric_dtype(c.dtype) for c in present.values())
    # neighbours matter only where the signs of the columns themselves may leave something open
    used = set(raw.found.values())
    others = [raw.table.iloc[:, i] for i in range(raw.table.shape[1]) if i not in used] if texts else []
    others = [c.head(1000) for c in others if not pd.api.types.is_numeric_dtype(c.dtype)]
    convention = given_convention(options.decimal, options.thousands)
    numbers = parse_table(present, names, convention, raw.comma_locale, others)
    notes = _scale(numbers, present, names, options.columns or {})
    if {"rtype", "publisher_id"} <= {name.lower() for name in raw.names} | {name.lower() for name in raw.unused}:
        notes += _from_fixed_point(numbers)
    # MetaTrader writes VOL = 0 for markets without a central exchange and counts ticks instead
    if "tick_volume" in numbers and ("volume" not in numbers or not numbers["volume"].fillna(0).any()):
        numbers["volume"] = numbers["tick_volume"]
    told = {names.get("volume"), names.get("amount")} & set(options.columns or {})
    if "volume" in numbers and "amount" in numbers and not told and _swapped(numbers):  # Huobi: vol is money
        numbers["volume"], numbers["amount"] = numbers["amount"], numbers["volume"]
        notes.append(
            f"{names['amount']!r} is read as the volume and {names['volume']!r} as the amount: it is price times volume"
        )
    weak = normalise_name(without_scale(names.get("amount", ""))) in {normalise_name(name) for name in MONEY_IF_IT_FITS}
    if "amount" in numbers and weak and names["amount"] not in (options.columns or {}):
        high, low, amount = (numbers[role].to_numpy() for role in ("high", "low", "amount"))
        volume = numbers["volume"].to_numpy() if "volume" in numbers else None
        if not fits_money(amount, volume, high, low):
            del numbers["amount"]
            notes.append(
                Message(
                    f"column {names['amount']!r} is left out: it is not price times volume; ",
                    Argument("columns", {names["amount"]: "amount"}),
                    " takes it for money",
                )
            )
    return {role: numbers[role] for role in FEATURES if role in numbers}, notes


def _swapped(numbers: Mapping[str, pd.Series]) -> bool:
    """Whether the volume is price times the amount, and not the other way round."""
    high, low, volume, amount = (numbers[role].to_numpy() for role in ("high", "low", "volume", "amount"))
    return fits_money(volume, amount, high, low) and not fits_money(amount, volume, high, low)


def _scale(
    numbers: dict[str, pd.Series], cells: Mapping[str, pd.Series], names: Mapping[str, str], mapped: Mapping[str, str]
) -> list[str]:
    """Multiply columns by the units in their names, in place; what was done.

    Raises:
        KlineError: a unit that is unclear, of money on a volume, or written in the cells too.
    """
    notes = []
    for role, name in names.items():
        factor = scale_of(name)
        if factor == 1 or (factor is None and name in mapped):
            continue
        if factor is None:
            raise KlineError(
                f"the unit in the name of column {name!r} is unclear: write it like 'Volume (thousands)', or take the numbers as "
                "they are with ",
                Argument("columns", {name: role}),
            )
        if role == "volume" and name not in mapped and counts_money(name):
            raise KlineError(
                f"column {name!r} is a volume in units of money: say what it is with ",
                Argument("columns", {name: "amount"}),
                " or ",
                Argument("columns", {name: "volume"}),
            )
        both = suffixed(cells[role])
        if both is not None:
            raise KlineError(
                f"column {name!r} has a unit in its name and in its cells ({both[:40]!r}): write it in one place, or leave "
                "the column out with ",
                Argument("columns", {name: "ignore"}),
            )
        # by decimal digits, so that 1.2 thousand is 1200 and not 1199.9999999999998
        numbers[role] = (numbers[role] * factor).round(6)
        notes.append(f"column {name!r} is read times {factor:,.0f}, the unit in its name")
    return notes


FIXED_POINT = 1e9
"""Units in a price of Databento's whole numbers."""


def _from_fixed_point(numbers: dict[str, pd.Series]) -> list[str]:
    """Databento's whole numbers -> prices, in place."""
    prices = [numbers[role] for role in PRICE_COLUMNS]
    if not all(((cells == cells.round()) & (cells.abs() >= 1e6)).all() for cells in prices):
        return []
    for role in PRICE_COLUMNS:
        numbers[role] = numbers[role] / FIXED_POINT
    return ["prices are Databento's whole numbers: read divided by 1,000,000,000"]


def _telling_apart(raw: Raw, times: pd.Series) -> tuple[str, pd.Series] | None:
    """The column of text that tells the rows of repeated times apart, by likely names first; None where none does."""
    used = set(raw.found.values())
    columns = {name: raw.table.iloc[:, i] for i, name in enumerate(raw.names) if i not in used}
    if raw.texts is not None:
        extra = raw.texts()
        columns |= {str(name): extra[name] for name in extra.columns}
    weak = [normalise_name(name) for name in WEAK_SYMBOLS]
    keys = {name: normalise_name(name) for name in columns}
    order = sorted(columns, key=lambda name: weak.index(keys[name]) if keys[name] in weak else len(weak))
    for name in order:
        cells = columns[name]
        if pd.api.types.is_float_dtype(cells.dtype) or cells.isna().any():
            continue
        if pd.api.types.is_numeric_dtype(cells.dtype) and keys[name] not in weak:
            continue
        groups = cells.nunique()
        pairs = pd.DataFrame({"time": times.to_numpy(), "name": cells.astype("str").to_numpy()})
        if 1 < groups <= len(cells) / 2 and not pairs.duplicated().any():
            return name, cells
    return None


MOST_REPEATED = 0.5
"""Share of the times that may stand in several rows with different closes; beyond it the rows are several series."""


def _refuse_several(frame: pd.DataFrame) -> None:
    """Refuse a table in which most times have several rows of different prices: no cleaning may merge series."""
    twice = frame["timestamps"].duplicated(keep=False) & frame["timestamps"].notna()
    differing = frame[twice].groupby("timestamps")["close"].nunique()
    share = (differing > 1).sum() / frame["timestamps"].nunique()
    if share > MOST_REPEATED and len(differing) > 2:
        raise KlineError(
            f"{(differing > 1).sum()} of {frame['timestamps'].nunique()} times stand in several rows with different prices: "
            'several series in one table, and no column tells them apart; name it with columns={"COLUMN": "symbol"}'
        )


def _symbols(cells: pd.Series, name: str) -> pd.Series:
    if cells.isna().any():
        row = int(np.flatnonzero(cells.isna().to_numpy())[0]) + 1
        raise KlineError(f"column {name!r} is empty in data row {row}: expected a symbol in every row")
    return cells.astype("str").str.strip()


def _intraday(times: pd.Series) -> bool:
    return bool((times.dropna() != times.dropna().dt.normalize()).any())


def _times(cells: dict[str, pd.Series], raw: Raw) -> tuple[pd.Series, list[str]]:
    """The times of the rows, and a note where their spelling is unusual."""
    role = next(r for r in ("timestamps", "date", "time") if r in cells)
    name = raw.names[raw.found[role]]
    if role == "date" and "time" in cells:
        name = f"{name} + {raw.names[raw.found['time']]}"
        times = parse_timestamps(join_date_and_time(cells["date"], cells["time"]), name)
    else:
        times = parse_timestamps(cells[role], name)
    first = cells[role].iloc[0]
    what = unusual(first) if isinstance(first, str) else None
    if (
        times.dt.tz is None
        and re.search(r"(?<![A-Za-z])(?:UTC|GMT)(?![A-Za-z])", name, re.IGNORECASE)
        and _intraday(times)
    ):
        said = f"column {name!r} names a zone; its times are kept without one; "
        return times, [Message(said, Argument("tz", "UTC"), " or the like names it")]
    if what is None or (what == "digits" and times.dt.tz is not None):
        return times, []
    return times, [f"column {name!r} holds {what}: {first.strip()[:40]!r} is read as {times.iloc[0]}"]
