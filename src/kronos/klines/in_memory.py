"""From tables or files to what a predictor forecasts: bars, their times and the times of the bars to come."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kronos.errors import KronosError
from kronos.klines.columns import KlineError
from kronos.klines.frames import is_frame
from kronos.klines.reader import FRAME, read_klines
from kronos.klines.window import LEAST_LOOKBACK, cut_window
from kronos.number_checks import whole
from kronos.schema import FEATURES


class TableWindows(NamedTuple):
    """The lookback of each series, its times and the times to forecast; ids where every series has a name of its own."""

    bars: list[pd.DataFrame]
    pasts: list[pd.Series]
    futures: list[pd.DatetimeIndex]
    ids: list[str] | None


def read_tables(
    tables: Any,
    horizon: int | None,
    lookback: int | None,
    calendar: str | None,
    max_context: int,
    reading: Mapping[str, Any],
) -> TableWindows:
    """Read one table or file, or a list of them, and cut the latest window of each.

    Args:
        horizon, lookback, calendar, max_context: as of `cut_window`.
        reading: symbol, columns, tz and clean of `read_klines`.

    Raises:
        ValueError: a count is out of range, or a table cannot be read or holds several series; of a list, which one.
    """
    for name, value, least in (("horizon", horizon, 1), ("lookback", lookback, LEAST_LOOKBACK)):
        if value is None and name == "horizon":
            raise ValueError("say how many bars to forecast, such as horizon=24; or give x_timestamp and y_timestamp")
        if value is not None:
            whole(value, name, least)
    assert horizon is not None
    several = isinstance(tables, (list, tuple))
    if several and not tables:
        raise ValueError("df is an empty list; give at least one table")
    found = TableWindows([], [], [], [])
    for number, table in enumerate(tables if several else [tables]):
        where = f"series {number}: " if several else ""
        try:
            bars = read_klines(table, **reading)
        except KlineError as error:
            hint = ""
            if "symbol" in error.arguments and reading.get("symbol") is None:
                hint = ", or forecast all of them with predict_df"
            raise KlineError(where, error.message, hint, report=error.report) from error
        try:
            window = cut_window(bars, horizon, max_context, lookback, 0, calendar)
        except ValueError as error:
            raise KronosError(f"{where}{error}") from error
        found.bars.append(window.past[[name for name in FEATURES if name in window.past]])
        found.pasts.append(window.past["timestamps"])
        found.futures.append(window.future)
        assert found.ids is not None
        found.ids.append(_name_of(table, bars))
    names = found.ids or []
    return found if all(names) and len(set(names)) == len(names) else found._replace(ids=None)


def check_times_given(x_timestamp: object, y_timestamp: object, reading: Mapping[str, object]) -> None:
    """Refuse one of the two times without the other, and arguments that only the reading of a table takes.

    Raises:
        ValueError: saying which arguments do not go together.
    """
    if isinstance(x_timestamp, Integral):
        raise ValueError(
            f"x_timestamp must be times, found {x_timestamp!r}; for so many bars say horizon={x_timestamp}"
        )
    if x_timestamp is None or y_timestamp is None:
        there, absent = ("y", "x") if x_timestamp is None else ("x", "y")
        raise ValueError(f"{there}_timestamp is given without {absent}_timestamp; give both, or neither and horizon=")
    given = [name for name, value in reading.items() if value is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)} cannot be given with x_timestamp and y_timestamp, which say the bars and times themselves"
        )


def _name_of(table: Any, bars: pd.DataFrame) -> str:
    """The symbol of a series, else the name of the file it was read from; "" where neither is known."""
    earlier = getattr(table, "attrs", {}) if is_frame(table) else {}
    symbol = bars.attrs.get("symbol", earlier.get("symbol"))
    if symbol is not None:
        return str(symbol)
    source = str(earlier.get("source", FRAME) if is_frame(table) else table)
    return "" if source == FRAME else Path(source).name.split(".")[0]
