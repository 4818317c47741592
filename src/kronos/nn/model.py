"""Kronos: the autoregressive model over token pairs (spec, section 4; paper, section 3.2).

It factorises the next bar as p(s1 | history) * p(s2 | history, s1): a coarse head on the context, and a fine head on the
context after it has looked at itself through the embedding of the coarse token ("dependency-aware layer").

Legend: B series, T steps (Tq of them queried), D model width, V1 = 2^s1_bits, V2 = 2^s2_bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn.checkpoint import HubCheckpoint
from kronos.nn.config import ModelConfig
from kronos.nn.layers import Attention, Block, Dropout, RMSNorm, Visibility, run_blocks

TIME_FIELDS = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}
"""Time features in the order of their columns, and the rows of their embedding tables."""

DEPENDENCY_HEADS = 4


def _draw(share_BTV: Tensor, uniform_BT: Tensor | None) -> Tensor:
    """One code [B, T] for each distribution [B, T, V]."""
    if uniform_BT is None:
        return torch.multinomial(share_BTV.flatten(0, 1), 1).view(share_BTV.shape[:2])
    edges = share_BTV.cumsum(-1)
    at = (uniform_BT.to(edges.dtype)[..., None] * edges[..., -1:]).contiguous()
    return torch.searchsorted(edges, at, right=True)[..., 0].clamp_max(edges.shape[-1] - 1)


class HierarchicalEmbedding(nn.Module):
    """Both tokens of a bar, embedded, scaled by sqrt(D), and fused."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.scale = math.sqrt(d_model)
        self.emb_s1 = nn.Embedding(2**s1_bits, d_model)
        self.emb_s2 = nn.Embedding(2**s2_bits, d_model)
        self.fusion_proj = nn.Linear(2 * d_model, d_model)

    def forward(self, s1_BT: Tensor, s2_BT: Tensor) -> Tensor:
        return self.fusion_proj(torch.cat((self.emb_s1(s1_BT), self.emb_s2(s2_BT)), dim=-1) * self.scale)


