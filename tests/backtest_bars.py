"""Synthetic bars and a Qlib folder of them, for the tests of preparing, exporting and backtesting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kronos.qlib.export import Exported, export_qlib

SYMBOLS, DAYS, LOOKBACK, HORIZON = 12, 200, 20, 4
RANGES = {
    "train_time_range": ("2024-01-01", "2024-05-31"),
    "val_time_range": ("2024-06-01", "2024-07-31"),
    "test_time_range": ("2024-08-01", "2024-10-04"),
}


def bars(seed: int, days: int = DAYS, start: str = "2024-01-01") -> pd.DataFrame:
    """A random walk of daily bars."""
    rng = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(rng.normal(0, 0.02, days)))
    open_ = close * np.exp(rng.normal(0, 0.005, days))
    spread = np.abs(rng.normal(0, 0.01, days)) + 0.001
    volume = rng.integers(10_000, 100_000, days).astype(float)
    return pd.DataFrame(
        {
            "timestamps": pd.bdate_range(start, periods=days),
            "open": open_,
            "high": np.maximum(open_, close) * (1 + spread),
            "low": np.minimum(open_, close) * (1 - spread),
            "close": close,
            "volume": volume,
            "amount": volume * (open_ + close) / 2,
        }
    )


def market(symbols: int = SYMBOLS) -> dict[str, pd.DataFrame]:
    return {f"SYN{number:03d}": bars(number) for number in range(symbols)}


def long_table(series: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """As prepared: symbol, timestamp, open, ..."""
    parts = [table.rename(columns={"timestamps": "timestamp"}).assign(symbol=name) for name, table in series.items()]
    table = pd.concat(parts, ignore_index=True)
    return table[["symbol", "timestamp", "open", "high", "low", "close", "volume", "amount"]]


def qlib_folder(path: Path, series: dict[str, pd.DataFrame] | None = None) -> Exported:
    return export_qlib(market() if series is None else series, path, name="syn", benchmark="MEAN")


def settings(root: Path, **more: object) -> dict[str, object]:
    """Settings of a small fine-tuning and backtest in ``root``, whose Qlib folder is ``root / qlib``."""
    return {
        "qlib_data_path": str(root / "qlib"),
        "instrument": "syn",
        "backtest_benchmark": "MEAN",
        "lookback_window": LOOKBACK,
        "predict_window": HORIZON,
        "dataset_path": str(root / "data"),
        "backtest_result_path": str(root / "results"),
        "backtest_n_symbol_hold": 3,
        "backtest_n_symbol_drop": 1,
        "backtest_hold_thresh": 1,
        "inference_sample_count": 2,
        "backtest_batch_size": 100,
        **RANGES,
        **more,
    }
