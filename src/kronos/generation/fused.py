"""Fused weights of the networks for generation: the same functions in fewer, larger and cheaper operations.

A step reads every weight once for a few rows, so that its time follows from bytes moved and the number of calls:

- projections of one input are stacked (queries, keys and values; coarse head, keys and values of the dependency layer);
- the weight of a norm is folded into the projection behind it, the softmax scale into the queries;
- functions of a code alone are tables: the fused embedding of both tokens, and the dependency layer's query;
- rotary pairs are adjacent, so that a rotation is one complex product; queries and keys change alike, so scores do not;
- on a CPU weights are reordered for oneDNN, whose products of few rows are up to twice as fast as the ordinary ones (MKL's); so
  are those of one row and of many where MKL leaves AVX-512 unused.

All of it equals `nn` up to rounding (tests/generation).

Legend: S series, P paths, T steps, D width, H heads, E head size, V1 and V2 codes, O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.generation.precision import ON_CPU, ON_GPU, PRECISIONS, Precision
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import Attention, Block, RMSNorm


def _is_amd() -> bool:
    """Whether the processor is AMD's, where the system says so."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


NO_LIMIT = 2**62
PACK_FOR_ROWS = 32
"""Rows for which oneDNN packs weights; the result does not depend on it."""
SMALL_NETWORK, TINY_NETWORK = 2**22, 2**20
"""Weights of the blocks of a network; below this they stay in the processor's cache (float32: 16 MiB), or in that of a core."""


@dataclass(frozen=True)
class ProductSettings:
    """Thresholds, in rows, between the matrix products of a CPU; measured by ``benchmarks/generate.py``.

    Attributes:
        mkl_max_rows, mkl_max_rows_small, mkl_max_rows_tiny: up to so many rows MKL's product is taken, for a large network, below
            `SMALL_NETWORK`, and below `TINY_NETWORK`.
        onednn_max_rows: from there up to so many rows oneDNN's product is taken; above it MKL's again. 0: oneDNN is not used.
        bfloat16_max_rows, int8_max_rows: up to so many rows rounded weights are multiplied in their type, above it in float32.
        pack_bfloat16: weights in bfloat16 are packed for oneDNN too.
    """

    mkl_max_rows: int
    mkl_max_rows_small: int
    mkl_max_rows_tiny: int
    onednn_max_rows: int
    bfloat16_max_rows: int
    int8_max_rows: int
    pack_bfloat16: bool

    @classmethod
    def of_processor(cls, avx512: bool, amx: bool, amd: bool, bf16: bool = False) -> ProductSettings:
        """Return the fastest settings on a processor with these instructions (``bf16``: AVX512_BF16).

        On AMD's, MKL does not use AVX-512: on an EPYC that has it 105 GFLOP/s a core against 240 of oneDNN, and one row of a large
        network's weights at 11 GB/s against 23; packed bfloat16 takes half the time of float32 for any number of rows.
        """
        packed = amx or (amd and avx512 and bf16)
        large, small, tiny = (0, 1, 16) if avx512 and amd else (3, 6, 6) if avx512 else (0, 1, 1)
        return cls(
            mkl_max_rows=large,
            mkl_max_rows_small=small,
            mkl_max_rows_tiny=tiny,
            onednn_max_rows=NO_LIMIT if avx512 and amd else 64,
            bfloat16_max_rows=NO_LIMIT if packed else 1,
            int8_max_rows=8,
            pack_bfloat16=packed,
        )

    @classmethod
    def detect(cls) -> ProductSettings:
        """Return the fastest settings on this processor, within the instructions that PyTorch and oneDNN may use.

        (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA; AMX helps where oneDNN multiplies bfloat16.)
        """
        onednn = _has_onednn()
        avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
        amx = avx512 and getattr(torch.cpu, "_is_amx_tile_supported", bool)()
        amx = amx and onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        bf16 = avx512 and onednn and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
        bf16 = bf16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        settings = cls.of_processor(avx512, amx, _is_amd(), bf16)
        return settings if onednn else replace(settings, onednn_max_rows=0)

    def mkl_rows(self, network_weights: int) -> int:
        """Up to how many rows MKL's product is the fastest, for a network of so many weights in its blocks."""
        if network_weights < TINY_NETWORK:
            return self.mkl_max_rows_tiny
        return self.mkl_max_rows_small if network_weights < SMALL_NETWORK else self.mkl_max_rows

    @property
    def onednn_for_all(self) -> bool:
        """Whether oneDNN's product is the fastest for large batches too."""
        return self.onednn_max_rows == NO_LIMIT


