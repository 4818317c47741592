"""Training loop of both networks, in one process or several; it can be resumed after Ctrl-C or a kill.

A run is a folder: ``state/`` (see `run_state`), ``log.jsonl`` and ``log.csv`` (see `trackers`), ``settings.json``, and
``checkpoints/best_model`` in the Hub's format. A batch depends on the step alone, and so do the draws inside the network, so that a
resumed run repeats what an uninterrupted one would have done.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal, signal
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kronos.io.run_folder import RunFolder
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.distributed import World
from kronos.training.mixed_precision import (
    TRAINING_PRECISIONS,
    Products,
    TrainingPrecision,
    choose_precision,
    measure_products,
)
from kronos.training.run_state import TrainingState, whole_weights
from kronos.training.schedule import SCHEDULES, Schedule, learning_rate
from kronos.training.trackers import Tracker, open_trackers
from kronos.training.tuning import layer_rates

RATE = "rate"
"""Key of a parameter group: its learning rate over the schedule's."""
FREE = ("report_every", "save_every", "precision", "compiled")
"""Settings that may change when a run goes on."""
FILES = (
    *(
        "recipe.json",
        "data.json",
        "advice.json",
        "summary.json",
        "log.jsonl",
        "log.csv",
        "curves.png",
        "*.log",
        "*.out",
    ),
    *("state/", "checkpoints/", "tensorboard/", "wandb/"),
)
"""Files of a run, of its trackers and of the shell that started it; they are never deleted."""

