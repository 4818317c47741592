"""Forecast from prices alone, on days that have not come yet: an exchange calendar gives their dates.

python examples/prediction_wo_vol_example.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sample  # noqa: E402

import kronos  # noqa: E402

predictor = kronos.load("nano")

prices = ["open", "high", "low", "close"]
past = sample.bars("synthetic").iloc[-400:]
future = kronos.future_timestamps(past["timestamps"], 30, calendar="XNYS")  # skips weekends and holidays

mean = predictor.predict(past[prices], past["timestamps"], future, 30, sample_count=10, seed=0, valid_candles=True)
print(mean[prices].head())  # volume and amount were not given: what the model says of them means nothing

# The distribution, going on from the last close.
forecast = predictor.forecast(past[prices], past["timestamps"], future, sample_count=100, seed=0)

output = ROOT / "examples" / "output"
output.mkdir(exist_ok=True)
forecast.plot(
    path=output / "prediction_wo_vol_example.png", title="Synthetic, 30 days by nano, prices only (100 paths)"
)
print(f"picture: {output / 'prediction_wo_vol_example.png'}")
