"""Heads: small supervised models on features of lookbacks, with purged and embargoed validation."""

from kronos.heads.head import Head
from kronos.heads.purged_splits import Fold, purged_folds, purged_walk_forward
from kronos.heads.supervised import HeadReport, HeadSettings, train_head

__all__ = ["Fold", "Head", "HeadReport", "HeadSettings", "purged_folds", "purged_walk_forward", "train_head"]
