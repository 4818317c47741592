"""Read and check a Qlib data folder by its files, before Qlib is loaded.

Qlib itself gives an empty file or missing values for a missing list or field, so everything is checked first.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from kronos.finetune.config import FinetuneConfig


FREQ = re.compile(r"([0-9]*)(month|mon|week|w|day|d|minute|min)")
NEAREST_DAYS = 14
"""Days that a range may extend past the calendar, since holidays may lie at either end."""


def qlib_freq(text: str) -> str:
    """Return a frequency as Qlib writes it in file names: day, week, 5min, ...

    Raises:
        ValueError: Qlib knows no such frequency.
    """
    hours = re.fullmatch(r"([0-9]+)h", text.lower())
    matched = FREQ.fullmatch(f"{int(hours[1]) * 60}min" if hours else text.lower())
    if matched is None:
        raise ValueError(
            f"freq {text!r} is none that Qlib knows: day, week, month, or minutes such as 1min, 5min, 60min"
        )
    base = {"mon": "month", "w": "week", "d": "day", "minute": "min"}.get(matched[2], matched[2])
    count = int(matched[1] or 1)
    return f"{count if count != 1 or base != 'day' else ''}{base}"


@dataclass(frozen=True)
class QlibFolder:
    """Qlib data folder with calendars, instruments and features, at one frequency ("day", "5min").

    Raises:
        ValueError: the folder does not exist, or lacks a part of a Qlib data folder.
    """

    path: Path
    freq: str = "day"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).expanduser())
        object.__setattr__(self, "freq", qlib_freq(self.freq))
        if not self.path.is_dir():
            raise ValueError(
                f"qlib_data_path {self.path}: no such folder; give a Qlib data folder, or write one from files with "
                "kronos export-qlib"
            )
        for part in ("calendars", "instruments", "features"):
            if not (self.path / part).is_dir():
                raise ValueError(f"qlib_data_path {self.path} has no folder {part!r}, so it is no Qlib data folder")
        if not self._calendar_file.is_file():
            there = sorted(p.stem for p in (self.path / "calendars").glob("*.txt") if not p.stem.endswith("_future"))
            raise ValueError(f"{self.path} has no calendar for freq {self.freq!r}; it has {', '.join(there) or 'none'}")

    @property
    def _calendar_file(self) -> Path:
        return self.path / "calendars" / f"{self.freq}.txt"

    def calendar(self) -> pd.DatetimeIndex:
        """All times of the market, ascending.

        Raises:
            ValueError: the calendar is empty, not sorted or no calendar.
        """
        try:
            times = pd.DatetimeIndex(
                pd.to_datetime([t for t in self._calendar_file.read_text().split("\n") if t.strip()])
            )
        except (ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"{self._calendar_file} cannot be read: {str(error).splitlines()[0]}") from error
        if not len(times) or not times.is_monotonic_increasing:
            raise ValueError(f"{self._calendar_file} must hold times in order, found {len(times)} lines")
        return times

    def lists(self) -> list[str]:
        """Names of the lists of instruments."""
        return sorted(file.stem for file in (self.path / "instruments").glob("*.txt"))

    def instruments(self, name: str) -> list[str]:
        """Return the instruments of a list, each once.

        Raises:
            ValueError: there is no such list (the message names the existing ones), or it is empty.
        """
        file = self.path / "instruments" / f"{name.lower()}.txt"
        if "/" in name or not file.is_file():
            raise ValueError(f"there is no instrument list {name!r} in {self.path}; it has {', '.join(self.lists())}")
        names = [line.split("\t")[0].strip() for line in file.read_text().splitlines() if line.strip()]
        if not names:
            raise ValueError(f"the instrument list {file} is empty")
        return list(dict.fromkeys(names))

    def has(self, instrument: str, field: str) -> bool:
        """Whether an instrument has a field (without its dollar sign)."""
        return (self.path / "features" / instrument.lower() / f"{field}.{self.freq}.bin").is_file()

    def near(self, instrument: str, most: int = 5) -> list[str]:
        """Return instruments with data whose names are similar to this one."""
        known = sorted(p.name.upper() for p in (self.path / "features").iterdir() if p.is_dir())
        return difflib.get_close_matches(instrument.upper(), known, most, 0.4) or known[:most]

    def check_instrument(self, instrument: str, what: str) -> None:
        if "/" in instrument or not self.has(instrument, "close"):
            raise ValueError(
                f"{what} {instrument!r} has no data in {self.path} (features/{instrument.lower()}/close.{self.freq}.bin); "
                f"there are {', '.join(self.near(instrument))}, ..."
            )


def check_qlib(
    config: FinetuneConfig, names: tuple[str, ...] = ("dataset", "train", "val", "test", "backtest")
) -> QlibFolder:
    """Check that the data folder, the instrument list, the benchmark and the dates of a config exist, before any work starts.

    ``names`` are the ranges that are needed.

    Raises:
        ValueError: one of them does not exist; the message names the existing ones.
    """
    folder = QlibFolder(Path(config.qlib_data_path), config.freq)
    folder.instruments(config.instrument)
    if config.backtest_benchmark and "backtest" in names:
        folder.check_instrument(config.backtest_benchmark, "backtest_benchmark")
    calendar = folder.calendar()
    slack = np.timedelta64(NEAREST_DAYS, "D")
    for name in names:
        pair = (config.dataset_begin_time, config.dataset_end_time)
        if name != "dataset":
            pair = getattr(config, f"{name}_time_range")
        first, last = (pd.Timestamp(time) for time in pair)
        if first < calendar[0] - slack or last > calendar[-1] + pd.Timedelta(slack):
            raise ValueError(
                f"{'dataset_begin_time to dataset_end_time' if name == 'dataset' else name + '_time_range'} ({pair[0]} to "
                f"{pair[1]}) reaches beyond the calendar of {folder.path}, which goes from {calendar[0].date()} to "
                f"{calendar[-1].date()}"
            )
        if not ((calendar >= first) & (calendar < last + pd.Timedelta(days=1))).any():
            raise ValueError(f"{name}_time_range ({pair[0]} to {pair[1]}) has no day of the calendar of {folder.path}")
    return folder
