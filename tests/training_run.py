"""A small real training run, for tests that start it as a process or under torchrun.

python tests/training_run.py FOLDER --windows 8 [--accumulation 2] [--steps 12] [--die-at 7]
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kronos.nn import Kronos, KronosTokenizer, save_checkpoint
from kronos.training.bar_store import Store
from kronos.training.distributed import world
from kronos.training.losses import ModelObjective, tokens_of
from kronos.training.trainer import LoopSettings, TrainingTask, train
from kronos.training.windows import Order, Windows

DROPS: dict[str, Any] = dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.0)


def launch(arguments: list[str], processes: int = 1, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a script, or ``-m module``, as users start it: alone with python, several with torchrun."""
    from tests.processes import run_process  # not there where this file itself is the script

    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return run_process([*command, *arguments], cwd=cwd)


def walk(bars: int, seed: int) -> pd.DataFrame:
    """Bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, bars).cumsum())
    table = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=bars, freq="D"), "open": close})
    table["high"], table["low"], table["close"] = close * 1.01, close * 0.99, close
    table["volume"] = rng.integers(1, 1000, bars).astype(float)
    return table


def small_pair(dropout: float = 0.0) -> tuple[KronosTokenizer, Kronos]:
    torch.manual_seed(0)
    bits: dict[str, Any] = {"s1_bits": 5, "s2_bits": 5}
    tokenizer = KronosTokenizer(
        d_in=6, d_model=16, n_heads=2, ff_dim=32, n_enc_layers=2, n_dec_layers=2, **DROPS, **bits,
        beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05, group_size=5,
    )  # fmt: skip
    drops = DROPS | {"ffn_dropout_p": dropout}
    model = Kronos(**bits, n_layers=2, d_model=16, n_heads=2, ff_dim=32, **drops, token_dropout_p=0.0, learn_te=True)
    return tokenizer.eval(), model


def run(folder: Path, processes, windows=8, accumulation=1, steps=12, die_at=None, dropout=0.0, **changes) -> bool:
    store = Store.of((f"S{i}", walk(120, i)) for i in range(4))
    tokenizer, model = small_pair(dropout)
    cut = Windows(store, 20, 5)
    order = Order(cut, seed=1)

    def ready(numbers):
        bars, stamp = cut.take(numbers)
        draws = np.random.default_rng(numbers).random((len(numbers), 25), dtype=np.float32)
        return *tokens_of(tokenizer, bars), stamp, torch.from_numpy(draws)

    def batch(step, part, parts):
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ready_rows(order.numbers((step * parts + part) * windows, windows))

    def ready_rows(numbers):
        """A window's draws are its own, whatever part it is in."""
        rows = [ready(numbers[i : i + 1]) for i in range(len(numbers))]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    held_out = [ready_rows(chunk) for chunk in np.array_split(cut.spread(20), 2)]
    task = TrainingTask(model, ModelObjective(model, "sampled"), batch, held_out, save_checkpoint)
    settings = LoopSettings(
        **{"steps": steps, "learning_rate": 0.01, "warmup": 3, "accumulation": accumulation, "report_every": 1}
        | {"validate_every": 5, "save_every": 4, "precision": "float32"} | changes
    )  # fmt: skip
    return train(task, settings, folder, processes, echo=lambda text: print(text, flush=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("windows", "accumulation", "steps", "die-at"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--sharded", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.0)
    given = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    torch.set_num_threads(1)
    with world("cpu") as processes:
        run(given.pop("folder"), processes, **given)
