"""Two scores of synthetic K-lines by LSTMs (arXiv 2508.02739, synthetic K-lines): a classifier of real and synthetic sequences,
and a forecaster trained on synthetic sequences and tested on real ones.

Training and test data are separate in time: no test sequence begins before the last training sequence has ended.

Legend: N sequences, H bars, 5 shapes of a candle (see `Sequences.shapes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kronos.evaluation.synthetic.sequences import Sequences
from kronos.metrics.probabilistic import correlation, rank_correlation

TEST_SHARE, VALID_SHARE = 0.3, 0.15
EPOCHS, PATIENCE = 30, 4
BATCH = 64
LEAST = 20
"""Sequences at least on each side of a split."""


class Split(NamedTuple):
    """Numbers of the sequences for training, choosing when to stop, and testing."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split_by_time(sequences: Sequences) -> Split:
    """Split into early sequences for training and the latest 30 % for testing; sequences that overlap both are left out.

    The latest of the early ones are for early stopping; they may overlap the others, since no result is reported on them.

    Raises:
        ValueError: too few are left on one side.
    """
    order = np.argsort(sequences.start, kind="stable")
    first_test = sequences.start[order[int(len(order) * (1 - TEST_SHARE))]]
    test = np.flatnonzero(sequences.start >= first_test)
    before = order[sequences.end[order] < first_test]
    cut = int(len(before) * (1 - VALID_SHARE))
    train, valid = before[:cut], before[cut:]
    if min(len(train), len(test)) < LEAST or len(valid) < 5:
        raise ValueError(
            f"{len(order)} sequences leave {len(train)} for training, {len(valid)} for validation and {len(test)} for testing: "
            f"apart in time, at least {LEAST}, 5 and {LEAST} are needed; generate more, or give a longer span of time"
        )
    return Split(train, valid, test)


class _Net(nn.Module):
    """LSTM and a linear head on every step [N, H, 1]."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, width, layers, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])[..., 0]


def _train(
    net: _Net, x: Tensor, y: Tensor, x_valid: Tensor, y_valid: Tensor, loss: nn.Module, seed: int, last: bool
) -> None:
    """Adam with early stopping on the validation loss; ``last``: only the last step's output counts."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    best, best_state, waited = float("inf"), {k: v.clone() for k, v in net.state_dict().items()}, 0
    out = (lambda v: net(v)[:, -1]) if last else net
    for _ in range(EPOCHS):
        net.train()
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad()
            loss(out(x[rows]), y[rows]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
        net.eval()
        with torch.no_grad():
            now = float(loss(out(x_valid), y_valid))
        if now < best - 1e-5:
            best, waited = now, 0
            best_state = {k: v.clone() for k, v in net.state_dict().items()}
        else:
            waited += 1
            if waited == PATIENCE:
                break
    net.load_state_dict(best_state)
    net.eval()


def _normalised(train: np.ndarray, *others: np.ndarray) -> list[Tensor]:
    """Normalise by mean and deviation of the training part."""
    mean, std = train.mean((0, 1)), train.std((0, 1)) + 1e-6
    return [torch.from_numpy(((a - mean) / std).astype(np.float32)) for a in (train, *others)]


def discriminative_score(real: Sequences, synthetic: Sequences, seed: int = 0) -> float:
    """Return the discriminative score: the error rate of an LSTM(32) that classifies test sequences, half of them real.

    0.5 is ideal; at 0 the classifier recognises every synthetic sequence.
    """
    split, a, b = split_by_time(real), real.shapes(), synthetic.shapes()
    sets = [np.concatenate((a[rows], b[rows])) for rows in split]
    x, x_valid, x_test = _normalised(*sets)
    y, y_valid, y_test = (torch.cat((torch.ones(len(rows)), torch.zeros(len(rows)))) for rows in split)
    with _seeded(seed):
        net = _Net(32, 1)
        _train(net, x, y, x_valid, y_valid, nn.BCEWithLogitsLoss(), seed, last=True)
        with torch.no_grad():
            wrong = ((net(x_test)[:, -1] > 0).float() != y_test).float().mean()
    return float(wrong)


def usefulness(train_on: Sequences, real: Sequences, seed: int = 0) -> tuple[float, float]:
    """Return (IC, RankIC) on real test sequences of a 2-layer LSTM(64) trained on ``train_on`` to forecast the next return.

    With the real sequences as ``train_on`` it gives the figure to compare with.
    """
    split, shapes = split_by_time(real), train_on.shapes()
    returns = np.clip(train_on.returns(), -20, 20).astype(np.float32)
    x, x_valid, x_test = _normalised(shapes[split.train], shapes[split.valid], real.shapes()[split.test])
    y, y_valid = (torch.from_numpy(returns[rows][:, 1:]) for rows in (split.train, split.valid))
    truth = real.returns()[split.test][:, 1:].ravel()
    with _seeded(seed):
        net = _Net(64, 2)
        _train(net, x[:, :-1], y, x_valid[:, :-1], y_valid, nn.HuberLoss(), seed, last=False)
        with torch.no_grad():
            forecast = net(x_test[:, :-1]).numpy().ravel()
    return float(correlation(forecast, truth)), float(rank_correlation(forecast, truth))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the initial weights inside the block, and restore PyTorch's global random state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
