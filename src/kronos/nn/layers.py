"""The transformer block of both networks (docs/model.md, section 2): pre-norm, causal, rotary positions, SwiGLU.

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
        """Return the angles of the last ``steps`` positions."""
        return Rotation(self.cos[..., -steps:, :], self.sin[..., -steps:, :])


class Rotary(nn.Module):
    """Rotary position embedding (RoPE, arXiv 2104.09864), base 10000, half-split: angles are concatenated with themselves."""

    inv_freq: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, dim, 2).float() / dim))
        self.seq_len_cached: int | None = None
        self.cos_cached: Tensor | None = None
        self.sin_cached: Tensor | None = None

    def rotation(self, positions: Tensor) -> Rotation:
        """Return the rotation at positions [1 or B, T] for heads of this size."""
        angles = positions.to(self.inv_freq.dtype)[:, None, :, None] * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        return Rotation(angles.cos(), angles.sin())

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys [B, H, T, E] by positions 0..T-1; with one query both are returned unchanged."""
        steps, cos, sin = q.shape[-2], self.cos_cached, self.sin_cached
        # Tensors made in inference mode cannot be trained through.
        usable = cos is not None and cos.device == q.device and cos.is_inference() <= torch.is_inference_mode_enabled()
        if cos is None or sin is None or not usable or steps != self.seq_len_cached:
            cos, sin = self.rotation(torch.arange(steps, device=q.device)[None])
            self.seq_len_cached, self.cos_cached, self.sin_cached = steps, cos, sin
        rotation = Rotation(cos, sin)
        return rotation(q), rotation(k)


class AttentionContext(NamedTuple):
    """Attention mask and rotary positions of a batch of left-padded windows.

    Attributes:
        mask: None (causal, no padding), or bool [B, 1, T, T], True where a query (third axis) may attend to a key (fourth).
        positions: [1 or B, T].
    """

    mask: Tensor | None
    positions: Tensor

    @staticmethod
    def of(x: Tensor, padding_mask: Tensor | None) -> AttentionContext:
        """Make it for a window x [B, T, ...] and a padding mask [B, T] that is True (non-zero) at padding.

        Positions count real bars only, so that left padding does not change the angles, and the results, of the real bars.

        Raises:
            ValueError: the mask has another shape than the window.
        """
        batch, steps = x.shape[:2]
        if padding_mask is None:
            return AttentionContext(None, torch.arange(steps, device=x.device)[None])
        if padding_mask.shape != (batch, steps):
            raise ValueError(
                f"padding_mask must have the shape [{batch}, {steps}] of its window, found {list(padding_mask.shape)}"
            )
        real = ~padding_mask.bool()
        causal = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
        # A padded query sees itself: a row of a softmax with nothing in it would be NaN.
        itself = torch.eye(steps, dtype=torch.bool, device=x.device)
        mask = (causal & real[:, None, :]) | itself
        return AttentionContext(mask[:, None], (real.long().cumsum(1) - 1).clamp_min(0))