Metrics = dict[str, float]
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the training loop.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: its peak; ``schedule``, ``warmup`` (steps) and ``final`` (share of the peak): see `schedule`.
        weight_decay: AdamW's, on matrices only.
        clip_norm: the gradient's largest global L2 norm.
        accumulation: parts that a process's share of a step's batch is computed in.
        precision: "bfloat16" computes products in it (autocast); weights and moments stay float32. "auto" takes it where a product
            measured at the start is faster in it; a run that goes on keeps the type it began with.
        compiled: torch.compile the forward and backward pass.
        ema: decay of an exponential average of the weights, which is then what is validated and kept; 0 is off.
        patience: validations without a better figure after which the run ends; 0 is off.
        report_every, validate_every, save_every: in steps.
        sharded: split weights and moments over the processes (FSDP) instead of copying them.
        seed: of dropout.
        layer_decay: rate of each block over that of the block after it (see `tuning.layer_rates`); None is 1.
    """

    steps: int
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    warmup: int = 100
    final: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    accumulation: int = 1
    precision: TrainingPrecision = "auto"
    compiled: bool = False
    ema: float = 0.0
    patience: int = 0
    report_every: int = 50
    validate_every: int = 250
    save_every: int = 250
    sharded: bool = False
    seed: int = 0
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        positive = (
            "steps",
            "learning_rate",
            "clip_norm",
            "accumulation",
            "report_every",
            "validate_every",
            "save_every",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, found {self.schedule!r}")
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(TRAINING_PRECISIONS)}, found {self.precision!r}")
        if not 0 <= self.ema < 1 or self.patience < 0 or self.warmup < 0:
            raise ValueError(f"ema must lie in [0, 1), patience and warmup be at least 0, found {self}")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], found {self.layer_decay!r}")
        if self.ema and self.sharded:
            raise ValueError("ema needs whole weights on every process: leave out ema or sharded")

    def rate(self, step: int) -> float:
        """The learning rate of a step (0-based)."""
        return learning_rate(self.schedule, step, self.steps, self.learning_rate, self.warmup, self.final)


@dataclass
class TrainingTask:
    """Network to train, with its objective and data.

    Attributes:
        network: the network that is trained and saved.
        objective: a module around it, from the tensors of a batch to the loss and figures to report.
        batch: (step, part, parts) -> that part of the step's batch. All parts have one size, and together they are the same
            bars however many there are.
        held_out: batches to validate on, the same every time.
        save_best: writes the network to a folder.
        watch: the validation figure to minimise.
        more: function that gives further figures of the validation, on the first process.
        start_counts: the weights that training starts from are validated, and kept where no later ones are better.
    """

    network: nn.Module
    objective: nn.Module
    batch: Callable[[int, int, int], Tensors]
    held_out: Sequence[Tensors]
    save_best: Callable[[Any, Path], Any]
    watch: str = "loss"
    more: Callable[[nn.Module], Metrics] | None = None
    best_folder: Path = field(default=Path("checkpoints") / "best_model")
    start_counts: bool = False


def adamw(network: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    """Make AdamW with weight decay on the matrices only, not on one-dimensional parameters such as biases and norms.

    Raises:
        ValueError: every weight is frozen.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("nothing to train: every weight is frozen")
    rates = layer_rates(network, settings.layer_decay or 1.0)
    groups: list[dict[str, Any]] = []
    for rate in sorted(set(rates.values())):
        of_rate = [p for name, p in network.named_parameters() if p.requires_grad and rates[name] == rate]
        for params, decay in (
            ([p for p in of_rate if p.ndim >= 2], settings.weight_decay),
            ([p for p in of_rate if p.ndim < 2], 0.0),
        ):
            if params:
                groups.append({"params": params, "weight_decay": decay, RATE: rate})
    fused = trained[0].device.type in ("cpu", "cuda") and not settings.sharded
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a request to stop, which the loop checks between two steps."""
    asked: list[int] = []
    old = {number: getsignal(number) for number in (SIGINT, SIGTERM)}
    for number in old:
        signal(number, lambda n, _: asked.append(n))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal(number, handler)


class Trainer:
    """Training of a task in this process, which may be one of several."""

    def __init__(self, task: TrainingTask, settings: LoopSettings, folder: Path, world: World) -> None:
        self.task, self.settings, self.folder, self.world = task, settings, Path(folder), world
        task.objective.to(world.device)
        if settings.sharded:
            _shard(task.network)
        self.optimiser = adamw(task.network, settings)
        self.averaged = None
        if settings.ema:
            self.averaged = AveragedModel(task.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        self.state = TrainingState(self.folder, world)
        self.progress = self.state.restore(task.network, self.optimiser, self.averaged)
        self.precision, self.reason = self._products()
        self.progress = replace(self.progress, precision=self.precision)
        if settings.compiled:
            # Inductor's own random numbers are slow on a CPU, and not those that the same seed gives uncompiled.
            task.objective.compile(options={"fallback_random": True} if world.device.type == "cpu" else None)
        self.objective: nn.Module = task.objective
        if world.size > 1 and not settings.sharded:
            self.objective = DistributedDataParallel(task.objective)

    def step(self, step: int) -> tuple[float, Metrics]:
        """Take one optimiser step; return the loss of this process's part of the batch, and figures with the gradient's norm.

        Raises:
            FloatingPointError: the gradient is not finite.
        """
        settings, world = self.settings, self.world
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate(step) * group[RATE]
        self.objective.train()
        parts, total = settings.accumulation, 0.0
        sums: Metrics = {}
        for i in range(parts):
            part = world.rank * parts + i
            # Dropout draws what the step and the part say, so that a resumed run draws the same.
            torch.manual_seed(hash((settings.seed, step, part)) % 2**63)
            batch = self._on_device(self.task.batch(step, part, world.size * parts))
            later = isinstance(self.objective, DistributedDataParallel) and i < parts - 1
            with self.objective.no_sync() if later else nullcontext():  # type: ignore[operator]
                with self._autocast():
                    loss, figures = self.objective(*batch)
                (loss / parts).backward()
            total += loss.item() / parts
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value.item() / parts
        norm = float(nn.utils.clip_grad_norm_(self.task.network.parameters(), settings.clip_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {step:,}: lower the learning rate "
                f"({settings.learning_rate:g}); the last save is kept"
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update_parameters(self.task.network)
        return total, sums | {"norm": norm, "learning_rate": settings.rate(step)}

    @torch.no_grad()
    def validate(self) -> Metrics:
        """Compute figures on the held-out batches, a share on each process; the result is the same on all."""
        objective, averaged = self.task.objective, self.averaged
        objective.eval()
        with _weights_of(self.task.network, averaged):
            sums: Metrics = {}
            weight = 0.0
            for batch in self.task.held_out[self.world.rank :: self.world.size]:
                with self._autocast():
                    loss, figures = objective(*self._on_device(batch))
                windows = len(batch[0])
                weight += windows
                for name, value in {"loss": loss, **figures}.items():
                    sums[name] = sums.get(name, 0.0) + value.item() * windows
            names = sums or dict.fromkeys(("loss", *self._figure_names()), 0.0)
            result = self.world.mean({k: v / max(weight, 1) for k, v in names.items()}, weight)
            if self.task.more is not None and self.world.is_main_process:
                result |= self.task.more(self.task.network)
        # All processes judge by the first one's figure.
        own = {self.task.watch: result.get(self.task.watch, 0.0)}
        return result | self.world.mean(own, float(self.world.is_main_process))

    def _figure_names(self) -> list[str]:
        """Return the names of the validation figures, for a process that has no batch of its own to validate on."""
        with self._autocast():
            return list(self.task.objective(*self._on_device(self.task.held_out[0]))[1])

    def keep_best(self, step: int, figures: Metrics) -> None:
        """Save the network if it is the best so far, and update the progress of the run."""
        value, before = figures[self.task.watch], self.progress
        if math.isfinite(value) and (before.best is None or value < before.best):
            self.progress = replace(before, best=value, best_step=step, stale=0)
            with _weights_of(self.task.network, self.averaged):
                network = _gathered(self.task.network) if self.settings.sharded else self.task.network
                if self.world.is_main_process:
                    self.task.save_best(network, self.folder / self.task.best_folder)
        else:
            self.progress = replace(before, stale=before.stale + 1)

    def save(self, step: int) -> None:
        self.progress = replace(self.progress, step=step)
        self.state.save(self.progress, self.task.network, self.optimiser, self.averaged)

    def _products(self) -> tuple[Products, str]:
        """The type of this run's products, the same in all processes, and the line that says why."""
        asked = self.settings.precision
        if asked == "float32":
            return asked, ""
        if asked == "auto" and self.progress.step:
            return self.progress.precision, f"precision: {self.progress.precision}, as this run began"
        chosen, reason = choose_precision(asked, measure_products(self.task.network, self.world.device))
        if asked == "auto" and self.world.any(chosen == "float32") and chosen == "bfloat16":
            return "float32", "precision: float32, since bfloat16 is not faster in every process"
        return chosen, reason

    def _autocast(self) -> Any:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _on_device(self, batch: Tensors) -> Tensors:
        return tuple(tensor.to(self.world.device, non_blocking=True) for tensor in batch)


