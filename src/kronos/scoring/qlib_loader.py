"""Features of `kronos features` as a data loader of Qlib, so that its models train on them beside Alpha158."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kronos.scoring.run import read_scores

OF_THE_RUN = ("cutoff", "symbol", "last_bar", "horizon_end", "tz", "lookback", "last_close")
"""Columns that say what a row is of, and are no features."""


class KronosFeatureLoader:
    """What Qlib's ``NestedDataLoader`` takes in its ``dataloader_l``, by name: class and module_path (see docs/market.md).

    A row is of the day of its last bar, which its features look back from. Symbols are compared without regard to case, as Qlib
    writes them in capitals. Imports Qlib only where a market's name has to be looked up.

    Args:
        folder: that ``kronos features`` or ``kronos score`` wrote.
        columns: which columns; None takes all numbers but those of `OF_THE_RUN`.
        prefix: put before their names.

    Raises:
        ValueError: no such folder, columns that it does not have, or a symbol with two rows of one day.
    """

    def __init__(self, folder: str, columns: Sequence[str] | None = None, prefix: str = "kronos_") -> None:
        table = read_scores(folder)
        known = [name for name in table.columns if name not in OF_THE_RUN and table[name].dtype.kind in "fi"]
        missing = [name for name in columns or () if name not in known]
        if missing:
            raise ValueError(f"{folder} has no column {missing[0]!r}; it has {', '.join(known)}")
        chosen = known if columns is None else list(columns)
        day = _local_days(table)
        # Cut-offs on holidays see the bar of the day before once more.
        table = table.assign(datetime=day, instrument=table["symbol"].str.upper())
        table = table.drop_duplicates(["datetime", "instrument", *chosen])
        if table.duplicated(["datetime", "instrument"]).any():
            again = table[table.duplicated(["datetime", "instrument"])].iloc[0]
            raise ValueError(
                f"{folder} has two different rows of {again['symbol']} on {again['datetime']:%Y-%m-%d}: give daily cut-offs"
            )
        frame = table.set_index(["datetime", "instrument"])[chosen].sort_index().astype(np.float32)
        frame.columns = pd.MultiIndex.from_product([["feature"], [prefix + name for name in chosen]])
        self.frame = frame

    def load(self, instruments: Any = None, start_time: Any = None, end_time: Any = None) -> pd.DataFrame:
        """Rows of these instruments and days, both inclusive, by datetime and instrument; columns ("feature", name).

        Args:
            instruments: a market's name, Qlib's description of one, a list of names, or None for all.
        """
        frame = self.frame
        if instruments is not None:
            if isinstance(instruments, (str, dict)):
                from qlib.data import D

                told = D.instruments(instruments) if isinstance(instruments, str) else instruments
                instruments = D.list_instruments(told, as_list=True)
            names = {str(name).upper() for name in instruments}
            frame = frame[frame.index.get_level_values("instrument").isin(names)]
        days = frame.index.get_level_values("datetime")
        inside = np.ones(len(frame), bool)
        if start_time is not None:
            inside &= days >= pd.Timestamp(start_time)
        if end_time is not None:
            inside &= days <= pd.Timestamp(end_time)
        return frame[inside]


def _local_days(table: pd.DataFrame) -> pd.Series:
    """Day of each last bar in its own zone, without a zone."""
    last = pd.to_datetime(table["last_bar"])
    days = last.dt.normalize()
    for zone in table["tz"].dropna().unique():
        own = table["tz"] == zone
        times = last[own] if last.dt.tz is not None else last[own].dt.tz_localize("UTC")
        days = days.where(~own, times.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize())
    return pd.to_datetime(days)
