"""Simulated trading of a signal by Qlib: its TopkDropoutStrategy with costs, and its risk analysis.

The signal of a day is traded on the next one. The ``topk`` best instruments are held in equal shares; each day at most ``n_drop``
of them are replaced, none before it was held for ``hold_thresh`` days.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.finetune.config import FinetuneConfig

NO_LIMIT = 1e9
"""Daily price limit, as a share, that is never reached; Qlib replaces None by the region's limit."""
FIGURES = ("mean", "std", "annualized_return", "information_ratio", "max_drawdown")
STRATEGY = ("strategy_without_cost", "strategy_with_cost")
CURVES = ("benchmark", "excess_return_without_cost", "excess_return_with_cost")


def check_held(config: FinetuneConfig, instruments: int) -> None:
    """Check that there are more instruments than are to be held.

    Raises:
        ValueError: there are no more, so that the signal would select nothing.
    """
    if config.backtest_n_symbol_hold >= instruments:
        raise KronosError(
            f"backtest_n_symbol_hold is {config.backtest_n_symbol_hold}, but the signal has {instruments} instruments: with all of "
            f"them held it would choose nothing; lower it, such as ",
            Argument("backtest_n_symbol_hold", max(1, instruments // 5)),
        )


def last_tradable(calendar: pd.DatetimeIndex, last: pd.Timestamp) -> pd.Timestamp:
    """Return the last day to trade: Qlib's simulator needs a day of the calendar after it.

    Raises:
        ValueError: the calendar has fewer than two days.
    """
    if len(calendar) < 2:
        raise ValueError("a calendar of at least two days is needed")
    return min(calendar[calendar <= last][-1], calendar[-2])


def simulate(
    signal: pd.DataFrame,
    column: str,
    config: FinetuneConfig,
    first: pd.Timestamp,
    last: pd.Timestamp,
    benchmark: str | Sequence[str],
    verbose: bool = True,
) -> pd.DataFrame:
    """Simulate trading by a column of a table of signals (datetime, instrument, ...) from ``first`` to ``last``.

    ``benchmark`` is an instrument, or several whose mean daily change is taken. Qlib must have been initialised.

    Returns:
        A row for each day: account, return (before costs), total_turnover, turnover, total_cost, cost, value, cash, bench.

    Raises:
        ValueError: as `check_held`.
    """
    with contextlib.redirect_stderr(io.StringIO()):  # a package that Qlib imports advertises its successor
        from qlib.backtest import backtest
        from qlib.backtest.executor import SimulatorExecutor
        from qlib.contrib.strategy.signal_strategy import TopkDropoutStrategy

    scores = signal.dropna(subset=[column]).set_index(["instrument", "datetime"])[column].sort_index()
    names = sorted(scores.index.get_level_values("instrument").unique())
    check_held(config, len(names))
    strategy = TopkDropoutStrategy(
        signal=scores,
        topk=config.backtest_n_symbol_hold,
        n_drop=config.backtest_n_symbol_drop,
        hold_thresh=config.backtest_hold_thresh,
    )
    limit = config.backtest_limit_threshold
    exchange = {
        "freq": "day",
        "codes": names,
        "limit_threshold": float(limit) if limit else NO_LIMIT,
        "deal_price": config.backtest_deal_price,
        "open_cost": config.backtest_open_cost,
        "close_cost": config.backtest_close_cost,
        "min_cost": config.backtest_min_cost,
    }
    with _quiet(verbose):
        portfolio, _ = backtest(
            start_time=first,
            end_time=last,
            strategy=strategy,
            executor=SimulatorExecutor(time_per_step="day", generate_portfolio_metrics=True),
            benchmark=benchmark if isinstance(benchmark, str) else list(benchmark),
            account=config.backtest_account,
            exchange_kwargs=exchange,
        )
    report, _ = portfolio["1day"]
    return report


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Suppress warnings about means over days without trades and, unless verbose, Qlib's progress bar."""
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
        if not verbose:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def curves_of(report: pd.DataFrame) -> pd.DataFrame:
    """Return daily returns: strategy before and after costs, benchmark, and excess return before and after costs."""
    with_cost = report["return"] - report["cost"]
    return pd.DataFrame(
        {
            "strategy_without_cost": report["return"],
            "strategy_with_cost": with_cost,
            "benchmark": report["bench"],
            "excess_return_without_cost": report["return"] - report["bench"],
            "excess_return_with_cost": with_cost - report["bench"],
        }
    )


def risk_of(report: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Run Qlib's risk analysis of the benchmark and of the excess return before and after costs: `FIGURES` of each of `CURVES`.

    Qlib sums daily returns instead of compounding them, and counts 238 days a year.
    """
    from qlib.contrib.evaluate import risk_analysis

    curves = curves_of(report)
    result = {}
    for name in CURVES:
        risk = risk_analysis(curves[name], freq="day")["risk"]
        result[name] = {figure: _finite(risk[figure]) for figure in FIGURES}
    return result


def totals_of(report: pd.DataFrame) -> dict[str, Any]:
    """Return totals over the whole time: sums of daily returns, and costs and turnover of trading."""
    curves = curves_of(report)
    return {
        "days": len(report),
        "first": str(report.index[0].date()),
        "last": str(report.index[-1].date()),
        **{name: _finite(curves[name].sum()) for name in STRATEGY + CURVES},
        "account_at_end": _finite(report["account"].iloc[-1]),
        "mean_daily_turnover": _finite(report["turnover"].mean()),
        "cost": _finite(report["cost"].sum()),
        # Below 2 in size, chance alone gives such an excess return often.
        "t_of_excess_with_cost": _finite(
            curves["excess_return_with_cost"].mean()
            / curves["excess_return_with_cost"].std(ddof=1)
            * math.sqrt(max(1, len(report)))
        ),
    }


def _finite(value: Any) -> float:
    """Return a finite number, or NaN, which the report writes as null."""
    number = float(value)
    return number if math.isfinite(number) else math.nan
