"""The bars of a fine-tuning run: long tables on disk, mapped by every process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kronos.io.atomic import write_file
from kronos.training.bar_store import Store
from kronos.training.distributed import World

PARTS = ("train", "val", "test")
SOURCE = "source.json"


def open_parts(folder: str | Path, world: World) -> dict[str, Store]:
    """The stores of ``train.parquet``, ``val.parquet`` and, where it is, ``test.parquet`` in a folder: long tables with the columns
    symbol, timestamp, open, high, low, close, volume, amount. Made on first use, beside them, by the first process.

    Raises:
        ValueError: the folder, or the train or validation table, is not there, or is empty.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"dataset_path {folder}: no such folder; prepare the data first (kronos prepare qlib)")
    files = {name: folder / f"{name}.parquet" for name in PARTS if (folder / f"{name}.parquet").is_file()}
    for name in PARTS[:2]:
        if name not in files:
            raise ValueError(f"{folder} has no {name}.parquet; prepare the data first (kronos prepare qlib)")
    if world.is_main_process:
        for name, file in files.items():
            _make(file, folder / "stores" / name)
    world.wait()
    return {name: Store.open(folder / "stores" / name) for name in files}


def _make(file: Path, target: Path) -> None:
    """The store of a table, unless there is one of the same file."""
    source = {"bytes": file.stat().st_size, "modified": file.stat().st_mtime_ns}
    record = target / SOURCE
    if record.is_file() and json.loads(record.read_text()) == source:
        return
    table = pd.read_parquet(file)
    if not len(table):
        raise ValueError(f"{file} is empty: give its part more bars (its dates, or longer series)")
    Store.of(_runs(table)).save(target)
    write_file(record, json.dumps(source).encode())


def _runs(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for symbol, rows in table.groupby("symbol", sort=True):
        yield str(symbol), rows.sort_values("timestamp")
