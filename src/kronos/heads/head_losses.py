"""What heads are trained on, and their losses.

Legend: N windows, K steps, Q quantile levels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from kronos.heads.examples import HeadExamples
from kronos.heads.head import LEVELS, HeadSpec

TRUTH_CLIP = 12.0
"""Returns are clipped to so many units of the lookback's volatility and the root of the step."""


def targets_of(spec: HeadSpec, examples: HeadExamples) -> np.ndarray:
    """What a head is trained on: returns [N, K] in units of the lookback's volatility and the root of the step, classes [N] (0 a
    fall, 1 little change, 2 a rise), or returns [N] over the horizon less their date's mean, over its deviation, clipped to 3."""
    steps = examples.truth.shape[1]
    scaled = examples.truth / (examples.volatility[:, None] * np.sqrt(np.arange(1, steps + 1)))
    if spec.task == "distribution":
        return np.clip(scaled, -TRUTH_CLIP, TRUTH_CLIP).astype(np.float32)
    if spec.task == "direction":
        return 1 + np.sign(scaled[:, -1]).astype(np.int64) * (np.abs(scaled[:, -1]) > spec.band)
    table = pd.Series(examples.truth[:, -1]).groupby(examples.start)
    deviation = table.transform("std").replace(0.0, np.nan)
    return ((examples.truth[:, -1] - table.transform("mean")) / deviation).fillna(0.0).clip(-3, 3).to_numpy(np.float32)


def loss_of(spec: HeadSpec, found: Tensor, target: Tensor, date: Tensor) -> Tensor:
    """Mean CRPS by pinball loss, cross-entropy, or minus the mean correlation within a date."""
    if spec.task == "distribution":
        levels = torch.tensor(LEVELS)
        edges = torch.cat((torch.zeros(1), (levels[1:] + levels[:-1]) / 2, torch.ones(1)))
        miss = target[..., None] - found
        return (2 * torch.maximum(levels * miss, (levels - 1) * miss) * edges.diff()).sum(-1).mean()
    if spec.task == "direction":
        return F.cross_entropy(found, target)
    _, number = torch.unique(date, return_inverse=True)
    count = int(number.max()) + 1
    size = torch.zeros(count).index_add(0, number, torch.ones(len(number)))

    def centred(values: Tensor) -> Tensor:
        return values - (torch.zeros(count).index_add(0, number, values) / size)[number]

    x, y = centred(found), centred(target)
    xy, xx, yy = (torch.zeros(count).index_add(0, number, product) for product in (x * y, x * x, y * y))
    return -(xy / (xx * yy).clamp(min=1e-12).sqrt()).mean()
