"""Results of an evaluation in plain sentences that claim no more than the tests show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.evaluation.scores import Scores
from kronos.metrics.significance import LEAST_BLOCKS

ALPHA = 0.05
NAMES = {
    "last": "the last price",
    "bootstrap": "the bootstrap random walk",
    "drift": "the drift",
    "seasonal": "the seasonal naive",
}


def _named(reference: str, what: str) -> str:
    """Return the reference's name for a sentence; as a distribution the last price is a random walk."""
    if reference == "last" and what == "as a distribution":
        return "the last price with a random walk's intervals"
    return NAMES.get(reference, reference)


def judged(relative: float, p: float, blocks: int) -> str:
    """Return "better", "worse", "not distinguishable" or "too little data", from a relative loss and its adjusted p."""
    if blocks < LEAST_BLOCKS:
        return "too little data"
    if not np.isfinite(p) or p >= ALPHA:
        return "not distinguishable"
    return "better" if relative < 1 else "worse"


def sentence(row: pd.Series, scores: Scores) -> str:
    """Compare one model with the references, as a point forecast and as a distribution."""
    parts = [
        _half(row, "mase", scores.reference, "as a point forecast", "error"),
        _half(row, "crps", scores.distribution_reference, "as a distribution", "CRPS"),
    ]
    said = "; ".join(part for part in parts if part)
    return f"{row['model']}: {said}." if said else f"{row['model']}: the reference."


def _half(row: pd.Series, loss: str, reference: str, what: str, word: str) -> str:
    if row["model"] == reference:
        return ""
    relative, p = float(row[f"relative_{loss}"]), float(row[f"{loss}_p_adjusted"])
    other = _named(reference, what)
    verdict = judged(relative, p, int(row["blocks"]))
    if row[f"{loss}_statistic"] == 0 and not np.isfinite(p):
        return f"{what} the same as {other}"
    low, high = float(row[f"relative_{loss}_low"]), float(row[f"relative_{loss}_high"])
    figures = f"{word} {_percent(relative)}"
    if np.isfinite(low):
        figures += f", 95 % interval {_percent(low, short=True)} to {_percent(high, short=True)}"
    if np.isfinite(p):
        figures += f", adjusted p {_p(p)}"
    if verdict == "too little data":
        return f"{what} nothing can be said against {other}: {int(row['blocks'])} independent periods are too few ({figures})"
    joined = f"{verdict} from {other}" if verdict == "not distinguishable" else f"{verdict} than {other}"
    return f"{what} {joined} ({figures})"


def _percent(relative: float, short: bool = False) -> str:
    change = 100 * (relative - 1)
    if short:
        return f"{change:+.1f} %"
    return f"{abs(change):.1f} % {'lower' if change < 0 else 'higher'}"


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def sentences(scores: Scores, models: list[str] | None = None) -> list[str]:
    """Return a sentence for each model, in order of the leaderboard."""
    board = scores.leaderboard
    return [sentence(row, scores) for _, row in board.iterrows() if models is None or row["model"] in models]


def headline(scores: Scores, models: list[str]) -> list[str]:
    """Return the summary: results of the models that are no baselines, and whether any model was better than the last price."""
    board = scores.leaderboard
    reference = NAMES.get(scores.reference, scores.reference)
    better = [
        str(row["model"])
        for _, row in board.iterrows()
        if row["model"] != scores.reference
        and judged(float(row["relative_mase"]), float(row["mase_p_adjusted"]), int(row["blocks"])) == "better"
    ]
    wider = [
        str(row["model"])
        for _, row in board.iterrows()
        if row["model"] != scores.distribution_reference
        and judged(float(row["relative_crps"]), float(row["crps_p_adjusted"]), int(row["blocks"])) == "better"
    ]
    blocks, days = int(board["blocks"].iloc[0]), board["block_days"].iloc[0]
    lines = sentences(scores, models)
    for _, row in board[board["model"].isin(models)].iterrows():
        lines.append(_calibration(row))
    if blocks < LEAST_BLOCKS:
        lines.append(
            f"The data holds only {blocks} independent periods of {days:.0f} days: too few to tell skill from luck. "
            "Give more time, or a shorter horizon."
        )
    elif better:
        lines.append(f"Better than {reference} as point forecasts: {', '.join(better)}.")
    else:
        lines.append(f"No model was better than {reference} as a point forecast.")
    if wider:
        other = _named(scores.distribution_reference, "as a distribution")
        lines.append(f"Better than {other} as distributions: {', '.join(wider)}.")
    lines.append("Past accuracy is no promise, and this is no advice.")
    return lines


def _calibration(row: pd.Series) -> str:
    covered, low, high = (float(row[c]) for c in ("covered", "covered_low", "covered_high"))
    text = f"{row['model']}: 80 % intervals held the truth {100 * covered:.0f} % of the time"
    if not np.isfinite(low):
        return text + "."
    text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    if low <= 0.8 <= high:
        return text + ": as they should, as far as can be told."
    return text + (": they are too narrow." if high < 0.8 else ": they are too wide.")
