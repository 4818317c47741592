"""Step 1 of the fine-tuning workflow: read bars from Qlib, clean them, and split them by time for training and backtest.

Written are ``train.parquet``, ``val.parquet`` and ``test.parquet`` (long tables: symbol, timestamp, open, high, low, close, volume,
amount), the same as ``*_data.pkl`` for existing scripts (a dict of symbol -> DataFrame), ``report.json``, and ``settings.yaml`` for
the steps after it.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.io.atomic import json_bytes, write_file
from kronos.klines.time_splits import COLUMNS, Dropped, Splits, split_by_time
from kronos.qlib.folder import QlibFolder, check_qlib
from kronos.qlib.session import start_qlib
from kronos.schema import PICKLE_FEATURES, PRICE_COLUMNS

if TYPE_CHECKING:
    from kronos.finetune.config import FinetuneConfig

GROUP = 50
"""Instruments that are read together, between two steps of the progress bar."""
REPORT, SETTINGS = "report.json", "settings.yaml"
CARRIED = [
    "qlib_data_path",
    "instrument",
    "freq",
    "region",
    "lookback_window",
    "predict_window",
    "train_time_range",
    "val_time_range",
    "test_time_range",
    "backtest_time_range",
    "dataset_path",
]
"""Settings that the next steps must share."""


@dataclass(frozen=True)
class Bars:
    """Cleaned bars of all instruments, with counts of the rows left out.

    Attributes:
        table: the columns of `time_splits.COLUMNS`, sorted by symbol and time; float32.
        read: rows that Qlib gave.
        faulty: rows left out for a missing or infinite value or a price that is not above zero, by symbol.
        dropped: instruments left out altogether, with the reason.
        amount: where amounts come from, with the number of instruments: "amount", "vwap" or "mean price".
    """

    table: pd.DataFrame
    read: int
    faulty: dict[str, int]
    dropped: list[Dropped]
    amount: dict[str, int]


def prepare_qlib(config: FinetuneConfig, verbose: bool = True) -> dict[str, Any]:
    """Run step 1, write its files to ``config.dataset_path``, and return the report.

    Raises:
        ValueError: data, list or dates do not exist, no bar is left, or a bar is a target of two parts.
    """
    folder = check_qlib(config, ("dataset", "train", "val", "test", "backtest"))
    target = Path(config.dataset_path)
    if target.exists() and not target.is_dir():
        raise ValueError(f"dataset_path {target} is a file; give a folder")
    start_qlib(folder.path, config.region)
    bars = load_bars(config, folder, verbose)
    if not len(bars.table):
        reasons = "; ".join(sorted({entry.reason for entry in bars.dropped})[:3])
        raise ValueError(f"no instrument of {config.instrument!r} has enough bars: {reasons}")
    splits = split_by_time(bars.table, config.target_ranges(), config.lookback_window, least_rows(config))
    splits.check()
    for part, table in splits.parts.items():
        if not len(table):
            raise ValueError(
                f"no instrument has {least_rows(config)} bars (lookback, horizon, and one) in the {part} range "
                f"{' to '.join(config.target_ranges()[part])}: make it longer, or the lookback shorter"
            )
    report = report_of(config, bars, splits)
    contents = {REPORT: json_bytes(report), SETTINGS: carried_settings(config)}
    for part, table in splits.parts.items():
        contents[f"{part}.parquet"] = table.to_parquet(index=False)
        contents[f"{part}_data.pkl"] = as_pickle(table)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_file(target / name, content)
    return report


def carried_settings(config: FinetuneConfig) -> bytes:
    """Return the YAML that the later steps take by ``--yaml``."""
    import yaml

    values = {name: getattr(config, name) for name in CARRIED}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return yaml.safe_dump(plain, sort_keys=False).encode()


def least_rows(config: FinetuneConfig) -> int:
    """Return the rows that a symbol needs: a training window has one bar more than lookback and horizon."""
    return config.lookback_window + config.predict_window + 1


def load_bars(config: FinetuneConfig, folder: QlibFolder, verbose: bool = True) -> Bars:
    """Read the bars of the instrument list by Qlib, from a lookback before the first date to a horizon after the last."""
    from qlib.data import D
    from tqdm.auto import tqdm

    calendar = folder.calendar()
    begin, end = pd.Timestamp(config.dataset_begin_time), pd.Timestamp(config.dataset_end_time) + pd.Timedelta(days=1)
    first = max(int(calendar.searchsorted(begin)) - config.lookback_window, 0)
    last = min(int(calendar.searchsorted(end)) - 1 + config.predict_window, len(calendar) - 1)
    spans = D.list_instruments(D.instruments(config.instrument), calendar[first], calendar[last], freq=config.freq)
    listed = sorted(spans)
    fields = [*PRICE_COLUMNS, "volume"]
    fields += [name for name in ("vwap", "amount") if any(folder.has(symbol, name) for symbol in listed)]
    parts: list[pd.DataFrame] = []
    dropped = [
        Dropped("all", s, 0, "not listed between these dates")
        for s in folder.instruments(config.instrument)
        if s not in spans
    ]
    faulty: dict[str, int] = {}
    sources: dict[str, int] = {}
    read = 0
    with tqdm(total=len(listed), desc="reading", unit="instrument", disable=not verbose) as bar:
        for start in range(0, len(listed), GROUP):
            names = listed[start : start + GROUP]
            values = D.features(
                {name: spans[name] for name in names},
                [f"${field}" for field in fields],
                calendar[first],
                calendar[last],
                freq=config.freq,
            )
            values.columns = pd.Index(fields)
            found = dict(iter(values.groupby(level="instrument", sort=True))) if len(values) else {}
            for name in names:
                raw = found.get(name)
                read += 0 if raw is None else len(raw)
                rows, source = clean_rows(raw) if raw is not None else (None, "")
                count = 0 if rows is None else len(rows)
                if raw is not None and count < len(raw):
                    faulty[name] = len(raw) - count
                if rows is None or count < least_rows(config):
                    why = "no data" if not count else f"{count} rows; {least_rows(config)} are needed"
                    dropped.append(Dropped("all", name, count, why))
                    continue
                sources[source] = sources.get(source, 0) + 1
                rows.insert(0, "symbol", name)
                parts.append(rows)
            bar.update(len(names))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return Bars(table, read, faulty, dropped, sources)


def clean_rows(raw: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the valid rows of one instrument, timestamp and the six features, and the source of its amounts.

    ``raw`` has the index (instrument, datetime) and the columns open, high, low, close, volume and perhaps vwap and amount.
    """
    prices = raw[["open", "high", "low", "close"]].to_numpy(np.float64)
    volume = raw["volume"].to_numpy(np.float64)
    if "amount" in raw and raw["amount"].notna().any():
        amount, source = raw["amount"].to_numpy(np.float64), "amount"
    elif "vwap" in raw and raw["vwap"].notna().any():
        amount, source = volume * raw["vwap"].to_numpy(np.float64), "volume times vwap"
    else:
        amount, source = volume * prices.mean(axis=1), "volume times mean price"
    values = np.column_stack([prices, volume, amount])
    sound = np.isfinite(values).all(axis=1) & (prices > 0).all(axis=1)
    table = pd.DataFrame(values[sound].astype(np.float32), columns=list(COLUMNS[2:]))
    times = raw.index.get_level_values("datetime")[sound]
    table.insert(0, "timestamp", times.to_numpy("datetime64[ns]"))
    return table, source


