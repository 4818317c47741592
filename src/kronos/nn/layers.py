"""The transformer block of both networks (spec, section 2): pre-norm, causal, rotary positions, SwiGLU.

Legend: B series, T steps (Tq of them queries), D model width, H heads, E = D / H head size, F feed-forward width.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Rotation(NamedTuple):
    """Cosines and sines of the rotary angles, [1 or B, 1, T, E]."""

    cos: Tensor
    sin: Tensor

    def __call__(self, x_BHTE: Tensor) -> Tensor:
        first, second = x_BHTE.chunk(2, dim=-1)
        return x_BHTE * self.cos + torch.cat((-second, first), dim=-1) * self.sin

    def last(self, steps: int) -> Rotation:
        """The angles of the last ``steps`` positions."""
        return Rotation(self.cos[..., -steps:, :], self.sin[..., -steps:, :])


class Rotary(nn.Module):
    """Rotary positions, base 10000, half-split convention: angles are concatenated with themselves."""

    inv_freq: Tensor

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, head_size, 2).float() / head_size))

    def forward(self, positions: Tensor) -> Rotation:
        """positions [1 or B, T] -> the rotation for heads of this size."""
        angles = positions.to(self.inv_freq.dtype)[:, None, :, None] * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        return Rotation(angles.cos(), angles.sin())


class Visibility(NamedTuple):
    """Who sees whom in a window, and where each bar stands.

    mask: None (causal, no padding) or bool [B, 1, T, T], True where the query may look; positions [1 or B, T].
    """

    mask: Tensor | None
    positions: Tensor

    @staticmethod
    def of(x: Tensor, padding_mask: Tensor | None) -> Visibility:
        """For a window x [B, T, ...] and a padding mask [B, T] that is True (non-zero) at padding.

        Positions count real bars only, so that left padding leaves the real bars' angles, and so their numbers, unchanged.
        """
        batch, steps = x.shape[:2]
        if padding_mask is None:
            return Visibility(None, torch.arange(steps, device=x.device)[None])
        if padding_mask.shape != (batch, steps):
            raise ValueError(
                f"padding_mask must have the shape [{batch}, {steps}] of its window, found {list(padding_mask.shape)}"
            )
        real = ~padding_mask.bool()
        causal = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
        # A padded query sees itself: a row of a softmax with nothing in it would be NaN.
        itself = torch.eye(steps, dtype=torch.bool, device=x.device)
        mask = (causal & real[:, None, :]) | itself
        return Visibility(mask[:, None], (real.long().cumsum(1) - 1).clamp_min(0))


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 and cast back, times a learned weight."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU with a mask from 16 random bits a number, four numbers a draw, which takes an eighth of the time.

    The probability is then a multiple of 2 ** -16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu":
            return super().forward(x)
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),)).view(torch.int16)[: x.numel()].view(x.shape)
        return x * ((bits >= dropped - 2**15) * (2**16 / (2**16 - dropped))).to(x.dtype)


MOST_WEIGHTS = 2**28
"""Bytes of attention weights of a layer; where there would be more, they are not kept."""


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float, causal: bool) -> Tensor:
    """Scaled dot-product attention, causal only where there is no mask."""
    causal = causal and mask is None
    short = q.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    steps = q.shape[2]
    fits = q.shape[0] * q.shape[1] * steps * steps * 2 <= MOST_WEIGHTS
    if short and causal and dropout_p == 0 and k.shape[2] == steps and fits:
        return _in_pieces(q, k, v)
    q = q.float() if short else q  # in bfloat16 its backward pass takes four times as long on a CPU
    with torch.autocast("cpu", enabled=False) if short else nullcontext():
        return F.scaled_dot_product_attention(
            q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask, dropout_p=dropout_p, is_causal=causal
        )


def _in_pieces(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention by products in bfloat16, a piece of the queries at a time with the keys that it sees.

    PyTorch's own has no good products of that kind on a CPU, and takes more than twice the time.
    """
    steps = q.shape[2]
    q, k, v = (q * q.shape[-1] ** -0.5).bfloat16(), k.bfloat16(), v.bfloat16()
    piece = -(-steps // (2 if steps <= 128 else 4))
    done = []
    for first in range(0, steps, piece):
        last = min(first + piece, steps)
        later = torch.ones(last - first, last, dtype=torch.bool).triu(first + 1)
        scores = q[:, :, first:last] @ k[:, :, :last].transpose(2, 3)
        done.append(scores.masked_fill(later, -torch.inf).softmax(-1).bfloat16() @ v[:, :, :last])
    return torch.cat(done, dim=2)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention with biases; self-attention where query is memory."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout_p: float = 0.0, resid_dropout_p: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attn_dropout_p = attn_dropout_p
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = Rotary(d_model // n_heads)
        self.resid_dropout = Dropout(resid_dropout_p)

    def heads(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, E]"""
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def keys_values(self, memory_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, not yet rotated, and values, [B, H, T, E] each."""
        return self.heads(self.k_proj(memory_BTD)), self.heads(self.v_proj(memory_BTD))

    def queries(self, query_BTD: Tensor) -> Tensor:
        """Queries, not yet rotated, [B, H, Tq, E]."""
        return self.heads(self.q_proj(query_BTD))

    def merge(self, attended_BHTE: Tensor) -> Tensor:
        """[B, H, Tq, E] -> [B, Tq, D]"""
        return self.resid_dropout(self.out_proj(attended_BHTE.transpose(1, 2).flatten(2)))

    def forward(
        self, query_BTD: Tensor, memory_BTD: Tensor, rotation: Rotation | None, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """The queries belong to the last Tq steps of the memory; rotation None leaves both unrotated."""
        q, (k, v) = self.queries(query_BTD), self.keys_values(memory_BTD)
        if rotation is not None:
            q, k = rotation.last(q.shape[2])(q), rotation(k)
        dropout = self.attn_dropout_p if self.training else 0.0
        return self.merge(_attend(q, k, v, mask, dropout, causal))


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), no biases."""

    def __init__(self, d_model: int, ff_dim: int, dropout_p: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.ffn_dropout = Dropout(dropout_p)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.ffn_dropout(self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD)))


class Block(nn.Module):
    """x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x))."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float = 0.0,
        attn_dropout_p: float = 0.0,
        resid_dropout_p: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = Attention(d_model, n_heads, attn_dropout_p, resid_dropout_p)
        self.norm2 = RMSNorm(d_model)
        self.ffn = SwiGLU(d_model, ff_dim, ffn_dropout_p)

    def forward(self, x_BTD: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        normed = self.norm1(x_BTD)
        x_BTD = x_BTD + self.self_attn(normed, normed, rotation, mask, causal=True)
        return x_BTD + self.ffn(self.norm2(x_BTD))


def run_blocks(blocks: nn.ModuleList, x_BTD: Tensor, sight: Visibility) -> Tensor:
    """Pass x through the blocks; their angles are the same, so they are computed once."""
    if len(blocks):
        first = blocks[0]
        assert isinstance(first, Block)
        rotation = first.self_attn.rotary(sight.positions)
        for block in blocks:
            x_BTD = block(x_BTD, rotation, sight.mask)
    return x_BTD
