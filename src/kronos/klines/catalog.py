"""``index.csv`` of a folder of K-line files: the market, frequency, licence and origin of each file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kronos.klines.columns import KlineError, find_columns
from kronos.klines.splitting import nearest_frequency

INDEX = "index.csv"


HEAD_BYTES = 65536
"""Bytes of a file that its header row lies in."""


def is_catalog(name: str, head: bytes) -> bool:
    """Whether a file lists files and holds no bars: it is called ``index.csv``, and its columns have ``file`` and no close.

    Args:
        name: of the file, with or without folders.
        head: its first bytes, up to `HEAD_BYTES`.
    """
    if Path(name).name != INDEX:
        return False
    header = head[:HEAD_BYTES].decode("utf-8-sig", "replace").splitlines()[:1]
    columns = [cell.strip().strip('"') for line in header for cell in line.split(",")]
    return "file" in columns and "close" not in find_columns(columns)


def left_out(place: str) -> str:
    """The line that says why a file is not read as bars."""
    return f"{place} lists files and holds no bars: it is left out"


class CatalogEntry(NamedTuple):
    """One file of a folder.

    Attributes:
        market: asset class or source, by which scores and stores are grouped.
        frequency: nearest of the paper's, such as "5m"; None where the index does not say it, or not as a frequency.
        licence, origin: empty where the index does not say them.
    """

    market: str
    frequency: str | None = None
    licence: str = ""
    origin: str = ""


def read_catalog(folder: Path) -> dict[str, CatalogEntry]:
    """Read the ``index.csv`` of a folder: columns file, market and, where there are, freq, licence and source.

    Files are known by their own names, whatever folder the index writes before them. Rows without a file or a market are
    left out.

    Returns:
        {file name: entry}; empty where there is no index, or it lacks the columns file and market.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"file", "market"} <= set(table.columns):
        return {}
    entries = {}
    for row in table.to_dict("records"):
        if row["file"] and row["market"]:
            entry = CatalogEntry(
                row["market"], _frequency(row.get("freq", "")), row.get("licence", ""), row.get("source", "")
            )
            entries[Path(row["file"]).name] = entry
    return entries


def _frequency(text: str) -> str | None:
    try:
        return nearest_frequency(text)
    except KlineError:
        return None
