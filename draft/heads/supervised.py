"""Fitting a head on a table of features: labels, purged choice of its regularisation, and its scores on later dates.

Legend: N rows, F features, Q quantile levels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.heads.head import CLIP, Head, columns_of
from kronos.heads.purged_splits import Fold, purged_folds
from kronos.io.extras import need
from kronos.metrics import ic
from kronos.metrics.probabilistic import crps_quantiles

TASKS = ("return", "rank", "direction", "distribution")
KINDS = ("linear", "mlp")
ALPHAS = tuple(10.0**power for power in range(-1, 7))
"""Weights of the squared coefficients that a linear head is chosen from, on standardised features."""
MLP_ALPHAS = (1.0, 10.0, 100.0)
LEVELS = np.arange(1, 40) / 40
"""Quantile levels of a distribution head."""
LEAST_ROWS = 50
BOOTSTRAP = 1000
FEATURE = re.compile(r"e\d{3,}|volatility|recent|range|surprise")


@dataclass(frozen=True)
class HeadSettings:
    """What a head is fitted for.

    Attributes:
        task: "return" (log return in units of the lookback's volatility), "rank" (rank of the return within its date, -0.5 to
            0.5), "direction" (rise or not), "distribution" (quantiles of the log return, centred near 0).
        kind: "linear" (ridge, or logistic for direction) or "mlp" (one hidden layer).
        horizon: cut-offs ahead. folds, embargo: of `purged_folds`; embargo in cut-offs.
        train_end, test_start: last cut-off to fit on, first to test on; between them at least ``horizon`` + ``embargo``, purged.
            None of both tests on nothing.
        hidden: units of the mlp. seed: of its first weights.
        columns: features; None takes all that `kronos features` writes.
    """

    task: str = "rank"
    kind: str = "linear"
    horizon: int = 1
    folds: int = 5
    embargo: int = 1
    train_end: str | None = None
    test_start: str | None = None
    hidden: int = 16
    seed: int = 0
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("task", TASKS), ("kind", KINDS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        for name, least in (("horizon", 1), ("folds", 2), ("embargo", 0), ("hidden", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)!r}")
        if self.train_end and self.test_start and self.train_end >= self.test_start:
            raise ValueError(f"test_start {self.test_start} must come after train_end {self.train_end}")


@dataclass(frozen=True)
class HeadReport:
    """Scores of the purged validation and of the test dates, and the rows of each. Figures of a task that it does not have are
    left out; intervals are 95 %, of blocks of ``horizon`` dates drawn again."""

    validation: dict[str, Any]
    test: dict[str, Any]
    rows: dict[str, int]


def labelled(table: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The table with ``label_return``, the log return over the next ``horizon`` cut-offs; NaN where the series has no newer bar then.

    Args:
        table: cutoff, symbol, last_bar, last_close, as `kronos.scoring.read_scores` gives them. Never changed.
    """
    missing = [name for name in ("cutoff", "symbol", "last_bar", "last_close") if name not in table.columns]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}; write it with kronos features")
    if table.duplicated(["cutoff", "symbol"]).any():
        raise ValueError("a symbol occurs twice at a cut-off; give a table with each once")
    closes = table.pivot(index="cutoff", columns="symbol", values="last_close").sort_index()
    lasts = table.pivot(index="cutoff", columns="symbol", values="last_bar").sort_index()
    positive = closes.where(closes > 0)
    moved = np.log(positive.shift(-horizon) / positive).where(lasts.shift(-horizon) > lasts)
    came = moved.stack().rename("label_return").reset_index()
    return table.merge(came, on=["cutoff", "symbol"], how="left", validate="one_to_one")


