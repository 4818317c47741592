"""From the table of forecasts to losses a window, scores a group, and the leaderboard. Pure functions of the table.

Losses of different series are made comparable by the lookback's mean absolute change (``unit``). A *relative* loss is one over
the mean loss of the reference in the same group (market and frequency), so that every window counts the same and no group rules.

Legend: N windows of one model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.evaluation import metrics
from kronos.evaluation.significance import Blocks, Test, holm
from kronos.evaluation.table import KEYS, QUANTILES
from kronos.evaluation.tasks import LEVELS

LOWER, UPPER = "q0.1", "q0.9"
COVERAGE = 0.8
LEAST_OF_A_DAY = 5
"""Series that a cross-section of one day needs."""
GROUP = ["market", "frequency"]

POINT, DISTRIBUTION = "mase", "crps"

MEANS = {
    "mase": "mean absolute error over the lookback's mean absolute change",
    "rmse": "root mean squared error, in the same unit",
    "mape": "mean absolute percentage error, %",
    "pinball": "mean quantile loss over 11 levels, in the same unit",
    "crps": "continuous ranked probability score, in the same unit",
    "energy": "energy score of the paths, in the same unit",
    "covered": "share of closes inside the 80 % interval",
    "width": "width of the 80 % interval, in the same unit",
    "direction": "share of windows whose last close moved the way that was forecast",
    "price_ic": "correlation over time of forecast and true path, averaged over the four prices",
    "price_rank_ic": "the same of ranks",
    "qlike": "QLIKE of the forecast realised variance",
}
POOLED = {
    "return_ic": "correlation over windows of forecast and true return over the horizon",
    "return_rank_ic": "the same of ranks",
    "volatility_mae": "mean absolute error of realised variance, over the mean of the true one",
    "volatility_r2": "1 - SSE / SST of realised variance",
    "daily_ic": "mean over days of the correlation across series (rank)",
    "daily_icir": "the same over its standard deviation",
}


def window_losses(forecasts: pd.DataFrame) -> pd.DataFrame:
    """One row a model and window: its losses, and the returns and variances that pooled scores are made of."""
    f = forecasts
    y, mean, unit = (f[c].to_numpy(np.float64) for c in ("y", "mean", "unit"))
    q = f[QUANTILES].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = pd.DataFrame(
            {
                "mase": np.abs(mean - y) / unit,
                "square": np.square((mean - y) / unit),
                "mape": np.where(y != 0, 100 * np.abs((mean - y) / y), np.nan),
                "pinball": metrics.pinball(y, q, np.array(LEVELS)).mean(-1) / unit,
                "crps": f["crps"].to_numpy() / unit,
                "covered": ((y >= f[LOWER]) & (y <= f[UPPER])).to_numpy(np.float64),
                "width": (f[UPPER] - f[LOWER]).to_numpy(np.float64) / unit,
            }
        )
    first = np.flatnonzero(f["step"].to_numpy() == 1)
    length = np.diff(np.append(first, len(f)))
    out = pd.DataFrame(np.add.reduceat(rows.to_numpy(), first, axis=0) / length[:, None], columns=rows.columns)
    out["rmse"] = np.sqrt(out.pop("square"))
    at, end = f.iloc[first].reset_index(drop=True), f.iloc[first + length - 1].reset_index(drop=True)
    for name in (*KEYS, *GROUP):
        out[name] = at[name].astype("str") if name != "cutoff" else at[name]
    out["end"], out["horizon"] = end["timestamp"], length
    last = at["last"].to_numpy()
    out["return_forecast"], out["return_true"] = end["mean"] / last - 1, end["y"] / last - 1
    called, moved = np.sign(end["mean"] - last), np.sign(end["y"] - last)
    out["direction"] = np.where((called != 0) & (moved != 0), (called == moved).astype(float), np.nan)
    out["variance_forecast"] = at["variance"]
    out["variance_true"] = _variances(f["y"].to_numpy(np.float64), last, first, length)
    out["qlike"] = metrics.qlike(out["variance_forecast"], out["variance_true"])
    out["energy"] = at["energy"] / at["unit"]
    out["price_ic"], out["price_rank_ic"] = at["price_ic"], at["price_rank_ic"]
    return out


def _variances(y: np.ndarray, last: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Realised variance of each window from the closes of all of them, one after the other."""
    before = np.roll(y, 1)
    before[first] = last
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where((y > 0) & (before > 0), np.square(np.log(y / before)), np.nan)
    return np.add.reduceat(squared, first)


