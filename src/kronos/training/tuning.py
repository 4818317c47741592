"""Choice of the weights that are trained: all, the last blocks only, or low-rank additions (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import nn

from kronos.io.extras import need
from kronos.nn import Kronos, KronosTokenizer

Tuned = Literal["all", "last", "lora"]
TUNED: tuple[Tuned, ...] = ("all", "last", "lora")
LORA_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3")
"""Layers that get LoRA additions: those of attention and feed-forward."""

Network = TypeVar("Network", Kronos, KronosTokenizer)


@dataclass(frozen=True)
class Tuning:
    """Settings of which weights are trained.

    Attributes:
        weights: "all"; "last": the last ``blocks`` of the model and the layers after them; "lora": additions of ``rank`` to the
            attention and feed-forward layers, scaled by ``alpha / rank``, and merged into them in the saved network.
        dropout: of the LoRA additions.
    """

    weights: Tuned = "all"
    blocks: int = 1
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.weights not in TUNED:
            raise ValueError(f"tuning must be one of {', '.join(map(repr, TUNED))}, found {self.weights!r}")
        if self.blocks < 0 or self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"blocks must be at least 0, rank at least 1, alpha positive, dropout in [0, 1), found {self}"
            )

    def prepare(self, network: Kronos | KronosTokenizer) -> None:
        """Freeze the weights that are not trained, and add LoRA's.

        Raises:
            ValueError: "last" of a tokenizer, more blocks than there are, or LoRA without the package peft.
        """
        if self.weights == "all":
            return
        if self.weights == "last":
            self._freeze_all_but_last(network)
            return
        need("peft", "lora", "LoRA")
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=list(LORA_LAYERS),
            bias="none",
        )
        inject_adapter_in_model(config, network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("lora_" in name)

    def _freeze_all_but_last(self, network: Kronos | KronosTokenizer) -> None:
        if not isinstance(network, Kronos):
            raise ValueError("a tokenizer is trained whole, by LoRA, or not at all: its last blocks mean little alone")
        if self.blocks > len(network.transformer):
            raise ValueError(f"blocks must be at most {len(network.transformer)}, found {self.blocks}")
        network.requires_grad_(False)
        kept = network.transformer[len(network.transformer) - self.blocks :]
        for module in (*kept, network.norm, network.dep_layer, network.head):
            module.requires_grad_(True)


def layer_rates(network: nn.Module, decay: float) -> dict[str, float]:
    """Return the learning rate of each parameter by name, over that of the output layers.

    ``decay`` is the rate of a block over that of the block after it; the embeddings come before the first block. Networks other
    than the model have one rate.
    """
    if not isinstance(network, Kronos):
        return {name: 1.0 for name, _ in network.named_parameters()}
    blocks = len(network.transformer)

    def depth(name: str) -> int:
        part, _, rest = name.partition(".")
        if part in ("embedding", "time_emb"):
            return 0
        return 1 + int(rest.partition(".")[0]) if part == "transformer" else blocks + 1

    return {name: decay ** (blocks + 1 - depth(name)) for name, _ in network.named_parameters()}


def merged(network: Network) -> Network:
    """Return the plain network, on its device, with LoRA's additions merged into its weights; without any, the network itself."""
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        return network
    if not any(isinstance(module, LoraLayer) for module in network.modules()):
        return network
    whole = copy.deepcopy(network)
    for module in whole.modules():
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
    weights = {
        name.replace(".base_layer", ""): value for name, value in whole.state_dict().items() if "lora_" not in name
    }
    plain = type(network)(**network.config.to_dict()).to(next(network.parameters()).device)
    plain.load_state_dict(weights)
    return plain.eval()


def trained_share(network: nn.Module) -> tuple[int, int]:
    """Return the numbers of trained weights and of all weights."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, on in sizes if on), sum(n for n, _ in sizes)
