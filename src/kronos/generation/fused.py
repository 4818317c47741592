"""The networks' weights made ready for generation: the same maps in fewer, larger and cheaper operations.

A step reads every weight once for a few rows, so what counts is bytes moved and the number of calls:

- projections of one input are stacked (queries, keys and values; coarse head, keys and values of the dependency layer);
- the weight of a norm is folded into the projection behind it, the softmax scale into the queries;
- what depends on a code alone is a table: the fused embedding of both tokens, and the dependency layer's query;
- rotary pairs are made neighbours, so that a rotation is one complex product. Queries and keys change alike: scores do not;
- on a CPU weights are reordered for oneDNN, whose matrix-vector product here reads 1.5 to 2 times as fast as the ordinary one.

All of it equals `nn` to rounding; tests hold it to that.

Legend: S series, P paths, T steps, D width, H heads, E head size, V1 and V2 codes, O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import Attention, Block, RMSNorm

FEW_ROWS = 64
"""Up to here oneDNN's product is the faster one, above it the ordinary one is."""
PACK_FOR_ROWS = 32
"""The number of rows that oneDNN lays the weights out for; any number is right."""
IN_CACHE = 2**22
"""The weights of blocks with fewer numbers stay in the processor's cache, where the ordinary product of one row is faster."""


