"""A fitted head: its arrays, prediction by NumPy alone, and its file (safetensors, never pickle).

Legend: N rows, F features, H hidden units, O outputs, Q quantile levels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kronos.io.atomic import write_file

FORMAT = "kronos-head-1"
CLIP = 8.0
"""Standardised features are clipped to this absolute value."""
FLOOR = 1e-6
"""Least predicted scale."""


@dataclass(frozen=True)
class Head:
    """Weights of a network without or with hidden layers, on standardised features.

    Attributes:
        task: "return", "rank" (both a score), "direction" (probability of a rise) or "distribution" (quantiles).
        features: names of the columns, in order.
        arrays: mean and scale [F]; weight0 [F, H], bias0 [H], weight1, ...: the layers, ReLU between; "distribution" has levels [Q]
            and quantiles [Q] of the label over the predicted scale.
        about: how it was fitted; anything that JSON holds.

    Raises:
        ValueError: arrays do not fit together.
    """

    task: str
    features: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.features)
        for number in range(self.layers):
            weight, bias = self.arrays[f"weight{number}"], self.arrays[f"bias{number}"]
            if weight.shape != (size, len(bias)):
                raise ValueError(f"weight{number} of a head must be {(size, len(bias))}, found {weight.shape}")
            size = len(bias)
        if not self.layers or size != 1 or any(len(self.arrays[n]) != len(self.features) for n in ("mean", "scale")):
            raise ValueError("a head needs mean and scale of each feature, and layers that end in one output")

    @property
    def layers(self) -> int:
        return sum(name.startswith("weight") for name in self.arrays)

    def predict(self, features_NF: np.ndarray) -> np.ndarray:
        """Scores [N], or probabilities of a rise for "direction", or the predicted scale for "distribution"; float64.

        Missing features stand at their mean.

        Raises:
            ValueError: another number of columns.
        """
        x = np.asarray(features_NF, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise ValueError(f"the head reads [rows, {len(self.features)}] features, found {list(x.shape)}")
        x = np.clip(np.nan_to_num((x - self.arrays["mean"]) / self.arrays["scale"], nan=0.0), -CLIP, CLIP)
        for number in range(self.layers):
            x = np.maximum(x, 0) if number else x
            x = x @ self.arrays[f"weight{number}"] + self.arrays[f"bias{number}"]
        output = x[:, 0]
        if self.task == "direction":
            return 1 / (1 + np.exp(-np.clip(output, -50, 50)))
        return np.maximum(np.exp(np.clip(output, -50, 50)), FLOOR) if self.task == "distribution" else output

    def quantiles(self, features_NF: np.ndarray) -> np.ndarray:
        """Quantiles [N, Q] of the label at ``arrays["levels"]``.

        Raises:
            ValueError: the head is not one of task "distribution".
        """
        if self.task != "distribution":
            raise ValueError(f"quantiles are of heads with task distribution, this one has {self.task}")
        return self.predict(features_NF)[:, None] * self.arrays["quantiles"]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all."""
        from safetensors.numpy import save

        record = {"format": FORMAT, "task": self.task, "features": list(self.features), "about": dict(self.about)}
        arrays = {name: np.ascontiguousarray(array, np.float64) for name, array in self.arrays.items()}
        write_file(Path(path), save(arrays, {"kronos": json.dumps(record)}))

    @classmethod
    def load(cls, path: str | Path) -> Head:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not there or holds no head.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                record = json.loads((file.metadata() or {}).get("kronos", "{}"))
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a head ({str(error).splitlines()[0]})") from error
        if record.get("format") != FORMAT:
            raise ValueError(f"{path} holds no head of this version ({FORMAT}); fit it with kronos head")
        return cls(record["task"], tuple(record["features"]), arrays, record["about"])


def columns_of(table: Any, names: Sequence[str]) -> np.ndarray:
    """Columns [N, F] of a DataFrame, float64.

    Raises:
        ValueError: some are missing.
    """
    missing = [name for name in names if name not in table.columns]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(f"the table lacks the features {', '.join(missing[:3])}{more}; write it with kronos features")
    return np.asarray(table[list(names)], np.float64)
