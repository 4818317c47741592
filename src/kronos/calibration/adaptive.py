"""Adaptive conformal inference: quantile levels that follow what is covered, for one series or a desk's daily run.

Source: Gibbs and Candes, "Adaptive Conformal Inference Under Distribution Shift" (2021), arXiv 2106.00170.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kronos.io.atomic import json_bytes, write_file


@dataclass
class AdaptiveLevels:
    """The two quantile levels to take for an interval, moved after every outcome so that ``coverage`` of them lie inside.

    Over T outcomes the share outside differs from 1 - coverage by at most (1 + rate) / (rate T) on each side, whatever the data are
    like and however wrong the model is. Nothing is said of any single interval.

    Attributes:
        coverage: share of outcomes that the interval is to hold.
        rate: how far the levels move after an outcome; 0.01 to 0.05 are usual.
        below, above: the present chances left below and above; a level at or below 0 means an unbounded side.
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
        """Lower and upper quantile level to ask a forecast for, within 0.001 and 0.999."""
        assert self.below is not None and self.above is not None
        low = min(max(self.below, 0.001), 0.499)
        return low, 1 - min(max(self.above, 0.001), 0.499)

    def update(self, low: float, high: float, outcome: float) -> None:
        """Tell what came, and the bounds that were given for it by `levels`."""
        assert self.below is not None and self.above is not None
        aim = (1 - self.coverage) / 2
        self.below += self.rate * (aim - (outcome < low))
        self.above += self.rate * (aim - (outcome > high))
        self.seen += 1
        self.outside += int(outcome < low or outcome > high)

    def save(self, path: str | Path) -> None:
        """Write its state as JSON, for the next day."""
        write_file(Path(path), json_bytes(asdict(self)))

    @classmethod
    def load(cls, path: str | Path) -> AdaptiveLevels:
        """Read what `save` wrote.

        Raises:
            ValueError: not such a state.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is no state of adaptive levels: {error}") from error
