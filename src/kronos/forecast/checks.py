"""Checks of a Forecast's data and arguments. Each raises ValueError with what was found, where, and what to do.

Legend: S series, P paths, H horizon, 6 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.klines.features import as_timestamps
from kronos.number_checks import single_fraction
from kronos.schema import FEATURES, PRICE_COLUMNS


def fractions(values: object, name: str, *, closed: bool = False) -> list[float]:
    """Return a list of distinct fractions (see `single_fraction`)."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray, pd.Series, pd.Index)):
        raise ValueError(f"{name} must be a sequence of numbers, found {values!r}")
    numbers = [single_fraction(value, f"each of {name}", closed=closed) for value in values]
    if not numbers:
        raise ValueError(f"{name} is empty; give at least one number")
    check_distinct(numbers, name)
    return numbers


def check_distinct(levels: Sequence[float], name: str) -> None:
    """Check that no level occurs twice, or is so near another (1e-10) that two columns would have one name."""
    named: dict[str, float] = {}
    for level in levels:
        other = named.get(f"{level:.10g}")
        named[f"{level:.10g}"] = level
        if other is not None:
            what = (
                f"{level!r} twice"
                if other == level
                else f"{other!r} and {level!r}, which are too near to be told apart"
            )
            raise ValueError(f"{name} holds {what}; give each once")


def output_path(path: str | Path, endings: tuple[str, ...]) -> Path:
    """Return the path of an output file whose ending names its format and whose folder exists."""
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise ValueError(f"{str(target)!r} must end in {' or '.join(endings)}")
    if not target.resolve().parent.is_dir():
        raise ValueError(f"{str(target)!r} cannot be written: there is no folder {target.resolve().parent}")
    return target


def check_ids(ids: Sequence[object] | None, count: int) -> tuple[int | str, ...]:
    """Return ids as Python's int or str, each once; 0, 1, ... by default."""
    if not count:
        raise ValueError("a forecast needs at least one series, found no paths")
    if ids is None:
        return tuple(range(count))
    if isinstance(ids, (str, bytes)):
        raise ValueError(f"ids must be a list of names, found {ids!r}; for one series give [{ids!r}]")
    names: list[int | str] = []
    for place, name in enumerate(ids):
        if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
            names.append(int(name))
        elif isinstance(name, str):
            names.append(str(name))
        else:
            raise ValueError(f"ids must be int or str, found {name!r} at position {place}; give str(name)")
    if len(names) != count:
        raise ValueError(f"{len(names)} ids were given for the paths of {count} series; give one id a series")
    seen: dict[int | str, int] = {}
    for place, name in enumerate(names):
        if name in seen:
            raise ValueError(
                f"id {name!r} is there twice, at positions {seen[name]} and {place}; give each series its own"
            )
        seen[name] = place
    return tuple(names)


def check_paths(paths: Sequence[np.ndarray] | np.ndarray, ids: Sequence[int | str]) -> list[np.ndarray]:
    """Return arrays [P, H_i, 6], all float32 or all float64."""
    arrays = [_one_path_array(array, name) for array, name in zip(paths, ids, strict=True)]
    counts = [len(array) for array in arrays]
    for name, count in zip(ids, counts, strict=True):
        if count != counts[0]:
            raise ValueError(
                f"every series must have as many paths, found {counts[0]} of series {ids[0]!r} and {count} of series {name!r}"
            )
    dtype = np.result_type(*{array.dtype for array in arrays})
    return [array.astype(dtype, copy=False) for array in arrays]


def _one_path_array(array: np.ndarray, name: int | str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"the paths of series {name!r} must be numbers, found {array.dtype}")
    array = array.astype(
        np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64, copy=False
    )
    if array.ndim != 3 or array.shape[2] != len(FEATURES) or not array.size:
        raise ValueError(
            f"the paths of series {name!r} must have the shape [paths, horizon, {len(FEATURES)}] with at least one of each, "
            f"found {list(array.shape)}; the paths of one series alone are given as a list, [array]"
        )
    bad = ~np.isfinite(array)
    if bad.any():
        path, step, feature = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{int(bad.sum())} values of series {name!r} are missing or infinite, the first is {FEATURES[feature]} of path {path} "
            f"at step {step + 1}"
        )
    return array