def pooled(rows: pd.DataFrame) -> dict[str, float]:
    """Scores of one model in one group that are no mean of windows'."""
    forecast, true = rows["return_forecast"].to_numpy(), rows["return_true"].to_numpy()
    variance, realised = rows["variance_forecast"].to_numpy(), rows["variance_true"].to_numpy()
    daily = daily_correlations(rows)
    enough = len(rows) >= 3
    spread = float(daily.std(ddof=1)) if len(daily) > 2 else float("nan")
    return {
        "return_ic": float(metrics.correlation(forecast, true)) if enough else float("nan"),
        "return_rank_ic": float(metrics.rank_correlation(forecast, true)) if enough else float("nan"),
        "volatility_mae": float(np.abs(variance - realised).mean() / realised.mean()) if realised.mean() > 0 else float("nan"),
        "volatility_r2": metrics.r_squared(variance, realised),
        "daily_ic": float(daily.mean()) if len(daily) else float("nan"),
        "daily_icir": float(daily.mean() / spread) if spread > 0 else float("nan"),
    }


def daily_correlations(rows: pd.DataFrame) -> pd.Series:
    """RankIC across series of each day with at least five of them, indexed by day (and without days of constant forecasts)."""
    result = {}
    for day, part in rows.groupby(rows["cutoff"].dt.normalize()):
        one = part.drop_duplicates("id", keep="last")
        if len(one) >= LEAST_OF_A_DAY:
            result[day] = float(metrics.rank_correlation(one["return_forecast"].to_numpy(), one["return_true"].to_numpy()))
    return pd.Series(result, dtype=float).dropna()


@dataclass(frozen=True)
class Scores:
    """All scores of an evaluation.

    Attributes:
        losses: a row a model and window.
        groups: a row a model, market and frequency: every score, and relative losses.
        leaderboard: a row a model: means of the groups' scores, relative losses with intervals, and tests.
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
    """Everything that can be said of a table of forecasts.

    Args:
        reference: the model that points are compared with. distribution_reference: that distributions are compared with, by
            default the bootstrap random walk where it is there, else the reference.

    Raises:
        ValueError: a reference that is no model of the table, or models that were not asked the same.
    """
    losses = window_losses(forecasts)
    models = list(dict.fromkeys(losses["model"]))
    distribution = distribution_reference or ("bootstrap" if "bootstrap" in models else reference)
    for name in (reference, distribution):
        if name not in models:
            raise ValueError(f"the reference {name!r} is not among the models: {', '.join(models)}")
    _check_same_windows(losses, models)
    losses["relative_mase"] = _relative(losses, POINT, reference)
    losses["relative_crps"] = _relative(losses, DISTRIBUTION, distribution)
    groups = _group_table(losses, seed)
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
    """Loss over the reference's mean loss in the same group; NaN where that is zero."""
    of_reference = losses[losses["model"] == reference].groupby(GROUP)[loss].mean()
    below = of_reference.reindex(pd.MultiIndex.from_frame(losses[GROUP])).to_numpy()
    return np.divide(losses[loss].to_numpy(), below, out=np.full(len(losses), np.nan), where=below > 0)


