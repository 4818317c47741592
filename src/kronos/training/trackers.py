"""Loggers of a run's figures: always ``log.jsonl`` and ``log.csv`` in its folder, and the trackers given by name.

A tracker's package is imported only when it is used.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kronos.io.atomic import write_file

LOG, TABLE = "log.jsonl", "log.csv"


class Tracker(Protocol):
    """Protocol of a logger of figures; ``kind`` is "train" or "validation"."""

    def log(self, step: int, kind: str, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class FileLog:
    """Log of one line of JSON for each report; lines after the step resumed from are removed, since those steps run again."""

    def __init__(self, folder: Path, resumed_at: int = 0) -> None:
        self.path = folder / LOG
        rows = [row for row in read_log(folder) if row["step"] <= resumed_at]
        write_file(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self.file = self.path.open("a")

    def log(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        self.file.write(json.dumps({"step": step, "kind": kind, **figures}) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()
        rows = read_log(self.path.parent)
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_file(self.path.with_name(TABLE), text.getvalue().encode())


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log; a last line that was cut off by a kill is left out."""
    path = folder / LOG
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class TensorBoard:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self.writer.close()


class Comet:
    """Logger to Comet. ``settings``: api_key, project_name, workspace, tag and name, as in the fine-tuning settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import comet_ml

        known = {k: settings[k] for k in ("api_key", "project_name", "workspace") if settings.get(k)}
        self.experiment = comet_ml.Experiment(**known)
        if settings.get("tag"):
            self.experiment.add_tag(settings["tag"])
        if settings.get("name"):
            self.experiment.set_name(settings["name"])

    def log(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        self.experiment.log_metrics({f"{kind}_{name}": value for name, value in figures.items()}, step=step)

    def close(self) -> None:
        self.experiment.end()


class WeightsAndBiases:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        self.run = wandb.init(
            dir=str(folder), project=settings.get("project_name") or "kronos", name=settings.get("name"), resume="allow"
        )

    def log(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        self.run.log({f"{kind}/{name}": value for name, value in figures.items()}, step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[str, tuple[type, str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "comet": (Comet, "comet-ml"),
    "wandb": (WeightsAndBiases, "wandb"),
}


def open_trackers(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any] | None = None, resumed_at: int = 0
) -> list[Tracker]:
    """Open the file log and the named trackers.

    Raises:
        ValueError: an unknown name, or a tracker whose package is not installed (with the command that installs it).
    """
    chosen: list[Tracker] = []
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"unknown tracker {name!r}: use {', '.join(TRACKERS)}")
        make, package = TRACKERS[name]
        try:
            chosen.append(make(folder, settings or {}))
        except ImportError as error:
            raise ValueError(f"the tracker {name!r} needs a package: pip install {package}") from error
    return [FileLog(folder, resumed_at), *chosen]
