"""The built-in samples, where they were before `kronos.samples`."""

from kronos.samples import SAMPLES, sample_path

__all__ = ["SAMPLES", "sample_path"]
