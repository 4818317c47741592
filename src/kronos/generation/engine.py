"""Generation with caches: the numbers of `generation/reference`, without computing anything twice.

Verbs: `prefill` reads a window once; `step` appends one bar to it and reads only that bar. The paths of a series share the
window's keys and values, which are attended to in place: scores against the shared part are one matrix product for all paths of
a series, and the softmax runs over both parts together, so the result is exact.

Past ``max_context`` the window slides: positions restart, so every hidden state changes, and the window is read anew. With
``stride`` 0 that happens at every step (the reference's numbers). With stride n, n bars more than needed are dropped at once, and
the next n steps come from the cache: each is an exact evaluation of the model, on between max_context - n and max_context bars.

Legend: S series, P paths, N = S x P rows, L bars of a prefix, T new bars, H heads, E head size, D width, K bars of a suffix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.generation.sampling import Sampling, restrict
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import Block, Rotation, Visibility

Progress = Callable[[int], None]


class Cache:
    """Keys and values of one attention layer: a prefix that the paths of a series share, and each row's own suffix."""

    def __init__(self, key_SHLE: Tensor, value_SHLE: Tensor, paths: int, room: int) -> None:
        self.key, self.value, self.paths = key_SHLE, value_SHLE, paths
        series, heads, _, size = key_SHLE.shape
        shape = (series * paths, heads, room, size)
        self.own_key, self.own_value = key_SHLE.new_empty(shape), key_SHLE.new_empty(shape)
        self.filled = 0

    def append(self, key_NHTE: Tensor, value_NHTE: Tensor) -> None:
        steps = slice(self.filled, self.filled + key_NHTE.shape[2])
        self.own_key[:, :, steps], self.own_value[:, :, steps] = key_NHTE, value_NHTE
        self.filled = steps.stop

    def _by_series(self, x_NHTX: Tensor) -> Tensor:
        """[N, H, T, X] -> [S, H, P x T, X]: what all paths of a series ask of its one prefix."""
        rows, heads, steps, size = x_NHTX.shape
        split = x_NHTX.view(rows // self.paths, self.paths, heads, steps, size)
        return split.transpose(1, 2).flatten(2, 3)

    def _by_row(self, x_SHQX: Tensor) -> Tensor:
        """[S, H, P x T, X] -> [N, H, T, X]"""
        series, heads, queries, size = x_SHQX.shape
        split = x_SHQX.view(series, heads, self.paths, queries // self.paths, size)
        return split.transpose(1, 2).flatten(0, 1)

    def attend(self, q_NHTE: Tensor, hidden_SL: Tensor | None) -> Tensor:
        """Attention of the latest T bars of every row to the prefix, to its own suffix and, causally, to each other."""
        steps, filled = q_NHTE.shape[2], self.filled
        q_NHTE = q_NHTE * q_NHTE.shape[3] ** -0.5
        to_prefix = self._by_series(q_NHTE) @ self.key.transpose(2, 3)
        if hidden_SL is not None:
            to_prefix = to_prefix.masked_fill(hidden_SL[:, None, None], -torch.inf)
        own_key, own_value = self.own_key[:, :, :filled], self.own_value[:, :, :filled]
        to_own = q_NHTE @ own_key.transpose(2, 3)
        if steps > 1:
            later = torch.ones(steps, filled, dtype=torch.bool, device=q_NHTE.device).triu(filled - steps + 1)
            to_own = to_own.masked_fill(later, -torch.inf)
        prefix = to_prefix.shape[-1]
        weight = torch.cat((self._by_row(to_prefix), to_own), dim=-1).softmax(-1)
        from_prefix = self._by_row(self._by_series(weight[..., :prefix]) @ self.value)
        return from_prefix + weight[..., prefix:] @ own_value


@dataclass
class Prefix:
    """A window of S series, read once: what later bars need of it. ``hidden`` [S, L] is True at left padding."""

    caches: list[Cache]
    hidden: Tensor | None
    positions_SL: Tensor

    def next_positions(self, steps: int, paths: int) -> Tensor:
        """Positions [N, T] of the next T bars after those already in the caches."""
        first = self.positions_SL[:, -1] + 1 + self.caches[0].filled
        return (first[:, None] + torch.arange(steps, device=first.device)).repeat_interleave(paths, dim=0)


def prefill_blocks(
    blocks: nn.ModuleList, x_SLD: Tensor, hidden_SL: Tensor | None, paths: int, room: int
) -> tuple[Tensor, Prefix]:
    """Run a left-padded window through the blocks, keeping keys and values: [S, L, D] -> [S, L, D] and the prefix."""
    mask, positions = Visibility.of(x_SLD, hidden_SL)
    rotation = _rotation(blocks, positions)
    caches: list[Cache] = []
    for block in blocks:
        assert isinstance(block, Block)
        attention, normed = block.self_attn, block.norm1(x_SLD)
        q, (k, v) = rotation(attention.queries(normed)), attention.keys_values(normed)
        k = rotation(k)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x_SLD = x_SLD + attention.merge(out)
        x_SLD = x_SLD + block.ffn(block.norm2(x_SLD))
        caches.append(Cache(k, v, paths, room))
    return x_SLD, Prefix(caches, hidden_SL, positions.expand(len(x_SLD), -1))


def extend_blocks(blocks: nn.ModuleList, x_NTD: Tensor, prefix: Prefix, paths: int) -> Tensor:
    """Run T new bars of every row through the blocks, after what the caches hold: [N, T, D] -> [N, T, D]."""
    rotation = _rotation(blocks, prefix.next_positions(x_NTD.shape[1], paths))
    for block, cache in zip(blocks, prefix.caches, strict=True):
        assert isinstance(block, Block)
        attention, normed = block.self_attn, block.norm1(x_NTD)
        k, v = attention.keys_values(normed)
        cache.append(rotation(k), v)
        x_NTD = x_NTD + attention.merge(cache.attend(rotation(attention.queries(normed)), prefix.hidden))
        x_NTD = x_NTD + block.ffn(block.norm2(x_NTD))
    return x_NTD


def _rotation(blocks: nn.ModuleList, positions: Tensor) -> Rotation:
    """The blocks' angles are the same, so they are computed once."""
    first = blocks[0]
    assert isinstance(first, Block)
    return first.self_attn.rotary(positions)


class ModelWindow:
    """The model's window of S series with P paths each: prefilled once, then extended bar by bar."""

    def __init__(
        self,
        model: Kronos,
        s1_SL: Tensor,
        s2_SL: Tensor,
        stamp_SL5: Tensor,
        hidden_SL: Tensor | None,
        paths: int,
        room: int,
    ) -> None:
        self.model, self.paths = model, paths
        embedded = model.embedding(s1_SL, s2_SL) + model.time_emb(stamp_SL5)
        x, self.prefix = prefill_blocks(model.transformer, embedded, hidden_SL, paths, room)
        context = model.norm(x)
        attention = model.dep_layer.cross_attn
        key, value = attention.keys_values(context)
        if model.dependency_rotary:
            key = attention.rotary(self.prefix.positions_SL)(key)
        # The latest context belongs to each row's own part, where the next ones follow it.
        self.dependency = Cache(key[:, :, :-1], value[:, :, :-1], paths, room + 1)
        self.dependency.append(*(t[:, :, -1:].repeat_interleave(paths, dim=0) for t in (key, value)))
        self.hidden = None if hidden_SL is None else hidden_SL[:, :-1]
        self.last_ND = context[:, -1].repeat_interleave(paths, dim=0)
        self.at_N = self.prefix.positions_SL[:, -1].repeat_interleave(paths)

    def coarse_logits(self) -> Tensor:
        """[N, V1], of the next bar."""
        return self.model.head(self.last_ND)

    def fine_logits(self, s1_N: Tensor) -> Tensor:
        """[N, V2], of the next bar, given its coarse token."""
        layer = self.model.dep_layer
        attention = layer.cross_attn
        q = attention.queries(self.model.embedding.emb_s1(s1_N)[:, None])
        if self.model.dependency_rotary:
            q = attention.rotary(self.at_N[:, None])(q)
        out = attention.merge(self.dependency.attend(q, self.hidden))
        return self.model.head.cond_forward(layer.norm(self.last_ND[:, None] + out))[:, 0]

    def step(self, s1_N: Tensor, s2_N: Tensor, stamp_N5: Tensor) -> None:
        """Append a bar to every row."""
        model = self.model
        x = model.embedding(s1_N[:, None], s2_N[:, None]) + model.time_emb(stamp_N5[:, None])
        context = model.norm(extend_blocks(model.transformer, x, self.prefix, self.paths))
        self.last_ND, self.at_N = context[:, 0], self.at_N + 1
        attention = model.dep_layer.cross_attn
        key, value = attention.keys_values(context)
        if model.dependency_rotary:
            key = attention.rotary(self.at_N[:, None])(key)
        self.dependency.append(key, value)


def pick(logits_NV: Tensor, sampling: Sampling, uniform_N: Tensor) -> Tensor:
    """One code a row, the one whose share of the distribution holds the row's number in [0, 1): [N]."""
    if sampling.greedy:
        return logits_NV.argmax(-1)
    cumulative = restrict(logits_NV.float(), sampling).softmax(-1).double().cumsum(-1)
    at = torch.searchsorted(cumulative, (uniform_N * cumulative[:, -1])[:, None], right=True)[:, 0]
    return at.clamp_max(logits_NV.shape[-1] - 1)


@torch.inference_mode()
def generate_tokens(
    model: Kronos,
    s1_SL: Tensor,
    s2_SL: Tensor,
    stamp_SLK5: Tensor,
    uniforms_NK2: Tensor,
    max_context: int,
    sampling: Sampling,
    hidden_SL: Tensor | None = None,
    stride: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Continue S series by K bars on P paths each.

    Args:
        s1_SL, s2_SL: tokens of the lookback, left-padded where ``hidden_SL`` is True.
        stamp_SLK5: time features of lookback and horizon [S, L + K, 5].
        uniforms_NK2: a number in [0, 1) for each row, step and token; N = S x P.
        stride: bars dropped beyond need when the window slides; at least 1 below max_context.
        progress: called with the number of bars done since the last call.

    Returns:
        The new tokens, two of [N, K].
    """
    series, horizon = s1_SL.shape[0], uniforms_NK2.shape[1]
    rows = uniforms_NK2.shape[0]
    if hidden_SL is not None and s1_SL.shape[1] + horizon - 1 > max_context:
        raise ValueError("padded series cannot slide past max_context; group them by lookback")
    if not 0 <= stride < max_context:
        raise ValueError(f"stride must lie in 0..{max_context - 1}, found {stride}")
    paths = rows // series
    lookback = s1_SL.shape[1]
    new1, new2 = (torch.empty(rows, horizon, dtype=torch.long, device=s1_SL.device) for _ in range(2))
    stamp_NK5 = stamp_SLK5[:, lookback:].repeat_interleave(paths, dim=0)
    done = 0
    while done < horizon:
        now = lookback + done
        keep = now if now <= max_context else max_context - stride
        steps = min(horizon - done, max_context - keep + 1)
        if done == 0:
            part = slice(max(0, lookback - keep), lookback)
            hidden = None if hidden_SL is None else hidden_SL[:, part]
            window = ModelWindow(model, s1_SL[:, part], s2_SL[:, part], stamp_SLK5[:, part], hidden, paths, steps - 1)
        else:
            s1, s2 = (
                torch.cat((old.repeat_interleave(paths, dim=0), new[:, :done]), dim=1)[:, -keep:]
                for old, new in ((s1_SL, new1), (s2_SL, new2))
            )
            stamp = stamp_SLK5[:, now - keep : now].repeat_interleave(paths, dim=0)
            window = ModelWindow(model, s1, s2, stamp, None, 1, steps - 1)
        for i in range(done, done + steps):
            if i > done:
                window.step(new1[:, i - 1], new2[:, i - 1], stamp_NK5[:, i - 1])
            new1[:, i] = pick(window.coarse_logits(), sampling, uniforms_NK2[:, i, 0])
            new2[:, i] = pick(window.fine_logits(new1[:, i]), sampling, uniforms_NK2[:, i, 1])
            if progress is not None:
                progress(1)
        done += steps
    return new1, new2


@torch.inference_mode()
def decode_suffix(
    tokenizer: KronosTokenizer,
    s1_SL: Tensor,
    s2_SL: Tensor,
    new1_NK: Tensor,
    new2_NK: Tensor,
    max_context: int,
    hidden_SL: Tensor | None = None,
) -> Tensor:
    """Bars of the new tokens [N, K, 6]: the history in the window is decoded once a series, then the paths' own bars.

    The window is the last ``max_context`` tokens of history and forecast, as in the reference; the horizon must leave room for
    at least one bar of history in it.
    """
    horizon, paths = new1_NK.shape[1], new1_NK.shape[0] // s1_SL.shape[0]
    keep = min(s1_SL.shape[1], max_context - horizon)
    if keep < 1:
        raise ValueError(f"a horizon of {horizon} bars leaves no history in a window of {max_context}")
    hidden = None if hidden_SL is None else hidden_SL[:, -keep:]
    if not len(tokenizer.decoder):
        return tokenizer.head(tokenizer.embed_codes(new1_NK, new2_NK))
    history = tokenizer.embed_codes(s1_SL[:, -keep:], s2_SL[:, -keep:])
    _, prefix = prefill_blocks(tokenizer.decoder, history, hidden, paths, horizon)
    return tokenizer.head(extend_blocks(tokenizer.decoder, tokenizer.embed_codes(new1_NK, new2_NK), prefix, paths))
