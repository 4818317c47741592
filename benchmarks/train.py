"""Training of the model, ours against the reference's way, in one run: tokens a second, and the data loader alone.

    python benchmarks/train.py                             # fine-tuning: mini, windows of 101 bars, 50 a batch
    python benchmarks/train.py --window 512 --batch 16     # pre-training: windows of 512 bars
    python benchmarks/train.py --window 512 --batch 16 --model base --steps 2 --ours      # tokens a second alone

The reference's way: a window is cut out of its DataFrame and normalised there, sample by sample, in a loader without workers;
plain float32, AdamW parameter by parameter. Ours: windows gathered from mapped arrays, fused AdamW, the options of the loop. Random
weights, published sizes and dropouts, coarse tokens drawn from the model; the tokenizer encodes in both, but in the last row,
as fine-tuning keeps the tokens of windows that come again. Medians over steps; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from generate import finished, where

from kronos.klines.features import FEATURES, time_features
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.bar_store import Store
from kronos.training.distributed import World
from kronos.training.losses import KnownTokens, ModelObjective, encoder_of
from kronos.training.trainer import LoopSettings, Trainer, TrainingTask
from kronos.training.windows import Order, Windows

SYMBOLS, BARS, HORIZON = 50, 700, 11
DEVICE = torch.device("cpu")
"""Where it runs; see --device."""
MODELS = {
    "nano": {"d_model": 128, "n_layers": 4, "n_heads": 4, "ff_dim": 320},
    "mini": {"d_model": 256, "n_layers": 4, "n_heads": 4, "ff_dim": 512},
    "small": {"d_model": 512, "n_layers": 8, "n_heads": 8, "ff_dim": 1024},
    "base": {"d_model": 832, "n_layers": 12, "n_heads": 16, "ff_dim": 2048},
}
DROPS = {"ffn_dropout_p": 0.2, "attn_dropout_p": 0.0, "resid_dropout_p": 0.2, "token_dropout_p": 0.0}


def series(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.02, BARS).cumsum())
    table = pd.DataFrame({"timestamp": pd.bdate_range("2020-01-01", periods=BARS), "open": close * 0.999})
    table["high"], table["low"], table["close"] = close * 1.01, close * 0.99, close
    table["volume"] = rng.lognormal(10, 1, BARS)
    table["amount"] = table["volume"] * close
    return table


def networks(size: str) -> tuple[KronosTokenizer, Kronos]:
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(
        d_in=6, d_model=256, n_heads=4, ff_dim=512, n_enc_layers=4, n_dec_layers=4, ffn_dropout_p=0.0, attn_dropout_p=0.0,
        resid_dropout_p=0.0, s1_bits=10, s2_bits=10, beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05, group_size=5,
    )  # fmt: skip
    model = Kronos(s1_bits=10, s2_bits=10, learn_te=True, **MODELS[size], **DROPS)
    return tokenizer.eval().to(DEVICE), model.to(DEVICE)


class PandasWindows(torch.utils.data.Dataset):
    """The reference's data set: a random window, cut and normalised with pandas, whatever the index."""

    def __init__(self, tables: list[pd.DataFrame], length: int) -> None:
        self.tables, self.length = [], length
        for table in tables:
            stamp = pd.DataFrame(
                time_features(table["timestamp"]), columns=["minute", "hour", "weekday", "day", "month"]
            )
            self.tables.append(pd.concat([table, stamp], axis=1))
        self.places = [(i, start) for i, table in enumerate(self.tables) for start in range(len(table) - length + 1)]
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        symbol, start = self.places[self.random.integers(len(self.places))]
        window = self.tables[symbol].iloc[start : start + self.length]
        x = window[list(FEATURES)].values.astype(np.float32)
        stamp = window[["minute", "hour", "weekday", "day", "month"]].values.astype(np.float32)
        past = x[: self.length - HORIZON]
        x = np.clip((x - past.mean(0)) / (past.std(0) + 1e-5), -5, 5)
        return torch.from_numpy(x), torch.from_numpy(stamp)


