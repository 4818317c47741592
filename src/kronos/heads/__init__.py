"""Heads: small networks on a model's hidden states that answer in one pass, without sampling."""

from kronos.heads.examples import HeadExamples, HeadInputs, collect_examples
from kronos.heads.head import Head, HeadSpec
from kronos.heads.head_fitting import HeadSettings, fit_head, train_head
from kronos.heads.purged_splits import purged_folds, purged_split

__all__ = [
    "Head",
    "HeadExamples",
    "HeadInputs",
    "HeadSettings",
    "HeadSpec",
    "collect_examples",
    "fit_head",
    "purged_folds",
    "purged_split",
    "train_head",
]
