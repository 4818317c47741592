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
# # Quickstart
#
# Forecast the next bars of a table of candles. `jupytext --to ipynb quickstart.py` makes a notebook of this file; it also runs as a
# script. Needs `pip install 'kronos-forecast[plot]'` only for the picture in a file.

# %%
from pathlib import Path
from tempfile import mkdtemp

import kronos
from kronos.klines.samples import sample_path

# %% [markdown]
# A table of pandas, Polars or PyArrow, or a file's name. These are made-up daily bars of the package; put your own file here.

# %%
df = kronos.read_klines(sample_path("synthetic"))
df.tail()

# %% [markdown]
# The built-in model needs no network. The times to forecast continue those of the table; `calendar="XNYS"` knows the holidays.

# %%
predictor = kronos.load("nano")
forecast = predictor.forecast(df, horizon=20, seed=0, lookback=256, verbose=False, ids=["made-up"])
forecast

# %% [markdown]
# Questions to the distribution: intervals, probabilities, risk.

# %%
low, high = forecast.interval(0.8)
print(f"80 % of the final closes lie between {low['close'].iloc[-1]:.2f} and {high['close'].iloc[-1]:.2f}")
print(f"chance of a rise: {forecast.prob_up().iloc[0]:.0%}")
print(f"chance of more than 2 % in five bars: {forecast.prob(return_above=0.02, step=5).iloc[0]:.0%}")
print(f"value at risk, 95 %: {forecast.value_at_risk(0.95).iloc[0]:.1%}")

# %% [markdown]
# Keep all of it: the paths, and the model with its settings.

# %%
folder = Path(mkdtemp())
forecast.save(folder / "forecast.parquet")
predictor.save_pretrained(folder / "pair")
again = kronos.load(folder / "pair").forecast(df, horizon=20, seed=0, lookback=256, verbose=False)
print("the same forecast:", (again.paths == forecast.paths).all())
