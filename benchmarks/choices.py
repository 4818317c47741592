"""Defaults that are chosen by measurement, with the embedded model on bars it has never seen.

    python benchmarks/choices.py anchoring     # how the tokenizer's error at the last bar is best taken out
    python benchmarks/choices.py sliding       # how far the window may jump when it slides past the context
    python benchmarks/choices.py precision     # what rounding the model's weights does to forecasts (--device cuda: on a GPU)

Errors are in units of each lookback's mean absolute step of close. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nano import crps, series_of

import kronos
from kronos.forecast.anchoring import ANCHORS, anchored
from kronos.generation import paths as generation
from kronos.generation.prepared import PreparedSeries
from kronos.generation.sampling import Sampling
from kronos.klines import FEATURES
from kronos.predictor import KronosPredictor

DATA = Path(__file__).resolve().parent.parent.parent / "shared/data/evaluation"


def cases(
    data: Path, lookback: int, horizon: int, origins: int, every: int = 1
) -> Iterator[tuple[PreparedSeries, np.ndarray, np.ndarray]]:
    """(the lookback made ready, its closes, the closes that came) from evenly spaced origins."""
    for _, _, bars in series_of(data)[::every]:
        room = len(bars) - lookback - horizon
        for start in np.unique(np.linspace(0, room, origins).astype(int)) if room >= 0 else ():
            past, future = bars.iloc[start : start + lookback], bars.iloc[start + lookback :].iloc[:horizon]
            values = past[[c for c in FEATURES if c in past.columns]]
            ready = PreparedSeries(values, past["timestamps"], future["timestamps"], horizon, 5)
            yield ready, past["close"].to_numpy(), future["close"].to_numpy()


def scores(closes_PH: np.ndarray, past: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    unit = np.abs(np.diff(past)).mean() or 1.0
    mean = closes_PH.mean(0)
    return {
        "jump": np.abs(mean[0] - past[-1]) / unit,
        "mae_1": np.abs(mean[0] - truth[0]) / unit,
        "mae": np.abs(mean - truth).mean() / unit,
        "crps_1": crps(closes_PH[:, :1], truth[:1])[0] / unit,
        "crps": crps(closes_PH, truth).mean() / unit,
    }


def draw(
    predictor: KronosPredictor,
    ready: list[PreparedSeries],
    paths: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    **options: Any,
) -> list[generation.Drawn]:
    windows = [series.window for series in ready]
    options = {"sliding": "strided", **options}
    return generation.sample_paths(
        predictor.tokenizer, predictor.model, windows, paths, predictor.max_context, sampling, seed, **options
    )


def anchoring(predictor: KronosPredictor, options: argparse.Namespace) -> pd.DataFrame:
    data = list(cases(options.data, 256, 24, options.origins))
    rows = []
    for (series, past, truth), drawn in zip(data, draw(predictor, [d[0] for d in data], options.paths), strict=True):
        prices, last = series.scale.restore(drawn.paths), series.scale.restore(drawn.last)
        for how in (None, *ANCHORS):
            moved = anchored(prices, series.last, last, how)[..., 3].astype(np.float64)
            rows.append({"anchor": how or "none", **scores(moved, past, truth)})
        rows.append({"anchor": "(last price)", **scores(np.full((2, len(truth)), past[-1]), past, truth)})
    return pd.DataFrame(rows).groupby("anchor", sort=False).mean()


def sliding(predictor: KronosPredictor, options: argparse.Namespace) -> pd.DataFrame:
    data = list(cases(options.data, predictor.max_context, 120, 1, options.every))
    rows = []
    for name, parts in (("exact", None), ("1/16", 16), ("1/8", 8), ("1/4", 4), ("1/2", 2)):
        clock = time.perf_counter()
        stride = 0 if parts is None else predictor.max_context // parts
        real = generation.stride_of
        generation.stride_of = lambda *_, stride=stride: stride
        all_drawn = draw(predictor, [d[0] for d in data], options.paths)
        generation.stride_of = real
        seconds = time.perf_counter() - clock
        for (series, past, truth), drawn in zip(data, all_drawn, strict=True):
            closes = series.scale.restore(drawn.paths)[..., 3].astype(np.float64)
            rows.append({"dropped at once": name, "seconds": seconds, **scores(closes, past, truth)})
        print(name, f"{seconds:.1f} s", flush=True)
    return pd.DataFrame(rows).groupby("dropped at once", sort=False).mean()


def precision(predictor: KronosPredictor, options: argparse.Namespace) -> pd.DataFrame:
    """Against float32 with the same random numbers; "another seed" is what the draw alone does to the same figures.

    Greedy agreement: bars that come out the same. Shifts: of mean, 10 % and 90 % quantile of close, in standard deviations of the
    float32 paths at that step.
    """
    data = list(cases(options.data, 256, 24, options.origins))
    ready = [d[0] for d in data]
    closes = lambda drawn: np.stack([one.paths[..., 3] for one in drawn]).astype(np.float64)
    greedy = closes(draw(predictor, ready, 1, Sampling(top_k=1)))
    base = closes(draw(predictor, ready, options.paths))
    spread = base.std(1) + 1e-9
    rows = []
    short = ("bfloat16", "int8") if str(predictor.device) == "cpu" else ("bfloat16", "float16")
    for name, how in (
        ("float32", {}),
        ("another seed", {"seed": 1}),
        *((name, {"precision": name}) for name in short),
    ):
        drawn = draw(predictor, ready, options.paths, **how)
        these = closes(drawn)
        same = np.abs(closes(draw(predictor, ready, 1, Sampling(top_k=1), **how)) - greedy) < 1e-3
        row = {"weights": name, "greedy agreement": same.mean(), "first bar": same[..., 0].mean()}
        row["mean shift"] = (np.abs(these.mean(1) - base.mean(1)) / spread).mean()
        for q in (0.1, 0.9):
            row[f"q{100 * q:.0f} shift"] = (np.abs(np.quantile(these, q, 1) - np.quantile(base, q, 1)) / spread).mean()
        row["mean bias"] = ((these.mean(1) - base.mean(1)) / spread).mean()
        restored = [series.scale.restore(one.paths)[..., 3] for series, one in zip(ready, drawn, strict=True)]
        all_scores = pd.DataFrame([scores(r, past, truth) for r, (_, past, truth) in zip(restored, data, strict=True)])
        rows.append(row | all_scores[["mae", "crps"]].mean().to_dict())
    return pd.DataFrame(rows).set_index("weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["anchoring", "sliding", "precision"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--paths", type=int, default=20)
    parser.add_argument("--origins", type=int, default=8, help="forecasts a series, for anchoring")
    parser.add_argument("--every", type=int, default=2, help="use every n-th series, for sliding")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    predictor = kronos.load("nano", device=options.device)
    table = {"anchoring": anchoring, "sliding": sliding, "precision": precision}[options.what](predictor, options)
    print(table.round(4).to_string())
    print(json.dumps({"benchmark": options.what, "results": table.round(5).reset_index().to_dict("records")}))


if __name__ == "__main__":
    main()
