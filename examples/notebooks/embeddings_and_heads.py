# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Embeddings, surprise and heads
#
# What the model says of bars without sampling a path: hidden states as features, how unusual each bar is, and heads that give
# quantiles in one pass. `jupytext --to ipynb embeddings_and_heads.py` makes a notebook of this file.

# %%
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

import kronos
from kronos.calibration.fitting import PastWindow
from kronos.heads import HeadSettings, train_head
from kronos.klines.samples import sample_path

bars = kronos.read_klines(sample_path("synthetic"))
times = pd.DatetimeIndex(bars["timestamps"])
columns = ["open", "high", "low", "close", "volume", "amount"]
predictor = kronos.load("nano")

# %% [markdown]
# ## Embeddings
#
# A vector for each window of 64 bars: the state after its last bar. `kronos features` does this for thousands of series.

# %%
lookback, horizon = 64, 5
stops = range(lookback, len(bars) - horizon, 8)
pasts = [bars[columns].iloc[stop - lookback : stop].reset_index(drop=True) for stop in stops]
past_times = [times[stop - lookback : stop] for stop in stops]
vectors = predictor.embed(pasts, past_times)
print("windows and numbers of each:", vectors.shape)

# %% [markdown]
# The windows of the past that are most like the last one, by the cosine between vectors.

# %%
unit = (vectors - vectors.mean(0)) / np.linalg.norm(vectors - vectors.mean(0), axis=1, keepdims=True)
likeness = unit[:-1] @ unit[-1]
nearest = np.argsort(-likeness)[:3]
pd.DataFrame({"last bar": [past_times[i][-1] for i in nearest], "cosine": likeness[nearest]})

# %% [markdown]
# ## Surprise
#
# Minus the logarithm of the probability that the model gave each bar. Here the range of one bar is made ten times as wide.

# %%
odd = bars[columns].iloc[-200:].reset_index(drop=True)
middle, reach = odd.loc[120, "close"], 5 * (odd.loc[120, "high"] - odd.loc[120, "low"])
odd.loc[120, ["high", "low"]] = [middle + reach, middle - reach]
score = predictor.score(odd, times[-200:])
print("the most surprising bar is the one that was changed:", score["surprise"].idxmax() == times[-200:][120])
score["surprise"].nlargest(3)

# %% [markdown]
# ## A head
#
# Trained on what followed the windows of the past, with the model left as it is; in a terminal: `kronos heads train prices/ --out
# my-pair`. The earliest windows are trained on, and the verdict is given on the latest. These bars are made up: there is nothing to
# know but how wide the distribution is, and the verdict says so.

# %%
windows = [
    PastWindow(past, when, times[stop : stop + horizon], bars["close"].to_numpy()[stop : stop + horizon])
    for past, when, stop in zip(pasts, past_times, stops, strict=True)
]
head = train_head(predictor, windows, HeadSettings("distribution"))
verdict = head.verdict
print(f"80 % intervals cover {verdict['coverage_80']:.0%} of {head.trained_on['windows']['test']} later windows")
print(f"CRPS over that of volatility features alone: {verdict['over_features']:.3f}")

# %% [markdown]
# Kept with the pair and loaded with it. One pass instead of a hundred paths; each step has a distribution of its own.

# %%
folder = Path(mkdtemp()) / "pair"
predictor.heads["distribution"] = head
predictor.save_pretrained(folder)
again = kronos.load(folder)
future = pd.bdate_range(times[-1], periods=horizon + 1)[1:]
quantiles = again.quantiles_direct(bars[columns].iloc[-lookback:], times[-lookback:], future, (0.1, 0.5, 0.9))
pd.DataFrame(quantiles[0].T, index=future, columns=["10 %", "50 %", "90 %"]).round(2)
