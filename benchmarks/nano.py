"""What the embedded pair is worth, on bars it has never seen.

    python benchmarks/nano.py --data ../shared/data/evaluation

Reconstruction and codebook use of its tokenizer, and forecasts of its model from evenly spaced origins of every series, against
"the last price" and, for the width of the paths, a random walk that draws from the lookback's own returns. Prints the Markdown
table of the model card and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import kronos
from kronos.hub.loading import pair_settings
from kronos.klines import FEATURES, read_table
from kronos.predictor import KronosPredictor
from kronos.training.pretrain import code_use
from kronos.training.windows import CLIP, normalise_on_prefix

WINDOW = 256


def crps(paths_PH: np.ndarray, truth_H: np.ndarray) -> np.ndarray:
    """Fair estimate of the continuous ranked probability score of each step, from P paths."""
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


def reconstruction(predictor: KronosPredictor, series: list[tuple[str, str, pd.DataFrame]]) -> dict[str, float]:
    """Errors in units of each window's own deviation, over consecutive windows of 256 bars, all bars weighing the same."""
    from kronos.klines import to_matrix

    squared, coarse, absolute, codes, bars_seen = 0.0, 0.0, 0.0, [], 0
    for _, _, bars in series:
        matrix = to_matrix(bars).astype(np.float64)
        whole = matrix[: len(matrix) // WINDOW * WINDOW].reshape(-1, WINDOW, len(FEATURES))
        for start in range(0, len(whole), 64):
            part = whole[start : start + 64]
            x = torch.from_numpy(normalise_on_prefix(part, np.full(len(part), WINDOW)))
            with torch.inference_mode():
                (x1, full), _, _, ids = predictor.tokenizer(x)
            squared += (full - x).square().mean((1, 2)).sum().item()
            coarse += (x1 - x).square().mean((1, 2)).sum().item()
            absolute += (full - x).abs().mean((1, 2)).sum().item()
            bars_seen += len(part)
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


def forecasts(
    predictor: KronosPredictor,
    series: list[tuple[str, str, pd.DataFrame]],
    origins: int,
    lookback: int,
    horizon: int,
    paths: int,
) -> pd.DataFrame:
    """A row a forecast: its file, and scores of close relative to the last price."""
    advice, rows = pair_settings("nano"), []
    rng = np.random.default_rng(0)
    for number, (file, symbol, bars) in enumerate(series):
        starts = np.linspace(0, len(bars) - lookback - horizon, origins).astype(int)
        if starts[-1] <= 0:
            continue
        values = [c for c in FEATURES if c in bars.columns]
        past = [bars.iloc[s : s + lookback] for s in starts]
        future = [bars.iloc[s + lookback : s + lookback + horizon] for s in starts]
        drawn = predictor.predict_samples(
            [p[values] for p in past],
            [p["timestamps"] for p in past],
            [f["timestamps"] for f in future],
            horizon,
            T=advice.temperature,
            top_p=advice.top_p,
            sample_count=paths,
            seed=number,
            verbose=False,
        )[..., 3].astype(np.float64)
        for before, after, paths_PH in zip(past, future, drawn, strict=True):
            close, truth = before["close"].to_numpy(), after["close"].to_numpy()
            last, unit = close[-1], np.abs(np.diff(close)).mean() or 1.0
            steps = rng.choice(np.diff(np.log(close)), (paths, horizon))
            walk = last * np.exp(steps.cumsum(1))
            low, high = np.quantile(paths_PH, [0.1, 0.9], axis=0)
            mean = paths_PH.mean(0)
            rows.append(
                {
                    "file": file,
                    "symbol": symbol,
                    "mae": np.abs(mean - truth).mean() / unit,
                    "mae_last": np.abs(last - truth).mean() / unit,
                    "crps": crps(paths_PH, truth).mean() / unit,
                    "crps_walk": crps(walk, truth).mean() / unit,
                    "covered": ((truth >= low) & (truth <= high)).mean(),
                    "direction": float(np.sign(mean[-1] - last) == np.sign(truth[-1] - last)),
                }
            )
        print(f"  {number + 1}/{len(series)} {file} {symbol}", end="\r", flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parent.parent.parent / "shared/data/evaluation"
    )
    parser.add_argument("--model", default="nano")
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
    table = forecasts(predictor, series, options.origins, options.lookback, options.horizon, options.paths)
    groups = table.drop(columns="symbol").groupby("file").mean()
    groups["forecasts"] = table.groupby("file").size()
    groups["MAE / last price"] = groups["mae"] / groups["mae_last"]
    groups["CRPS / random walk"] = groups["crps"] / groups["crps_walk"]
    print("\n| data | forecasts | MAE / last price | CRPS / random walk | 80 % covers | direction |")
    print("| --- | --- | --- | --- | --- | --- |")
    for file, row in groups.iterrows():
        print(
            f"| {file} | {row['forecasts']:.0f} | {row['MAE / last price']:.3f} | {row['CRPS / random walk']:.3f} "
            f"| {row['covered']:.0%} | {row['direction']:.0%} |"
        )
    summary = {
        **{k: round(v, 4) for k, v in tokens.items()},
        "forecasts": len(table),
        "mae_ratio_median_over_files": round(float(groups["MAE / last price"].median()), 4),
        "crps_ratio_median_over_files": round(float(groups["CRPS / random walk"].median()), 4),
        "files_better_than_last_price": int((groups["MAE / last price"] < 1).sum()),
        "files": len(groups),
        "coverage_80": round(float(table["covered"].mean()), 4),
        "direction": round(float(table["direction"].mean()), 4),
        "seconds": round(time.perf_counter() - clock),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
