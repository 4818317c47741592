"""Forecast one series with the classes, as scripts for the published Kronos do, and draw it.

python examples/prediction_example.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sample  # noqa: E402

import kronos  # noqa: E402
from model import Kronos, KronosPredictor, KronosTokenizer  # noqa: E402

# 1. A tokenizer and its model. The embedded pair needs no network; with one, take a published pair:
#    KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base"), Kronos.from_pretrained("NeoQuasar/Kronos-small")
NANO = Path(kronos.__file__).parent / "hub" / "nano"
tokenizer = KronosTokenizer.from_pretrained(NANO / "tokenizer")
model = Kronos.from_pretrained(NANO / "model")

# 2. The predictor; device=None takes a GPU if there is one.
predictor = KronosPredictor(model, tokenizer, device=None, max_context=512)

# 3. History and the timestamps to forecast: the last 30 days are hidden, so that they can be compared.
lookback, pred_len = 400, 30
df = sample.bars("synthetic")
past, truth = df.iloc[-lookback - pred_len : -pred_len], df.iloc[-pred_len:]

pred_df = predictor.predict(
    df=past[sample.COLUMNS],
    x_timestamp=past["timestamps"],
    y_timestamp=truth["timestamps"],
    pred_len=pred_len,
    T=1.0,
    top_p=0.9,
    sample_count=10,
    seed=0,
    valid_candles=True,
)
print(pred_df.head())  # the published numbers: the first bar may lie off the last close, since the tokenizer is lossy

# 4. The whole distribution, going on from the last close: what to draw and to decide by.
forecast = predictor.forecast(past[sample.COLUMNS], past["timestamps"], truth["timestamps"], sample_count=100, seed=0)
output = ROOT / "examples" / "output"
output.mkdir(exist_ok=True)
forecast.plot(
    path=output / "prediction_example.png",
    truth=truth.set_index("timestamps"),
    title="Synthetic, 30 days by nano (100 paths)",
)
print(f"picture: {output / 'prediction_example.png'}")
