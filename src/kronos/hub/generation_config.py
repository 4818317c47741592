"""Settings of a pair of tokenizer and model that the two networks' own files do not hold: ``pair.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from kronos.generation.sampling import Sampling
from kronos.io.atomic import write_file
from kronos.nn import CheckpointError
from kronos.nn.checkpoint import read_config
from kronos.number_checks import is_plain_number, is_plain_whole

PAIR_FILE, CALIBRATION_FILE = "pair.json", "calibration.json"
DEFAULT_CONTEXT = 512


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of a pair for generation: ``pair.json`` in the folder of a local pair, all keys optional.

    Attributes:
        max_context: bars that the model sees at most.
        temperature, top_p, top_k: recommended for sampling; a top_k of 0 is off.
        clip: normalised values are clipped to [-clip, clip].
        trained_bars: fewest and most bars of the windows that both networks were trained on; None where that is not known.
    """

    max_context: int = DEFAULT_CONTEXT
    temperature: float = 1.0
    top_p: float = 0.9
    trained_bars: tuple[int, int] | None = None
    top_k: int = 0
    clip: float = 5

    @property
    def trained_context(self) -> int:
        """Bars that lookback and horizon together should not exceed: the context, as far as the model was trained on it."""
        return self.max_context if self.trained_bars is None else min(self.max_context, self.trained_bars[1])

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_k or None, self.top_p)

    @classmethod
    def read(cls, folder: Path) -> GenerationConfig:
        """Read ``pair.json`` of a folder; the defaults where there is none.

        Raises:
            CheckpointError: the file is no JSON, or has an unknown key or an invalid value.
        """
        path = folder / PAIR_FILE
        if not path.is_file():
            return cls()
        values = read_config(path)
        unknown = values.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise CheckpointError(
                f"{path} has unknown keys {', '.join(sorted(unknown))}; known: {', '.join(cls.__dataclass_fields__)}"
            )
        bars = values.get("trained_bars")
        if bars is not None:
            whole = isinstance(bars, list) and len(bars) == 2 and all(type(n) is int for n in bars)
            if not whole or not 1 <= bars[0] <= bars[1]:
                raise CheckpointError(
                    f"trained_bars in {path} must be two whole numbers, fewest and most, found {bars!r}"
                )
            values["trained_bars"] = tuple(bars)
        settings = cls(**values)
        context = settings.max_context
        if not is_plain_whole(context, 1):
            raise CheckpointError(f"max_context in {path} must be a whole number of at least 1, found {context!r}")
        clip = settings.clip
        if not is_plain_number(clip) or not clip > 0:
            raise CheckpointError(f"clip in {path} must be a positive number, found {clip!r}")
        try:
            _ = settings.sampling
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return settings

    def write(self, folder: Path) -> None:
        """Write ``pair.json``: context, temperature and top-p always, the rest where it is not the default."""
        always = ("max_context", "temperature", "top_p")
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name in always or getattr(self, field.name) != field.default
        }
        write_file(folder / PAIR_FILE, (json.dumps(values, indent=2) + "\n").encode())
