"""The networks, in PyTorch: `KronosTokenizer` (bars to tokens and back) and `Kronos` (the autoregressive model over tokens)."""

from kronos.nn.checkpoint import CheckpointError, save_checkpoint
from kronos.nn.config import ConfigError, ModelConfig, TokenizerConfig
from kronos.nn.model import Kronos
from kronos.nn.tokenizer import KronosTokenizer

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Kronos",
    "KronosTokenizer",
    "ModelConfig",
    "TokenizerConfig",
    "save_checkpoint",
]
