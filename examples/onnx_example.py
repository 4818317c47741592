"""Forecast with exported graphs: NumPy and onnxruntime, no PyTorch.

kronos export-onnx nano --out nano-onnx
python examples/onnx_example.py nano-onnx
"""

import sys

import numpy as np

from kronos.export.onnx_runtime import OnnxKronos  # that one file is enough where kronos is not installed

# 1. Hourly bars of a market that has a daily rhythm: open, high, low, close, volume, amount.
lookback, horizon = 200, 24
rng = np.random.default_rng(0)
times = np.datetime64("2024-07-01T00:00") + np.arange(lookback + horizon) * np.timedelta64(1, "h")
close = 100 * np.exp(
    (0.002 * rng.normal(size=lookback) + 0.0015 * np.sin(np.arange(lookback) * 2 * np.pi / 24)).cumsum()
)
opened = np.concatenate([[100.0], close[:-1]])
high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
volume = rng.uniform(50, 150, lookback)
bars = np.stack([opened, high, low, close, volume, volume * close], axis=1)

# 2. Paths of the next day, and what they say.
kronos = OnnxKronos(sys.argv[1] if len(sys.argv) > 1 else "nano-onnx")
paths = kronos.forecast(bars, times[:lookback], times[lookback:], paths=30, seed=0)
closes = paths[:, :, 3]
print("hour   mean close   10 % to 90 %")
for step in (0, 5, 11, 23):
    low, high = np.quantile(closes[:, step], [0.1, 0.9])
    print(f"{step + 1:4d}   {closes[:, step].mean():10.3f}   {low:.3f} to {high:.3f}")
