"""File of candles: a Parquet table, with the bars' source and the time spans already fetched in its metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.io.atomic import parquet_bytes, write_file
from kronos.live.intervals import Interval, union

KEY = b"kronos.live"
COLUMNS = ("timestamps", "open", "high", "low", "close", "volume", "amount")
VALUES = COLUMNS[1:]
IDENTITY = ("source", "timeframe", "tz", "adjustment", "stamp")
"""Metadata that must be equal for new bars to be added to a file."""


@dataclass
class Candles:
    """Bars (timestamps in UTC, rising, each once) and their metadata.

    about: source, symbol, timeframe, tz, adjustment, stamp, library and, once written, fetched_at and gaps.
    """

    about: dict[str, Any]
    bars: pd.DataFrame = field(default_factory=lambda: empty_bars())
    covered: list[Interval] = field(default_factory=list)

    def add(self, bars: pd.DataFrame, answered: Interval) -> tuple[int, int]:
        """Merge bars, where newer values replace older ones, and record the span; return the numbers of new and revised bars."""
        self.covered = union([*self.covered, answered])
        if not len(bars):
            return 0, 0
        old = self.bars.set_index("timestamps")
        fresh = bars.drop_duplicates("timestamps", keep="last").set_index("timestamps")
        both = fresh.index.intersection(old.index)
        revised = 0
        if len(both):
            before, after = old.loc[both, "close"], fresh.loc[both, "close"]
            revised = int(((after - before).abs() > 1e-6 * before.abs()).sum())
        joined = pd.concat([old.drop(index=both), fresh]) if len(old) else fresh
        self.bars = joined.sort_index().reset_index()[[c for c in COLUMNS if c in joined or c == "timestamps"]]
        return len(fresh) - len(both), revised

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        import pyarrow as pa

        local = self.bars.copy()
        local["timestamps"] = local["timestamps"].dt.tz_convert(self.about["tz"]).dt.as_unit("ms")
        local.insert(0, "symbol", self.about["symbol"])
        local = local.drop(columns=[c for c in ("volume", "amount") if c in local and local[c].isna().all()])
        meta = {
            **self.about,
            "fetched_at": str(pd.Timestamp.now("UTC").floor("s")),
            "covered": [[str(i.start), str(i.end)] for i in self.covered],
        }
        table = pa.Table.from_pandas(local, preserve_index=False)
        table = table.replace_schema_metadata({KEY: json.dumps(meta).encode()})
        write_file(path, parquet_bytes(table))


def empty_bars() -> pd.DataFrame:
    columns: dict[str, Any] = {"timestamps": pd.DatetimeIndex([], tz="UTC").as_unit("ns")}
    return pd.DataFrame({**columns, **{name: pd.Series(dtype="float64") for name in VALUES}})


def read_about(path: Path) -> dict[str, Any]:
    """Read the metadata of a file of candles.

    Raises:
        ValueError: it is no file that `kronos fetch` wrote.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[KEY])
        missing = [name for name in (*IDENTITY, "symbol", "covered") if name not in about]
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise KronosError(
            f"{path} is there and was not written by kronos fetch; give another file (", Argument("out"), ")"
        ) from error
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)} in its metadata; delete it and fetch again")
    return dict(about)


def read_candles(path: Path, expected: dict[str, Any]) -> Candles:
    """Read a file's bars, and check that source, timeframe, zone and adjustment are as expected; no bars without a file.

    Raises:
        ValueError: one of them differs, or it is no file of candles.
    """
    if not path.exists():
        return Candles(expected)
    about = read_about(path)
    for name in IDENTITY:
        if about[name] != expected[name]:
            raise KronosError(
                f"{path} holds bars of another {name} ({about[name]}, not {expected[name]}); give another file (",
                Argument("out"),
                ")",
            )
    bars = pd.read_parquet(path).drop(columns="symbol")
    bars["timestamps"] = bars["timestamps"].dt.tz_convert("UTC").dt.as_unit("ns")
    covered = [Interval(pd.Timestamp(a), pd.Timestamp(b)) for a, b in about["covered"]]
    return Candles(expected, bars.reindex(columns=[c for c in COLUMNS if c in bars or c in VALUES]), covered)
