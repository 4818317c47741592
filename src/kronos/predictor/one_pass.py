"""What a pair says in one pass, without sampling: hidden states, likelihoods, and what its heads answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from kronos.forecast.checks import fractions
from kronos.generation.batch_plan import Window
from kronos.generation.hidden_states import read_windows, score_windows
from kronos.generation.module_path import unwrapped
from kronos.generation.prepared import PreparedSeries, Timestamps
from kronos.heads.covariates import Tables
from kronos.heads.direct import inputs_of, price_quantiles
from kronos.heads.head import Head, HeadTask
from kronos.number_checks import is_whole
from kronos.predictor.arguments import as_lists
from kronos.predictor.loaded_pair import LoadedPair


class DirectPredictor(LoadedPair):
    """The methods of `KronosPredictor` that draw no paths."""

    def embed(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        layer: int = -1,
        pooling: Literal["last", "mean"] | None = "last",
    ) -> np.ndarray:
        """Hidden states of the model: features of a series for other methods. Read in one pass, nothing is sampled.

        No state depends on bars after ``df``; within it, all bars share the mean and deviation that it is normalised with, so
        the state of an earlier bar is not what it would be with that bar the last one.

        Args:
            df: the lookback of one series, or a list of lookbacks of any lengths up to ``max_context``. Never changed.
            x_timestamp: the timestamp of each bar, or a list of as many series of them.
            layer: 0 is the embedding of tokens and times, i the output of the i-th block; the last one, n_layers or -1, is
                after the final norm, and what the heads read. Negative numbers count from the end.
            pooling: "last" takes the state of the last bar, "mean" the mean over bars, None all of them.

        Returns:
            float32 [series, width]; with pooling None [series, bars, width], where shorter series have NaN before their first
            bar: those of series i are ``[i, -len(df[i]):]``.

        Raises:
            ValueError: naming what was wrong with the table, the timestamps or an argument.
        """
        last = unwrapped(self.model).n_layers
        if not is_whole(layer) or not -last - 1 <= layer <= last:
            raise ValueError(f"layer must be a whole number from {-last - 1} to {last}, found {layer!r}")
        if pooling not in ("last", "mean", None):
            raise ValueError(f'pooling must be "last", "mean" or None, found {pooling!r}')
        return self._states(
            [one.window for one in self._histories(*as_lists(df, x_timestamp, x_timestamp)[:2])], layer, pooling
        )

    def _states(
        self, windows: Sequence[Window], layer: int = -1, pooling: Literal["last", "mean"] | None = "last"
    ) -> np.ndarray:
        """Hidden states of windows that are checked; see `embed`."""
        last = unwrapped(self.model).n_layers
        longest, width = max(window.lookback for window in windows), unwrapped(self.model).d_model
        shape = (len(windows), width) if pooling else (len(windows), longest, width)
        result = np.full(shape, np.nan, np.float32)
        number = layer if layer >= 0 else last + 1 + layer
        for batch in read_windows(
            self.tokenizer,
            self.model,
            windows,
            self.max_context,
            number,
            self.memory,
            self.precision,
            last_bar=pooling == "last",
        ):
            if pooling == "last":
                result[batch.members] = batch.states[:, -1].float().cpu().numpy()
                continue
            for i, states in zip(batch.members, batch.states.float(), strict=True):
                own = states[-windows[i].lookback :]
                if pooling == "mean":
                    result[i] = own.mean(0).cpu().numpy()
                else:
                    result[i, -len(own) :] = own.cpu().numpy()
        return result

    def score(
        self, df: pd.DataFrame | Sequence[pd.DataFrame], x_timestamp: Timestamps | Sequence[Timestamps]
    ) -> pd.DataFrame | list[pd.DataFrame]:
        """How likely the model found each bar after the bars before it, at temperature 1: a signal of unusual bars.

        All bars share the mean and deviation that the series is normalised with: to judge a bar by what was known when it came,
        make it the last one, and take the last row.

        Args:
            df, x_timestamp: as of `embed`.

        Returns:
            A table indexed by time, for a list of series a list of them: the tokens "s1" and "s2" of each bar, the logarithm of
            their probabilities in nats, "log_p_s1" and "log_p_s2" (the latter given s1), and "surprise", minus their sum. The
            first bar follows nothing: NaN.

        Raises:
            ValueError: naming what was wrong with the table or the timestamps.
        """
        series = self._histories(*as_lists(df, x_timestamp, x_timestamp)[:2])
        windows = [one.window for one in series]
        scores = score_windows(self.tokenizer, self.model, windows, self.max_context, self.memory, self.precision)
        tables = [
            pd.DataFrame(
                {
                    "s1": found.s1,
                    "s2": found.s2,
                    "log_p_s1": found.coarse,
                    "log_p_s2": found.fine,
                    "surprise": -(found.coarse + found.fine),
                },
                index=one.past,
            )
            for one, found in zip(series, scores, strict=True)
        ]
        return tables[0] if isinstance(df, pd.DataFrame) else tables

    def quantiles_direct(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        quantile_levels: Sequence[float] = (0.1, 0.5, 0.9),
        covariates: Tables | None = None,
    ) -> np.ndarray:
        """Quantiles of the close by the pair's head, in one pass and without sampling; they do not cross.

        Each step has a distribution of its own; what the steps have to do with each other, only paths say. The head was trained on
        windows of its own ``lookback``: give it as many bars.

        Args:
            df, x_timestamp, y_timestamp: as of `forecast`; every series with as many y_timestamps, at most the head's horizon.
            quantile_levels: in [0, 1]; those beyond the head's outermost (0.5 % and 99.5 %) take these.
            covariates: for a head that was trained with some: a table of these columns indexed by time, or one for each series,
                with the times of ``df`` and, for columns known ahead, of y_timestamp; rows and values may be missing.

        Returns:
            float64 [series, levels, steps] in prices. Where the close stood still over the lookback, the last close.

        Raises:
            ValueError: the pair has no such head, prices that are not positive, or what `forecast` raises.
        """
        levels = fractions(quantile_levels, "quantile_levels", closed=True)
        _, series, found = self._by_head("distribution", df, x_timestamp, y_timestamp, covariates)
        return price_quantiles(found, [one.last[3] for one in series], levels)

    def direction_direct(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        covariates: Tables | None = None,
    ) -> np.ndarray:
        """Probabilities, float64 [series, 3], that the close after the head's horizon is lower, little changed, or higher.

        Little changed: within ``heads["direction"].spec.band`` lookback volatilities times the root of the horizon. Arguments and
        errors as of `quantiles_direct`, with exactly the head's horizon of y_timestamps.
        """
        return self._by_head("direction", df, x_timestamp, y_timestamp, covariates)[2]

    def rank_direct(
        self,
        df: pd.DataFrame | Sequence[pd.DataFrame],
        x_timestamp: Timestamps | Sequence[Timestamps],
        y_timestamp: Timestamps | Sequence[Timestamps],
        covariates: Tables | None = None,
    ) -> np.ndarray:
        """Scores, float64 [series], that order series of one date by their return over the head's horizon; they have no unit.

        Arguments and errors as of `direction_direct`.
        """
        return self._by_head("rank", df, x_timestamp, y_timestamp, covariates)[2]

    def _by_head(
        self, task: HeadTask, df: Any, x_timestamp: Any, y_timestamp: Any, covariates: Tables | None
    ) -> tuple[Head, list[PreparedSeries], np.ndarray]:
        """The head of a task, the series, and what it says of them."""
        head = self.head_for(task)
        frames, pasts, futures = as_lists(df, x_timestamp, y_timestamp)
        series = self._series(frames, pasts, futures, None)
        self._check_context(series)
        states = self._states([one.window for one in series])
        return head, series, head(inputs_of(series, states, head.spec, covariates))

    def head_for(self, task: HeadTask) -> Head:
        """The pair's head for a task.

        Raises:
            ValueError: it has none.
        """
        head = self.heads.get(task)
        if head is None:
            has = f"it has {', '.join(self.heads)}" if self.heads else "it has none"
            raise ValueError(
                f"the pair has no head for {task} ({has}): train one with kronos heads train, and load the pair from "
                "the folder that it writes"
            )
        return head

    def _histories(self, frames: Sequence[pd.DataFrame], pasts: Sequence[Timestamps]) -> list[PreparedSeries]:
        """Series without a future, that fit in the context."""
        series = self._series(frames, pasts, [()] * len(pasts), 0)
        self._check_context(series)
        return series

    def _check_context(self, series: Sequence[PreparedSeries]) -> None:
        """Refuse a history that does not fit in the context."""
        for number, one in enumerate(series):
            if one.window.lookback > self.max_context:
                which = f"series {number}: " if len(series) > 1 else ""
                raise ValueError(
                    f"{which}the model reads at most {self.max_context} bars (max_context), found {one.window.lookback}; give the "
                    f"last {self.max_context}, df.iloc[-{self.max_context}:]"
                )
