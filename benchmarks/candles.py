"""How the candles of forecasts compare with those of the history, by lookback and by stretch, and the tokenizer by length.

    python benchmarks/candles.py --model nano --data ../shared/data/evaluation      (a verdict: nothing is chosen by it)
    python benchmarks/candles.py --model PAIR --store STORE                         (held-out bars of a training store)

Ratios of the paths' mean to the history's, for each window; the median over the windows of a group, then over groups. gap: |open
less previous close|; range: high less low; body: |close less open|; wicks: range less body; volume. A window is stretched where
the last close lies more than 1.5 deviations from the lookback's mean. "valid" is the share of candles whose high and low bracket
open and close before anything is mended. Prints Markdown tables and JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import kronos
from kronos.klines import FEATURES, read_table, to_matrix
from kronos.loading import pair_settings
from kronos.predictor import KronosPredictor
from kronos.training.bar_store import Store
from kronos.training.pretrain import LAST, parts_of
from kronos.training.windows import normalise_on_prefix

OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
LOOKBACKS = (64, 128, 256, 400, 512)
FIGURES = ("gap", "range", "body", "wicks", "volume")
Series = tuple[str, pd.DataFrame]


def series_of_folder(folder: Path) -> list[Series]:
    """(group, bars) of every series of the Parquet files of a folder; the group is the file."""
    found = []
    for file in sorted(folder.glob("*.parquet")):
        for _, bars in read_table(file).groupby("symbol", sort=False):
            found.append((file.stem, bars.drop(columns="symbol").dropna(axis=1, how="any").reset_index(drop=True)))
    return found


def series_of_store(folder: Path) -> list[Series]:
    """(group, bars) of at most 6 held-out runs of bars of every group of a store."""
    held = parts_of(Store.open(folder), 640)[1]
    by_group: dict[int, list[Series]] = {}
    for segment in held.segments:
        rows = slice(segment.start, segment.stop)
        bars = pd.DataFrame(np.asarray(held.bars[rows], np.float64), columns=list(FEATURES))
        bars["timestamps"] = pd.to_datetime(held.times[rows])
        by_group.setdefault(segment.group, []).append((held.names[segment.group], bars))
    return [series for several in by_group.values() for series in several[:: max(1, len(several) // 6)][:6]]


def candle_figures(bars: np.ndarray) -> dict[str, np.ndarray]:
    """Mean gap, range, body, wicks and volume over the bars but the first, [..., T, 6] -> [...]."""
    body = np.abs(bars[..., 1:, CLOSE] - bars[..., 1:, OPEN])
    whole = bars[..., 1:, HIGH] - bars[..., 1:, LOW]
    return {
        "gap": np.abs(bars[..., 1:, OPEN] - bars[..., :-1, CLOSE]).mean(-1),
        "range": whole.mean(-1),
        "body": body.mean(-1),
        "wicks": (whole - body).mean(-1),
        "volume": bars[..., 1:, VOLUME].mean(-1),
    }


def reconstruction(predictor: KronosPredictor, series: list[Series], origins: int) -> pd.DataFrame:
    """A row a window and length: error of the last bars in deviations of the window, and how stretched its last close is."""
    rows = []
    for length in LOOKBACKS:
        windows, groups = [], []
        for group, bars in series:
            if len(bars) >= length:
                matrix = to_matrix(bars).astype(np.float64)
                for start in np.linspace(0, len(bars) - length, origins).astype(int):
                    windows.append(matrix[start : start + length])
                    groups.append(group)
        for first in range(0, len(windows), 64):
            part = np.stack(windows[first : first + 64])
            x = torch.from_numpy(normalise_on_prefix(part, np.full(len(part), length)))
            with torch.inference_mode():
                s1, s2 = predictor.tokenizer.encode(x, half=True)
                error = predictor.tokenizer.decode((s1, s2), half=True) - x
            z = x[:, -1, CLOSE].abs().numpy()
            mae = error[:, -LAST:].abs().mean((1, 2)).numpy()
            mse = error.square().mean((1, 2)).numpy()
            for i in range(len(part)):
                rows.append((groups[first + i], length, z[i], mae[i], mse[i]))
    return pd.DataFrame(rows, columns=["group", "length", "z", "mae", "mse"])


def raw_paths(
    predictor: KronosPredictor,
    frames: list[pd.DataFrame],
    futures: list[pd.Series],
    sampling: tuple[float, float],
    n: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each window its paths as drawn, and as the library gives them: [P, H, 6] each."""
    values = [frame[[c for c in FEATURES if c in frame.columns]] for frame in frames]
    times = [frame["timestamps"] for frame in frames]
    horizon = len(futures[0])
    keys = {"T": sampling[0], "top_p": sampling[1], "sample_count": n, "seed": 0, "verbose": False}
    given = predictor.predict_samples(values, times, futures, horizon, **keys)
    series = predictor._series(values, times, futures, horizon)
    from kronos.generation.sampling import Sampling

    drawn = predictor._sample(series, Sampling(sampling[0], top_p=sampling[1]), n, 0, False, None, projected=False)
    yield from zip(drawn, given, strict=True)