_settings: ProductSettings | None = None


def product_settings() -> ProductSettings:
    """Return the settings in use: detected at the first call, or set by `use_products`."""
    global _settings
    if _settings is None:
        _settings = ProductSettings.detect()
    return _settings


@contextmanager
def use_products(settings: ProductSettings) -> Iterator[None]:
    """Use these settings inside the block, whatever the processor: for tests and measurements. Not thread-safe."""
    global _settings
    before, _settings = product_settings(), settings
    _ready.clear()
    try:
        yield
    finally:
        _settings = before
        _ready.clear()


class Projection:
    """Linear layer x W^T + b of W [O, I]; `plus` adds another tensor in the same operation where the device has one.

    The product is chosen from the processor and the number of rows alone, so that results repeat.
    ``network_weights``: those of the blocks of the network that it belongs to (see `ProductSettings`).
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None, network_weights: int = NO_LIMIT) -> None:
        self.weight, self.bias = weight_OI.contiguous(), bias_O
        self.settings = settings = product_settings()
        self.mkl_max_rows = settings.mkl_rows(network_weights)
        self.packed: Tensor | None = None
        if weight_OI.device.type == "cpu" and weight_OI.dtype == torch.float32 and settings.onednn_max_rows:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACK_FOR_ROWS)

    def _onednn(self, x: Tensor) -> bool:
        rows = x.numel() // x.shape[-1]
        return self.packed is not None and self.mkl_max_rows < rows <= self.settings.onednn_max_rows

    def __call__(self, x: Tensor) -> Tensor:
        if self._onednn(x):
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        if self._onednn(x):
            return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.packed, self.bias, "add")
        return self(x).add_(other)


class QuantizedLinear(Projection):
    """Projection with rounded weights (bfloat16 or int8), so that a step of few rows reads fewer bytes, on a CPU.

    Every number of rows is multiplied with the rounded weights: few rows by a product in the short type, which also rounds
    inputs and outputs to bfloat16; more rows by a float32 product.
    """

    def __init__(self, precision: Precision, weight_OI: Tensor, bias_O: Tensor | None, network_weights: int) -> None:
        settings = product_settings()
        if precision == "bfloat16":
            self.short, self.most_rows = weight_OI.bfloat16().contiguous(), settings.bfloat16_max_rows
            exact = self.short.float()
            if settings.pack_bfloat16:
                self.short = torch.ops.mkldnn._reorder_linear_weight(self.short, PACK_FOR_ROWS)
        else:
            self.scale_O = weight_OI.abs().amax(1).clamp_min(1e-12).div(127).bfloat16()
            self.short = weight_OI.div(self.scale_O.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
            self.most_rows = settings.int8_max_rows
            exact = self.short * self.scale_O.float()[:, None]
        super().__init__(exact, bias_O, network_weights)

    def _few(self, x: Tensor) -> bool:
        return x.numel() <= self.most_rows * x.shape[-1]

    def _onednn(self, x: Tensor) -> bool:
        return not self._few(x) and super()._onednn(x)

    def __call__(self, x: Tensor) -> Tensor:
        if not self._few(x):
            return super().__call__(x)
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        if self.short.dtype == torch.int8:
            out = torch._weight_int8pack_mm(rows, self.short, self.scale_O)
        elif self.short.is_mkldnn:
            out = torch.ops.mkldnn._linear_pointwise(rows, self.short, None, "none", [], "")
        else:
            out = F.linear(rows, self.short)
        out = out.float() if self.bias is None else out + self.bias  # the bias is float32, and so is the sum
        return out.view(*x.shape[:-1], -1)


class ShortLinear(Projection):
    """Projection on a GPU in a 16-bit type: inputs, weights and outputs are rounded to it; `plus` adds in float32."""

    def __init__(self, precision: Precision, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        dtype = getattr(torch, precision)
        super().__init__(weight_OI.to(dtype), None if bias_O is None else bias_O.to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x.to(self.weight.dtype))

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return other + self(x)


def _projection(
    weight_OI: Tensor, bias_O: Tensor | None = None, network_weights: int = NO_LIMIT, precision: Precision = "float32"
) -> Projection:
    if precision == "float32":
        return Projection(weight_OI, bias_O, network_weights)
    device = weight_OI.device.type
    offered = {"cpu": ON_CPU, "cuda": ON_GPU}.get(device, ("float32",))
    if precision not in offered or weight_OI.dtype != torch.float32:
        raise ValueError(
            f"precision {precision!r} is not to be had for {weight_OI.dtype} weights on {weight_OI.device}: load the model in "
            f"float32 and take {' or '.join(offered)}"
        )
    if device != "cpu":
        return ShortLinear(precision, weight_OI, bias_O)
    return QuantizedLinear(precision, weight_OI, bias_O, network_weights)


def _has_onednn() -> bool:
    """Whether PyTorch has the oneDNN operations that its own compiler calls; they are no public interface."""
    ops = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(ops, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _interleave_pairs(x_O: Tensor, heads: int) -> Tensor:
    """Reorder rows [O, ...] of queries or keys from (first half, second half) of every head to adjacent pairs."""
    return x_O.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate adjacent pairs of [..., E] by complex numbers [..., E / 2] of absolute value 1."""
    pairs = x.unflatten(-1, (-1, 2))
    if x.dtype == torch.float32 and x.device.type in ("cpu", "cuda"):
        return torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(-2)
    cos, sin = torch.view_as_real(rotation).to(x.dtype).unbind(-1)
    first, second = pairs.unbind(-1)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)


