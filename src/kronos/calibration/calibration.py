"""A calibration: a few parameters that turn a model's paths into better ones, read from and written to JSON.

Each path's log return y on the last close becomes, step by step, ``a m + s (y - m)``: m is the mean of the other paths, a shrinks
it towards the last price, s stretches the spread. log s is linear in `FEATURES`, in the model's own spread relative to the
lookback's volatility, and in an offset of the bars' frequency. The map is increasing, the same for all paths of a series, and does
not depend on other series; bodies follow the closes, gaps and wicks keep their size, volume stays.

Legend: P paths, K steps, F features.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.calibration.volatility_features import FEATURES, features_of, lookback_volatility
from kronos.io.atomic import json_bytes, write_file
from kronos.number_checks import is_plain_number
from kronos.schema import CLOSE

VERSION = 1
LEAST_PATHS = 8
"""Paths; with fewer the estimate of their spread is too noisy, and its coefficient is not used."""
SPREADS = (0.2, 5.0)
"""Bounds of s, the factor of the spread."""


def frequency_of(times: pd.DatetimeIndex) -> str:
    """Return the usual frequency that is nearest to the median spacing of the bars: "1m", "5m", ..., "1d", "1w"."""
    from kronos.klines.splitting import infer_frequency

    return infer_frequency(times.tz_localize(None).as_unit("ns").asi8)


@dataclass(frozen=True)
class Calibration:
    """Parameters of a calibration; see the module.

    Attributes:
        shrink: a, the share of the paths' mean log return that is kept; 1 leaves it, 0 takes the last price.
        spread: intercept of log s.
        features: coefficient of each of `FEATURES` in log s.
        own_spread: coefficient of log(deviation of the paths / (lookback volatility x root of the step)) in log s.
        frequencies: offset of log s by frequency; 0 for others.
        fitted_on: first and last bar, hash, windows, series and model of the fit, for leak checks.
        verdict: scores before and after on held-out windows, where there were any.
    """

    shrink: float = 1.0
    spread: float = 0.0
    features: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FEATURES, 0.0))
    own_spread: float = 0.0
    frequencies: dict[str, float] = field(default_factory=dict)
    fitted_on: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {"shrink": self.shrink, "spread": self.spread, "own_spread": self.own_spread}
        numbers |= self.features | {f"offset of {name}": value for name, value in self.frequencies.items()}
        for name, value in numbers.items():
            if not is_plain_number(value) or not np.isfinite(value):
                raise ValueError(f"a calibration's {name} must be a finite number, found {value!r}")
        if set(self.features) != set(FEATURES):
            raise ValueError(f"a calibration has the features {', '.join(FEATURES)}, found {', '.join(self.features)}")
        if not 0 <= self.shrink <= 2:
            raise ValueError(f"a calibration's shrink must lie in 0..2, found {self.shrink!r}")

    @property
    def name(self) -> str:
        """Short description, for `Forecast.calibration`."""
        told = self.fitted_on
        span = f" on bars from {told['first']} to {told['last']}" if "first" in told and "last" in told else ""
        return f"fitted for {told.get('model', 'a model')}{span}"

    def of(self, bars_L6: np.ndarray, past: pd.DatetimeIndex, future: pd.DatetimeIndex) -> SeriesCalibration | None:
        """Return the calibration of one series; None where a price of its lookback is not positive or its close is constant."""
        bars = np.asarray(bars_L6, np.float64)
        if not (bars[:, :4] > 0).all():
            return None
        volatility = lookback_volatility(bars[:, CLOSE])
        if not volatility > 0:
            return None
        known = features_of(bars, past, future)
        level = self.spread + self.frequencies.get(frequency_of(past), 0.0)
        log_spread_K = level + known @ np.array([self.features[name] for name in FEATURES])
        return SeriesCalibration(self.shrink, log_spread_K, self.own_spread, volatility, float(bars[-1, 3]))

    def apply(
        self, paths_PK6: np.ndarray, bars_L6: np.ndarray, past: pd.DatetimeIndex, future: pd.DatetimeIndex
    ) -> np.ndarray:
        """Return calibrated paths [P, K, 6] in prices as a new array; unchanged where `of` gives None.

        Args:
            paths_PK6: the paths, in prices.
            bars_L6: the lookback in prices: open, high, low, close, volume, amount.
            past, future: times of the lookback [L] and of the paths [K].
        """
        one = self.of(bars_L6, past, future)
        return np.array(paths_PK6, copy=True) if one is None else one(paths_PK6)

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON."""
        write_file(Path(path), json_bytes({"version": VERSION, **asdict(self)}))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a calibration that `save` wrote.

        Raises:
            ValueError: not a calibration, of another version, or with unknown keys.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a calibration: {error}") from error
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            raise ValueError(f"{path} is no calibration of version {VERSION}: make one with kronos calibrate")
        unknown = values.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"{path} has unknown keys {', '.join(sorted(unknown))}")
        return cls(**values)


