"""What the embedded pair is worth, on bars it has never seen.

    python benchmarks/nano.py --data ../shared/data/evaluation --store store

Reconstruction and codebook use of its tokenizer; its model's token loss against unigrams and bigrams of tokens that are counted on
the training store (--store); and forecasts from evenly spaced origins of every series, against "the last price", the lookback's
drift and, for the distribution, a random walk that draws from the lookback's own returns. Prints the Markdown tables of the model
card, and JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import kronos
from kronos.klines import FEATURES, read_table, time_features, to_matrix
from kronos.metrics.quantiles import path_quantiles
from kronos.metrics.risk import realised_volatility
from kronos.predictor import KronosPredictor
from kronos.training.pretrain import code_use
from kronos.training.windows import CLIP, normalise_on_prefix

WINDOW = 256
COUNTED = 4_000_000
"""Bars that unigrams and bigrams are counted on."""


def crps(paths_PH: np.ndarray, truth_H: np.ndarray) -> np.ndarray:
    """Fair estimate of the continuous ranked probability score of each step, from P paths, by its definition."""
    n = len(paths_PH)
    spread = np.abs(paths_PH[:, None] - paths_PH[None]).sum((0, 1)) / (n * (n - 1))
    return np.abs(paths_PH - truth_H).mean(0) - spread / 2


def series_of(folder: Path) -> list[tuple[str, str, pd.DataFrame]]:
    """(file, symbol, bars) of every series, without an amount where it is not complete."""
    found = []
    for file in sorted(folder.glob("*.parquet")):
        for symbol, bars in read_table(file).groupby("symbol", sort=False):
            bars = bars.drop(columns="symbol").dropna(axis=1, how="any").reset_index(drop=True)
            found.append((file.stem, str(symbol), bars))
    return found


def windows_of(series: list[tuple[str, str, pd.DataFrame]], known: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Consecutive windows, at most 64 at a time: bars [B, 256, 6], normalised on their first ``known``, and time features."""
    for _, _, bars in series:
        count = len(bars) // WINDOW
        matrix = to_matrix(bars).astype(np.float64)[: count * WINDOW].reshape(count, WINDOW, len(FEATURES))
        stamps = time_features(bars["timestamps"]).astype(np.int64)[: count * WINDOW].reshape(count, WINDOW, 5)
        for start in range(0, count, 64):
            part = matrix[start : start + 64]
            x = torch.from_numpy(normalise_on_prefix(part, np.full(len(part), known)))
            yield x, torch.from_numpy(stamps[start : start + 64])


def reconstruction(predictor: KronosPredictor, series: list[tuple[str, str, pd.DataFrame]]) -> dict[str, float]:
    """Errors in units of each window's own deviation, over consecutive windows of 256 bars, all bars weighing the same."""
    squared, coarse, absolute, codes, bars_seen = 0.0, 0.0, 0.0, [], 0
    for x, _ in windows_of(series, WINDOW):
        with torch.inference_mode():
            (x1, full), _, _, ids = predictor.tokenizer(x)
        squared += (full - x).square().mean((1, 2)).sum().item()
        coarse += (x1 - x).square().mean((1, 2)).sum().item()
        absolute += (full - x).abs().mean((1, 2)).sum().item()
        bars_seen += len(x)
        codes.append(ids.flatten())
    ids = torch.cat(codes)
    bits = predictor.tokenizer.s1_bits
    result = {
        "windows": bars_seen,
        "mse": squared / bars_seen,
        "mse_coarse": coarse / bars_seen,
        "mae": absolute / bars_seen,
    }
    for name, token in (("coarse", ids & (2**bits - 1)), ("fine", ids >> bits)):
        use = code_use(token, 2**bits)
        result[f"used_{name}"], result[f"entropy_{name}"] = use["used"], use["entropy"]
    return result


