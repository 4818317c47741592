"""Make the sample files of the package: made-up bars, no market's. The same files come out at every run.

    python tools/make_samples.py

Returns follow a GARCH(1, 1) process with Student's t innovations (5 degrees of freedom), as those of shares roughly do: calm and
wild days come in spells, and nothing says which way the price goes. Every bar is a walk of `STEPS` steps.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parent.parent / "src" / "kronos" / "klines" / "sample_data"
STEPS = 32
"""Trades within a bar that its open, high, low and close are taken from."""
FREEDOM = 5
"""Degrees of freedom of the innovations' t distribution."""


def volatilities(rng: np.random.Generator, bars: int, level: float) -> np.ndarray:
    """Standard deviation of each bar's log return [bars]: GARCH(1, 1) around ``level``."""
    alpha, beta = 0.08, 0.90
    squared, result = level**2, np.empty(bars)
    for i in range(bars):
        result[i] = np.sqrt(squared)
        shock = rng.standard_t(FREEDOM) * np.sqrt((FREEDOM - 2) / FREEDOM) * result[i]
        squared = (1 - alpha - beta) * level**2 + alpha * shock**2 + beta * squared
    return result


def made_up(times: pd.DatetimeIndex, level: float, first: float, seed: int) -> pd.DataFrame:
    """Bars at these times: open, high, low, close (2 decimals), volume (lots of 100) and amount."""
    rng = np.random.default_rng(seed)
    sigma = volatilities(rng, len(times), level)
    new_day = np.r_[True, times[1:].normalize() != times[:-1].normalize()]
    gap = np.where(new_day, 0.35, 0.02) * sigma * rng.standard_normal(len(times))
    moves = sigma[:, None] / np.sqrt(STEPS) * rng.standard_t(FREEDOM, (len(times), STEPS)) * np.sqrt(0.6)
    closed = np.cumsum(gap + moves.sum(1))
    opened = np.r_[0.0, closed[:-1]] + gap
    walk = np.c_[opened, opened[:, None] + moves.cumsum(1)]
    walk[:, -1] = closed
    price = np.round(first * np.exp(walk), 2)
    # More is traded in wild bars, and at both ends of a day.
    minutes = times.hour * 60 + times.minute
    ends = (
        1.0
        if (minutes == minutes[0]).all()
        else 1 + 0.6 * np.square((minutes - minutes.min()) / np.ptp(minutes) * 2 - 1)
    )
    volume = 100 * np.round(1e4 * ends * (sigma / level) * np.exp(0.3 * rng.standard_normal(len(times))))
    return pd.DataFrame(
        {
            "timestamps": times,
            "open": price[:, 0],
            "high": price.max(1),
            "low": price.min(1),
            "close": price[:, -1],
            "volume": volume.astype(np.int64),
            "amount": np.round(volume * price.mean(1)).astype(np.int64),
        }
    )


def quarter_hours(days: int) -> pd.DatetimeIndex:
    """Starts of bars of 15 minutes from 9:30 to 11:30 and from 13:00 to 15:00, Monday to Friday."""
    offsets = pd.to_timedelta([*range(570, 690, 15), *range(780, 900, 15)], unit="min")
    return pd.DatetimeIndex([day + offset for day in pd.bdate_range("2024-01-02", periods=days) for offset in offsets])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    folder = parser.parse_args().out
    folder.mkdir(exist_ok=True)
    tables = {
        "synthetic": made_up(pd.bdate_range("2018-01-02", periods=1600), 0.014, 50.0, seed=20),
        "synthetic-15m": made_up(quarter_hours(100), 0.003, 20.0, seed=21),
    }
    for name, table in tables.items():
        text = table.to_csv(index=False, lineterminator="\n")
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode("ascii"), 9, mtime=0))


if __name__ == "__main__":
    main()
