"""Data of an evaluation: series with their market, frequency and season, from a file, a folder, or tables.

A folder may hold an ``index.csv`` with the columns file, market and freq; else a file's name is its market.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError, Message, message_of
from kronos.klines import KlineError, infer_frequency, read_table, validate
from kronos.klines.aggregation import aggregate
from kronos.klines.catalog import INDEX, CatalogEntry, read_catalog
from kronos.klines.cleaning import Policy
from kronos.klines.cleaning import clean as clean_rows
from kronos.klines.formats import table_files
from kronos.klines.read_options import ReadOptions
from kronos.schema import FEATURES, OPTIONAL_COLUMNS

Data = str | Path | pd.DataFrame | Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Series:
    """Series of bars to evaluate on.

    Attributes:
        id: unique name, "file/symbol" from files.
        market: asset class or source, by which scores are grouped.
        frequency: the nearest of the paper's, such as "5m".
        season: bars a day within a day, bars a week for daily bars, 1 where neither is known.
        bars: timestamps (naive, or UTC where the source states a zone, for the tables), open, high, low, close[, volume][, amount].
        local: the timestamps in the source's own zone, which the model reads.
    """

    id: str
    market: str
    frequency: str
    season: int
    bars: pd.DataFrame
    local: pd.DatetimeIndex

    @property
    def group(self) -> str:
        return f"{self.market} {self.frequency}"

    @property
    def symbol(self) -> str:
        return self.id.rsplit("/", 1)[-1]


class Dataset(NamedTuple):
    """Series to evaluate on, those left out as (name, reason), and a hash of the data."""

    series: list[Series]
    skipped: list[tuple[str, str]]
    digest: str


def read_series(
    source: Data | Dataset,
    *,
    tz: str | None = None,
    clean: Policy | None = None,
    columns: Mapping[str, str] | None = None,
    market: str | None = None,
    options: ReadOptions | None = None,
) -> Dataset:
    """Read the series to evaluate on.

    Args:
        source: a file or a folder of files that the reader knows, a long table with a column symbol, or {name: table}.
        tz, clean, columns: as in `kronos.read_klines`. A series with faults is left out, with the reason, unless ``clean``
            says what to do with them; with "split", each segment is a series of its own.
        options: how the files are written; tz, clean and columns of their own win over it.
        market: name of the group instead of the file's.

    Raises:
        ValueError: there is no usable series.
    """
    if isinstance(source, Dataset):
        return source
    series: list[Series] = []
    skipped: list[tuple[str, str]] = []
    digest = hashlib.sha256()
    told = (options or ReadOptions()).but(tz=tz, clean=clean, columns=columns)
    tables = _tables(source, told) if isinstance(source, (str, Path)) else _given(source)
    for name, table, about in tables:
        if isinstance(table, ValueError):
            skipped.append((name, message_of(table).first_line()))
            continue
        try:
            one = make_series(name, table, market or (about and about.market), about and about.frequency)
        except ValueError as error:
            skipped.append((name, message_of(error).first_line()))
            continue
        series.append(one)
        digest.update(_digest(one))
    if not series:
        reason = Message(f"; the first problem: {skipped[0][0]}: ", skipped[0][1]) if skipped else ""
        raise KronosError(f"there is no series to evaluate on in {_said(source)}", reason)
    names = [one.id for one in series]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ValueError(f"{_said(source)} has the series {sorted(twice)[0]!r} twice")
    return Dataset(series, skipped, digest.hexdigest())


def make_series(name: str, table: pd.DataFrame, market: str | None = None, frequency: str | None = None) -> Series:
    """Make a `Series` from a table with timestamps, open, high, low, close[, volume][, amount], oldest first.

    Args:
        name: id of the series.
        market: default the part of ``name`` before the first slash.
        frequency: default the nearest to the spacing of the timestamps.

    Raises:
        ValueError: missing columns, missing or infinite values, or timestamps that do not rise.
    """
    if "timestamps" not in table.columns:
        if not isinstance(table.index, pd.DatetimeIndex):
            raise ValueError(f"{name}: a column timestamps, or an index of times, is needed")
        table = table.rename_axis("timestamps").reset_index()
    values = [c for c in FEATURES if c in table.columns]
    missing = [c for c in FEATURES[:4] if c not in values]
    if missing:
        raise ValueError(f"{name}: the table lacks {', '.join(missing)}")
    bars = table[["timestamps", *values]].dropna(axis=1, how="any").reset_index(drop=True)
    if len(bars.columns) < 5 or any(c not in bars for c in ("timestamps", *FEATURES[:4])):
        raise KronosError(
            f"{name}: prices or timestamps are missing in some rows; clean the table first (",
            Argument("clean", "drop"),
            ")",
        )
    if not np.isfinite(bars[[c for c in values if c in bars]].to_numpy(np.float64)).all():
        raise ValueError(f"{name}: some values are infinite")
    local = pd.DatetimeIndex(bars["timestamps"])
    if not local.is_monotonic_increasing or local.has_duplicates:
        raise ValueError(f"{name}: timestamps must rise from row to row")
    naive = local if local.tz is None else local.tz_convert("UTC").tz_localize(None)
    bars["timestamps"] = naive.as_unit("ns")
    frequency = frequency or infer_frequency(naive.as_unit("ns").asi8)
    symbol_market = market or name.split("/")[0]
    return Series(name, symbol_market, frequency, _season(local, frequency), bars, local)


def _season(local: pd.DatetimeIndex, frequency: str) -> int:
    """Return the season: the median number of bars a day, or for daily bars a week."""
    if frequency == "1w" or len(local) < 20:
        return 1
    if frequency == "1d":
        return int(max(1, len(local.day_of_week.unique())))
    days = pd.Series(1, index=local).groupby(local.normalize()).sum()
    return int(max(1, np.median(days)))


def _tables(source: str | Path, options: ReadOptions) -> Any:
    """Yield (name, table or error, entry of the index) of every series of a file or folder."""
    path = Path(source)
    about = read_catalog(path)
    for file in table_files(path, leave_out=INDEX):
        stem = file.name.split(".")[0]
        try:
            table = read_table(file, options=options)
        except KlineError as error:
            yield stem, error, None
            continue
        for symbol, rows in table.groupby("symbol", sort=False):
            name = stem if symbol == stem else f"{stem}/{symbol}"
            known = about.get(file.name, CatalogEntry(stem if path.is_dir() else name))
            for part, frame in _sound(name, rows.drop(columns="symbol"), options.clean):
                if options.timeframe is None or isinstance(frame, KlineError):
                    yield part, frame, known
                    continue
                try:
                    yield part, aggregate(frame, options.timeframe), known._replace(frequency=None)
                except KlineError as error:
                    yield part, error, known


def _sound(name: str, rows: pd.DataFrame, policy: Policy | None) -> Any:
    """Return the series if it has no faults, or the segments that cleaning gives, or the error.

    A volume or amount that is missing in places is left out whole: the prices are what is forecast.
    """
    numbers = rows.index.to_numpy() + 1
    frame = rows.reset_index(drop=True)
    frame = frame.drop(columns=[c for c in OPTIONAL_COLUMNS if c in frame and frame[c].isna().any()])
    try:
        if policy is None:
            validate(frame, row_numbers=numbers).raise_if_bad(name)
            yield name, frame
            return
        segments = clean_rows(frame, policy, row_numbers=numbers).frames
    except KlineError as error:
        yield name, error
        return
    if not segments:
        yield name, KlineError("nothing is left after cleaning")
    for i, segment in enumerate(segments):
        yield name if len(segments) == 1 else f"{name}#{i + 1}", segment


def _given(source: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Any:
    if isinstance(source, pd.DataFrame):
        if "symbol" not in source.columns:
            source = {"series": source}
        else:
            source = {str(k): v.drop(columns="symbol") for k, v in source.groupby("symbol", sort=False)}
    if not isinstance(source, Mapping):
        raise ValueError(f"data must be a path, a table or a mapping of tables, found {type(source).__name__}")
    for name, table in source.items():
        if not isinstance(table, pd.DataFrame):
            raise ValueError(f"{name}: expected a pandas DataFrame, found {type(table).__name__}")
        yield str(name), table, None


def _digest(one: Series) -> bytes:
    content = hashlib.sha256(f"{one.id}|{one.market}|{one.frequency}|{one.season}".encode())
    content.update(one.local.asi8.tobytes())
    for column in one.bars.columns[1:]:
        content.update(f"{column}".encode())
        content.update(one.bars[column].to_numpy(np.float64).tobytes())
    return content.digest()


def _said(source: object) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the given tables"