def as_pickle(table: pd.DataFrame) -> bytes:
    """Pickle a dict of symbol -> DataFrame (index datetime; open, high, low, close, vol, amt), as existing scripts load it."""
    frames = {}
    names = pd.Index(list(PICKLE_FEATURES), dtype=object)  # text columns of pandas 3 cannot be read by pandas 2
    for symbol, rows in table.groupby("symbol", sort=True):
        index = pd.DatetimeIndex(rows["timestamp"].to_numpy(), name="datetime")
        frames[str(symbol)] = pd.DataFrame(rows[list(COLUMNS[2:])].to_numpy(), index=index, columns=names)
    return pickle.dumps(frames, protocol=4)


def report_of(config: FinetuneConfig, bars: Bars, splits: Splits) -> dict[str, Any]:
    """Return the report: bars kept, and bars left out with the reason; without times, so that equal data give equal reports."""
    reasons: dict[str, list[str]] = {}
    for entry in [*bars.dropped, *splits.dropped]:
        where = "all parts" if entry.part == "all" else entry.part
        reasons.setdefault(f"{where}: {entry.reason}", []).append(entry.symbol)
    return {
        "qlib_data_path": config.qlib_data_path,
        "instrument": config.instrument,
        "freq": config.freq,
        "lookback_window": config.lookback_window,
        "predict_window": config.predict_window,
        "ranges_of_targets": {part: list(pair) for part, pair in config.target_ranges().items()},
        "symbols_kept": int(bars.table["symbol"].nunique()),
        "rows_read": bars.read,
        "rows_kept": len(bars.table),
        "rows_with_faults": int(sum(bars.faulty.values())),
        "rows_with_faults_by_symbol": bars.faulty,
        "amount_from": bars.amount,
        "parts": splits.report(),
        "dropped": reasons,
        "leak_check": "passed: no bar is a target of two parts, and later parts begin after earlier ones end",
    }
