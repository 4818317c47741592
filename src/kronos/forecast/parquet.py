"""A Forecast as one Parquet file: the long table of its paths, and everything else in the file's metadata.

Any program that reads Parquet sees id, path, timestamps and the six features. Legend: S series, P paths, H horizon.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.schema import FEATURES

if TYPE_CHECKING:
    import pyarrow as pa

    from kronos.forecast.forecast import Forecast

KEY = b"kronos.forecast"
VERSION = 1
_UNITS = ("s", "ms", "us", "ns")


def to_parquet(forecast: Forecast) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    zones = [_zone_name(index.tz) for index in forecast.timestamps]
    meta = {
        "version": VERSION,
        "ids": list(forecast.ids),
        "horizons": list(forecast.horizons),
        "n_paths": forecast.n_paths,
        "zones": zones,
        "units": [index.unit for index in forecast.timestamps],
        "calibration": forecast.calibration,
        "last": None if forecast.last is None else forecast.last.tolist(),
    }
    rows = [forecast.n_paths * horizon for horizon in forecast.horizons]
    values = np.concatenate([p.reshape(-1, len(FEATURES)) for p in forecast._paths])  # [S P H_i, 6]
    path = np.concatenate([np.repeat(np.arange(forecast.n_paths, dtype=np.int32), h) for h in forecast.horizons])
    columns: dict[str, Any] = {
        "id": _id_column(forecast.ids, rows),
        "path": pa.array(path),
        "timestamps": _time_column(forecast, zones),
        **{feature: pa.array(np.ascontiguousarray(values[:, i])) for i, feature in enumerate(FEATURES)},
    }
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(meta).encode()})
    buffer = io.BytesIO()
    # Repeated ids, paths and times shrink to almost nothing in a dictionary; prices have none.
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["id", "path", "timestamps"])
    return buffer.getvalue()


def from_parquet(path: Path, make: Callable[..., Forecast]) -> Forecast:
    """Read a file that `to_parquet` wrote; ``make`` is the class `Forecast`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no Parquet file, or no whole forecast.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # From memory: a damaged file must not be read beyond its end, and can be replaced while its forecast is in use.
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file: {str(error).splitlines()[0]}") from error
    meta = _metadata(table, path)
    try:
        paths, timestamps, ids, last = _parts(table, meta)
        return make(paths, timestamps, ids, last, calibration=meta.get("calibration"))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, pa.ArrowException) as error:
        raise ValueError(f"{path} is no whole Kronos forecast: {error}; forecast again and save() it") from error


def _metadata(table: pa.Table, path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((table.schema.metadata or {})[KEY])
        version = meta["version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no Kronos forecast: give a file that Forecast.save() wrote") from error
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version!r} of the format, this Kronos reads {VERSION}; update kronos-forecast"
        )
    return meta


def _parts(table: pa.Table, meta: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of Forecast: paths, timestamps, ids, last."""
    count, horizons, ids = meta["n_paths"], meta["horizons"], meta["ids"]
    counts = np.array([count, *horizons])
    if (
        counts.dtype.kind != "i"
        or counts.min() < 1
        or not len(ids) == len(horizons) == len(meta["zones"]) == len(meta["units"])
    ):
        raise ValueError("its metadata contradicts itself")
    rows = [count * horizon for horizon in horizons]
    if sum(rows) != table.num_rows:
        raise ValueError(f"its metadata speaks of {sum(rows)} rows, it has {table.num_rows}")
    expected = np.concatenate([np.repeat(np.arange(count), horizon) for horizon in horizons])
    if not np.array_equal(table["path"].to_numpy(), expected) or not table["id"].equals(
        _chunked(_id_column(ids, rows))
    ):
        raise ValueError("its rows are not in the order of series, path and time")
    kinds = {str(table[feature].type) for feature in FEATURES}
    if kinds not in ({"float"}, {"double"}):
        raise ValueError(f"its prices must be float or double, found {', '.join(sorted(kinds))}")
    matrix = np.column_stack([table[feature].to_numpy() for feature in FEATURES])
    ends = np.cumsum(rows)
    paths = [part.reshape(count, -1, len(FEATURES)) for part in np.split(matrix, ends[:-1])]  # [P, H_i, 6]
    unit = table.schema.field("timestamps").type.unit
    instants = table["timestamps"].cast("int64").to_numpy()
    timestamps = []
    for part, horizon, zone, own in zip(
        np.split(instants, ends[:-1]), horizons, meta["zones"], meta["units"], strict=True
    ):
        by_path = part.reshape(count, horizon)
        if not (by_path == by_path[0]).all():
            raise ValueError("its paths have different times")
        index = pd.DatetimeIndex(by_path[0].view(f"M8[{unit}]")).as_unit(own)
        timestamps.append(index if zone is None else index.tz_localize("UTC").tz_convert(zone))
    return paths, timestamps, ids, None if meta["last"] is None else np.array(meta["last"], dtype=np.float64)


def _id_column(ids: tuple[int | str, ...] | list[int | str], rows: list[int]) -> pa.Array:
    """The id of every row: whole numbers where all ids are, else text (the metadata knows which is which)."""
    import pyarrow as pa

    small = all(isinstance(name, int) and -(2**63) <= name < 2**63 for name in ids)
    names = pa.array(list(ids) if small else [str(name) for name in ids], pa.int64() if small else pa.string())
    return names.take(pa.array(np.repeat(np.arange(len(ids)), rows)))


def _chunked(column: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([column])


def _time_column(forecast: Forecast, zones: list[str | None]) -> pa.Array:
    """The time of every row, in the finest unit of all series and in their zone, or UTC where they have several."""
    import pyarrow as pa

    unit = max((index.unit for index in forecast.timestamps), key=_UNITS.index)
    unit = max(unit, "ms", key=_UNITS.index)  # Parquet knows no seconds
    instants = [np.tile(index.as_unit(unit).asi8, forecast.n_paths) for index in forecast.timestamps]
    zone = zones[0] if len(set(zones)) == 1 else "UTC"
    return pa.array(np.concatenate(instants)).cast(pa.timestamp(unit, zone))


def _zone_name(zone: Any) -> str | None:
    """A name that `pandas` turns into the zone again."""
    if zone is None:
        return None
    import pyarrow as pa

    try:
        name = pa.lib.tzinfo_to_string(zone)
        pd.Timestamp(0, tz="UTC").tz_convert(name)
    except Exception as error:  # whatever the unknown tzinfo and the look-up raise
        raise ValueError(
            f"the time zone {zone!r} has no name to save it by; use tz_convert('Asia/Shanghai') or such"
        ) from error
    return name
