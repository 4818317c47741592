"""Generation: the engine against the reference loop, in one run, on random weights of the published sizes.

    python benchmarks/generate.py            # or: make bench
    python benchmarks/generate.py --quick    # small cases only
    python benchmarks/generate.py --device cuda    # on a GPU: also bfloat16 and float16, and many series
    python benchmarks/generate.py --growth   # also how cost grows with horizon, paths, series and context

The reference recomputes the window at every step and for every path, so its cost for P paths is reckoned as P times that of one,
and that of many series from a batch of some of them. The floor of a step is what memory allows: bytes of weights and caches that
it must touch, over the copy bandwidth measured in the same run. Times are medians over repeats. The table is that of
docs/generation.md; before it stand processor, instructions and threads, and the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from kronos.generation import engine, reference
from kronos.generation.batch_plan import memory_budget, plan
from kronos.generation.fused import fused_model
from kronos.generation.paths import stride_of
from kronos.generation.precision import Precision
from kronos.generation.sampling import Sampling
from kronos.nn import Kronos

SIZES = {
    "mini": {"d_model": 256, "n_layers": 4, "n_heads": 4, "ff_dim": 512},
    "small": {"d_model": 512, "n_layers": 8, "n_heads": 8, "ff_dim": 1024},
    "base": {"d_model": 832, "n_layers": 12, "n_heads": 16, "ff_dim": 2048},
}
SAMPLING = Sampling(1.0, top_p=0.9)
DEVICE = torch.device("cpu")
"""Where it runs; see --device."""


class Case(NamedTuple):
    """One measurement: S series, a lookback, a horizon and a context; ``stride`` 0 slides exactly."""

    model: str
    lookback: int
    horizon: int
    context: int
    paths: int
    series: int = 1
    stride: int = 0
    precision: Precision = "float32"


CASES = [
    *(Case("mini", 400, 112, 512, paths) for paths in (1, 5, 30)),
    Case("mini", 90, 10, 512, 10, series=500),  # before the larger models, so that the peak is its own
    Case("mini", 90, 10, 512, 10, series=500, precision="bfloat16"),
    *(Case("small", 400, 112, 512, paths) for paths in (1, 5, 30)),
    *(Case("base", 400, 112, 512, paths) for paths in (1, 5, 30)),
    *(
        Case(model, 400, 112, 512, 1, precision=short)
        for model in ("mini", "small", "base")
        for short in ("bfloat16", "int8")
    ),
    *(
        Case(model, 400, 112, 512, 5, precision=short)
        for model in ("mini", "small", "base")
        for short in ("bfloat16", "int8")
    ),
    *(Case(model, 400, 112, 512, 30, precision="bfloat16") for model in ("mini", "small", "base")),
    Case("small", 512, 120, 512, 1, stride=stride_of("strided", 512)),
    Case("small", 512, 120, 512, 1),
]
GPU_CASES = [
    *(
        Case(model, 400, 112, 512, paths, precision=short)
        for model in ("mini", "small", "base")
        for paths in (1, 5, 30, 200)
        for short in ("float32", "bfloat16", "float16")
    ),
    *(Case("small", 400, 112, 512, 30, series=64, precision=short) for short in ("float32", "bfloat16", "float16")),
    Case("mini", 90, 10, 512, 10, series=500),
    Case("small", 512, 120, 512, 1, stride=stride_of("strided", 512)),
    Case("small", 512, 120, 512, 1),
]
GROWTH = [
    *(Case("mini", 480, horizon, 2048, 10) for horizon in (10, 30, 120, 480)),
    *(Case("mini", 400, 60, 512, paths) for paths in (1, 10, 50, 200)),
    *(Case("mini", 90, 10, 512, 10, series=series) for series in (1, 10, 100, 500)),
    *(Case("mini", context - 60, 60, context, 10) for context in (128, 512, 1024, 2048)),
]


class Inputs(NamedTuple):
    s1: torch.Tensor
    s2: torch.Tensor
    stamp: torch.Tensor
    uniforms: torch.Tensor


def network(size: str) -> Kronos:
    torch.manual_seed(0)
    drops = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0}
    return Kronos(s1_bits=10, s2_bits=10, learn_te=True, **SIZES[size], **drops).eval().to(DEVICE)


def inputs(case: Case) -> Inputs:
    torch.manual_seed(1)
    s1, s2 = (torch.randint(0, 1024, (case.series, case.lookback)) for _ in range(2))
    shape = (case.series, case.lookback + case.horizon)
    stamp = torch.stack([torch.randint(0, n, shape) for n in (60, 24, 7, 32, 13)], dim=-1)
    uniforms = torch.rand(case.series * case.paths, case.horizon, 2, dtype=torch.float64)
    return Inputs(*(t.to(DEVICE) for t in (s1, s2, stamp, uniforms)))


def finished(device: torch.device) -> float:
    """The clock, once the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and spread (largest less smallest) in seconds."""
    times = []
    for _ in range(repeats):
        clock = finished(DEVICE)
        work()
        times.append(finished(DEVICE) - clock)
    return statistics.median(times), max(times) - min(times)


def bandwidth() -> float:
    """Bytes a second that a copy moves, read and written, from and to memory."""
    source = torch.ones(2**26 if DEVICE.type == "cpu" else 2**30, device=DEVICE)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / timed(lambda: target.copy_(source), 9)[0]


class PeakMemory:
    """The process's resident bytes, or those taken on the GPU, at their highest while the block runs."""

    def __enter__(self) -> PeakMemory:
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.bytes, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.01):
            self.bytes = max(self.bytes, process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if DEVICE.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated()


def batches(case: Case, model: Kronos) -> list[range]:
    """The series of each batch, as the planner cuts them for an ordinary budget."""

    class Shape(NamedTuple):
        lookback: int
        horizon: int

    shapes: Any = [Shape(case.lookback, case.horizon)] * case.series
    budget = 2**30 if DEVICE.type == "cpu" else memory_budget(DEVICE)
    sizes = [len(batch.members) for batch in plan(model, shapes, case.paths, case.context, budget)]
    return [range(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]


def generate(model: Kronos, case: Case, given: Inputs, parts: list[range]) -> None:
    for part in parts:
        rows = slice(part.start * case.paths, part.stop * case.paths)
        series = slice(part.start, part.stop)
        numbers = given.uniforms[rows]
        engine.generate_tokens(
            model,
            given.s1[series],
            given.s2[series],
            given.stamp[series],
            numbers,
            case.context,
            SAMPLING,
            None,
            case.stride,
            precision=case.precision,
        )


@torch.inference_mode()
def step_cost(model: Kronos, case: Case, given: Inputs, repeats: int) -> tuple[float, float]:
    """Seconds of a prefill, and of a step half way through the horizon: both logits, both draws, one bar appended."""
    fused = fused_model(model, case.precision)
    time_emb = fused.time_emb(given.stamp)
    keep = min(case.lookback, case.context - case.horizon + 1)
    prefill = partial(
        engine.ModelWindow,
        fused,
        given.s1[:, -keep:],
        given.s2[:, -keep:],
        time_emb[:, :keep],
        None,
        case.paths,
        case.horizon,
    )
    seconds, _ = timed(prefill, max(3, repeats))
    window = prefill()
    numbers = given.uniforms.view(case.series, case.paths, case.horizon, 2)
    shape = (case.series, case.paths, model.d_model)
    costs = []
    for i in range(case.horizon - 1):
        clock = time.perf_counter()
        s1 = engine.sample_from_uniform(window.coarse_logits(), SAMPLING, numbers[:, :, i, 0])
        s2 = engine.sample_from_uniform(window.fine_logits(s1), SAMPLING, numbers[:, :, i, 1])
        window.step(s1, s2, time_emb[:, None, keep + i].expand(*shape))
        costs.append(time.perf_counter() - clock)
    return seconds, statistics.median(costs)


def floor_bytes(model: Kronos, case: Case) -> float:
    """What a step half way through the horizon must read: every weight once in its precision, every float32 cache once."""
    d = model.d_model
    blocks = sum(p.numel() for p in model.transformer.parameters())
    # Coarse head, keys and values of the dependency layer, its output, fine head; of the tables only rows are read.
    heads = (2**model.s1_bits + 2 * d) * d + d * d + 2**model.s2_bits * d
    prefix, own = min(case.lookback, case.context - case.horizon + 1), case.horizon / 2
    per_bar = 2 * d * (len(model.transformer) + 1)
    width = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}[case.precision]
    return width * (blocks + heads) + 4 * case.series * per_bar * (prefix + case.paths * own)


@cache
def reference_seconds(size: str, lookback: int, horizon: int, context: int, rows: int, repeats: int) -> float:
    """Of one path of one series, measured on a batch of ``rows`` of them."""
    case = Case(size, lookback, horizon, context, 1, series=rows)
    model = network(size)
    given = inputs(case)
    work = partial(
        reference.generate_tokens, model, given.s1, given.s2, given.stamp, case.horizon, case.context, SAMPLING
    )
    return timed(work, min(repeats, 2) if rows == 1 else 1)[0] / rows


def measure(case: Case, repeats: int, copy_bytes: float, with_reference: bool) -> dict[str, Any]:
    model, given = network(case.model), inputs(case)
    parts = batches(case, model)
    generate(model, case, given, parts[:1])  # the first run also lays the weights out and sets up the threads
    took, spread = timed(partial(generate, model, case, given, parts), repeats)
    with PeakMemory() as peak:  # apart from the timed runs, which watching would slow down
        generate(model, case, given, parts)
    row = case._asdict() | {"engine_s": took, "spread_s": spread, "peak_gib": peak.bytes / 2**30}
    row["paths_per_s"] = case.series * case.paths / took
    # A GPU's steps are recorded, and none of them can be timed apart.
    if DEVICE.type == "cpu" and case.series == 1 and case.lookback + case.horizon <= case.context:
        row["prefill_ms"], row["step_ms"] = (1000 * seconds for seconds in step_cost(model, case, given, repeats))
        row["floor_ms"] = 1000 * floor_bytes(model, case) / copy_bytes
        row["step_over_floor"] = row["step_ms"] / row["floor_ms"]
    if with_reference:
        # Many series are the reference's own way of going faster, so they are measured in batches of 500 rows.
        rows = 1 if case.series == 1 else min(500, case.series * case.paths)
        if DEVICE.type == "cuda" and case.series == 1 and case.paths > 1:
            rows = case.paths  # a GPU does several paths in the time of one: the reference gets them in one batch
        one = reference_seconds(case.model, case.lookback, case.horizon, case.context, rows, repeats)
        row["reference_s"] = one * case.series * case.paths
        row["ratio"] = row["reference_s"] / took
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


COLUMNS = (
    *("model", "series x lookback -> horizon", "paths", "weights", "reference", "engine (spread)", "ratio"),
    *("prefill", "step", "over the floor", "peak memory"),
)
"""As in docs/generation.md, so that the printed table can be pasted there."""


def cells(row: dict[str, Any]) -> list[str]:
    """A row's cells under `COLUMNS`, empty where nothing was measured."""
    shape = f"{row['series']} x {row['lookback']} -> {row['horizon']}"
    if row["lookback"] + row["horizon"] > row["context"]:
        shape += ", sliding strided" if row["stride"] else ", sliding exact"
    figure = lambda name, unit="": f"{row[name]:.3g}{unit}" if name in row else ""
    engine_s = f"{row['engine_s']:.3g} ({row['spread_s']:.2g}) s"
    ratio = f"**{row['ratio']:.3g}**" if "ratio" in row else ""
    return [
        *(row["model"], shape, str(row["paths"]), row["precision"], figure("reference_s", " s"), engine_s, ratio),
        *(
            figure("prefill_ms", " ms"),
            figure("step_ms", " ms"),
            figure("step_over_floor"),
            f"{row['peak_gib']:.1f} GiB",
        ),
    ]


INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
)
"""Flags of /proc/cpuinfo that decide which products are fast."""


