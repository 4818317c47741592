"""Memory: what the planner reckons a batch takes, against what it took at its highest, over a grid of shapes, on a CPU.

    python benchmarks/memory.py             # or --only small, --least 0 for small batches too

Each forecast is one batch of `kronos.generation.paths.sample_paths` with random weights of the published sizes and their tokenizer.
Its peak is the process's highest resident memory (VmHWM, reset before each), less what was resident before: Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import re
from pathlib import Path

import numpy as np
import torch
from generate import SIZES, network, where

from kronos.generation.batch_plan import LEAST_BATCH, Window, planned_bytes
from kronos.generation.paths import sample_paths, stride_of
from kronos.generation.sampling import Sampling
from kronos.nn import KronosTokenizer

CONTEXT, SLIDING_CONTEXT = 512, 128
LEAST = LEAST_BATCH
"""Bytes planned below which a row does not count: a batch is never held to less, and buffers of fixed size outweigh it."""
PAGE_TABLE = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def tokenizer() -> KronosTokenizer:
    torch.manual_seed(0)
    return KronosTokenizer(
        d_in=6, d_model=256, n_heads=4, ff_dim=512, n_enc_layers=4, n_dec_layers=4, ffn_dropout_p=0.0, attn_dropout_p=0.0,
        resid_dropout_p=0.0, s1_bits=10, s2_bits=10, beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05, group_size=5,
    ).eval()  # fmt: skip


def window(lookback: int, horizon: int) -> Window:
    random = np.random.default_rng(0)
    stamp = random.integers(0, 7, (lookback + horizon, 5))
    return Window(random.normal(size=(lookback, 6)), stamp[:lookback], stamp[lookback:])


def resident(name: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at its highest."""
    found = re.search(rf"{name}:\s+(\d+) kB", PAGE_TABLE[0].read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="this model alone")
    parser.add_argument("--least", type=int, default=LEAST, help="planned bytes from which a row counts")
    options = parser.parse_args()
    trim, reader, rows = ctypes.CDLL("libc.so.6").malloc_trim, tokenizer(), []
    print(f"PyTorch {torch.__version__}, {where(torch.device('cpu'))}\n")
    print("| model | lookback -> horizon | paths | context | planned | true peak | planned / true |\n|" + " --- |" * 7)
    for size in [options.only] if options.only else ("mini", "small"):
        assert size in SIZES
        model = network(size)
        run = lambda lookback, horizon, paths, context, model=model: sample_paths(
            reader, model, [window(lookback, horizon)], paths, context, Sampling(1.0, top_p=0.9), 0, sliding="strided",
            memory=2**40,
        )  # fmt: skip
        run(20, 3, 2, CONTEXT)  # weights are laid out
        for lookback, horizon, paths, context in itertools.product(
            (90, 256, 400), (10, 112), (1, 30, 200), (CONTEXT, SLIDING_CONTEXT)
        ):
            if context == SLIDING_CONTEXT and (lookback == 400 or (paths == 200 and size != "mini")):
                continue  # the same window, and minutes
            if context == SLIDING_CONTEXT and lookback + horizon <= context:
                continue
            planned = planned_bytes(model, lookback, horizon, paths, context, stride_of("strided", context))
            trim(0)
            PAGE_TABLE[1].write_text("5")
            before = resident("VmRSS")
            run(lookback, horizon, paths, context)
            peak = resident("VmHWM") - before
            row = {"model": size, "lookback": lookback, "horizon": horizon, "paths": paths, "context": context}
            rows.append(row | {"planned": planned, "peak": peak, "counts": planned >= options.least})
            note = "" if planned >= options.least else " (small)"
            print(
                f"| {size} | {lookback} -> {horizon}{', sliding' if lookback + horizon > context else ''} | {paths} | {context} | "
                f"{planned / 2**20:.0f} MiB | {peak / 2**20:.0f} MiB | {planned / peak:.2f}{note} |",
                flush=True,
            )
    ratios = [row["planned"] / row["peak"] for row in rows if row["counts"]]
    print(f"\nplanned / true of {len(ratios)} batches: {min(ratios):.2f} to {max(ratios):.2f}")
    print(json.dumps({"benchmark": "memory", "results": rows}))


if __name__ == "__main__":
    main()