@contextmanager
def _weights_of(network: nn.Module, averaged: nn.Module | None) -> Iterator[None]:
    """Use the averaged weights in place of the network's own inside the block."""
    if averaged is None:
        yield
        return
    own = [p.detach().clone() for p in network.parameters()]
    with torch.no_grad():
        try:
            for p, mean in zip(network.parameters(), averaged.module.parameters(), strict=True):  # type: ignore[union-attr]
                p.copy_(mean)
            yield
        finally:
            for p, value in zip(network.parameters(), own, strict=True):
                p.copy_(value)


def _shard(network: nn.Module) -> None:
    """Split the weights over all processes, block by block (FSDP)."""
    from torch.distributed.fsdp import fully_shard

    # What leaves the network are views of linear layers, which nothing here writes into.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    for blocks in (m for m in network.modules() if isinstance(m, nn.ModuleList)):
        for block in blocks:
            fully_shard(block)
    fully_shard(network)


def _gathered(network: nn.Module) -> nn.Module:
    """Gather a sharded network on the first process; called by all."""
    weights = whole_weights(network)
    kind = Kronos if isinstance(network, Kronos) else KronosTokenizer
    plain = kind(**network.config.to_dict())  # type: ignore[union-attr,operator]
    if weights:
        plain.load_state_dict(weights)
    return plain.eval()


