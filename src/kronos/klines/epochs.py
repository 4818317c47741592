"""Times written as numbers: epochs of any unit, digits that spell a date, days of a spreadsheet."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pandas as pd

from kronos.klines.columns import KlineError
from kronos.klines.date_spellings import in_common_era, possible_dates
from kronos.klines.time_cells import refuse_missing, row_of

_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


# Digits without separators that spell a date; 17 = baostock's YYYYMMDDHHMMSSmmm (an epoch has 10, 13, 16 or 19).
_CALENDAR_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}


LAST_YEAR = 2261


LAST_NS = 9.2233e18
"""Nanoseconds since 1970 that a 64-bit timestamp holds, either way."""


MOST_CUT = 6
"""Digits that a spreadsheet keeps of a large number when it writes 1.70407E+12."""


def spelled_out(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    """1.7040672E+12 -> 1704067200000; refused where digits were cut."""
    mantissa = cells.str.extract(r"^[+-]?(\d+\.?\d*)[eE]", expand=False)
    if mantissa.str.replace(".", "", regex=False).str.rstrip("0").str.len().max() <= MOST_CUT:
        first = mantissa.first_valid_index()
        raise KlineError(
            f"column {name!r} has {str(series.loc[first])[:40]!r} in data row {row_of(series, first)}, an epoch whose last digits "
            "a spreadsheet has cut: export the table again with that column formatted as whole numbers or as dates"
        )
    return cells.map(lambda cell: format(Decimal(cell), "f"))


_FIRST_SERIAL, _LAST_SERIAL = 25_569, 49_000
"""1970-01-01 and 2034-02-24 as days since 1899-12-30, in spreadsheets."""


def _from_serial(digits: pd.Series, name: str) -> pd.Series | None:
    """45292.5, days of a spreadsheet -> 2024-01-01 12:00; None where they are none, or the column has no name of a time."""
    values = digits.astype("float64")
    if not values.between(_FIRST_SERIAL, _LAST_SERIAL).all() or re.match(
        r"(?:unnamed|__index|index|id|no\b|#|$)", name.strip().lower()
    ):
        return None
    return pd.Timestamp("1899-12-30") + pd.to_timedelta((values * 86_400).round().astype("int64"), unit="s")


def _from_short(digits: pd.Series, series: pd.Series, name: str) -> pd.Series | None:
    """240102, 1130102 (Minguo), 2024010209 -> dates; None where the digits spell none."""
    width = int(digits.str.len().max())
    if width in (5, 6) and int(digits.str.len().min()) >= 5:
        filled = digits.str.zfill(6)
        parts = filled.str.extract(r"^(\d\d)(\d\d)(\d\d)$")
        if parts.notna().all(axis=None):
            texts = parts[0] + "." + parts[1] + "." + parts[2]
            orders = possible_dates(texts)
            if len(orders) == 1:
                return pd.Series(orders.popitem()[1], index=digits.index)
            if orders:
                row = series.loc[texts.index[0]]
                raise KlineError(
                    f"column {name!r} has {str(row)[:40]!r} in data row {row_of(series, texts.index[0])}, which could be "
                    f"{' or '.join(orders)}: write 2024-07-31"
                )
    if digits.str.fullmatch(r"(?:0[3-9]|1[0-4])\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])").all():
        years = (digits.str[:3].astype("int64") + 1911).astype("str")
        return pd.to_datetime(years + digits.str[3:], format="%Y%m%d", errors="coerce")
    if digits.str.fullmatch(r"(?:199|20[0-9])\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])").all():
        return pd.to_datetime(digits, format="%Y%m%d%H", errors="coerce")
    return None


def from_digits(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    digits = cells.str.replace(r"\.0*$", "", regex=True)
    short = int(digits.str.len().median())
    if short in (6, 7, 10) or digits.str.len().iloc[0] <= 6 or "." in digits.iloc[0]:
        times = _from_serial(digits, name)
        times = _from_short(digits, series, name) if times is None else times
        if times is not None:
            refuse_missing(times, series, name)
            return times
    if short in _CALENDAR_FORMATS:
        digits = in_common_era(digits)
    form = _CALENDAR_FORMATS.get(int(digits.str.len().median()))
    if form is not None:
        times = pd.to_datetime(digits, format=form, errors="coerce")
        if times.notna().mean() > 0.5:
            refuse_missing(times, series, name)
            return times
    if digits.str.len().max() > 19 or digits.astype("float64").abs().max() >= 2**63:
        row = int(digits.astype("float64").abs().to_numpy().argmax())
        raise KlineError(
            f"column {name!r} holds {digits.iloc[row][:40]}, beyond the epoch of any year up to {LAST_YEAR}"
        )
    whole = digits.str.fullmatch(r"[+-]?\d+").all()
    values = digits.astype("int64" if whole else "float64").to_numpy()
    return pd.Series(_epoch_to_ns(values, name), index=cells.index).dt.tz_localize("UTC")


_HUNDREDS_OF_NS = (
    (621_355_968_000_000_000, 630_000_000_000_000_000, 648_000_000_000_000_000),
    (116_444_736_000_000_000, 125_000_000_000_000_000, 143_000_000_000_000_000),
)
"""Ticks of .NET (since the year 1) and of Windows (since 1601): of 1970-01-01, and of about 1997 and 2054."""


def _epoch_to_ns(values: np.ndarray, name: str) -> np.ndarray:
    """Epoch numbers of an unstated unit -> datetime64[ns] (n,)."""
    size = np.abs(values.astype("float64"))
    if size.max() < 1e7:
        raise KlineError(f"column {name!r} holds small numbers like {values[-1]}: expected dates or an epoch")
    if size.max() < 1e8 and (size % 3600).any():
        raise KlineError(
            f"column {name!r} holds {values[-1]}, an epoch of {1970 + size.max() / 3.156e7:.0f} in seconds, or of another unit: "
            "write dates such as 2024-07-31 09:35"
        )
    if values.dtype.kind == "i" and (values % 60_000_000_000).any():
        for since_1970, first, last in _HUNDREDS_OF_NS:
            if first <= values.min() and values.max() <= last and not (values % 10_000).any():
                return ((values - since_1970) * 100).astype("datetime64[ns]")
    ns_per = np.select([size < 1e11, size < 1e14, size < 1e17], [_NS_PER["s"], _NS_PER["ms"], _NS_PER["us"]], 1)
    years = 1970 + size * ns_per / 3.156e16
    # Binance changed from ms to us in 2025, so one file may mix units: each row by its own magnitude where that
    # gives modern dates throughout, else (old dates have small numbers) one unit for the column.
    if not ((years > 2001) & (years < 2200)).all():
        ns_per = np.full_like(ns_per, ns_per[size.argmax()])
    outside = np.abs(values.astype("float64")) * ns_per > LAST_NS
    if outside.any():
        value = values[int(outside.argmax())]
        raise KlineError(f"column {name!r} holds a time outside 1678..{LAST_YEAR}: the epoch {value}")
    if values.dtype.kind == "f":  # fractions of a second: float64 holds them to about a microsecond
        values, ns_per = np.round(values * ns_per / 1000).astype("int64"), np.full_like(ns_per, 1000)
    times: np.ndarray = (values * ns_per).astype("datetime64[ns]")
    return times
