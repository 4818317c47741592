"""The columns of a K-line table: their names in the wild, and how their cells become times and numbers.

Ground floor of the room: `files` finds a table's columns with `find_columns`, `reader` turns cells into values with
`parse_timestamps` and `parse_numbers`; `validation` judges the values. Nothing here opens a file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from kronos.klines.validation import Report

PRICE_COLUMNS: tuple[str, ...] = ("open", "high", "low", "close")
OPTIONAL_COLUMNS: tuple[str, ...] = ("volume", "amount")
VALUE_COLUMNS: tuple[str, ...] = PRICE_COLUMNS + OPTIONAL_COLUMNS

# Accepted names by role, best first: where a file has several names of one role, the first listed here is used
# (JoinQuant's `money` loses to `amount`, a Chinese feed's turnover *rate* loses to its amount).
ALIASES: dict[str, tuple[str, ...]] = {
    "timestamps": (
        "timestamps", "timestamp", "datetime", "open_time", "gmt time", "local time", "utc time", "trade_time",
        "bar_time", "candle_begin_time", "日期时间", "交易时间", "unix", "ts", "t", "__index_level_0__",
    ),
    "date": ("date", "trade_date", "trading_date", "day", "日期", "交易日期"),
    "time": ("time", "时间"),
    "open": ("open", "open_price", "o", "开盘", "开盘价"),
    "high": ("high", "high_price", "h", "最高", "最高价"),
    "low": ("low", "low_price", "l", "最低", "最低价"),
    "close": ("close", "close_price", "c", "收盘", "收盘价"),
    "volume": ("volume", "vol", "v", "real_volume", "base_volume", "成交量"),
    "tick_volume": ("tickvol", "tick_volume"),
    "amount": (
        "amount", "amt", "money", "quote_volume", "quote_asset_volume", "total_turnover",
        "成交额", "成交金额", "turnover",
    ),
    "symbol": (
        "symbol", "ticker", "code", "unique_id", "instrument", "ts_code", "order_book_id", "stock_code",
        "代码", "股票代码", "证券代码",
    ),
}  # fmt: skip

# Instead of a role, in an explicit mapping: leave this column out.
IGNORE = "ignore"

# Binance's public klines have no header row.
BINANCE_COLUMNS: tuple[str, ...] = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_asset_volume", "trades",
    "taker_buy_base", "taker_buy_quote", "ignore",
)  # fmt: skip


class KlineError(ValueError):
    """A K-line table that cannot be used as it is.

    summary: the first line of the message, complete on its own (a command line shows just this).
    report: the `Report` of faults when validation refused the table, else None.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report

    @property
    def summary(self) -> str:
        return str(self.args[0]).split("\n", 1)[0]


def normalise_name(name: object) -> str:
    """`<OPEN>`, ` Open `, `open`, `成交量(手)` -> the form in which names are compared."""
    text = str(name).replace("\ufeff", "").strip().strip("<>").lower()
    text = re.sub(r"[(（\[].*$", "", text)
    return re.sub(r"[\s_\-.]+", "", text)


_ROLE_OF: dict[str, tuple[str, int]] = {
    normalise_name(alias): (role, rank) for role, aliases in ALIASES.items() for rank, alias in enumerate(aliases)
}


def find_columns(names: Sequence[str], columns: Mapping[str, str] | None = None) -> dict[str, int]:
    """The position of each role (keys of `ALIASES`) among a table's column names; absent roles are left out.

    columns: explicit names first, e.g. `{"Price": "close"}`; any alias may stand for the role, and "ignore" leaves a
    column out (then its name may also be the role: `{"amount": "ignore"}` for 成交额).
    Raises KlineError when an explicit name or role is unknown, or when two columns claim a role equally.
    """
    found: dict[str, tuple[int, int]] = {}  # role -> (rank, position)
    mapped: set[int] = set()
    for name, wanted in (columns or {}).items():
        role = IGNORE if wanted == IGNORE else _ROLE_OF.get(normalise_name(wanted), (None, 0))[0]
        if role is None:
            known = ", ".join((*ALIASES, IGNORE))
            raise KlineError(f"columns= maps {name!r} to {wanted!r}, which is no column role: use {known}")
        positions = [i for i, n in enumerate(names) if n == name]
        positions = positions or [i for i, n in enumerate(names) if normalise_name(n) == normalise_name(name)]
        if role == IGNORE:
            positions = positions or [
                i for i, n in enumerate(names) if _ROLE_OF.get(normalise_name(n), ("",))[0] == name
            ]
            mapped.update(positions)
            if positions:
                continue
        if not positions:
            raise KlineError(f"columns= names {name!r}, but the file has {_listed(names)}")
        found[role] = (-1, positions[0])
        mapped.add(positions[0])
    for position, name in enumerate(names):
        key = normalise_name(name)
        if position == 0 and (key == "" or key.startswith("unnamed:")):
            key = "indexlevel0"  # a DatetimeIndex without a name, as pandas writes it
        role, rank = _ROLE_OF.get(key, (None, 0))
        if role is None or position in mapped:
            continue
        held = found.get(role)
        if held is None or rank < held[0]:
            found[role] = (rank, position)
        elif rank == held[0]:
            raise KlineError(
                f"two columns could be {role}: {names[held[1]]!r} and {name!r}; "
                f"choose one with columns={{{name!r}: {role!r}}}"
            )
    return {role: position for role, (_, position) in found.items()}