def train_head(table: pd.DataFrame, settings: HeadSettings) -> tuple[Head, HeadReport]:
    """Fit a head on a table of `kronos features`.

    The regularisation is chosen by purged and embargoed cross-validation within the dates up to ``train_end``; the test dates are
    looked at once, at the end.

    Raises:
        ValueError: scikit-learn is missing, or there are too few rows or dates.
    """
    need("sklearn", "heads", "kronos head")
    names = settings.columns or tuple(name for name in table.columns if FEATURE.fullmatch(name))
    columns_of(table.iloc[:0], names)
    rows = labelled(table, settings.horizon).dropna(subset=["label_return"])
    if settings.task in ("return", "distribution"):
        if "volatility" not in rows:
            raise ValueError(f"task {settings.task} needs the column volatility: kronos features --features ...,volatility")
        rows = rows[rows["volatility"] > 0]
    dates = np.unique(rows["cutoff"])
    train, test = _spans(rows, dates, settings)
    if len(train) < LEAST_ROWS:
        raise ValueError(f"{len(train)} labelled rows up to train_end are too few to fit on; at least {LEAST_ROWS} are needed")
    x, y = columns_of(train, names), _labels(train, settings.task)
    folds = list(purged_folds(train["cutoff"].to_numpy(), settings.horizon, settings.folds, settings.embargo))
    alphas = ALPHAS if settings.kind == "linear" else MLP_ALPHAS
    outside = {alpha: _out_of_fold(x, y, folds, alpha, settings) for alpha in alphas}
    losses = {alpha: _loss(found, y, settings.task) for alpha, found in outside.items()}
    best = min(losses, key=losses.__getitem__)
    arrays = _fit(x, y, best, settings)
    if settings.task == "distribution":
        ratio = train["label_return"].to_numpy() / (np.exp(outside[best]) * _unit(train))
        arrays |= {"levels": LEVELS, "quantiles": np.quantile(ratio, LEVELS)}
    about = {**asdict(settings), "alpha": best, "losses": {f"{a:g}": round(v, 6) for a, v in losses.items()}}
    about |= {"first": str(dates[0]), "last": str(train["cutoff"].max()), "rows": len(train)}
    head = Head(settings.task, tuple(names), arrays, about)
    kept = outside[best] if settings.task != "direction" else 1 / (1 + np.exp(-outside[best]))
    kept = np.exp(kept) if settings.task == "distribution" else kept
    report = HeadReport(
        judged(train, kept, head, settings),
        judged(test, head.predict(columns_of(test, names)), head, settings) if len(test) else {},
        {"train": len(train), "test": len(test), "features": len(names)},
    )
    return head, report


def judged(rows: pd.DataFrame, found: np.ndarray, head: Head, settings: HeadSettings) -> dict[str, Any]:
    """Scores of predictions [N] against the labels of the rows.

    rank_ic, ic: means over dates of the correlations across series with the return that came; for direction also accuracy, the
    share of rises and the log loss over that of the share of rises known from these rows; for distribution CRPS over that of the
    same quantiles at the lookback's own volatility, and the share of labels within the 80 % interval.
    """
    came = rows["label_return"].to_numpy()
    if settings.task == "distribution":
        unit, quantiles = _unit(rows), head.arrays["quantiles"]
        score = crps_quantiles(came, (found * unit)[:, None] * quantiles, LEVELS) / unit
        constant = np.quantile(came / unit, LEVELS)
        plain = crps_quantiles(came, unit[:, None] * constant, LEVELS) / unit
        low, high = (np.interp(level, LEVELS, quantiles) for level in (0.1, 0.9))
        ratio = came / (found * unit)
        result = _ratio(score, plain, rows["cutoff"].to_numpy(), settings)
        return {**result, "coverage_80": round(float(((ratio >= low) & (ratio <= high)).mean()), 4)}
    table = pd.DataFrame({"datetime": rows["cutoff"], "instrument": rows["symbol"], "score": found, "came": came})
    daily = ic.daily_ic(ic.wide(table, "score"), ic.wide(table, "came"))
    result: dict[str, Any] = {"dates": len(daily)}
    for name in ("ic", "rank_ic"):
        values = daily[name].dropna().to_numpy()
        if len(values):
            result[name] = round(float(values.mean()), 4)
            result[f"{name}_interval"] = _interval(values, settings)
    if settings.task == "direction":
        rise = came > 0
        p, share = np.clip(found, 1e-6, 1 - 1e-6), float(np.clip(rise.mean(), 1e-6, 1 - 1e-6))
        own, base = (-np.log(np.where(rise, q, 1 - q)).mean() for q in (p, np.full(len(p), share)))
        result |= {"accuracy": round(float(((found > 0.5) == rise).mean()), 4), "rises": round(share, 4)}
        result["log_loss_ratio"] = round(float(own / base), 4)
    return result


