"""How long a fine-tuning run will take: a few steps, validations and forecasts are timed before it starts."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from kronos.finetune.comparison import MOST, MOST_TOKENS, Pair, closes_of, draw_sample, token_loss
from kronos.finetune.config import FinetuneConfig
from kronos.finetune.datasets import open_parts
from kronos.finetune.stages import (
    SUMMARY,
    Stage,
    StageWork,
    loop_settings,
    predictor_work,
    run_folder,
    tokenizer_work,
    training_task,
)
from kronos.loading import load_model, load_tokenizer
from kronos.training.bar_store import Store
from kronos.training.distributed import World
from kronos.training.trainer import Trainer
from kronos.training.windows import Windows

SECONDS = 2.0
"""Time after which no further step is timed."""
STEPS = 4
"""Steps that are timed at most, after one that prepares kernels and memory."""
VALIDATED = 4
"""Batches whose validation is timed, after one that prepares kernels and memory."""
FORECASTS = (24, 300)
"""Windows whose forecasts are timed: a few, then enough to fill a batch of a run (unless those would take longer than
`FORECAST_SECONDS`): a window of a full batch takes up to 1.4 times as long (nano, 2 cores)."""
FORECAST_SECONDS = 10.0
TOKENS = (50, 200)
"""Windows whose token loss is timed, the first ones to prepare kernels and memory."""


class Estimate(NamedTuple):
    """Seconds that are left of each part of a run; 0 of what is done."""

    tokenizer: float
    model: float
    comparison: float

    @property
    def seconds(self) -> float:
        return sum(self)

    def parts(self) -> str:
        """The parts that take time, in words."""
        return ", ".join(f"{name} {in_words(value)}" for name, value in self._asdict().items() if value)

    def sentence(self, device: torch.device) -> str:
        """The estimate in words."""
        threads = torch.get_num_threads()
        where = f"{device} with {threads} thread{'s' * (threads != 1)}" if device.type == "cpu" else str(device)
        return (
            f"estimate: {in_words(self.seconds)} ({self.parts()}), from steps measured on {where}; Ctrl-C saves, and "
            "the same command goes on"
        )


class Pace(NamedTuple):
    """Seconds of one step on windows that come for the first time and on windows that came before, and of a window's validation
    and preparation."""

    step: float
    again: float
    validated: float
    prepared: float


def in_words(seconds: float) -> str:
    """90 -> "90 s", 200 -> "3.3 min", 1200 -> "20 min", 9000 -> "2.5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 600:
        return f"{round(seconds / 60, 1):g} min"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def estimate(config: FinetuneConfig, world: World) -> Estimate | None:
    """Seconds that the rest of a run takes, if the machine stays as busy as it is now. Nothing of the run is changed.

    All processes call it, so that each is timed while the others work; what they send each other is not in it.

    Returns:
        None where no training is left to do, or weights are split over processes (``sharded``): one alone might not hold them.
    """
    left = {stage: _epochs_left(config, stage) for stage in ("tokenizer", "predictor")}
    if config.sharded or not left["predictor"]:
        return None
    parts = open_parts(config.dataset_path, world)  # made by the first process, before each opens them
    alone = World(0, 1, world.device)
    few = config.replace(compile=False, n_val_iter=(1 + VALIDATED) * config.batch_size)
    tokenizer = 0.0
    if config.tune_tokenizer and left["tokenizer"]:
        work = tokenizer_work(few, alone)
        tokenizer = _stage_seconds(config, work, left["tokenizer"], world, _pace(few, work, alone))
    # The tokenizer as it was takes the time that the tuned one will take.
    work = predictor_work(few, alone, config.pretrained_tokenizer_path)
    pace = _pace(few, work, alone)
    pair = Pair("", load_tokenizer(config.pretrained_tokenizer_path), load_model(config.pretrained_predictor_path))
    pair.tokenizer.to(world.device), pair.model.to(world.device)
    a_forecast = _forecast_seconds(config, pair, parts["val"])
    model = _stage_seconds(config, work, left["predictor"], world, pace)
    if work.more is not None:
        windows = min(config.select_windows, len(work.feed.held))
        model += _validations(config, left["predictor"]) * windows * a_forecast
    a_loss = _token_loss_seconds(config, pair, parts["val"], world.device)
    return Estimate(tokenizer, model, _comparison_seconds(config, parts, a_forecast, a_loss))