class SinusoidTable(nn.Module):
    """A fixed table: even columns sin, odd columns cos, frequencies exp(-2i ln(10000) / D)."""

    def __init__(self, rows: int, d_model: int) -> None:
        super().__init__()
        angles = torch.arange(rows).float()[:, None] * torch.exp(
            torch.arange(0, d_model, 2).float() * -(math.log(10000.0) / d_model)
        )
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
        self.emb = nn.Embedding.from_pretrained(table, freeze=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.emb(ids)


class TemporalEmbedding(nn.Module):
    """Sum of the embeddings of minute, hour, weekday, day and month."""

    def __init__(self, d_model: int, learned: bool) -> None:
        super().__init__()
        for field, rows in TIME_FIELDS.items():
            table = nn.Embedding(rows, d_model) if learned else SinusoidTable(rows, d_model)
            self.add_module(f"{field}_embed", table)

    def forward(self, stamp_BT5: Tensor) -> Tensor:
        columns = stamp_BT5.long().unbind(-1)
        return sum(getattr(self, f"{field}_embed")(ids) for field, ids in zip(TIME_FIELDS, columns, strict=True))  # type: ignore[return-value]


class DependencyLayer(nn.Module):
    """Cross attention from the coarse token of the next step to the context; its result is added to the context."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.cross_attn = Attention(d_model, DEPENDENCY_HEADS)
        self.norm = RMSNorm(d_model)

    def forward(self, context_BTD: Tensor, coarse_BTqD: Tensor, sight: Visibility, rotate: bool) -> Tensor:
        """Causal: the query of a step sees the context up to that step. Queries belong to the last Tq steps."""
        queried, steps = coarse_BTqD.shape[1], context_BTD.shape[1]
        rotation = self.cross_attn.rotary(sight.positions) if rotate else None
        mask = sight.mask
        if mask is not None:
            mask = mask[:, :, -queried:]
        elif 1 < queried < steps:
            mask = torch.ones(queried, steps, dtype=torch.bool, device=context_BTD.device).tril(steps - queried)
        attended = self.cross_attn(coarse_BTqD, context_BTD, rotation, mask, causal=queried == steps)
        return self.norm(context_BTD[:, -queried:] + attended)


class DualHead(nn.Module):
    """Logits of the coarse and of the fine token, and their loss."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(d_model, 2**s1_bits)
        self.proj_s2 = nn.Linear(d_model, 2**s2_bits)

    def forward(self, context_BTD: Tensor) -> Tensor:
        """Coarse logits [B, T, V1]."""
        return self.proj_s1(context_BTD)

    def cond_forward(self, conditioned_BTD: Tensor) -> Tensor:
        """Fine logits [B, T, V2]."""
        return self.proj_s2(conditioned_BTD)

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropies in nats of logits [B, T, V] at targets [B, T]: (their mean, s1, s2); padding (True) is left out."""
        if padding_mask is not None:
            real = ~padding_mask.bool()
            if not real.any():
                raise ValueError("padding_mask leaves no bar to compute a loss on")
            s1_logits, s2_logits, s1_targets, s2_targets = (
                t[real] for t in (s1_logits, s2_logits, s1_targets, s2_targets)
            )
        s1_loss = F.cross_entropy(s1_logits.flatten(0, -2), s1_targets.flatten())
        s2_loss = F.cross_entropy(s2_logits.flatten(0, -2), s2_targets.flatten())
        return (s1_loss + s2_loss) / 2, s1_loss, s2_loss


class Kronos(nn.Module, HubCheckpoint):
    """The autoregressive model: token pairs [B, T] and time features [B, T, 5] in, next-token logits out.

    See `ModelConfig` for the keys. `forward` is the training pass; generation calls `decode_s1`, draws a coarse token, and
    calls `decode_s2` with it.
    """

    config_class = ModelConfig
    config: ModelConfig

    def __init__(
        self,
        s1_bits: int,
        s2_bits: int,
        n_layers: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        token_dropout_p: float,
        learn_te: bool,
        dependency_rotary: bool = False,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.config = ModelConfig(**given)
        self.s1_bits, self.s2_bits, self.d_model = s1_bits, s2_bits, d_model
        self.dependency_rotary = dependency_rotary
        self.embedding = HierarchicalEmbedding(s1_bits, s2_bits, d_model)
        self.time_emb = TemporalEmbedding(d_model, learn_te)
        self.token_drop = Dropout(token_dropout_p)
        shape = (d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.transformer = nn.ModuleList(Block(*shape) for _ in range(n_layers))
        self.norm = RMSNorm(d_model)
        self.dep_layer = DependencyLayer(d_model)
        self.head = DualHead(s1_bits, s2_bits, d_model)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        """Xavier-normal linears, zero biases, embeddings N(0, 1/D); fixed tables stay as they are."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
            nn.init.normal_(module.weight, std=self.d_model**-0.5)

    def _context(self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None, sight: Visibility) -> Tensor:
        if s1_ids.shape != s2_ids.shape:
            raise ValueError(
                f"s1_ids {list(s1_ids.shape)} and s2_ids {list(s2_ids.shape)} must have one shape [series, steps]"
            )
        x_BTD = self.embedding(s1_ids, s2_ids)
        if stamp is not None:
            if stamp.shape[-2:] != (s1_ids.shape[1], len(TIME_FIELDS)):
                raise ValueError(
                    f"stamp must have the shape [series, {s1_ids.shape[1]}, 5] of its window, found {list(stamp.shape)}"
                )
            x_BTD = x_BTD + self.time_emb(stamp)
        return self.norm(run_blocks(self.transformer, self.token_drop(x_BTD), sight))

    def _fine_logits(self, context_BTD: Tensor, s1_next_BTq: Tensor, sight: Visibility, rotate: bool) -> Tensor:
        coarse_BTqD = self.embedding.emb_s1(s1_next_BTq)  # no sqrt(D) here (spec, section 4)
        return self.head.cond_forward(self.dep_layer(context_BTD, coarse_BTqD, sight, rotate))

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
        s1_uniforms: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The training pass, causal and with rotary positions in the dependency layer, whatever the config says of generation.

        Args:
            s1_ids, s2_ids: tokens [B, T].
            stamp: time features [B, T, 5] (minute, hour, weekday, day, month), or None for none.
            padding_mask: [B, T], True at padding.
            use_teacher_forcing: condition the fine token on ``s1_targets`` [B, T] (the true next coarse tokens) instead of on
                coarse tokens drawn from the model's own distribution.
            s1_uniforms: [B, T], numbers in [0, 1) that draw those tokens; None takes torch's generator.

        Returns:
            s1 logits [B, T, 2^s1_bits], s2 logits [B, T, 2^s2_bits] of the *next* step.
        """
        sight = Visibility.of(s1_ids, padding_mask)
        context = self._context(s1_ids, s2_ids, stamp, sight)
        s1_logits = self.head(context)
        if use_teacher_forcing:
            if s1_targets is None or s1_targets.shape != s1_ids.shape:
                raise ValueError(
                    "use_teacher_forcing needs s1_targets: the next coarse tokens, of the same shape as s1_ids"
                )
            s1_next = s1_targets
        else:
            with torch.no_grad():
                s1_next = _draw(s1_logits.float().softmax(-1), s1_uniforms)
        return s1_logits, self._fine_logits(context, s1_next, sight, rotate=True)

    def decode_s1(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B, T] -> coarse logits of the next step at every position [B, T, V1], and the context [B, T, D]."""
        context = self._context(s1_ids, s2_ids, stamp, Visibility.of(s1_ids, padding_mask))
        return self.head(context), context

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Fine logits [B, Tq, V2] given the coarse tokens [B, Tq] drawn for the steps after the last Tq of the context.

        Generation passes one (Tq = 1). Queries and keys are rotated only where the config says so (``dependency_rotary``).
        """
        if s1_ids.shape[1] > context.shape[1]:
            raise ValueError(f"decode_s2 got {s1_ids.shape[1]} coarse tokens for a context of {context.shape[1]} steps")
        sight = Visibility.of(context, padding_mask)
        return self._fine_logits(context, s1_ids, sight, rotate=self.dependency_rotary)
