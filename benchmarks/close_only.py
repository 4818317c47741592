"""Cost of closes alone: forecasts of closes from real candles, from candles made of closes, and from four equal prices a bar.

python benchmarks/close_only.py     needs the extra samples
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

import kronos
from kronos.klines.closes import candles_of_closes
from kronos.klines.samples import sample_path
from kronos.metrics.probabilistic import crps_paths

SAMPLES = ("sp500", "nasdaq", "synthetic", "synthetic-15m")
HORIZON, LOOKBACK, WINDOWS, PATHS = 12, 256, 24, 40
WAYS = {
    "real": lambda bars: bars,
    "closes": candles_of_closes,
    "equal": lambda bars: bars.assign(**dict.fromkeys(("open", "high", "low"), bars["close"])),
}


def scores(predictor: kronos.KronosPredictor, bars: pd.DataFrame, closes: np.ndarray) -> tuple[np.ndarray, float]:
    """CRPS of each window, in the lookback's mean absolute step, and the share of closes inside the 80 % interval."""
    step = max(HORIZON, (len(bars) - LOOKBACK - HORIZON) // WINDOWS)
    cuts = [at for i in range(WINDOWS) if (at := len(bars) - HORIZON - i * step) >= LOOKBACK]
    values = [name for name in ("open", "high", "low", "close", "volume") if name in bars]
    pasts = [bars.iloc[cut - LOOKBACK : cut] for cut in cuts]
    futures = [bars["timestamps"].iloc[cut : cut + HORIZON] for cut in cuts]
    times = [past["timestamps"] for past in pasts]
    drawn = predictor.predict_samples(
        [past[values] for past in pasts], times, futures, HORIZON, sample_count=PATHS, seed=0, verbose=False
    )[..., 3].astype(np.float64)
    truth = np.stack([closes[cut : cut + HORIZON] for cut in cuts])
    units = [past["close"].diff().abs().mean() for past in pasts]
    losses = [crps_paths(paths, real).mean() / unit for paths, real, unit in zip(drawn, truth, units, strict=True)]
    low, high = np.quantile(drawn, [0.1, 0.9], axis=1)
    return np.array(losses), float(((truth >= low) & (truth <= high)).mean())


def main() -> None:
    predictor = kronos.load("nano", device="cpu")
    losses: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for name in SAMPLES:
        bars = kronos.read_klines(sample_path(name))
        for way, make in WAYS.items():
            found, inside = scores(predictor, make(bars), bars["close"].to_numpy())
            losses[way].append(found)
            print(json.dumps({"sample": name, "candles": way, "crps": found.mean(), "inside_80": inside}), flush=True)
    real, rng = np.concatenate(losses["real"]), np.random.default_rng(0)
    for way in ("closes", "equal"):
        other = np.concatenate(losses[way])
        draws = (rng.integers(0, len(real), len(real)) for _ in range(2000))
        low, high = np.quantile([other[i].mean() / real[i].mean() for i in draws], [0.025, 0.975])
        print(
            json.dumps(
                {"candles": way, "crps_over_real": other.mean() / real.mean(), "95": [low, high], "windows": len(real)}
            )
        )


if __name__ == "__main__":
    main()