@dataclass(frozen=True)
class SeriesCalibration:
    """Calibration of one series: log s [K] without the term of the paths' own spread, volatility of a bar, last close."""

    shrink: float
    log_spread_K: np.ndarray
    own_spread: float
    volatility: float
    last: float

    def closes(self, y_PK: np.ndarray, first: int = 0) -> np.ndarray:
        """Calibrate log returns on the last close [P, K], from step ``first`` on."""
        paths, steps = y_PK.shape
        log_spread = self.log_spread_K[first : first + steps].copy()
        mean = y_PK.mean(0)
        if paths >= LEAST_PATHS:
            own = y_PK.std(0, ddof=1) / (self.volatility * np.sqrt(np.arange(first + 1, first + steps + 1)))
            log_spread += self.own_spread * np.log(np.clip(own, 0.05, 20.0))
        spread = np.exp(log_spread).clip(*SPREADS)
        if paths == 1:  # its mean is not known
            return spread * y_PK
        # a m + s (y - m) with m the mean of the other paths: an increasing map of y, the same for every path.
        more = (spread - self.shrink) / (paths - 1)
        return (spread + more) * y_PK - more * paths * mean

    def __call__(
        self, paths_PK6: np.ndarray, first: int = 0, before: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Calibrate paths [P, K, 6] in positive prices, from step ``first`` on; return a new array.

        ``before``: the closes [P] of the step before, raw and calibrated; needed where ``first`` is not 0.
        """
        return with_closes(paths_PK6, self.last, self.closes, first, before)


def with_closes(
    paths_PK6: np.ndarray,
    last: float,
    closes: Callable[[np.ndarray, int], np.ndarray],
    first: int = 0,
    before: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Move the closes of paths [P, K, 6] in positive prices, and with them the opens and the shadows; return a new array.

    Args:
        last: the last observed close.
        closes: from log returns on it [P, K], and the step that they begin with, to those wanted.
        first: the step that the paths begin with.
        before: the closes [P] of the step before, raw and moved; needed where ``first`` is not 0.
    """
    result = np.array(paths_PK6, copy=True)
    raw = np.log(np.asarray(paths_PK6[..., :4], np.float64))
    close = np.log(last) + closes(raw[..., 3] - np.log(last), first)
    start = (np.full(len(raw), last),) * 2 if before is None else before
    raw_before, before_now = (
        np.concatenate((np.log(np.asarray(one, np.float64))[:, None], later[:, :-1]), axis=1)
        for one, later in zip(start, (raw[..., 3], close), strict=True)
    )
    opens = before_now + raw[..., 0] - raw_before
    high = np.maximum(opens, close) + np.maximum(raw[..., 1] - np.maximum(raw[..., 0], raw[..., 3]), 0)
    low = np.minimum(opens, close) - np.maximum(np.minimum(raw[..., 0], raw[..., 3]) - raw[..., 2], 0)
    result[..., :4] = np.exp(np.stack((opens, high, low, close), axis=-1))
    return result
