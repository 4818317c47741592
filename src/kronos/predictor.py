"""KronosPredictor: a table of K-lines in, a table of forecast K-lines out.

Legend: S series, P paths, L lookback, H horizon, 6 features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from kronos.forecast import valid_candles as make_valid
from kronos.generation.reference import generate_paths
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


class _Window:
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
        self.bars = self.scale.normalise(bars, clip)
        self.stamp, self.future_stamp = time_features(past), time_features(self.future)


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
        if max_context < 1 or clip <= 0:
            raise ValueError(f"max_context must be at least 1 and clip positive, found {max_context} and {clip}")
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
        """`predict` for many series, of any lookbacks, in as few passes as there are different lookbacks."""
        windows = self._windows(df_list, x_timestamp_list, y_timestamp_list, pred_len)
        paths = self._sample(windows, pred_len, Sampling(T, top_k, top_p), sample_count, seed, verbose)
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
        return make_valid(self._sample(windows, pred_len, Sampling(T, top_k, top_p), sample_count, seed, verbose))

    def _windows(
        self, frames: Sequence[pd.DataFrame], pasts: Sequence[Timestamps], futures: Sequence[Timestamps], pred_len: int
    ) -> list[_Window]:
        if isinstance(frames, pd.DataFrame):
            raise ValueError("expected a list of DataFrames, found one DataFrame; use predict() for one series")
        if isinstance(pred_len, bool) or not isinstance(pred_len, (int, np.integer)) or pred_len < 1:
            raise ValueError(f"pred_len must be a whole number of at least 1, found {pred_len!r}")
        if not len(frames) == len(pasts) == len(futures) or not len(frames):
            raise ValueError(
                f"a list of tables and as many lists of timestamps are needed, found {len(frames)} tables, {len(pasts)} x_timestamps "
                f"and {len(futures)} y_timestamps"
            )
        windows = []
        for number, (frame, past, future) in enumerate(zip(frames, pasts, futures, strict=True)):
            try:
                windows.append(_Window(frame, past, future, pred_len, self.clip))
            except ValueError as error:
                raise ValueError(f"series {number}: {error}" if len(frames) > 1 else str(error)) from error
        return windows

    def _sample(
        self,
        windows: Sequence[_Window],
        pred_len: int,
        sampling: Sampling,
        sample_count: int,
        seed: int | None,
        verbose: bool,
    ) -> np.ndarray:
        """float32 [S, P, H, 6] in prices; series of one lookback share a pass."""
        if isinstance(sample_count, bool) or not isinstance(sample_count, (int, np.integer)) or sample_count < 1:
            raise ValueError(f"sample_count must be a whole number of at least 1, found {sample_count!r}")
        generator = None if seed is None else torch.Generator(self.device).manual_seed(seed)
        paths = np.empty((len(windows), sample_count, pred_len, len(FEATURES)), dtype=np.float32)
        by_lookback: dict[int, list[int]] = {}
        for i, window in enumerate(windows):
            by_lookback.setdefault(len(window.bars), []).append(i)
        for members in by_lookback.values():
            group = [windows[i] for i in members]
            generated = generate_paths(
                self.tokenizer,
                self.model,
                np.stack([w.bars for w in group]),
                np.stack([w.stamp for w in group]),
                np.stack([w.future_stamp for w in group]),
                self.max_context,
                pred_len,
                self.clip,
                sampling,
                sample_count,
                generator,
                verbose,
            )
            normalised = generated[:, :, -pred_len:].cpu().numpy()
            for i, window, series in zip(members, group, normalised, strict=True):
                paths[i] = window.scale.restore(series)
        return paths
