"""Timeframe, the length of a bar: 1m, 15m, 1h, 4h, 1d, 1w, 1M, as ccxt writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Timeframe:
    """Length of a bar as a number and a unit: m, h, d, w, or M for months."""

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d{0,3}[mhdwM]", self.text):
            raise ValueError(f"the timeframe {self.text!r} is none; expected one such as 1m, 15m, 1h, 4h, 1d, 1w or 1M")

    @property
    def count(self) -> int:
        return int(self.text[:-1])

    @property
    def monthly(self) -> bool:
        return self.text[-1] == "M"

    @property
    def intraday(self) -> bool:
        return self.text[-1] in "mh"

    @property
    def length(self) -> pd.Timedelta:
        """Duration of a bar; for months that of the longest."""
        return pd.Timedelta(seconds=self.count * _SECONDS.get(self.text[-1], 31 * 86400))

    def after(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return the end times of bars that open at these times."""
        if self.monthly:
            return times + pd.DateOffset(months=self.count)
        return times + self.length

    def grid(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """Return the times from first to last, both included, one bar apart."""
        if self.monthly:
            return pd.date_range(first, last, freq=pd.DateOffset(months=self.count))
        return pd.date_range(first, last, freq=self.length)
