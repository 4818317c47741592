"""What a scoring run is told, checked once. Two runs with equal settings on equal data give the same table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kronos.calibration.calibration import Calibration
from kronos.forecast.price_limits import price_limit
from kronos.generation.precision import Precision
from kronos.klines.read_options import ReadOptions
from kronos.number_checks import is_plain_whole
from kronos.scoring.signal_names import DEFAULT_SIGNALS, check_signals

LATEST = "latest"
"""In place of a cut-off: every series from its own last bar."""
FEATURE_GROUPS = ("embedding", "volatility", "surprise")
"""What `FeatureSettings` can write: hidden states e000, e001, ...; volatility, recent and range; surprise of the last bar."""
MOST_CUTOFFS = 10_000
CPU_BATCH, GPU_BATCH = 2**27, 2**32
"""Bytes of a batch. On a CPU small batches stay in its caches: 128 MiB were a quarter faster than 1 GiB with nano."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class ScoreSettings:
    """Settings that the scores follow from.

    Attributes:
        model, tokenizer: as `kronos.load` takes them.
        horizon: bars to forecast. lookback: bars to look back on; None takes what the context holds, up to 400.
        paths: sampled paths a series. seed: the same seed gives the same table.
        signals: see `kronos.scoring.signal_names`.
        cutoffs: dates (a bar of that day is the last one known) or times (bars up to that stamp are known), in the data's
            own zone; or "latest".
        temperature, top_p: None takes the model's own. top_k: 0 is off.
        calibration: "auto" (the pair's own), None, or one that is given; see `KronosPredictor.forecast`.
        calendar, tz, clean, columns, encoding, decimal, thousands, names: as
            `kronos.future_timestamps` and `kronos.read_klines` take them.
        price_limit: "cn" or a share, as `kronos.forecast.price_limits.price_limit` takes it; None: prices move freely.
        max_age: a series whose last bar lies more than so many days before the cut-off is rejected; None takes any.
        part: series and cut-offs that are scored, written and, when a run is stopped, lost together.
        device: "cpu", "cuda", ...; precision: of the weights. threads: processor threads of one worker.
        memory: bytes a batch may take; None takes `CPU_BATCH` or `GPU_BATCH`. It is a setting, and not what happens to be
            free, because batches of other sizes may differ in the last bit, and a last bit can turn a draw.
    """

    horizon: int
    model: str = "nano"
    tokenizer: str | None = None
    lookback: int | None = None
    paths: int = 100
    seed: int = 0
    signals: tuple[str, ...] = DEFAULT_SIGNALS
    cutoffs: tuple[str, ...] = (LATEST,)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int = 0
    calibration: Calibration | Literal["auto"] | None = "auto"
    calendar: str | None = None
    tz: str | None = None
    clean: Literal["drop", "split", "sort"] | None = None
    columns: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    names: tuple[str, ...] | None = None
    price_limit: str | float | None = None
    max_age: float | None = None
    part: int = 512
    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 1
    memory: int | None = None

    def __post_init__(self) -> None:
        limits = {
            "horizon": (1, 10_000),
            "lookback": (2, 100_000),
            "paths": (1, 10_000),
            "part": (1, 100_000),
            "threads": (1, 1024),
            "memory": (2**20, 2**50),
            "seed": (0, 2**63 - 1),
            "top_k": (0, 2**20),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is None and name in ("lookback", "memory"):
                continue
            if not is_plain_whole(value, least, most):
                raise ValueError(f"{name} must be a whole number in {least:,}..{most:,}, found {value!r}")
        if self.max_age is not None and not self.max_age >= 0:
            raise ValueError(f"max_age is a number of days of at least 0, found {self.max_age!r}")
        if (
            self.calibration is not None
            and self.calibration != "auto"
            and not isinstance(self.calibration, Calibration)
        ):
            raise ValueError(f'calibration must be "auto", None or a Calibration, found {self.calibration!r}')
        if self.price_limit is not None and str(self.price_limit).strip().lower() != "cn":
            price_limit(self.price_limit)
        check_signals(self.signals)
        if not 1 <= len(self.cutoffs) <= MOST_CUTOFFS or len(set(self.cutoffs)) < len(self.cutoffs):
            raise ValueError(f"1 to {MOST_CUTOFFS:,} cut-offs are needed, each once, found {len(self.cutoffs):,}")
        for cutoff in self.cutoffs:
            if cutoff != LATEST and cutoff_label(cutoff) != cutoff:
                raise ValueError(f"the cut-off {cutoff!r} must be written {cutoff_label(cutoff)!r}")

    @property
    def batch_bytes(self) -> int:
        return self.memory or (CPU_BATCH if self.device == "cpu" else GPU_BATCH)

    def reading(self) -> ReadOptions:
        """How the files are written."""
        return ReadOptions(dict(self.columns) or None, self.encoding, self.decimal, self.thousands, self.tz, self.names)

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        for name in ("encoding", "decimal", "thousands", "names", "price_limit"):
            if values[name] is None:
                del values[name]  # as in runs that were begun before there were these
        if values["calibration"] == "auto":
            del values["calibration"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ScoreSettings:
        """From what `to_dict` gave, also after a way through JSON."""
        plain = {**values, "columns": tuple((a, b) for a, b in values.get("columns", ()))}
        for name in ("signals", "cutoffs", "names", "groups"):
            if plain.get(name) is not None:
                plain[name] = tuple(plain[name])
        if isinstance(plain.get("calibration"), dict):
            plain["calibration"] = Calibration(**plain["calibration"])
        return cls(**plain)


@dataclass(frozen=True)
class FeatureSettings(ScoreSettings):
    """Settings of a run that writes features of the lookback in place of signals; nothing is sampled.

    Attributes:
        horizon: not used. layer, pooling: of the embedding, as `KronosPredictor.embed` takes them.
        groups: what is written; see `FEATURE_GROUPS`.
    """

    horizon: int = 1
    layer: int = -1
    pooling: Literal["last", "mean"] = "last"
    groups: tuple[str, ...] = ("embedding", "volatility")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling not in ("last", "mean"):
            raise ValueError(f'pooling must be "last" or "mean", found {self.pooling!r}')
        if not is_plain_whole(self.layer):
            raise ValueError(f"layer must be a whole number, found {self.layer!r}")
        unknown = [name for name in self.groups if name not in FEATURE_GROUPS]
        if unknown or not self.groups or len(set(self.groups)) < len(self.groups):
            raise ValueError(
                f"features are some of {', '.join(FEATURE_GROUPS)}, each once, found {', '.join(self.groups) or 'none'}"
            )


def settings_from(values: dict[str, Any]) -> ScoreSettings:
    """Settings of either kind from what their `to_dict` gave."""
    return FeatureSettings.from_dict(values) if "pooling" in values else ScoreSettings.from_dict(values)


def cutoff_label(text: str) -> str:
    """2024-07-01 or 2024-07-01T150000: also the name of the cut-off's folder.

    Raises:
        ValueError: the text is no date or time.
    """
    import pandas as pd

    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ValueError(f"the cut-off {text!r} is no date or time such as 2024-07-01 or 2024-07-01T15:00") from error
    if pd.isna(moment) or moment.tz is not None:
        raise ValueError(f"the cut-off {text!r} must be a date or time without a zone: it is in the data's own zone")
    return f"{moment:%Y-%m-%d}" if _DATE.fullmatch(text.strip()) else f"{moment:%Y-%m-%dT%H%M%S}"


def parse_cutoffs(texts: Sequence[str]) -> tuple[str, ...]:
    """Dates, times and ranges START..END/FREQ (FREQ a pandas alias: D, B, W-FRI, ME, 4h; default D) -> labels, in order.

    Nothing at all is "latest".
    """
    import pandas as pd

    labels: list[str] = []
    for text in texts:
        start, dots, rest = text.partition("..")
        if not dots:
            labels.append(LATEST if text == LATEST else cutoff_label(text))
            continue
        end, _, frequency = rest.partition("/")
        first, last = cutoff_label(start), cutoff_label(end)
        try:
            moments = pd.date_range(first, last, freq=frequency or "D")
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no range of cut-offs: expected START..END/FREQ, such as 2024-01-01..2024-06-30/W-FRI"
            ) from error
        if not len(moments):
            raise ValueError(f"the range of cut-offs {text!r} is empty")
        form = "%Y-%m-%d" if (moments == moments.normalize()).all() and "T" not in first + last else "%Y-%m-%dT%H%M%S"
        labels += moments.strftime(form).tolist()
    return tuple(dict.fromkeys(labels)) or (LATEST,)