def reference_way(size: str, tables: list[pd.DataFrame], length: int, batch: int, steps: int) -> list[float]:
    """Seconds a step."""
    tokenizer, model = networks(size)
    loader = iter(torch.utils.data.DataLoader(PandasWindows(tables, length), batch_size=batch))
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-5, betas=(0.9, 0.95), weight_decay=0.1, foreach=False)
    model.train()
    seconds = []
    for _ in range(steps + 1):
        clock = finished(DEVICE)
        bars, stamp = (t.to(DEVICE) for t in next(loader))
        with torch.no_grad():
            s1, s2 = tokenizer.encode(bars, half=True)
        logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1])
        loss, _, _ = model.head.compute_loss(*logits, s1[:, 1:], s2[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0, foreach=False)
        optimiser.step()
        seconds.append(finished(DEVICE) - clock)
    return seconds[1:]


def our_way(
    size: str, store: Store, length: int, windows_a_step: int, steps: int, again: bool = False, **options: Any
) -> list[float]:
    """Seconds a step of the training loop, after the first ones, which compile; ``again``: all windows came before."""
    tokenizer, model = networks(size)
    windows = Windows(store, length - HORIZON, HORIZON)
    order = Order(windows, seed=0)
    draws = np.random.default_rng(0)
    known = KnownTokens(encoder_of(tokenizer, options.get("compiled", False)), len(windows), length)

    def batch(step: int, part: int, parts: int) -> tuple[torch.Tensor, ...]:
        numbers = order.numbers(step * windows_a_step, windows_a_step)
        bars, stamp = windows.take(numbers)
        s1, s2 = known(bars.to(DEVICE), numbers)
        return s1, s2, stamp, torch.from_numpy(draws.random(s1.shape, dtype=np.float32))

    settings = LoopSettings(
        steps=1000, learning_rate=4e-5, betas=(0.9, 0.95), weight_decay=0.1, clip_norm=3.0, **options
    )
    task = TrainingTask(model, ModelObjective(model, "sampled"), batch, [batch(0, 0, 1)], lambda *_: None)
    for step in range(steps + 2 if again else 0):
        batch(step, 0, 1)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(task, settings, Path(folder), World(0, 1, DEVICE))
        for step in range(steps + 2):
            clock = finished(DEVICE)
            trainer.step(step)
            seconds.append(finished(DEVICE) - clock)
    return seconds[2:]


def loaders(tables: list[pd.DataFrame], store: Store, length: int, batch: int) -> tuple[list[float], list[float]]:
    """Windows a second, of the reference's loader and of ours, in several measurements each."""
    theirs = iter(torch.utils.data.DataLoader(PandasWindows(tables, length), batch_size=batch))
    windows = Windows(store, length - HORIZON, HORIZON)
    order = Order(windows, seed=0)
    order.numbers(0, 1)

    def rates(work: Callable[[int], Any], batches: int) -> list[float]:
        found = []
        for repeat in range(5):
            clock = time.perf_counter()
            for i in range(batches):
                work(repeat * batches + i)
            found.append(batches * batch / (time.perf_counter() - clock))
        return found

    return rates(lambda _: next(theirs), 10), rates(lambda i: windows.take(order.numbers(i * batch, batch)), 200)


def main() -> None:
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="mini")
    parser.add_argument("--window", type=int, default=101, help="bars")
    parser.add_argument("--batch", type=int, default=50, help="windows a step")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--ours", action="store_true", help="without the reference's way and the loaders")
    parser.add_argument("--device", type=torch.device, default=DEVICE)
    options = parser.parse_args()
    DEVICE = options.device
    tables = [series(i) for i in range(SYMBOLS)]
    store = Store.of((f"S{i}", table) for i, table in enumerate(tables))
    shape = (options.window, options.batch, options.steps)
    print(
        f"PyTorch {torch.__version__}, {where(DEVICE)}, {options.model}, {options.batch} windows of {options.window} bars"
    )
    with tempfile.TemporaryDirectory() as folder:
        mapped = Store.open(store.save(Path(folder) / "store"))
        ours = lambda **how: lambda: our_way(options.model, mapped, *shape, **how)
        ways: dict[str, Callable[[], list[float]]] = {
            "the reference's way": lambda: reference_way(options.model, tables, *shape),
            "default settings (precision: auto)": ours(),
            "float32": ours(precision="float32"),
            "float32, compiled": ours(precision="float32", compiled=True),
            "bfloat16": ours(precision="bfloat16"),
            "bfloat16, compiled": ours(precision="bfloat16", compiled=True),
            "the same, windows that came before": ours(precision="bfloat16", compiled=True, again=True),
        }
        if options.ours:
            ways = {name: ways[name] for name in ("float32", "bfloat16, compiled")}
        results = []
        print("\n| way | tokens/s | spread | ratio |\n| --- | --- | --- | --- |")
        for name, way in ways.items():
            rates = [options.batch * (options.window - 1) / seconds for seconds in way()]
            row = {"way": name, "tokens_per_s": statistics.median(rates), "spread": max(rates) - min(rates)}
            row["ratio"] = row["tokens_per_s"] / (results[0]["tokens_per_s"] if results else row["tokens_per_s"])
            results.append(row)
            print(f"| {name} | {row['tokens_per_s']:,.0f} | {row['spread']:,.0f} | {row['ratio']:.2f} |", flush=True)
        found: dict[str, Any] = {"benchmark": "train", **vars(options), "device": str(DEVICE), "results": results}
        if not options.ours:
            theirs, mine = map(statistics.median, loaders(tables, mapped, options.window, options.batch))
            found["loader"] = {"reference": theirs, "ours": mine, "ratio": mine / theirs}
            print(f"\nloader alone, windows/s: {theirs:,.0f} and {mine:,.0f}, {mine / theirs:.0f} times")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
