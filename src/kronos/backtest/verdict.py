"""Results of a backtest in sentences."""

from __future__ import annotations

import math
from typing import Any

CONVINCING = 2.0
"""Standard errors from zero (t) below which a result is called no better than chance."""


def verdict(report: dict[str, Any]) -> list[str]:
    """Return sentences: for each traded signal its return against the benchmark after costs, then how it ranked instruments."""
    lines = []
    for name, result in report["strategy"].items():
        lines += [_earned(name, result, str(report["benchmark"])), _compared(result), _ranked(name, report)]
    first = next(iter(report["strategy"].values()))["totals"]
    lines.append(
        f"One period of {first['days']} days is one trial; past results say little about the future, and this is no advice."
    )
    return lines


def _earned(name: str, result: dict[str, Any], benchmark: str) -> str:
    totals = result["totals"]
    return (
        f"Traded by the signal “{name}” from {totals['first']} to {totals['last']} ({totals['days']} days), the strategy made "
        f"{totals['strategy_without_cost']:+.1%} before and {totals['strategy_with_cost']:+.1%} after costs; the benchmark "
        f"({benchmark}) made {totals['benchmark']:+.1%} (sums of daily returns)."
    )


def _compared(result: dict[str, Any]) -> str:
    totals, risk = result["totals"], result["risk"]["excess_return_with_cost"]
    excess, t = totals["excess_return_with_cost"], totals["t_of_excess_with_cost"]
    side = "ahead of" if excess > 0 else "behind"
    text = (
        f"After costs it was {abs(excess) * 100:.1f} points {side} the benchmark: information ratio "
        f"{risk['information_ratio']:.2f}, largest fall of the excess return {abs(risk['max_drawdown']):.1%}; costs took "
        f"{totals['cost'] * 100:.1f} points."
    )
    if not math.isfinite(t):
        return text
    if abs(t) < CONVINCING:
        return f"{text} The difference is within what chance gives (t = {t:.1f})."
    return f"{text} That is more than chance usually gives (t = {t:.1f}), {'in its favour' if t > 0 else 'against it'}."


def _ranked(name: str, report: dict[str, Any]) -> str:
    horizon = report["horizon"]
    score = report["ic"][name][f"{horizon}d"]
    t = score["t"]
    if not math.isfinite(t):
        return f"How it ranked instruments over {horizon} days cannot be said: too few instruments or days."
    how = "no better than chance" if abs(t) < CONVINCING else "better than chance" if t > 0 else "worse than chance"
    return (
        f"Over {horizon} days it ranked instruments {how}: mean RankIC {score['rank_ic']:+.4f}, "
        f"RankICIR {score['rank_icir']:+.2f}, "
        f"above zero on {score['days_above_zero']:.0%} of {score['days']} days (t = {t:.1f})."
    )