class RMSNorm(nn.Module):
    """Root-mean-square norm (arXiv 1910.07467), computed in float32 and cast back, times a learned weight."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU the mask uses 16 random bits a value, four values a draw, which takes an eighth of the time.

    The probability is then a multiple of 2 ** -16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu":
            return super().forward(x)
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),)).view(torch.int16)[: x.numel()].view(x.shape)
        return x * ((bits >= dropped - 2**15) * (2**16 / (2**16 - dropped))).to(x.dtype)


MOST_WEIGHTS = 2**28
"""Bytes of a layer's attention weights; a layer with more does not keep them for the backward pass."""


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float, causal: bool) -> Tensor:
    """Scaled dot-product attention, causal only where there is no mask."""
    causal = causal and mask is None
    short = q.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    steps = q.shape[2]
    fits = q.shape[0] * q.shape[1] * steps * steps * 2 <= MOST_WEIGHTS
    if short and causal and dropout_p == 0 and k.shape[2] == steps and fits:
        return _attend_in_blocks(q, k, v)
    q = q.float() if short else q  # in bfloat16 its backward pass takes four times as long on a CPU
    with torch.autocast("cpu", enabled=False) if short else nullcontext():
        return F.scaled_dot_product_attention(
            q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask, dropout_p=dropout_p, is_causal=causal
        )


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention by bfloat16 products, for a block of queries at a time with the keys up to its last query.

    PyTorch's own attention has no fast bfloat16 products on a CPU, and takes more than twice the time.
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
    """Multi-head scaled dot-product attention with biases and rotary positions."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout_p: float = 0.0, resid_dropout_p: float = 0.0) -> None:
        super().__init__()
        self.d_model, self.n_heads, self.head_dim = d_model, n_heads, d_model // n_heads
        self.attn_dropout_p = attn_dropout_p
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = Rotary(self.head_dim)
        self.resid_dropout = Dropout(resid_dropout_p)

    def heads(self, x_BTD: Tensor) -> Tensor:
        """Split the width into heads: [B, T, D] -> [B, H, T, E]."""
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def keys_values(self, memory_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, not yet rotated, and values, [B, H, T, E] each."""
        return self.heads(self.k_proj(memory_BTD)), self.heads(self.v_proj(memory_BTD))

    def queries(self, query_BTD: Tensor) -> Tensor:
        """Queries, not yet rotated, [B, H, Tq, E]."""
        return self.heads(self.q_proj(query_BTD))

    def merge(self, attended_BHTE: Tensor) -> Tensor:
        """Join the heads and project the result: [B, H, Tq, E] -> [B, Tq, D]."""
        return self.resid_dropout(self.out_proj(attended_BHTE.transpose(1, 2).flatten(2)))

    def attend(
        self,
        q_BHTE: Tensor,
        k_BHTE: Tensor,
        v_BHTE: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        causal: bool,
    ) -> Tensor:
        """Attend with queries [B, H, Tq, E], which belong to the last Tq steps, to keys and values [B, H, T, E].

        Rotation None leaves queries and keys unrotated. Returns [B, Tq, D].
        """
        if rotation is not None:
            q_BHTE, k_BHTE = rotation.last(q_BHTE.shape[2])(q_BHTE), rotation(k_BHTE)
        dropout = self.attn_dropout_p if self.training else 0.0
        return self.merge(_attend(q_BHTE, k_BHTE, v_BHTE, mask, dropout, causal))


class SelfAttention(Attention):
    """Causal self-attention."""

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """x [B, T, D], padding mask [B, T] (True at padding) -> [B, T, D]."""
        context = AttentionContext.of(x, key_padding_mask)
        rotation = self.rotary.rotation(context.positions)
        return self.attend(self.queries(x), *self.keys_values(x), rotation, context.mask, causal=True)


class CrossAttention(Attention):
    """Causal attention from the last Tq steps of a window to all T steps."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout_p: float = 0.0, resid_dropout: float = 0.0) -> None:
        super().__init__(d_model, n_heads, attn_dropout_p, resid_dropout)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        rotate: bool | None = None,
    ) -> Tensor:
        """query [B, Tq, D], key and value [B, T, D], padding mask [B, T] (True at padding) -> [B, Tq, D].

        rotate: whether queries and keys get rotary positions; None rotates where there is a query for each step.
        """
        queried, steps = query.shape[1], key.shape[1]
        context = AttentionContext.of(key, key_padding_mask)
        rotate = queried == steps if rotate is None else rotate
        mask = context.mask
        if mask is not None:
            mask = mask[:, :, -queried:]
        elif 1 < queried < steps:
            mask = torch.ones(queried, steps, dtype=torch.bool, device=key.device).tril(steps - queried)
        q, k, v = self.queries(query), self.heads(self.k_proj(key)), self.heads(self.v_proj(value))
        rotation = self.rotary.rotation(context.positions) if rotate else None
        return self.attend(q, k, v, rotation, mask, causal=queried == steps)


class SwiGLU(nn.Module):
    """Feed-forward layer w2(silu(w1 x) * w3 x) without biases (arXiv 2002.05202)."""

    def __init__(self, d_model: int, ff_dim: int, ffn_dropout_p: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.ffn_dropout = Dropout(ffn_dropout_p)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn_dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class Block(nn.Module):
    """Transformer block, pre-norm: x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x))."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int = 1024,
        ffn_dropout_p: float = 0.0,
        attn_dropout_p: float = 0.0,
        resid_dropout_p: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = SelfAttention(d_model, n_heads, attn_dropout_p, resid_dropout_p)
        self.norm2 = RMSNorm(d_model)
        self.ffn = SwiGLU(d_model, ff_dim, ffn_dropout_p)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """x [B, T, D], padding mask [B, T] (True at padding) -> [B, T, D]."""
        x = x + self.self_attn(self.norm1(x), key_padding_mask=key_padding_mask)
        return x + self.ffn(self.norm2(x))


def run_blocks(blocks: nn.ModuleList, x_BTD: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Pass x [B, T, D] through the blocks, with the arguments of the published networks, so that replaced blocks work too."""
    for block in blocks:
        x_BTD = block(x_BTD, key_padding_mask=padding_mask)
    return x_BTD
