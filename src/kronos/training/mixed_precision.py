"""Choose the type of the products in training by what the processor or GPU does fastest, measured on one product.

bfloat16 gains only where there are instructions for it (AVX512_BF16 or AMX, a GPU since Ampere). Elsewhere it is emulated, at a
fraction of float32's speed, and no flag says so of every processor: so both types are timed on a product of the network's own size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Products = Literal["float32", "bfloat16"]
TrainingPrecision = Literal["auto", "float32", "bfloat16"]
TRAINING_PRECISIONS: tuple[TrainingPrecision, ...] = ("auto", "float32", "bfloat16")

GAIN = 1.25
"""Times that bfloat16 must be faster before it is chosen: less is lost in casts and in what stays float32."""
ROWS = 256
"""Rows of the measured product: enough for the kernels of large ones, and at most a second where bfloat16 is emulated."""
SECONDS = 0.4
"""Time after which no further repeat begins."""
REPEATS = 20


@dataclass(frozen=True)
class ProductTimes:
    """Seconds of one product with its two gradients, in each type.

    Attributes:
        float32, bfloat16: the least of alternating repeats on one thread, which other work on the machine disturbs least.
        size: rows, inputs and outputs of the product.
        hardware: what computes it, and whether it names instructions for bfloat16.
    """

    float32: float
    bfloat16: float
    size: tuple[int, int, int]
    hardware: str

    @property
    def gain(self) -> float:
        """Times that bfloat16 is faster than float32."""
        return self.float32 / self.bfloat16

    def __str__(self) -> str:
        times = f"{self.bfloat16 * 1000:.2g} ms in bfloat16, {self.float32 * 1000:.2g} in float32"
        return f"a product of {' x '.join(map(str, self.size))} takes {times} ({self.hardware})"


def choose_precision(asked: TrainingPrecision, times: ProductTimes) -> tuple[Products, str]:
    """Choose the type of products from measured figures.

    Returns:
        The type, and the line that says why; empty where there is nothing to say. A bfloat16 that was asked for is kept, with a
        warning where it is not faster.
    """
    if asked == "auto":
        chosen: Products = "bfloat16" if times.gain >= GAIN else "float32"
        return chosen, f"precision: {chosen}, since {times}"
    if asked == "bfloat16" and times.gain < 1:
        slower = f"{1 / times.gain:.1f} times slower than float32 here"
        return asked, f"warning: precision bfloat16 is {slower}: {times}; take precision=auto or float32"
    return asked, ""


def measure_products(network: nn.Module, device: torch.device) -> ProductTimes:
    """Time the network's largest linear layer, forward and backward, in float32 and bfloat16: in about half a second."""
    shapes = [module.weight.shape for module in network.modules() if isinstance(module, nn.Linear)]
    outputs, inputs = max(shapes, key=lambda shape: shape.numel(), default=(1024, 256))
    x = torch.ones(ROWS, inputs, device=device, requires_grad=True)
    weight = torch.ones(outputs, inputs, device=device, requires_grad=True)
    best = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for dtype in best:  # the first one prepares kernels
            _product_seconds(x, weight, dtype)
        began = time.perf_counter()
        for _ in range(REPEATS):
            for dtype, found in best.items():
                best[dtype] = min(found, _product_seconds(x, weight, dtype))
            if time.perf_counter() - began > SECONDS:
                break
    finally:
        torch.set_num_threads(threads)
    return ProductTimes(best[torch.float32], best[torch.bfloat16], (ROWS, inputs, outputs), hardware_name(device))


def _product_seconds(x: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> float:
    """Seconds of x @ weight.T and its gradients under autocast, as in a training step."""
    device, x.grad, weight.grad = x.device, None, None
    finish = getattr(torch, device.type).synchronize
    finish()
    clock = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = nn.functional.linear(x, weight)
    y.sum().backward()  # autograd.grad would load SymPy first
    finish()
    return time.perf_counter() - clock


def hardware_name(device: torch.device) -> str:
    """Name the device's instructions, and say whether bfloat16 products are among them."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        native = "bfloat16 in hardware" if major >= 8 else "no bfloat16 in hardware"
        return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}, {native}"
    if device.type != "cpu":
        return device.type
    capability = torch.backends.cpu.get_cpu_capability()
    has = [name for name, probe in BFLOAT16_INSTRUCTIONS.items() if getattr(torch.cpu, probe, bool)()]
    return f"processor with {capability}, {' and '.join(has) or 'no AVX512_BF16 or AMX'}"


BFLOAT16_INSTRUCTIONS = {"AVX512_BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
"""Instructions with products of bfloat16, and the function of torch.cpu that finds each; older releases have not all."""
