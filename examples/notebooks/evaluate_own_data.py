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
# # Evaluate and calibrate on your own data
#
# Is the model any good on these bars, and are its intervals as wide as they should be? Needs
# `pip install 'kronos-forecast[evaluate]'`. `jupytext --to ipynb evaluate_own_data.py` makes a notebook of this file.

# %%
import pandas as pd

import kronos
from kronos.calibration.fitting import PastWindow, collect, evaluate_calibration, fit
from kronos.evaluation import Task, evaluate
from kronos.klines.samples import sample_path

# %% [markdown]
# Put your own files here, `{name: table}` or a folder. Few windows make this quick; take more for an answer that means something.

# %%
bars = kronos.read_klines(sample_path("synthetic"))
task = Task("mine", "forecast", anchor="level", lookback=64, horizon=5, paths=20, n_windows=10)
result = evaluate({"made-up": bars}, ["nano"], task=task, baselines=["last", "bootstrap"], progress=False)
scores = result.scores("last", "bootstrap")
scores.leaderboard[["model", "relative_mase", "relative_crps", "covered"]]

# %% [markdown]
# In words. A ratio below 1 is better than the baseline; with few independent periods nothing can be said, and the text says so.

# %%
from kronos.evaluation.report.sentences import headline  # noqa: E402

for line in headline(scores, ["nano"]):
    print(line)

# %% [markdown]
# Calibrate: forecast windows of the past, fit on the earlier ones, judge on the later ones.
# `kronos calibrate prices/ --out cal.json` does this with many files and writes what helps;
# on a few windows, as here, it often does not.

# %%
lookback, horizon = 64, 5
columns = ["open", "high", "low", "close", "volume", "amount"]
times = pd.DatetimeIndex(bars["timestamps"])
windows = []
for start in range(0, len(bars) - lookback - horizon, 50):
    stop, end = start + lookback, start + lookback + horizon
    past = bars.iloc[start:stop][columns].reset_index(drop=True)
    windows.append(PastWindow(past, times[start:stop], times[stop:end], bars["close"].to_numpy()[stop:end]))

predictor = kronos.load("nano")
made = collect(predictor, windows, paths=16)
earlier = made.time < pd.Series(made.time).quantile(0.7)
calibration = fit(made.part(earlier))
verdict = evaluate_calibration(made.part(~earlier), calibration)
print(f"{verdict.windows} later windows: CRPS after over before {verdict.crps:.3f}, 95 % interval {verdict.interval}")
print(f"80 % intervals hold {verdict.covers[0]:.0%} before, {verdict.covers[1]:.0%} after")

# %% [markdown]
# Where it helps: `predictor.forecast(df, horizon=5, calibration=calibration)`, or `calibration.save("cal.json")`.
