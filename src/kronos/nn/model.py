"""Kronos: the autoregressive model over token pairs (docs/model.md, section 4; paper, section 3.2).

It factorises the next bar as p(s1 | history) * p(s2 | history, s1): a coarse head on the context, and a fine head on the
context plus cross attention from the embedding of the coarse token to the context ("dependency-aware layer").

Legend: B series, T steps (Tq of them queried), D model width, V1 = 2^s1_bits, V2 = 2^s2_bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn.checkpoint import HubCheckpoint
from kronos.nn.config import ModelConfig
from kronos.nn.layers import Block, CrossAttention, Dropout, RMSNorm, run_blocks
from kronos.schema import TIME_FIELDS

TIME_ROWS = dict(zip(TIME_FIELDS, (60, 24, 7, 32, 13), strict=True))
"""Rows of the embedding table of each time feature."""

DEPENDENCY_HEADS = 4


def _sample_from_uniform(share_BTV: Tensor, uniform_BT: Tensor | None) -> Tensor:
    """Draw one code [B, T] from each distribution [B, T, V], by numbers in [0, 1) [B, T], or None for torch's generator."""
    if uniform_BT is None:
        return torch.multinomial(share_BTV.flatten(0, 1), 1).view(share_BTV.shape[:2])
    edges = share_BTV.cumsum(-1)
    at = (uniform_BT.to(edges.dtype)[..., None] * edges[..., -1:]).contiguous()
    return torch.searchsorted(edges, at, right=True)[..., 0].clamp_max(edges.shape[-1] - 1)


class HierarchicalEmbedding(nn.Module):
    """Embedding of a bar's two tokens: each is embedded and scaled by sqrt(D), and a linear layer fuses both."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int = 256) -> None:
        super().__init__()
        self.s1_bits, self.s2_bits, self.d_model = s1_bits, s2_bits, d_model
        self.scale = math.sqrt(d_model)
        self.emb_s1 = nn.Embedding(2**s1_bits, d_model)
        self.emb_s2 = nn.Embedding(2**s2_bits, d_model)
        self.fusion_proj = nn.Linear(2 * d_model, d_model)
        with torch.no_grad():  # from N(0, 1) to N(0, 1/D)
            self.emb_s1.weight.div_(self.scale), self.emb_s2.weight.div_(self.scale)

    def split_token(self, token_ids: Tensor, s2_bits: int) -> tuple[Tensor, Tensor]:
        """Split ids s1 << s2_bits | s2 into (s1, s2). `KronosTokenizer.encode` has the other order: s1 in the low bits."""
        ids = token_ids.long()
        return ids >> s2_bits, ids & ((1 << s2_bits) - 1)

    def forward(self, token_ids: Sequence[Tensor] | Tensor) -> Tensor:
        """Embed the pair [s1, s2] of [B, T] each, or one tensor [B, T] that `split_token` splits -> [B, T, D]."""
        s1, s2 = self.split_token(token_ids, self.s2_bits) if isinstance(token_ids, Tensor) else token_ids
        return self.fusion_proj(torch.cat((self.emb_s1(s1), self.emb_s2(s2)), dim=-1) * self.scale)


class SinusoidTable(nn.Module):
    """Fixed sinusoidal embedding: even columns sin, odd columns cos, frequencies exp(-2i ln(10000) / D)."""

    def __init__(self, c_in: int, d_model: int) -> None:
        super().__init__()
        angles = torch.arange(c_in).float()[:, None] * torch.exp(
            torch.arange(0, d_model, 2).float() * -(math.log(10000.0) / d_model)
        )
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
        self.emb = nn.Embedding.from_pretrained(table, freeze=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.emb(x).detach()


class TemporalEmbedding(nn.Module):
    """Sum of the embeddings of minute, hour, weekday, day and month."""

    def __init__(self, d_model: int, learn_pe: bool) -> None:
        super().__init__()
        for field, rows in TIME_ROWS.items():
            table = nn.Embedding(rows, d_model) if learn_pe else SinusoidTable(rows, d_model)
            self.add_module(f"{field}_embed", table)

    def forward(self, x: Tensor) -> Tensor:
        """Time features [B, T, 5] -> [B, T, D]."""
        columns = x.long().unbind(-1)
        return sum(getattr(self, f"{field}_embed")(ids) for field, ids in zip(TIME_FIELDS, columns, strict=True))  # type: ignore[return-value]


class DependencyLayer(nn.Module):
    """Dependency-aware layer: cross attention from the next step's coarse token to the context, added to the context."""

    def __init__(
        self,
        d_model: int,
        n_heads: int = DEPENDENCY_HEADS,
        attn_dropout_p: float = 0.0,
        resid_dropout: float = 0.0,
        rotate_one: bool = False,
    ) -> None:
        """rotate_one: rotary positions also for fewer queries than steps (`ModelConfig.dependency_rotary`)."""
        super().__init__()
        self.rotate_one = rotate_one
        self.cross_attn = CrossAttention(d_model, n_heads, attn_dropout_p, resid_dropout)
        self.norm = RMSNorm(d_model)

    def forward(
        self,
        hidden_states: Tensor,
        sibling_embed: Tensor,
        key_padding_mask: Tensor | None = None,
        rotate: bool | None = None,
    ) -> Tensor:
        """Attend causally: the query of a step sees the context up to that step. Queries belong to the last Tq steps.

        Args:
            hidden_states: context [B, T, D]. sibling_embed: coarse embeddings of the steps after it [B, Tq, D].
            key_padding_mask: [B, T], True at padding.
            rotate: None rotates T queries, as training does, and fewer only with ``rotate_one``.

        Returns:
            [B, Tq, D]; for one query [B, T, D] as published, of which only the last step is meaningful.
        """
        queried, steps = sibling_embed.shape[1], hidden_states.shape[1]
        rotate = queried == steps or self.rotate_one if rotate is None else rotate
        given = {} if rotate == (queried == steps) else {"rotate": rotate}
        attended = self.cross_attn(
            query=sibling_embed, key=hidden_states, value=hidden_states, key_padding_mask=key_padding_mask, **given
        )
        return self.norm((hidden_states if queried == 1 else hidden_states[:, -queried:]) + attended)