def check_timestamps(
    timestamps: Sequence[pd.DatetimeIndex], ids: Sequence[int | str], horizons: Sequence[int]
) -> tuple[pd.DatetimeIndex, ...]:
    if isinstance(timestamps, (pd.Series, pd.Index)):
        raise ValueError(
            "timestamps must be a list with one index a series, found one index; for one series give [index]"
        )
    if len(timestamps) != len(ids):
        raise ValueError(f"{len(timestamps)} indexes of timestamps were given for {len(ids)} series; give one a series")
    result = []
    for values, name, horizon in zip(timestamps, ids, horizons, strict=True):
        index = as_timestamps(values, f"the timestamps of series {name!r}")
        # A frequency would be lost with the first file; without it tables are the same before and after.
        index = pd.DatetimeIndex(index, freq=None, name="timestamps")  # type: ignore[arg-type]
        if len(index) != horizon:
            raise ValueError(f"series {name!r} has {len(index)} timestamps for paths of {horizon} bars; give one a bar")
        falls = np.flatnonzero(np.diff(index.asi8) <= 0)
        if len(falls):
            at = int(falls[0]) + 1
            raise ValueError(
                f"the timestamps of series {name!r} must rise, found {index[at]} at position {at} after {index[at - 1]}"
            )
        result.append(index)
    zoned = [index.tz is not None for index in result]
    if any(zoned) and not all(zoned):
        raise ValueError(
            f"series {ids[zoned.index(True)]!r} has timestamps with a time zone, series {ids[zoned.index(False)]!r} without; "
            "give all of them one (tz_localize) or none"
        )
    return tuple(result)


def check_histories(
    history: Sequence[pd.DataFrame] | None, ids: Sequence[int | str], timestamps: Sequence[pd.DatetimeIndex]
) -> list[pd.DataFrame] | None:
    if history is None:
        return None
    if isinstance(history, pd.DataFrame):
        raise ValueError("history must be a list with one table a series, found one table; for one series give [table]")
    if len(history) != len(ids):
        raise ValueError(f"{len(history)} tables of history were given for {len(ids)} series; give one a series")
    for table, name, future in zip(history, ids, timestamps, strict=True):
        _check_indexed(table, f"the history of series {name!r}", future)
        missing = [column for column in PRICE_COLUMNS if column not in table.columns]
        if missing or not len(table):
            what = f"lacks {', '.join(missing)}" if missing else "has no row"
            raise ValueError(f"the history of series {name!r} {what}; it must hold open, high, low and close")
        if not table.index[-1] < future[0]:
            raise ValueError(
                f"the history of series {name!r} ends at {table.index[-1]}, its forecast begins at {future[0]}; the history "
                "must end before"
            )
    return list(history)


def _check_indexed(table: pd.DataFrame, what: str, future: pd.DatetimeIndex) -> None:
    """Check that a table is indexed by rising times, with a time zone exactly where the forecast has one."""
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"{what} must be a pandas DataFrame, found {type(table).__name__}")
    index = table.index
    if not isinstance(index, pd.DatetimeIndex):
        hint = "timestamps" if "timestamps" in table.columns else "the column of times"
        raise ValueError(f"{what} must be indexed by time, found {type(index).__name__}; use set_index({hint!r})")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise ValueError(f"{what} must be in the order of time, each time once; use sort_index()")
    if (index.tz is None) != (future.tz is None):
        with_zone, without = ("the forecast", what) if index.tz is None else (what, "the forecast")
        raise ValueError(f"{with_zone} has a time zone, {without} none; use tz_localize()")


def check_last(
    last: Sequence[pd.Series | np.ndarray] | np.ndarray | None,
    ids: Sequence[int | str],
    history: list[pd.DataFrame] | None,
) -> np.ndarray | None:
    """Return the last observed bars float64 [S, 6], from the histories where they are not given."""
    if last is None:
        if history is None:
            return None
        last = [table.iloc[-1] for table in history]
    if isinstance(last, (pd.Series, pd.DataFrame)) or len(last) != len(ids):
        raise ValueError(
            f"last must be a list with one bar a series or an array [{len(ids)}, 6], found {_described(last)}"
        )
    bars = np.zeros((len(ids), len(FEATURES)))
    for bar, name, row in zip(last, ids, bars, strict=True):
        if isinstance(bar, pd.Series):
            missing = [column for column in PRICE_COLUMNS if column not in bar.index]
            if missing:
                raise ValueError(f"the last bar of series {name!r} lacks {', '.join(missing)}")
            # Volume and amount are no part of any figure; a market without them has none.
            bar = np.array([bar.get(feature, 0) for feature in FEATURES], dtype=np.float64)
        if np.shape(bar) != (len(FEATURES),):
            raise ValueError(
                f"the last bar of series {name!r} must have the 6 features, found the shape {list(np.shape(bar))}"
            )
        row[:] = bar
        if not np.isfinite(row).all():
            feature = FEATURES[int(np.argmin(np.isfinite(row)))]
            raise ValueError(f"the last bar of series {name!r} has no finite {feature}")
    bars.flags.writeable = False
    return bars


def _described(value: object) -> str:
    return f"the shape {list(np.shape(value))}" if hasattr(value, "shape") else f"{len(value)} bars"  # type: ignore[arg-type]


def check_truth(truth: pd.DataFrame, name: int | str, future: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the real bars at the forecast's times, missing where there are none."""
    what = f"the truth of series {name!r}"
    _check_indexed(truth, what, future)
    if "close" not in truth.columns:
        raise ValueError(f"{what} has no column close; its columns are {', '.join(map(str, truth.columns))}")
    at_times = truth.reindex(future)
    if at_times["close"].isna().all():
        raise ValueError(
            f"{what} has no close at any time of the forecast, which runs from {future[0]} to {future[-1]}; index it by time"
        )
    return at_times
