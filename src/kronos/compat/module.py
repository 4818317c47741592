"""The names of the published ``model/module.py``: layers and quantisers, most of them the classes that our networks are made of.

Two differences on purpose: a padding mask works (True at padding; the published attention fails with one), and cross attention
is causal in eval mode too, where the published one sees later bars.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from kronos.nn import quantizer
from kronos.nn.layers import Block as TransformerBlock
from kronos.nn.layers import CrossAttention as MultiHeadCrossAttentionWithRoPE
from kronos.nn.layers import RMSNorm
from kronos.nn.layers import Rotary as RotaryPositionalEmbedding
from kronos.nn.layers import SelfAttention as MultiHeadAttentionWithRoPE
from kronos.nn.layers import SwiGLU as FeedForward
from kronos.nn.model import DependencyLayer as DependencyAwareLayer
from kronos.nn.model import DualHead, HierarchicalEmbedding, TemporalEmbedding
from kronos.nn.model import SinusoidTable as FixedEmbedding
from kronos.nn.tokenizer import Quantizer as BSQuantizer

__all__ = [
    "BSQuantizer",
    "BinarySphericalQuantizer",
    "DependencyAwareLayer",
    "DifferentiableEntropyFunction",
    "DualHead",
    "F",
    "FeedForward",
    "FixedEmbedding",
    "Function",
    "HierarchicalEmbedding",
    "MultiHeadAttentionWithRoPE",
    "MultiHeadCrossAttentionWithRoPE",
    "RMSNorm",
    "RotaryPositionalEmbedding",
    "TemporalEmbedding",
    "TransformerBlock",
    "codebook_entropy",
    "math",
    "nn",
    "torch",
]


class DifferentiableEntropyFunction(Function):
    """Entropy of how often each of the 2^K codes is used, with a gradient for the codes."""

    @staticmethod
    def forward(ctx: Any, zq: Tensor, basis: Tensor, K: int, eps: float) -> Tensor:
        """zq [..., K], codes +-1; basis [K], the value of each bit; eps is added to each count."""
        ids = ((zq > 0) * basis).sum(-1)
        share = torch.bincount(ids.flatten(), minlength=2**K).to(zq.dtype) + eps
        share = share / share.sum()
        ctx.save_for_backward(zq, ids, share)
        ctx.bits = K
        return -(share * share.log()).sum()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        zq, ids, share = ctx.saved_tensors
        slope = -grad_output * (share.log() + 1) / (ids.numel() * ctx.bits)
        return slope[ids].unsqueeze(-1) * zq, None, None, None


def codebook_entropy(zq: Tensor, basis: Tensor, K: int, eps: float = 1e-4) -> Tensor:
    """Entropy of the use of the 2^K codes by codes zq [..., K] of +-1, a scalar in nats."""
    return DifferentiableEntropyFunction.apply(zq, basis, K, eps)


class BinarySphericalQuantizer(quantizer.BinarySphericalQuantizer):
    """The quantiser with the arguments and further methods of the published one.

    Args:
        input_format: "bchw" makes `get_codebook_entry` return a square image [B, K, h, h].
        soft_entropy: False has no loss here; the published code fails there.
        persample_entropy_compute: "analytical" takes the entropies bit by bit, "group" by groups of bits.
        cb_entropy_compute: not used, as published.
        l2_norm: codes are +-1/sqrt(K), else +-1.
        inv_temperature: factor inside the soft assignments, and divisor of their entropies.
    """

    group_codebook: Tensor

    def __init__(
        self,
        embed_dim: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        input_format: str = "bchw",
        soft_entropy: bool = True,
        group_size: int = 9,
        persample_entropy_compute: str = "analytical",
        cb_entropy_compute: str = "group",
        l2_norm: bool = True,
        inv_temperature: float = 1,
    ) -> None:
        if embed_dim % group_size:
            raise ValueError(f"group_size {group_size} does not divide embed_dim {embed_dim}")
        _check_choice("persample_entropy_compute", persample_entropy_compute, ("group", "analytical"))
        _check_choice("cb_entropy_compute", cb_entropy_compute, ("group", "nce"))
        form = "bits" if persample_entropy_compute == "analytical" else "groups"
        super().__init__(embed_dim, beta, gamma0, gamma, zeta, group_size, form, inv_temperature)
        self.input_format, self.soft_entropy, self.l2_norm = input_format, soft_entropy, l2_norm
        self.persample_entropy_compute, self.cb_entropy_compute = persample_entropy_compute, cb_entropy_compute
        self.inv_temperature, self.num_groups = inv_temperature, embed_dim // group_size
        self.num_dimensions, self.bits_per_index = 2**embed_dim, embed_dim
        self.scale = embed_dim**-0.5 if l2_norm else 1.0
        codes = self._codes(torch.arange(2**group_size), self.group_basis).float()
        self.register_buffer("group_codebook", codes, persistent=False)

    @staticmethod
    def _codes(ids: Tensor, basis: Tensor) -> Tensor:
        """Big-endian integers [...] -> codes +-1 [..., bits]."""
        return ids.unsqueeze(-1) // basis % 2 * 2 - 1

    def weighted(self, z_BTK: Tensor, q_BTK: Tensor, per_sample: Tensor, codebook: Tensor) -> Tensor:
        return super().weighted(z_BTK, q_BTK, per_sample / self.inv_temperature, codebook / self.inv_temperature)

    def forward(self, z: Tensor, collect_metrics: bool = True) -> tuple[Tensor, Tensor, dict[str, Tensor | None]]:
        """As of `kronos.nn.quantizer`; the figures have "avg_prob" too, the average soft assignment."""
        if collect_metrics and not self.soft_entropy:
            raise NotImplementedError("soft_entropy=False has no loss; call with collect_metrics=False")
        q, loss, metrics = super().forward(z, collect_metrics)
        return q, loss, {**metrics, "avg_prob": self._average(z)} if collect_metrics else metrics

    def _average(self, z: Tensor) -> Tensor:
        """Average soft assignment: to the two values of each bit [K, 2], or to the codes of each group [G, 2^g]."""
        if self.codebook_entropy == "bits":
            p = torch.sigmoid(-4 * self.inv_temperature * self.scale * z).flatten(0, -2).mean(0)
            return torch.stack((p, 1 - p), dim=-1)
        groups = z.flatten(0, -2).unflatten(-1, (-1, self.group_size))
        return (2 * self.inv_temperature * self.scale * groups @ self.group_codebook.T).softmax(-1).mean(0)

    def soft_entropy_loss(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Entropy a sample, entropy of the average assignment, and that assignment."""
        return *self.entropies(z), self._average(z)

    def get_hard_per_sample_entropy(self, zb_by_sample: Tensor) -> Tensor:
        """Mean over samples [B, T, K] of bits 0 or 1 of the summed entropies of their bits' shares."""
        p = zb_by_sample.mean(1)
        return (quantizer.entropy(p) + quantizer.entropy(1 - p)).sum(-1).mean()

    def get_entropy(self, count: Tensor, dim: int = -1, eps: float = 1e-4, normalize: bool = True) -> Tensor:
        """Entropy along ``dim`` of counts or, with normalize=False, of probabilities."""
        p = (count + eps) / (count + eps).sum(dim=dim, keepdim=True) if normalize else count
        return quantizer.entropy(p).sum(dim)

    def group_indexes_to_codes(self, group_indices: Tensor) -> Tensor:
        """What `codes_to_group_indexes` took: integers [..., G] -> codes +-1, int64 [..., K]."""
        return self._codes(group_indices, self.group_basis).flatten(-2)

    def get_codebook_entry(self, indices: Tensor) -> Tensor:
        """Big-endian integers [B, L] -> quantised vectors [B, L, K], or [B, K, h, h] with L = h x h for "bchw"."""
        return self._entry(self.indexes_to_codes(indices))

    def get_group_codebook_entry(self, group_indices: Tensor) -> Tensor:
        """The same of integers of each group [B, L, G]."""
        return self._entry(self.group_indexes_to_codes(group_indices))

    def _entry(self, codes: Tensor) -> Tensor:
        q = codes * self.scale
        if self.input_format != "bchw":
            return q
        side = math.isqrt(q.shape[1])
        if side * side != q.shape[1]:
            raise ValueError(f'{q.shape[1]} codes make no square image; input_format "blc" keeps sequences')
        return q.transpose(1, 2).unflatten(2, (side, side))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, found {value!r}")
