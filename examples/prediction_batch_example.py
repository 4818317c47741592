"""Forecast several series in one call, and draw each.

python examples/prediction_batch_example.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sample  # noqa: E402

import kronos  # noqa: E402
from kronos.picture import forecast_picture  # noqa: E402

predictor = kronos.load("nano")  # or "mini", "small", "base", a Hub id, a folder

pred_len = 30
names, lookbacks = ["sp500", "nasdaq"], [400, 300]  # lookbacks need not be equal
frames, pasts, futures, truths = [], [], [], []
for name, lookback in zip(names, lookbacks, strict=True):
    df = sample.bars(name)
    past, truth = df.iloc[-lookback - pred_len : -pred_len], df.iloc[-pred_len:]
    frames.append(past[sample.COLUMNS])
    pasts.append(past["timestamps"])
    futures.append(truth["timestamps"])
    truths.append(truth)

forecasts = predictor.predict_batch(frames, pasts, futures, pred_len, sample_count=10, seed=0, valid_candles=True)

output = ROOT / "examples" / "output"
output.mkdir(exist_ok=True)
for name, frame, past_times, forecast, truth in zip(names, frames, pasts, forecasts, truths, strict=True):
    print(name, forecast.tail(3), sep="\n")
    history = frame.set_index(past_times).iloc[-120:]
    picture = forecast_picture(history, forecast, truth=truth, title=f"{name}, 30 days by nano (mean of 10 paths)")
    (output / f"prediction_batch_{name}.png").write_bytes(picture)
    print(f"picture: {output / f'prediction_batch_{name}.png'}")
