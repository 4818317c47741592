"""Generation: the engine against the reference loop, in one run, on random weights of the published sizes.

    python benchmarks/generate.py            # or: make bench
    python benchmarks/generate.py --quick    # small cases only

The reference recomputes the window at every step and for every path, so its cost for P paths is reckoned as P times that of one.
Times are medians over repeats; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from kronos.generation import engine, reference
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos

SIZES = {
    "mini": {"d_model": 256, "n_layers": 4, "n_heads": 4, "ff_dim": 512},
    "small": {"d_model": 512, "n_layers": 8, "n_heads": 8, "ff_dim": 1024},
    "base": {"d_model": 832, "n_layers": 12, "n_heads": 16, "ff_dim": 2048},
}
CASES = [
    ("mini", 400, 112, 512, (1, 5, 30)),
    ("small", 400, 112, 512, (1, 5, 30)),
    ("small", 512, 120, 512, (1,)),  # slides at every step, where nothing can be reused
]


def network(size: str) -> Kronos:
    torch.manual_seed(0)
    drops = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0}
    return Kronos(s1_bits=10, s2_bits=10, learn_te=True, **SIZES[size], **drops).eval()


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and spread (largest less smallest) in seconds."""
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        work()
        times.append(time.perf_counter() - clock)
    return statistics.median(times), max(times) - min(times)


def measure(
    size: str, lookback: int, horizon: int, context: int, many: tuple[int, ...], repeats: int, sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """A row for each number of paths."""
    model = network(size)
    s1, s2 = (torch.randint(0, 1024, (1, lookback)) for _ in range(2))
    stamp = torch.stack([torch.randint(0, n, (1, lookback + horizon)) for n in (60, 24, 7, 32, 13)], dim=-1)

    def recompute() -> None:
        reference.generate_tokens(model, s1, s2, stamp, horizon, context, sampling)

    one, _ = timed(recompute, min(repeats, 2))
    for paths in many:
        numbers = torch.rand(paths, horizon, 2, dtype=torch.float64)
        cached = partial(engine.generate_tokens, model, s1, s2, stamp, numbers, context, sampling)
        cached()  # the first run also sets up the threads
        took, spread = timed(cached, repeats)
        row = {"reference_s": one * paths, "engine_s": took, "spread_s": spread, "ratio": one * paths / took}
        row["ms_per_step"] = 1000 * took / horizon
        case = {"model": size, "lookback": lookback, "horizon": horizon, "context": context, "paths": paths}
        yield case | {name: round(value, 4) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="mini only, one repeat")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    repeats, cases = (1, CASES[:1]) if options.quick else (options.repeats, CASES)
    sampling, results = Sampling(1.0, top_p=0.9), []
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, float32, medians of {repeats}")
    print("model  lookback horizon paths  reference s    engine s  spread s  ratio  ms/step")
    for case in cases:
        for row in measure(*case, repeats, sampling):
            results.append(row)
            print(
                f"{row['model']:6} {row['lookback']:8} {row['horizon']:7} {row['paths']:5} {row['reference_s']:12.2f} "
                f"{row['engine_s']:11.3f} {row['spread_s']:9.3f} {row['ratio']:6.1f} {row['ms_per_step']:8.2f}",
                flush=True,
            )
    print(json.dumps({"benchmark": "generate", "results": results}))


if __name__ == "__main__":
    main()
