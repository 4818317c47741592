"""Built-in samples: daily bars, 1999 to 2018, that ship inside the arch package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SAMPLES = {"sp500": "S&P 500, daily", "nasdaq": "NASDAQ Composite, daily"}
"""Name of each sample: its title."""


def sample_path(name: str) -> Path:
    """Return the file of a sample.

    Raises:
        ValueError: an unknown name, or the package is not installed.
    """
    if name not in SAMPLES:
        raise ValueError(f"no sample {name!r}: there are {', '.join(SAMPLES)}")
    spec = importlib.util.find_spec("arch")  # found, not imported: it is slow
    if spec is None or spec.origin is None:
        raise ValueError("the samples ship inside the arch package, which is not installed: pip install arch")
    return Path(spec.origin).parent / "data" / name / f"{name}.csv.gz"
