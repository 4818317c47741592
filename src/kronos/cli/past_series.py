"""Past windows of files of bars, for commands that learn from what came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kronos.cli.errors import as_options

if TYPE_CHECKING:
    import pandas as pd

    from kronos.calibration.fitting import PastWindow
    from kronos.klines.read_options import ReadOptions

LEAST_OF_A_DATE = 5
"""Series that a date must have, to be one of `dated_windows`."""


def past_series(
    place: Path, least: int, until: str | None, reading: ReadOptions | None = None
) -> list[tuple[str, pd.DataFrame]]:
    """Name and bars up to the day ``until`` of each series of a file or folder that has ``least`` bars; faulty ones are named."""
    import pandas as pd

    from kronos.klines import KlineError, iter_klines
    from kronos.klines.formats import table_files

    series = []
    for file in table_files(place):
        for name, bars in iter_klines(file, options=reading):
            if isinstance(bars, KlineError):
                click.echo(f"left out: {name}: {as_options(bars.summary)}", err=True)
                continue
            if until is not None:
                end = pd.Timestamp(until)
                zone = bars["timestamps"].dt.tz
                bars = bars[bars["timestamps"] <= (end if zone is None else end.tz_localize(zone))]
            if len(bars) >= least:
                series.append((str(name), bars))
    return series


def spread_windows(
    series: list[tuple[str, pd.DataFrame]], lookback: int, horizon: int, most: int
) -> Iterator[tuple[str, PastWindow]]:
    """Windows spread evenly over every series, about ``most`` in all, whose horizons overlap little."""
    import numpy as np

    each = max(1, most // max(1, len(series)))
    for name, bars in series:
        last_start = len(bars) - lookback - horizon
        count = min(each, last_start // horizon + 1)
        for start in np.unique(np.linspace(0, last_start, count).astype(int)):
            yield name, _window(bars, int(start) + lookback, lookback, horizon)


def dated_windows(
    series: list[tuple[str, pd.DataFrame]], lookback: int, horizon: int, most: int
) -> Iterator[tuple[str, PastWindow]]:
    """Windows of all series at the same dates, those with at least `LEAST_OF_A_DATE` series, about ``most`` in all."""
    import numpy as np
    import pandas as pd

    times = [pd.DatetimeIndex(bars["timestamps"].iloc[lookback - 1 : len(bars) - horizon]) for _, bars in series]
    known, count = np.unique(np.concatenate([t.to_numpy("datetime64[ns]") for t in times]), return_counts=True)
    dates = known[count >= LEAST_OF_A_DATE]
    if not len(dates):
        return
    wanted = max(1, int(most / count[count >= LEAST_OF_A_DATE].mean()))
    chosen = dates[np.unique(np.linspace(0, len(dates) - 1, wanted).astype(int))]
    for (name, bars), own in zip(series, times, strict=True):
        for start in np.flatnonzero(np.isin(own.to_numpy("datetime64[ns]"), chosen)):
            yield name, _window(bars, int(start) + lookback, lookback, horizon)


def _window(bars: pd.DataFrame, stop: int, lookback: int, horizon: int) -> PastWindow:
    import pandas as pd

    from kronos.calibration.fitting import PastWindow
    from kronos.schema import FEATURES

    columns = [name for name in FEATURES if name in bars]
    times = pd.DatetimeIndex(bars["timestamps"].iloc[stop - lookback : stop + horizon])
    past = bars.iloc[stop - lookback : stop][columns].reset_index(drop=True)
    return PastWindow(past, times[:lookback], times[lookback:], bars["close"].to_numpy()[stop : stop + horizon])