def train(
    task: TrainingTask,
    settings: LoopSettings,
    folder: Path,
    world: World,
    trackers: Sequence[str] = (),
    tracker_settings: dict[str, Any] | None = None,
    echo: Callable[[str], None] = print,
    describing: Mapping[str, bytes] | None = None,
) -> bool:
    """Train until ``settings.steps``, from the state in the folder if there is one.

    Args:
        folder: of the run.
        trackers, tracker_settings: see `trackers.open_trackers`.
        echo: called with each line of the log, on the first process.
        describing: content of further files by name, which describe network and data; written once the folder is checked.

    Returns:
        True when the run is complete (all steps, or no better figure within the patience), False when it was stopped and saved.

    Raises:
        ValueError: there is nothing to validate on, or the folder holds other files or a run with other settings.
        FloatingPointError: the gradient is not finite.
        OSError: the state cannot be saved; what was saved before is kept.
    """
    if not len(task.held_out):
        raise ValueError("the validation part is empty: without it no step could be told the best; give more bars")
    trainer = Trainer(task, settings, folder, world)
    step = trainer.progress.step
    speak = echo if world.is_main_process else _silent
    logs: list[Tracker] = []
    if world.is_main_process:
        run = _open_folder(Path(folder), settings, step)
        for name, content in (describing or {}).items():
            run.write(name, content)
        logs = open_trackers(trackers, Path(folder), tracker_settings, step)
    if step:
        speak(f"resumed at step {step:,} of {settings.steps:,}")
    if trainer.reason:
        speak(trainer.reason)
    try:
        with stop_requested() as asked:
            step, stopped = _run(trainer, step, logs, asked, speak)
            if stopped:
                trainer.save(step)
                speak(f"stopped and saved at step {step:,}; run the same command again to go on")
    finally:
        for log in logs:
            log.close()
    world.wait()
    return not stopped


def _run(
    trainer: Trainer, step: int, logs: Sequence[Tracker], asked: Callable[[], bool], speak: Callable[[str], None]
) -> tuple[int, bool]:
    """Step until the last step, the end of the patience, or a request to stop; return (steps done, whether stopped)."""
    settings, world = trainer.settings, trainer.world
    if step == 0 and trainer.task.start_counts:
        _validate(trainer, 0, logs, speak)
        trainer.progress = replace(trainer.progress, stale=0)
    since, clock = step, time.perf_counter()
    while step < settings.steps and not (settings.patience and trainer.progress.stale >= settings.patience):
        if world.any(asked()):
            return step, True
        loss, figures = trainer.step(step)
        step += 1
        if step % settings.report_every == 0 or step == settings.steps:
            shown = world.mean({"loss": loss, **figures})
            pace = (time.perf_counter() - clock) / (step - since)
            since, clock = step, time.perf_counter()
            for log in logs:
                log.log(step, "train", shown | {"seconds_per_step": pace})
            parts = " ".join(f"{k} {v:.4g}" for k, v in shown.items())
            speak(
                f"step {step:,}/{settings.steps:,} {parts} ({pace:.2f} s/step, {_left(pace, settings.steps - step)} left)"
            )
        if step % settings.validate_every == 0 or step == settings.steps:
            _validate(trainer, step, logs, speak)
            clock = time.perf_counter()
        if step % settings.save_every == 0 or step == settings.steps:
            trainer.save(step)
    if step < settings.steps:
        trainer.save(step)
        speak(f"ended at step {step:,}: no better figure in {settings.patience} validations")
    return step, False


def _validate(trainer: Trainer, step: int, logs: Sequence[Tracker], speak: Callable[[str], None]) -> None:
    """Validate the weights after ``step`` steps, write the figures down, and keep the weights if they are the best so far."""
    held_out = trainer.validate()
    trainer.keep_best(step, held_out)
    for log in logs:
        log.log(step, "validation", held_out)
    best = " (best)" if trainer.progress.best_step == step else ""
    # Figures of groups have names of several words; they are in the log.
    shown = {k: v for k, v in held_out.items() if " " not in k}
    when = "" if step else ", before training"
    speak(f"  held out{when}: " + " ".join(f"{k} {v:.4f}" for k, v in shown.items()) + best)


def _left(pace: float, steps: int) -> str:
    seconds = pace * steps
    return f"{seconds / 3600:.1f} h" if seconds > 7200 else f"{seconds / 60:.0f} min"


def _silent(text: str) -> None:
    """Print nothing, on processes other than the first."""


def _open_folder(folder: Path, settings: LoopSettings, step: int) -> RunFolder:
    """Open the folder of a run that has done ``step`` steps; a run without a saved state may begin with other settings."""
    remedy = "use its settings, or a new folder"
    return RunFolder(folder, asdict(settings), overwrite=not step, shared=FILES, free=FREE, remedy=remedy)
