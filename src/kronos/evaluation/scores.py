"""Scores by market and frequency, and the leaderboard with its tests. Pure functions of the table of forecasts.

A *relative* loss is a loss divided by the mean loss of the reference in the same group (market and frequency), so that no group
dominates. Every score has a block-bootstrap interval, ``name_low`` and ``name_high``; NaN where there are few blocks.

Legend: N windows of one model, B bootstrap samples, T blocks, K columns of a statistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.evaluation.statistics import STATISTICS
from kronos.evaluation.window_losses import GROUP, window_losses
from kronos.metrics.significance import LEAST_BLOCKS, Blocks, LossComparison, holm, percentiles

POINT, DISTRIBUTION = "mase", "crps"
OF_WINDOWS = ("covered", "direction", "relative_mase", "relative_crps")
"""Scores that the leaderboard takes over all windows; the others are means over groups, as in the paper."""


@dataclass(frozen=True)
class Scores:
    """All scores of an evaluation.

    Attributes:
        losses: a row for each model and window.
        groups: a row for each model, market and frequency: every score, and relative losses.
        leaderboard: a row for each model: means of the groups' scores, relative losses with intervals, and tests.
        steps: relative losses by step of the horizon.
        reference, distribution_reference: models that points and distributions are compared with.
    """

    losses: pd.DataFrame
    groups: pd.DataFrame
    leaderboard: pd.DataFrame
    steps: pd.DataFrame
    reference: str
    distribution_reference: str


def score(
    forecasts: pd.DataFrame, *, reference: str = "last", distribution_reference: str | None = None, seed: int = 0
) -> Scores:
    """Compute all scores of a table of forecasts.

    Args:
        reference: the model that points are compared with.
        distribution_reference: the model that distributions are compared with; default the same.
        seed: of the bootstrap.

    Raises:
        ValueError: a reference that is no model of the table, or models with different windows.
    """
    losses = window_losses(forecasts)
    models = list(dict.fromkeys(losses["model"]))
    distribution = distribution_reference or reference
    for name in (reference, distribution):
        if name not in models:
            raise ValueError(f"the reference {name!r} is not among the models: {', '.join(models)}")
    _check_same_windows(losses, models)
    losses["relative_mase"] = _relative(losses, POINT, reference)
    losses["relative_crps"] = _relative(losses, DISTRIBUTION, distribution)
    groups = _group_table(losses, reference, distribution, seed)
    board = _leaderboard(losses, groups, models, reference, distribution, seed)
    return Scores(losses, groups, board, _by_step(forecasts, reference, distribution), reference, distribution)


def _check_same_windows(losses: pd.DataFrame, models: list[str]) -> None:
    counts = losses.groupby("model").size()
    if counts.nunique() > 1:
        raise ValueError(f"the models were not asked for the same windows: {counts.to_dict()}")
    keys = [set(map(tuple, part[["id", "cutoff"]].to_numpy())) for _, part in losses.groupby("model")]
    if any(k != keys[0] for k in keys):
        raise ValueError("the models were not asked for the same windows")


def _relative(losses: pd.DataFrame, loss: str, reference: str) -> np.ndarray:
    """Return losses over the reference's mean loss in the same group; NaN where that is zero."""
    of_reference = losses[losses["model"] == reference].groupby(GROUP)[loss].mean()
    below = of_reference.reindex(pd.MultiIndex.from_frame(losses[GROUP])).to_numpy()
    return np.divide(losses[loss].to_numpy(), below, out=np.full(len(losses), np.nan), where=below > 0)


def _group_table(losses: pd.DataFrame, reference: str, distribution: str, seed: int) -> pd.DataFrame:
    """Compute every score of every model in every group."""
    rows = []
    for (market, frequency), inside in losses.groupby(GROUP, sort=False):
        by_model = {model: part.sort_values(["id", "cutoff"]) for model, part in inside.groupby("model", sort=False)}
        some = next(iter(by_model.values()))
        blocks = Blocks.of(some["cutoff"], some["end"], seed)
        for model, part in by_model.items():
            row = {"model": model, "market": market, "frequency": frequency, "windows": len(part)}
            row |= {"series": part["id"].nunique(), "horizon": int(part["horizon"].iloc[0]), "blocks": blocks.count}
            for name, statistic in STATISTICS.items():
                columns = statistic.columns(part)
                row[name] = float(statistic.of(columns.sum(0)))
                row[f"{name}_low"], row[f"{name}_high"] = blocks.interval(columns, statistic.of)
            for name, against in ((POINT, reference), (DISTRIBUTION, distribution)):
                row |= _against(name, part, by_model[against], blocks)
            rows.append(row)
    return pd.DataFrame(rows)


