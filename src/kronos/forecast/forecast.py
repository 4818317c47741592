"""The result of a forecast: sampled paths, and candles, tables, risk figures and pictures made of them.

Legend: S series, P paths, H horizon (each series has its own, H_i), 6 features in prices: open, high, low, close, volume, amount.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from kronos.forecast.checks import fractions, output_path
from kronos.forecast.price_limits import PriceLimit, limited_paths, price_limit
from kronos.forecast.sample_paths import ForecastPaths
from kronos.metrics import risk
from kronos.metrics.quantiles import path_quantiles
from kronos.number_checks import finite, single_fraction, whole
from kronos.schema import CLOSE, FEATURES, HIGH, LOW

if TYPE_CHECKING:
    from kronos.plotting.matplotlib_fan import Picture

MOST_ON_A_PAGE = 50


def valid_candles(bars: np.ndarray) -> np.ndarray:
    """Return the nearest valid bars: high at least max(open, close), low at most min(open, close), no negative volume.

    Open and close are kept; where the high is below the low, both count for both bounds. Returns a new array.
    """
    result = np.array(bars, copy=True)
    result[..., HIGH] = bars[..., :4].max(-1)
    result[..., LOW] = bars[..., :4].min(-1)
    result[..., 4:] = np.maximum(bars[..., 4:], 0)
    return result


def quantile_name(feature: str, q: float) -> str:
    """Return the column name of a quantile: close and 0.1 -> close_q10; 0.025 -> close_q2.5."""
    return f"{feature}_q{100 * q:.10g}"


class Forecast(ForecastPaths):
    """Sampled paths of one or many series: the distribution of the next bars.

    ``forecast[id]`` is the forecast of one series, ``forecast[[id, id]]`` of some, ``len(forecast)`` their number; iterating
    gives the ids. It is immutable, and the arrays and tables given are neither copied nor changed.

    Every table of one series is indexed by ``timestamps``; of several, by ``id`` and ``timestamps`` (in UTC where their time
    zones differ). Figures are a pandas Series indexed by ``id``, with one number a series. What is a share of the last observed
    close is NaN where that close is not positive.

    Args:
        paths: for each series float [P, H_i, 6] in prices. As many paths for all; horizons may differ.
        timestamps: for each series the H_i times of its bars, rising.
        ids: names of the series, int or str, each once; default 0, 1, ...
        last: the last observed bar of each series, [6] each (or a Series with open, high, low, close and, optionally, volume and
            amount); default: the last bar of ``history``. Without either, figures that start from it are refused.
        history: the lookback of each series, indexed by time, with open, high, low, close and, optionally, volume and amount;
            only drawn by `plot` and `to_html`.
        calibration: name of the calibration that was applied to the paths.

    Raises:
        ValueError: paths, ids, timestamps, last bars or histories do not fit together.
    """

    def within_price_limits(self, limit: PriceLimit | Literal["cn"] | float | Sequence[PriceLimit]) -> Forecast:
        """Return the forecast with every path's prices kept within a daily limit (`kronos.forecast.price_limits`).

        Args:
            limit: "cn" for the rule of each stock's board, which its id gives; or a share of the close of the day before, such as
                0.1; or a `PriceLimit`, or a list of one for each series.

        Raises:
            ValueError: the histories are not known, an id has no code of a known board, or bars are longer than a day.
        """
        if self._history is None:
            raise ValueError(
                "a price limit starts from the close of the day before: make the Forecast with history=[...]"
            )
        if isinstance(limit, PriceLimit):
            rules = [limit] * len(self._ids)
        elif isinstance(limit, (str, float, int)):
            rules = [price_limit(limit, *one) for one in zip(self._ids, (t[0] for t in self._timestamps), strict=True)]
        else:
            rules = list(limit)
        series = zip(self._paths, self._timestamps, self._history, rules, strict=True)
        kept = [limited_paths(*one)[0] for one in series]
        return Forecast(kept, self._timestamps, self._ids, self._last, self._history, self.calibration)

    # Tables: one row a series and time, the six features.

    def mean(self) -> pd.DataFrame:
        """Return the mean of the paths, feature by feature."""
        return self._table(lambda paths: paths.mean(0, dtype=np.float64), FEATURES)

    def median(self) -> pd.DataFrame:
        """Return the median of the paths, feature by feature."""
        return self.quantile(0.5)

    def quantile(self, q: float | Sequence[float]) -> pd.DataFrame:
        """Return quantiles of the paths, for each feature and bar on its own, by the rule of `path_quantiles`.

        Args:
            q: levels in 0..1. One number gives the six features; Q numbers give 6 x Q columns, open_q10, open_q90, high_q10, ...

        Raises:
            ValueError: a q outside 0..1, or twice.
        """
        if np.ndim(q) == 0:
            level = single_fraction(q, "q", closed=True)
            return self._table(lambda paths: path_quantiles(paths, level), FEATURES)
        levels = fractions(q, "q", closed=True)
        columns = [quantile_name(feature, level) for feature in FEATURES for level in levels]
        return self._table(
            # [Q, H, 6] -> [H, 6 Q]
            lambda paths: path_quantiles(paths, levels).transpose(1, 2, 0).reshape(paths.shape[1], -1),
            columns,
        )

    def interval(self, coverage: float) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return (lower, upper): bounds that hold a further path with probability ``coverage``, equal tails outside."""
        level = single_fraction(coverage, "coverage")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def to_frame(
        self,
        layout: Literal["wide", "long"] = "wide",
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        columns: Sequence[str] = FEATURES,
    ) -> pd.DataFrame:
        """Return a plain table for files and databases, with the same columns for one series and for many.

        Args:
            layout: "wide": a row per id and timestamps, with the mean of every feature and the quantiles of the close
                (close_q10, ...). "long": the paths themselves, a row per id, path and timestamps with the features.
            quantiles: of the close, for the wide layout; () for none.
            columns: the features wanted, in that order.

        Raises:
            ValueError: an unknown layout or column, or quantiles outside 0..1.
        """
        wanted = [columns] if isinstance(columns, str) else list(columns)
        if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(FEATURES):
            raise ValueError(f"columns must be some of {', '.join(FEATURES)}, each once, found {wanted!r}")
        if layout == "wide":
            table = self.mean()[wanted].reset_index(drop=True)
            if np.size(quantiles):
                levels = fractions(quantiles, "quantiles", closed=True)
                closes = [path_quantiles(paths[:, :, CLOSE], levels) for paths in self._paths]
                table[[quantile_name("close", q) for q in levels]] = np.concatenate(closes, axis=1).T
            table.insert(0, "timestamps", self._times())
            table.insert(0, "id", self._repeated_ids(1))
            return table
        if layout != "long":
            raise ValueError(f"layout must be 'wide' or 'long', found {layout!r}")
        values = np.concatenate([paths.reshape(-1, len(FEATURES)) for paths in self._paths])
        table = pd.DataFrame(values, columns=list(FEATURES))[wanted]
        numbers = [np.repeat(np.arange(self.n_paths), horizon) for horizon in self.horizons]
        table.insert(0, "timestamps", self._times(self.n_paths))
        table.insert(0, "path", np.concatenate(numbers))
        table.insert(0, "id", self._repeated_ids(self.n_paths))
        return table

    # Figures: one number a series.

    def prob_up(self, step: int | None = None) -> pd.Series:
        """Return the share of paths whose close at ``step`` (1 is the first bar, None the last) is above the last observed one.

        Ties count half.
        """
        return self._at_step("prob_up", step, risk.probability_up)

    def prob(
        self,
        *,
        return_above: float | None = None,
        return_below: float | None = None,
        price_above: float | None = None,
        price_below: float | None = None,
        step: int | None = None,
    ) -> pd.Series:
        """Return the share of paths whose close at ``step`` lies beyond a bound, or between two.

        ``forecast.prob(return_above=0.02, step=5)`` is the probability of a gain of more than 2 % in five bars.

        Args:
            return_above, return_below: of the close over the last observed close, less one (0.02 is 2 %).
            price_above, price_below: of the close itself.
            step: 1 is the first bar, None the last.

        Raises:
            ValueError: no bound, bounds of both kinds, bounds that are no finite numbers, or a lower bound not below the upper one.
        """
        returns, prices = (return_above, return_below), (price_above, price_below)
        given = [pair for pair in (returns, prices) if pair != (None, None)]
        if len(given) != 1:
            what = "none" if not given else "bounds of both kinds"
            raise ValueError(
                f"give return_above, return_below or both; or price_above, price_below or both; found {what}"
            )
        (above, below), kind = given[0], "return" if given[0] is returns else "price"
        above = None if above is None else finite(above, f"{kind}_above")
        below = None if below is None else finite(below, f"{kind}_below")
        if above is not None and below is not None and not above < below:
            raise ValueError(f"{kind}_above={above:g} must be less than {kind}_below={below:g}: no close lies between")

        def of(closes: np.ndarray, last: float) -> float:
            values = risk.simple_returns(closes, last) if kind == "return" else closes.astype(np.float64)
            return risk.probability_between(values, above, below)

        return self._at_step("prob", step, of)

    def expected_return(self, step: int | None = None, *, log: bool = False) -> pd.Series:
        """Return the mean close at ``step`` over the last observed close, less one; with ``log`` the paths' mean log return."""

        def of(closes: np.ndarray, last: float) -> float:
            if log:
                return float(risk.log_returns(closes[:, None], last).mean())
            return float(risk.simple_returns(closes, last).mean())

        return self._at_step("expected_return", step, of)

    def realised_volatility(self, *, paths: bool = False) -> pd.Series | pd.DataFrame:
        """Return the root of the sum of squared log returns of the close over the horizon, from the last observed close on.

        A fraction (0.02 is 2 %) of the horizon, not annualised; the mean of the paths, or with ``paths=True`` every path's,
        [S, P]. NaN for a path with a close that is not positive.
        """
        return self._of_paths("realised_volatility", risk.realised_volatility, paths)

    def max_drawdown(self, *, paths: bool = False) -> pd.Series | pd.DataFrame:
        """Return the largest fall of the close from its peak so far, the last observed close included, as a share of the peak.

        A positive fraction; the mean of the paths, or with ``paths=True`` every path's, [S, P].
        """
        return self._of_paths("max_drawdown", risk.max_drawdown, paths)

    def value_at_risk(self, level: float = 0.95, step: int | None = None) -> pd.Series:
        """Return the loss at ``step`` that the share ``level`` of paths does not exceed, as a positive fraction of the last close.

        Negative where even that path gains.
        """
        level = single_fraction(level, "level")
        return self._at_step(
            "value_at_risk", step, lambda closes, last: risk.value_at_risk(risk.simple_returns(closes, last), level)
        )

    def expected_shortfall(self, level: float = 0.95, step: int | None = None) -> pd.Series:
        """Return the mean loss at ``step`` of the worst ``1 - level`` of paths, as a positive fraction of the last close."""
        level = single_fraction(level, "level")
        return self._at_step(
            "expected_shortfall",
            step,
            lambda closes, last: risk.expected_shortfall(risk.simple_returns(closes, last), level),
        )

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Return a table with a row for each series.

        Its columns: horizon, last observed close, mean and 10 %, 50 % and 90 % quantile of the close at the last bar, and the
        figures above at that bar; value at risk and expected shortfall at ``level``."""
        last = self._known_last()
        ends = [paths[:, -1, CLOSE].astype(np.float64) for paths in self._paths]
        quantiles = np.array([path_quantiles(end, [0.1, 0.5, 0.9]) for end in ends])
        table = pd.DataFrame({"horizon": self.horizons, "last_close": last[:, CLOSE]}, index=self._id_index())
        table["mean_close"] = [end.mean() for end in ends]
        for place, q in enumerate((0.1, 0.5, 0.9)):
            table[quantile_name("close", q)] = quantiles[:, place]
        for figure in (
            self.prob_up(),
            self.expected_return(),
            self.realised_volatility(),
            self.max_drawdown(),
            self.value_at_risk(level),
            self.expected_shortfall(level),
        ):
            table[figure.name] = figure  # type: ignore[union-attr]
        return table

    # Files and pictures.

    def save(self, path: str | Path) -> None:
        """Write one Parquet file, whole or not at all, from which `load` restores everything but the history, to the bit.

        Other programs see the long table of `to_frame`.
        """
        from kronos.forecast.parquet import to_parquet
        from kronos.io.atomic import write_file

        target = output_path(path, (".parquet",))
        write_file(target, to_parquet(self))

    @staticmethod
    def load(path: str | Path) -> Forecast:
        """Read a forecast that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no forecast, is damaged, or comes from a newer version.
        """
        from kronos.forecast.parquet import from_parquet

        return from_parquet(Path(path), Forecast)

    def plot(
        self,
        id: int | str | None = None,
        path: str | Path | None = None,
        *,
        kind: str | None = None,
        history_bars: int | None = None,
        truth: pd.DataFrame | None = None,
        coverages: Sequence[float] = (0.5, 0.8, 0.95),
        samples: int = 0,
        title: str | None = None,
    ) -> Picture | None:
        """Draw the fan chart of one series after its candles.

        Args:
            id: which series; may be left out where there is one.
            path: write the picture there, a .png, .svg or .pdf; None: return its bytes (shown as an image by a notebook).
            kind: "png", "svg" or "pdf" without a path; default png.
            history_bars: how many bars of the history to draw; default three times the horizon, at least 60.
            truth: the bars that really came, indexed by time; their close is drawn where the times are the forecast's.
            coverages: shares of the paths that the bands of the fan hold, each between 0 and 1.
            samples: how many single paths to draw as thin lines.
            title: default the id; of a series without one, the number of bars.
        """
        from kronos.forecast.charts import charts_of
        from kronos.io.atomic import write_file
        from kronos.plotting.matplotlib_fan import FORMATS, forecast_picture

        one = self._one(id)
        target = None if path is None else output_path(path, tuple(f".{ending}" for ending in FORMATS))
        if target is not None:
            ending = target.suffix.lower()[1:]
            if kind not in (None, ending):
                raise ValueError(f"kind is {kind!r}, but the file is to be called {target.name}; leave kind out")
            kind = ending
        bars = {} if truth is None else {one.ids[0]: truth}
        (chart,) = charts_of(one, history_bars, bars, coverages, samples)
        name = self._names()[self.ids.index(one.ids[0])] if title is None else title
        picture = forecast_picture(**chart._asdict(), title=name, kind=kind or "png")
        if target is None:
            return picture
        write_file(target, picture)
        return None

    def to_html(
        self,
        path: str | Path | None = None,
        *,
        history_bars: int | None = None,
        truth: pd.DataFrame | Mapping[int | str, pd.DataFrame] | None = None,
        coverages: Sequence[float] = (0.5, 0.8, 0.95),
        samples: int = 0,
        title: str = "Forecast",
    ) -> str | None:
        """Write an interactive page with the candles and the fan of every series, in one file that works offline.

        Several series are chosen from a list. Arguments as for `plot`; ``truth`` of several series is a mapping by id.
        Returns the page, or writes it to ``path`` (.html).

        Raises:
            ValueError: more than 50 series, or a wrong argument.
        """
        from kronos.forecast.charts import charts_of
        from kronos.io.atomic import write_file
        from kronos.plotting.plotly_fan import chart_page

        if len(self) > MOST_ON_A_PAGE:
            raise ValueError(
                f"a page can show {MOST_ON_A_PAGE} series, this forecast has {len(self)}; choose some of them, "
                f"such as forecast[[{self._ids[0]!r}, {self._ids[1]!r}]].to_html(...)"
            )
        target = None if path is None else output_path(path, (".html", ".htm"))
        if truth is not None and not isinstance(truth, Mapping):
            if len(self) > 1:
                raise ValueError(f"truth of several series must be a mapping, such as {{{self._ids[0]!r}: table}}")
            truth = {self._ids[0]: truth}
        charts = charts_of(self, history_bars, truth or {}, coverages, samples)
        facts = None if self._last is None else self.summary()
        page = chart_page(charts, self._names(), title, facts)
        if target is None:
            return page
        write_file(target, page.encode())
        return None

    def _repr_html_(self) -> str:
        """Return the chart and a table as HTML for notebooks, without scripts, for light and dark themes."""
        from kronos.forecast.notebook import notebook_html

        return notebook_html(self)

    # What the above share.

    def _names(self) -> list[str]:
        """Return the titles: the ids, or the number of bars for one series without a name."""
        if len(self) == 1 and not isinstance(self._ids[0], str):
            return [f"the next {self.horizons[0]} bars" if self.horizons[0] > 1 else "the next bar"]
        return [one if isinstance(one, str) else f"series {one}" for one in self._ids]

    def _table(self, of: Callable[[np.ndarray], np.ndarray], columns: Sequence[str]) -> pd.DataFrame:
        """``of`` the paths [P, H, 6] of every series -> [H, C], one below the other."""
        times = self._times()
        index = times
        if len(self) > 1:
            index = pd.MultiIndex.from_arrays([self._repeated_ids(1), times], names=["id", "timestamps"])  # type: ignore[assignment]
        return pd.DataFrame(np.concatenate([of(paths) for paths in self._paths]), index=index, columns=list(columns))

    def _at_step(self, name: str, step: int | None, of: Callable[[np.ndarray, float], float]) -> pd.Series:
        """``of`` the closes [P] at a step and the last observed close, series by series."""
        last = self._known_last()[:, CLOSE]
        if step is not None:
            step = whole(step, "step", 1)
            shortest = min(self.horizons)
            if step > shortest:
                short = self._ids[self.horizons.index(shortest)]
                raise ValueError(f"step {step} is beyond the horizon of series {short!r}, which is {shortest}")
        closes = [paths[:, -1 if step is None else step - 1, CLOSE] for paths in self._paths]
        return pd.Series(
            [of(c, float(x)) for c, x in zip(closes, last, strict=True)], index=self._id_index(), name=name, dtype=float
        )

    def _of_paths(
        self, name: str, of: Callable[[np.ndarray, float], np.ndarray], paths: bool
    ) -> pd.Series | pd.DataFrame:
        """``of`` the closes [P, H] and the last observed close -> [P], series by series; their mean, or all."""
        last = self._known_last()[:, CLOSE]
        every = np.stack([of(p[:, :, CLOSE], float(x)) for p, x in zip(self._paths, last, strict=True)])
        if paths:
            return pd.DataFrame(every, index=self._id_index(), columns=pd.RangeIndex(self.n_paths, name="path"))
        return pd.Series(every.mean(1), index=self._id_index(), name=name)
