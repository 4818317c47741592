"""Training objectives: modules that map a batch to the loss and to figures to report.

In training mode they follow the published recipe; in eval mode they are deterministic, causal and teacher-forced
(docs/model.md, section 7).

Legend: B windows, T bars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.generation import engine
from kronos.generation.fused import product_settings
from kronos.nn import Kronos, KronosTokenizer
from kronos.schema import CLOSE, HIGH, LOW, OPEN

Figures = dict[str, Tensor]
Coarse = Literal["sampled", "true"]
COARSE: tuple[Coarse, ...] = ("sampled", "true")


class TokenizerObjective(nn.Module):
    """Tokenizer loss: reconstruction from the coarse and from both tokens, and the quantiser's loss (docs/model.md, section 3).

    Args:
        candle_weight: weight of `candle_error` of the full reconstruction; 0 gives the published loss.
    """

    def __init__(self, tokenizer: KronosTokenizer, candle_weight: float = 0.0) -> None:
        super().__init__()
        self.network, self.candle_weight = tokenizer, candle_weight

    def forward(self, bars_BT6: Tensor) -> tuple[Tensor, Figures]:
        (coarse_BT6, full_BT6), bsq, _, _ = self.network(bars_BT6)
        coarse, full = F.mse_loss(coarse_BT6, bars_BT6), F.mse_loss(full_BT6, bars_BT6)
        loss = (coarse + full + bsq) / 2
        figures = {"mse_coarse": coarse.detach(), "mse": full.detach(), "bsq": bsq.detach()}
        if self.candle_weight:
            candle = candle_error(full_BT6, bars_BT6)
            loss = loss + self.candle_weight * candle
            figures["candle"] = candle.detach()
        return loss, figures


def candle_parts(bars_BT6: Tensor) -> Tensor:
    """Return the shape of candles for bars 1 to T - 1: [B, T - 1, 4].

    Gap (open less the previous close), body (close less open), and high and low less the middle of the body.
    """
    bars, before = bars_BT6[:, 1:], bars_BT6[:, :-1, CLOSE]
    middle = (bars[..., OPEN] + bars[..., CLOSE]) / 2
    return torch.stack(
        (
            bars[..., OPEN] - before,
            bars[..., CLOSE] - bars[..., OPEN],
            bars[..., HIGH] - middle,
            bars[..., LOW] - middle,
        ),
        dim=-1,
    )


def candle_error(found_BT6: Tensor, true_BT6: Tensor, least_range: float = 0.1) -> Tensor:
    """Return the mean squared error of `candle_parts`, in units of each window's mean range (high less low), a scalar.

    The range is taken as at least ``least_range`` deviations of the lookback; below that quantisation noise dominates.
    """
    found, true = candle_parts(found_BT6.float()), candle_parts(true_BT6)
    range_B = (true_BT6[..., HIGH] - true_BT6[..., LOW]).abs().mean(1).clamp_min(least_range)
    return ((found - true).square().mean((1, 2)) / range_B.square()).mean()


class ModelObjective(nn.Module):
    """Model loss: cross entropy of the next coarse and fine token (docs/model.md, section 4).

    Args:
        coarse: coarse token that the fine token is conditioned on in training: "sampled" from the model, as published, or the
            "true" one. In eval mode it is always the true one.

    Raises:
        ValueError: ``coarse`` is neither.
    """

    def __init__(self, model: Kronos, coarse: Coarse = "sampled") -> None:
        super().__init__()
        if coarse not in COARSE:
            raise ValueError(f"coarse must be one of {', '.join(map(repr, COARSE))}, found {coarse!r}")
        self.network, self.coarse = model, coarse

    def forward(self, s1_BT: Tensor, s2_BT: Tensor, stamp_BT5: Tensor, uniform_BT: Tensor) -> tuple[Tensor, Figures]:
        """Return the loss of tokens [B, T] and time features [B, T, 5], and its parts.

        ``uniform_BT``: a number in [0, 1) for each bar, which draws its coarse token, so that draws do not depend on the batch.
        """
        s1, s2, stamp, targets = s1_BT[:, :-1], s2_BT[:, :-1], stamp_BT5[:, :-1], s1_BT[:, 1:]
        if self.training and self.coarse == "sampled":
            logits = self.network(s1, s2, stamp, s1_uniforms=uniform_BT[:, 1:])
        else:
            logits = self.network(s1, s2, stamp, use_teacher_forcing=True, s1_targets=targets)
        loss, s1_loss, s2_loss = self.network.head.compute_loss(logits[0], logits[1], targets, s2_BT[:, 1:])
        return loss, {"s1": s1_loss.detach(), "s2": s2_loss.detach()}


@torch.no_grad()
def tokens_of(tokenizer: KronosTokenizer, bars_BT6: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coarse and fine tokens [B, T] of normalised bars [B, T, 6]."""
    s1, s2 = tokenizer.encode(bars_BT6, half=True)
    return s1, s2


def encoder_of(tokenizer: KronosTokenizer, compiled: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return a function from normalised bars to tokens like `tokens_of`, without gradients, the fastest on this processor."""
    ready = torch.compile(tokens_of) if compiled else tokens_of

    @torch.no_grad()
    def encode(bars_BT6: Tensor) -> tuple[Tensor, Tensor]:
        if bars_BT6.device.type == "cpu" and product_settings().onednn_for_all:
            return engine.encode(tokenizer, bars_BT6)
        return ready(tokenizer, bars_BT6)

    return encode


class KnownTokens:
    """Cache of the tokens of a fixed set of windows, by the windows' numbers.

    Args:
        encode: normalised bars [B, T, 6] -> coarse and fine tokens [B, T], always the same for the same bars.
        windows, length: number of windows, and bars of each; a set that would take more than `MOST_BYTES` is not cached.
    """

    MOST_BYTES = 2**29

    def __init__(self, encode: Callable[[Tensor], tuple[Tensor, Tensor]], windows: int, length: int) -> None:
        self.encode = encode
        kept = windows if windows * length * 2 * 2 <= self.MOST_BYTES else 0
        self._tokens = np.empty((kept, 2, length), np.uint16)
        self._known = np.zeros(kept, bool)

    def __call__(self, bars_BT6: Tensor, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return coarse and fine tokens [B, T] of the windows with these numbers [B], whose bars are ``bars_BT6``."""
        if len(self._known) and self._known[numbers].all():
            s1, s2 = torch.from_numpy(self._tokens[numbers].astype(np.int64)).to(bars_BT6.device).unbind(1)
            return s1, s2
        s1, s2 = self.encode(bars_BT6)
        if len(self._known):
            self._tokens[numbers] = torch.stack((s1, s2), 1).cpu().numpy()
            self._known[numbers] = True
        return s1, s2