def where(device: torch.device) -> str:
    """The processor with its instructions, what PyTorch uses of them, and threads; or the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    flags = {flag for line in _cpuinfo() if line.startswith(("flags", "Features")) for flag in line.split()}
    has = " ".join(flag for flag in INSTRUCTIONS if flag in flags)
    used = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({has}; PyTorch uses {used}), {torch.get_num_threads()} threads"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def report(cases: list[Case], repeats: int, copy_bytes: float, with_reference: bool) -> Iterator[dict[str, Any]]:
    """Measure and print, row by row."""
    print("\n| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    for case in cases:
        row = measure(case, repeats, copy_bytes, with_reference)
        print("| " + " | ".join(cells(row)) + " |", flush=True)
        yield row


def main() -> None:
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="mini only, one repeat")
    parser.add_argument("--growth", action="store_true", help="also horizon, paths, series and context, one by one")
    parser.add_argument("--only", help="cases of this model only")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=DEVICE)
    options = parser.parse_args()
    DEVICE = options.device
    repeats, cases = options.repeats, CASES if DEVICE.type == "cpu" else GPU_CASES
    if options.quick:
        repeats, cases = 1, cases[:2]
    if options.only:
        cases = [case for case in cases if case.model == options.only]
    copy_bytes = bandwidth()
    print(
        f"PyTorch {torch.__version__}, {where(DEVICE)}, medians of {repeats}, a copy moves {copy_bytes / 1e9:.1f} GB/s"
    )
    results = list(report(cases, repeats, copy_bytes, True))
    growth = list(report(GROWTH, min(repeats, 3), copy_bytes, False)) if options.growth else []
    summary = {
        "benchmark": "generate",
        "copy_gb_per_s": round(copy_bytes / 1e9, 2),
        "results": results,
        "growth": growth,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
