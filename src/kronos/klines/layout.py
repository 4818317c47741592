"""Where the table stands in a text: titles above, header lines, a missing header, footers below."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import (
    BINANCE_COLUMNS,
    KlineError,
    describe_missing,
    find_columns,
    missing_roles,
    normalise_name,
)
from kronos.klines.numbers import MISSING, looks_like_number, parse_numbers
from kronos.klines.units import is_unit
from kronos.schema import PRICE_COLUMNS

SEPARATORS = (",", ";", "\t", "|")
SPACES = r"\s+"
"""The separator of a table whose columns stand apart by one or more spaces, as pandas takes it."""
HEADER_LINES = 20
"""Lines at the beginning among which the header is looked for; titles, notes and web addresses may stand above it."""
SHAPE_LINES = 200
"""Data lines that the order of prices is told from where there is no header."""
FOOTER_LINES = 20
_TIME = re.compile(r"\W*\d{1,4}(?:[-/.年년\s]{1,3}\d{1,2}|\d{4,15}|-?[A-Za-z]{3}).*")
_MONTH_FIRST = re.compile(r"[A-Za-z]{3,9}\.? \d{1,2},? \d{4}.*")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?|\d{4}|\d{6}|0")

# Arrays without names, by their number of values: the orders that exchanges and data vendors use.
_ARRAYS: dict[int, tuple[tuple[str, ...], ...]] = {
    5: (("time", "open", "high", "low", "close"),),
    6: (
        ("time", "open", "high", "low", "close", "volume"),  # ccxt, Bitstamp, MetaTrader
        ("time", "low", "high", "open", "close", "volume"),  # Coinbase
        ("time", "open", "close", "high", "low", "volume"),  # Bitfinex, Tencent
    ),
    7: (
        ("time", "open", "high", "low", "close", "volume", "amount"),  # Bybit
        ("time", "volume", "close", "high", "low", "open", "amount"),  # Gate
        ("time", "open", "close", "high", "low", "volume", "amount"),  # KuCoin
    ),
    8: (("time", "open", "high", "low", "close", "vwap", "volume", "count"),),  # Kraken
    9: (("time", "open", "high", "low", "close", "volume", "amount", "amount in quote", "confirm"),),  # OKX
    11: (
        ("time", "open", "close", "high", "low", "volume", "amount", "swing", "percent", "change", "rate"),
    ),  # East Money
    12: (BINANCE_COLUMNS,),
}


@dataclass(frozen=True)
class Header:
    """names: of the columns. skip: lines before the first data row. tickers: of each column, of yfinance's two header lines.

    titles: lines above the header. note: what was assumed.
    """

    separator: str
    names: list[str]
    found: dict[str, int]
    skip: int
    titles: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()
    note: str | None = None


def find_header(lines: list[str], columns: Mapping[str, str] | None, given: Sequence[str] | None) -> Header:
    """The first of the first lines that names all required columns; else the columns of data without a header.

    Raises:
        KlineError: neither is there; what the file has instead.
    """
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        raise KlineError("the file is empty")
    if given:
        return _named_by_caller(lines, filled, list(given), columns)
    problems: list[tuple[int, KlineError]] = []
    for place, i in enumerate(filled[:HEADER_LINES]):
        separator, cells = split_line(lines[i])
        if len(cells) == 1 and _is_spaced(lines[i], [lines[j] for j in filled[place + 1 : place + 3]]):
            separator, cells = SPACES, lines[i].split()
        titles = tuple(lines[j].strip() for j in filled[:place])
        pair = _two_levels(lines, i, separator, cells, titles)
        if pair is not None:
            return pair
        if sum(map(looks_like_number, cells)) >= len(PRICE_COLUMNS):
            break  # data
        try:
            return Header(separator, cells, found_or_raise(cells, columns), i + 1, titles)
        except KlineError as problem:
            problems.append((len(cells), problem))
    bare = _without_header(lines, filled, columns, bool(problems and max(p[0] for p in problems) > len(PRICE_COLUMNS)))
    if bare is not None:
        return bare
    wide = next((i for i in filled[:HEADER_LINES] if lines[i].count("，") >= 4 and "," not in lines[i]), None)
    if wide is not None:
        raise KlineError(
            f"line {wide + 1} has full-width commas (，) between its cells: replace them with ordinary ones (,)"
        )
    likeliest = max(problems, key=lambda found: found[0])[0]
    spaced = next((i for i in filled[:HEADER_LINES] if len(lines[i].split()) > len(PRICE_COLUMNS)), None)
    if likeliest == 1 and spaced is not None:
        raise KlineError(
            f"the columns of line {spaced + 1} stand apart by spaces alone, and the lines below have another number of cells: "
            "separate the columns by commas or tabs"
        )
    # the line with most cells is the likeliest header; max takes the first of equals
    raise max(problems, key=lambda found: found[0])[1]


def split_line(line: str) -> tuple[str, list[str]]:
    """The separator that makes most of a line, and its cells."""
    rows = {s: _cells(line, s) for s in SEPARATORS}
    separator = max(SEPARATORS, key=lambda s: len(rows[s]))
    return separator, rows[separator]


def _is_spaced(header: str, rows: list[str]) -> bool:
    """Whether names apart by spaces stand above rows of as many cells; names that hold spaces themselves do not."""
    count = len(header.split())
    return count > len(PRICE_COLUMNS) and bool(rows) and all(len(row.split()) == count for row in rows)


def _cells(line: str, separator: str) -> list[str]:
    if separator == SPACES:
        return line.split()
    try:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise KlineError(f"a line that is no row of a table: {error}") from error
    return [unwrapped(cell.strip()) for cell in cells]


WRAPPED = r"""^(?:="?(.*?)"?|'(\d.*))$"""
"""`="000001"` and `'000001`, as spreadsheets and brokers keep a text from being read as a number."""


def unwrapped(cell: str) -> str:
    """A cell without the signs that make it a text for a spreadsheet."""
    if cell[:1] not in ("=", "'"):
        return cell
    found = re.match(WRAPPED, cell)
    return cell if found is None else str(found[1] if found[1] is not None else found[2])


def found_or_raise(names: list[str], columns: Mapping[str, str] | None) -> dict[str, int]:
    """`find_columns`, where every required role must be found."""
    found = find_columns(names, columns)
    missing = missing_roles(found)
    if missing:
        raise KlineError(describe_missing(missing, names))
    return found


def two_levels(first: Sequence[str], second: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """(fields, tickers) of the two levels of yfinance's columns, in whichever order; None where they are none."""
    for fields, tickers in ((first, second), (second, first)):
        roles = [role for name in fields for role in find_columns([name, ""]) if role in PRICE_COLUMNS]
        if set(roles) >= set(PRICE_COLUMNS) and not any(find_columns([name, ""]).keys() & {"open"} for name in tickers):
            return list(fields), list(tickers)
    return None


def _two_levels(lines: list[str], i: int, separator: str, cells: list[str], titles: tuple[str, ...]) -> Header | None:
    """`Price,Close,...` / `Ticker,AAPL,...` / `Date,,...` in either order."""
    if i + 2 >= len(lines):
        return None
    second = _cells(lines[i + 1], separator)
    if (
        len(cells) < 5
        or len(second) != len(cells)
        or any(looks_like_number(cell) or cell.lower() in MISSING for cell in cells[1:] + second[1:])
    ):
        return None
    pair = two_levels(cells[1:], second[1:])
    if pair is None or not all(pair[1]):
        return None
    fields, tickers = pair
    if all(map(is_unit, second[1:])):
        names = [cells[0], *(f"{name} ({unit})" for name, unit in zip(cells[1:], second[1:], strict=True))]
        return Header(
            separator, names, found_or_raise(names, None), i + 2, titles, note=f"line {i + 2} is read as units"
        )
    third = _cells(lines[i + 2], separator)
    named = bool(third) and not any(third[1:]) and not looks_like_time(third[0])
    names = [third[0] if named and third[0] else "Date", *fields]
    return Header(separator, names, {}, i + (3 if named else 2), titles, ("", *tickers))


def _named_by_caller(
    lines: list[str], filled: list[int], names: list[str], columns: Mapping[str, str] | None
) -> Header:
    for place, i in enumerate(filled[: HEADER_LINES + 1]):
        separator = max(SEPARATORS, key=lambda s: (len(_cells(lines[i], s)) == len(names), len(_cells(lines[i], s))))
        cells = _cells(lines[i], separator)
        if sum(map(looks_like_number, cells)) >= len(PRICE_COLUMNS):
            if len(cells) != len(names):
                raise KlineError(Argument("names"), f" has {len(names)} names, but line {i + 1} has {len(cells)} cells")
            titles = tuple(lines[j].strip() for j in filled[:place])
            return Header(separator, names, found_or_raise(names, columns), i, titles)
    raise KlineError(Argument("names"), f" was given, but none of the first {HEADER_LINES} lines has numbers")


def _without_header(
    lines: list[str], filled: list[int], columns: Mapping[str, str] | None, header_likely: bool
) -> Header | None:
    """The columns of data without a header: date[, time], open, high, low, close[, volume]; None where it is no data."""
    for place, i in enumerate(filled[: HEADER_LINES + 1]):
        for separator in sorted(SEPARATORS, key=lambda s: -len(_cells(lines[i], s))):
            cells = _cells(lines[i], separator)
            if len(cells) < 5 or sum(map(looks_like_number, cells)) < len(PRICE_COLUMNS):
                continue
            if header_likely and place:
                return None
            if not looks_like_time(cells[0]):
                raise KlineError(
                    f"no header row, and line {i + 1} begins with {cells[0][:30]!r}, which is no time: "
                    'name the columns with names=["date", "open", ...]'
                )
            rows = [_cells(lines[j], separator) for j in filled[place : place + SHAPE_LINES]]
            rows = [row for row in rows if len(row) == len(cells)]
            names = array_names(pd.DataFrame(rows))
            titles = tuple(lines[j].strip() for j in filled[:place])
            note = f"no header row: read as {', '.join(n for n in names if n)}"
            return Header(separator, names, found_or_raise(names, columns), i, titles, note=note)
    return None


def array_names(rows: pd.DataFrame) -> list[str]:
    """Names for the columns of cells without a header (n, columns), text; "" for those that stay unknown.

    Raises:
        KlineError: no known order has its highs and lows in place, or several have.
    """
    width = rows.shape[1]
    clocked = width > 5 and bool(rows[1].str.fullmatch(_CLOCK).all()) and not bool(rows[0].str.contains(":").any())
    clocked = clocked and bool(
        rows[1].str.contains(":").any() or rows[0].str.fullmatch(r"\d{8}|\d{4}\D\d{2}\D\d{2}").all()
    )
    if clocked and not rows[1].str.contains(":").any():
        clocked = len(_fitting(rows)) != 1  # prices such as 1610 look like clocks
    fitting = _fitting(rows.drop(columns=1) if clocked else rows)
    if len(fitting) != 1:
        found = "several orders of the prices fit" if fitting else f"the order of the {width} columns is not known"
        raise KlineError(
            f"no header row, and {found}: name the columns with ", Argument("names", ["date", "open", ...])
        )
    order, by_name = fitting[0]
    names = ["date", "time", *order[1:]] if clocked else [*order]
    if "amount" in by_name and not fits_money(
        by_name["amount"], by_name.get("volume"), by_name["high"], by_name["low"]
    ):
        names = ["" if name == "amount" else name for name in names]
    return names


def _fitting(rows: pd.DataFrame) -> list[tuple[tuple[str, ...], dict[str, np.ndarray]]]:
    """The known orders of columns in which highs and lows are in place, and the values by name."""
    values = rows.iloc[:, 1:].apply(_rough_numbers)
    fitting = []
    for order in _ARRAYS.get(rows.shape[1], ()):
        by_name = {name: values.iloc[:, at].to_numpy() for at, name in enumerate(order[1:])}
        o, h, lo, c = (by_name[name] for name in PRICE_COLUMNS)
        known = np.isfinite(o) & np.isfinite(h) & np.isfinite(lo) & np.isfinite(c)
        inside = (h >= np.maximum(o, c)) & (lo <= np.minimum(o, c)) & (lo > 0)
        if known.any() and inside[known].mean() >= 0.99:
            fitting.append((order, by_name))
    if len(fitting) > 1 and (fitting[0][1]["high"] == fitting[0][1]["low"]).all():
        return []
    return fitting


def _rough_numbers(cells: pd.Series) -> pd.Series:
    """Numbers for comparing prices with each other; where the convention is open, a comma alone counts as a point."""
    try:
        found = parse_numbers(cells, "")
        if not cells.astype("str").str.fullmatch(r"\D*\d{1,3},\d{3}\D*").all():
            return found
    except KlineError:
        pass  # what is no number counts as missing here, and is refused by the reader
    plain = cells.astype("str").str.replace(r"[^\d.,\-eE+]", "", regex=True)
    comma = plain.str.contains(",").any() and not plain.str.contains(".", regex=False).any()
    return pd.to_numeric(plain.str.replace(",", "." if comma else "", regex=False), errors="coerce").astype("float64")


def fits_money(amount: np.ndarray, volume: np.ndarray | None, high: np.ndarray, low: np.ndarray) -> bool:
    """Whether an amount is volume times a price of the bar, up to a power of ten for units (lots, thousands).

    All (n,). False without a volume.
    """
    if volume is None:
        return False
    with np.errstate(all="ignore"):
        ratio = amount / (volume * (high + low) / 2)
        known = np.isfinite(ratio) & (ratio > 0)
        if known.sum() < max(1, 0.5 * ((volume > 0) & np.isfinite(amount)).sum()):
            return False
        power = np.log10(ratio[known])
        unit = np.round(np.median(power))
        width = np.log10(np.maximum(high[known] / low[known], 1.0)) / 2
        close = np.abs(power - unit) <= width + 0.02
    return bool(-5 <= unit <= 4 and close.mean() > 0.8)


def looks_like_time(text: str) -> bool:
    """Whether a cell begins like a date or an epoch."""
    return _TIME.fullmatch(text) is not None or _MONTH_FIRST.fullmatch(text) is not None


_SUMMARIES = re.compile(
    r"\W*(?:grand |sub)?(?:average|avg|mean|median|total|sum|min(?:imum)?|max(?:imum)?|high(?:est)?|low(?:est)?|std|count|change|"
    r"summary|"
    r"durchschnitt|mittelwert|summe|gesamt|moyenne|somme|promedio|suma|média|soma|media|totale|итого|всего|среднее|"
    r"平均|均值|合计|合計|总计|總計|总和|小计|小計|最高|最低|最大|最小|涨跌|평균|합계)(?![A-Za-z]).*",
    re.IGNORECASE,
)


def is_summary(time: object, rest: Sequence[object]) -> bool:
    """Whether a row is an average, a total or the like: a word for it, and no time."""
    if not _empty(time) and looks_like_time(str(time)):
        return False
    texts = [str(cell) for cell in (time, *rest) if isinstance(cell, str) and cell.strip()]
    return bool(texts) and _SUMMARIES.fullmatch(texts[0].strip()) is not None


def count_footers(table: pd.DataFrame, found: Mapping[str, int]) -> int:
    """Rows at the end that are no bars: no price, or a word such as Total, and a time cell that is empty or no time."""
    prices = [found[role] for role in PRICE_COLUMNS]
    times = [found[role] for role in ("timestamps", "date", "time") if role in found][:1]
    count = 0
    for place in range(len(table) - 1, max(-1, len(table) - 1 - FOOTER_LINES), -1):
        cells = [table.iat[place, at] for at in prices]
        if is_summary(table.iat[place, times[0]], [table.iat[place, at] for at in range(table.shape[1])]):
            count += 1
            continue
        if any(not _empty(cell) and looks_like_number(str(cell)) for cell in cells):
            break
        time = table.iat[place, times[0]]
        rest = [table.iat[place, at] for at in range(table.shape[1])]
        if (not _empty(time) and looks_like_time(str(time))) or all(_empty(cell) for cell in rest):
            break
        if _empty(time) and not any(isinstance(cell, str) and not looks_like_number(cell) for cell in rest):
            break
        count += 1
    return count if count < len(table) else 0


def _empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and np.isnan(cell)) or cell is pd.NA or str(cell).strip() == ""


def is_name(text: str) -> bool:
    """Whether a text is the name of some role."""
    return bool(normalise_name(text)) and bool(find_columns([text, ""]))
