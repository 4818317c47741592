"""From a table in memory to raw cells: pandas, and whatever offers the Arrow interface (Polars, PyArrow, DuckDB).

The columns are found by their names as in a file; the index counts as a column where it holds times or symbols.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import KlineError, find_columns
from kronos.klines.layout import found_or_raise, two_levels
from kronos.klines.raw_cells import Raw, long_of
from kronos.klines.read_options import ReadOptions

TIME_ROLES = ("timestamps", "date", "time")


def is_frame(value: object) -> bool:
    """Whether a value is a table in memory and no path of a file."""
    return not isinstance(value, (str, os.PathLike))


def to_pandas(table: Any) -> pd.DataFrame:
    """Return a table as a pandas DataFrame, without a copy where it is one.

    Args:
        table: a pandas DataFrame, or an object with the Arrow PyCapsule interface (``__arrow_c_stream__``), as Polars, PyArrow
            and DuckDB have it.

    Raises:
        KlineError: it is neither.
    """
    if isinstance(table, pd.DataFrame):
        return table
    if hasattr(table, "__arrow_c_stream__") and not isinstance(table, pd.Series):
        import pyarrow  # type: ignore[import-untyped,unused-ignore]

        return pyarrow.table(table).to_pandas()
    hint = "; call collect() first" if hasattr(table, "collect") else ""
    raise KlineError(f"expected a table (pandas, Polars or PyArrow) or the path of a file, found {_kind(table)}{hint}")


def raw_of_frame(table: Any, options: ReadOptions) -> Raw:
    """The cells of a table in memory, with the roles of its columns; the table is not changed.

    Raises:
        KlineError: it is no table, a required column is not found, or index and column give different times.
    """
    frame = to_pandas(table)
    if frame.columns.nlevels == 2:
        return _two_level_columns(frame)
    if frame.columns.nlevels > 2:
        raise KlineError(f"columns of {frame.columns.nlevels} levels: expected one, or two (field and ticker)")
    frame = with_index_columns(frame, options)
    names = [str(name) for name in frame.columns]
    found = found_or_raise(names, options.columns)
    unused = tuple(name for i, name in enumerate(names) if i not in found.values())
    return Raw(frame.set_axis(range(frame.shape[1]), axis=1), names, found, None, unused)


def with_index_columns(frame: pd.DataFrame, options: ReadOptions | None = None) -> pd.DataFrame:
    """Return a table whose index, where it holds times or symbols that no column has, is the first columns.

    Raises:
        KlineError: index and column give different times.
    """
    names = [str(name) for name in frame.columns]
    roles = find_columns(names, None if options is None else options.columns)
    timed = next((role for role in TIME_ROLES if role in roles), None)
    levels: list[tuple[str, Any]] = []
    for number in range(frame.index.nlevels):
        values = frame.index.get_level_values(number)
        name = "" if values.name is None else str(values.name)
        own = find_columns([name]) if name else {}
        if isinstance(values, (pd.DatetimeIndex, pd.PeriodIndex)):
            times = values.to_timestamp() if isinstance(values, pd.PeriodIndex) else values
            if timed is None:
                levels.append((name if set(own) & set(TIME_ROLES) else "Date", times))
            else:
                _check_same_times(times, frame.iloc[:, roles[timed]], names[roles[timed]])
        elif set(own) & set(TIME_ROLES):
            if timed is None:
                levels.append((name, values))
        elif ("symbol" in own or frame.index.nlevels > 1) and "symbol" not in roles:
            levels.append((name if "symbol" in own else "symbol", values))
        elif timed is None and not name and values.dtype.kind not in "iuf" and not len(levels):
            levels.append(("Date", values))
    plain = frame.reset_index(drop=True)
    for name, level in reversed(levels):
        plain.insert(0, name, np.asarray(level) if not isinstance(level, pd.DatetimeIndex) else level)
    return plain


def _check_same_times(index: pd.DatetimeIndex, column: pd.Series, name: str) -> None:
    """Refuse a table whose index and column of times differ; a column that is no datetime is not compared."""
    if not isinstance(column.dtype, pd.DatetimeTZDtype) and column.dtype.kind != "M":
        return
    other = pd.DatetimeIndex(column)
    if (index.tz is None) != (other.tz is None):
        index, other = index.tz_localize(None), other.tz_localize(None)
    wrong = np.flatnonzero(index != other)
    if len(wrong):
        at = int(wrong[0])
        raise KlineError(
            f"the index and column {name!r} give different times, {index[at]} and {other[at]} in row {at + 1}; drop the index "
            "with reset_index(drop=True), or leave the column out with ",
            Argument("columns", {name: "ignore"}),
        )


def _two_level_columns(frame: pd.DataFrame) -> Raw:
    """Columns of fields and tickers, as yfinance gives them, with the times in the index or in one column."""
    first, second = (["" if str(v) == "nan" else str(v) for v in frame.columns.get_level_values(i)] for i in (0, 1))
    both = [bool(a and b) for a, b in zip(first, second, strict=True)]
    levels = two_levels(
        [a for a, yes in zip(first, both, strict=True) if yes], [b for b, yes in zip(second, both, strict=True) if yes]
    )
    if levels is None:
        raise KlineError(
            f"columns of two levels, {_few(first)} and {_few(second)}: expected open, high, low and close in one, tickers in the "
            "other"
        )
    fields, tickers = map(iter, levels)
    names = [next(fields) if yes else a or b for yes, a, b in zip(both, first, second, strict=True)]
    owners = [next(tickers) if yes else "" for yes in both]
    plain = frame.reset_index(drop=True)
    if all(both):
        if not isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            raise KlineError(
                f"columns of two levels, and no times: expected a DatetimeIndex, found {_kind(frame.index)}"
            )
        times = frame.index.to_timestamp() if isinstance(frame.index, pd.PeriodIndex) else frame.index
        plain = plain.set_axis(range(1, plain.shape[1] + 1), axis=1)
        plain.insert(0, 0, times)
        names, owners = ["Date", *names], ["", *owners]
    return long_of(plain, names, owners, None, ())


def _few(names: list[str]) -> str:
    every = list(dict.fromkeys(name for name in names if name))
    return ", ".join(map(repr, every[:4])) + (", ..." if len(every) > 4 else "")


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"{type(value).__module__.split('.')[0]} {type(value).__name__}"
