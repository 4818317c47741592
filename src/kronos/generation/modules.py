"""Generation through the networks' own modules, for networks that are not just their weights.

`generation.engine` reads weights. Adapters, hooks, parametrisations, replaced layers and overridden methods change what a network
computes without changing those weights; such networks are run as they are, at the reference's speed.

Legend: P paths, L lookback, K horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from kronos.generation.engine import pick
from kronos.generation.planning import Window
from kronos.generation.reference import decode_tail
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer

PLAIN_LAYERS = (nn.Linear, nn.Embedding, nn.ModuleList, nn.Dropout, nn.Identity)
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def unwrapped(network: Any) -> Any:
    """The network inside torch.compile's, peft's or DistributedDataParallel's wrapper, with its adapters in place."""
    for _ in range(4):
        if isinstance(getattr(network, "_orig_mod", None), nn.Module):  # torch.compile
            network = network._orig_mod
        elif hasattr(network, "peft_config") and hasattr(network, "get_base_model"):
            network = network.get_base_model()
        elif isinstance(network, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            network = network.module
        else:
            break
    return network


def special_part(network: nn.Module) -> str | None:
    """What makes a network more than its weights, in words; None where nothing does."""
    for name in GLOBAL_HOOKS:
        if getattr(torch_module, name):
            return "a global forward hook"
    for name, part in network.named_modules():
        where = f" at {name}" if name else ""
        kind = type(part)
        if not (kind in PLAIN_LAYERS or kind.__module__.startswith("kronos.nn.")):
            base = next((b for b in kind.__mro__ if b.__module__.startswith("kronos.nn.")), None)
            changed = _overridden(kind, base) if base is not None else [kind.__name__]
            if changed:
                return f"{kind.__name__}{where}" if base is None else f"{kind.__name__}.{changed[0]}{where}"
        if any(getattr(part, hooks) for hooks in HOOKS):
            return f"a forward hook{where}"
        patched = [key for key, value in vars(part).items() if callable(value) and callable(getattr(kind, key, None))]
        if patched:
            return f"a replaced method {patched[0]}{where}"
    return None


def _overridden(kind: type, base: type) -> list[str]:
    """Methods of ``base`` that a subclass has in another form."""
    below = kind.__mro__[: kind.__mro__.index(base)]
    return [
        name
        for one in below
        for name, value in vars(one).items()
        if name != "__init__" and callable(value) and hasattr(base, name)
    ]


@torch.inference_mode()
def sample_by_modules(
    tokenizer: KronosTokenizer,
    model: Kronos,
    window: Window,
    uniforms_PK2: np.ndarray,
    max_context: int,
    sampling: Sampling,
    advance: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Paths of one series by the same draws as the engine's, and its last observed bars as reconstructed.

    The window slides by one bar a step, as in the reference.

    Returns:
        float32 [P, K, 6] and [k, 6], normalised.
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
        next_s1 = pick(s1_logits[:, -1], sampling, uniforms[:, step, 0])[:, None]
        next_s2 = pick(model.decode_s2(context, next_s1)[:, -1], sampling, uniforms[:, step, 1])[:, None]
        s1, s2 = torch.cat((s1, next_s1), dim=1), torch.cat((s2, next_s2), dim=1)
        if advance is not None:
            advance(1)
    out = decode_tail(tokenizer, s1, s2, window.horizon, max_context)[:, -window.horizon :]
    return out.float().cpu().numpy(), known.float().cpu().numpy()