class Projection:
    """x W^T + b of W [O, I], and what so often follows it, in one operation where the device has one.

    ``in_cache``: the weights are near, so that one row is better off without oneDNN.
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None, in_cache: bool = False) -> None:
        self.weight, self.bias, self.in_cache = weight_OI.contiguous(), bias_O, in_cache
        self.packed: Tensor | None = None
        if weight_OI.device.type == "cpu" and weight_OI.dtype == torch.float32 and _has_onednn():
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACK_FOR_ROWS)

    def _onednn(self, x: Tensor) -> bool:
        rows = x.numel() // x.shape[-1]
        return self.packed is not None and rows <= FEW_ROWS and not (self.in_cache and rows == 1)

    def __call__(self, x: Tensor) -> Tensor:
        if self._onednn(x):
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        if self._onednn(x):
            return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.packed, self.bias, "mul")
        return F.linear(x, self.weight, self.bias).mul_(other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        if self._onednn(x):
            return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.packed, self.bias, "add")
        return F.linear(x, self.weight, self.bias).add_(other)


def _has_onednn() -> bool:
    """PyTorch's own compiler calls these operations; they are looked for because they are no promised interface."""
    ops = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(ops, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _pairs_side_by_side(x_O: Tensor, heads: int) -> Tensor:
    """Rows [O, ...] of queries or keys, from (first half, second half) of every head to neighbouring pairs."""
    return x_O.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn neighbouring pairs of [..., E] by complex [..., E / 2] numbers of length one."""
    pairs = x.unflatten(-1, (-1, 2))
    if x.dtype == torch.float32 and x.device.type in ("cpu", "cuda"):
        return torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(-2)
    cos, sin = torch.view_as_real(rotation).to(x.dtype).unbind(-1)
    first, second = pairs.unbind(-1)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)


def turns(inv_freq: Tensor, positions: Tensor) -> Tensor:
    """Positions [...] -> complex [..., E / 2]: the rotary angles as numbers of length one."""
    angles = positions.to(inv_freq.dtype)[..., None] * inv_freq
    return torch.complex(angles.cos().float(), angles.sin().float())


class FusedBlock:
    """A transformer block: three projections before the attention and two after it are five operations."""

    def __init__(self, block: Block, in_cache: bool) -> None:
        attention, ffn = block.self_attn, block.ffn
        self.heads, self.eps, self.width = attention.n_heads, block.norm1.eps, attention.q_proj.in_features
        q, k = ([_pairs_side_by_side(t, self.heads) for t in _parts(p)] for p in (attention.q_proj, attention.k_proj))
        v = _parts(attention.v_proj)
        scale = (self.width // self.heads) ** -0.5
        weight, bias = (torch.cat((query * scale, key, value)) for query, key, value in zip(q, k, v, strict=True))
        self.qkv = _folded(block.norm1, weight, bias, in_cache)
        self.out = Projection(*_parts(attention.out_proj), in_cache)
        self.w1, self.w3 = (_folded(block.norm2, linear.weight, None, in_cache) for linear in (ffn.w1, ffn.w3))
        self.w2 = Projection(ffn.w2.weight, None, in_cache)

    def project(self, x_SPTD: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, scaled, keys, both rotated, and values: [S, H, P, T, E] each."""
        qkv = self.qkv(F.rms_norm(x_SPTD, (self.width,), None, self.eps)).unflatten(-1, (3, self.heads, -1))
        q, k = rotate(qkv[..., :2, :, :], rotation[..., None, None, :]).unbind(3)
        return tuple(t.permute(0, 3, 1, 2, 4) for t in (q, k, qkv[..., 2, :, :]))  # type: ignore[return-value]

    def finish(self, x_SPTD: Tensor, attended_SHPTE: Tensor) -> Tensor:
        x_SPTD = self.out.plus(attended_SHPTE.permute(0, 2, 3, 1, 4).flatten(3), x_SPTD)
        normed = F.rms_norm(x_SPTD, (self.width,), None, self.eps)
        return self.w2.plus(self.w3.times(normed, F.silu(self.w1(normed), inplace=True)), x_SPTD)


def _parts(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight, linear.bias


def _folded(norm: RMSNorm, weight_OI: Tensor, bias_O: Tensor | None, in_cache: bool = False) -> Projection:
    """norm, then a projection, with the norm's weight inside the projection."""
    return Projection((weight_OI.float() * norm.weight.float()).to(weight_OI.dtype), bias_O, in_cache)


class FusedBlocks:
    """Blocks that share their rotary angles."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        self.blocks: list[FusedBlock] = []
        self.inv_freq: Tensor | None = None
        self.in_cache = sum(weight.numel() for weight in blocks.parameters()) < IN_CACHE
        for block in blocks:
            assert isinstance(block, Block)
            self.blocks.append(FusedBlock(block, self.in_cache))
            self.inv_freq = block.self_attn.rotary.inv_freq

    def turns(self, positions: Tensor) -> Tensor:
        assert self.inv_freq is not None
        return turns(self.inv_freq, positions)


class FusedKronos:
    """The model's weights for generation."""

    def __init__(self, model: Kronos) -> None:
        embedding, head, layer = model.embedding, model.head, model.dep_layer
        attention: Attention = layer.cross_attn
        self.norm, self.codes, self.dep_eps = model.norm, 2**model.s1_bits, layer.norm.eps
        self.heads, self.rotary = attention.n_heads, model.dependency_rotary
        self.inv_freq, self.d_model = attention.rotary.inv_freq, model.d_model
        self.time_emb = model.time_emb
        self.blocks = FusedBlocks(model.transformer)
        weight = embedding.fusion_proj.weight
        table1, table2 = embedding.emb_s1.weight * embedding.scale, embedding.emb_s2.weight * embedding.scale
        self.coarse_VD = F.linear(table1, weight[:, : self.d_model], embedding.fusion_proj.bias)
        self.fine_VD = F.linear(table2, weight[:, self.d_model :])
        q, k, v = (_parts(p) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
        if self.rotary:
            q, k = ((_pairs_side_by_side(w, self.heads), _pairs_side_by_side(b, self.heads)) for w, b in (q, k))
        scale = (self.d_model // self.heads) ** -0.5
        self.query_VD = F.linear(embedding.emb_s1.weight, q[0] * scale, q[1] * scale)
        in_cache = self.blocks.in_cache
        weight, bias = (torch.cat(parts) for parts in zip(_parts(head.proj_s1), k, v, strict=True))
        self.outlook = Projection(weight, bias, in_cache)
        self.out = Projection(*_parts(attention.out_proj), in_cache)
        self.fine_head = _folded(layer.norm, *_parts(head.proj_s2), in_cache)

    def embed(self, s1: Tensor, s2: Tensor, time_emb: Tensor) -> Tensor:
        return F.embedding(s1, self.coarse_VD).add_(F.embedding(s2, self.fine_VD)).add_(time_emb)

    def memory(self, context_STD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, not rotated, and values of the dependency layer: [S, T, D] each."""
        both = F.linear(context_STD, self.outlook.weight[self.codes :], self.outlook.bias[self.codes :])  # type: ignore[index]
        return both.chunk(2, dim=-1)  # type: ignore[return-value]

    def look(self, context_SPD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse logits [S, P, V1], and what `memory` gives."""
        return self.outlook(context_SPD).split((self.codes, self.d_model, self.d_model), dim=-1)  # type: ignore[return-value]

    def fine_logits(self, context_SPD: Tensor, attended_SPD: Tensor) -> Tensor:
        return self.fine_head(F.rms_norm(self.out.plus(attended_SPD, context_SPD), (self.d_model,), None, self.dep_eps))


class FusedTokenizer:
    """The tokenizer's decoder for generation."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        self.blocks = FusedBlocks(tokenizer.decoder)


_ready: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()


def _fused(module: nn.Module, make: Callable[[Any], Any]) -> Any:
    """What was made ready for this module, made anew when a weight has been changed, moved or replaced since."""
    weights = [*module.parameters(), *module.buffers()]
    state: list[Any] = [(w.data_ptr(), w.dtype, None if w.is_inference() else w._version) for w in weights]
    # Writing to a parameter's .data leaves no mark on its version, so the weights' sizes are compared as well.
    with torch.inference_mode():
        state += [float(size) for size in torch._foreach_norm([w for w in weights if w.is_floating_point()])]
        known = _ready.get(module)
        if known is None or known[0] != state:
            known = _ready[module] = (state, make(module))
    return known[1]


def fused_model(model: Kronos) -> FusedKronos:
    return _fused(model, FusedKronos)


def fused_tokenizer(tokenizer: KronosTokenizer) -> FusedTokenizer:
    return _fused(tokenizer, FusedTokenizer)
