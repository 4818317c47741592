"""Training in one process or several: the operations of torch.distributed that the training loop needs.

``torchrun`` starts as many processes as it is asked for, on one machine or several; ``python`` starts one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from kronos.nn.device import best_device

WAIT = timedelta(minutes=30)
"""Timeout of waiting for other processes, which may be validating or reading data."""


@dataclass(frozen=True)
class World:
    """This process among all of a run: ``rank`` of ``size``, and its device."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes files and logs."""
        return self.rank == 0

    def mean(self, figures: Mapping[str, float], weight: float = 1.0) -> dict[str, float]:
        """Return the weighted mean of each figure over all processes; the same on every process."""
        if self.size == 1:
            return dict(figures)
        numbers = torch.tensor([value * weight for value in figures.values()] + [weight], dtype=torch.float64)
        numbers = self._on_device(numbers)
        dist.all_reduce(numbers)
        return dict(zip(figures, (numbers[:-1] / numbers[-1]).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is True on any process."""
        if self.size == 1:
            return flag
        number = self._on_device(torch.tensor([float(flag)]))
        dist.all_reduce(number, op=dist.ReduceOp.MAX)
        return bool(number.item())

    def wait(self) -> None:
        """Wait until all processes have called it (a barrier)."""
        if self.size > 1:
            dist.barrier()

    def _on_device(self, numbers: torch.Tensor) -> torch.Tensor:
        # nccl knows no CPU tensors; mps no float64, and has no processes.
        return numbers.to(self.device) if self.device.type == "cuda" else numbers


@contextmanager
def world(device: str | torch.device | None = None) -> Iterator[World]:
    """Join the process group that torchrun started, or make a world of one process; leave it at the end.

    Args:
        device: None or "auto" takes this process's GPU, else mps, else the CPU. A GPU without number becomes the one of this
            process on its machine.

    Raises:
        ValueError: the device does not exist here.
    """
    at = torch.device(best_device() if device in (None, "auto") else device)  # type: ignore[arg-type]
    size = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    if at.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device {str(device)!r}: no CUDA GPU here; use cpu or auto")
        if at.index is None or size > 1:
            at = torch.device("cuda", local)
        if at.index >= torch.cuda.device_count():
            raise ValueError(f"device {at}: this machine has {torch.cuda.device_count()} GPUs; start fewer processes")
        torch.cuda.set_device(at)
    if size == 1:
        yield World(0, 1, at)
        return
    dist.init_process_group("nccl" if at.type == "cuda" else "gloo", timeout=WAIT)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), at)
    finally:
        dist.destroy_process_group()
