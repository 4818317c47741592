"""Cleaning K-line tables: `clean` leaves rows out by a named policy and says what it left out.

Nothing is repaired silently: no value is ever changed, nor the input frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from kronos.errors import Argument, Message
from kronos.klines.columns import KlineError
from kronos.klines.night_labels import REASON, clock_shifts
from kronos.klines.splitting import (
    PAPER_RULES,
    all_segments,
    find_cuts,
    infer_frequency,
    long_enough,
    nearest_frequency,
)
from kronos.klines.timestamps import parse_timestamps
from kronos.klines.validation import (
    FIRST_ROWS,
    NO_TIME,
    column_values,
    say_rows,
    timestamps_ns,
    validate,
    value_faults,
)
from kronos.schema import PRICE_COLUMNS

Policy = Literal["drop", "split", "sort"]


@dataclass(frozen=True)
class CleanResult:
    """frames: the cleaned parts in time order (one, save for "split"), each with a fresh RangeIndex.

    report: what was done, for people; kept, dropped: rows, kept + dropped = rows given.
    """

    frames: list[pd.DataFrame]
    report: str
    kept: int
    dropped: int


def clean(
    df: pd.DataFrame,
    policy: Policy = "drop",
    *,
    frequency: str | None = None,
    min_length: int | None = None,
    row_numbers: np.ndarray | None = None,
) -> CleanResult:
    """One series with faulty rows left out; no value is ever changed, df included.

    Of times, only the days of night bars are, where they are labelled with their trading day (`night_labels`): sorted by such
    times, they would follow the bars that they came before. The report says so.

    "sort": sorted by time, exact duplicates left out; any other fault raises KlineError with its report.
    "drop": rows with a fault of level error left out, the rest sorted; of rows with one time the first in the file
        that has no other fault stays.
    "split": as "drop" for the time axis, then the paper's rule for `frequency` (default: from the median step);
        `min_length` replaces the rule's. There may be no frame left.
    """
    if policy not in ("drop", "split", "sort"):
        raise KlineError(f"unknown cleaning policy {policy!r}: use 'drop', 'split' or 'sort'")
    n = len(df)
    numbers = np.arange(1, n + 1) if row_numbers is None else np.asarray(row_numbers)
    df, relabelled = _on_the_clock(df)
    result = _clean(df, policy, n, numbers, frequency, min_length)
    return replace(result, report=result.report + relabelled)


def _on_the_clock(df: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table with night bars labelled by the clock, and what the report says of it."""
    if "timestamps" not in df.columns:
        return df, ""
    times = parse_timestamps(df["timestamps"].reset_index(drop=True), "timestamps")
    shifts = clock_shifts(times)
    if shifts is None:
        return df, ""
    moved = times + pd.to_timedelta(shifts, unit="D").as_unit(times.dt.unit)
    return df.assign(timestamps=moved.to_numpy() if times.dt.tz is None else moved.array), (
        f"; {REASON}: the days of {int((shifts != 0).sum())} of them were set back"
    )


def _clean(
    df: pd.DataFrame,
    policy: Policy,
    n: int,
    numbers: np.ndarray,
    frequency: str | None,
    min_length: int | None,
) -> CleanResult:
    times = timestamps_ns(df)
    if policy == "sort":
        return _sort(df, times, numbers)
    rows_of: dict[str, np.ndarray] = {f.kind: f.mask for f in value_faults(df) if f.level == "error" and f.mask.any()}
    faulty = np.logical_or.reduce(list(rows_of.values())) if rows_of else np.zeros(n, bool)
    order = np.arange(n)
    if times is not None:
        # sound rows first among equal times, so that "first" means the first sound one
        order = np.lexsort((faulty, times))
        unknown = times[order] == NO_TIME
        again = np.concatenate([[False], np.diff(times[order]) == 0]) & ~unknown if n else unknown
        rows_of |= {"missing timestamp": order[unknown], "duplicate timestamp": order[again]}
        order = order[~unknown & ~again]
    moved = ", sorted by time" if bool((np.diff(order) < 0).any()) else ""
    if policy == "split":
        return _split(df.iloc[order], None if times is None else times[order], n, frequency, min_length, moved)
    kept = order[~faulty[order]]
    what = [_left_out(kind, rows, numbers) for kind, rows in rows_of.items() if len(rows)]
    report = Message(Argument("clean", "drop"), f": kept {len(kept)} of {n} rows{moved}")
    report += f"; left out {', '.join(what)}" if what else ""
    if times is not None and len(kept) and len(order) and kept[-1] != order[-1]:
        lost = len(order) - 1 - int(np.flatnonzero(order == kept[-1])[0])
        last, newest = (pd.Timestamp(int(times[row])) for row in (kept[-1], order[-1]))
        report += f"; the newest {lost} of them, so that the series ends at {last} and no longer at {newest}"
    return CleanResult([df.iloc[kept].reset_index(drop=True)], report, len(kept), n - len(kept))


