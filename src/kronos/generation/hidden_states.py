"""Hidden states of windows and log probabilities of their tokens: one pass over each window, nothing is sampled.

Legend: S series, L lookback, D model width, V1 and V2 codes, 6 features, 5 time features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kronos.generation import engine
from kronos.generation.batch_plan import Window, bytes_of, memory_budget, plan
from kronos.generation.fused import fused_model
from kronos.generation.module_path import evaluating, special_part, unwrapped
from kronos.generation.paths import left_padded, warn_of_special_part
from kronos.generation.precision import Precision
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import run_blocks

CPU_BATCH_BARS = 12_288
"""Bars of a batch on a CPU, so that memory stays small: 48 windows of 256. On one core 8 windows and 112 are as fast (nano: 10 ms a
window); with several threads on a busy machine few windows wait longer for one another."""


class HiddenBatch(NamedTuple):
    """A left-padded batch of series: their numbers, both tokens [S, L], padding mask [S, L] or None, states
    [S, L, D], or [S, 1, D] of the last bar."""

    members: list[int]
    s1: Tensor
    s2: Tensor
    padding_mask: Tensor | None
    states: Tensor


class TokenScores(NamedTuple):
    """Tokens int64 [L] of a window's bars, and the log p of each in nats, float32 [L]; NaN for the first bar.

    ``fine`` is the log p of the fine token, given the coarse one.
    """

    s1: np.ndarray
    s2: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray


@torch.inference_mode()
def read_windows(
    tokenizer: KronosTokenizer,
    model: Kronos,
    windows: Sequence[Window],
    max_context: int,
    layer: int,
    memory: int | None,
    precision: Precision = "float32",
    logits: bool = False,
    last_bar: bool = False,
) -> Iterator[HiddenBatch]:
    """Compute hidden states of windows of at most ``max_context`` bars, in batches that fit in memory.

    Args:
        layer: 0 the embeddings of the tokens and times, i after the i-th block; the last is after the final norm.
        memory: bytes that a batch may take; None takes `batch_plan.memory_budget`.
        precision: of the model's weights, as in generation.
        logits: reserve memory for the logits of every bar.
        last_bar: the states of the last bar are all that is wanted: [S, 1, D].
    """
    tokenizer, model = unwrapped(tokenizer), unwrapped(model)
    device = next(model.parameters()).device
    found = special_part(tokenizer) or special_part(model)
    if found is not None:
        warn_of_special_part(model, found)
    budget = memory_budget(device) if memory is None else memory
    own = bytes_of(model, max_context, 0, 1)
    if device.type == "cpu":
        budget = min(budget, CPU_BATCH_BARS * own // max_context)
    if logits:
        logits_bytes = 16 * max_context * 2 ** max(model.s1_bits, model.s2_bits)
        budget = budget * own // (own + logits_bytes)
    for members, _ in plan(model, windows, 1, max_context, budget):
        part = [windows[i] for i in members]
        lengths = torch.tensor([window.lookback for window in part], device=device)
        longest = int(lengths.max())
        padding = None
        if int(lengths.min()) < longest:
            padding = torch.arange(longest, device=device)[None] < (longest - lengths)[:, None]
        bars = torch.from_numpy(left_padded([w.bars.astype(np.float32) for w in part], longest)).to(device)
        stamp = torch.from_numpy(left_padded([w.stamp for w in part], longest)).long().to(device)
        if found is None:
            s1, s2 = engine.encode(tokenizer, bars, padding)
            states = _by_weights(model, s1, s2, stamp, padding, layer, precision, last_bar)
        else:
            with evaluating(tokenizer, model):
                s1, s2 = tokenizer.encode(bars, half=True, padding_mask=padding)
                states = _by_modules(model, s1, s2, stamp, padding, layer)
                states = states[:, -1:] if last_bar else states
        yield HiddenBatch(members, s1, s2, padding, states)


def _by_weights(
    model: Kronos,
    s1: Tensor,
    s2: Tensor,
    stamp: Tensor,
    padding: Tensor | None,
    layer: int,
    precision: Precision,
    last_bar: bool,
) -> Tensor:
    fused = fused_model(model, precision)
    x = fused.embed(s1, s2, fused.time_emb(stamp))
    if layer:
        blocks = fused.blocks.first(layer)
        rotary_freqs = blocks.rotary_freqs(engine.positions_of(x.shape[1], 0, padding, x.device))[:, None]
        if last_bar:
            x = engine.read_last_bar(blocks, x, rotary_freqs, padding)
        else:
            x = engine.read_blocks(blocks, x, rotary_freqs, padding, lambda k, v: None)
    x = x[:, -1:] if last_bar else x
    return fused.norm(x) if layer == model.n_layers else x


def _by_modules(model: Kronos, s1: Tensor, s2: Tensor, stamp: Tensor, padding: Tensor | None, layer: int) -> Tensor:
    if layer == model.n_layers:
        return model.decode_s1(s1, s2, stamp, padding)[1]
    x = model.embedding([s1, s2]) + model.time_emb(stamp)
    return run_blocks(model.transformer[:layer], x, padding) if layer else x


@torch.inference_mode()
def score_windows(
    tokenizer: KronosTokenizer,
    model: Kronos,
    windows: Sequence[Window],
    max_context: int,
    memory: int | None,
    precision: Precision = "float32",
) -> list[TokenScores]:
    """Return the tokens of every bar and their log probabilities given the bars before, at temperature 1."""
    found: list[TokenScores | None] = [None] * len(windows)
    plain = unwrapped(model)
    for batch in read_windows(tokenizer, model, windows, max_context, plain.n_layers, memory, precision, logits=True):
        before = None if batch.padding_mask is None else batch.padding_mask[:, :-1]
        context = batch.states[:, :-1]
        with evaluating(plain):
            coarse = _log_p(plain.head(context), batch.s1[:, 1:])
            fine = _log_p(plain.decode_s2(context, batch.s1[:, 1:], before), batch.s2[:, 1:])
        for row, i in enumerate(batch.members):
            length = windows[i].lookback
            known = (F.pad(part[row], (1, 0), value=float("nan"))[-length:].cpu().numpy() for part in (coarse, fine))
            s1, s2 = (part[row, -length:].cpu().numpy() for part in (batch.s1, batch.s2))
            first, second = (_without_first(part) for part in known)
            found[i] = TokenScores(s1, s2, first, second)
    return [one for one in found if one is not None]


def _log_p(logits: Tensor, codes: Tensor) -> Tensor:
    """Return log p [S, T] of codes [S, T] under logits [S, T, V], float32."""
    return -F.cross_entropy(logits.float().transpose(1, 2), codes, reduction="none")


def _without_first(values: np.ndarray) -> np.ndarray:
    """Set the value of the first bar to NaN: no bar precedes it."""
    values = values.astype(np.float32, copy=True)
    values[0] = np.nan
    return values
