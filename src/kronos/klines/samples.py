"""Samples to try things with: made-up bars that are part of the package, and two indices that the arch package brings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from kronos.io.extras import need

SampleName = Literal["synthetic", "synthetic-15m", "sp500", "nasdaq"]
OWN = {"synthetic": "Synthetic, daily", "synthetic-15m": "Synthetic, 15 minutes"}
"""Samples inside the package (tools/make_samples.py, MIT licence like the code; no market's prices)."""
OF_ARCH = {"sp500": "S&P 500, daily", "nasdaq": "NASDAQ Composite, daily"}
"""Samples of the extra ``samples``: daily bars, 1999 to 2018, that ship inside the arch package."""
SAMPLES = {**OWN, **OF_ARCH}
"""Name of each sample: its title."""


def available_samples() -> dict[str, str]:
    """Return name and title of each sample that can be read here."""
    return SAMPLES if importlib.util.find_spec("arch") is not None else OWN


def sample_path(name: str) -> Path:
    """Return the file of a sample.

    Raises:
        ValueError: an unknown name, or the package that brings it is not installed.
    """
    if name not in SAMPLES:
        raise ValueError(f"no sample {name!r}: there are {', '.join(SAMPLES)}")
    if name in OWN:
        return Path(__file__).parent / "sample_data" / f"{name}.csv.gz"
    return need("arch", "samples", f"the sample {name}") / "data" / name / f"{name}.csv.gz"
