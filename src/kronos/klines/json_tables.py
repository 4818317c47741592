"""JSON as exchanges and data vendors send it -> a table of cells with names.

Records, arrays of arrays, columns, JSON lines, and any of them inside an envelope (Binance, Polygon, CoinGecko, Kraken, ...).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import KlineError, find_columns, missing_roles
from kronos.klines.layout import array_names

MAX_JSON_BYTES = 256 * 2**20
"""Larger documents are refused: their objects take about ten times as much memory as their text."""
_DEPTH = 6


def read_json(text: str, given: Sequence[str] | None) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The cells of the longest table in a document, their names, and notes on how it was found.

    given: names for arrays that have none.

    Raises:
        KlineError: it is no JSON, or holds no table of bars.
    """
    try:
        rows = _table(_parsed(text))
    except RecursionError as error:
        raise KlineError("JSON that is nested too deeply") from error
    if rows is None:
        raise KlineError("JSON without a list of bars: expected records, arrays or columns")
    if isinstance(rows[0], dict):
        table = pd.DataFrame(_flat(rows))
        return _numbered(table, [str(name) for name in table.columns]) + ([],)
    width = max(map(len, rows))
    if any(len(row) != width for row in rows):
        raise KlineError(f"JSON arrays of different lengths: expected {width} values in each")
    table = pd.DataFrame(rows)
    if given:
        if len(given) != width:
            raise KlineError(Argument("names"), f" has {len(given)} names, but the arrays have {width} values")
        return _numbered(table, list(given)) + ([],)
    names = array_names(table.head(2000).astype("str"))
    return _numbered(table, names) + ([f"arrays without names, read as {', '.join(n for n in names if n)}"],)


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records with prices one level down, {"time": ..., "mid": {"o": ...}} of OANDA -> records.

    Names of several sides become `bid o`, `ask o`.
    """
    first = rows[0]
    inside = [key for key, one in first.items() if isinstance(one, dict) and _is_bar(one)]
    if not inside or _is_bar(first):
        return rows
    flat = []
    for row in rows:
        record = {key: one for key, one in row.items() if key not in inside}
        for key in inside:
            one = row.get(key)
            for name, value in one.items() if isinstance(one, dict) else ():
                record[f"{key} {name}" if len(inside) > 1 else name] = value
        flat.append(record)
    return flat


def _is_bar(record: dict[str, Any]) -> bool:
    return not missing_roles(find_columns(["timestamp", *(str(name) for name in record)]))


def _numbered(table: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    return table.set_axis(range(table.shape[1]), axis=1), names


def _parsed(text: str) -> Any:
    """A document, or one for each line."""
    try:
        return json.loads(text)
    except ValueError as whole:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith(("{", "[")):
            raise KlineError(f"not JSON: {str(whole)[:80]}") from whole
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise KlineError(f"not JSON: line {number}: {str(error)[:80]}") from error
        return rows


def _table(value: Any, depth: int = 0) -> list[Any] | None:
    """The longest list of records or arrays in a document; columns become records."""
    if depth > _DEPTH:
        return None
    if isinstance(value, list):
        if value and all(isinstance(one, dict) for one in value):
            if not missing_roles(find_columns([str(name) for name in value[0]])) or depth == _DEPTH:
                return value
            inside = {_name_of(one, i): found for i, one in enumerate(value) if (found := _table(one, depth + 1))}
            return _one_of(inside) if inside else value
        if value and all(isinstance(one, str) and one.count(",") > 4 for one in value):  # East Money
            return [one.split(",") for one in value]
        if value and all(
            isinstance(one, list) and len(one) > 4 and not isinstance(one[0], (list, dict)) for one in value
        ):
            return value
        inside = {
            _name_of(one, i): found
            for i, one in enumerate(value)
            if isinstance(one, (list, dict)) and (found := _table(one, depth + 1))
        }
        return _one_of(inside)
    if not isinstance(value, dict):
        return None
    columns = {str(name): cells for name, cells in value.items() if isinstance(cells, list)}
    by_time = _by_time(value)
    if by_time:
        return by_time
    lists = _columns(columns)
    if lists:
        return lists
    for names, cells in _SPLIT:
        if isinstance(value.get(names), list) and isinstance(value.get(cells), list):
            return _split(value[names], value[cells], value.get("index"))
    if isinstance(value.get("timestamp"), list) and isinstance(value.get("indicators"), dict):  # Yahoo's chart
        quote = value["indicators"].get("quote")
        if isinstance(quote, list) and quote and isinstance(quote[0], dict):
            return _columns({"timestamp": value["timestamp"], **quote[0]})
    inside = {
        str(key): found
        for key, one in value.items()
        if isinstance(one, (list, dict)) and (found := _table(one, depth + 1))
    }
    return _one_of(inside)


def _name_of(value: Any, place: int) -> str:
    """The symbol that a part of a document states, else its place."""
    parts: list[Any] = [value, value.get("meta")] if isinstance(value, dict) else []
    for part in parts:
        for key in ("symbol", "ticker", "code", "s") if isinstance(part, dict) else ():
            if isinstance(part.get(key), str):
                return str(part[key])
    return str(place)


def _one_of(tables: dict[str, list[Any]]) -> list[Any] | None:
    """The longest table; several of bars as series, named by their keys.

    Raises:
        KlineError: several tables of arrays.
    """
    bars = {key: rows for key, rows in tables.items() if _holds_bars(rows)}
    if len(bars) < 2:
        return max(tables.values(), key=len) if tables else None
    if not all(isinstance(rows[0], dict) for rows in bars.values()):
        raise KlineError(f"JSON with {len(bars)} tables of bars ({', '.join([*bars][:5])}): keep one of them")
    named = all("symbol" in find_columns(list(map(str, rows[0]))) for rows in bars.values())
    return [row if named else {"symbol": key, **row} for key, rows in bars.items() for row in rows]


def _holds_bars(rows: list[Any]) -> bool:
    first = rows[0]
    if isinstance(first, dict):
        return not missing_roles(find_columns([str(name) for name in first]))
    return isinstance(first, list) and len(first) > 4


def _columns(columns: dict[str, Any]) -> list[Any] | None:
    """{"t": [...], "o": [...]} -> records."""
    if len(columns) < 5 or missing_roles(find_columns(list(columns))):
        return None
    lengths = {len(cells) for name, cells in columns.items() if isinstance(cells, list) and cells}
    if len(lengths) != 1:
        return None
    kept = {name: cells for name, cells in columns.items() if isinstance(cells, list) and cells}
    return [dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True)]


_SPLIT = (("columns", "data"), ("column", "item"), ("fields", "items"), ("columns", "values"), ("header", "rows"))
"""Keys of names and rows: pandas' orient="split", Xueqiu, Tushare, InfluxDB."""


def _split(names: list[Any], rows: list[Any], index: Any) -> list[Any] | None:
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    records = [dict(zip(map(str, names), row, strict=True)) for row in rows]
    if isinstance(index, list) and len(index) == len(rows):
        records = [{"": time} | record for time, record in zip(index, records, strict=True)]
    return records


def _by_time(value: dict[str, Any]) -> list[Any] | None:
    """{"2024-01-02": {"1. open": ...}} of Alpha Vantage, and {"open": {"1704067200000": ...}} of pandas -> records."""
    inner = [(str(key), one) for key, one in value.items() if isinstance(one, dict)]
    if not inner or len(inner) < 0.9 * len(value):
        return None
    if all(re.match(r"\d{4}-?\d{2}|\d{9,}", key) for key, _ in inner):
        return [{"timestamp": key} | one for key, one in inner]
    names = [key for key, _ in inner]
    if missing_roles(find_columns(["timestamp", *names])):
        return None
    times = list(inner[0][1])
    records = [{name: cells.get(time) for name, cells in inner} for time in times]
    timed = not missing_roles(find_columns(names))
    return records if timed else [{"timestamp": time} | record for time, record in zip(times, records, strict=True)]
