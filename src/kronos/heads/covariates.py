"""Further columns that a head reads beside the bars: past ones (index returns, funding rates) and ones known ahead (events).

They enter the head, not the tokenizer. A column is looked up at the exact times of the bars: a past one at the times of the
lookback alone, so that nothing after the last known bar can be read; one known ahead at the times to come. What is missing is
told to the head as missing.

Legend: N windows, L lookback, K steps, X columns of `covariate_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.errors import KronosError

RECENT = 5
"""Bars that the recent mean of a past column is taken over."""
Tables = pd.DataFrame | Sequence[pd.DataFrame]


def check_table(table: object, names: Sequence[str], which: str = "") -> pd.DataFrame:
    """A table of numbers indexed by time that has these columns, as float64.

    Raises:
        ValueError: no such table, a column that is missing, twice there, not of numbers or infinite, or times that occur twice.
    """
    if not isinstance(table, pd.DataFrame) or not isinstance(table.index, pd.DatetimeIndex):
        raise KronosError(which, "covariates must be a DataFrame indexed by time (a DatetimeIndex)", "; see set_index")
    for name in names:
        count = int((table.columns == name).sum())
        if count != 1:
            has = ", ".join(map(str, table.columns)) or "none"
            found = "is missing" if not count else f"is there {count} times"
            raise KronosError(which, f"the covariate {name!r} {found}; the table has the columns {has}")
        if not pd.api.types.is_numeric_dtype(table[name].dtype):
            raise KronosError(which, f"the covariate {name!r} must hold numbers, found {table[name].dtype}")
    if table.index.has_duplicates:
        again = table.index[table.index.duplicated()][0]
        raise KronosError(which, f"covariates have {again} more than once; keep one row of each time")
    values = table[list(names)].astype(np.float64)
    if np.isinf(values.to_numpy()).any():
        raise KronosError(which, "covariates must be finite or missing, found an infinite value")
    return values


def read_covariates(path: str | Path, names: Sequence[str] | None = None, tz: str | None = None) -> pd.DataFrame:
    """Read a table of covariates, CSV, Parquet or Feather, with one row of each time.

    Args:
        path: of a file with a column (or an index) of times, recognised by its name as in files of bars.
        names: of the columns to keep; None keeps all others than the times, unchecked.
        tz: zone of times without one; those of another zone are converted.

    Returns:
        The columns, indexed by time; those named as float64.

    Raises:
        ValueError: no such file or time column, times that are missing or cannot be read, or what `check_table` raises.
    """
    from kronos.klines.clock_zones import set_zone
    from kronos.klines.columns import find_columns
    from kronos.klines.frames import TIME_ROLES, with_index_columns
    from kronos.klines.timestamps import join_date_and_time, parse_timestamps

    file, which = Path(path), f"{path}: "
    if not file.is_file():
        raise ValueError(f"{path}: there is no such file of covariates")
    reader = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pq": pd.read_parquet, ".feather": pd.read_feather}
    if file.suffix.lower() not in reader:
        raise ValueError(f"{which}covariates are read from .csv, .parquet or .feather, found {file.suffix!r}")
    try:
        table: pd.DataFrame = with_index_columns(reader[file.suffix.lower()](file))  # type: ignore[operator]
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{which}cannot be read as {file.suffix}: {str(error).splitlines()[0]}") from error
    columns = [str(name) for name in table.columns]
    roles = {
        role: at
        for role, at in find_columns(columns).items()
        if role in TIME_ROLES and columns[at] not in (names or ())
    }
    if not roles:
        raise ValueError(f"{which}no column of times (such as timestamps or date) among {', '.join(columns)}")
    chosen = next(role for role in TIME_ROLES if role in roles)
    found = table.iloc[:, roles[chosen]]
    if chosen == "date" and "time" in roles:
        found = join_date_and_time(found, table.iloc[:, roles["time"]])
    stamps = parse_timestamps(found, columns[roles[chosen]])
    if stamps.isna().any():
        raise ValueError(f"{which}row {int(np.flatnonzero(stamps.isna())[0]) + 1} has no time")
    stamps = stamps if tz is None else set_zone(stamps, tz)
    indexed = table.set_axis(columns, axis=1).set_index(pd.DatetimeIndex(stamps))
    if names is None:
        return indexed.drop(columns=[columns[at] for at in roles.values()])
    return check_table(indexed, names, which)


def covariate_columns(
    table: pd.DataFrame, past: Sequence[str], known: Sequence[str], times: pd.DatetimeIndex, future: pd.DatetimeIndex
) -> np.ndarray:
    """Columns float64 [K, X] of one window, NaN where missing: the last values of the past columns and their recent means, then
    of those known ahead the values at each step and the means up to the step.

    Raises:
        ValueError: the table's times have a zone and those of the bars none, or the other way round.
    """
    if (table.index.tz is None) != (times.tz is None):  # type: ignore[attr-defined]
        raise ValueError("times of covariates and bars must both have a time zone, or both none")
    steps = len(future)
    before, ahead = _rows_at(table, past, times[-RECENT:]), _rows_at(table, known, future)
    last, recent = before[-1], _running_mean(before)[-1]
    parts = [np.repeat(row[None], steps, 0) for row in (last, recent)] + [ahead, _running_mean(ahead)]
    return np.concatenate(parts, axis=1)


def _rows_at(table: pd.DataFrame, names: Sequence[str], times: pd.DatetimeIndex) -> np.ndarray:
    """Values [T, names] at these times, NaN where there is no row."""
    rows = table.index.get_indexer(times)
    values = table[list(names)].to_numpy(np.float64)
    found: np.ndarray = np.full((len(times), len(names)), np.nan)
    found[rows >= 0] = values[rows[rows >= 0]]
    return found


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the values that are there up to each row [T, names]; NaN before the first."""
    count = np.isfinite(values).cumsum(0)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.nancumsum(values, 0) / np.where(count, count, np.nan)
    return mean


def covariates_of(
    tables: Tables | None,
    past: Sequence[str],
    known: Sequence[str],
    times: Sequence[pd.DatetimeIndex],
    futures: Sequence[pd.DatetimeIndex],
) -> np.ndarray:
    """Columns [N, K, X] of windows, whose tables are one for all or one each.

    Raises:
        ValueError: a table is missing, one too many, or wrong.
    """
    if not past and not known:
        if tables is not None:
            raise ValueError("the head was trained without covariates: leave out covariates=")
        return np.empty((len(times), len(futures[0]), 0))
    if tables is None:
        raise ValueError(f"the head was trained with the covariates {', '.join((*past, *known))}: give covariates=")
    if isinstance(tables, pd.DataFrame):
        whole = check_table(tables, (*past, *known))
        checked = [whole] * len(times)
    else:
        if len(tables) != len(times):
            raise ValueError(
                f"covariates must be one table, or one for each of {len(times)} series, found {len(tables)}"
            )
        checked = [check_table(table, (*past, *known), f"series {i}: ") for i, table in enumerate(tables)]
    return np.stack(
        [
            covariate_columns(table, past, known, lookback, future)
            for table, lookback, future in zip(checked, times, futures, strict=True)
        ]
    )
