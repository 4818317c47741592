"""The device that networks run on where none is asked for."""

import torch


def best_device() -> str:
    """cuda where there is a GPU, else mps on a Mac, else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
