"""Fit a calibration: forecast past windows, and find the parameters with the least CRPS of what followed.

Legend: N windows, P paths, K steps, F features, G frequencies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from kronos.calibration.calibration import SPREADS, Calibration, frequency_of
from kronos.calibration.volatility_features import FEATURES, features_of, lookback_volatility
from kronos.metrics.probabilistic import crps_paths
from kronos.metrics.quantiles import path_quantiles

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor

RIDGE = {"shrink": 0.002, "spread": 0.0005, "features": 0.002, "own_spread": 0.002, "frequencies": 0.01}
"""Ridge penalty: weight of each squared distance from the identity beside mean relative CRPS; chosen on nano's held-out bars."""
BATCH = 64


class PastWindow(NamedTuple):
    """Past window: a lookback [L, 6] in prices with its times, the times to forecast, and the closes that followed [K]."""

    bars: pd.DataFrame
    past: pd.DatetimeIndex
    future: pd.DatetimeIndex
    truth: np.ndarray


@dataclass
class FitWindows:
    """Forecasts of past windows, and what followed.

    Log returns on the last close, of the paths [N, P, K] and of the closes that followed [N, K]; features [N, K, F]; volatility
    of a bar [N]; frequency [N]; time of the last bar that followed [N]."""

    y: np.ndarray
    truth: np.ndarray
    features: np.ndarray
    volatility: np.ndarray
    frequency: np.ndarray
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def part(self, chosen: np.ndarray) -> FitWindows:
        """Select windows by a mask [N] or by their numbers."""
        return FitWindows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence[FitWindows]) -> FitWindows:
        """Concatenate several."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def digest(self) -> str:
        """Return a hash of the closes that followed and of their times."""
        content = hashlib.sha256(np.ascontiguousarray(self.truth).tobytes())
        content.update(self.time.astype("datetime64[ns]").astype(np.int64).tobytes())
        return content.hexdigest()


def collect(
    predictor: KronosPredictor,
    windows: Sequence[PastWindow],
    paths: int = 50,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> FitWindows:
    """Forecast past windows of one horizon, uncalibrated; windows with constant closes or prices not above zero are left out.

    Args:
        paths: paths of each window.
        seed: of the paths.
        progress: called with the number of windows done since the last call.

    Raises:
        ValueError: no window is left.
    """
    parts: list[FitWindows] = []
    for first in range(0, len(windows), BATCH):
        part = [one for one in windows[first : first + BATCH] if is_usable(one)]
        if part:
            drawn = predictor.predict_samples(
                [one.bars for one in part],
                [one.past for one in part],
                [one.future for one in part],
                len(part[0].future),
                sample_count=paths,
                seed=seed,
                verbose=False,
                calibration=None,
            )[..., 3].astype(np.float64)
            last = np.array([one.bars["close"].iloc[-1] for one in part])
            parts.append(
                FitWindows(
                    np.log(drawn / last[:, None, None]).astype(np.float32),
                    np.log(np.stack([one.truth for one in part]) / last[:, None]),
                    np.stack([features_of(_matrix(one.bars), one.past, one.future) for one in part]),
                    np.array([lookback_volatility(one.bars["close"].to_numpy()) for one in part]),
                    np.array([frequency_of(one.past) for one in part]),
                    np.array([one.future[-1].tz_localize(None).to_datetime64() for one in part]),
                )
            )
        if progress is not None:
            progress(len(windows[first : first + BATCH]))
    if not parts:
        raise ValueError("no window has positive prices that move: there is nothing to calibrate on")
    return FitWindows.joined(parts)


def _matrix(bars: pd.DataFrame) -> np.ndarray:
    from kronos.klines.features import to_matrix

    return to_matrix(bars)


def is_usable(one: PastWindow) -> bool:
    """Whether all prices are above zero and the closes of the lookback move."""
    prices = one.bars[["open", "high", "low", "close"]].to_numpy()
    return bool((prices > 0).all() and (one.truth > 0).all() and lookback_volatility(prices[:, 3]) > 0)


def fit(windows: FitWindows, told: dict[str, Any] | None = None, iterations: int = 60) -> Calibration:
    """Fit the parameters with the least mean CRPS of the close, with a ridge penalty (`RIDGE`) towards the identity.

    CRPS is in units of the lookback's volatility times the root of the step.

    Args:
        told: further entries of ``fitted_on``, such as the model's name.
        iterations: of the optimiser.
    """
    import torch

    names = sorted(set(windows.frequency.tolist()))
    steps = np.arange(1, windows.y.shape[2] + 1)
    unit = windows.volatility[:, None] * np.sqrt(steps)
    y = torch.from_numpy(np.sort(windows.y.astype(np.float64) / unit[:, None], axis=1))
    truth = torch.from_numpy(np.clip(windows.truth / unit, -12, 12))
    mean, own = y.mean(1), torch.log(y.std(1).clamp(0.05, 20.0))
    features = torch.from_numpy(windows.features)
    group = torch.from_numpy(np.searchsorted(names, windows.frequency))
    paths = y.shape[1]
    weight = (2 * torch.arange(paths) - paths + 1)[:, None] / (paths * (paths - 1))
    # shrink, spread, features, own spread, frequencies: all as distances from "leave as it is"
    theta = torch.zeros(3 + len(FEATURES) + len(names), dtype=torch.float64, requires_grad=True)
    penalty = torch.tensor(
        [RIDGE["shrink"], RIDGE["spread"], RIDGE["own_spread"], *[RIDGE["features"]] * len(FEATURES)]
        + [RIDGE["frequencies"]] * len(names),
        dtype=torch.float64,
    )
    optimiser = torch.optim.LBFGS([theta], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        shrink = 1 + theta[0]
        log_spread = theta[1] + theta[2] * own + features @ theta[3 : 3 + len(FEATURES)]
        log_spread = log_spread + theta[3 + len(FEATURES) :][group][:, None]
        spread = torch.exp(log_spread.clamp(*np.log(SPREADS)))
        more = (spread - shrink) / (paths - 1)
        found = (spread + more)[:, None] * y - (more * paths * mean)[:, None]
        crps = (found - truth[:, None]).abs().mean(1) - (weight * found).sum(1)
        total = crps.mean() + (penalty * theta.square()).sum()
        total.backward()
        return total

    optimiser.step(loss)
    found = theta.detach().numpy()
    offsets = dict(zip(names, found[3 + len(FEATURES) :].round(4).tolist(), strict=True))
    last = windows.time.max()
    return Calibration(
        round(float(np.clip(1 + found[0], 0.0, 2.0)), 4),
        round(float(found[1]), 4),
        dict(zip(FEATURES, found[3 : 3 + len(FEATURES)].round(4).tolist(), strict=True)),
        round(float(found[2]), 4),
        offsets,
        {
            "first": str(pd.Timestamp(windows.time.min()).date()),
            "last": str(pd.Timestamp(last).date()),
            "bars": windows.digest(),
            "windows": len(windows),
            "paths": paths,
            "steps": int(windows.y.shape[2]),
            **(told or {}),
        },
    )


def calibrated(windows: FitWindows, calibration: Calibration) -> np.ndarray:
    """Return the paths' log returns [N, P, K] after a calibration."""
    from kronos.calibration.calibration import SeriesCalibration

    coefficients = np.array([calibration.features[name] for name in FEATURES])
    result = np.empty(windows.y.shape)
    for i in range(len(windows)):
        level = calibration.spread + calibration.frequencies.get(str(windows.frequency[i]), 0.0)
        log_spread = level + windows.features[i] @ coefficients
        one = SeriesCalibration(calibration.shrink, log_spread, calibration.own_spread, windows.volatility[i], 1.0)
        result[i] = one.closes(windows.y[i].astype(np.float64))
    return result


