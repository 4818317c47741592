"""Check that a tokenizer belongs to a model: the published files do not say so, and a wrong pair loads without an error."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from kronos.errors import KronosWarning
from kronos.hub.registry import PUBLISHED, ZOO, Published
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.checkpoint import CheckpointSource
from kronos.schema import FEATURES


class PairWarning(KronosWarning):
    """Warning that a published model is used with another tokenizer than the one it was trained with."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )


def identify(origin: CheckpointSource | None) -> Published | None:
    """Find the published repository of weights: by the Hub id, or, for a local copy, by the file's size and checksum."""
    if origin is None:
        return None
    for published in PUBLISHED:
        if origin.name.lower() == published.repo.lower():
            return published
    if not origin.weights.is_file():
        return None
    size = origin.weights.stat().st_size
    for published in PUBLISHED:
        if published.size == size and published.sha256 == sha256_of(origin.weights):
            return published
    return None


def check_pair(tokenizer: KronosTokenizer, model: Kronos) -> None:
    """Refuse a pair that cannot work, and warn of a published pair that is known to be wrong.

    Raises:
        ValueError: the two are not a tokenizer and a model, or their bits or features do not fit.
    """
    if not isinstance(tokenizer, KronosTokenizer) or not isinstance(model, Kronos):
        raise ValueError(
            f"expected a Kronos model and a KronosTokenizer, found {type(model).__name__} and {type(tokenizer).__name__}; "
            "the order is KronosPredictor(model, tokenizer)"
        )
    theirs, ours = (tokenizer.s1_bits, tokenizer.s2_bits), (model.s1_bits, model.s2_bits)
    if theirs != ours:
        raise ValueError(
            f"the tokenizer writes {theirs[0]} + {theirs[1]} bits a bar, the model reads {ours[0]} + {ours[1]}: "
            "they do not belong together"
        )
    if tokenizer.d_in != len(FEATURES):
        raise ValueError(
            f"the tokenizer takes {tokenizer.d_in} features a bar, K-lines have {len(FEATURES)} ({', '.join(FEATURES)})"
        )
    known_model, known_tokenizer = identify(model.origin), identify(tokenizer.origin)
    if known_model is None or known_tokenizer is None:
        return
    for entry in ZOO.values():
        if entry.model == known_model and entry.tokenizer is not None and entry.tokenizer != known_tokenizer:
            warnings.warn(
                f"{known_model.short} was trained with {entry.tokenizer.short}, not with {known_tokenizer.short}: its "
                f'forecasts will be meaningless. Use KronosTokenizer.from_pretrained("{entry.tokenizer.repo}"), or '
                f'kronos.load("{entry.name}")',
                PairWarning,
                stacklevel=3,
            )
