"""The names of the published ``model/kronos.py``, and those of ``model/module.py``, which it passes on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kronos.compat import module
from kronos.compat.module import *  # noqa: F403
from kronos.generation import sampling
from kronos.generation.reference import auto_regressive_inference
from kronos.klines.features import as_timestamps, time_features
from kronos.nn import Kronos, KronosTokenizer
from kronos.predictor import KronosPredictor
from kronos.schema import TIME_FIELDS

__all__ = [
    "Kronos",
    "KronosPredictor",
    "KronosTokenizer",
    "auto_regressive_inference",
    "calc_time_stamps",
    "np",
    "pd",
    "sample_from_logits",
    "top_k_top_p_filtering",
    "torch",
    *module.__all__,
]


def top_k_top_p_filtering(
    logits: Tensor,
    top_k: int = 0,
    top_p: float = 1.0,
    filter_value: float = -float("inf"),
    min_tokens_to_keep: int = 1,
) -> Tensor | None:
    """Put ``filter_value`` in place of the logits [..., V] that top-k or top-p leaves out, in the tensor itself.

    As published: where top_k is above 0, top_p is not looked at (`sample_from_logits` applies both), and the result is None
    where neither restricts anything.

    Args:
        top_k: keep the k largest, and those equal to the last of them; 0 is off.
        top_p: keep the likeliest codes up to the first with which their probability exceeds top_p; 1 is off.
        min_tokens_to_keep: a lower bound; top-p keeps one more than it where it is above 1.
    """
    if top_k is not None and top_k > 0:
        least = logits.topk(min(max(top_k, min_tokens_to_keep), logits.shape[-1])).values[..., -1:]
        out = logits < least
    elif top_p is not None and top_p < 1.0:
        ordered, codes = logits.sort(descending=True)
        full = ordered.softmax(-1).cumsum(-1) > top_p
        if min_tokens_to_keep > 1:
            full[..., :min_tokens_to_keep] = False
        # A code goes where the likelier ones before it are enough.
        after = torch.cat((torch.zeros_like(full[..., :1]), full[..., :-1]), dim=-1)
        out = torch.zeros_like(after).scatter(-1, codes, after)
    else:
        return None
    return logits.masked_fill_(out, filter_value)


def sample_from_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    sample_logits: bool = True,
) -> Tensor:
    """Draw one code a row: logits [B, V] -> ids [B, 1]; sample_logits=False takes the likeliest.

    Both top_k and top_p apply. None is off, and so are a top_k below 1 and a top_p above 1; a top_p of 0 or less leaves the
    likeliest code alone, as published.

    Raises:
        ValueError: a temperature below 0, or an argument that is no number.
    """
    return sampling.sample_from_logits(logits, temperature, top_k, top_p, sample_logits)


def calc_time_stamps(x_timestamp: pd.Series | pd.DatetimeIndex) -> pd.DataFrame:
    """Minute, hour, weekday, day and month of each timestamp, an int32 column each, on the index of a Series."""
    index = x_timestamp.index if isinstance(x_timestamp, pd.Series) else None
    features = time_features(as_timestamps(x_timestamp)).astype(np.int32)
    return pd.DataFrame(features, columns=list(TIME_FIELDS), index=index)