def _leaderboard(
    losses: pd.DataFrame, groups: pd.DataFrame, models: list[str], reference: str, distribution: str, seed: int
) -> pd.DataFrame:
    by_model = {m: part.sort_values(["id", "cutoff"]) for m, part in losses.groupby("model", sort=False)}
    blocks = Blocks.of(by_model[models[0]]["cutoff"], by_model[models[0]]["end"], seed)
    rows = []
    for model in models:
        part, of_groups = by_model[model], groups[groups["model"] == model]
        row: dict[str, object] = {"model": model, "windows": len(part), "groups": len(of_groups)}
        row |= {"blocks": blocks.count, "block_days": blocks.days}
        for name, statistic in STATISTICS.items():
            if name in OF_WINDOWS:
                row[name] = statistic.value(part)
                row[f"{name}_low"], row[f"{name}_high"] = blocks.interval(statistic.columns(part), statistic.of)
            else:
                row[name] = of_groups[name].mean()
                row[f"{name}_low"], row[f"{name}_high"] = _interval_over_groups(part, name, blocks)
        for name, against in ((POINT, reference), (DISTRIBUTION, distribution)):
            row |= _against(name, part, by_model[against], blocks)
            row[f"{name}_groups_better"] = int((of_groups[f"relative_{name}"] < 1).sum())
        rows.append(row)
    board = pd.DataFrame(rows)
    for name in (POINT, DISTRIBUTION):
        board[f"{name}_p_adjusted"] = holm(board[f"{name}_p"].to_numpy(np.float64))
    return board


def _against(name: str, part: pd.DataFrame, other: pd.DataFrame, blocks: Blocks) -> dict[str, float]:
    """Test the difference to the reference, and compute the interval of the relative loss."""
    difference = np.nan_to_num(part[f"relative_{name}"].to_numpy() - other[f"relative_{name}"].to_numpy())
    test = blocks.test(difference) if difference.any() else _SAME
    columns = np.column_stack((difference + 1, np.ones(len(difference))))
    low, high = blocks.interval(columns, lambda s: s[..., 0] / s[..., 1])
    return {
        f"relative_{name}_low": low,
        f"relative_{name}_high": high,
        f"{name}_statistic": test.statistic,
        f"{name}_p": test.p,
    }


def _interval_over_groups(part: pd.DataFrame, name: str, blocks: Blocks) -> tuple[float, float]:
    """Return the interval of the mean over groups; each bootstrap sample takes the same blocks of time in all groups."""
    if blocks.count < LEAST_BLOCKS:
        return float("nan"), float("nan")
    statistic = STATISTICS[name]
    drawn = []
    codes = part.groupby(GROUP, sort=False).ngroup().to_numpy()
    for code in range(codes.max() + 1):
        rows = codes == code
        inside = statistic.columns(part[rows])
        columns = np.zeros((len(part), inside.shape[1]))
        columns[rows] = inside
        drawn.append(statistic.of(blocks.drawn @ blocks.sums(columns)))
    each = np.stack(drawn)
    known = np.isfinite(each)
    total = np.where(known, each, 0.0).sum(0)
    return percentiles(np.divide(total, known.sum(0), out=np.full(len(total), np.nan), where=known.any(0)))


_SAME = LossComparison(0.0, 0.0, float("nan"), 0)
"""Result for equal forecasts: nothing to test, and not counted in the correction for multiple tests."""


def _by_step(forecasts: pd.DataFrame, reference: str, distribution: str) -> pd.DataFrame:
    """Return absolute error and CRPS at each step, over the references' at that step, by frequency, model and step."""
    f = forecasts[["model", "frequency", "step"]].copy()
    f["model"], f["frequency"] = f["model"].astype("str"), f["frequency"].astype("str")
    f["mase"] = (forecasts["mean"] - forecasts["y"]).abs() / forecasts["unit"]
    f["crps"] = forecasts["crps"] / forecasts["unit"]
    means = f.groupby(["model", "frequency", "step"], sort=False)[["mase", "crps"]].mean()
    for name, against in (("mase", reference), ("crps", distribution)):
        of_reference: pd.Series = means[name].xs(against, level="model")
        below = of_reference.reindex(pd.MultiIndex.from_frame(means.index.to_frame()[["frequency", "step"]])).to_numpy()
        means[f"relative_{name}"] = means[name].to_numpy() / np.where(below > 0, below, np.nan)
    return means.reset_index()
