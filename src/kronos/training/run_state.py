"""Saved state of a training run, from which it resumes with the same results as an uninterrupted run.

``state/`` of a run's folder holds, named by the step: the weights, the optimiser's moments, the averaged weights if there are any;
and ``state.json``, which is written last and names the complete step and the loop's progress. A kill at any moment leaves the
old state or the new one. Only safetensors and JSON are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from kronos.io.atomic import write_file
from kronos.training.distributed import World
from kronos.training.mixed_precision import Products

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Options that gather the shards of all processes on the first one; for unsharded networks they give plain tensors."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: steps done, the best validation figure and its step, the validations since, the type of products."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    precision: Products = "float32"


class TrainingState:
    """The saved state of a run in ``folder``."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = Path(folder) / "state", world
        if world.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
        world.wait()

    @property
    def progress(self) -> Progress:
        marker = self.folder / "state.json"
        return Progress(**json.loads(marker.read_text())) if marker.exists() else Progress()

    def save(
        self, progress: Progress, network: nn.Module, optimiser: torch.optim.Optimizer, averaged: nn.Module | None
    ) -> None:
        """Save the state. All processes call it; the first one writes.

        Raises:
            OSError: the files cannot be written; the message says which state is still complete.
        """
        parts = {"weights": whole_weights(network), "optimiser": _moments(network, optimiser)}
        if averaged is not None:
            parts["averaged"] = dict(averaged.state_dict())
        if not self.world.is_main_process:
            return
        try:
            for name, tensors in parts.items():
                content = save({key: value.cpu().contiguous() for key, value in tensors.items()}, {"format": "pt"})
                write_file(self.folder / f"{name}-{progress.step}.safetensors", content)
            old = self.progress
            write_file(self.folder / "state.json", json.dumps(asdict(progress)).encode())
        except OSError as error:
            kept = (
                f"the state of step {self.progress.step:,} is whole" if self.progress.step else "no state was saved yet"
            )
            raise OSError(
                error.errno, f"cannot save step {progress.step:,} in {self.folder}: {error.strerror}; {kept}"
            ) from error
        for file in self.folder.glob("*.safetensors"):
            saved = re.fullmatch(r"(?:weights|optimiser|averaged)-(\d+)", file.stem)
            if old.step != progress.step and saved and int(saved[1]) != progress.step:
                file.unlink()

    def restore(self, network: nn.Module, optimiser: torch.optim.Optimizer, averaged: nn.Module | None) -> Progress:
        """Restore the last saved state, if there is one. All processes call it."""
        progress = self.progress
        if not progress.step:
            return progress
        weights: dict[str, Any] = load_file(self._file("weights", progress.step))
        set_model_state_dict(network, weights, options=WHOLE)
        set_optimizer_state_dict(
            network, optimiser, _nested(load_file(self._file("optimiser", progress.step)), optimiser), options=WHOLE
        )
        if averaged is not None:
            averaged.load_state_dict(load_file(self._file("averaged", progress.step)))
        return progress

    def _file(self, name: str, step: int) -> Path:
        path = self.folder / f"{name}-{step}.safetensors"
        if not path.exists():
            raise ValueError(
                f"{path} is missing: the settings have changed since it was saved, or start in a new folder"
            )
        return path


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return all tensors of a network on the CPU. All processes call it for a sharded one; it is empty on all but the first."""
    weights: dict[str, Any] = get_model_state_dict(network, options=WHOLE)
    return weights


def _moments(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[str, dict[str, Tensor]] = get_optimizer_state_dict(network, optimiser, options=WHOLE).get("state", {})  # type: ignore[assignment]
    return {f"{name}|{key}": value for name, values in state.items() for key, value in values.items()}


def _nested(tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    state: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, key = name.split("|")
        state.setdefault(parameter, {})[key] = value
    return {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