def _left_out(kind: str, rows: np.ndarray, numbers: np.ndarray) -> str:
    taken = np.sort(numbers[rows])
    return f"{len(taken)} {kind} ({say_rows(taken[:FIRST_ROWS].tolist(), len(taken))})"


def _sort(df: pd.DataFrame, times: np.ndarray | None, numbers: np.ndarray) -> CleanResult:
    if times is None:
        raise KlineError(Argument("clean", "sort"), " needs a timestamps column")
    order = np.argsort(times, kind="stable")
    ordered = df.iloc[order]
    twice = ordered.duplicated().to_numpy()
    frame, rows = ordered[~twice].reset_index(drop=True), numbers[order][~twice]
    validate(frame, min_rows=0, row_numbers=rows).raise_if_bad(Message("after ", Argument("clean", "sort")))
    moved = int((order != np.arange(len(order))).sum())
    report = Message(
        Argument("clean", "sort"),
        f": kept {len(frame)} of {len(df)} rows, {moved} moved, {twice.sum()} exact duplicates dropped",
    )
    return CleanResult([frame], report, len(frame), len(df) - len(frame))


def _split(
    df: pd.DataFrame, times: np.ndarray | None, n: int, frequency: str | None, min_length: int | None, moved: str
) -> CleanResult:
    if frequency is None and times is None:
        raise KlineError(
            Argument("clean", "split"), " needs timestamps or ", Argument("frequency", "5m"), " to choose the rule"
        )
    name = nearest_frequency(frequency) if frequency is not None else infer_frequency(np.asarray(times))
    rule = PAPER_RULES[name] if min_length is None else replace(PAPER_RULES[name], min_length=min_length)
    values = column_values(df)
    o, h, lo, c = (values[column] for column in PRICE_COLUMNS)
    cuts = find_cuts(times, o, h, lo, c, values.get("volume"), rule)
    # a faulty amount is no reason of the paper's, but a frame that is handed on must be valid
    amount = values.get("amount")
    if amount is not None and not np.isnan(amount).all():
        cuts = cuts._replace(bad=cuts.bad | ~np.isfinite(amount) | (amount < 0))
    starts, stops = all_segments(cuts)
    frames = [df.iloc[a:b].reset_index(drop=True) for a, b in long_enough(starts, stops, rule)]
    kept = sum(map(len, frames))
    counts = {
        "faulty": cuts.bad.sum(),
        "illiquid": cuts.illiquid.sum(),
        "stagnant": cuts.stagnant.sum(),
        "without or repeating a time": n - len(df),
        f"in segments under {rule.min_length}": int((stops - starts).sum()) - kept,
    }
    what = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    segments = f"{len(frames)} segment{'' if len(frames) == 1 else 's'}"
    report = Message(
        Argument("clean", "split"), f" by the paper's {name} rule: kept {kept} of {n} rows in {segments}{moved}"
    )
    report += f", {cuts.jump.sum()} jumps" + (f"; left out {what}" if what else "")
    return CleanResult(frames, report, kept, n - kept)
