"""No tensor on the wrong device, found without a GPU: networks and engine run on PyTorch's "meta" device.

Its tensors have shapes but no numbers, so that a step that waits for a number fails too. What the code does for CUDA alone (its own
kernels of rotation and attention, recording) is not run by this; tests/test_gpu.py does that where there is a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kronos.generation import engine, fused
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.losses import ModelObjective, TokenizerObjective

META = torch.device("meta")
CONTEXT = 24
DROPS: dict[str, Any] = dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.1)


class OnlyOn(TorchDispatchMode):
    """Raise where an operation takes or gives a tensor on another device; it may take single numbers, as on a GPU."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensors, what in ((tree_leaves((args, kwargs)), "takes"), (tree_leaves(found), "gives")):
            for tensor in tensors:
                elsewhere = isinstance(tensor, torch.Tensor) and tensor.device.type != self.device.type
                if elsewhere and (tensor.ndim or what == "gives"):
                    raise AssertionError(f"{func} {what} {list(tensor.shape)} on {tensor.device}, not on {self.device}")
        return found


@contextmanager
def only_on_meta() -> Iterator[None]:
    """Where nothing else is said, tensors are made on the CPU, and that is an error."""
    with torch.device("cpu"), OnlyOn(META):
        yield


@pytest.fixture
def device(monkeypatch) -> Iterator[None]:
    # What is kept of a network is told by its weights' numbers, which there are none of here.
    monkeypatch.setattr(fused, "_fused", lambda module, name, make: make())
    with META:
        yield


def pair(rotary: bool = False) -> tuple[KronosTokenizer, Kronos]:
    tokenizer = KronosTokenizer(
        d_in=6, d_model=16, n_heads=2, ff_dim=32, n_enc_layers=2, n_dec_layers=2, **DROPS, s1_bits=5, s2_bits=5,
        beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05, group_size=5,
    )  # fmt: skip
    model = Kronos(
        s1_bits=5, s2_bits=5, n_layers=2, d_model=16, n_heads=2, ff_dim=32, **DROPS, token_dropout_p=0.1, learn_te=True,
        dependency_rotary=rotary,
    )  # fmt: skip
    return tokenizer, model


def stamps(series: int, bars: int) -> torch.Tensor:
    return torch.zeros(series, bars, 5, dtype=torch.long)


def padding(lookback: int) -> torch.Tensor:
    return torch.arange(lookback)[None] < torch.tensor([[0], [4], [9]])


@pytest.mark.parametrize(
    "faulty",
    [
        lambda here: torch.arange(3, device="cpu"),
        lambda here: here.index_select(0, torch.tensor([1], device="cpu")),
        lambda here: here + torch.ones(3, device="cpu"),
    ],
    ids=["made", "index", "sum"],
)
def test_the_check_finds_tensors_of_the_cpu(device, faulty):
    with pytest.raises((AssertionError, RuntimeError), match=r"on cpu|device cpu"), only_on_meta():
        faulty(torch.zeros(3))


@pytest.mark.parametrize("ragged", [False, True])
def test_tokens_of_bars_are_made_on_the_device(device, ragged):
    tokenizer = pair()[0].eval()
    bars, hidden = torch.zeros(3, 16, 6), padding(16) if ragged else None
    with only_on_meta():
        s1, s2 = engine.encode(tokenizer, bars, hidden)
    assert s1.shape == s2.shape == (3, 16)


@pytest.mark.parametrize("counted", [False, True], ids=["steps", "recorded"])
@pytest.mark.parametrize("paths", [1, 5])
@pytest.mark.parametrize(
    ("lookback", "horizon", "stride", "ragged", "greedy"),
    [(16, 8, 0, False, True), (16, 8, 0, True, False), (20, 10, 0, False, False), (20, 12, 6, False, False)],
    ids=["greedy", "ragged", "sliding", "strided"],
)
def test_paths_are_drawn_on_the_device(device, monkeypatch, counted, paths, lookback, horizon, stride, ragged, greedy):
    monkeypatch.setattr(engine, "worth_recording", lambda *_: counted)
    monkeypatch.setattr(engine, "Recording", lambda _: lambda work: work())
    sampling = Sampling(top_k=1) if greedy else Sampling(0.9, top_p=0.9)
    model = pair(rotary=paths == 5)[1].eval()
    s1, s2 = (torch.zeros(3, lookback, dtype=torch.long) for _ in range(2))
    numbers, hidden = torch.zeros(3 * paths, horizon, 2, dtype=torch.float64), padding(lookback) if ragged else None
    stamp = stamps(3, lookback + horizon)
    with only_on_meta():
        found = engine.generate_tokens(model, s1, s2, stamp, numbers, CONTEXT, sampling, hidden, stride)
    assert [t.shape for t in found] == [(3 * paths, horizon)] * 2


@pytest.mark.parametrize("paths", [1, 5])
@pytest.mark.parametrize("ragged", [False, True])
def test_bars_of_tokens_are_made_on_the_device(device, paths, ragged):
    tokenizer, codes = pair()[0].eval(), torch.zeros(3, 16, dtype=torch.long)
    new, hidden = torch.zeros(3 * paths, 8, dtype=torch.long), padding(16) if ragged else None
    with only_on_meta():
        bars, known = engine.decode_suffix(tokenizer, codes, codes, new, new, CONTEXT, hidden)
    assert bars.shape == (3 * paths, 8, 6) and known.shape == (3, 16, 6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", ["tokenizer", "model", "model, true coarse token"])
def test_a_training_step_stays_on_the_device(device, stage, precision):
    tokenizer, model = pair()
    if stage == "tokenizer":
        objective: nn.Module = TokenizerObjective(tokenizer, 0.05)
        batch: tuple[torch.Tensor, ...] = (torch.zeros(3, 16, 6),)
    else:
        codes = torch.zeros(3, 16, dtype=torch.long)
        objective = ModelObjective(model, "true" if "true" in stage else "sampled")
        batch = codes, codes, stamps(3, 16), torch.zeros(3, 16)
    with only_on_meta():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss, figures = objective(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
    assert all(value.device == META for value in figures.values())
