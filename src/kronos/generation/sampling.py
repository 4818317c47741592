"""Draw a token from logits: temperature, top-k and top-p (nucleus), in this order, each of which may be off.

Legend: B rows, V codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kronos.number_checks import is_real, is_whole

COLDEST = 1e-8
"""Below this temperature float32 logits cannot be divided without overflow, and only the likeliest code is ever drawn."""


@dataclass(frozen=True)
class Sampling:
    """Settings of how tokens are drawn.

    Attributes:
        temperature: divides the logits; 0 is greedy.
        top_k: keep the k likeliest codes; None or 0 is off.
        top_p: keep the likeliest codes that together hold this probability; None or 1 is off. Applied after top_k.
            Codes exactly as likely as the last one kept are kept with it.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not is_real(self.temperature) or not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number of at least 0, found {self.temperature!r}")
        if self.top_k is not None and (not is_whole(self.top_k) or self.top_k < 0):
            raise ValueError(f"top_k must be a whole number of at least 0, or None for off, found {self.top_k!r}")
        if self.top_p is not None and (not is_real(self.top_p) or not 0 < self.top_p <= 1):
            raise ValueError(f"top_p must lie in (0, 1], or None for off, found {self.top_p!r}")

    @classmethod
    def published(cls, T: float, top_k: int | None, top_p: float | None) -> Sampling:
        """Make it from arguments of the published interface.

        A top_k below 1 and a top_p above 1 are off, as None is; a top_p of 0 or less keeps only the likeliest code.

        Raises:
            ValueError: a temperature below 0, or an argument that is no number.
        """
        if top_p is not None and is_real(top_p):
            if top_p <= 0:
                top_k, top_p = 1, None
            elif top_p > 1:
                top_p = None
        return cls(T, 0 if top_k is not None and is_whole(top_k) and top_k < 0 else top_k, top_p)

    def with_(self, temperature: float | None = None, top_k: int | None = None, top_p: float | None = None) -> Sampling:
        """Return a copy in which arguments that are not None replace its values, to merge a model's and a caller's settings."""
        given: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    @property
    def greedy(self) -> bool:
        return self.temperature < COLDEST or self.top_k == 1


def weights(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Return the sampling weights float32 [B, V]: probabilities at the temperature, zero for codes outside top-k or top-p.

    Rows sum to the probability that is kept; the likeliest code is always kept.
    """
    logits_BV = logits_BV.float() / sampling.temperature
    if sampling.top_k and sampling.top_k < logits_BV.shape[-1]:
        least = logits_BV.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least, -torch.inf)
    p = logits_BV.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered = _ascending(p)
        mass = ordered.cumsum(-1)
        # A code goes where the likelier ones after it already hold more than top_p; the likeliest stays.
        out = torch.searchsorted(mass, mass[..., -1:] - sampling.top_p)
        least = ordered.gather(-1, out.clamp_max_(p.shape[-1] - 1))
        p.mul_(p >= least)
    return p


def _ascending(p_BV: Tensor) -> Tensor:
    """Sort the values of each row; on a CPU by NumPy, several times faster than PyTorch, which also returns indices."""
    if p_BV.device.type == "cpu":
        return torch.from_numpy(np.sort(p_BV.detach().numpy(), axis=-1))
    return p_BV.sort(dim=-1).values


def draw(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """Draw one code a row: logits [B, V] -> ids [B, 1]; ``generator`` None takes PyTorch's global one."""
    if sampling.greedy:
        return logits_BV.argmax(-1, keepdim=True)
    return torch.multinomial(weights(logits_BV, sampling), 1, generator=generator)


def sample_from_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    sample_logits: bool = True,
) -> Tensor:
    """Draw one code a row, by `Sampling.published`: logits [B, V] -> ids [B, 1]; sample_logits=False takes the likeliest.

    Interface of the published code (docs/model.md, section 8).
    """
    if not sample_logits:
        return logits.argmax(-1, keepdim=True)
    return draw(logits, Sampling.published(temperature, top_k, top_p))
