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
# # Fine-tune on your own bars
#
# A folder of files in, a pair (tokenizer and model) out, with a comparison that says whether it helped.
# `jupytext --to ipynb finetuning.py` makes a notebook of this file.

# %%
import json
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd

import kronos
from kronos.cli import main
from kronos.klines.samples import sample_path

# %% [markdown]
# Your data: a folder with a file for each symbol. Here three pieces of the package's made-up bars play three symbols; leave this
# cell out for bars of your own.

# %%
folder = Path(mkdtemp())
bars = kronos.read_klines(sample_path("synthetic"))
(folder / "prices").mkdir()
for number, name in enumerate("abc"):
    piece = bars.iloc[240 * number : 240 * (number + 1)].reset_index(drop=True)
    piece.assign(timestamps=bars["timestamps"].iloc[:240]).to_csv(folder / "prices" / f"{name}.csv", index=False)

# %% [markdown]
# Look at the files first: what is wrong with them is said here, and not after an hour.

# %%
main(["check", str(folder / "prices" / "a.csv")], standalone_mode=False)

# %% [markdown]
# The run; in a terminal: `kronos finetune --data prices/ --out run`. It says at the start how long it will take. The few steps and
# windows of this cell only show how it goes; leave out everything after `run` for a real one. Stopped, the same command goes on.

# %%
words = ["finetune", "--data", folder / "prices", "--out", folder / "run"]
quick = "--lookback 32 --horizon 5 --epochs 2 --steps 4 --batch-size 16"
fewer = "--set n_val_iter=64 --set select_windows=24"
main([*map(str, words), *quick.split(), *fewer.split()], standalone_mode=False)

# %% [markdown]
# The loss of every report and validation.

# %%
log = pd.read_json(folder / "run" / "model" / "log.jsonl", lines=True)
log

# %% [markdown]
# Did it help? Both pairs forecast bars that neither was trained on. The fine-tuned one is kept where it is clearly better **on the
# validation bars**; where the difference may be chance, that is said. A lower token loss is not a better forecast.

# %%
summary = json.loads((folder / "run" / "summary.json").read_text())
print(summary["verdict"])
pd.DataFrame(summary["comparison"])[["part", "name", "mae_ratio", "crps_ratio", "windows"]]

# %% [markdown]
# The kept pair forecasts like any other model.

# %%
predictor = kronos.load(folder / "run" / "pair")
forecast = predictor.forecast(str(folder / "prices" / "a.csv"), horizon=5, lookback=32, seed=0, verbose=False)
print("kept:", summary["better"])
forecast.mean()