def rms_normalize(x: Tensor, epsilon: Tensor) -> Tensor:
    """Return x / sqrt(sum of x^2 + D eps): an RMS norm without its weight and the factor sqrt(D), which projections hold.

    ``epsilon`` is sqrt(D eps), so that the root is a hypotenuse: three operations instead of ten.
    """
    length = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32), epsilon)
    return (x / length).to(x.dtype)


def _epsilon(norm: RMSNorm) -> Tensor:
    return torch.tensor((norm.weight.numel() * norm.eps) ** 0.5, device=norm.weight.device)


def rotary_freqs(inv_freq: Tensor, positions: Tensor) -> Tensor:
    """Return the rotary angles at positions [...] as complex numbers [..., E / 2] of absolute value 1."""
    angles = positions.to(inv_freq.dtype)[..., None] * inv_freq
    return torch.complex(angles.cos().float(), angles.sin().float())


class FusedBlock:
    """Transformer block in few operations: one projection before the attention (`qkv`) and three after it."""

    def __init__(self, block: Block, network_weights: int, precision: Precision) -> None:
        attention, ffn = block.self_attn, block.ffn
        self.heads, width = attention.n_heads, attention.q_proj.in_features
        self.eps1, self.eps2 = _epsilon(block.norm1), _epsilon(block.norm2)
        q, k = ([_interleave_pairs(t, self.heads) for t in _parts(p)] for p in (attention.q_proj, attention.k_proj))
        v = _parts(attention.v_proj)
        scale = (width // self.heads) ** -0.5
        weight, bias = (torch.cat((query * scale, key, value)) for query, key, value in zip(q, k, v, strict=True))
        self.qkv_proj = _folded(block.norm1, weight, bias, network_weights, precision)
        self.out = _projection(*_parts(attention.out_proj), network_weights, precision)
        self.gate_up = _folded(block.norm2, torch.cat((ffn.w1.weight, ffn.w3.weight)), None, network_weights, precision)
        self.w2 = _projection(ffn.w2.weight, None, network_weights, precision)

    def qkv(self, x_SPTD: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (scaled and rotated), keys (rotated) and values: [S, H, P, T, E] each."""
        qkv = self.qkv_proj(rms_normalize(x_SPTD, self.eps1)).unflatten(-1, (3, self.heads, -1))
        q, k = rotate(qkv[..., :2, :, :], rotation[..., None, None, :]).unbind(3)
        return tuple(t.permute(0, 3, 1, 2, 4) for t in (q, k, qkv[..., 2, :, :]))  # type: ignore[return-value]

    def output_and_mlp(self, x_SPTD: Tensor, attended_SHPTE: Tensor) -> Tensor:
        """Add the attention's output projection and then the feed-forward layer to x: [S, P, T, D]."""
        x_SPTD = self.out.plus(attended_SHPTE.permute(0, 2, 3, 1, 4).flatten(3), x_SPTD)
        gate, up = self.gate_up(rms_normalize(x_SPTD, self.eps2)).chunk(2, dim=-1)
        return self.w2.plus(F.silu(gate).mul_(up), x_SPTD)


def _parts(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight, linear.bias


def _folded(
    norm: RMSNorm, weight_OI: Tensor, bias_O: Tensor | None, network_weights: int, precision: Precision = "float32"
) -> Projection:
    """Make the projection of `rms_normalize`'s output, with the norm's weight and the factor sqrt(D) folded in."""
    rest = norm.weight.float() * norm.weight.numel() ** 0.5
    return _projection((weight_OI.float() * rest).to(weight_OI.dtype), bias_O, network_weights, precision)


class FusedBlocks:
    """Fused transformer blocks of a network, which share their rotary angles."""

    def __init__(self, blocks: nn.ModuleList, precision: Precision = "float32") -> None:
        self.blocks: list[FusedBlock] = []
        self.inv_freq: Tensor | None = None
        self.weights = sum(weight.numel() for weight in blocks.parameters())
        for block in blocks:
            assert isinstance(block, Block)
            self.blocks.append(FusedBlock(block, self.weights, precision))
            self.inv_freq = block.self_attn.rotary.inv_freq

    def first(self, count: int) -> FusedBlocks:
        """Return the first ``count`` of these blocks; the weights are shared."""
        part = copy(self)
        part.blocks = self.blocks[:count]
        return part

    def rotary_freqs(self, positions: Tensor) -> Tensor:
        assert self.inv_freq is not None
        return rotary_freqs(self.inv_freq, positions)


class FusedKronos:
    """Fused weights of a `Kronos` model for generation."""

    def __init__(self, model: Kronos, precision: Precision = "float32") -> None:
        embedding, head, layer = model.embedding, model.head, model.dep_layer
        attention: Attention = layer.cross_attn
        self.codes, self.dep_eps = 2**model.s1_bits, _epsilon(layer.norm)
        self.eps, self.rest = _epsilon(model.norm), model.norm.weight * model.norm.weight.numel() ** 0.5
        self.heads, self.rotary = attention.n_heads, model.dependency_rotary
        self.inv_freq, self.d_model = attention.rotary.inv_freq, model.d_model
        self.time_emb = model.time_emb
        self.blocks = FusedBlocks(model.transformer, precision)
        weight = embedding.fusion_proj.weight
        table1, table2 = embedding.emb_s1.weight * embedding.scale, embedding.emb_s2.weight * embedding.scale
        self.coarse_VD = F.linear(table1, weight[:, : self.d_model], embedding.fusion_proj.bias)
        self.fine_VD = F.linear(table2, weight[:, self.d_model :])
        q, k, v = (_parts(p) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
        if self.rotary:
            q, k = ((_interleave_pairs(w, self.heads), _interleave_pairs(b, self.heads)) for w, b in (q, k))
        scale = (self.d_model // self.heads) ** -0.5
        self.query_VD = F.linear(embedding.emb_s1.weight, q[0] * scale, q[1] * scale)
        network_weights = self.blocks.weights
        if weight.device.type != "cpu":
            precision = "float32"  # a small part of a step, and logits rounded to 8 bits move probabilities by percents
        weight, bias = (torch.cat(parts) for parts in zip(_parts(head.proj_s1), k, v, strict=True))
        self.coarse_kv_proj = _projection(weight, bias, network_weights, precision)
        self.out = _projection(*_parts(attention.out_proj), network_weights, precision)
        self.fine_head = _folded(layer.norm, *_parts(head.proj_s2), network_weights, precision)

    def embed(self, s1: Tensor, s2: Tensor, time_emb: Tensor) -> Tensor:
        """Embed token pairs [...] and add their time embeddings [..., D]."""
        return F.embedding(s1, self.coarse_VD).add_(F.embedding(s2, self.fine_VD)).add_(time_emb)

    def norm(self, x: Tensor) -> Tensor:
        """Apply the final norm [..., D], which gives the context of the heads."""
        return rms_normalize(x, self.eps).mul_(self.rest)

    def dependency_kv(self, context_STD: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys (not rotated) and values of the dependency layer: [S, T, D] each."""
        both = F.linear(context_STD, self.coarse_kv_proj.weight[self.codes :], self.coarse_kv_proj.bias[self.codes :])  # type: ignore[index]
        return both.chunk(2, dim=-1)  # type: ignore[return-value]

    def coarse_logits_and_kv(self, context_SPD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return coarse logits [S, P, V1], and keys and values as `dependency_kv` does."""
        return self.coarse_kv_proj(context_SPD).split((self.codes, self.d_model, self.d_model), dim=-1)  # type: ignore[return-value]

    def fine_logits(self, context_SPD: Tensor, attended_SPD: Tensor) -> Tensor:
        """Return fine logits [S, P, V2] of the context and the dependency layer's attention output."""
        return self.fine_head(rms_normalize(self.out.plus(attended_SPD, context_SPD), self.dep_eps))


class FusedTokenizer:
    """Fused encoder and decoder blocks of a `KronosTokenizer` for generation."""

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        self.encoder, self.decoder = FusedBlocks(tokenizer.encoder), FusedBlocks(tokenizer.decoder)


_ready: WeakKeyDictionary[nn.Module, dict[str, tuple[Any, Any]]] = WeakKeyDictionary()


def _fused(module: nn.Module, name: str, make: Callable[[], Any]) -> Any:
    """Return the fused weights of this module, from a cache until a weight is changed, moved or replaced."""
    weights = [*module.parameters(), *module.buffers()]
    state: list[Any] = [(w.data_ptr(), w.dtype, None if w.is_inference() else w._version) for w in weights]
    # Made outside inference mode, whatever the caller's: tensors made inside it cannot be used everywhere.
    with torch.inference_mode(False), torch.no_grad():
        # Writing to a parameter's .data leaves no mark on its version, so the weights' norms are compared as well.
        state += [float(size) for size in torch._foreach_norm([w for w in weights if w.is_floating_point()])]
        ready = _ready.setdefault(module, {})
        known = ready.get(name)
        if known is None or known[0] != state:
            ready.clear()  # one precision at a time: each holds all weights
            known = ready[name] = (state, make())
    return known[1]


def fused_model(model: Kronos, precision: Precision = "float32") -> FusedKronos:
    """Return the model's fused weights in one of `PRECISIONS`, cached until its weights change.

    Raises:
        ValueError: no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, found {precision!r}")
    return _fused(model, precision, lambda: FusedKronos(model, precision))


def fused_tokenizer(tokenizer: KronosTokenizer) -> FusedTokenizer:
    """Return the tokenizer's fused blocks in float32, cached until its weights change."""
    return _fused(tokenizer, "float32", lambda: FusedTokenizer(tokenizer))