def _ratio(score: np.ndarray, plain: np.ndarray, dates: np.ndarray, settings: HeadSettings) -> dict[str, Any]:
    """Ratio of two mean losses, with its interval by dates."""
    sums = pd.DataFrame({"date": dates, "one": score, "other": plain}).groupby("date")[["one", "other"]].sum().to_numpy()
    drawn = sums[_drawn_dates(len(sums), settings)].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return {"crps_ratio": round(float(score.sum() / plain.sum()), 4), "crps_ratio_interval": [round(low, 4), round(high, 4)]}


def _interval(values: np.ndarray, settings: HeadSettings) -> list[float]:
    drawn = values[_drawn_dates(len(values), settings)].mean(1)
    return [round(float(v), 4) for v in np.quantile(drawn, [0.025, 0.975])]


def _drawn_dates(count: int, settings: HeadSettings) -> np.ndarray:
    """Positions [draws, dates] of blocks of ``horizon`` neighbouring dates, drawn with replacement (circular block bootstrap)."""
    rng = np.random.default_rng(settings.seed)
    length = min(settings.horizon, count)
    starts = rng.integers(count, size=(BOOTSTRAP, -(-count // length)))
    return ((starts[..., None] + np.arange(length)) % count).reshape(BOOTSTRAP, -1)[:, :count]


def _spans(rows: pd.DataFrame, dates: np.ndarray, settings: HeadSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to fit on, whose labels end before the first test date less the embargo, and rows to test on."""
    end, start = settings.train_end, settings.test_start
    if start is None and end is not None:
        later = dates[dates > end]
        start = str(later[0]) if len(later) else None
    test = rows[rows["cutoff"] >= start] if start is not None else rows.iloc[:0]
    allowed = dates if end is None else dates[dates <= end]
    if start is not None:
        first = int(np.searchsorted(dates, start))
        allowed = allowed[np.searchsorted(dates, allowed) + settings.horizon + settings.embargo <= first]
    return rows[rows["cutoff"].isin(allowed)], test


def _unit(rows: pd.DataFrame) -> np.ndarray:
    return rows["volatility"].to_numpy(np.float64)


def _labels(rows: pd.DataFrame, task: str) -> np.ndarray:
    came = rows["label_return"].to_numpy(np.float64)
    if task == "direction":
        return (came > 0).astype(np.float64)
    if task == "rank":
        return rows.groupby("cutoff")["label_return"].rank(pct=True).to_numpy() - 0.5
    scaled = came / _unit(rows)
    return np.clip(scaled, -20, 20) if task == "return" else np.log(np.abs(scaled) + 1e-2)


def _out_of_fold(x: np.ndarray, y: np.ndarray, folds: Sequence[Fold], alpha: float, settings: HeadSettings) -> np.ndarray:
    """Raw outputs [N] of each row by the head that was not fitted on it."""
    found = np.empty(len(y))
    for fold in folds:
        arrays = _fit(x[fold.train], y[fold.train], alpha, settings)
        raw = Head("return", tuple(map(str, range(x.shape[1]))), arrays)
        found[fold.test] = raw.predict(x[fold.test])
    return found


def _loss(raw: np.ndarray, y: np.ndarray, task: str) -> float:
    if task == "direction":
        return float((np.logaddexp(0, raw) - y * raw).mean())
    return float(np.square(raw - y).mean())


def _fit(x: np.ndarray, y: np.ndarray, alpha: float, settings: HeadSettings) -> dict[str, np.ndarray]:
    """Arrays of a head, fitted by scikit-learn on standardised features."""
    mean = np.nanmean(x, axis=0)
    scale = np.nanstd(x, axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    z = np.clip(np.nan_to_num((x - mean) / scale, nan=0.0), -CLIP, CLIP)
    model = _estimator(settings, alpha).fit(z, y)
    if settings.kind == "mlp":
        pairs = list(zip(model.coefs_, model.intercepts_, strict=True))
    else:
        pairs = [(np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))]
    layers = {f"weight{i}": weight for i, (weight, _) in enumerate(pairs)} | {f"bias{i}": b for i, (_, b) in enumerate(pairs)}
    return {"mean": mean, "scale": scale, **layers}


def _estimator(settings: HeadSettings, alpha: float) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if settings.kind == "mlp":
        network: Callable[..., Any] = MLPClassifier if settings.task == "direction" else MLPRegressor
        return network((settings.hidden,), alpha=alpha, batch_size=512, max_iter=20, random_state=settings.seed, tol=0.0)
    if settings.task == "direction":
        return LogisticRegression(C=1 / alpha, max_iter=200)
    return Ridge(alpha)