class DualHead(nn.Module):
    """Logits of the coarse and of the fine token, and their loss."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.vocab_s1, self.vocab_s2 = 2**s1_bits, 2**s2_bits
        self.proj_s1 = nn.Linear(d_model, self.vocab_s1)
        self.proj_s2 = nn.Linear(d_model, self.vocab_s2)

    def forward(self, x: Tensor) -> Tensor:
        """Return coarse logits [B, T, V1] of the context [B, T, D]."""
        return self.proj_s1(x)

    def cond_forward(self, x2: Tensor) -> Tensor:
        """Return fine logits [B, T, V2] of the dependency layer's output [B, T, D]."""
        return self.proj_s2(x2)

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return cross entropies in nats of logits [B, T, V] at targets [B, T]: (mean of both, s1, s2); padding is left out.

        Raises:
            ValueError: every bar is padding (True in ``padding_mask``).
        """
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
        self.s1_bits, self.s2_bits, self.s1_vocab_size = s1_bits, s2_bits, 2**s1_bits
        self.n_layers, self.d_model, self.n_heads, self.ff_dim = n_layers, d_model, n_heads, ff_dim
        self.ffn_dropout_p, self.attn_dropout_p, self.resid_dropout_p = ffn_dropout_p, attn_dropout_p, resid_dropout_p
        self.token_dropout_p, self.learn_te, self.dependency_rotary = token_dropout_p, learn_te, dependency_rotary
        self.embedding = HierarchicalEmbedding(s1_bits, s2_bits, d_model)
        self.time_emb = TemporalEmbedding(d_model, learn_te)
        self.token_drop = Dropout(token_dropout_p)
        shape = (d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.transformer = nn.ModuleList(Block(*shape) for _ in range(n_layers))
        self.norm = RMSNorm(d_model)
        self.dep_layer = DependencyLayer(d_model, rotate_one=dependency_rotary)
        self.head = DualHead(s1_bits, s2_bits, d_model)
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        """Xavier-normal linears, zero biases, embeddings N(0, 1/D); fixed tables stay as they are."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
            nn.init.normal_(module.weight, std=self.d_model**-0.5)

    def _context(self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None, padding_mask: Tensor | None) -> Tensor:
        if s1_ids.shape != s2_ids.shape:
            raise ValueError(
                f"s1_ids {list(s1_ids.shape)} and s2_ids {list(s2_ids.shape)} must have one shape [series, steps]"
            )
        x_BTD = self.embedding([s1_ids, s2_ids])
        if stamp is not None:
            if stamp.shape[-2:] != (s1_ids.shape[1], len(TIME_FIELDS)):
                raise ValueError(
                    f"stamp must have the shape [series, {s1_ids.shape[1]}, 5] of its window, found {list(stamp.shape)}"
                )
            x_BTD = x_BTD + self.time_emb(stamp)
        return self.norm(run_blocks(self.transformer, self.token_drop(x_BTD), padding_mask))

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
        """Run the training pass: causal, with rotary positions in the dependency layer whatever ``dependency_rotary`` is.

        Args:
            s1_ids, s2_ids: tokens [B, T].
            stamp: time features [B, T, 5] (minute, hour, weekday, day, month), or None for none.
            padding_mask: [B, T], True at padding.
            use_teacher_forcing: condition the fine token on ``s1_targets`` [B, T] (the true next coarse tokens) instead of on
                coarse tokens drawn from the model's own distribution.
            s1_uniforms: [B, T], numbers in [0, 1) that draw those tokens; None takes torch's generator.

        Returns:
            s1 logits [B, T, 2^s1_bits], s2 logits [B, T, 2^s2_bits] of the *next* step.

        Raises:
            ValueError: ``use_teacher_forcing`` without ``s1_targets``.
        """
        context = self._context(s1_ids, s2_ids, stamp, padding_mask)
        s1_logits = self.head(context)
        if use_teacher_forcing:
            if s1_targets is None or s1_targets.shape != s1_ids.shape:
                raise ValueError(
                    "use_teacher_forcing needs s1_targets: the next coarse tokens, of the same shape as s1_ids"
                )
            s1_next = s1_targets
        else:
            with torch.no_grad():
                s1_next = _sample_from_uniform(s1_logits.float().softmax(-1), s1_uniforms)
        # No sqrt(D) here (docs/model.md, section 4).
        conditioned = self.dep_layer(context, self.embedding.emb_s1(s1_next), key_padding_mask=padding_mask)
        return s1_logits, self.head.cond_forward(conditioned)

    def decode_s1(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the coarse logits of the next step [B, T, V1] and the context [B, T, D] of tokens [B, T]."""
        context = self._context(s1_ids, s2_ids, stamp, padding_mask)
        return self.head(context), context

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return fine logits [B, Tq, V2], given the coarse tokens [B, Tq] drawn for the steps after the context's last Tq.

        Generation passes one (Tq = 1). Queries and keys are rotated only where the config says so (``dependency_rotary``).

        Raises:
            ValueError: more coarse tokens than steps of the context.
        """
        queried = s1_ids.shape[1]
        if queried > context.shape[1]:
            raise ValueError(f"decode_s2 got {queried} coarse tokens for a context of {context.shape[1]} steps")
        given = {} if queried == 1 else {"rotate": self.dependency_rotary}
        coarse = self.embedding.emb_s1(s1_ids)
        conditioned = self.dep_layer(context, coarse, key_padding_mask=padding_mask, **given)
        return self.head.cond_forward(conditioned[:, -queried:])
