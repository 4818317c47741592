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
from torch import Tensor
from torch.nn import functional as F

from kronos.generation.fused import FusedBlocks, FusedKronos, fused_model, fused_tokenizer, rotary_freqs, rotate
from kronos.generation.precision import Precision
from kronos.generation.recording import Recording, worth_recording
from kronos.generation.sampling import Sampling, weights
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import AttentionContext

Progress = Callable[[int], None]
OnBar = Callable[[Tensor, Tensor], None]
"""Callback that gets the coarse and the fine token of every new bar, [S, P] each."""


class Counter:
    """Number of bars in the per-path part of caches, kept on the device, so that one recorded CUDA graph serves all steps."""

    def __init__(self, filled: int, size: int, device: torch.device) -> None:
        self.numbers = torch.arange(size, device=device)
        self.last = torch.tensor([filled - 1], device=device)
        """Number [1] of the latest bar."""
        self.beyond = self.numbers > self.last
        """True [size] where there is no bar yet."""

    def advance(self) -> None:
        torch.gt(self.numbers, self.last.add_(1), out=self.beyond)


class Cache:
    """Key-value cache of one attention layer: a prefix that the paths of a series share, and a suffix for each path.

    With one path nothing is shared: prefix and suffix then lie in one tensor.

    Args:
        key_SHLE: rotated keys of the prefix.
        value_SHLE: values of the prefix.
        paths: paths of each series, P.
        max_new_bars: bars that can be appended.
    """

    def __init__(self, key_SHLE: Tensor, value_SHLE: Tensor, paths: int, max_new_bars: int) -> None:
        series, heads, length, size = key_SHLE.shape
        # In one piece each: a product with a strided prefix would copy it at every step.
        self.shared = (key_SHLE.contiguous(), value_SHLE.contiguous()) if paths > 1 else None
        self.first = length if paths > 1 else 0
        """Number of the bar at which the per-path part begins."""
        own = max_new_bars + length - self.first
        self.key, self.value = (t.new_empty(series, heads, paths, own, size) for t in (key_SHLE, value_SHLE))
        self.filled = 0
        self.counter: Counter | None = None
        if paths == 1:
            self.append(key_SHLE[:, :, None], value_SHLE[:, :, None])

    @property
    def next(self) -> int | Tensor:
        """Number of the next bar; a tensor [1] on the device after `count_by`."""
        return self.first + (self.filled if self.counter is None else self.counter.last + 1)

    def append(self, key_SHPTE: Tensor, value_SHPTE: Tensor) -> None:
        """Add the keys and values of T new bars of every path; T is 1 after `count_by`."""
        if self.counter is not None:
            for kept, new in ((self.key, key_SHPTE), (self.value, value_SHPTE)):
                kept.index_copy_(3, self.counter.last, new)
            return
        stop = self.filled + key_SHPTE.shape[3]
        self.key[..., self.filled : stop, :], self.value[..., self.filled : stop, :] = key_SHPTE, value_SHPTE
        self.filled = stop

    def count_by(self, counter: Counter) -> None:
        """From now on append bars one at a time, at the position of ``counter``."""
        self.counter = counter
        for kept in (self.key, self.value):  # what is hidden is multiplied by zero, and must be finite
            kept[..., self.filled :, :] = 0

    def attend(self, q_SHPTE: Tensor, padding_mask_SL: Tensor | None) -> Tensor:
        """Attend from the latest T bars, whose queries are already scaled, to the prefix and, causally, to the path's suffix."""
        steps, filled = q_SHPTE.shape[3], self.filled if self.counter is None else self.key.shape[3]
        key, value = self.key[..., :filled, :], self.value[..., :filled, :]
        later = None if self.counter is None else self.counter.beyond[None]
        if steps > 1:
            later = torch.ones(steps, filled, dtype=torch.bool, device=q_SHPTE.device).triu(filled - steps + 1)
        if self.shared is None:
            seen = None if later is None else ~later
            if padding_mask_SL is not None:
                before = F.pad(~padding_mask_SL, (0, filled - padding_mask_SL.shape[1]), value=True)[:, None, None]
                seen = before if seen is None else before & seen
            out = F.scaled_dot_product_attention(q_SHPTE[:, :, 0], key[:, :, 0], value[:, :, 0], seen, scale=1.0)
            return out[:, :, None]
        prefix_key, prefix_value = self.shared
        prefix = prefix_key.shape[2]
        to_prefix = q_SHPTE.flatten(2, 3) @ prefix_key.transpose(2, 3)
        if padding_mask_SL is not None:
            to_prefix = to_prefix.masked_fill_(padding_mask_SL[:, None, None], -torch.inf)
        to_own = q_SHPTE @ key.transpose(3, 4)
        if later is not None:
            to_own = to_own.masked_fill_(later, -torch.inf)
        weight = torch.cat((to_prefix.unflatten(2, (-1, steps)), to_own), dim=-1).softmax(-1)
        from_prefix = (weight[..., :prefix].flatten(2, 3) @ prefix_value).unflatten(2, (-1, steps))
        return (weight[..., prefix:] @ value).add_(from_prefix)


