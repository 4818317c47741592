"""Pre-training from a store: a tokenizer, then a model on its tokens (arXiv 2508.02739, pre-training).

A recipe is a preset (``presets/*.yaml``) with changes. Both stages use `training.trainer`, so they can be resumed and run in
one process or several. Held-out bars are the last ones of every segment.

Legend: B windows, T bars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kronos.io.atomic import json_bytes, write_file
from kronos.nn import Kronos, KronosTokenizer, ModelConfig, TokenizerConfig, save_checkpoint
from kronos.schema import CLOSE, FEATURES
from kronos.training.bar_store import Store
from kronos.training.distributed import World
from kronos.training.losses import COARSE, Coarse, ModelObjective, TokenizerObjective, encoder_of, tokens_of
from kronos.training.trainer import LoopSettings, Metrics, Tensors, TrainingTask, train
from kronos.training.windows import Sampler, TrainingBatch, WindowSettings

Stage = Literal["tokenizer", "model"]
STAGES: tuple[Stage, ...] = ("tokenizer", "model")
PRESETS = Path(__file__).parent / "presets"
DATA, SAMPLING_FILE = "data.json", "advice.json"
DEAD = 0.05
"""Share of the codes in use below which a warning is given late in a run."""


@dataclass(frozen=True, kw_only=True)
class Recipe(LoopSettings):
    """Settings of a network's training from random weights.

    Attributes:
        network: the keys of its ``config.json``.
        lengths: bars of a window; steps take them in turn, so that short and long lookbacks both work.
        bars_a_step: bars of all windows of a step, over all processes.
        balance: exponent on the number of bars of a market and frequency: 1 draws every bar equally often, 0 every group.
        hide_volume: share of windows without volume and amount (paper, section 4.1).
        hide_amount: share of windows with volume and without amount.
        candle_weight: weight of the error of gaps, bodies and wicks in a tokenizer's loss; see `TokenizerObjective`.
        coarse: coarse token that the model's fine token is trained on; see `ModelObjective`.
        held_out: batches to validate on.
        the others: see `LoopSettings`.
    """

    network: dict[str, Any]
    steps: int = 2000
    lengths: tuple[int, ...] = (512,)
    bars_a_step: int = 8192
    balance: float = 0.5
    hide_volume: float = 0.05
    hide_amount: float = 0.0
    candle_weight: float = 0.0
    coarse: Coarse = "sampled"
    held_out: int = 8
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("lengths", "betas", "trackers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        super().__post_init__()
        if not self.lengths or min(self.lengths) < 2:
            raise ValueError(f"lengths must be numbers of bars of at least 2, found {list(self.lengths)}")
        if self.bars_a_step < max(self.lengths):
            raise ValueError(f"bars_a_step ({self.bars_a_step}) must hold a window of {max(self.lengths)} bars")
        if self.coarse not in COARSE:
            raise ValueError(f"coarse must be one of {', '.join(COARSE)}, found {self.coarse!r}")
        if self.candle_weight < 0:
            raise ValueError(f"candle_weight must be at least 0, found {self.candle_weight}")
        if self.held_out < 1:
            raise ValueError(f"held_out, batches to validate on, must be at least 1, found {self.held_out}")

    def loop(self) -> LoopSettings:
        """Return the subset of this recipe that `trainer.train` uses and stores in ``settings.json``."""
        return LoopSettings(**{f.name: getattr(self, f.name) for f in fields(LoopSettings)})

    def windows(self, length: int, parts: int = 1) -> WindowSettings:
        """Return the settings of a step's windows, whose number is a multiple of ``parts``."""
        return WindowSettings(
            length=length,
            batch=max(1, self.bars_a_step // length // parts) * parts,
            balance=self.balance,
            least_lookback=min(48, length // 2),
            hide_volume=self.hide_volume,
            hide_amount=self.hide_amount,
        )


def recipe_of(preset: str, stage: Stage, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a preset and replace values by name.

    Args:
        preset: nano, mini, small, base, or a YAML file with the sections ``tokenizer`` and ``model``.
        stage: the section.
        changes: new values by name.

    Raises:
        ValueError: there is no such preset, or a name or value is invalid.
    """
    import yaml

    path = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise ValueError(f"no preset {preset!r}: there are {known}; or give a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get(stage), dict):
        raise ValueError(f"{path} has no section {stage}: a preset has tokenizer: and model:")
    values = {**content[stage], **(changes or {})}
    names = {f.name for f in fields(Recipe)}
    for name in values:
        if name not in names:
            raise ValueError(f"{path}: a recipe has no {name!r}; known are {', '.join(sorted(names))}")
    return Recipe(**values)


def pretrain(
    stage: Stage,
    recipe: Recipe,
    store: Store,
    folder: Path,
    world: World,
    tokenizer: KronosTokenizer | None = None,
    echo: Callable[[str], None] = print,
    start: KronosTokenizer | Kronos | None = None,
) -> bool:
    """Train a network from random weights, or resume a run; the best one is in ``folder/checkpoints/best_model``.

    Args:
        tokenizer: source of the model's tokens; for the stage "model".
        echo: called with each line of the log.
        start: a trained network to take the initial weights from; see `begin_from`.

    Returns:
        True when the run is complete, False when it was stopped and saved.

    Raises:
        ValueError: the store has no segment that is long enough, or the folder holds another run.
    """
    torch.manual_seed(recipe.seed)
    longest = max(recipe.lengths)
    training, held = parts_of(store, longest)
    parts = world.size * recipe.accumulation
    samplers = [Sampler(training, recipe.windows(length, parts), recipe.seed) for length in recipe.lengths]
    held_out_sampler = Sampler(
        held, replace(recipe.windows(longest), hide_volume=0.0, hide_amount=0.0), recipe.seed + 1
    )
    fixed = [held_out_sampler.batch(i) for i in range(recipe.held_out)]
    if stage == "tokenizer":
        network: Any = KronosTokenizer(**TokenizerConfig.from_dict(recipe.network, stage).to_dict())
        objective: torch.nn.Module = TokenizerObjective(network, recipe.candle_weight)
        ready: Callable[..., Tensors] = lambda batch, *_: (batch.bars,)
    else:
        if tokenizer is None:
            raise ValueError("a model is trained on tokens: train a tokenizer first, or name one")
        network = Kronos(**ModelConfig.from_dict(recipe.network, stage).to_dict())
        objective = ModelObjective(network, recipe.coarse)
        ready = _tokens(tokenizer.to(world.device).requires_grad_(False), world, recipe)
    if start is not None:
        begin_from(network, start)
    watch = "mse" if stage == "tokenizer" else "loss"
    task = TrainingTask(
        network,
        objective,
        lambda step, part, parts: ready(samplers[step % len(samplers)].batch(step, part, parts), step, part, parts),
        [ready(batch) for batch in fixed],
        save_checkpoint,
        watch,
        more=lambda trained: by_group(stage, trained, tokenizer, fixed, held.names, world, echo),
    )
    sizes = sum(p.numel() for p in network.parameters())
    if world.is_main_process:
        echo(
            f"{stage}: {sizes:,} weights; {len(training.segments):,} segments, {_bars(training):,} bars in {len(store.names)} "
            f"groups; {recipe.steps:,} steps of {recipe.bars_a_step:,} bars"
        )
    first, last = store.span()
    data = {"first": first, "last": last, "bars": _bars(training), "store": store.digest()}
    describing = {"recipe.json": json_bytes(asdict(recipe)), DATA: json_bytes(data)}
    done = train(task, recipe.loop(), folder, world, recipe.trackers, None, echo, describing)
    if world.is_main_process:
        from kronos.training.curves import draw_curves

        draw_curves(folder)
    return done


def begin_from(network: KronosTokenizer | Kronos, start: KronosTokenizer | Kronos) -> None:
    """Copy the weights of a trained network into one of the same width and vocabulary that may have further blocks.

    The two output layers of a further block are zero, so that the new network first computes the same as the trained one.

    Raises:
        ValueError: a weight of the trained network has no counterpart of its shape in the new one.
    """
    ours, theirs = network.state_dict(), start.state_dict()
    for name, value in theirs.items():
        if name not in ours or ours[name].shape != value.shape:
            found = "none" if name not in ours else list(ours[name].shape)
            raise ValueError(
                f"the network to begin with has {name} of shape {list(value.shape)}, the recipe's has {found}: give one of "
                "the same width, bits and feed-forward width, with at most as many blocks"
            )
    ours.update(theirs)
    for name in ours.keys() - theirs.keys():
        if name.endswith(("self_attn.out_proj.weight", "self_attn.out_proj.bias", "ffn.w2.weight")):
            ours[name] = torch.zeros_like(ours[name])
    network.load_state_dict(ours)


def parts_of(store: Store, longest: int) -> tuple[Store, Store]:
    """Split a store into training and held-out bars: the last bars of every segment, enough for a window, are held out."""
    return store.split(share=0.02, least=longest)


def _bars(store: Store) -> int:
    return sum(segment.stop - segment.start for segment in store.segments)


def _tokens(tokenizer: KronosTokenizer, world: World, recipe: Recipe) -> Callable[..., Tensors]:
    """Return the function from bars to the inputs of `ModelObjective`; a step's draws do not depend on its number of parts."""
    encode = encoder_of(tokenizer, recipe.compiled)

    def ready(batch: TrainingBatch, step: int = -1, part: int = 0, parts: int = 1) -> Tensors:
        s1, s2 = encode(batch.bars.to(world.device))
        whole = np.random.default_rng((recipe.seed, step + 1)).random((parts, *s1.shape), dtype=np.float32)
        return s1, s2, batch.stamp.to(world.device), torch.from_numpy(whole[part]).to(world.device)

    return ready


@torch.no_grad()
def by_group(
    stage: Stage,
    network: nn.Module,
    tokenizer: KronosTokenizer | None,
    batches: list[TrainingBatch],
    names: list[str],
    world: World,
    echo: Callable[[str], None],
) -> Metrics:
    """Return figures by market and frequency on the held-out windows, and for a tokenizer the use of its codes."""
    sums: dict[str, list[float]] = {}
    ids: list[Tensor] = []
    errors: list[tuple[Tensor, Tensor]] = []
    for batch in batches:
        bars, stamp = batch.bars.to(world.device), batch.stamp.to(world.device)
        if isinstance(network, KronosTokenizer):
            (_, full), _, _, codes = network(bars)
            errors.append(((full - bars).square().float(), bars))
            each = errors[-1][0].mean((1, 2))
            ids.append(codes.flatten())
        else:
            assert tokenizer is not None and isinstance(network, Kronos)
            each = _token_loss(network, *tokens_of(tokenizer, bars), stamp)
        for group, value in zip(batch.group.tolist(), each.tolist(), strict=True):
            sums.setdefault(names[group], []).append(value)
    what = "mse" if stage == "tokenizer" else "loss"
    figures = {f"{what} {name}": float(np.mean(values)) for name, values in sorted(sums.items())}
    if not isinstance(network, KronosTokenizer):
        return figures
    figures |= reconstruction_figures(*(torch.cat(parts) for parts in zip(*errors, strict=True)))
    together = torch.cat(ids)
    for name, token, bits in (
        ("s1", together & (2**network.s1_bits - 1), network.s1_bits),
        ("s2", together >> network.s1_bits, network.s2_bits),
    ):
        use = code_use(token, 2**bits)
        figures |= {f"{key}_{name}": value for key, value in use.items()}
        if use["used"] < DEAD:
            echo(
                f"  warning: only {use['used']:.1%} of the {name} codes are in use; the others are wasted. Try codebook_entropy: "
                "groups, another zeta, or a lower learning rate"
            )
    return figures


LAST = 20
"""Bars up to a position over which its reconstruction error is averaged."""
STRETCH = (0.0, 1.5, 3.0, torch.inf)
"""Deviations of a close from the lookback's mean; |z| is reported within each pair of them."""


def reconstruction_figures(squared_BT6: Tensor, bars_BT6: Tensor) -> Metrics:
    """Return mean squared reconstruction errors by position in the window, by the close's |z|, and by column.

    Args:
        squared_BT6: squared errors of the reconstruction, [B, T, 6].
        bars_BT6: the normalised bars themselves, [B, T, 6].
    """
    steps, position = bars_BT6.shape[1], 64
    found: Metrics = {}
    while position <= steps:
        found[f"mse to bar {position}"] = squared_BT6[:, max(0, position - LAST) : position].mean().item()
        position *= 2
    z_BT = bars_BT6[..., CLOSE].abs()
    for low, high in pairwise(STRETCH):
        inside = (z_BT >= low) & (z_BT < high)
        if inside.any():
            found[f"mse |z| {low:g} to {high:g}"] = squared_BT6[inside].mean().item()
    return found | {f"mse {name}": squared_BT6[..., i].mean().item() for i, name in enumerate(FEATURES)}


def _token_loss(model: Kronos, s1: Tensor, s2: Tensor, stamp: Tensor) -> Tensor:
    """Return the mean cross entropy of both tokens for each window [B], in nats, teacher-forced."""
    targets = s1[:, 1:]
    logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=targets)
    losses = [
        torch.nn.functional.cross_entropy(found.transpose(1, 2), wanted, reduction="none")
        for found, wanted in zip(logits, (targets, s2[:, 1:]), strict=True)
    ]
    return (losses[0] + losses[1]).mean(1) / 2


def code_use(ids: Tensor, codes: int) -> Metrics:
    """Return the share of the ``codes`` codes that occur in ``ids``, and the entropy of their frequencies in nats."""
    counts = torch.bincount(ids.flatten(), minlength=codes).double()
    p = counts[counts > 0] / counts.sum()
    return {"used": (counts > 0).double().mean().item(), "entropy": -(p * p.log()).sum().item()}


def load_pair(run: Path) -> tuple[KronosTokenizer, Kronos]:
    """Load the best tokenizer and model of a run.

    Raises:
        ValueError: one of the two has not been trained.
    """
    kinds: tuple[tuple[str, Any], ...] = (("tokenizer", KronosTokenizer), ("model", Kronos))
    networks: list[Any] = []
    for name, kind in kinds:
        best = run / name / "checkpoints" / "best_model"
        if not best.is_dir():
            raise ValueError(f"{run} has no trained {name}: run kronos pretrain {name} first")
        networks.append(kind.from_pretrained(best).eval())
    return networks[0], networks[1]


def context_of(run: Path) -> int:
    """Return the bars of the longest windows that the run's model was trained on."""
    return int(max(json.loads((run / "model" / "recipe.json").read_text())["lengths"]))


def trained_bars_of(run: Path) -> list[int]:
    """Return the fewest and most bars of the windows that both networks of a run were trained on."""
    lengths = [json.loads((run / stage / "recipe.json").read_text())["lengths"] for stage in STAGES]
    return [max(map(min, lengths)), min(map(max, lengths))]


def export_pair(run: Path, out: Path) -> None:
    """Write the pair of a run for use: the two networks with float16 parameters, ``pair.json`` and ``provenance.json``.

    ``pair.json`` holds the recommended sampling, where the run has chosen one; ``provenance.json`` the bars that the pair was
    trained on and its settings were chosen on.

    Raises:
        ValueError: one of the two has not been trained.
    """
    for name, network in zip(STAGES, load_pair(run), strict=True):
        save_checkpoint(network, out / name, half=True)
    bars = trained_bars_of(run)
    settings: dict[str, Any] = {
        "max_context": context_of(run),
        "temperature": 1.0,
        "top_p": 1.0,
        "trained_bars": [*bars],
    }
    provenance: dict[str, Any] = {"training": json.loads((run / "model" / DATA).read_text()) | {"windows": bars}}
    if (run / SAMPLING_FILE).is_file():
        advice = json.loads((run / SAMPLING_FILE).read_text())
        settings |= {name: advice[name] for name in ("temperature", "top_p")}
        provenance["tuning"] = {"settings": ["temperature", "top_p"], "first": advice["first"], "last": advice["last"]}
    write_file(out / "pair.json", json_bytes(settings))
    write_file(out / "provenance.json", json_bytes(provenance))