def _validations(config: FinetuneConfig, epochs: float) -> float:
    """One after each epoch that is left, and one before the first."""
    return epochs + (epochs == config.epochs)


def _epochs_left(config: FinetuneConfig, stage: Stage) -> float:
    """Epochs of a stage that are not done, with their share of one that was begun."""
    folder = run_folder(config, stage)
    if not (folder / SUMMARY).is_file():
        return config.epochs
    summary = json.loads((folder / SUMMARY).read_text())
    if summary["complete"]:
        return 0
    return config.epochs - summary["steps"] / summary["steps_per_epoch"]


def _pace(config: FinetuneConfig, work: StageWork, alone: World) -> Pace:
    """Time steps and a validation of a stage on a network that is thrown away."""
    clock = time.perf_counter()
    task = training_task(config, work._replace(more=None))
    held = sum(len(batch[0]) for batch in task.held_out)
    prepared = (time.perf_counter() - clock) / held
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(task, loop_settings(config, work.stage, STEPS), Path(folder), alone)
    trainer.step(0)  # prepares kernels and memory
    first = _step_seconds(trainer, range(1, 1 + STEPS))
    again = first if work.stage == "tokenizer" else _step_seconds(trainer, range(STEPS))
    task.held_out, whole = task.held_out[:1], task.held_out
    trainer.validate()
    task.held_out = whole[1:] or whole
    clock = time.perf_counter()
    trainer.validate()
    timed = sum(len(batch[0]) for batch in task.held_out)
    return Pace(first, again, (time.perf_counter() - clock) / timed, prepared)


def _step_seconds(trainer: Trainer, steps: range) -> float:
    began = time.perf_counter()
    done = 0
    while done < len(steps) and (not done or time.perf_counter() - began < SECONDS):
        trainer.step(steps[done])
        done += 1
    return (time.perf_counter() - began) / done


def _stage_seconds(config: FinetuneConfig, work: StageWork, epochs: float, world: World, pace: Pace) -> float:
    steps = work.feed.steps_per_epoch(world) * epochs
    a_step = config.batch_size * config.accumulation_steps * world.size
    first = min(steps, len(work.feed.windows) / a_step) if epochs == config.epochs else 0
    validation = min(len(work.feed.held), config.n_val_iter)
    training = first * pace.step + (steps - first) * pace.again
    return training + validation * (pace.prepared + _validations(config, epochs) * pace.validated / world.size)


def _forecast_seconds(config: FinetuneConfig, pair: Pair, store: Store) -> float:
    """Seconds that the forecast of one window takes."""
    a_window = 0.0
    for most in FORECASTS:
        if a_window * most > FORECAST_SECONDS:
            break
        sample = draw_sample(store, config.lookback_window, config.predict_window, config.clip, most)
        clock = time.perf_counter()
        closes_of(pair, sample, config)
        a_window = (time.perf_counter() - clock) / len(sample.windows)
    return a_window


def _token_loss_seconds(config: FinetuneConfig, pair: Pair, store: Store, device: torch.device) -> float:
    """Seconds that encoding a window and its token loss take."""
    available = len(Windows(store, config.lookback_window, config.predict_window))
    took = 0.0
    for most in TOKENS:
        clock = time.perf_counter()
        token_loss(pair, store, config, device, most)
        took = (time.perf_counter() - clock) / min(most, available)
    return took


def _comparison_seconds(config: FinetuneConfig, parts: dict[str, Store], a_forecast: float, a_loss: float) -> float:
    """Two pairs forecast the windows of each part but the training part."""
    held = [
        len(Windows(parts[name], config.lookback_window, config.predict_window)) for name in parts if name != "train"
    ]
    return 2 * sum(min(MOST, windows) * a_forecast + min(MOST_TOKENS, windows) * a_loss for windows in held)
