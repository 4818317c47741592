"""Reference loop of generation: every step computes the whole window anew (docs/model.md, section 4).

It is slow and simple, and defines the result; `generation.engine` is tested against it.

Legend: B rows (series x paths), L lookback, H horizon, C max_context, 6 features, 5 time features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kronos.generation.sampling import Sampling, draw
from kronos.nn import Kronos, KronosTokenizer


def _tensor(values: np.ndarray | Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values, dtype=dtype, device=device)


@torch.inference_mode()
def generate_tokens(
    model: Kronos,
    s1_BL: Tensor,
    s2_BL: Tensor,
    stamp_BLH5: Tensor,
    horizon: int,
    max_context: int,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    verbose: bool = False,
) -> tuple[Tensor, Tensor]:
    """Draw ``horizon`` token pairs after each row, step by step.

    Every step sees at most the ``max_context`` latest tokens, at positions that start from 0.

    Args:
        s1_BL, s2_BL: coarse and fine tokens of the lookback.
        stamp_BLH5: time features of lookback and horizon [B, L + H, 5].
        generator: the random stream, on the model's device; None takes PyTorch's global one.

    Returns:
        Coarse and fine tokens of lookback and horizon, [B, L + H] each.
    """
    from tqdm.auto import trange

    s1, s2 = s1_BL, s2_BL
    for _ in trange(horizon, desc="forecasting", unit="bar", disable=not verbose, leave=False):
        now = s1.shape[1]
        window = slice(max(0, now - max_context), now)
        s1_logits, context = model.decode_s1(s1[:, window], s2[:, window], stamp_BLH5[:, window])
        next_s1 = draw(s1_logits[:, -1], sampling, generator)
        next_s2 = draw(model.decode_s2(context, next_s1)[:, -1], sampling, generator)
        s1, s2 = torch.cat((s1, next_s1), dim=1), torch.cat((s2, next_s2), dim=1)
    return s1, s2


@torch.inference_mode()
def decode_tail(tokenizer: KronosTokenizer, s1: Tensor, s2: Tensor, rows: int, max_context: int) -> Tensor:
    """Decode the last ``max(rows, window)`` tokens to bars; the window is the last ``max_context`` tokens, decoded at once.

    Rows before that window (a horizon longer than the context) come from earlier windows of the same length, half
    overlapping, so that each bar is decoded with at least half a context before it.
    """
    total, window = s1.shape[1], min(max_context, s1.shape[1])
    pieces = [tokenizer.decode((s1[:, total - window :], s2[:, total - window :]), half=True)]
    stop = total - window
    while total - stop < rows:
        start = max(0, stop - window)
        bars = tokenizer.decode((s1[:, start:stop], s2[:, start:stop]), half=True)
        kept = bars if start == 0 else bars[:, -max(1, window // 2) :]
        pieces.insert(0, kept)
        stop -= kept.shape[1]
    return torch.cat(pieces, dim=1)


@torch.inference_mode()
def generate_paths(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: np.ndarray | Tensor,
    x_stamp: np.ndarray | Tensor,
    y_stamp: np.ndarray | Tensor,
    max_context: int,
    pred_len: int,
    clip: float = 5,
    sampling: Sampling = Sampling(),
    sample_count: int = 1,
    generator: torch.Generator | None = None,
    verbose: bool = False,
) -> Tensor:
    """Sample paths of the future.

    Args:
        x: normalised bars [series, L, 6].
        x_stamp, y_stamp: time features [series, L, 5] and [series, H, 5].
        max_context: how many tokens the model sees at most.
        pred_len: bars to forecast, H.
        clip: the normalised bars are clipped to [-clip, clip].
        sample_count: paths of each series.
        generator: the random stream, on the model's device; None takes PyTorch's global one.

    Returns:
        float32 [series, sample_count, T_window, 6] in normalised units, whose last ``pred_len`` rows are the forecast.
    """
    device = next(model.parameters()).device
    bars = _tensor(x, device, torch.float32).clamp(-clip, clip)
    stamp = torch.cat((_tensor(x_stamp, device, torch.long), _tensor(y_stamp, device, torch.long)), dim=1)
    s1, s2 = tokenizer.encode(bars, half=True)
    s1, s2, stamp = (t.repeat_interleave(sample_count, dim=0) for t in (s1, s2, stamp))
    s1, s2 = generate_tokens(model, s1, s2, stamp, pred_len, max_context, sampling, generator, verbose)
    return decode_tail(tokenizer, s1, s2, pred_len, max_context).unflatten(0, (-1, sample_count))


def auto_regressive_inference(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: np.ndarray | Tensor,
    x_stamp: np.ndarray | Tensor,
    y_stamp: np.ndarray | Tensor,
    max_context: int,
    pred_len: int,
    clip: float = 5,
    T: float = 1.0,
    top_k: int | None = 0,
    top_p: float | None = 0.99,
    sample_count: int = 5,
    verbose: bool = False,
) -> np.ndarray:
    """Return the mean of ``sample_count`` paths, [series, T_window, 6] in normalised units.

    Interface of the published code (docs/model.md, section 8); see `generate_paths` for the arguments.
    """
    was_training = tokenizer.training, model.training
    tokenizer.eval(), model.eval()
    try:
        paths = generate_paths(
            tokenizer,
            model,
            x,
            x_stamp,
            y_stamp,
            max_context,
            pred_len,
            clip,
            Sampling.published(T, top_k, top_p),
            sample_count,
            verbose=verbose,
        )
    finally:
        tokenizer.train(was_training[0]), model.train(was_training[1])
    return paths.mean(1).cpu().numpy()