@dataclass
class Prefix:
    """Prefilled window of S series: all that later bars need of it.

    Attributes:
        caches: one for each block.
        padding_mask_SL: True at left padding, or None.
        rotary_freqs: rotary angles of the window and the bars after it, complex [1 or S, 1, L + max_new_bars, E / 2].
    """

    caches: list[Cache]
    padding_mask_SL: Tensor | None
    rotary_freqs: Tensor

    @property
    def counter(self) -> Counter | None:
        """The counter that all caches share, or None."""
        return self.caches[0].counter


def positions_of(length: int, max_new_bars: int, padding_mask_SL: Tensor | None, device: torch.device) -> Tensor:
    """Return the positions [1 or S, L + max_new_bars] of a window, where padding does not count, and of the bars after it."""
    if padding_mask_SL is None:
        return torch.arange(length + max_new_bars, device=device)[None]
    real = F.pad(~padding_mask_SL, (0, max_new_bars), value=True)
    return (real.long().cumsum(1) - 1).clamp_min(0)


def read_blocks(
    blocks: FusedBlocks,
    x_SLD: Tensor,
    rotary_freqs: Tensor,
    padding_mask_SL: Tensor | None,
    keep: Callable[[Tensor, Tensor], None],
) -> Tensor:
    """Run a left-padded window through the blocks: [S, L, D] -> [S, L, D]; ``keep`` gets each block's keys and values."""
    mask = AttentionContext.of(x_SLD, padding_mask_SL).mask
    x = x_SLD[:, None]
    for block in blocks.blocks:
        q, k, v = (t[:, :, 0] for t in block.qkv(x, rotary_freqs[:, :, : x_SLD.shape[1]]))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=1.0)
        x = block.output_and_mlp(x, out[:, :, None])
        keep(k, v)
    return x[:, 0]


def read_last_bar(blocks: FusedBlocks, x_SLD: Tensor, rotary_freqs: Tensor, padding_mask_SL: Tensor | None) -> Tensor:
    """Run a left-padded window through the blocks, for its last bar alone: [S, L, D] -> [S, 1, D].

    The last block needs keys and values of all bars, but the query, the output and the feed-forward layer of the last bar only.
    """
    *before, last = blocks.blocks
    x = read_blocks(blocks.first(len(before)), x_SLD, rotary_freqs, padding_mask_SL, lambda k, v: None)[:, None]
    q, k, v = (t[:, :, 0] for t in last.qkv(x, rotary_freqs[:, :, : x_SLD.shape[1]]))
    mask = None if padding_mask_SL is None else ~padding_mask_SL[:, None, None]
    out = F.scaled_dot_product_attention(q[:, :, -1:], k, v, attn_mask=mask, scale=1.0)
    return last.output_and_mlp(x[:, :, -1:], out[:, :, None])[:, 0]