@dataclass(frozen=True)
class Verdict:
    """Scores of held-out windows, before and after a calibration.

    Attributes:
        crps: CRPS after over CRPS before, both in units of the lookback's volatility.
        interval: 95 % block-bootstrap interval of ``crps``.
        covers: share of closes in the paths' 80 % interval, before and after.
        covers_by_frequency: the same share after, by frequency.
        pit: shares of closes in each tenth of the paths' distribution, before and after.
        windows: number of windows.
    """

    crps: float
    interval: tuple[float, float]
    covers: tuple[float, float]
    covers_by_frequency: dict[str, float]
    pit: tuple[list[float], list[float]]
    windows: int

    @property
    def helps(self) -> bool:
        """Whether the CRPS of the held-out windows falls."""
        return self.crps < 1


def evaluate_calibration(windows: FitWindows, calibration: Calibration, blocks: int = 20, seed: int = 0) -> Verdict:
    """Score windows that a calibration was not fitted on, before and after it.

    Args:
        blocks: blocks in time that the bootstrap draws from.
        seed: of the bootstrap.
    """
    unit = windows.volatility[:, None] * np.sqrt(np.arange(1, windows.y.shape[2] + 1))
    raw, made = windows.y.astype(np.float64), calibrated(windows, calibration)
    before, after = (
        (crps_paths(paths / unit[:, None], np.clip(windows.truth / unit, -12, 12))).mean(1) for paths in (raw, made)
    )
    inside, pits = [], []
    for paths in (raw, made):
        low, high = path_quantiles(paths, [0.1, 0.9], axis=1)
        inside.append((windows.truth >= low) & (windows.truth <= high))
        rank = (paths < windows.truth[:, None]).mean(1)
        pits.append((np.histogram(rank, bins=10, range=(0, 1))[0] / rank.size).round(4).tolist())
    order = np.array_split(np.argsort(windows.time, kind="stable"), min(blocks, len(windows)))
    rng = np.random.default_rng(seed)
    sums = np.array([(before[rows].sum(), after[rows].sum()) for rows in order])
    drawn = sums[rng.integers(len(order), size=(1000, len(order)))].sum(1)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], [0.025, 0.975])
    by_frequency = {
        str(name): round(float(inside[1][windows.frequency == name].mean()), 4) for name in np.unique(windows.frequency)
    }
    return Verdict(
        round(float(after.sum() / before.sum()), 4),
        (round(float(low), 4), round(float(high), 4)),
        (round(float(inside[0].mean()), 4), round(float(inside[1].mean()), 4)),
        by_frequency,
        (pits[0], pits[1]),
        len(windows),
    )
