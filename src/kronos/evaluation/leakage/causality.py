"""Causality checks: change the bars after the cutoff, and compare everything that must not depend on them.

Two levels: the networks (tokens, reconstruction and logits in eval mode, as in validation), and the whole pipeline from bars to
forecasts (normalisation included), for any model.

Legend: B windows, T bars, t the last bar that counts as past, 6 features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.evaluation.dataset import Series
from kronos.evaluation.forecasters.models import Forecaster, as_prediction
from kronos.evaluation.leakage.findings import Finding
from kronos.evaluation.rolling_origins import origin_at
from kronos.schema import PRICE_COLUMNS

if TYPE_CHECKING:
    import torch

    from kronos.nn import Kronos, KronosTokenizer

LOGITS_MAY_MOVE = 1e-4
"""Largest difference of logits that counts as rounding: float32 sums in another order; a leak changes logits by far more."""


def perturbed(series: Series, seen: int, seed: int = 0) -> Series:
    """Return the series with other bars after bar number ``seen`` - 1: another level, spread and volume, the same times."""
    rng = np.random.default_rng([seed, seen])
    bars = series.bars.copy()
    n = len(bars) - seen
    factor = np.exp(rng.normal(0, 0.05, n).cumsum() + rng.choice([-1, 1]) * 0.5)
    for name in PRICE_COLUMNS:
        values = bars[name].to_numpy(np.float64, copy=True)
        values[seen:] *= factor
        bars[name] = values
    for name in ("volume", "amount"):
        if name in bars:
            values = bars[name].to_numpy(np.float64, copy=True)
            values[seen:] = (values[seen:] + 1) * rng.uniform(5, 50, n)
            bars[name] = values
    return Series(series.id, series.market, series.frequency, series.season, bars, series.local)


def check_forecasts(
    build: Callable[[Sequence[Series]], Forecaster] | Forecaster,
    series: Sequence[Series],
    cut_points: Sequence[int],
    lookback: int,
    horizon: int,
    seed: int = 0,
) -> Finding:
    """Check that forecasts of the same windows, from the data and from data with another future, are equal to the bit.

    ``build`` makes the model from the data, so that a model which uses more than its windows (a normalisation over lookback
    and horizon, a scaler fitted on the whole series) also sees the changed future. A model that needs no data is given itself.
    """
    moved, count = 0, 0
    for one, seen in zip(series, cut_points, strict=True):
        other = perturbed(one, seen, seed)
        answers = []
        for data in (one, other):
            model = build if isinstance(build, Forecaster) else build([data])
            past = origin_at(data, seen, lookback, horizon).past
            prediction = as_prediction(
                model.forecast([past], horizon, 5, seed), 1, horizon, getattr(model, "name", "model")
            )
            answers.append(
                [
                    v
                    for v in (prediction.mean, prediction.paths, prediction.sigma, prediction.quantiles)
                    if v is not None
                ]
            )
        moved += any(not np.array_equal(a, b) for a, b in zip(*answers, strict=True))
        count += 1
    if moved:
        return Finding(
            "forecasts", "leak", f"{moved} of {count} forecasts change when bars after their cutoff change: the model, or the "
            "normalisation before it, sees the future",
        )  # fmt: skip
    return Finding("forecasts", "ok", f"{count} forecasts do not change by a bit when bars after their cutoff change")


def check_scale(
    scale: Callable[[pd.DataFrame, int], Any], series: Sequence[Series], cut_points: Sequence[int]
) -> Finding:
    """Check that the constants of a pipeline's normalisation, ``scale(bars, seen)``, do not depend on bars from ``seen`` on.

    ``bars`` is the whole table; the constants are those for a forecast made after ``seen`` bars.
    """
    moved = 0
    for one, seen in zip(series, cut_points, strict=True):
        a, b = (
            np.asarray(scale(s.bars.drop(columns="timestamps"), seen), dtype=np.float64)
            for s in (one, perturbed(one, seen))
        )
        moved += not np.array_equal(a, b)
    if moved:
        return Finding(
            "normalisation", "leak",
            f"the constants of {moved} of {len(series)} windows change when bars after the cutoff change: they are computed over "
            "lookback and horizon together; use the lookback alone",
        )  # fmt: skip
    return Finding("normalisation", "ok", f"the constants of {len(series)} windows come from the lookback alone")


def normalised_windows(
    series: Sequence[Series], cut_points: Sequence[int], lookback: int, horizon: int
) -> tuple[Any, Any, np.ndarray]:
    """Return bars normalised on their lookback, and the same with another future, [B, T, 6] each, and time features [B, T, 5]."""
    from kronos.klines import Normalizer, time_features, to_matrix

    a: list[np.ndarray] = []
    b: list[np.ndarray] = []
    stamps = []
    for one, seen in zip(series, cut_points, strict=True):
        span = slice(seen - lookback, seen + horizon)
        for data, into in ((one, a), (perturbed(one, seen), b)):
            bars = to_matrix(data.bars.iloc[span].drop(columns="timestamps"))
            into.append(Normalizer.of(bars[:lookback]).normalise(bars, 5))
        stamps.append(time_features(one.local[span]))
    return np.stack(a), np.stack(b), np.stack(stamps)


def check_networks(
    tokenizer: KronosTokenizer,
    model: Kronos,
    series: Sequence[Series],
    cut_points: Sequence[int],
    lookback: int,
    horizon: int,
) -> list[Finding]:
    """Check that tokens, reconstruction and logits of the lookback are the same with two different futures.

    The networks run over lookback *and* horizon in eval mode, by the training pass (``forward``, fine tokens conditioned on the
    true coarse ones), which gives validation losses; they are too low where the dependency layer is not causal in eval mode.
    """
    import torch

    a, b, stamp = normalised_windows(series, cut_points, lookback, horizon)
    device = next(model.parameters()).device
    was = tokenizer.training, model.training
    tokenizer.eval(), model.eval()
    try:
        with torch.no_grad():
            x, y = (torch.from_numpy(v).to(device) for v in (a, b))
            tokens = [tokenizer.encode(v, half=True) for v in (x, y)]
            findings = [_tokens(tokens, lookback)]
            s1, s2 = tokens[0]
            other = [torch.cat((own[:, :lookback], new[:, lookback:]), dim=1) for own, new in zip(*tokens, strict=True)]
            rebuilt = [tokenizer.decode(pair, half=True)[:, :lookback] for pair in ([s1, s2], other)]
            findings.append(_moved("reconstruction", "bars rebuilt from tokens of the past", *rebuilt))
            times = torch.from_numpy(stamp).long().to(device)
            logits = []
            for one, two in ((s1, s2), tuple(other)):
                out = model(one[:, :-1], two[:, :-1], times[:, :-1], use_teacher_forcing=True, s1_targets=one[:, 1:])
                # logits at t foresee t + 1; the fine ones are given the true coarse token of t + 1, which must be past too
                logits.append([v[:, : lookback - 1] for v in out])
            findings.append(_moved("coarse logits", "logits of coarse tokens", logits[0][0], logits[1][0]))
            findings.append(_moved("fine logits", "logits of fine tokens in validation", logits[0][1], logits[1][1]))
    finally:
        tokenizer.train(was[0]), model.train(was[1])
    return findings


def _tokens(tokens: list[Any], lookback: int) -> Finding:
    changed = int(((tokens[0][0] != tokens[1][0]) | (tokens[0][1] != tokens[1][1]))[:, :lookback].sum())
    count = tokens[0][0][:, :lookback].numel()
    if changed > count * 1e-3:  # a bit on the edge may flip when sums are ordered differently
        return Finding(
            "tokens",
            "leak",
            f"{changed:,} of {count:,} tokens of the past change with the future: the tokenizer is not causal",
        )
    return Finding("tokens", "ok", f"{count:,} tokens of the past do not change with the future")


def _moved(check: str, what: str, a: torch.Tensor, b: torch.Tensor) -> Finding:
    most = float((a - b).abs().max())
    if most > LOGITS_MAY_MOVE * max(1.0, float(a.abs().max())):
        return Finding(
            check,
            "leak",
            f"{what} move by up to {most:.3g} when only the future changes: the network is not causal in eval mode",
        )
    return Finding(check, "ok", f"{what} do not move with the future (largest difference {most:.1g})")
