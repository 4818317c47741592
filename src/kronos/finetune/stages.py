"""The two stages of fine-tuning: the tokenizer, then the model on its tokens (docs/model.md, section 7; paper, training)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kronos.finetune.comparison import Pair, closes_of, draw_sample
from kronos.finetune.config import FinetuneConfig
from kronos.finetune.datasets import open_parts
from kronos.hub.pairing import check_pair
from kronos.io.atomic import write_file
from kronos.loading import load_model, load_tokenizer
from kronos.metrics.probabilistic import crps_paths
from kronos.nn import Kronos, KronosTokenizer, save_checkpoint
from kronos.training.bar_store import Store
from kronos.training.distributed import World
from kronos.training.losses import Coarse, KnownTokens, ModelObjective, TokenizerObjective, encoder_of
from kronos.training.run_state import TrainingState
from kronos.training.trainer import LoopSettings, Tensors, TrainingTask, train
from kronos.training.tuning import Tuning, merged, trained_share
from kronos.training.windows import Order, Windows, upside_down

Stage = Literal["tokenizer", "predictor"]
CLIP_NORM = {"tokenizer": 2.0, "predictor": 3.0}
"""The reference's."""
SUMMARY = "summary.json"
AHEAD = 1
"""A window has one bar more than lookback and horizon: the last token is a target only."""


class StageWork(NamedTuple):
    """A network, its objective and its batches, for one stage."""

    stage: Stage
    network: Kronos | KronosTokenizer
    objective: nn.Module
    feed: Feed
    more: Callable[[nn.Module], dict[str, float]] | None = None
    """Further figures of a validation: the CRPS of forecasts, by which the best weights are then chosen."""


def train_tokenizer(config: FinetuneConfig, world: World, echo: Callable[[str], None] = print) -> bool:
    """Fine-tune the tokenizer on the prepared data; returns whether the run is complete (False: stopped and saved).

    The best one is kept in ``{save_path}/{tokenizer_save_folder_name}/checkpoints/best_model``.
    """
    return _train(config, tokenizer_work(config, world), world, echo)


def train_predictor(config: FinetuneConfig, world: World, echo: Callable[[str], None] = print) -> bool:
    """Fine-tune the model on the tokens of the fine-tuned tokenizer; returns whether the run is complete.

    The best one is kept in ``{save_path}/{predictor_save_folder_name}/checkpoints/best_model``.
    """
    return _train(config, predictor_work(config, world, tokenizer_for(config)), world, echo)


def tokenizer_work(config: FinetuneConfig, world: World) -> StageWork:
    """The pretrained tokenizer with the bars it is tuned on."""
    feed = Feed(config, open_parts(config.dataset_path, world))
    tokenizer = load_tokenizer(config.pretrained_tokenizer_path)
    return StageWork("tokenizer", tokenizer, TokenizerObjective(tokenizer), feed)


def predictor_work(config: FinetuneConfig, world: World, tokenizer_path: str) -> StageWork:
    """The pretrained model with the tokens, of the tokenizer at ``tokenizer_path``, that it is tuned on."""
    parts = open_parts(config.dataset_path, world)
    tokenizer, model = load_tokenizer(tokenizer_path), load_model(config.pretrained_predictor_path)
    check_pair(tokenizer, model)
    tokenizer.to(world.device).requires_grad_(False)
    encode = encoder_of(tokenizer, config.compile)
    feed = TokenFeed(config, parts, lambda bars: encode(bars.to(world.device)))
    own: Coarse = "true" if model.dependency_rotary else "sampled"
    objective = ModelObjective(model, own if config.coarse == "auto" else config.coarse)
    more = None
    if config.select_by == "crps" and not config.sharded:
        more = rollout_crps(config, parts["val"], tokenizer)
    return StageWork("predictor", model, objective, feed, more)


def rollout_crps(
    config: FinetuneConfig, store: Store, tokenizer: KronosTokenizer
) -> Callable[[nn.Module], dict[str, float]]:
    """A function from the model in training to the CRPS of its forecasts of the same validation windows, always drawn alike."""
    sample = draw_sample(store, config.lookback_window, config.predict_window, config.clip, config.select_windows)

    def crps(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Kronos)
        model, training = merged(network), network.training
        paths = closes_of(Pair("in training", tokenizer, model.eval()), sample, config)
        network.train(training)
        return {"crps": float(crps_paths(paths, sample.truth).mean())}

    return crps


