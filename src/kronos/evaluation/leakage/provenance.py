"""Provenance checks: the training and tuning dates of a checkpoint against the dates of the test.

A pair's folder may hold ``provenance.json``, written by whoever trained it:

    {"training": {"first": "2010-01-04", "last": "2024-06-30", "store": "sha256 of the training store"},
     "tuning": {"settings": ["temperature", "top_p"], "first": "2024-01-01", "last": "2024-06-30"}}

``tuning`` says on which bars the recommended settings were chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.evaluation.leakage.findings import Finding

if TYPE_CHECKING:
    from kronos.calibration import Calibration

PROVENANCE = "provenance.json"
PUBLISHED_UNTIL = pd.Timestamp("2024-06-30 23:59:59")
"""The published checkpoints were trained on bars through June 2024 (paper, "Pre-training data")."""


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """Read ``provenance.json`` of a pair's folder; None where there is none.

    Raises:
        ValueError: it cannot be read, or has an invalid date.
    """
    from kronos.nn.checkpoint import read_config

    path = folder / PROVENANCE
    if not path.is_file():
        return None
    found = read_config(path)
    for part in ("training", "tuning"):
        span = found.get(part, {})
        if not isinstance(span, dict):
            raise ValueError(f"{path}: {part} must be an object with first and last, found {span!r}")
        for end in ("first", "last"):
            if end in span:
                try:
                    span[end] = pd.Timestamp(span[end])
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path}: {part}.{end} is no date: {span[end]!r}") from error
    return found


def check_provenance(model: str, first: pd.Timestamp, last: pd.Timestamp, store: str | None = None) -> list[Finding]:
    """Compare the training and tuning spans of a model with a test from ``first`` (lookback included) to ``last``.

    ``store``: hash of the data that the test comes from, where it has one.
    """
    from kronos.hub.registry import entry_of

    entry = entry_of(model)
    folder = entry.folder if entry is not None and entry.folder is not None else Path(model)
    if entry is not None and entry.folder is None:
        return [
            _cut_off("training data", first, PUBLISHED_UNTIL, f"{entry.name} was trained on bars through June 2024")
        ]
    found = read_provenance(folder)
    if found is None:
        text = f"{folder} has no {PROVENANCE}: when it was trained, and on what its settings were tuned, cannot be told"
        return [Finding("training data", "unknown", text), Finding("tuned settings", "unknown", text)]
    return [_training(found, first, store), _tuning(found, first, last)]


def check_calibration(calibration: Calibration, first: pd.Timestamp, last: pd.Timestamp) -> Finding:
    """Compare the span that a calibration was fitted on with a test from ``first`` (lookback included) to ``last``."""
    check, told = "calibration", calibration.fitted_on
    try:
        begin, end = pd.Timestamp(told["first"]), pd.Timestamp(told["last"])
    except (KeyError, TypeError, ValueError):
        return Finding(check, "unknown", "the calibration does not say on which bars it was fitted")
    if begin <= last and end >= first:
        return Finding(
            check, "leak", f"it was fitted on bars from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, which overlap the test "
            f"({first:%Y-%m-%d} to {last:%Y-%m-%d}): fit it on earlier ones",
        )  # fmt: skip
    return Finding(check, "ok", f"it was fitted on bars until {end:%Y-%m-%d}, outside the test")


def _cut_off(check: str, first: pd.Timestamp, until: pd.Timestamp, said: str) -> Finding:
    if first <= until:
        return Finding(
            check,
            "warning",
            f"{said}, and the test begins at {first:%Y-%m-%d}: it may have seen these bars; test on later ones",
        )
    return Finding(check, "ok", f"{said}; the test begins at {first:%Y-%m-%d}, lookback included")


def _training(found: dict[str, Any], first: pd.Timestamp, store: str | None) -> Finding:
    training = found.get("training", {})
    if store is not None and training.get("store") == store:
        return Finding("training data", "leak", f"the model was trained on this very data (store {store[:12]})")
    if "last" not in training:
        return Finding("training data", "unknown", f"its {PROVENANCE} does not say where its training data ends")
    return _cut_off("training data", first, training["last"], f"its training data ends at {training['last']:%Y-%m-%d}")


def _tuning(found: dict[str, Any], first: pd.Timestamp, last: pd.Timestamp) -> Finding:
    tuning = found.get("tuning")
    if not tuning:
        return Finding("tuned settings", "unknown", f"its {PROVENANCE} does not say on what its settings were tuned")
    if "first" not in tuning or "last" not in tuning:
        return Finding("tuned settings", "unknown", f"its {PROVENANCE} gives no span for tuning")
    names = ", ".join(map(str, tuning.get("settings", []))) or "its settings"
    if tuning["last"] >= first and tuning["first"] <= last:
        return Finding(
            "tuned settings", "leak",
            f"{names} were chosen on bars from {tuning['first']:%Y-%m-%d} to {tuning['last']:%Y-%m-%d}, which overlap the test "
            f"({first:%Y-%m-%d} to {last:%Y-%m-%d}): its score there is the best of many",
        )  # fmt: skip
    return Finding(
        "tuned settings", "ok", f"{names} were chosen on bars until {tuning['last']:%Y-%m-%d}, outside the test"
    )