def missing_roles(found: Mapping[str, int]) -> list[str]:
    """The required roles that `find_columns` did not find."""
    timed = any(role in found for role in ("timestamps", "date", "time"))
    return ([] if timed else ["timestamps"]) + [role for role in PRICE_COLUMNS if role not in found]


def describe_missing(missing: Sequence[str], names: Sequence[str]) -> str:
    """The message for a table whose columns are not understood: what was looked for, found, and the fix."""
    wanted = []
    for role in missing:
        aliases = ALIASES[role] + (ALIASES["date"] + ALIASES["time"] if role == "timestamps" else ())
        wanted.append(f"  {role}: {', '.join(a for a in aliases if not a.startswith('__'))}")
    example = next((n for n in names if normalise_name(n) not in _ROLE_OF), "Price")
    return (
        f"no column for {', '.join(missing)} among {_listed(names)}; map it with "
        f"columns={{{example!r}: {missing[-1]!r}}}\naccepted names (any case):\n" + "\n".join(wanted)
    )


def _listed(names: Sequence[str], most: int = 20) -> str:
    text = ", ".join(repr(str(n)[:40]) for n in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


# ---------------------------------------------------------------------------------------------- numbers


def uses_decimal_comma(prices: pd.DataFrame) -> bool:
    """Whether the text cells of a table write 1,25 for 1.25: some price has a comma and none has a point."""
    texts = [prices[c].dropna().astype("str") for c in prices.columns if not pd.api.types.is_numeric_dtype(prices[c])]
    commas = any(t.str.contains(",", regex=False).any() for t in texts)
    points = any(pd.api.types.is_float_dtype(prices[c]) and prices[c].notna().any() for c in prices.columns) or any(
        t.str.contains(".", regex=False).any() for t in texts
    )
    return commas and not points


def parse_numbers(series: pd.Series, name: str, *, decimal_comma: bool = False) -> pd.Series:
    """Cells -> float64 (n,). Missing stays NaN; 1,234.5 is read as a number, a cell like '12 USD' is refused.

    Raises KlineError naming the first row (1 = first data row) and the column.
    """
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_datetime64_any_dtype(series.dtype):
        raise KlineError(f"column {name!r} holds {series.dtype} values: expected numbers")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.astype("float64")
    numbers = pd.to_numeric(series, errors="coerce").astype("float64")
    odd = series[numbers.isna() & series.notna()].astype("str").str.strip()
    if len(odd):
        grouped = odd.str.fullmatch(r"[+-]?\d+,\d+" if decimal_comma else r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
        cleaned = odd.str.replace(",", "." if decimal_comma else "", regex=False)
        # "-" and "nan" spellings that a text column keeps are missing cells, not numbers
        cleaned = cleaned.where(grouped.astype(bool))
        empty = odd.str.lower().isin(("", "-", "--", "nan", "none", "null", "na", "n/a"))
        wrong = odd[~(grouped.astype(bool) | empty)]
        if len(wrong):
            row = _row_of(series, wrong.index[0])
            raise KlineError(
                f"column {name!r} has {wrong.iloc[0][:40]!r} in data row {row}: expected a number"
                + (f" ({len(wrong)} such cells)" if len(wrong) > 1 else "")
            )
        numbers.loc[odd.index] = pd.to_numeric(cleaned).astype("float64")
    return numbers


# ------------------------------------------------------------------------------------------- timestamps

_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Digits without separators that spell a date; 17 = baostock's YYYYMMDDHHMMSSmmm (an epoch has 10, 13, 16 or 19).
_CALENDAR_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
LAST_YEAR = 2261
LAST_NS = 9.2233e18
"""Nanoseconds since 1970 that a 64-bit timestamp holds, either way."""
_OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"


def parse_timestamps(series: pd.Series, name: str) -> pd.Series:
    """Cells -> datetime64[ns] or, where the cells say their zone, datetime64[ns, zone]. Missing cells become NaT.

    Epoch numbers (s, ms, us or ns, told by magnitude) are UTC by definition; texts with one offset keep it, with
    several (a daylight-saving change) become UTC; everything else stays naive. 20240701 is a date, not an epoch.
    Raises KlineError naming the first cell that is no time, or when 01/07/2024 could be two dates.
    """
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _to_ns(series, name)
    if pd.api.types.is_float_dtype(series.dtype):  # "%.0f"-like, so that 1.7e12 is spelled in digits
        texts = series.map(lambda v: np.format_float_positional(v, trim="-"), na_action="ignore").astype("str")
    else:
        texts = series.astype("str").str.strip()
    texts = texts.where(series.notna() & ~texts.isin(("", "NaT", "nan", "None")))
    cells = texts.dropna()
    if cells.empty:
        return pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns]")
    if cells.str.fullmatch(r"[+-]?\d+(\.\d*)?").all():
        times = _from_digits(cells, series, name)
    else:
        times = _from_texts(cells, series, name)
    return _to_ns(times, name).reindex(series.index)


def _from_digits(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    digits = cells.str.replace(r"\.0*$", "", regex=True)
    form = _CALENDAR_FORMATS.get(int(digits.str.len().median()))
    if form is not None:
        times = pd.to_datetime(digits, format=form, errors="coerce")
        if times.notna().mean() > 0.5:
            _refuse_missing(times, series, name)
            return times
    if digits.str.len().max() > 19 or digits.astype("float64").abs().max() >= 2**63:
        row = int(digits.astype("float64").abs().to_numpy().argmax())
        raise KlineError(
            f"column {name!r} holds {digits.iloc[row][:40]}, beyond the epoch of any year up to {LAST_YEAR}"
        )
    whole = digits.str.fullmatch(r"[+-]?\d+").all()
    values = digits.astype("int64" if whole else "float64").to_numpy()
    return pd.Series(_epoch_to_ns(values, name), index=cells.index).dt.tz_localize("UTC")


def _epoch_to_ns(values: np.ndarray, name: str) -> np.ndarray:
    """Epoch numbers of an unstated unit -> datetime64[ns] (n,)."""
    size = np.abs(values.astype("float64"))
    if size.max() < 1e7:
        raise KlineError(f"column {name!r} holds small numbers like {values[-1]}: expected dates or an epoch")
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


def _from_texts(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    # pandas takes these words for the time of reading
    _refuse_missing(cells.mask(cells.str.lower().isin(("now", "today"))), series, name)
    try:  # the usual case, ten times faster; it refuses mixed offsets and anything that is not year first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            times = pd.to_datetime(cells, format="ISO8601")
        # pandas 2 gives objects for mixed offsets, and lends one cell's zone to cells without any.
        known = pd.api.types.is_datetime64_any_dtype(times.dtype)
        if known and (times.dt.tz is None or cells.str.contains(_OFFSET, regex=True).all()):
            return times
    except ValueError:
        pass
    texts = cells.str.replace(r"[年月]", "-", regex=True).str.replace("日", "", regex=False)
    texts = texts.str.replace(r"\s*(?:GMT|UTC)(?=[+-]\d{4}$)", "", regex=True).str.replace(r"\s*UTC$", "Z", regex=True)
    texts = _year_first(texts, series, name)
    zoned = texts.str.contains(rf"\d{{1,2}}:\d{{2}}(?:\.\d+)?\s*{_OFFSET}", regex=True)
    if zoned.any() and not zoned.all():
        row = _row_of(series, zoned.index[zoned != zoned.iloc[0]][0])
        raise KlineError(f"column {name!r} mixes times with and without a zone offset, as in data row {row}: use one")
    named = texts.str.contains(r"[A-Za-z]{3}", regex=True).all()  # months: 01-Jul-2024, Jul 1, 2024
    form = "mixed" if named else "ISO8601"
    offsets = texts.str.extract(f"({_OFFSET})", expand=False).nunique() if zoned.all() else 0
    times = pd.to_datetime(texts, format=form, errors="coerce", utc=offsets > 1)
    _refuse_missing(times, series, name)
    return times


def _year_first(texts: pd.Series, series: pd.Series, name: str) -> pd.Series:
    """31.12.2024 and 12/31/2024 -> 2024-12-31; which of the two numbers is the day must show in the column."""
    pattern = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})(.*)$"
    if not texts.str.match(pattern).all():
        return texts
    parts = texts.str.extract(pattern)
    first, second = parts[0].astype("int64"), parts[1].astype("int64")
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        row = _row_of(series, texts.index[0])
        why = "mixes day first and month first" if day_first else "could be day first or month first"
        raise KlineError(f"column {name!r} {why} ({texts.iloc[0]!r} in data row {row}): write 2024-07-31")
    day, month = (parts[0], parts[1]) if day_first else (parts[1], parts[0])
    return parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + parts[3]


def join_date_and_time(date: pd.Series, time: pd.Series) -> pd.Series:
    """A date column and a clock column (09:35:00, 093500, 935) -> texts; a full time in the clock column wins."""
    # rows without a clock keep a missing timestamp rather than silently becoming midnight
    clock = time.astype("str").str.strip().str.replace(r"\.0+$", "", regex=True)
    known = clock[time.notna()]
    if known.str.fullmatch(r"\d{1,6}").all():  # HHMM or HHMMSS, leading zeros perhaps lost
        width = 4 if known.str.len().max() <= 4 else 6
        clock = clock.str.zfill(width)
        clock = clock.str[:2] + ":" + clock.str[2:4] + (":" + clock.str[4:6] if width == 6 else "")
    elif not known.str.match(r"\d{1,2}:\d{2}").all():
        return time  # baostock: the time column holds date and time
    day = date.astype("str").str.strip().str.replace(r"[ T]00:00(:00)?$", "", regex=True)
    day = day.str.replace(r"^(\d{4})(\d{2})(\d{2})(\.0)?$", r"\1-\2-\3", regex=True)
    return (day + " " + clock).where(date.notna() & time.notna())


def set_zone(times: pd.Series, tz: str, name: str = "timestamps") -> pd.Series:
    """Naive times are said to be in `tz`; times that know their zone are converted to it.

    Raises KlineError for an unknown zone and for local times that a clock change makes ambiguous or impossible.
    """
    try:
        aware = times.dt.tz is not None
        zoned: pd.Series = times.dt.tz_convert(tz) if aware else times.dt.tz_localize(tz, ambiguous="infer")
        return zoned
    except Exception as error:  # zoneinfo raises KeyError and ValueError, pytz under pandas 2 errors of its own
        if "zone" in str(error).lower() or isinstance(error, KeyError):
            raise KlineError(f"unknown time zone {tz!r}: use a name like 'Asia/Shanghai' or 'UTC'") from error
        reason = str(error).split(". ")[0].split(", try")[0]
        if type(error).__name__ == "NonExistentTimeError":  # pytz says only which
            reason += " is a nonexistent time"
        raise KlineError(f"column {name!r} cannot be local time of {tz}: {reason}; store UTC or offsets") from error


def _to_ns(times: pd.Series, name: str) -> pd.Series:
    zone = times.dt.tz
    try:
        return times.astype("datetime64[ns]" if zone is None else pd.DatetimeTZDtype("ns", zone))
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise KlineError(f"column {name!r} holds a time outside 1678..2261: {error}") from error


def _refuse_missing(times: pd.Series, series: pd.Series, name: str) -> None:
    wrong = times.index[times.isna()]
    if len(wrong):
        value = str(series.loc[wrong[0]])[:40]
        raise KlineError(
            f"column {name!r} has {value!r} in data row {_row_of(series, wrong[0])}: expected a date or time like "
            "2024-07-01 09:35:00" + (f" ({len(wrong)} such cells)" if len(wrong) > 1 else "")
        )


def _row_of(series: pd.Series, label: object) -> int:
    return int(series.index.get_indexer(pd.Index([label]))[0]) + 1