def token_losses(
    predictor: KronosPredictor, series: list[tuple[str, str, pd.DataFrame]], store: Path
) -> dict[str, float]:
    """Nats a token (mean of coarse and fine) of bars that were never trained on: the model's, and that of counts over the store.

    Unigrams of each token; bigrams of the coarse token after the last coarse one, and of the fine token after the last fine one
    or beside its own coarse one, whichever is the better. Windows of 256 bars, normalised on their first half.
    """
    from kronos.training.bar_store import Store
    from kronos.training.losses import ModelObjective, tokens_of
    from kronos.training.windows import Sampler, WindowSettings

    codes = 2**predictor.tokenizer.s1_bits
    pairs = {name: np.full((codes, codes), 0.02) for name in ("s1 after s1", "s2 after s2", "s2 beside s1")}
    single = {name: np.ones(codes) for name in ("s1", "s2")}
    sampler = Sampler(Store.open(store), WindowSettings(length=WINDOW, batch=128), seed=0)
    for step in range(COUNTED // (128 * WINDOW)):
        s1, s2 = (t.numpy() for t in tokens_of(predictor.tokenizer, sampler.batch(step).bars))
        for name, tokens in (("s1", s1), ("s2", s2)):
            single[name] += np.bincount(tokens.ravel(), minlength=codes)
        for name, given, token in _beside(s1, s2):
            np.add.at(pairs[name], (given, token), 1)
    logs = {name: np.log(counts / counts.sum()) for name, counts in single.items()}
    conditional = {name: np.log(counts / counts.sum(1, keepdims=True)) for name, counts in pairs.items()}
    sums = dict.fromkeys(("model", "unigram s1", "unigram s2", *pairs), 0.0)
    seen, objective = 0, ModelObjective(predictor.model, "true").eval()
    for x, stamp in windows_of(series, WINDOW // 2):
        with torch.inference_mode():
            s1, s2 = tokens_of(predictor.tokenizer, x)
            loss, _ = objective(s1, s2, stamp, torch.zeros(s1.shape))
        weight = len(x) * (WINDOW - 1)
        seen += weight
        sums["model"] += loss.item() * weight
        for name, tokens in (("s1", s1.numpy()), ("s2", s2.numpy())):
            sums[f"unigram {name}"] -= logs[name][tokens[:, 1:]].sum()
        for name, given, token in _beside(s1.numpy(), s2.numpy()):
            sums[name] -= conditional[name][given, token].sum()
    mean = {name: float(value / seen) for name, value in sums.items()}
    return {
        "token_loss": mean["model"],
        "token_loss_unigram": (mean["unigram s1"] + mean["unigram s2"]) / 2,
        "token_loss_bigram_in_time": (mean["s1 after s1"] + mean["s2 after s2"]) / 2,
        "token_loss_bigram": (mean["s1 after s1"] + min(mean["s2 after s2"], mean["s2 beside s1"])) / 2,
    }


def _beside(s1: np.ndarray, s2: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """What each bigram knows, and what it tells, of windows [B, T]; the first bar of a window is only ever known."""
    flat = {
        name: a.ravel() for name, a in (("p1", s1[:, :-1]), ("p2", s2[:, :-1]), ("s1", s1[:, 1:]), ("s2", s2[:, 1:]))
    }
    return [
        ("s1 after s1", flat["p1"], flat["s1"]),
        ("s2 after s2", flat["p2"], flat["s2"]),
        ("s2 beside s1", flat["s1"], flat["s2"]),
    ]


def forecasts(
    model: str,
    predictor: KronosPredictor,
    series: list[tuple[str, str, pd.DataFrame]],
    origins: int,
    lookback: int,
    horizon: int,
    paths: int,
) -> pd.DataFrame:
    """A row a forecast: its file, and scores of close relative to the last price."""
    rows = []
    rng = np.random.default_rng(0)
    for number, (file, symbol, bars) in enumerate(series):
        starts = np.linspace(0, len(bars) - lookback - horizon, origins).astype(int)
        if starts[-1] <= 0:
            continue
        values = [c for c in FEATURES if c in bars.columns]
        past = [bars.iloc[s : s + lookback] for s in starts]
        future = [bars.iloc[s + lookback : s + lookback + horizon] for s in starts]
        raw = predictor.predict_samples(
            [p[values] for p in past],
            [p["timestamps"] for p in past],
            [f["timestamps"] for f in future],
            horizon,
            sample_count=paths,
            seed=number,
            verbose=False,
            calibration=None,
        )
        for before, after, one in zip(past, future, raw, strict=True):
            paths_PH, made_PH = one[..., 3].astype(np.float64), None
            if predictor.calibration is not None:
                times = (pd.DatetimeIndex(part["timestamps"]) for part in (before, after))
                made_PH = predictor.calibration.apply(one, to_matrix(before[values]), *times)[..., 3].astype(np.float64)
            close, truth = before["close"].to_numpy(), after["close"].to_numpy()
            last, unit = close[-1], np.abs(np.diff(close)).mean() or 1.0
            steps = rng.choice(np.diff(np.log(close)), (paths, horizon))
            walk = last * np.exp(steps.cumsum(1))
            drifted = last + (last - close[0]) / (len(close) - 1) * np.arange(1, horizon + 1)
            low, high = path_quantiles(paths_PH, [0.1, 0.9])
            mean = paths_PH.mean(0)
            volatility = realised_volatility(truth[None], last).item() or np.nan
            scores, scores_walk = crps(paths_PH, truth) / unit, crps(walk, truth) / unit
            rows.append(
                {
                    "file": file,
                    "symbol": symbol,
                    "mae": np.abs(mean - truth).mean() / unit,
                    "mae_last": np.abs(last - truth).mean() / unit,
                    "mae_drift": np.abs(drifted - truth).mean() / unit,
                    "crps": scores.mean(),
                    "crps_walk": scores_walk.mean(),
                    **{f"crps {h}": scores[h - 1] for h in _shown(horizon)},
                    **{f"crps_walk {h}": scores_walk[h - 1] for h in _shown(horizon)},
                    "volatility": abs(np.nanmean(realised_volatility(paths_PH, last)) / volatility - 1),
                    "volatility_walk": abs(realised_volatility(walk, last).mean() / volatility - 1),
                    "covered": ((truth >= low) & (truth <= high)).mean(),
                    **_calibrated(made_PH, truth, unit),
                    "direction": float(np.sign(mean[-1] - last) == np.sign(truth[-1] - last)),
                }
            )
        print(f"  {number + 1}/{len(series)} {file} {symbol}", end="\r", flush=True)
    return pd.DataFrame(rows)


def _calibrated(paths_PH: np.ndarray | None, truth: np.ndarray, unit: float) -> dict[str, float]:
    """Scores of the calibrated paths, where there are any."""
    if paths_PH is None:
        return {}
    low, high = path_quantiles(paths_PH, [0.1, 0.9])
    return {
        "crps calibrated": crps(paths_PH, truth).mean() / unit,
        "mae calibrated": np.abs(paths_PH.mean(0) - truth).mean() / unit,
        "covered calibrated": float(((truth >= low) & (truth <= high)).mean()),
    }


def _shown(horizon: int) -> list[int]:
    """Steps whose CRPS is told: 1 and its doubles, and the last."""
    return [*(h for h in (1, 2, 4, 8, 16, 32, 64) if h < horizon), horizon]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parent.parent.parent / "shared/data/evaluation"
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument(
        "--store", type=Path, help="the training store (kronos store build), to count bigrams of tokens on"
    )
    parser.add_argument("--origins", type=int, default=4, help="forecasts a series")
    parser.add_argument("--lookback", type=int, default=256)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--paths", type=int, default=20)
    options = parser.parse_args()
    clock = time.perf_counter()
    predictor, series = kronos.load(options.model, device="cpu"), series_of(options.data)
    tokens = reconstruction(predictor, series)
    print(f"tokenizer, {tokens['windows']:,.0f} windows of {WINDOW} bars clipped at {CLIP:.0f} deviations")
    for name, value in tokens.items():
        print(f"  {name:16} {value:.4f}")
    if options.store is not None:
        losses = token_losses(predictor, series, options.store)
        tokens |= losses
        print("  ".join(f"{name} {value:.3f}" for name, value in losses.items()))
    table = forecasts(
        options.model, predictor, series, options.origins, options.lookback, options.horizon, options.paths
    )
    groups = table.drop(columns="symbol").groupby("file").mean()
    groups["forecasts"] = table.groupby("file").size()
    groups["MAE / last price"] = groups["mae"] / groups["mae_last"]
    groups["MAE / drift"] = groups["mae"] / groups["mae_drift"]
    groups["CRPS / random walk"] = groups["crps"] / groups["crps_walk"]
    # Medians: of a quiet horizon's volatility, the shares that the paths are off by can be huge.
    volatility = table.groupby("file")[["volatility", "volatility_walk"]].median()
    names = ("data", "forecasts", "MAE / last price", "MAE / drift", "CRPS / random walk", "80 % covers", "direction")
    print("\n| " + " | ".join((*names, "volatility off (walk)")) + " |\n" + "| --- " * (len(names) + 1) + "|")
    for file, row in groups.iterrows():
        print(
            f"| {file} | {row['forecasts']:.0f} | {row['MAE / last price']:.3f} | {row['MAE / drift']:.3f} "
            f"| {row['CRPS / random walk']:.3f} | {row['covered']:.0%} | {row['direction']:.0%} "
            f"| {volatility.at[file, 'volatility']:.0%} ({volatility.at[file, 'volatility_walk']:.0%}) |"
        )
    shown = _shown(options.horizon)
    by_step = [(groups[f"crps {h}"] / groups[f"crps_walk {h}"]).median() for h in shown]
    print("\n| step | " + " | ".join(map(str, shown)) + " |\n" + "| --- " * (len(shown) + 1) + "|")
    print("| CRPS / random walk, median over groups | " + " | ".join(f"{value:.3f}" for value in by_step) + " |\n")
    calibrated = {}
    if "crps calibrated" in groups:
        ratio, error = groups["crps calibrated"] / groups["crps_walk"], groups["mae calibrated"] / groups["mae_last"]
        calibrated = {
            "calibrated_crps_ratio": float(np.exp(np.log(ratio).mean())),
            "calibrated_crps_ratio_median": float(ratio.median()),
            "calibrated_groups_at_most_1": int((ratio <= 1).sum()),
            "calibrated_error_ratio": float(np.exp(np.log(error).mean())),
            "calibrated_coverage_80": float(table["covered calibrated"].mean()),
        }
        print(
            "| data | CRPS / random walk, calibrated | MAE / last price, calibrated | 80 % covers, calibrated |\n"
            + "| --- " * 4
            + "|"
        )
        for file in groups.index:
            print(f"| {file} | {ratio[file]:.3f} | {error[file]:.3f} | {groups.at[file, 'covered calibrated']:.0%} |")
    summary = {
        **{k: round(v, 4) for k, v in calibrated.items()},
        "crps_ratio": round(float(np.exp(np.log(groups["CRPS / random walk"]).mean())), 4),
        "mae_ratio": round(float(np.exp(np.log(groups["MAE / last price"]).mean())), 4),
        **{k: round(v, 4) for k, v in tokens.items()},
        "forecasts": len(table),
        "mae_ratio_median_over_files": round(float(groups["MAE / last price"].median()), 4),
        "mae_ratio_to_drift_median_over_files": round(float(groups["MAE / drift"].median()), 4),
        "crps_ratio_median_over_files": round(float(groups["CRPS / random walk"].median()), 4),
        "files_with_crps_at_most_that_of_the_walk": int((groups["CRPS / random walk"] <= 1).sum()),
        "files_better_than_last_price": int((groups["MAE / last price"] < 1).sum()),
        "files": len(groups),
        "volatility_off_median": round(float(table["volatility"].median()), 4),
        "volatility_off_median_walk": round(float(table["volatility_walk"].median()), 4),
        "coverage_80": round(float(table["covered"].mean()), 4),
        "direction": round(float(table["direction"].mean()), 4),
        "seconds": round(time.perf_counter() - clock),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
