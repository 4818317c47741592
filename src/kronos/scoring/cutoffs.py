"""What is known of a series at a cut-off: its lookback and the times to forecast. Nothing after the cut-off is looked at."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from kronos.calendars import future_timestamps
from kronos.forecast.price_limits import PriceLimit, series_limit
from kronos.klines import KlineError, clean, validate
from kronos.klines.window import chosen_lookback, cut_window
from kronos.schema import OPTIONAL_COLUMNS
from kronos.scoring.config import LATEST, ScoreSettings

if TYPE_CHECKING:
    from kronos.klines.cleaning import Policy

HISTORY = 5_000
"""Bars before a cut-off that are judged and that the calendar is learned from (more where the lookback is longer)."""


class ScoreWindow(NamedTuple):
    """A series at a cut-off."""

    name: str
    cutoff: str
    past: pd.DataFrame
    future: pd.DatetimeIndex
    limit: PriceLimit | None = None


def window_at(name: str, rows: pd.DataFrame, cutoff: str, settings: ScoreSettings, context: int) -> ScoreWindow:
    """The window of a series, as it would have been cut on the day.

    Args:
        rows: timestamps, open, high, low, close and, where there are, volume and amount, as `read_table` gives them.
        context: bars that the model sees.

    Raises:
        ValueError: the reason why the series has no score at this cut-off.
    """
    bars = bars_known_at(rows, cutoff, settings)
    window = cut_window(
        bars, settings.horizon, context, settings.lookback, calendar=settings.calendar, future_times=_future_times
    )
    limit = series_limit(settings.price_limit, name, window.past, window.future)
    return ScoreWindow(name, cutoff, window.past, window.future, limit)


def lookback_at(name: str, rows: pd.DataFrame, cutoff: str, settings: ScoreSettings, context: int) -> ScoreWindow:
    """As `window_at`, without times to forecast."""
    bars = bars_known_at(rows, cutoff, settings)
    taken = chosen_lookback(settings.lookback, len(bars), 0, context)
    return ScoreWindow(name, cutoff, bars.iloc[-taken:], pd.DatetimeIndex([], tz=bars["timestamps"].dt.tz))


def bars_known_at(rows: pd.DataFrame, cutoff: str, settings: ScoreSettings) -> pd.DataFrame:
    """Sound bars of a series up to a cut-off, at least `HISTORY` of them where there are.

    Raises:
        ValueError: there is none, one is faulty, or the last one is older than ``max_age``.
    """
    moment = moment_of(cutoff, rows["timestamps"].dt.tz)
    known = _known(rows, moment, max(HISTORY, 2 * (settings.lookback or 0)))
    if not len(known):
        raise ValueError(f"no bar up to the cut-off {cutoff}")
    bars = _judged(known, settings.clean)
    last = bars["timestamps"].iloc[-1]
    if moment is not None and settings.max_age is not None and moment - last > pd.Timedelta(days=settings.max_age):
        raise ValueError(f"its last bar, {last}, is more than {settings.max_age:g} days before the cut-off")
    return bars


def moment_of(cutoff: str, zone: tzinfo | None) -> pd.Timestamp | None:
    """The last instant that is known: the end of the day of a date, the time itself otherwise; None for the latest."""
    if cutoff == LATEST:
        return None
    if "T" in cutoff:
        moment = pd.Timestamp(datetime.strptime(cutoff, "%Y-%m-%dT%H%M%S"))
    else:
        moment = pd.Timestamp(cutoff) + pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    return moment if zone is None else moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")


def _known(rows: pd.DataFrame, moment: pd.Timestamp | None, most: int) -> pd.DataFrame:
    """Rows up to the moment; of sorted ones the last."""
    times = rows["timestamps"]
    kept = rows if moment is None else rows[~(times > moment)]  # a missing time is a fault, to be named
    return kept.iloc[-most:] if kept["timestamps"].is_monotonic_increasing else kept


def _judged(rows: pd.DataFrame, policy: Policy | None) -> pd.DataFrame:
    """Sound bars, as `read_klines` gives them, or why not."""
    bars = rows.reset_index(drop=True)
    bars = bars.drop(columns=[c for c in OPTIONAL_COLUMNS if c in bars and bars[c].isna().all()])
    if policy is not None:
        cleaned = clean(bars, policy)
        if not cleaned.frames:
            raise KlineError(cleaned.report, ": nothing is left")
        bars = cleaned.frames[-1]
    validate(bars).raise_if_bad("its bars")
    return bars


def _future_times(times: pd.Series, horizon: int, calendar: str | None) -> pd.DatetimeIndex:
    """`future_timestamps`, computed once for all series with the same times."""
    zone = times.dt.tz
    stamps = times if zone is None else times.dt.tz_convert("UTC").dt.tz_localize(None)
    return _future(stamps.to_numpy("datetime64[ns]").tobytes(), zone, horizon, calendar)


@lru_cache(maxsize=1024)
def _future(stamps: bytes, zone: tzinfo | None, horizon: int, calendar: str | None) -> pd.DatetimeIndex:
    """Most series of a market share their times, and with them the times to come."""
    times = pd.DatetimeIndex(np.frombuffer(stamps, "datetime64[ns]"))
    if zone is not None:
        times = times.tz_localize("UTC").tz_convert(zone)
    return future_timestamps(times, horizon, calendar)
