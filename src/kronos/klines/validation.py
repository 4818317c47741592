"""Judging K-line tables: `validate` lists the faults of one series; the input frame is never changed.

Shapes: n rows in file order; every array is (n,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from kronos.errors import Argument, Message
from kronos.klines.columns import KlineError
from kronos.klines.jumps import find_jumps
from kronos.klines.night_labels import REASON, clock_shifts
from kronos.klines.numbers import parse_numbers
from kronos.klines.timestamps import parse_timestamps
from kronos.schema import FEATURES, OPTIONAL_COLUMNS, PRICE_COLUMNS

Level = Literal["error", "warning"]

# Relative slack of the high/low checks: adjusted and float32 prices disagree in the last digits.
TOLERANCE = 1e-4
# How many rows a message lists.
FIRST_ROWS = 5
# A missing timestamp as int64: pandas' NaT.
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Fault:
    """One kind of fault. count: rows that have it; rows: the first few, as in the file (1 = first after the header)."""

    kind: str
    count: int
    columns: tuple[str, ...]
    rows: tuple[int, ...]
    level: Level = "error"
    note: str = ""

    def __str__(self) -> str:
        where = f" in {', '.join(self.columns)}" if self.columns else ""
        rows = f" ({say_rows(self.rows, self.count)})" if self.rows else ""
        warning = " [warning]" if self.level == "warning" else ""
        return f"{self.kind}: {self.count}{where}{rows}{self.note}{warning}"


def say_rows(first: Sequence[int], count: int) -> str:
    """`data row 7`, `data rows 1, 2, ...`: the first of `count` rows."""
    more = ", ..." if count > len(first) else ""
    return f"data row{'s' if count > 1 else ''} {', '.join(map(str, first))}{more}"


@dataclass(frozen=True)
class Report:
    """What `validate` found. `str()` is one summary line and one line a fault."""

    faults: tuple[Fault, ...]
    n_rows: int
    newest: int = 0
    """Rows at the end of the table that have a fault of level error, one after the other."""

    @property
    def errors(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.faults if fault.level == "error")

    @property
    def ok(self) -> bool:
        """No fault of level error; warnings may remain."""
        return not self.errors

    @property
    def summary(self) -> str:
        rows = f"{self.n_rows} row{'' if self.n_rows == 1 else 's'}"
        if not self.faults:
            return f"{rows}, no faults"
        if self.errors and self.errors[0].kind == "too few rows" and len(self.faults) == 1:
            return f"{rows}{self.errors[0].note}"
        return f"{rows} with faults: " + ", ".join(
            f"{fault.kind} {fault.count}{' [warning]' if fault.level == 'warning' else ''}" for fault in self.faults
        )

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {fault}" for fault in self.faults)])

    def raise_if_bad(self, source: str = "K-lines") -> None:
        """Raises KlineError (first line: the summary and the fix) when a fault of level error was found."""
        if self.ok:
            return
        lines = [f"  {fault}" for fault in self.faults]
        raise KlineError(source, f": {self.summary}", self._fix(), "".join(f"\n{line}" for line in lines), report=self)

    def _fix(self) -> Message:
        kinds = {fault.kind for fault in self.errors}
        if kinds == {"unsorted timestamp"}:
            if any(REASON in fault.note for fault in self.errors):
                return Message(f"; {REASON}: ", Argument("clean", "sort"), " gives them the day of the clock")
            return Message("; ", Argument("clean", "sort"), " sorts them")
        if kinds <= {"unsorted timestamp", "duplicate timestamp"}:
            return Message(
                "; ",
                Argument("clean", "sort"),
                " sorts and leaves exact duplicates out, ",
                Argument("clean", "drop"),
                " all duplicates",
            )
        columns = sorted({column for fault in self.errors for column in fault.columns})
        dropped = Message(Argument("clean", "drop"), " leaves such rows out" + self._newest())
        if columns and not set(columns) - set(OPTIONAL_COLUMNS):  # the rows are good: better to lose the column
            return Message(
                "; ", Argument("columns", dict.fromkeys(columns, "ignore")), " leaves the column out, ", dropped
            )
        return Message() if kinds == {"too few rows"} else Message("; ", dropped)

    def _newest(self) -> str:
        """ " (the newest 3 among them, so that the forecast would begin earlier)", where it is so."""
        return f" (the newest {self.newest} among them, so that forecasts would begin earlier)" if self.newest else ""


def validate(df: pd.DataFrame, *, min_rows: int = 2, row_numbers: np.ndarray | None = None) -> Report:
    """The faults of one series with columns open, high, low, close and, where present, timestamps, volume, amount.

    A cell is counted once (a missing price is not also non-positive). "candle out of range" (open or close outside
    low..high by more than `TOLERANCE`), an entirely "empty column" of volume or amount and a "jump" between bars are warnings.
    row_numbers: (n,) numbers to report for the rows, when df is part of a file; default 1..n.
    Raises KlineError when a price column is absent or a column is not numeric. df is not changed.
    """
    n = len(df)
    numbers = np.arange(1, n + 1) if row_numbers is None else np.asarray(row_numbers)
    faults = [
        Fault(kind, int(mask.sum()), columns, tuple(numbers[mask][:FIRST_ROWS].tolist()), level)
        for kind, columns, mask, level in (*value_faults(df), *_time_faults(df))
        if mask.any() or kind == "empty column"
    ]
    faults = [_with_night_labels(fault, df) if fault.kind == "unsorted timestamp" else fault for fault in faults]
    faults += _jumps(df, numbers)
    if n < min_rows:
        faults.append(Fault("too few rows", n, (), (), note=f", expected at least {min_rows}"))
    return Report(tuple(faults), n, _newest_faulty(df))


def _with_night_labels(fault: Fault, df: pd.DataFrame) -> Fault:
    """The fault of times that step back, with its reason where that is how night sessions are labelled."""
    shifts = clock_shifts(parse_timestamps(df["timestamps"].reset_index(drop=True), "timestamps"))
    return fault if shifts is None else replace(fault, note=f": {REASON}")


def _newest_faulty(df: pd.DataFrame) -> int:
    """Rows without a break at the end of the table that have a value fault of level error."""
    masks = [found.mask for found in value_faults(df) if found.level == "error"]
    faulty = np.logical_or.reduce(masks) if masks else np.zeros(len(df), bool)
    sound = np.flatnonzero(~faulty)
    return int(len(df) - 1 - sound[-1]) if len(sound) else 0


def _jumps(df: pd.DataFrame, numbers: np.ndarray) -> list[Fault]:
    """One warning for all jumps between bars; its note tells the first few, and what splits they look like."""
    values = column_values(df)
    jumps = find_jumps(values["open"], values["close"])
    if not jumps:
        return []
    first = jumps[:FIRST_ROWS]
    note = ": " + "; ".join(str(jump) for jump in first) + ("; ..." if len(jumps) > len(first) else "")
    rows = tuple(int(numbers[jump.row]) for jump in first)
    return [Fault("jump", len(jumps), ("open", "close"), rows, "warning", note)]


class _Found(NamedTuple):
    kind: str
    columns: tuple[str, ...]
    mask: np.ndarray  # (n,) bool
    level: Level = "error"


def column_values(df: pd.DataFrame) -> dict[str, np.ndarray]:
    """The value columns that the table has, float64 (n,) each; KlineError when a price column is absent."""
    absent = [name for name in PRICE_COLUMNS if name not in df.columns]
    if absent:
        raise KlineError(f"the table has no column {', '.join(absent)}: expected open, high, low, close")
    plain = df.reset_index(drop=True)
    return {name: parse_numbers(plain[name], name).to_numpy() for name in FEATURES if name in df.columns}


def value_faults(df: pd.DataFrame) -> list[_Found]:
    """Faults of single rows; the columns of a fault are those that have it somewhere."""
    values = column_values(df)
    empty = {n for n, v in values.items() if n not in PRICE_COLUMNS and len(v) and np.isnan(v).all()}
    found = [_Found("empty column", (name,), np.zeros(len(df), bool), "warning") for name in sorted(empty)]

    def add(kind: str, masks: dict[str, np.ndarray]) -> None:
        if masks:
            hit = tuple(name for name, mask in masks.items() if mask.any())
            found.append(_Found(kind, hit, np.logical_or.reduce(list(masks.values()))))

    used = {name: v for name, v in values.items() if name not in empty}
    add("missing value", {name: np.isnan(v) for name, v in used.items()})
    add("infinite value", {name: np.isinf(v) for name, v in used.items()})
    add("non-positive price", {n: np.isfinite(used[n]) & (used[n] <= 0) for n in PRICE_COLUMNS})
    extras = {n: np.isfinite(v) & (v < 0) for n, v in used.items() if n not in PRICE_COLUMNS}
    add("negative volume or amount", extras)

    o, h, lo, c = (values[name] for name in PRICE_COLUMNS)
    sound = [np.isfinite(p) & (p > 0) for p in (o, h, lo, c)]
    with np.errstate(invalid="ignore", over="ignore"):
        crossed = sound[1] & sound[2] & (h < lo * (1 - TOLERANCE))
        outside = (np.maximum(o, c) > h * (1 + TOLERANCE)) | (np.minimum(o, c) < lo * (1 - TOLERANCE))
    found.append(_Found("high below low", ("high", "low"), crossed))
    outside &= np.logical_and.reduce(sound) & ~crossed
    found.append(_Found("candle out of range", PRICE_COLUMNS, outside, "warning"))
    return found


def _time_faults(df: pd.DataFrame) -> list[_Found]:
    """Faults of the time axis in file order; a duplicate is a row whose time an earlier row has."""
    times = timestamps_ns(df)
    if times is None:
        return []
    missing = times == NO_TIME
    known = np.flatnonzero(~missing)
    repeated, back = np.zeros(len(df), bool), np.zeros(len(df), bool)
    repeated[known] = pd.Series(times[known]).duplicated().to_numpy()
    back[known[1:]] = np.diff(times[known]) < 0
    name = ("timestamps",)
    return [
        _Found("missing timestamp", name, missing),
        _Found("duplicate timestamp", name, repeated),
        _Found("unsorted timestamp", name, back),
    ]


def timestamps_ns(df: pd.DataFrame) -> np.ndarray | None:
    """The `timestamps` column as int64 (n,) nanoseconds (UTC where the zone is known; missing: `NO_TIME`)."""
    if "timestamps" not in df.columns:
        return None
    times = parse_timestamps(df["timestamps"].reset_index(drop=True), "timestamps")
    return times.to_numpy("datetime64[ns]").astype("int64")
