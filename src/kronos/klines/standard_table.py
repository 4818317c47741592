"""Cells with roles -> a table with the standard names and types; what was assumed goes into its notes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from kronos.errors import Argument, Message
from kronos.klines.columns import MONEY_IF_IT_FITS, WEAK_SYMBOLS, KlineError, normalise_name
from kronos.klines.date_spellings import unusual
from kronos.klines.layout import fits_money
from kronos.klines.numbers import given_convention, parse_table, suffixed
from kronos.klines.raw_cells import Raw
from kronos.klines.read_options import ReadOptions
from kronos.klines.timestamps import join_date_and_time, parse_timestamps
from kronos.klines.units import counts_money, scale_of, without_scale
from kronos.schema import FEATURES, PRICE_COLUMNS


def standard_table(raw: Raw, options: ReadOptions | None = None, only_symbols: bool = False) -> pd.DataFrame:
    """The rows under their standard names and types, index 0..n-1 = data row - 1; symbol first if present.

    Raises:
        KlineError: no data rows, or a cell that is not what its column says.
    """
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
    mapped = {names.get("volume"), names.get("amount")} & set(options.columns or {})
    if "volume" in numbers and "amount" in numbers and not mapped and _swapped(numbers):  # Huobi: vol is money
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
            "several series in one table, and no column tells them apart; name it with ",
            Argument("columns", {"COLUMN": "symbol"}),
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
