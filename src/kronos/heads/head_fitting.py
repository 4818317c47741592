"""Training a head: the features' part first, then the state's part on top of it, each stopped by the loss on later, purged windows.

Legend: N windows, K steps, C known columns, Q quantile levels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kronos.heads.covariates import Tables
from kronos.heads.examples import HeadExamples, collect_examples
from kronos.heads.head import Head, HeadNetwork, HeadSpec, HeadTask, known_columns, model_digest
from kronos.heads.head_losses import loss_of, targets_of
from kronos.heads.head_verdict import judge_head
from kronos.heads.purged_splits import purged_split
from kronos.number_checks import check_plain_whole, is_plain_number

if TYPE_CHECKING:
    from kronos.calibration.fitting import PastWindow
    from kronos.predictor import KronosPredictor

LEAST_WINDOWS = 100
"""Windows to train on, below which no head is trained."""
LEAST_OF_A_DATE = 5
"""Windows that start at one date, for a rank head to learn from it."""


Stage = Literal["features", "covariates", "state"]
_NAMES = {"features": "features", "covariates": "covariates", "state": "head"}
FEATURES_RATE, COVARIATES_RATE = 0.003, 0.01
"""Peak learning rates of the features' and of the covariates' part."""
COVARIATES_DECAY = 0.01
"""Weight decay of the covariates' part."""
MOST_SPANS = 5
"""Windows whose horizon takes more than so many times the median of their frequency, because of a gap, are left out."""


@dataclass(frozen=True)
class HeadSettings:
    """How a head is trained.

    Attributes:
        task, hidden, band: as in `HeadSpec`.
        embargo: seconds between the end of a label and the first window of a later part; None takes the longest label.
        epochs: at most. patience: epochs without a lower validation loss that end the training.
        batch: windows a step; for rank, about so many of whole dates.
        rate: peak learning rate of AdamW for the state's part.
        decay: weight decay of the state's part. dropout: of the state or the hidden layer.
        past_covariates, known_covariates: names of further columns, those read at past times and those known ahead.
        seed: of the order of windows, of dropout and of the hidden layer's first weights.
    """

    task: HeadTask = "distribution"
    hidden: int = 0
    band: float = 0.4
    embargo: float | None = None
    epochs: int = 40
    patience: int = 5
    batch: int = 128
    rate: float = 0.001
    decay: float = 0.1
    dropout: float = 0.1
    seed: int = 0
    past_covariates: tuple[str, ...] = ()
    known_covariates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        HeadSpec(self.task, 1, 1, (), self.hidden, self.band, tuple(self.past_covariates), tuple(self.known_covariates))
        for name, least in (("epochs", 1), ("patience", 1), ("batch", 2), ("seed", 0)):
            check_plain_whole(getattr(self, name), name, least)
        for name, low, high in (
            ("rate", 1e-7, 1.0),
            ("decay", 0.0, 1e4),
            ("dropout", 0.0, 0.95),
            ("embargo", 0.0, 1e12),
        ):
            value = getattr(self, name)
            if value is None and name == "embargo":
                continue
            if not is_plain_number(value) or not low <= value <= high:
                raise ValueError(f"{name} must lie in {low:g} to {high:g}, found {value!r}")


def train_head(
    predictor: KronosPredictor,
    windows: Sequence[PastWindow],
    settings: HeadSettings,
    names: Sequence[str] | None = None,
    told: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
    echo: Callable[[str], None] | None = None,
    covariates: Tables | None = None,
) -> Head:
    """Read past windows of one lookback and horizon with the predictor's model, and train a head for it.

    ``predictor.heads[settings.task] = head`` makes the predictor answer with it, and ``predictor.save_pretrained`` keeps it.

    Args:
        names: of each window's series; None numbers the windows.
        told, echo: as of `fit_head`.
        progress: called with the windows read since the last call.
        covariates: a table of the columns that ``settings`` names, indexed by time, or one for each window.

    Raises:
        ValueError: lookbacks of several lengths, no usable window, or what `fit_head` raises.
    """
    lengths = sorted({len(one.bars) for one in windows})
    if len(lengths) > 1:
        raise ValueError(f"windows must be of one lookback, found lookbacks of {lengths[0]} to {lengths[-1]} bars")
    further = (covariates, settings.past_covariates, settings.known_covariates)
    head = fit_head(collect_examples(predictor, windows, names, progress, *further), settings, told, echo)
    head.model, head.lookback = model_digest(predictor.model), lengths[0]
    return head


