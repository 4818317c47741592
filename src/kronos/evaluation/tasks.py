"""The paper's tasks as named presets: lookback and horizon by frequency, and sampling settings (arXiv 2508.02739, section 4).

``forecast`` is not the paper's: the model's own sampling and 100 paths, which is what `kronos forecast` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kronos.forecast.anchoring import Anchor, check_anchor
from kronos.number_checks import check_plain_whole

PAPER_WINDOWS: dict[str, tuple[int, int]] = {
    "5m": (480, 96),
    "10m": (240, 48),
    "15m": (160, 32),
    "20m": (120, 24),
    "40m": (90, 24),
    "1h": (80, 12),
    "2h": (60, 12),
    "4h": (90, 18),
    "1d": (40, 12),
}
"""Lookback and horizon in bars, by frequency. Frequencies that the paper does not test have those of the nearest tested one."""
NEAREST = {"1m": "5m", "30m": "20m", "1w": "1d"}

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels of the quantiles in the table of forecasts."""

KINDS = ("forecast", "price", "returns", "volatility", "synthetic", "investment")


@dataclass(frozen=True)
class Task:
    """Settings of an evaluation task.

    Attributes:
        name: of the preset.
        kind: scores that come first in the report; one of `KINDS`.
        windows: {frequency: (lookback, horizon)} in bars.
        lookback, horizon: instead of the table's, for every frequency.
        temperature, top_p: None takes the model's own recommendation.
        paths: drawn for each window.
        anchor: see `kronos.forecast.anchoring`; the paper's protocol has none.
        step_size: bars between two cutoffs; None takes the horizon.
        n_windows: at most so many windows a series, the latest; None for all that fit.
        sequences: synthetic task: how many are generated.
        investment: settings that `kronos backtest` takes (paper, "Investment simulation").
    """

    name: str
    kind: str
    windows: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(PAPER_WINDOWS))
    lookback: int | None = None
    horizon: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    paths: int = 100
    anchor: Anchor | None = None
    step_size: int | None = None
    n_windows: int | None = None
    sequences: int = 6000
    investment: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, found {self.kind!r}")
        for name, least in (
            ("lookback", 2),
            ("horizon", 1),
            ("paths", 1),
            ("step_size", 1),
            ("n_windows", 1),
            ("sequences", 10),
        ):
            value = getattr(self, name)
            if value is not None:
                check_plain_whole(value, name, least)
        check_anchor(self.anchor)
        for frequency, pair in self.windows.items():
            if len(pair) != 2 or pair[0] < 2 or pair[1] < 1:
                raise ValueError(f"windows[{frequency!r}] must be (lookback, horizon) in bars, found {pair!r}")

    def window(self, frequency: str) -> tuple[int, int]:
        """Return (lookback, horizon) for bars of a frequency of `kronos.klines.PAPER_RULES`.

        Raises:
            ValueError: the task has no windows for it and none was given.
        """
        pair = self.windows.get(frequency) or self.windows.get(NEAREST.get(frequency, ""))
        if pair is None and (self.lookback is None or self.horizon is None):
            raise ValueError(
                f"the task {self.name} has no lookback and horizon for {frequency} bars (it has {', '.join(self.windows)}); "
                "give both"
            )
        lookback, horizon = pair or (0, 0)
        return self.lookback or lookback, self.horizon or horizon

    def with_(self, **changes: Any) -> Task:
        """Return a copy with some settings replaced; None keeps a setting."""
        return replace(self, **{k: v for k, v in changes.items() if v is not None})


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("forecast", "forecast", anchor="level"),
        Task("price", "price", temperature=0.6, top_p=0.9, paths=10),
        Task("returns", "returns", temperature=0.6, top_p=0.9, paths=10),
        Task("volatility", "volatility", temperature=0.9, top_p=0.9, paths=1),
        Task(
            "synthetic", "synthetic", windows={"15m": (120, 96), "1d": (96, 35)}, temperature=1.0, top_p=0.95, paths=1
        ),
        Task(
            "investment",
            "investment",
            windows={"1d": (90, 10)},
            temperature=0.6,
            top_p=0.9,
            paths=10,
            investment={
                "signal": "mean of the predicted closes over the last close, minus 1",
                "presets": {"csi300": {"topk": 50, "n_drop": 5}, "csi800": {"topk": 200, "n_drop": 10}},
                "hold_thresh": 5,
                "open_cost": 0.0015,
                "close_cost": 0.0015,
            },
        ),
    )
}


def task_of(task: str | Task) -> Task:
    """Return the preset of that name, or the task itself.

    Raises:
        ValueError: there is no such preset.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"no task {task!r}: there are {', '.join(TASKS)}")
    return TASKS[task]
