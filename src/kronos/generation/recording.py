"""Work that is the same operations on the same memory every time: on a GPU recorded once, and started whole after that."""

from __future__ import annotations

from collections.abc import Callable

import torch

LEAST_STEPS = 8
"""Recording takes about as long as a few steps."""


def worth_recording(device: torch.device, steps: int) -> bool:
    return device.type == "cuda" and steps >= LEAST_STEPS


class Recording:
    """Calls ``work`` at the first call, records it as a CUDA graph at the second, and starts the graph from then on.

    ``work`` must be the same at every call, read from and write to tensors that stay where they are, and not wait for the
    device. On other devices every call is a call of ``work``. It is not kept: what it belongs to would be kept with it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.calls = device, 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        self.calls += 1
        if self.device.type != "cuda" or self.calls == 1:  # the first call lets the libraries set themselves up
            work()
            return
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            here, apart = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
            apart.wait_stream(here)
            with torch.cuda.device(self.device), torch.cuda.stream(apart):
                # Other threads may use the GPU meanwhile.
                self.graph.capture_begin(capture_error_mode="thread_local")
                try:
                    work()
                finally:
                    self.graph.capture_end()
            here.wait_stream(apart)
        self.graph.replay()