def prefill_blocks(
    blocks: FusedBlocks, x_SLD: Tensor, padding_mask_SL: Tensor | None, paths: int, max_new_bars: int
) -> tuple[Tensor, Prefix]:
    """Run a left-padded window through the blocks and cache keys and values: [S, L, D] -> [S, L, D] and the prefix."""
    length = x_SLD.shape[1]
    rotary_freqs = blocks.rotary_freqs(positions_of(length, max_new_bars, padding_mask_SL, x_SLD.device))[:, None]
    caches: list[Cache] = []
    x = read_blocks(
        blocks, x_SLD, rotary_freqs, padding_mask_SL, lambda k, v: caches.append(Cache(k, v, paths, max_new_bars))
    )
    return x, Prefix(caches, padding_mask_SL, rotary_freqs)


@torch.no_grad()
def encode(
    tokenizer: KronosTokenizer, bars_SL6: Tensor, padding_mask_SL: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the coarse and fine tokens [S, L] of normalised bars, as `KronosTokenizer.encode` does."""
    x = tokenizer.embed(bars_SL6)
    if len(tokenizer.encoder):
        blocks = fused_tokenizer(tokenizer).encoder
        rotary_freqs = blocks.rotary_freqs(positions_of(x.shape[1], 0, padding_mask_SL, x.device))[:, None]
        x = read_blocks(blocks, x, rotary_freqs, padding_mask_SL, lambda k, v: None)
    s1, s2 = tokenizer.tokens(tokenizer.quant_embed(x), half=True)
    return s1, s2


def bars_of(table: Tensor, first: int | Tensor, bars: int = 1) -> Tensor:
    """Select ``bars`` bars from number ``first`` on along dimension 2; one bar where ``first`` is a tensor [1] on the device."""
    return table[:, :, first : first + bars] if isinstance(first, int) else table.index_select(2, first)


def extend_blocks(blocks: FusedBlocks, x_SPTD: Tensor, prefix: Prefix) -> Tensor:
    """Run T new bars of every path through the blocks, after the bars in the caches: [S, P, T, D] -> [S, P, T, D]."""
    rotary_freqs = bars_of(prefix.rotary_freqs, prefix.caches[0].next, x_SPTD.shape[2])
    if prefix.counter is not None:
        prefix.counter.advance()
    for block, cache in zip(blocks.blocks, prefix.caches, strict=True):
        q, k, v = block.qkv(x_SPTD, rotary_freqs)
        cache.append(k, v)
        x_SPTD = block.output_and_mlp(x_SPTD, cache.attend(q, prefix.padding_mask_SL))
    return x_SPTD


class ModelWindow:
    """Window of the model for S series with P paths each: prefilled once, then extended bar by bar.

    It always runs in inference mode, since its caches are written in place at every step.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: FusedKronos,
        s1_SL: Tensor,
        s2_SL: Tensor,
        time_emb_SLD: Tensor,
        padding_mask_SL: Tensor | None,
        paths: int,
        max_new_bars: int,
    ) -> None:
        self.model, self.paths = model, paths
        x, self.prefix = prefill_blocks(
            model.blocks, model.embed(s1_SL, s2_SL, time_emb_SLD), padding_mask_SL, paths, max_new_bars
        )
        context = model.norm(x)
        length = s1_SL.shape[1]
        self.rotary_freqs: Tensor | None = None
        if model.rotary:
            positions = positions_of(length, max_new_bars, padding_mask_SL, x.device)
            self.rotary_freqs = rotary_freqs(model.inv_freq, positions)[:, None, :, None]
        key, value = (t.unflatten(-1, (model.heads, -1)) for t in model.dependency_kv(context))
        if self.rotary_freqs is not None:
            key = rotate(key, self.rotary_freqs[:, 0, :length])
        # The latest context belongs to each path's own part, where the next ones follow it.
        key, value = key.transpose(1, 2), value.transpose(1, 2)
        self.dependency = Cache(key[:, :, :-1], value[:, :, :-1], paths, max_new_bars + 1)
        self.dependency.append(*(t[:, :, None, -1:].expand(-1, -1, paths, -1, -1) for t in (key, value)))
        self.padding_mask_SL = None if padding_mask_SL is None else padding_mask_SL[:, :-1]
        self.last_SPD = context[:, -1:].expand(-1, paths, -1).contiguous()
        self.coarse_SPV, _, _ = model.coarse_logits_and_kv(context[:, -1:])
        self.coarse_SPV = self.coarse_SPV.expand(-1, paths, -1)

    def coarse_logits(self) -> Tensor:
        """Return the coarse logits [S, P, V1] of the next bar."""
        return self.coarse_SPV

    @torch.inference_mode()
    def fine_logits(self, s1_SP: Tensor) -> Tensor:
        """Return the fine logits [S, P, V2] of the next bar, given its coarse token."""
        q = F.embedding(s1_SP, self.model.query_VD).unflatten(-1, (self.model.heads, -1))
        if self.rotary_freqs is not None:
            q = rotate(q, bars_of(self.rotary_freqs, self.dependency.next - 1)[:, :, 0])
        out = self.dependency.attend(q.transpose(1, 2)[:, :, :, None], self.padding_mask_SL)
        return self.model.fine_logits(self.last_SPD, out[:, :, :, 0].transpose(1, 2).flatten(2))

    @torch.inference_mode()
    def step(self, s1_SP: Tensor, s2_SP: Tensor, time_emb_SPD: Tensor) -> None:
        """Append a bar to every path: its tokens, and its time embedding [S, 1 or P, D]."""
        x = self.model.embed(s1_SP, s2_SP, time_emb_SPD)
        self.last_SPD = self.model.norm(extend_blocks(self.model.blocks, x[:, :, None], self.prefix)[:, :, 0])
        self.coarse_SPV, key, value = self.model.coarse_logits_and_kv(self.last_SPD)
        key, value = (t.unflatten(-1, (self.model.heads, -1)) for t in (key, value))
        if self.rotary_freqs is not None:
            key = rotate(key, bars_of(self.rotary_freqs, self.dependency.next)[:, :, 0])
        if self.dependency.counter is not None:
            self.dependency.counter.advance()
        self.dependency.append(*(t.transpose(1, 2)[:, :, :, None] for t in (key, value)))

    @torch.inference_mode()
    def count_on_device(self) -> None:
        """Count bars on the device from now on, so that all steps are the same operations on the same memory (CUDA graphs)."""
        for caches in (self.prefix.caches, [self.dependency]):
            counter = Counter(caches[0].filled, caches[0].key.shape[3], self.last_SPD.device)
            for cache in caches:
                cache.count_by(counter)