def _group_table(losses: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every score of every model in every group, with block-bootstrap intervals (NaN where blocks are too few)."""
    rows = []
    for market, frequency in losses[GROUP].drop_duplicates().itertuples(index=False):
        inside = losses[(losses["market"] == market) & (losses["frequency"] == frequency)]
        by_model = {model: part.sort_values(["id", "cutoff"]) for model, part in inside.groupby("model", sort=False)}
        some = next(iter(by_model.values()))
        blocks = Blocks.of(some["cutoff"], some["end"], seed)
        for model, part in by_model.items():
            row = {"model": model, "market": market, "frequency": frequency, "windows": len(part)}
            row |= {"series": part["id"].nunique(), "horizon": int(part["horizon"].iloc[0]), "blocks": blocks.count}
            for name in (*MEANS, "relative_mase", "relative_crps"):
                values = part[name].to_numpy(np.float64)
                row[name] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
                row[f"{name}_low"], row[f"{name}_high"] = blocks.interval_of_mean(values)
            row |= pooled(part)
            row["return_ic_low"], row["return_ic_high"] = blocks.interval_of_correlation(
                part["return_forecast"].to_numpy(), part["return_true"].to_numpy()
            )
            rows.append(row)
    return pd.DataFrame(rows)


def _leaderboard(
    losses: pd.DataFrame, groups: pd.DataFrame, models: list[str], reference: str, distribution: str, seed: int
) -> pd.DataFrame:
    by_model = {model: part.set_index(["id", "cutoff"]).sort_index() for model, part in losses.groupby("model", sort=False)}
    first = by_model[models[0]].reset_index()
    blocks = Blocks.of(first["cutoff"], first["end"], seed)
    rows = []
    for model in models:
        part = by_model[model]
        row: dict[str, object] = {"model": model, "windows": len(part), "blocks": blocks.count, "block_days": blocks.days}
        of_groups = groups[groups["model"] == model]
        for name in (*MEANS, *POOLED):
            row[name] = of_groups[name].mean()
        for name in ("covered", "direction"):  # shares of windows, not of groups
            row[name] = part[name].mean()
            row[f"{name}_low"], row[f"{name}_high"] = blocks.interval_of_mean(part[name].to_numpy())
        for name, against in (("mase", reference), ("crps", distribution)):
            relative = part[f"relative_{name}"].to_numpy()
            other = by_model[against][f"relative_{name}"].to_numpy()
            row[f"relative_{name}"] = float(np.nanmean(relative))
            row[f"relative_{name}_low"], row[f"relative_{name}_high"] = blocks.interval_of_mean(
                relative - other + 1
            )
            difference = np.nan_to_num(relative - other)
            test = blocks.test(difference) if difference.any() else _SAME
            row[f"{name}_statistic"], row[f"{name}_p"] = test.statistic, test.p
            wins = of_groups[f"relative_{name}"] < 1
            row[f"{name}_groups_better"] = int(wins.sum())
        row["groups"] = len(of_groups)
        rows.append(row)
    board = pd.DataFrame(rows)
    for name in ("mase", "crps"):
        board[f"{name}_p_adjusted"] = holm(board[f"{name}_p"].to_numpy(np.float64))
    return board


_SAME = Test(0.0, 0.0, float("nan"), 0)
"""The same forecasts: nothing to test, and no member of the family of tests."""


def _by_step(forecasts: pd.DataFrame, reference: str, distribution: str) -> pd.DataFrame:
    """Absolute error and CRPS at each step, over the references' at the same step, by frequency; a row a model and step."""
    f = forecasts[["model", "frequency", "step"]].copy()
    f["model"], f["frequency"] = f["model"].astype("str"), f["frequency"].astype("str")
    f["mase"] = (forecasts["mean"] - forecasts["y"]).abs() / forecasts["unit"]
    f["crps"] = forecasts["crps"] / forecasts["unit"]
    means = f.groupby(["model", "frequency", "step"], sort=False)[["mase", "crps"]].mean()
    for name, against in (("mase", reference), ("crps", distribution)):
        below = means.loc[against, name].reindex(means.index.droplevel("model")).to_numpy()
        means[f"relative_{name}"] = means[name].to_numpy() / np.where(below > 0, below, np.nan)
    return means.reset_index()
