"""From what callers send to a table of bars: JSON, files, samples; and what is in a file, for those who look first."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.calendars import describe_calendar, infer_frequency
from kronos.klines import KlineError, aggregate, clean, list_symbols, read_klines, validate
from kronos.klines.cleaning import Policy
from kronos.klines.clock_zones import set_zone
from kronos.klines.formats import read_raw
from kronos.klines.read_options import ReadOptions
from kronos.klines.samples import SAMPLES, sample_path
from kronos.klines.timestamps import parse_timestamps
from kronos.schema import FEATURES
from kronos.serving.config import Limits
from kronos.serving.problems import Problem, faults_of, unfit
from kronos.serving.schemas import Bar, Columns, Inspection, Upload
from kronos.serving.uploads import shown_name, stored

SENT_BACK = 20_000
"""Bars of a file that an inspection sends back, the latest ones; a calendar is learned from no more."""
MOST_SYMBOLS = 2_000
CALENDARS = threading.Lock()
"""exchange_calendars builds each calendar once, and not in two threads at a time."""
PLAIN = len("2024-07-01T09:30:00")


def from_json(bars: Columns | list[Bar], tz: str | None, policy: Policy | None, limits: Limits) -> pd.DataFrame:
    """A table as `kronos.read_klines` gives it; ``attrs`` carry what was left out and warned of.

    Raises:
        Problem: 422 with the faults and their rows (1 is the first bar), 413 for too many bars.
        ValueError: of the library, with its reason.
    """
    cells = _columns(bars)
    lengths = {name: len(values) for name, values in cells.items()}
    count = lengths["timestamps"]
    wrong = next((name for name, length in lengths.items() if length != count), None)
    if wrong is not None:
        raise Problem(422, f"bars.{wrong} has {lengths[wrong]} values for {count} timestamps; give one a bar", "unfit")
    if count > limits.rows:
        raise Problem(413, f"{count:,} bars; {limits.rows:,} are allowed: send the latest", "too-many-rows")
    times = _times(cells.pop("timestamps"))
    if tz is not None:
        times = set_zone(times, tz)
    frame = pd.DataFrame(
        {"timestamps": times, **{name: np.array(values, dtype=float) for name, values in cells.items()}}
    )
    attrs: dict[str, object] = {}
    if policy is not None:
        result = clean(frame, policy)
        if not result.frames:
            raise KlineError(result.report, ": nothing is left")
        frame, attrs["cleaning"] = result.frames[-1], result.report
    report = validate(frame)
    report.raise_if_bad("bars")
    if report.faults:
        attrs["validation"] = str(report)
    frame.attrs.update(attrs)
    return frame


def _columns(bars: Columns | list[Bar]) -> dict[str, list[Any]]:
    """Column by column; a volume or amount without any value is left out."""
    if isinstance(bars, Columns):
        cells = {name: getattr(bars, name) for name in ("timestamps", *FEATURES)}
    else:
        cells = {name: [getattr(bar, name) for bar in bars] for name in FEATURES}
        cells["timestamps"] = [bar.timestamp for bar in bars]
    return {
        name: values
        for name, values in cells.items()
        if values is not None and (name not in ("volume", "amount") or any(v is not None for v in values))
    }


def _times(cells: list[Any]) -> pd.Series:
    """As `parse_timestamps` reads them; the plain form 2024-07-01T09:30:00 takes a tenth of its time."""
    if all(isinstance(cell, str) and len(cell) == PLAIN and cell[10] == "T" for cell in cells):
        try:
            return pd.Series(pd.DatetimeIndex(np.array(cells, dtype="datetime64[s]")).as_unit("ns"))
        except ValueError:
            pass  # said better below
    return parse_timestamps(pd.Series(cells), "timestamps")


def from_sample(name: str, timeframe: str | None = None) -> pd.DataFrame:
    return _of_timeframe(read_klines(sample_path(name)), timeframe)


def _of_timeframe(bars: pd.DataFrame, timeframe: str | None) -> pd.DataFrame:
    return bars if timeframe is None else aggregate(bars, timeframe)


def from_file(
    content: bytes, name: str | None, limits: Limits, options: ReadOptions, timeframe: str | None = None
) -> pd.DataFrame:
    """The series of an uploaded file.

    Raises:
        Problem: 413 or 422, naming the column or the rows.
    """
    with stored(content, name, limits) as file:
        try:
            return _of_timeframe(read_klines(file, options=options), timeframe)
        except ValueError as error:
            raise unfit(error, str(file), shown_name(name)) from error


def mapping_of(text: str | None) -> dict[str, str] | None:
    """close=Last,open=First -> {column of the file: role}."""
    pairs = [item.partition("=") for item in (text or "").split(",") if item.strip()]
    for role, equals, column in pairs:
        if not (role.strip() and equals and column.strip()):
            raise Problem(
                422, f"columns takes role=column, such as close=Last, found {role + equals + column!r}", "unfit"
            )
    return {column.strip(): role.strip() for role, _, column in pairs} or None


def read_options(wanted: Upload | Inspection) -> ReadOptions:
    """The fields of a form as the reader takes them.

    Raises:
        Problem: 422, where they contradict each other.
    """
    listed = None if wanted.names is None else tuple(name.strip() for name in wanted.names.split(","))
    try:
        return ReadOptions(
            mapping_of(wanted.columns), wanted.encoding, wanted.decimal, wanted.thousands, wanted.tz, listed,
            wanted.symbol, wanted.clean, wanted.close_only,
        )  # fmt: skip
    except KlineError as error:
        raise unfit(error) from error


def inspected(
    content: bytes | None,
    name: str | None,
    sample: str | None,
    limits: Limits,
    options: ReadOptions,
    calendar: str | None = None,
    timeframe: str | None = None,
) -> bytes:
    """Columns, symbols, rhythm, faults with their rows, and the latest bars of a file or a sample that is sound, as JSON.

    Raises:
        Problem: it cannot be read.
    """
    try:
        if sample is not None:
            own = ReadOptions(tz=options.tz, clean=options.clean)
            answer = _inspected(sample_path(sample), SAMPLES[sample], own, calendar, timeframe)
        else:
            assert content is not None
            with stored(content, name, limits) as file:
                answer = _inspected(file, shown_name(name), options, calendar, timeframe)
    except ValueError as error:
        raise unfit(error) from error
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()


def _inspected(
    file: Path,
    name: str,
    options: ReadOptions,
    calendar: str | None,
    timeframe: str | None,
) -> dict[str, Any]:
    symbol = options.symbol
    try:
        raw = read_raw(file, options)
        symbols = list_symbols(file, options=options)
        if symbols and symbol is None:
            symbol = symbols[0]
        answer: dict[str, Any] = {
            "name": name,
            "columns": {role: str(raw.names[at]) for role, at in raw.found.items()},
            "symbols": symbols[:MOST_SYMBOLS],
            "symbol": symbol,
            "faults": [],
        }
        bars = _of_timeframe(read_klines(file, symbol=symbol, options=options), timeframe)
    except KlineError as error:
        if error.report is None:
            raise unfit(error, str(file), name) from error
        problem = unfit(error, str(file), name)
        return {
            **answer,
            "ok": False,
            "detail": problem.detail,
            "faults": faults_of(error.report),
            "rows": error.report.n_rows,
        }
    answer |= {
        "ok": True,
        "rows": len(bars),
        "faults": faults_of(validate(bars)),
        "cleaning": bars.attrs.get("cleaning"),
        "aggregated": list(bars.attrs["aggregated"]) if "aggregated" in bars.attrs else None,
        "tz": None if bars["timestamps"].dt.tz is None else str(bars["timestamps"].dt.tz),
        "first": bars["timestamps"].iloc[0].isoformat(),
        "last": bars["timestamps"].iloc[-1].isoformat(),
        **_rhythm(bars["timestamps"], calendar),
    }
    return answer | {"bars": to_columns(bars.iloc[-SENT_BACK:])}


def _rhythm(times: pd.Series, calendar: str | None) -> dict[str, Any]:
    """In words, or why there is none."""
    try:
        with CALENDARS:
            return {"rhythm": describe_calendar(times, calendar), "frequency": infer_frequency(times).total_seconds()}
    except ValueError as error:
        return {"rhythm": None, "frequency": None, "rhythm_problem": str(error)}


def to_columns(bars: pd.DataFrame) -> dict[str, list[Any]]:
    """Bars as the API takes them."""
    values = {name: bars[name].tolist() for name in FEATURES if name in bars.columns}
    return {"timestamps": iso_times(pd.DatetimeIndex(bars["timestamps"])), **values}


def iso_times(times: pd.DatetimeIndex) -> list[str]:
    return [time.isoformat() for time in times]