def sample_from_uniform(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Draw one code a row by inverse transform sampling of the row's uniform number: logits [..., V] -> codes [...].

    Args:
        logits: [..., V].
        sampling: temperature, top-k and top-p; temperature 0 takes the likeliest code.
        uniform: numbers in [0, 1) [...].
    """
    if sampling.greedy:
        return logits.argmax(-1)
    cumulative = weights(logits, sampling).cumsum(-1, dtype=torch.float64)
    at = torch.searchsorted(cumulative, (uniform * cumulative[..., -1])[..., None], right=True)[..., 0]
    return at.clamp_max(logits.shape[-1] - 1)


class Drawing:
    """Sampler of the K new bars of a window: each call draws the tokens of the next bar into ``new1`` and ``new2`` [S, P, K].

    On a GPU a step is hundreds of short operations, and launching them takes longer than running them: the second step is
    recorded as one CUDA graph, which is launched for every step after it.
    """

    def __init__(
        self,
        window: ModelWindow,
        time_emb_SPKD: Tensor,
        new1_SPK: Tensor,
        new2_SPK: Tensor,
        uniforms_SPK2: Tensor,
        sampling: Sampling,
    ) -> None:
        self.window, self.time_emb, self.sampling = window, time_emb_SPKD, sampling
        self.new, self.uniforms = (new1_SPK, new2_SPK), uniforms_SPK2
        self.step = 0
        steps = new1_SPK.shape[2]
        self.recorded = Recording(new1_SPK.device) if worth_recording(new1_SPK.device, steps) else None

    def __call__(self) -> None:
        i = self.step
        if i == 0 or self.recorded is None:
            if i > 0:
                self.window.step(self.new[0][..., i - 1], self.new[1][..., i - 1], self.time_emb[:, :, i - 1])
            for new, drawn in zip(self.new, self._sample_tokens(self.uniforms[:, :, i]), strict=True):
                new[..., i] = drawn
        else:
            if i == 1:
                self.window.count_on_device()
                self.at = torch.zeros(1, dtype=torch.long, device=self.uniforms.device)
            self.recorded(self._step_on_device)
        self.step += 1

    def _step_on_device(self) -> None:
        """Take one step at the position ``at``, a tensor on the device."""
        s1, s2 = (new.index_select(2, self.at)[..., 0] for new in self.new)
        self.window.step(s1, s2, self.time_emb.index_select(2, self.at)[:, :, 0])
        self.at.add_(1)
        for new, drawn in zip(
            self.new, self._sample_tokens(self.uniforms.index_select(2, self.at)[:, :, 0]), strict=True
        ):
            new.index_copy_(2, self.at, drawn[..., None])

    def _sample_tokens(self, uniform_SP2: Tensor) -> tuple[Tensor, Tensor]:
        s1 = sample_from_uniform(self.window.coarse_logits(), self.sampling, uniform_SP2[..., 0])
        return s1, sample_from_uniform(self.window.fine_logits(s1), self.sampling, uniform_SP2[..., 1])


@torch.inference_mode()
def generate_tokens(
    model: Kronos,
    s1_SL: Tensor,
    s2_SL: Tensor,
    stamp_SLK5: Tensor,
    uniforms_NK2: Tensor,
    max_context: int,
    sampling: Sampling,
    padding_mask_SL: Tensor | None = None,
    stride: int = 0,
    progress: Progress | None = None,
    precision: Precision = "float32",
    on_bar: OnBar | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the tokens of K bars after S series, on P paths each: the tokens of `generation.reference`, from caches.

    Args:
        s1_SL, s2_SL: tokens of the lookback, left-padded where ``padding_mask_SL`` is True.
        stamp_SLK5: time features of lookback and horizon [S, L + K, 5].
        uniforms_NK2: a number in [0, 1) for each row, step and token; N = S x P.
        stride: bars dropped beyond the one that must go when the window slides; 0 to max_context - 1.
        progress: called with the number of bars done since the last call.
        precision: of the model's weights; see `generation.fused`.
        on_bar: called with every bar as it is drawn, before progress.

    Returns:
        The new coarse and fine tokens, [N, K] each.

    Raises:
        ValueError: padded series that would slide past ``max_context``, or a stride out of range.
    """
    series, horizon = s1_SL.shape[0], uniforms_NK2.shape[1]
    rows = uniforms_NK2.shape[0]
    if padding_mask_SL is not None and s1_SL.shape[1] + horizon - 1 > max_context:
        raise ValueError("padded series cannot slide past max_context; group them by lookback")
    if not 0 <= stride < max_context:
        raise ValueError(f"stride must lie in 0..{max_context - 1}, found {stride}")
    paths, lookback = rows // series, s1_SL.shape[1]
    fused = fused_model(model, precision)
    time_emb_STD = fused.time_emb(stamp_SLK5)
    new1, new2 = (torch.empty(series, paths, horizon, dtype=torch.long, device=s1_SL.device) for _ in range(2))
    uniforms = uniforms_NK2.unflatten(0, (series, paths))
    done = 0
    while done < horizon:
        now = lookback + done
        steps = min(horizon - done, max(max_context - now, stride) + 1)
        keep = min(now, max_context - steps + 1)
        time_emb = time_emb_STD[:, now - keep : now]
        if done == 0:
            part = slice(lookback - keep, lookback)
            hidden = None if padding_mask_SL is None else padding_mask_SL[:, part]
            window = ModelWindow(fused, s1_SL[:, part], s2_SL[:, part], time_emb, hidden, paths, steps - 1)
        else:  # the paths differ, and each reads a window of its own
            s1, s2 = (
                torch.cat((old[:, None].expand(-1, paths, -1), new[..., :done]), dim=2)[..., -keep:].flatten(0, 1)
                for old, new in ((s1_SL, new1), (s2_SL, new2))
            )
            window = ModelWindow(fused, s1, s2, time_emb.repeat_interleave(paths, dim=0), None, 1, steps - 1)
        shape = window.last_SPD.shape[:2]
        # [S, 1, K, D], or [N, 1, K, D] where each path has a window of its own
        time_emb = time_emb_STD[:, None, lookback + done : lookback + done + steps - 1]
        time_emb = time_emb if shape[0] == series else time_emb.repeat_interleave(paths, dim=0)
        bars = slice(done, done + steps)
        ours1, ours2, numbers = (t[:, :, bars].view(*shape, steps, *t.shape[3:]) for t in (new1, new2, uniforms))
        draw = Drawing(window, time_emb, ours1, ours2, numbers, sampling)
        for i in range(done, done + steps):
            draw()
            if on_bar is not None:
                on_bar(new1[..., i], new2[..., i])
            if progress is not None:
                progress(1)
        done += steps
        del window, draw  # before the next window is read, or memory would hold both
    return new1.flatten(0, 1), new2.flatten(0, 1)


DECODED_ROWS = {"cpu": 2**10, "cuda": 2**16}
"""Bars of all paths that are decoded at a time: more take more memory than the paths themselves, and gain nothing on a CPU."""


class SuffixDecoder:
    """Decoder of new tokens after a history that is decoded once for each series: all bars at once, or one after the other.

    The window is the last ``max_context`` tokens of history and forecast, as in the reference. It always runs in inference mode.

    Raises:
        ValueError: the horizon leaves no bar of history in the window.
    """

    @torch.inference_mode()
    def __init__(
        self,
        tokenizer: KronosTokenizer,
        s1_SL: Tensor,
        s2_SL: Tensor,
        horizon: int,
        paths: int,
        max_context: int,
        padding_mask_SL: Tensor | None = None,
    ) -> None:
        keep = min(s1_SL.shape[1], max_context - horizon)
        if keep < 1:
            raise ValueError(f"a horizon of {horizon} bars leaves no history in a window of {max_context}")
        self.tokenizer = tokenizer
        self.blocks = fused_tokenizer(tokenizer).decoder if len(tokenizer.decoder) else None
        hidden = None if padding_mask_SL is None else padding_mask_SL[:, -keep:]
        known = tokenizer.embed_codes(s1_SL[:, -keep:], s2_SL[:, -keep:])
        if self.blocks is not None:
            known, self.prefix = prefill_blocks(self.blocks, known, hidden, paths, horizon)
        self.known_SL6 = tokenizer.head(known)
        """Reconstructed bars of the history in the window, normalised; those at left padding are meaningless."""

    @torch.inference_mode()
    def decode(self, s1_SPT: Tensor, s2_SPT: Tensor) -> Tensor:
        """Decode the next T bars of every path: [S, P, T, 6], normalised."""
        new = self.tokenizer.embed_codes(s1_SPT, s2_SPT)
        return self.tokenizer.head(new if self.blocks is None else extend_blocks(self.blocks, new, self.prefix))


@torch.inference_mode()
def decode_suffix(
    tokenizer: KronosTokenizer,
    s1_SL: Tensor,
    s2_SL: Tensor,
    new1_NK: Tensor,
    new2_NK: Tensor,
    max_context: int,
    padding_mask_SL: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Decode the new tokens to bars [N, K, 6], and the history in the window to bars [S, L, 6] (see `SuffixDecoder`)."""
    series = s1_SL.shape[0]
    paths, horizon = new1_NK.shape[0] // series, new1_NK.shape[1]
    decoder = SuffixDecoder(tokenizer, s1_SL, s2_SL, horizon, paths, max_context, padding_mask_SL)
    together = max(1, DECODED_ROWS.get(new1_NK.device.type, horizon * len(new1_NK)) // len(new1_NK))
    new = (tokens.unflatten(0, (series, paths)).split(together, dim=2) for tokens in (new1_NK, new2_NK))
    bars = torch.cat([decoder.decode(s1, s2) for s1, s2 in zip(*new, strict=True)], dim=2)
    return bars.flatten(0, 1), decoder.known_SL6
