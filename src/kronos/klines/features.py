"""From a table of K-lines to what the networks see: the matrix of features, and the time features.

Legend: T bars, 6 features in the order of `FEATURES` (docs/model.md, section 1).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from kronos.schema import AMOUNT, FEATURES, PRICE_COLUMNS

LARGEST = 1e30
"""Values beyond it may leave float32 on the way back to prices."""
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday."""
NUMBER_KINDS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")


def to_matrix(frame: pd.DataFrame) -> np.ndarray:
    """The feature matrix float32 [T, 6] of a table with at least open, high, low, close.

    Volume absent: zero. Amount absent: volume times the mean of the four prices. An amount without volume is kept (the
    reference drops it). The table is not changed. Values, types and memory order (column by column, which decides how NumPy sums)
    are those of the reference, so that its means and deviations come out bit for bit.

    Raises:
        ValueError: a price column is missing or there twice, or a value is missing, not finite, too large or not a number:
            named by column and row.
    """
    missing = [name for name in PRICE_COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"Price columns are missing: the table lacks {', '.join(missing)}; its columns are "
            f"{', '.join(map(str, frame.columns))}"
        )
    present = [name for name in FEATURES if name in frame.columns]
    columns = _plain_numbers(frame, present)
    if columns is None:
        frame = frame[present]
        for name in present:
            if not _check_numbers(frame[name], name):
                frame = frame.assign(**{name: pd.to_numeric(frame[name])})
        columns = [frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in present]
    values = np.column_stack(columns)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{int(bad.sum())} values are missing (NaN) or infinite, the first in column {present[column]!r}, row {row} "
            f"(index {frame.index[row]!r}); drop or repair those rows first, see kronos.klines.clean"
        )
    matrix = np.zeros((len(frame), len(FEATURES)), dtype=np.float32, order="F")
    with np.errstate(over="ignore"):
        matrix[:, [FEATURES.index(name) for name in present]] = values
        if "volume" in present and "amount" not in present:
            matrix[:, AMOUNT] = _estimated_amount(frame, columns)
    large = np.abs(matrix) > LARGEST
    if large.any():
        row, column = (int(i) for i in np.argwhere(large)[0])
        raise ValueError(
            f"{FEATURES[column]} in row {row} (index {frame.index[row]!r}) is beyond {LARGEST:g}, too large to normalise in "
            "float32; give that column in a larger unit"
        )
    return matrix


def _plain_numbers(frame: pd.DataFrame, names: list[str]) -> list[np.ndarray] | None:
    """These columns as float64 [T] where each is an ordinary NumPy column of numbers, which needs no look at every value."""
    if not frame.columns.is_unique:
        return None
    columns = [frame[name] for name in names]
    if any(not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "fiu" for column in columns):
        return None
    return [column.to_numpy(dtype=np.float64) for column in columns]


def _estimated_amount(frame: pd.DataFrame, columns: list[np.ndarray]) -> np.ndarray | pd.Series:
    """Volume times the mean price [T], in the order and type that pandas computes it in; ``columns``: the prices, then volume."""
    if all(frame[name].dtype == np.float64 for name in (*PRICE_COLUMNS, "volume")):
        estimated: np.ndarray = columns[4] * ((columns[0] + columns[1] + columns[2] + columns[3]) / 4)
        return estimated
    return frame["volume"] * frame[list(PRICE_COLUMNS)].mean(axis=1)


def _check_numbers(column: pd.Series | pd.DataFrame, name: str) -> bool:
    """Whether the column holds numbers; False where it holds texts that are all numbers."""
    if isinstance(column, pd.DataFrame):
        raise ValueError(f"the table has {column.shape[1]} columns named {name!r}; keep one")
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "string" and pd.to_numeric(column, errors="coerce").notna().equals(column.notna()):
        return False
    if kind not in NUMBER_KINDS:
        values = column.dropna()
        example = next((v for v in values if isinstance(v, str)), values.iloc[0])
        raise ValueError(
            f"column {name!r} must hold numbers, found {kind} values such as {example!r}; convert it first, for example "
            f"with pd.to_numeric(df[{name!r}])"
        )
    return True


def as_timestamps(
    values: Iterable[object] | pd.Series | pd.DatetimeIndex, name: str = "timestamps"
) -> pd.DatetimeIndex:
    """Timestamps in any usual form (Series, DatetimeIndex, strings, zone-aware or not) as a DatetimeIndex.

    Raises:
        ValueError: one of them is missing or cannot be read, named by its position.
    """
    if isinstance(values, (pd.Series, pd.DatetimeIndex)) and pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _complete(values if isinstance(values, pd.DatetimeIndex) else pd.DatetimeIndex(values), name)
    if isinstance(values, (str, bytes, pd.DataFrame)) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a sequence of timestamps, found {type(values).__name__}")
    items = values if isinstance(values, (pd.Series, pd.Index, np.ndarray)) else list(values)
    if pd.api.types.infer_dtype(items, skipna=True) in (*NUMBER_KINDS[:-1], "boolean"):
        raise ValueError(f"{name} must be timestamps, found numbers; for epochs use pd.to_datetime(values, unit='ms')")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(items))
    except (TypeError, ValueError) as error:
        reason = str(error).split(". You might")[0]  # pandas adds a paragraph on arguments that are not the user's
        raise ValueError(f"{name} cannot be read as timestamps: {reason}") from error
    return _complete(index, name)


def _complete(index: pd.DatetimeIndex, name: str) -> pd.DatetimeIndex:
    """The index itself, if no timestamp of it is missing."""
    if index.hasnans:
        raise ValueError(f"{name} has no timestamp at position {int(np.argmax(index.isna()))}")
    return index


def time_features(timestamps: Iterable[object] | pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """int64 [T, 5]: minute 0-59, hour 0-23, weekday 0-6 (Monday 0), day 1-31, month 1-12, of the bar's own local time."""
    times = local_times(as_timestamps(timestamps))
    minutes, days = times.astype("datetime64[m]").astype(np.int64), times.astype("datetime64[D]")
    months = times.astype("datetime64[M]")
    weekday = (days.astype(np.int64) + EPOCH_WEEKDAY) % 7
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    columns = (minutes % 60, minutes // 60 % 24, weekday, day, months.astype(np.int64) % 12 + 1)
    return np.stack(columns, axis=1)


def local_times(index: pd.DatetimeIndex) -> np.ndarray:
    """Local times of an index with or without a zone, datetime64 [T]."""
    return (index if index.tz is None else index.tz_localize(None)).to_numpy()


def minute_of_day(index: pd.DatetimeIndex) -> np.ndarray:
    """Minutes since local midnight, int64 [T]: 0-1439."""
    minutes: np.ndarray = local_times(index).astype("datetime64[m]").astype(np.int64) % (24 * 60)
    return minutes
