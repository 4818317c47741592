"""Forecasts of a batch of windows in one form: paths, normal distributions, quantiles, or points.

Legend: S windows, P paths, H steps, Q levels, F 6 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kronos.metrics import probabilistic as metrics
from kronos.schema import CLOSE


@dataclass(frozen=True)
class Prediction:
    """Forecasts of close for S windows, in exactly one of four forms. Make it with one of the static methods.

    Attributes:
        mean: [S, H], the point forecast.
        paths: [S, P, H].
        sigma: [S, H], standard deviations of normals around ``mean``.
        quantiles: [S, H, Q] at ``levels``.
        bars: [S, H, 4], mean open, high, low, close, where the model forecasts whole bars.
        variance: [S], expected realised variance over the horizon; from the paths where none is given.
    """

    mean: np.ndarray
    paths: np.ndarray | None = None
    sigma: np.ndarray | None = None
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()
    bars: np.ndarray | None = None
    variance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 2:
            raise ValueError(f"a forecast of shape [windows, steps] is needed, found {list(self.mean.shape)}")
        windows, steps = self.mean.shape
        for name, shape in (
            ("sigma", (windows, steps)),
            ("quantiles", (windows, steps, len(self.levels))),
            ("bars", (windows, steps, 4)),
            ("variance", (windows,)),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have the shape {list(shape)}, found {list(value.shape)}")
        for name in ("mean", "paths", "sigma", "quantiles"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise ValueError(
                    f"the model gave {int((~np.isfinite(value)).sum())} values in {name} that are no numbers"
                )

    @staticmethod
    def of_paths(paths: np.ndarray, mean: np.ndarray | None = None, variance: np.ndarray | None = None) -> Prediction:
        """Make it from paths of close [S, P, H] or of bars [S, P, H, 6] (or 4: open, high, low, close).

        ``mean`` [S, H] is the point forecast; default the mean of the paths.

        Raises:
            ValueError: paths of another shape.
        """
        paths = np.asarray(paths, dtype=np.float64)
        bars = None
        if paths.ndim == 4 and paths.shape[-1] >= 4:
            bars = paths[..., :4].mean(1)
            paths = paths[..., CLOSE]
        if paths.ndim != 3:
            raise ValueError(
                f"paths must have the shape [windows, paths, steps] or [windows, paths, steps, 6], found {list(paths.shape)}"
            )
        point = paths.mean(1) if mean is None else np.asarray(mean, dtype=np.float64)
        return Prediction(point, paths=paths, bars=bars, variance=variance)

    @staticmethod
    def of_normals(mean: np.ndarray, sigma: np.ndarray, variance: np.ndarray | None = None) -> Prediction:
        """Make it from means and standard deviations [S, H] of normal distributions."""
        return Prediction(
            np.asarray(mean, dtype=np.float64), sigma=np.asarray(sigma, dtype=np.float64), variance=variance
        )

    @staticmethod
    def of_quantiles(
        quantiles: np.ndarray,
        levels: Sequence[float],
        mean: np.ndarray | None = None,
        variance: np.ndarray | None = None,
    ) -> Prediction:
        """Make it from quantiles [S, H, Q] at rising levels in (0, 1).

        The point forecast is ``mean`` [S, H], else the middle quantile.

        Raises:
            ValueError: levels that do not rise within (0, 1)."""
        found = tuple(float(level) for level in levels)
        if not found or list(found) != sorted(set(found)) or not 0 < found[0] <= found[-1] < 1:
            raise ValueError(f"levels must rise within (0, 1), found {list(found)}")
        values = np.sort(np.asarray(quantiles, dtype=np.float64), axis=-1)  # crossing quantiles are put in order
        if mean is None:
            mean = values[..., int(np.argmin(np.abs(np.array(found) - 0.5)))]
        return Prediction(np.asarray(mean, dtype=np.float64), quantiles=values, levels=found, variance=variance)

    @staticmethod
    def of_points(mean: np.ndarray, variance: np.ndarray | None = None) -> Prediction:
        """Make it from points [S, H], which are scored as distributions without spread."""
        mean = np.asarray(mean, dtype=np.float64)
        return Prediction(mean, sigma=np.zeros_like(mean), variance=variance)

    def at(self, levels: Sequence[float]) -> np.ndarray:
        """Return quantiles [S, H, Q] at these levels."""
        if self.paths is not None:
            return metrics.quantiles_of_paths(self.paths, np.asarray(levels))
        if self.sigma is not None:
            from scipy.stats import norm

            return self.mean[..., None] + self.sigma[..., None] * norm.ppf(np.asarray(levels))
        assert self.quantiles is not None
        inside = [np.interp(levels, self.levels, q) for q in self.quantiles.reshape(-1, len(self.levels))]
        return np.asarray(inside).reshape(*self.mean.shape, len(levels))

    def crps(self, y: np.ndarray) -> np.ndarray:
        """Return the CRPS [S, H] for closes y [S, H]: fair from paths, exact for normals, integrated from quantiles."""
        if self.paths is not None:
            return metrics.crps_paths(self.paths, y)
        if self.sigma is not None:
            return metrics.crps_normal(self.mean, self.sigma, y)
        assert self.quantiles is not None
        return metrics.crps_quantiles(y, self.quantiles, np.asarray(self.levels))

    def pit(self, y: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Return the probability integral transform [S, H] of closes y [S, H]; NaN for points."""
        if self.paths is not None:
            return metrics.pit_paths(self.paths, y, uniforms)
        if self.sigma is not None:
            from scipy.stats import norm

            z = np.divide(y - self.mean, self.sigma, out=np.full(self.mean.shape, np.nan), where=self.sigma > 0)
            return norm.cdf(z)
        assert self.quantiles is not None
        return metrics.pit_quantiles(y, self.quantiles, np.asarray(self.levels))

    def energy(self, y: np.ndarray) -> np.ndarray:
        """Return the energy score of the paths [S] for closes y [S, H]; NaN without paths."""
        return np.full(len(y), np.nan) if self.paths is None else metrics.energy_score(self.paths, y)

    def expected_variance(self, last: np.ndarray) -> np.ndarray:
        """Return the forecast of the realised variance over the horizon [S]; NaN where the model gives none."""
        if self.variance is not None:
            return self.variance
        if self.paths is None:
            return np.full(len(self.mean), np.nan)
        start = np.broadcast_to(last[:, None], self.paths.shape[:2])
        each = metrics.realised_variance(start, self.paths)
        known = np.isfinite(each)  # a path through a price of zero or less has no returns
        total = np.where(known, each, 0.0).sum(-1)
        return np.divide(total, known.sum(-1), out=np.full(len(each), np.nan), where=known.any(-1))