def fit_head(
    examples: HeadExamples,
    settings: HeadSettings,
    told: dict[str, Any] | None = None,
    echo: Callable[[str], None] | None = None,
) -> Head:
    """Train a head on the earlier windows, stop it by the middle ones, judge it on the latest.

    The same examples and settings give the same weights on one machine.

    Args:
        told: further facts for ``trained_on``, such as the model's name.
        echo: called with a line after each stage.

    Raises:
        ValueError: too few windows, or for rank too few dates with `LEAST_OF_A_DATE` windows.
    """
    examples = _usable(examples, settings)
    longest = (examples.end - examples.start).max()
    embargo = longest if settings.embargo is None else np.timedelta64(int(settings.embargo * 1e9), "ns")
    rows = purged_split(examples.start, examples.end, embargo=embargo)
    train, validation, test = (examples.part(part) for part in rows)
    if len(train) < LEAST_WINDOWS:
        raise ValueError(
            f"{len(train)} windows are left to train on, {LEAST_WINDOWS} are needed: give more or longer series, or more windows"
        )
    names = tuple(sorted(set(train.frequency.tolist())))
    spec = HeadSpec(
        settings.task,
        examples.truth.shape[1],
        examples.states.shape[1],
        names if len(names) > 1 else (),
        settings.hidden,
        float(settings.band),
        tuple(settings.past_covariates),
        tuple(settings.known_covariates),
    )
    if examples.covariates.shape[-1] != spec.covariates:
        raise ValueError(
            f"the examples have {examples.covariates.shape[-1]} columns of covariates, the settings name {spec.covariates}: "
            "collect them with the same names"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = HeadNetwork(spec)
        states = torch.from_numpy(train.states)
        network.mean = states.mean(0)
        network.scale = states.std(0, unbiased=False).clamp(min=1e-6)
        if spec.covariates:
            given = train.covariates.reshape(-1, spec.covariates)
            count = np.maximum(np.isfinite(given).sum(0), 1)
            mean = np.nansum(given, 0) / count
            deviation = np.sqrt(np.nansum((given - mean) ** 2, 0) / count)
            network.covariate_mean = torch.from_numpy(mean).float()
            # A column that does not vary says nothing.
            network.covariate_scale = torch.from_numpy(np.where(deviation > 1e-9, deviation, 1.0)).float()
        first, second = _Part(spec, train, settings.batch), _Part(spec, validation, settings.batch)
        stages: tuple[Stage, ...] = ("features", "covariates", "state") if spec.covariates else ("features", "state")
        losses = {stage: _train(network, first, second, settings, stage, echo) for stage in stages}
    head = Head(
        spec,
        network.eval(),
        trained_on={
            "first": str(pd.Timestamp(examples.start.min()).date()),
            "last": str(pd.Timestamp(examples.end.max()).date()),
            "trained_until": str(pd.Timestamp(train.end.max())),
            "validated_until": str(pd.Timestamp(validation.end.max())),
            "windows": {"train": len(train), "validation": len(validation), "test": len(test)},
            "validation_loss": {_NAMES[stage]: round(loss, 6) for stage, (loss, _) in losses.items()},
            "epochs": {_NAMES[stage]: epoch for stage, (_, epoch) in losses.items()},
            "seed": settings.seed,
            **(told or {}),
        },
    )
    head.verdict = judge_head(head, test, train, settings.seed)
    head.tested = tuple(test.number.tolist())
    return head


class _Part:
    """Tensors of one part, and its windows in batches."""

    def __init__(self, spec: HeadSpec, examples: HeadExamples, batch: int) -> None:
        self.spec, self.batch = spec, batch
        self.states = torch.from_numpy(examples.states)
        self.known = torch.from_numpy(known_columns(spec, examples.features, examples.frequency))
        self.target = torch.from_numpy(targets_of(spec, examples))
        self.covariates = torch.from_numpy(examples.covariates).float()
        self.date = torch.from_numpy(np.unique(examples.start, return_inverse=True)[1].reshape(-1))

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Row numbers of each batch, in a new order; dates stay whole where a loss compares windows of a date."""
        date = self.date.numpy()
        if self.spec.task != "rank":
            shuffled = rng.permutation(len(date))
            return [shuffled[i : i + self.batch] for i in range(0, len(date), self.batch)]
        sizes = np.bincount(date)
        batches, chosen, total = [], [], 0
        for one in rng.permutation(len(sizes)):
            chosen.append(one)
            total += sizes[one]
            if total >= self.batch:
                batches.append(np.flatnonzero(np.isin(date, chosen)))
                chosen, total = [], 0
        return [*batches, np.flatnonzero(np.isin(date, chosen))] if chosen else batches

    def loss(self, network: HeadNetwork, rows: Any, stage: Stage, dropout: float = 0.0) -> Tensor:
        further = None if stage == "features" else self.covariates[rows]
        found = network(self.states[rows], self.known[rows], stage == "state", dropout, further)
        return loss_of(self.spec, found, self.target[rows], self.date[rows])

    @torch.no_grad()
    def whole_loss(self, network: HeadNetwork, stage: Stage) -> float:
        network.eval()
        if self.spec.task == "rank":
            return float(self.loss(network, slice(None), stage))
        sums = [
            (float(self.loss(network, slice(i, i + 4096), stage)), len(self.target[i : i + 4096]))
            for i in range(0, len(self.target), 4096)
        ]
        return sum(loss * size for loss, size in sums) / len(self.target)


def _train(
    network: HeadNetwork,
    train: _Part,
    validation: _Part,
    settings: HeadSettings,
    stage: Stage,
    echo: Callable[[str], None] | None,
) -> tuple[float, int]:
    """Train one part with the other one left as it is; keeps the weights with the least validation loss, those of the start
    included, and returns that loss and its epoch."""
    own = {"state": ("inner", "from_state"), "covariates": ("from_covariates",)}
    others = ("inner", "from_state", "from_covariates")
    chosen = [
        value
        for name, value in network.named_parameters()
        if (name.startswith(own[stage]) if stage in own else not name.startswith(others))
    ]
    dropout = settings.dropout if stage == "state" else 0.0
    rate = {"features": FEATURES_RATE, "covariates": COVARIATES_RATE, "state": settings.rate}[stage]
    decay = {"features": 0.0, "covariates": COVARIATES_DECAY, "state": settings.decay}[stage]
    optimiser = torch.optim.AdamW(chosen, rate, weight_decay=decay)
    rng = np.random.default_rng(settings.seed)
    best, at, kept = validation.whole_loss(network, stage), 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, settings.epochs + 1):
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / settings.epochs))
        for rows in train.order(rng):
            optimiser.zero_grad()
            train.loss(network, rows, stage, dropout).backward()
            torch.nn.utils.clip_grad_norm_(chosen, 1.0)
            optimiser.step()
        loss = validation.whole_loss(network, stage)
        if loss < best:
            best, at, kept = loss, epoch, copy.deepcopy(network.state_dict())
        if epoch - at >= settings.patience:
            break
    network.load_state_dict(kept)
    if echo is not None:
        what = {
            "features": "volatility features alone",
            "covariates": "covariates on top",
            "state": "hidden states on top",
        }[stage]
        echo(f"{what}: validation loss {best:.5f} after {at} epochs")
    return best, at


def _usable(examples: HeadExamples, settings: HeadSettings) -> HeadExamples:
    """Those that can be learned from: without a long gap after the last known bar, and for rank, of dates with enough windows."""
    span = pd.Series((examples.end - examples.start).astype(np.int64))
    usual = span.groupby(examples.frequency).transform("median")
    examples = examples.part((span <= MOST_SPANS * usual).to_numpy())
    if settings.task != "rank":
        return examples
    size = pd.Series(examples.start).groupby(examples.start).transform("size").to_numpy()
    if not (size >= LEAST_OF_A_DATE).any():
        raise ValueError(
            f"task rank compares series at one date, and no date has {LEAST_OF_A_DATE} windows: give more series of the same times"
        )
    return examples.part(size >= LEAST_OF_A_DATE)
