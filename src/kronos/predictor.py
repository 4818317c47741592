"""KronosPredictor: a table of K-lines in, a table of forecast K-lines out.

Legend: S series, P paths, L lookback, H horizon, 6 features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from kronos.forecast import valid_candles as make_valid
from kronos.generation.paths import Window, sample_paths
from kronos.generation.sampling import Sampling
from kronos.hub.pairing import check_pair
from kronos.klines.features import FEATURES, Scale, as_timestamps, time_features, to_matrix
from kronos.nn import Kronos, KronosTokenizer

Timestamps = Iterable[Any] | pd.Series | pd.DatetimeIndex


def best_device() -> str:
    """cuda where there is a GPU, else mps on a Mac, else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_count(name: str, value: int) -> None:
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}")


class _Series:
    """One series made ready: normalised bars, time features, and the scale to map its forecast back."""

    def __init__(
        self, frame: pd.DataFrame, x_timestamp: Timestamps, y_timestamp: Timestamps, pred_len: int, clip: float
    ) -> None:
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"df must be a pandas DataFrame, found {type(frame).__name__}")
        past, self.future = as_timestamps(x_timestamp, "x_timestamp"), as_timestamps(y_timestamp, "y_timestamp")
        if len(frame) < 2:
            raise ValueError(f"a lookback of at least 2 bars is needed to forecast from, found {len(frame)}")
        if len(past) != len(frame):
            raise ValueError(
                f"x_timestamp has {len(past)} timestamps for {len(frame)} bars; give one for each bar of df"
            )
        if len(self.future) != pred_len:
            raise ValueError(
                f"y_timestamp has {len(self.future)} timestamps, pred_len is {pred_len}; give the timestamp of each forecast bar, "
                "or derive them with kronos.future_timestamps(x_timestamp, pred_len)"
            )
        bars = to_matrix(frame)
        self.scale = Scale.of(bars)
        self.window = Window(self.scale.normalise(bars, clip), time_features(past), time_features(self.future))


class KronosPredictor:
    """Forecasts K-lines with a tokenizer and a model; the numbers are those of the reference implementation in eval mode.

    Args:
        model, tokenizer: a pair that belongs together; a pair of different bit widths is refused, a known wrong pair warned of.
        device: "cuda", "cuda:1", "mps", "cpu" or a torch.device; None takes the best there is.
        max_context: how many bars the model sees at most (512 for small, base and nano, 2048 for mini).
        clip: normalised values are clipped to [-clip, clip].

    Raises:
        ValueError: the pair cannot work together, or an argument is out of range.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
    ) -> None:
        check_pair(tokenizer, model)
        _check_count("max_context", max_context)
        if not _is_real(clip) or not clip > 0:
            raise ValueError(f"clip must be a positive number, found {clip!r}")
        try:
            self.device = torch.device(device if device is not None else best_device())
            self.tokenizer = tokenizer.to(self.device).eval()
            self.model = model.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
        self.max_context, self.clip = max_context, clip

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: Timestamps,
        y_timestamp: Timestamps,
        pred_len: int,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        *,
        seed: int | None = None,
        valid_candles: bool = False,
    ) -> pd.DataFrame:
        """Forecast one series: the mean of ``sample_count`` paths.

        Args:
            df: the lookback, oldest bar first: open, high, low, close and, where there are, volume and amount. Never changed.
            x_timestamp: the timestamp of each bar, in the exchange's local time.
            y_timestamp: the timestamps of the ``pred_len`` bars to forecast.
            T: temperature; 0 is greedy. top_k, top_p: restrict the draw to the likeliest codes; None is off. Both apply.
            sample_count: paths to draw and average.
            verbose: show a progress bar.
            seed: makes the draw repeatable; None draws from PyTorch's global stream (torch.manual_seed).
            valid_candles: raise high, lower low and floor volume so that every bar can exist.

        Returns:
            DataFrame indexed by y_timestamp with open, high, low, close, volume, amount, in the units of df.

        Raises:
            ValueError: naming what was wrong with the table, the timestamps or an argument.
        """
        return self.predict_batch(
            [df],
            [x_timestamp],
            [y_timestamp],
            pred_len,
            T,
            top_k,
            top_p,
            sample_count,
            verbose,
            seed=seed,
            valid_candles=valid_candles,
        )[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[Timestamps],
        y_timestamp_list: Sequence[Timestamps],
        pred_len: int,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        *,
        seed: int | None = None,
        valid_candles: bool = False,
    ) -> list[pd.DataFrame]:
        """`predict` for many series, of any lookbacks, in batches that fit in memory."""
        windows = self._windows(df_list, x_timestamp_list, y_timestamp_list, pred_len)
        paths = self._sample(windows, Sampling(T, top_k, top_p), sample_count, seed, verbose)
        return [
            pd.DataFrame(make_valid(mean) if valid_candles else mean, columns=list(FEATURES), index=window.future)
            for mean, window in zip(paths.mean(axis=1), windows, strict=True)
        ]

    def predict_samples(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        pred_len: int,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 0.9,
        sample_count: int = 30,
        seed: int | None = None,
        verbose: bool = True,
    ) -> np.ndarray:
        """The paths themselves, as valid candles: float32 [series, sample_count, pred_len, 6] in prices.

        ``df`` and both timestamps belong to one series, or are lists of as many series each.
        """
        if isinstance(df, pd.DataFrame):
            df, x_timestamp, y_timestamp = [df], [x_timestamp], [y_timestamp]  # type: ignore[list-item]
        windows = self._windows(df, x_timestamp, y_timestamp, pred_len)  # type: ignore[arg-type]
        return make_valid(self._sample(windows, Sampling(T, top_k, top_p), sample_count, seed, verbose))

    def _windows(
        self, frames: Sequence[pd.DataFrame], pasts: Sequence[Timestamps], futures: Sequence[Timestamps], pred_len: int
    ) -> list[_Series]:
        if isinstance(frames, pd.DataFrame):
            raise ValueError("expected a list of DataFrames, found one DataFrame; use predict() for one series")
        _check_count("pred_len", pred_len)
        if not len(frames) == len(pasts) == len(futures) or not len(frames):
            raise ValueError(
                f"a list of tables and as many lists of timestamps are needed, found {len(frames)} tables, "
                f"{len(pasts)} x_timestamps and {len(futures)} y_timestamps"
            )
        windows = []
        for number, (frame, past, future) in enumerate(zip(frames, pasts, futures, strict=True)):
            try:
                windows.append(_Series(frame, past, future, pred_len, self.clip))
            except ValueError as error:
                raise ValueError(f"series {number}: {error}" if len(frames) > 1 else str(error)) from error
        return windows

    def _seed(self, seed: int | None) -> int:
        """The seed itself, or one from PyTorch's global stream."""
        if seed is None:
            return int(torch.randint(2**63 - 1, ()).item())
        if not _is_whole(seed) or not -(2**63) <= seed < 2**64:
            raise ValueError(f"seed must be a whole number of at most 64 bits, or None, found {seed!r}")
        return int(seed) % 2**64

    def _sample(
        self,
        windows: Sequence[_Series],
        sampling: Sampling,
        sample_count: int,
        seed: int | None,
        verbose: bool,
    ) -> np.ndarray:
        """float32 [S, P, H, 6] in prices."""
        _check_count("sample_count", sample_count)
        drawn = sample_paths(
            self.tokenizer,
            self.model,
            [series.window for series in windows],
            sample_count,
            self.max_context,
            sampling,
            self._seed(seed),
            verbose=verbose,
        )
        return np.stack([series.scale.restore(paths) for series, paths in zip(windows, drawn, strict=True)])
