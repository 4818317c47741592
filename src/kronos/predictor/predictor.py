"""KronosPredictor: a table of K-lines in, a table of forecast K-lines out.

Legend: S series, P paths, L lookback, H horizon, 6 features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from kronos.calibration.calibration import Calibration
from kronos.forecast.anchoring import DEFAULT_ANCHOR, Anchor, check_anchor
from kronos.forecast.checks import fractions
from kronos.forecast.forecast import Forecast
from kronos.forecast.forecast import valid_candles as make_valid
from kronos.generation.batch_plan import Window
from kronos.generation.module_path import evaluating, unwrapped
from kronos.generation.overridden import contents, draw_by_generate, draw_copies
from kronos.generation.paths import Drawn, OnBar, Sliding, sample_paths
from kronos.generation.prepared import PreparedSeries, Timestamps
from kronos.generation.sampling import Sampling
from kronos.heads.marginals import HeadMarginals
from kronos.klines.in_memory import check_times_given, read_tables
from kronos.klines.read_options import Policy
from kronos.metrics.quantiles import path_quantiles
from kronos.number_checks import is_whole, whole
from kronos.predictor.arguments import as_lists
from kronos.predictor.in_prices import in_prices
from kronos.predictor.one_pass import DirectPredictor
from kronos.schema import FEATURES

Calibrating = Calibration | HeadMarginals | Literal["auto", "head"] | str | Path | None
"""How paths are calibrated: by the pair's own calibration ("auto"), to the marginals of its distribution head ("head"), not at all,
by a calibration that is given, or by one in a file."""


class KronosPredictor(DirectPredictor):
    """Forecasts K-lines with a tokenizer and a model; the numbers are those of the reference implementation in eval mode.

    Args:
        model: the network that predicts tokens.
        tokenizer: the one that the model was trained with; one of other bit widths is refused, a known wrong one warned of.
        device: "cuda", "cuda:1", "mps", "cpu" or a torch.device; None takes the best there is.
        max_context: how many bars the model sees at most (512 for small, base and nano, 2048 for mini).
        clip: normalised values are clipped to [-clip, clip].
        sliding: what happens where lookback and horizon exceed max_context. "exact" moves the window by one bar a step and
            reads it anew each time, as the reference does; "strided" drops a quarter of it at once and reads on from the cache,
            at about the same accuracy and many times the speed (docs/generation.md). "auto" is exact under greedy decoding,
            where the reference's numbers can be told from others, and strided where paths are drawn.
        precision: of the model's weights while generating. "float32" gives the reference's numbers; "bfloat16" and "int8" read
            fewer bytes a step, which makes forecasts of few paths faster on a CPU; "bfloat16" and "float16" make forecasts of
            many paths faster on a GPU (figures and drift: docs/generation.md).
        memory: bytes that a batch may take; None looks at what is free. Work is cut to fit; results do not depend on it.
        trained_bars: fewest and most bars of the windows that the pair was trained on, as `kronos.load` reads them; the default
            lookback stays within them, and a longer one is warned of. None: not known.
        sampling: the temperature and top-p that the model is best drawn with, as `kronos.load` reads them from the pair. What every
            method but `predict` and `predict_batch` takes where its own T and top_p are None; top_p=1 is off.

        calibration: the pair's own, as `kronos.load` reads it; what "auto" means in the methods that take a ``calibration``.
        heads: the pair's own, as `kronos.load` reads them, by task; what `quantiles_direct`, `direction_direct` and `rank_direct`
            ask.

    A compiled model, and one inside peft's wrapper, is used as it is. Where adapters, hooks, parametrisations or overridden methods
    change what a network computes, it is run through its modules, at the reference's speed, with one warning.

    Raises:
        ValueError: the pair cannot work together, or an argument is out of range.
    """

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
        anchor: Anchor | None = None,
    ) -> pd.DataFrame:
        """Forecast one series: the mean of ``sample_count`` paths.

        Args:
            df: the lookback, oldest bar first: open, high, low, close and, where there are, volume and amount. Never changed.
            x_timestamp: the timestamp of each bar, in the exchange's local time.
            y_timestamp: the timestamps of the ``pred_len`` bars to forecast.
            T: temperature; 0 is greedy. top_k, top_p: restrict the draw to the likeliest codes; both apply. None, a top_k of at
                most 0 and a top_p above 1 are off.
            sample_count: paths to draw and average.
            verbose: show a progress bar.
            seed: makes the draw repeatable; None draws from PyTorch's global stream (torch.manual_seed).
            valid_candles: raise high, lower low and floor volume so that every bar can exist.
            anchor: "level", "log" or "decaying" takes out the gap at the first bar (`kronos.forecast.anchoring`); None keeps it.

        Returns:
            DataFrame indexed by y_timestamp with open, high, low, close, volume, amount, in the units of df.

        Raises:
            ValueError: naming what was wrong with the table, the timestamps or an argument.

        Warns where bars are out of order, timestamps occur twice or have different zones, or the future overlaps the past; the
        answer is the reference's.
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
            anchor=anchor,
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
        anchor: Anchor | None = None,
    ) -> list[pd.DataFrame]:
        """`predict` for many series, of any lookbacks, in batches that fit in memory.

        A series gets the same paths alone and in any batch of others. Where the same bars and times occur more than once, each
        copy gets the paths that follow those of the copies before it, so that N copies of ``sample_count=1`` are N paths.
        """
        whole(pred_len, "pred_len", 1)
        series = self._series(df_list, x_timestamp_list, y_timestamp_list, pred_len, strict=False)
        sampling = Sampling.published(T, top_k, top_p)
        drawn = self._sample(series, sampling, sample_count, seed, verbose, anchor, projected=False, batch=True)
        return [
            pd.DataFrame(make_valid(mean) if valid_candles else mean, columns=list(FEATURES), index=one.future)
            for one, mean in zip(series, (paths.mean(axis=0) for paths in drawn), strict=True)
        ]

    def generate(
        self,
        x: np.ndarray,
        x_stamp: np.ndarray,
        y_stamp: np.ndarray,
        pred_len: int,
        T: float,
        top_k: int | None,
        top_p: float | None,
        sample_count: int,
        verbose: bool,
    ) -> np.ndarray:
        """The step between normalised windows and normalised forecasts, as in the published class.

        Where a subclass overrides it, every forecast goes through it.

        Args:
            x: normalised bars [B, L, 6]. x_stamp, y_stamp: time features [B, L, 5] and [B, pred_len, 5].
            T, top_k, top_p, sample_count, verbose: as in `predict`; draws come from PyTorch's global stream. Windows that are the
                same get different paths.

        Returns:
            float32 [B, pred_len, 6]: the mean of ``sample_count`` paths, normalised.

        Raises:
            ValueError: an argument is out of range, or y_stamp is shorter than pred_len.
        """
        whole(pred_len, "pred_len", 1)
        whole(sample_count, "sample_count", 1)
        sampling = Sampling.published(T, top_k, top_p)
        windows = [
            Window(
                np.clip(np.asarray(bars, np.float32), -self.clip, self.clip),
                np.asarray(past),
                np.asarray(future)[:pred_len],
            )
            for bars, past, future in zip(x, x_stamp, y_stamp, strict=True)
        ]
        if any(window.horizon < pred_len for window in windows):
            raise ValueError(f"y_stamp must have {pred_len} steps (pred_len), found {min(w.horizon for w in windows)}")
        draw = partial(self._draw, sampling=sampling, seed=self._seed(None), verbose=verbose)
        drawn = draw_copies(draw, windows, contents(windows), sample_count)
        return np.stack([paths.mean(axis=0) for paths, _ in drawn])

    def predict_samples(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        pred_len: int,
        T: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        sample_count: int = 30,
        seed: int | None = None,
        verbose: bool = True,
        *,
        anchor: Anchor | None = DEFAULT_ANCHOR,
        calibration: Calibrating = "auto",
    ) -> np.ndarray:
        """The paths themselves, anchored, as valid candles: float32 [series, sample_count, pred_len, 6] in prices.

        T and top_p of None are the model's own. Where all prices of the history are positive, so are those of the paths.
        ``calibration``: "auto" is the pair's own, where it has one; "head": at every step the paths keep their order and take the
        quantiles of the pair's distribution head; None; a `kronos.calibration.Calibration`, or its file.
        ``df`` and both timestamps belong to one series, or are lists of as many series each.
        """
        whole(pred_len, "pred_len", 1)
        series = self._series(*as_lists(df, x_timestamp, y_timestamp), pred_len)
        sampling = self.sampling.with_(T, top_k, top_p)
        how = self.calibration_of(calibration, sampling, anchor)
        return make_valid(
            np.stack(self._sample(series, sampling, sample_count, seed, verbose, anchor, calibration=how))
        )

    def predict_quantiles(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        pred_len: int,
        quantile_levels: Sequence[float] = (0.1, 0.5, 0.9),
        T: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        sample_count: int = 100,
        seed: int | None = None,
        verbose: bool = True,
        *,
        anchor: Anchor | None = DEFAULT_ANCHOR,
        calibration: Calibrating = "auto",
    ) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles [series, levels, pred_len, 6] and mean [series, pred_len, 6] of what `predict_samples` draws."""
        levels = fractions(quantile_levels, "quantile_levels", closed=True)
        paths = self.predict_samples(
            df,
            x_timestamp,
            y_timestamp,
            pred_len,
            T,
            top_k,
            top_p,
            sample_count,
            seed,
            verbose,
            anchor=anchor,
            calibration=calibration,
        )
        return path_quantiles(paths, levels, axis=1).swapaxes(0, 1), paths.mean(axis=1)

    def forecast(
        self,
        df: Any,
        x_timestamp: Timestamps | Sequence[Timestamps] | None = None,
        y_timestamp: Timestamps | Sequence[Timestamps] | None = None,
        T: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        sample_count: int = 100,
        seed: int | None = None,
        verbose: bool = True,
        *,
        horizon: int | None = None,
        calendar: str | None = None,
        lookback: int | None = None,
        symbol: str | None = None,
        columns: Mapping[str, str] | None = None,
        tz: str | None = None,
        clean: Policy | None = None,
        ids: Sequence[object] | None = None,
        anchor: Anchor | None = DEFAULT_ANCHOR,
        calibration: Calibrating = "auto",
    ) -> Forecast:
        """A distribution: anchored paths of valid candles with their timestamps (see `Forecast`).

        In one line: ``predictor.forecast(df, horizon=24)`` or ``predictor.forecast("prices.csv", horizon=24, calendar="XNYS")``.
        The table is then read by `kronos.read_klines`: columns of any usual names, times in a column or in the index; pandas,
        Polars or PyArrow. With ``x_timestamp`` and ``y_timestamp`` instead, every bar of ``df`` is looked back on.

        Args:
            df: one series, or a list of series. Never changed.
            x_timestamp, y_timestamp: times of the bars of ``df`` and of those to forecast, as of `predict`; lists where ``df`` is
                one. Every series may have its own lookback and its own horizon, which is the number of its y_timestamps.
            T, top_k, top_p: as of `predict`; None is the model's own.
            sample_count: paths to draw. seed, verbose: as of `predict`.
            horizon: bars to forecast; their times continue the history's own pattern, or ``calendar``.
            calendar: exchange calendar, such as "XSHG" or "XNYS" (see `kronos.future_timestamps`).
            lookback: bars to look back on; None takes what the context holds, up to `DEFAULT_LOOKBACK`.
            symbol, columns, tz, clean: as of `kronos.read_klines`.
            ids: names of the series. Default: the symbol or file that a table was read from, else 0, 1, ...
            anchor, calibration: as of `predict_samples`.

        Raises:
            ValueError: naming what was wrong; also where bars are out of order, timestamps occur twice or have different zones,
                or the future overlaps the past.
        """
        frames: Sequence[pd.DataFrame]
        pasts: Sequence[Timestamps]
        futures: Sequence[Timestamps]
        if x_timestamp is None and y_timestamp is None:
            how = {"symbol": symbol, "columns": columns, "tz": tz, "clean": clean}
            tables = read_tables(df, horizon, lookback, calendar, self.trained_context, how)
            frames, pasts, futures = tables.bars, tables.pasts, tables.futures
            ids = tables.ids if ids is None else ids
        else:
            reading = {"horizon": horizon, "calendar": calendar, "lookback": lookback, "symbol": symbol, "columns": columns,
                       "tz": tz, "clean": clean}  # fmt: skip
            check_times_given(x_timestamp, y_timestamp, reading)
            frames, pasts, futures = as_lists(df, x_timestamp, y_timestamp)
        series = self._series(frames, pasts, futures, None)
        sampling = self.sampling.with_(T, top_k, top_p)
        calibrated = self.calibration_of(calibration, sampling, anchor)
        drawn = self._sample(series, sampling, sample_count, seed, verbose, anchor, calibration=calibrated)
        return Forecast(
            [make_valid(paths) for paths in drawn],
            [one.future for one in series],
            ids,
            np.stack([one.last for one in series]),
            [frame.set_axis(one.past) for frame, one in zip(frames, series, strict=True)],
            calibration=None if calibrated is None else calibrated.name,
        )

    def predict_df(
        self,
        df: pd.DataFrame,
        prediction_length: int | None = None,
        *,
        future_df: pd.DataFrame | None = None,
        calendar: str | None = None,
        id_column: str | None = None,
        timestamp_column: str | None = None,
        target: str | Sequence[str] = "close",
        quantile_levels: Sequence[float] = (0.1, 0.5, 0.9),
        num_samples: int = 100,
        lookback: int | None = None,
        T: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        verbose: bool = True,
        anchor: Anchor | None = DEFAULT_ANCHOR,
        calibration: Calibrating = "auto",
    ) -> pd.DataFrame:
        """Forecast every series of a long table, one row a bar, as Chronos and Nixtla lay it out.

        Args:
            df: a row for each series and time: id, timestamp, open, high, low, close and, where there are, volume and amount,
                under any usual names, of pandas, Polars or PyArrow. Any spacing; nights, weekends and holidays may be missing.
                Never changed.
            prediction_length: bars to forecast; None where ``future_df`` says it.
            future_df: ids and timestamps of the bars to forecast, in the same columns. None continues the history's own
                pattern, or ``calendar`` (see `kronos.future_timestamps`).
            id_column, timestamp_column: None looks for item_id, unique_id, symbol, id and for timestamp, timestamps, ds, time,
                datetime, date, then for the other names that `kronos.read_klines` knows; a table without ids is one series.
            target: what to report, one or several of the six features.
            quantile_levels: in [0, 1]. num_samples: paths a series.
            lookback: bars to look back on; None takes what the context holds, up to `DEFAULT_LOOKBACK`.

        Returns:
            A row for each series and time: id, timestamp, "mean" and a column for each quantile ("0.1", ...). With several
            targets also a column "target_name", and a row for each.

        Raises:
            ValueError: naming the column, id, time or argument that is wrong.
        """
        from kronos.forecast.long_table import read_long_table

        levels = fractions(quantile_levels, "quantile_levels", closed=True)
        table = read_long_table(df, future_df, prediction_length, calendar, id_column, timestamp_column)
        targets = table.check_targets(target)
        parts = [table.part(i, lookback, self.trained_context) for i in range(len(table.ids))]
        whole(num_samples, "num_samples", 1)
        forecast = self.forecast(
            [part.values for part in parts],
            [part.past for part in parts],
            [part.future for part in parts],
            T,
            top_k,
            top_p,
            num_samples,
            seed,
            verbose,
            ids=table.ids,
            anchor=anchor,
            calibration=calibration,
        )
        return table.result(forecast, targets, isinstance(target, str), levels)

    def sample_prepared(
        self,
        series: Sequence[PreparedSeries],
        sampling: Sampling,
        sample_count: int,
        seeds: Sequence[int],
        *,
        anchor: Anchor | None = DEFAULT_ANCHOR,
        calibration: Calibrating = "auto",
        progress: Callable[[int, int], None] | None = None,
        on_bar: Callable[[int, int, np.ndarray], None] | None = None,
    ) -> list[np.ndarray]:
        """What `forecast` draws, for series that belong to different callers: each has its own seed, lookback and horizon.

        Args:
            progress: called with the steps done and those there are, after every step; what it raises ends the run.
            on_bar: called with the number of a series, a step (0 is the first) and its bars on all paths [sample_count, 6] as
                soon as they are drawn; it costs a little. Not called for a series that gets some of its paths at a time.

        Returns:
            For each series its paths of valid candles, float32 [sample_count, H_i, 6] in prices; those of a smaller
            ``sample_count`` are the first of them where they are not calibrated.
        """

        how = self.calibration_of(calibration, sampling, anchor)
        before: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def watch(number: int, step: int, drawn: Drawn) -> None:
            one = series[number]
            if on_bar is not None and step < one.window.horizon:
                raw, bars = in_prices(one, drawn, anchor, True, how, step, before.get(number))
                before[number] = (raw[:, 0, 3], bars[:, 0, 3])
                on_bar(number, step, make_valid(bars[:, 0]))

        told = None if on_bar is None else watch
        drawn = self._sample(series, sampling, sample_count, seeds, False, anchor, progress, told, calibration=how)
        return [make_valid(paths) for paths in drawn]

    def calibration_of(
        self, given: Calibrating, sampling: Sampling, anchor: Anchor | None = DEFAULT_ANCHOR
    ) -> Calibration | HeadMarginals | None:
        """The calibration that a method's argument names: "auto" is the pair's own, "head" takes the marginals of its distribution
        head, None is none, a path is read.

        "auto" is none where paths are drawn by another sampling than the model's own, or not anchored: it was not fitted for those.

        Raises:
            ValueError: one is named for paths that are not anchored; or the file holds none.
        """
        if given is None:
            return None
        if given == "auto":
            own = (sampling.temperature, sampling.top_k or 0, sampling.top_p or 1.0) == (
                self.sampling.temperature,
                self.sampling.top_k or 0,
                self.sampling.top_p or 1.0,
            )
            return self.calibration if own and anchor is not None else None
        if anchor is None:
            raise ValueError("a calibration is fitted for anchored paths: leave out anchor=None, or the calibration")
        if given == "head":
            return HeadMarginals(self.head_for("distribution"), self._states, self.clip, self.max_context)
        if isinstance(given, (str, Path)):
            return Calibration.load(given)
        if not isinstance(given, (Calibration, HeadMarginals)):
            raise ValueError(
                f'calibration must be "auto", "head", None, a Calibration or the path of one, found {given!r}'
            )
        return given

    def _seed(self, seed: Any) -> int:
        """The seed itself, or one from PyTorch's global stream."""
        if seed is None:
            return int(torch.randint(2**63 - 1, ()).item())
        if not is_whole(seed) or not -(2**63) <= seed < 2**64:
            raise ValueError(f"seed must be a whole number of at most 64 bits, or None, found {seed!r}")
        return int(seed) % 2**64

    def _sample(
        self,
        series: Sequence[PreparedSeries],
        sampling: Sampling,
        sample_count: int,
        seed: int | Sequence[int] | None,
        verbose: bool,
        anchor: Anchor | None,
        progress: Callable[[int, int], None] | None = None,
        on_bar: OnBar | None = None,
        *,
        projected: bool = True,
        batch: bool = False,
        calibration: Calibration | HeadMarginals | None = None,
    ) -> list[np.ndarray]:
        """float32 [P, H, 6] in prices, one a series; one seed for all, or one a series.

        ``projected`` keeps prices above zero where those of the history are, and brings opens into line with its gaps. ``batch``,
        of `predict_batch`: copies of a series get different paths, and the mean is all that is wanted (an overridden `generate`
        is asked for it at once).
        """
        whole(sample_count, "sample_count", 1)
        check_anchor(anchor)
        windows = [one.window for one in series]
        overridden = self._generate_is_overridden()
        seeds: int | list[int] | None
        if isinstance(seed, Sequence) and not batch:
            seeds = [self._seed(one) for one in seed]
        else:
            seeds = None if seed is None and overridden else self._seed(seed)
        if overridden:
            drawn = draw_by_generate(
                self.generate,
                self._reconstructed,
                windows,
                sampling,
                sample_count,
                seeds if isinstance(seeds, list) else [seeds] * len(windows),
                torch.device(self.device),
                verbose=verbose,
                mean=batch,
            )
        elif isinstance(seeds, int) and batch:
            keys = [one.content + content for one, content in zip(series, contents(windows), strict=True)]
            drawn = draw_copies(
                partial(self._draw, sampling=sampling, seed=seeds, verbose=verbose), windows, keys, sample_count
            )
        else:
            assert seeds is not None
            drawn = self._draw(windows, sample_count, sampling, seeds, verbose, progress, on_bar)
        return [
            in_prices(one, paths, anchor, projected, calibration)[1] for one, paths in zip(series, drawn, strict=True)
        ]

    def _generate_is_overridden(self) -> bool:
        return type(self).generate is not PUBLISHED_GENERATE or "generate" in vars(self)

    def _draw(
        self,
        windows: Sequence[Window],
        sample_count: int,
        sampling: Sampling,
        seed: int | Sequence[int],
        verbose: bool,
        progress: Callable[[int, int], None] | None = None,
        on_bar: OnBar | None = None,
    ) -> list[Drawn]:
        sliding: Sliding = "exact" if sampling.greedy else "strided"
        return sample_paths(
            self.tokenizer,
            self.model,
            windows,
            sample_count,
            self.max_context,
            sampling,
            seed,
            sliding=sliding if self.sliding == "auto" else self.sliding,
            memory=self.memory,
            precision=self.precision,
            verbose=verbose,
            progress=progress,
            on_bar=on_bar,
        )

    @torch.no_grad()
    def _reconstructed(self, window: Window) -> np.ndarray:
        """What the tokenizer makes of the last observed bars, normalised [k, 6]."""
        tokenizer = unwrapped(self.tokenizer)
        bars = torch.from_numpy(np.ascontiguousarray(window.bars, np.float32))[None].to(self.device)
        with evaluating(tokenizer):
            codes = [part[:, -self.max_context :] for part in tokenizer.encode(bars, half=True)]
            return tokenizer.decode(codes, half=True)[0].float().cpu().numpy()


PUBLISHED_GENERATE = KronosPredictor.generate
"""Told apart from what a subclass, an instance or a patch of the class has in its place."""
