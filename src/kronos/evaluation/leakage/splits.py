"""Split checks: that the windows of training, validation and test do not overlap.

A window extends from the first bar of its lookback to the last bar of its horizon.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kronos.evaluation.leakage.findings import Finding

COLUMNS = ("id", "first", "last")


def windows_table(ids: object, first: object, last: object) -> pd.DataFrame:
    """Make a table of windows: series, time of the first bar of the lookback, time of the last bar of the horizon."""
    table = pd.DataFrame({"id": ids, "first": first, "last": last})
    table["first"], table["last"] = (_naive(table[c]) for c in ("first", "last"))
    return table


def _naive(times: pd.Series) -> pd.Series:
    found = pd.to_datetime(times)
    return (found.dt.tz_convert("UTC").dt.tz_localize(None) if found.dt.tz is not None else found).astype(
        "datetime64[ns]"
    )


def check_splits(splits: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """Check the windows of "train", "valid" (optional) and "test", tables with the columns id, first and last.

    Raises:
        ValueError: a split is missing, empty or lacks a column.
    """
    for name in ("train", "test"):
        if name not in splits:
            raise ValueError(f"the split {name!r} is needed, found {', '.join(splits) or 'none'}")
    tables = {}
    for name, table in splits.items():
        missing = [c for c in COLUMNS if c not in table.columns]
        if missing or not len(table):
            raise ValueError(
                f"the split {name!r} " + (f"lacks the columns {', '.join(missing)}" if missing else "is empty")
            )
        tables[name] = windows_table(
            table["id"].astype("str").to_numpy(), table["first"].to_numpy(), table["last"].to_numpy()
        )
    order = [name for name in ("train", "valid", "test") if name in tables]
    findings = []
    for earlier, later in zip(order, order[1:], strict=False):
        findings += _pair(earlier, tables[earlier], later, tables[later])
    if len(order) == 3:
        findings += _pair("train", tables["train"], "test", tables["test"])
    return findings


def _pair(a: str, train: pd.DataFrame, b: str, test: pd.DataFrame) -> list[Finding]:
    """Check one earlier and one later split."""
    name = f"{a} and {b}"
    shared = _shared_bars(train, test)
    if shared:
        both, of = shared
        text = f"{both:,} of {of:,} {b} windows share bars with {a} windows of the same series"
        if _interleaved(train, test):
            return [
                Finding(
                    name,
                    "leak",
                    f"{text}, and they lie between each other in time: the split was shuffled; split by time",
                )
            ]
        return [
            Finding(
                name, "leak", f"{text} (lookback included): symbols of {b} are in {a} with the same dates; leave a gap"
            )
        ]
    starts, ends = test["first"].min(), train["last"].max()
    if _interleaved(train, test):
        return [
            Finding(
                name,
                "leak",
                f"{a} and {b} windows of the same series alternate in time: the split was shuffled; split by time",
            )
        ]
    if ends >= starts:
        same = sorted(set(train["id"]) & set(test["id"]))
        late = int((train["last"] >= starts).sum())
        if same and test["last"].max() <= train["first"].min():
            return [Finding(name, "leak", f"{b} lies before {a}: what came later was known when the model was made")]
        return [
            Finding(
                name,
                "warning",
                f"{late:,} {a} windows of other series reach to {ends:%Y-%m-%d %H:%M}, past the start of {b} at "
                f"{starts:%Y-%m-%d %H:%M}: "
                "markets move together, so dates seen in one symbol are half seen in another",
            )
        ]
    return [
        Finding(
            name,
            "ok",
            f"{b} begins at {starts:%Y-%m-%d %H:%M}, lookback included, after {a} ends at {ends:%Y-%m-%d %H:%M}",
        )
    ]


def _shared_bars(train: pd.DataFrame, test: pd.DataFrame) -> tuple[int, int] | None:
    """Return (test windows that overlap a training window of their series, test windows), or None if none does."""
    hit = 0
    by_id = dict(iter(train.groupby("id")))
    for key, windows in test.groupby("id"):
        known = by_id.get(key)
        if known is None:
            continue
        first = np.sort(known["first"].to_numpy())
        by_first = known.sort_values("first")
        reach = np.maximum.accumulate(by_first["last"].to_numpy())
        # of the training windows that begin no later than a test window ends, does one end no earlier than it begins?
        at = np.searchsorted(first, windows["last"].to_numpy(), side="right") - 1
        hit += int(((at >= 0) & (reach[np.maximum(at, 0)] >= windows["first"].to_numpy())).sum())
    return (hit, len(test)) if hit else None


def _interleaved(train: pd.DataFrame, test: pd.DataFrame) -> bool:
    """Whether most test windows of a shared series have training windows of it both before and after them."""
    between, shared = 0, 0
    spans = train.groupby("id")["first"].agg(["min", "max"])
    for key, windows in test.groupby("id"):
        if key in spans.index:
            low, high = spans.loc[key]
            between += int(((windows["first"] > low) & (windows["first"] < high)).sum())
            shared += len(windows)
    return shared > 0 and between > 0.5 * shared
