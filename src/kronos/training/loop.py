"""The training loop: one process, resumable, nothing lost on Ctrl-C.

A run is a folder: ``state/`` (weights, optimiser and step, each file whole or absent), ``log.jsonl`` (a line each report) and
``settings.json``. Batches depend on the step alone, so a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal, signal

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kronos.files import write_file
from kronos.nn.checkpoint import load_weights, write_weights

Metrics = dict[str, float]


@dataclass(frozen=True)
class LoopSettings:
    """How a network is trained.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: its peak, after ``warmup`` steps; then a cosine down to ``final`` times the peak.
        weight_decay: AdamW's, on matrices only.
        clip_norm: the gradient's largest global L2 norm.
        report_every, validate_every, save_every: in steps.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 100
    final: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    report_every: int = 50
    validate_every: int = 250
    save_every: int = 250

    def __post_init__(self) -> None:
        if min(self.steps, self.report_every, self.validate_every, self.save_every) < 1 or self.learning_rate <= 0:
            raise ValueError(f"steps, intervals and learning_rate must be positive, found {self}")

    def rate(self, step: int) -> float:
        """The learning rate of a step (0-based)."""
        if step < self.warmup:
            return self.learning_rate * (0.1 + 0.9 * (step + 1) / self.warmup)
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done)))


class Run:
    """The folder of a run: what is saved there and how it is found again."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.state = self.folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)

    def log(self, **values: float | str) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def save(self, step: int, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The weights and the optimiser of a step under its own names; then the name of the step; then the old files go."""
        write_weights(network, self.state / f"weights-{step}.safetensors")
        tensors = {
            f"{i}.{key}": value for i, state in optimiser.state_dict()["state"].items() for key, value in state.items()
        }
        write_file(self.state / f"optimiser-{step}.safetensors", save({k: v.contiguous() for k, v in tensors.items()}))
        write_file(self.state / "step", str(step).encode())
        for file in self.state.glob("*.safetensors"):
            if not file.stem.endswith(f"-{step}"):
                file.unlink()

    def restore(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Put the last saved state back; returns the number of steps already done."""
        marker = self.state / "step"
        if not marker.exists():
            return 0
        step = int(marker.read_text())
        load_weights(network, self.state / f"weights-{step}.safetensors")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_file(self.state / f"optimiser-{step}.safetensors").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return step


def adamw(network: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices only, not on biases, norms and embeddings' one-dimensional kin."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a request that the loop answers between two steps."""
    asked: list[int] = []
    old = {number: getsignal(number) for number in (SIGINT, SIGTERM)}
    for number in old:
        signal(number, lambda n, _: asked.append(n))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal(number, handler)


def train(
    network: nn.Module,
    loss_of: Callable[[int], tuple[Tensor, Metrics]],
    validate: Callable[[], Metrics],
    settings: LoopSettings,
    folder: Path,
    say: Callable[[str], None] = print,
) -> bool:
    """Train until ``settings.steps``, going on from what the folder holds.

    Args:
        loss_of: the loss of a step's batch (a scalar with a gradient) and figures to report.
        validate: figures on the same held-out batches every time.

    Returns:
        True when the run is complete, False when it was stopped and saved.
    """
    run, optimiser = Run(folder), adamw(network, settings)
    write_file(run.folder / "settings.json", (json.dumps(asdict(settings), indent=2) + "\n").encode())
    step = run.restore(network, optimiser)
    if step:
        say(f"resumed at step {step:,} of {settings.steps:,}")
    since, clock = step, time.perf_counter()
    with stop_requested() as stop:
        while step < settings.steps and not stop():
            for group in optimiser.param_groups:
                group["lr"] = settings.rate(step)
            network.train()
            loss, figures = loss_of(step)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"the gradient is not finite at step {step}; lower the learning rate (last save kept)"
                )
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            if step % settings.report_every == 0:
                pace = (time.perf_counter() - clock) / (step - since)
                left = pace * (settings.steps - step) / 60
                since, clock = step, time.perf_counter()
                run.log(step=step, loss=loss.item(), norm=norm.item(), seconds_per_step=pace, **figures)
                parts = " ".join(f"{k} {v:.4f}" for k, v in figures.items())
                say(
                    f"step {step:,}/{settings.steps:,} loss {loss.item():.4f} {parts} ({pace:.2f} s/step, {left:.0f} min left)"
                )
            if step % settings.validate_every == 0 or step == settings.steps:
                network.eval()
                held_out = validate()
                run.log(step=step, kind="validation", **held_out)
                say("  held out: " + " ".join(f"{k} {v:.4f}" for k, v in held_out.items()))
            if step % settings.save_every == 0 or step == settings.steps:
                run.save(step, network, optimiser)
        if step < settings.steps:
            run.save(step, network, optimiser)
            say(f"stopped and saved at step {step:,}; run the same command again to go on")
    return step >= settings.steps