def tokenizer_for(config: FinetuneConfig) -> str:
    """The fine-tuned tokenizer, where there is one or one is asked for; else the pretrained one.

    Raises:
        ValueError: the tokenizer is to be tuned and has not been yet.
    """
    tuned = Path(config.finetuned_tokenizer_path)
    if (tuned / "config.json").is_file():
        return str(tuned)
    if config.tune_tokenizer:
        raise ValueError(
            f"there is no fine-tuned tokenizer in {tuned}: train it first (train_tokenizer.py), or keep the pretrained one "
            "(tune_tokenizer=false)"
        )
    return str(config.pretrained_tokenizer_path)


class Feed:
    """The batches of a stage, here of bars: training windows in a shuffled order, validation windows the same ones every time."""

    def __init__(self, config: FinetuneConfig, parts: dict[str, Store]) -> None:
        shape = (config.lookback_window, config.predict_window + AHEAD, config.clip)
        self.config = config
        self.windows, self.held = Windows(parts["train"], *shape), Windows(parts["val"], *shape)
        self.order = Order(self.windows, config.seed, config.balanced)
        if not len(self.held):
            raise ValueError(
                f"the validation part has no window of {self.held.length} bars (lookback {config.lookback_window}, horizon "
                f"{config.predict_window}, and one): give it more bars"
            )

    def steps_per_epoch(self, world: World) -> int:
        samples = min(self.config.n_train_iter, len(self.windows))
        return max(1, samples // (self.config.batch_size * self.config.accumulation_steps * world.size))

    def ready(self, bars: Tensor, stamp: Tensor, places: np.ndarray, numbers: np.ndarray | None) -> Tensors:
        """What the objective takes of bars and time features; places in the order, and numbers of training windows."""
        return (bars,)

    def batch(self, step: int, part: int, parts: int) -> Tensors:
        """A part of a step: the windows that follow, in the order, those of the parts before it."""
        size = self.config.batch_size
        first = (step * parts + part) * size
        numbers = self.order.numbers(first, size)
        # The position in the order, not the window, gives the draws: a window that comes again is drawn for anew.
        return self.ready(*self.windows.take(numbers), np.arange(first, first + size), numbers)

    def held_out(self) -> list[Tensors]:
        numbers = self.held.spread(self.config.n_val_iter)
        chunks = np.array_split(numbers, max(1, round(len(numbers) / self.config.batch_size)))
        return [self.ready(*self.held.take(chunk), chunk, None) for chunk in chunks]


class TokenFeed(Feed):
    """The batches of the model: tokens, which a window that comes again is not encoded for again."""

    def __init__(
        self, config: FinetuneConfig, parts: dict[str, Store], encode: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> None:
        super().__init__(config, parts)
        # Each window as it is, then each upside down.
        self.encode, self.known = encode, KnownTokens(encode, 2 * len(self.windows), self.windows.length)

    def ready(self, bars: Tensor, stamp: Tensor, places: np.ndarray, numbers: np.ndarray | None) -> Tensors:
        if numbers is None:
            s1, s2 = self.encode(bars)
        else:
            turned = is_mirrored(places, self.config.mirrored)
            bars[torch.from_numpy(turned)] = upside_down(bars[torch.from_numpy(turned)])
            s1, s2 = self.known(bars, numbers + turned * len(self.windows))
        return s1, s2, stamp, _uniforms(self.config.seed, places, bars.shape[1])


def is_mirrored(places: np.ndarray, share: float) -> np.ndarray:
    """Whether the windows at these places of the order [B] are turned upside down: evenly spaced ones."""
    turned: np.ndarray = np.floor((places + 1) * share) > np.floor(places * share)
    return turned


def _uniforms(seed: int, numbers: np.ndarray, bars: int) -> Tensor:
    """Numbers in [0, 1) for each bar of each window, from the window's own stream: float32 [B, T]."""
    streams = (np.random.Generator(np.random.Philox(key=[seed, int(n)])) for n in numbers)
    return torch.from_numpy(np.stack([stream.random(bars, dtype=np.float32) for stream in streams]))


def training_task(config: FinetuneConfig, work: StageWork) -> TrainingTask:
    """The task of the training loop, with the weights frozen or added to as the settings say."""
    torch.manual_seed(config.seed)
    Tuning(config.tuning, config.tuned_blocks, config.lora_rank, config.lora_alpha).prepare(work.network)
    watch = "mse" if work.stage == "tokenizer" else "loss" if work.more is None else "crps"
    held_out = work.feed.held_out()
    return TrainingTask(
        work.network, work.objective, work.feed.batch, held_out, _keep, watch, work.more, start_counts=True
    )


def _train(config: FinetuneConfig, work: StageWork, world: World, echo: Callable[[str], None]) -> bool:
    stage, network, _, feed, _ = work
    task = training_task(config, work)
    per_epoch = feed.steps_per_epoch(world)
    settings = loop_settings(config, stage, per_epoch)
    folder = run_folder(config, stage)
    trained, everything = trained_share(network)
    if world.is_main_process:
        echo(
            f"{stage}: {len(feed.windows):,} training windows, {min(len(feed.held), config.n_val_iter):,} of {len(feed.held):,} "
            f"validation windows; {config.epochs} epochs of {per_epoch:,} steps, {world.size} x {config.batch_size} windows "
            f"a step on {world.device}; {trained:,} of {everything:,} weights trained"
        )
    began = time.strftime("%Y-%m-%dT%H:%M:%S")
    names = [*config.trackers, *(["comet"] if config.use_comet and "comet" not in config.trackers else [])]
    comet = {**config.comet_config, "tag": config.comet_tag, "name": config.comet_name}
    complete = train(task, settings, folder, world, names, comet, echo)
    if world.is_main_process:
        if complete and not TrainingState(folder, World(0, 1, world.device)).progress.best_step:
            echo(f"{stage}: nothing was better than the weights that training began with ({task.watch}); they are kept")
        _summarise(folder, config, stage, began, complete, per_epoch, world)
    return complete


def run_folder(config: FinetuneConfig, stage: Stage) -> Path:
    """Folder of a stage's run."""
    return Path(config.save_path) / str(getattr(config, f"{stage}_save_folder_name"))


def _keep(network: Any, folder: Path) -> None:
    save_checkpoint(merged(network), folder)


def loop_settings(config: FinetuneConfig, stage: Stage, per_epoch: int) -> LoopSettings:
    """An epoch ends with a validation, as in the reference."""
    return LoopSettings(
        steps=config.epochs * per_epoch,
        learning_rate=getattr(config, f"{stage}_learning_rate"),
        schedule=config.schedule,
        warmup=config.warmup_steps,
        weight_decay=config.adam_weight_decay,
        betas=(config.adam_beta1, config.adam_beta2),
        clip_norm=CLIP_NORM[stage],
        accumulation=config.accumulation_steps,
        precision=config.precision,
        compiled=config.compile,
        ema=config.ema,
        patience=config.early_stopping,
        report_every=config.log_interval,
        validate_every=per_epoch,
        save_every=min(config.save_every, per_epoch),
        sharded=config.sharded,
        seed=config.seed,
        layer_decay=config.layer_decay if stage == "predictor" and config.layer_decay < 1 else None,
    )


def _summarise(
    folder: Path, config: FinetuneConfig, stage: Stage, began: str, complete: bool, per_epoch: int, world: World
) -> None:
    progress = TrainingState(folder, World(0, 1, world.device)).progress
    summary = {
        "stage": stage,
        "began": began,
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "complete": complete,
        "steps": progress.step,
        "steps_per_epoch": per_epoch,
        "processes": world.size,
        "best_validation_figure": progress.best,
        "best_step": progress.best_step,
        "best_model": "checkpoints/best_model",
        "settings": config.to_dict(),
    }
    write_file(folder / SUMMARY, (json.dumps(summary, indent=2, default=str) + "\n").encode())
