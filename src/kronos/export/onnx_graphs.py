"""The five graphs of a Kronos pair, as modules that ONNX can express: plain attention, no bit operations, caches as arguments.

Legend: B series, L bars so far, N blocks, H heads, E head size, D width, V1 and V2 codes, 6 features, 5 time features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import Attention, Block, Rotation, run_blocks


def powers(bits: int) -> Tensor:
    return 2 ** torch.arange(bits)


class Encoder(nn.Module):
    """Graph of the encoder: normalised bars [B, L, 6] -> coarse and fine tokens [B, L] each."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.tokenizer, self.s1_bits = tokenizer, tokenizer.s1_bits
        self.powers1: Tensor
        self.powers2: Tensor
        self.register_buffer("powers1", powers(tokenizer.s1_bits))
        self.register_buffer("powers2", powers(tokenizer.s2_bits))

    def forward(self, bars: Tensor) -> tuple[Tensor, Tensor]:
        net = self.tokenizer
        code = net.quant_embed(run_blocks(net.encoder, net.embed(bars)))
        # A token's bit is set where the normalised code is above zero; normalising leaves the sign alone.
        on = (code > 0).long()
        return (on[..., : self.s1_bits] * self.powers1).sum(-1), (on[..., self.s1_bits :] * self.powers2).sum(-1)


class Decoder(nn.Module):
    """Graph of the decoder: coarse and fine tokens [B, L] each -> normalised bars [B, L, 6]."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.tokenizer, self.scale = tokenizer, tokenizer.quantizer.scale
        self.powers1: Tensor
        self.powers2: Tensor
        self.register_buffer("powers1", powers(tokenizer.s1_bits))
        self.register_buffer("powers2", powers(tokenizer.s2_bits))

    def forward(self, s1: Tensor, s2: Tensor) -> Tensor:
        net = self.tokenizer
        bits = torch.cat(((s1[..., None] // self.powers1) % 2, (s2[..., None] // self.powers2) % 2), dim=-1)
        hidden = net.post_quant_embed((bits * 2 - 1).float() * self.scale)
        return net.head(run_blocks(net.decoder, hidden))


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def read_block(
    block: Block, x: Tensor, rotation: Rotation, past: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run x [B, T, D] through a block, after past keys and values [B, H, L, E]; return x, and all keys and values."""
    attention: Attention = block.self_attn
    normed = block.norm1(x)
    q, (k, v) = rotation(attention.queries(normed)), attention.keys_values(normed)
    k = rotation(k)
    if past is not None:
        k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
    x = x + attention.merge(attend(q, k, v, causal=past is None))
    return x + block.ffn(block.norm2(x)), k, v


class _Model(nn.Module):
    """Base of `Prefill` and `Step`."""

    def __init__(self, model: Kronos) -> None:
        super().__init__()
        self.model = model

    def read(
        self, s1: Tensor, s2: Tensor, stamp: Tensor, positions: Tensor, past: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, ...]:
        """Run tokens [B, T], stamps [B, T, 5] -> coarse logits [B, V1] and context [B, D] of the last bar, and the caches."""
        net = self.model
        x = net.embedding([s1, s2]) + net.time_emb(stamp)
        keys, values = [], []
        rotation = net.transformer[0].self_attn.rotary.rotation(positions[None])  # type: ignore[union-attr,operator]
        for number, block in enumerate(net.transformer):
            assert isinstance(block, Block)
            before = None if past is None else (past[0][number], past[1][number])
            x, k, v = read_block(block, x, rotation, before)
            keys.append(k)
            values.append(v)
        context = net.norm(x)
        layer: Attention = net.dep_layer.cross_attn
        k, v = layer.keys_values(context)
        if net.dependency_rotary:
            k = layer.rotary.rotation(positions[None])(k)
        if past is not None:
            k, v = torch.cat((past[2], k), dim=2), torch.cat((past[3], v), dim=2)
        last = context[:, -1]
        return net.head(last), last, torch.stack(keys), torch.stack(values), k, v


class Prefill(_Model):
    """Graph of the prefill.

    Tokens of the lookback [B, L] each and time features [B, L, 5] -> coarse logits of the next bar [B, V1], the context of
    the last bar [B, D], keys and values of the blocks [N, B, H, L, E], and of the dependency layer [B, H', L, E'].
    """

    def forward(self, s1: Tensor, s2: Tensor, stamp: Tensor) -> tuple[Tensor, ...]:
        return self.read(s1, s2, stamp, torch.arange(s1.shape[1]), None)


class Step(_Model):
    """Graph of a step: one more bar, s1 and s2 [B], stamp [B, 5], and the caches of L bars -> as `Prefill`, with L + 1."""

    def forward(
        self, s1: Tensor, s2: Tensor, stamp: Tensor, keys: Tensor, values: Tensor, dep_keys: Tensor, dep_values: Tensor
    ) -> tuple[Tensor, ...]:
        position = torch.arange(dep_keys.shape[2], dep_keys.shape[2] + 1)
        past = (keys, values, dep_keys, dep_values)
        return self.read(s1[:, None], s2[:, None], stamp[:, None], position, past)


class Fine(nn.Module):
    """Graph of the fine logits [B, V2] of the next bar.

    Its inputs are the bar's coarse token [B], the context of the last bar [B, D] and the caches of the dependency layer.
    """

    def __init__(self, model: Kronos) -> None:
        super().__init__()
        self.model = model

    def forward(self, s1: Tensor, context: Tensor, dep_keys: Tensor, dep_values: Tensor) -> Tensor:
        net = self.model
        layer: Attention = net.dep_layer.cross_attn
        q = layer.queries(net.embedding.emb_s1(s1)[:, None])
        if net.dependency_rotary:
            at = torch.arange(dep_keys.shape[2] - 1, dep_keys.shape[2])
            q = layer.rotary.rotation(at[None])(q)
        looked = layer.merge(attend(q, dep_keys, dep_values, causal=False))[:, 0]
        return net.head.cond_forward(net.dep_layer.norm(context + looked))
