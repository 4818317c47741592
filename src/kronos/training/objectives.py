"""What is minimised: a network and a batch in, the loss and figures to report out.

In training mode as the published recipe has it; in eval mode deterministic, causal and teacher-forced (spec, section 7).

Legend: B windows, T bars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from kronos.generation import engine
from kronos.generation.fused import ONEDNN_FOR_ALL
from kronos.nn import Kronos, KronosTokenizer

Figures = dict[str, Tensor]
Coarse = Literal["sampled", "true"]
COARSE: tuple[Coarse, ...] = ("sampled", "true")


class TokenizerObjective(nn.Module):
    """Reconstruction by the coarse and by both tokens, and the quantiser's own loss (spec, section 3)."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.network = tokenizer

    def forward(self, bars_BT6: Tensor) -> tuple[Tensor, Figures]:
        loss, coarse, full, bsq = self.network.compute_loss(bars_BT6)
        return loss, {"mse_coarse": coarse.detach(), "mse": full.detach(), "bsq": bsq.detach()}


class ModelObjective(nn.Module):
    """Cross entropy of the next coarse and fine token (spec, section 4).

    Args:
        coarse: what the fine token is conditioned on in training: a coarse token "sampled" from the model, as published, or the
            "true" one. In eval mode it is always the true one.
    """

    def __init__(self, model: Kronos, coarse: Coarse = "sampled") -> None:
        super().__init__()
        if coarse not in COARSE:
            raise ValueError(f"coarse must be one of {', '.join(map(repr, COARSE))}, found {coarse!r}")
        self.network, self.coarse = model, coarse

    def forward(self, s1_BT: Tensor, s2_BT: Tensor, stamp_BT5: Tensor, uniform_BT: Tensor) -> tuple[Tensor, Figures]:
        """``uniform_BT``: a number in [0, 1) for each bar, which draws its coarse token: a window's draws are its own."""
        s1, s2, stamp, targets = s1_BT[:, :-1], s2_BT[:, :-1], stamp_BT5[:, :-1], s1_BT[:, 1:]
        if self.training and self.coarse == "sampled":
            logits = self.network(s1, s2, stamp, s1_uniforms=uniform_BT[:, 1:])
        else:
            logits = self.network(s1, s2, stamp, use_teacher_forcing=True, s1_targets=targets)
        loss, s1_loss, s2_loss = self.network.head.compute_loss(logits[0], logits[1], targets, s2_BT[:, 1:])
        return loss, {"s1": s1_loss.detach(), "s2": s2_loss.detach()}


@torch.no_grad()
def tokens_of(tokenizer: KronosTokenizer, bars_BT6: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse and fine tokens [B, T] of normalised bars, by a tokenizer that is not trained."""
    s1, s2 = tokenizer.encode(bars_BT6, half=True)
    return s1, s2


def encoder_of(tokenizer: KronosTokenizer, compiled: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """`tokens_of` this tokenizer, the fastest way that there is on this processor."""
    ready = torch.compile(tokens_of) if compiled else tokens_of

    @torch.no_grad()
    def encode(bars_BT6: Tensor) -> tuple[Tensor, Tensor]:
        if bars_BT6.device.type == "cpu" and ONEDNN_FOR_ALL:
            return engine.encode(tokenizer, bars_BT6)
        return ready(tokenizer, bars_BT6)

    return encode


class KnownTokens:
    """Tokens of a fixed set of windows, by number: encoded when a window first comes, and looked up when it comes again.

    Args:
        encode: normalised bars [B, T, 6] -> coarse and fine tokens [B, T], always the same for the same bars.
        windows, length: how many windows there are, and their bars; sets that would take more than `MOST_BYTES` are not kept.
    """

    MOST_BYTES = 2**29

    def __init__(self, encode: Callable[[Tensor], tuple[Tensor, Tensor]], windows: int, length: int) -> None:
        self.encode = encode
        kept = windows if windows * length * 2 * 2 <= self.MOST_BYTES else 0
        self._tokens = np.empty((kept, 2, length), np.uint16)
        self._known = np.zeros(kept, bool)

    def __call__(self, bars_BT6: Tensor, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """Coarse and fine tokens [B, T] of the windows with these numbers, whose bars are ``bars_BT6``."""
        if len(self._known) and self._known[numbers].all():
            s1, s2 = torch.from_numpy(self._tokens[numbers].astype(np.int64)).to(bars_BT6.device).unbind(1)
            return s1, s2
        s1, s2 = self.encode(bars_BT6)
        if len(self._known):
            self._tokens[numbers] = torch.stack((s1, s2), 1).cpu().numpy()
            self._known[numbers] = True
        return s1, s2
