"""Forecast several series in one call, and draw each.

python examples/prediction_batch_example.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sample  # noqa: E402

import kronos  # noqa: E402

predictor = kronos.load("nano")  # or "mini", "small", "base", a Hub id, a folder

pred_len = 30
names, lookbacks = ["synthetic", "synthetic-15m"], [400, 300]  # lookbacks need not be equal
frames, pasts, futures, truths = [], [], [], []
for name, lookback in zip(names, lookbacks, strict=True):
    df = sample.bars(name)
    past, truth = df.iloc[-lookback - pred_len : -pred_len], df.iloc[-pred_len:]
    frames.append(past[sample.COLUMNS])
    pasts.append(past["timestamps"])
    futures.append(truth["timestamps"])
    truths.append(truth)

# The published call: the mean of ten paths of each series, as they are drawn.
for name, mean in zip(
    names,
    predictor.predict_batch(frames, pasts, futures, pred_len, sample_count=10, seed=0, valid_candles=True),
    strict=True,
):
    print(name, mean.tail(3), sep="\n")

# The distribution of each series, going on from its last close.
forecast = predictor.forecast(frames, pasts, futures, sample_count=100, seed=0, ids=names)

output = ROOT / "examples" / "output"
output.mkdir(exist_ok=True)
for name, truth in zip(names, truths, strict=True):
    path = output / f"prediction_batch_{name}.png"
    forecast.plot(name, path, truth=truth.set_index("timestamps"), title=f"{name}, 30 bars by nano (100 paths)")
    print(f"picture: {path}")
