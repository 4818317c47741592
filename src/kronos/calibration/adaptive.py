"""Adaptive conformal inference: quantile levels that follow the measured coverage, for one series or a daily run over many.

Source: Gibbs and Candes, "Adaptive Conformal Inference Under Distribution Shift" (2021), arXiv 2106.00170.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kronos.io.atomic import json_bytes, write_file


@dataclass
class AdaptiveLevels:
    """Two quantile levels for an interval, moved after every outcome so that the share ``coverage`` of outcomes lies inside.

    Over T outcomes the share outside differs from 1 - coverage by at most (1 + rate) / (rate T) on each side, for any data and
    any model. This says nothing about a single interval.

    Attributes:
        coverage: share of outcomes that the interval is to hold.
        rate: how far the levels move after an outcome; 0.01 to 0.05 are usual.
        below, above: the current probabilities below and above the interval; at or below 0 that side is unbounded.
        seen, outside: outcomes so far, and those outside.
    """

    coverage: float = 0.8
    rate: float = 0.02
    below: float | None = None
    above: float | None = None
    seen: int = 0
    outside: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1 or not 0 < self.rate < 1:
            raise ValueError(f"coverage and rate must lie between 0 and 1, found {self.coverage!r} and {self.rate!r}")
        aim = (1 - self.coverage) / 2
        self.below = aim if self.below is None else self.below
        self.above = aim if self.above is None else self.above

    @property
    def levels(self) -> tuple[float, float]:
        """Lower (0.001..0.499) and upper (0.501..0.999) quantile level for `Forecast.quantile`."""
        assert self.below is not None and self.above is not None
        low = min(max(self.below, 0.001), 0.499)
        return low, 1 - min(max(self.above, 0.001), 0.499)

    def update(self, low: float, high: float, outcome: float) -> None:
        """Move the levels after an outcome, given the bounds ``low`` and ``high`` that `levels` gave for it."""
        assert self.below is not None and self.above is not None
        aim = (1 - self.coverage) / 2
        self.below += self.rate * (aim - (outcome < low))
        self.above += self.rate * (aim - (outcome > high))
        self.seen += 1
        self.outside += int(outcome < low or outcome > high)

    def save(self, path: str | Path) -> None:
        """Write the state as JSON."""
        write_file(Path(path), json_bytes(asdict(self)))

    @classmethod
    def load(cls, path: str | Path) -> AdaptiveLevels:
        """Read a state that `save` wrote.

        Raises:
            ValueError: the file holds no such state.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is no state of adaptive levels: {error}") from error
