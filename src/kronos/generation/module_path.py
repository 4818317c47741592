"""Generation through the networks' own modules, for networks with adapters, hooks or replaced parts.

`generation.engine` reads weights. Adapters, hooks, parametrisations, replaced layers and overridden methods change what a network
computes without changing those weights; such networks are called as modules, at the reference's speed.

Legend: P paths, L lookback, K horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from kronos.generation.batch_plan import Window
from kronos.generation.engine import sample_from_uniform
from kronos.generation.reference import decode_tail
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn import layers as nn_layers
from kronos.nn import model as nn_model
from kronos.nn import quantizer as nn_quantizer
from kronos.nn import tokenizer as nn_tokenizer
from kronos.nn.config import NetworkConfig

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")
SPECIAL_NAMES = ("__call__", "__getattr__", "__getattribute__")
"""Special methods that affect a forecast; `__init__` and others do not."""


def unwrapped(network: Any) -> Any:
    """Return the network inside torch.compile's, peft's or DistributedDataParallel's wrapper, with its adapters in place."""
    for _ in range(4):
        if isinstance(getattr(network, "_orig_mod", None), nn.Module):  # torch.compile
            network = network._orig_mod
        elif hasattr(network, "peft_config") and isinstance(getattr(network, "model", None), nn.Module):
            network = network.model
        elif isinstance(network, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            network = network.module
        else:
            break
    return network


def _methods(kind: type) -> dict[str, Any]:
    """Return functions and properties that a class itself defines, without class methods, which do not affect a forecast."""
    return {
        name: value
        for name, value in vars(kind).items()
        if (callable(value) or hasattr(value, "__get__"))
        and not isinstance(value, classmethod)
        and (name in SPECIAL_NAMES or not name.startswith("__"))
    }


KINDS = {nn.Linear, nn.Embedding, nn.ModuleList} | {
    kind
    for file in (nn_layers, nn_model, nn_quantizer, nn_tokenizer)
    for kind in vars(file).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module)
}
"""All classes that plain networks are made of."""
OWN_METHODS = {kind: _methods(kind) for kind in KINDS}
"""Methods of each class at import, to detect one that is replaced in the class itself."""


class _Unfilled(TorchFunctionMode):
    """Mode that leaves new weights uninitialised, which costs neither time nor memory where only their shapes are needed.

    The meta device does the same, but torch imports its compiler for it, which takes seconds in every process.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@lru_cache(maxsize=16)
def _plain(kind: type, config: NetworkConfig) -> dict[str, tuple[type, dict[str, torch.Size]]]:
    """Return class and weights' shapes of every module of a network of this configuration, by name."""
    with _Unfilled():
        network = kind(**config.to_dict())
    return {name: (type(part), _shapes(part)) for name, part in network.named_modules()}


def _shapes(part: nn.Module) -> dict[str, torch.Size]:
    own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
    return {name: weight.shape for name, weight in own}


def special_part(network: nn.Module) -> str | None:
    """Describe the first part that makes a network differ from a plain one of its configuration; None where there is none.

    Compared with a newly built network are the class, the weights' names and shapes, the hooks and the methods of every module.
    """
    for name in GLOBAL_HOOKS:
        if getattr(torch_module, name):
            return "a global forward hook"
    config = getattr(network, "config", None)
    if not isinstance(network, (Kronos, KronosTokenizer)) or not isinstance(config, network.config_class):
        return f"a configuration of type {type(config).__name__}"
    plain = dict(_plain(Kronos if isinstance(network, Kronos) else KronosTokenizer, config))
    for name, part in network.named_modules():
        where = f" at {name}" if name else ""
        kind, (expected, shapes) = type(part), plain.pop(name, (None, {}))
        if expected is None or not issubclass(kind, expected):
            return f"{kind.__name__}{where}"
        if changed := _changed_method(kind, expected):
            return f"{kind.__name__}.{changed}{where}"
        if any(getattr(part, hooks) for hooks in HOOKS):
            return f"a forward hook{where}"
        patched = [key for key, value in vars(part).items() if callable(value) and callable(getattr(kind, key, None))]
        if patched:
            return f"a replaced method {patched[0]}{where}"
        if _shapes(part) != shapes:
            return f"{kind.__name__ if kind is not expected else 'weights of other names or shapes'}{where}"
        for key, weight in part.named_parameters(recurse=False):
            if type(weight) not in (nn.Parameter, Tensor):
                return f"a weight {key} of type {type(weight).__name__}{where}"
    return f"no part {next(iter(plain))}" if plain else None


def _changed_method(kind: type, expected: type) -> str | None:
    """Return the name of a method that a subclass overrides, or that was replaced in the class itself; None where there is none."""
    for one in kind.__mro__:
        if one in OWN_METHODS:
            for name, value in _methods(one).items():
                if OWN_METHODS[one].get(name) is not value:
                    return name
        elif not issubclass(expected, one):
            for name in _methods(one):
                if hasattr(expected, name):
                    return name
    return None


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put the networks into eval mode inside the block, and restore the mode of every module after it."""
    training = [part for network in networks for part in network.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


@torch.no_grad()
def sample_by_modules(
    tokenizer: KronosTokenizer,
    model: Kronos,
    window: Window,
    uniforms_PK2: np.ndarray,
    max_context: int,
    sampling: Sampling,
    advance: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample paths of one series by the same random numbers as the engine, and reconstruct its last observed bars.

    The window slides by one bar a step, as in the reference.

    Args:
        window: the series.
        uniforms_PK2: a number in [0, 1) for each path, step and token.
        max_context: bars that the model sees at most.
        advance: called with 1 after every step.

    Returns:
        Paths float32 [P, K, 6] and reconstructed bars float32 [k, 6], normalised.
    """
    device, paths = next(model.parameters()).device, len(uniforms_PK2)
    bars = torch.from_numpy(np.ascontiguousarray(window.bars, np.float32))[None].to(device)
    stamp = torch.from_numpy(np.concatenate((window.stamp, window.future_stamp))).long().to(device)[None]
    uniforms = torch.from_numpy(uniforms_PK2).to(device)
    s1, s2 = tokenizer.encode(bars, half=True)
    known = tokenizer.decode((s1[:, -max_context:], s2[:, -max_context:]), half=True)[0]
    s1, s2, stamp = (t.repeat_interleave(paths, dim=0) for t in (s1, s2, stamp))
    for step in range(window.horizon):
        now = s1.shape[1]
        seen = slice(max(0, now - max_context), now)
        s1_logits, context = model.decode_s1(s1[:, seen], s2[:, seen], stamp[:, seen])
        next_s1 = sample_from_uniform(s1_logits[:, -1], sampling, uniforms[:, step, 0])[:, None]
        next_s2 = sample_from_uniform(model.decode_s2(context, next_s1)[:, -1], sampling, uniforms[:, step, 1])[:, None]
        s1, s2 = torch.cat((s1, next_s1), dim=1), torch.cat((s2, next_s2), dim=1)
        if advance is not None:
            advance(1)
    out = decode_tail(tokenizer, s1, s2, window.horizon, max_context)[:, -window.horizon :]
    return out.float().cpu().numpy(), known.float().cpu().numpy()
