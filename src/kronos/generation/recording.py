"""CUDA graphs: operations that are the same on the same memory every time are recorded once and then launched together."""

from __future__ import annotations

from collections.abc import Callable

import torch

LEAST_STEPS = 8
"""Steps below which a recording is not worth its time, which is that of a few steps."""


def worth_recording(device: torch.device, steps: int) -> bool:
    return device.type == "cuda" and steps >= LEAST_STEPS


class Recording:
    """CUDA graph of a function: the first call runs ``work``, the second records it, and later ones launch the graph.

    ``work`` must be the same at every call, read from and write to tensors that stay where they are, and not wait for the
    device. On other devices every call runs ``work``. No reference to ``work`` is kept, so that its tensors can be freed.
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
