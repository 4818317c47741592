"""Drawing one token from logits: temperature, top-k and top-p (nucleus), in this order, each of which may be off.

Legend: B rows, V codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

COLDEST = 1e-8
"""Below this temperature float32 logits cannot be divided without overflow, and only the likeliest code is ever drawn."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: divides the logits; 0 is greedy.
        top_k: keep the k likeliest codes; None or 0 is off.
        top_p: keep the likeliest codes that together hold this probability; None or 1 is off. Applied after top_k.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not _is_real(self.temperature) or not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number of at least 0, found {self.temperature!r}")
        if self.top_k is not None and (not _is_whole(self.top_k) or self.top_k < 0):
            raise ValueError(f"top_k must be a whole number of at least 0, or None for off, found {self.top_k!r}")
        if self.top_p is not None and (not _is_real(self.top_p) or not 0 < self.top_p <= 1):
            raise ValueError(f"top_p must lie in (0, 1], or None for off, found {self.top_p!r}")

    @property
    def greedy(self) -> bool:
        return self.temperature < COLDEST or self.top_k == 1


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def restrict(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Temperature applied, and every code that top-k or top-p leaves out at -inf. The likeliest code always stays."""
    logits_BV = logits_BV / sampling.temperature
    if sampling.top_k and sampling.top_k < logits_BV.shape[-1]:
        least = logits_BV.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least, -torch.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = logits_BV.sort(dim=-1, descending=True)
        p = ordered.softmax(-1)
        # A code goes where the likelier ones before it already hold more than top_p.
        out = (p.cumsum(-1) - p) > sampling.top_p
        out[..., 0] = False
        logits_BV = logits_BV.masked_fill(out.scatter(-1, order, out), -torch.inf)
    return logits_BV


def draw(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """One code a row: logits [B, V] -> ids [B, 1]."""
    if sampling.greedy:
        return logits_BV.argmax(-1, keepdim=True)
    p = restrict(logits_BV.float(), sampling).softmax(-1)
    return torch.multinomial(p, 1, generator=generator)


def sample_from_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    sample_logits: bool = True,
) -> Tensor:
    """Kept interface: logits [B, V] -> ids [B, 1]; sample_logits=False takes the likeliest code instead of drawing."""
    if not sample_logits:
        return logits.argmax(-1, keepdim=True)
    return draw(logits, Sampling(temperature, top_k, top_p))