def candles(
    predictor: KronosPredictor,
    sampling: tuple[float, float],
    series: list[Series],
    origins: int,
    paths: int,
    horizon: int,
) -> pd.DataFrame:
    """A row a forecast: group, lookback, stretch, share of valid candles as drawn, and the figures' ratios to the history's."""
    rows = []
    for lookback in LOOKBACKS:
        frames, futures, groups = [], [], []
        for group, bars in series:
            room = len(bars) - lookback - horizon
            if room >= 0:
                for start in np.unique(np.linspace(0, room, origins).astype(int)):
                    frames.append(bars.iloc[start : start + lookback])
                    futures.append(bars["timestamps"].iloc[start + lookback : start + lookback + horizon])
                    groups.append(group)
        for first in range(0, len(frames), 64):
            part = slice(first, first + 64)
            pairs = raw_paths(predictor, frames[part], futures[part], sampling, paths)
            for frame, group, (drawn, given) in zip(frames[part], groups[part], pairs, strict=True):
                history = to_matrix(frame).astype(np.float64)
                last = np.broadcast_to(history[-1], (paths, 1, 6))
                ours = candle_figures(np.concatenate((last, given.astype(np.float64)), axis=1))
                theirs = candle_figures(history)
                body = drawn[..., [OPEN, CLOSE]]
                valid = (drawn[..., HIGH] >= body.max(-1)) & (drawn[..., LOW] <= body.min(-1))
                close = history[:, CLOSE]
                row = {"group": group, "lookback": lookback, "z": abs(close[-1] - close.mean()) / (close.std() or 1.0)}
                row["valid"] = float(valid.mean())
                for name in FIGURES:
                    row[name] = float(ours[name].mean() / theirs[name]) if theirs[name] > 0 else np.nan
                rows.append(row)
    return pd.DataFrame(rows)


def over_groups(table: pd.DataFrame, names: list[str]) -> pd.Series:
    """Median over the windows of a group, then over groups."""
    return table.groupby("group")[names].median().median()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parent.parent.parent / "shared/data/evaluation"
    )
    parser.add_argument("--store", type=Path, help="take held-out bars of this store instead")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--origins", type=int, default=4, help="windows a series and lookback")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--paths", type=int, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    predictor, advice = kronos.load(options.model, device="cpu"), pair_settings(options.model)
    series = series_of_folder(options.data) if options.store is None else series_of_store(options.store)
    found = reconstruction(predictor, series, options.origins * 3)
    print("| window | error of the last 20 bars | stretched | not | MSE |\n| --- | --- | --- | --- | --- |")
    summary: dict[str, float] = {}
    for length, part in found.groupby("length"):
        far = part["z"] > 1.5
        cells = (part["mae"].mean(), part["mae"][far].mean(), part["mae"][~far].mean(), part["mse"].mean())
        print(f"| {length} | " + " | ".join(f"{c:.4f}" for c in cells) + " |")
        summary |= {f"error {length}": cells[0], f"mse {length}": cells[3], f"stretch {length}": cells[1] / cells[2]}
    table = candles(
        predictor, (advice.temperature, advice.top_p), series, options.origins, options.paths, options.horizon
    )
    names = [*FIGURES, "valid"]
    print("\n| lookback | " + " | ".join(names) + " | range where stretched |\n" + "| --- " * (len(names) + 2) + "|")
    for lookback, part in table.groupby("lookback"):
        row = over_groups(part, names)
        far = over_groups(part[part["z"] > 1.5], ["range"])["range"]
        print(f"| {lookback} | " + " | ".join(f"{row[name]:.2f}" for name in names) + f" | {far:.2f} |")
        summary |= {f"{name} {lookback}": float(row[name]) for name in names} | {f"stretched range {lookback}": far}
    print(json.dumps({name: round(float(value), 4) for name, value in summary.items()}))


if __name__ == "__main__":
    main()
