"""Long tables: one row for each series and time, the layout of Chronos and Nixtla.

A long table is read into series; a `Forecast` of them is laid out as a long table again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.calendars import future_timestamps
from kronos.forecast.forecast import Forecast
from kronos.klines.columns import find_columns
from kronos.klines.features import as_timestamps
from kronos.klines.frames import to_pandas, with_index_columns
from kronos.klines.window import chosen_lookback
from kronos.metrics.quantiles import path_quantiles
from kronos.number_checks import whole
from kronos.schema import FEATURES, PRICE_COLUMNS

ID_COLUMNS = ("item_id", "unique_id", "symbol", "id")
TIMESTAMP_COLUMNS = ("timestamp", "timestamps", "ds", "time", "datetime", "date")


class LongSeries(NamedTuple):
    """One series: its values, their times, and the times to forecast."""

    values: pd.DataFrame
    past: pd.DatetimeIndex
    future: pd.DatetimeIndex


class LongTable:
    """The series of a long table, in the order of their first rows, each sorted by time."""

    def __init__(
        self,
        df: pd.DataFrame,
        id_column: str | None,
        timestamp_column: str,
        series: dict[object, pd.DataFrame],
        futures: list[pd.DatetimeIndex],
    ) -> None:
        self.id_column, self.timestamp_column = id_column, timestamp_column
        self._id_dtype = None if id_column is None else df[id_column].dtype
        self._series, self._futures = series, futures

    @property
    def ids(self) -> list[object]:
        """Ids as Python's int or str."""
        return [_plain(name) for name in self._series]

    def part(self, number: int, lookback: int | None, max_context: int) -> LongSeries:
        """Return the latest ``lookback`` bars of a series; None takes `default_lookback`."""
        name, rows = list(self._series.items())[number]
        future = self._futures[number]
        if lookback is not None:
            whole(lookback, "lookback", 2)
        kept = rows.iloc[-chosen_lookback(lookback, len(rows), len(future), max_context, shorten=True) :]
        if len(kept) < 2:
            raise ValueError(f"{self._named(name)} has {len(rows)} bar; at least 2 are needed to forecast from")
        values = kept[[c for c in FEATURES if c in kept.columns]]
        return LongSeries(values, pd.DatetimeIndex(kept[self.timestamp_column]), future)

    def _named(self, name: object) -> str:
        return "the series" if self.id_column is None else f"{self.id_column} {name!r}"

    @staticmethod
    def check_targets(target: str | Sequence[str]) -> list[str]:
        targets = [target] if isinstance(target, str) else list(target)
        wrong = [name for name in targets if name not in FEATURES]
        if wrong or not targets or len(set(targets)) < len(targets):
            raise ValueError(f"target must be of {', '.join(FEATURES)}, each at most once, found {target!r}")
        return targets

    def result(self, forecast: Forecast, targets: list[str], single: bool, levels: list[float]) -> pd.DataFrame:
        """Return the forecast as a long table with a row for each series, target and time."""
        pieces = []
        for number, name in enumerate(self._series):
            paths = forecast[forecast.ids[number]].paths[0]
            for target in targets:
                values = paths[:, :, FEATURES.index(target)]
                columns: dict[str, object] = {} if self.id_column is None else {self.id_column: name}
                columns[self.timestamp_column] = self._futures[number]
                if not single:
                    columns["target_name"] = target
                columns["mean"] = values.mean(0)
                columns.update(zip(map(_level_name, levels), path_quantiles(values, levels), strict=True))
                pieces.append(pd.DataFrame(columns))
        table = pd.concat(pieces, ignore_index=True)
        return table if self._id_dtype is None else table.astype({self.id_column: self._id_dtype})


def _plain(name: object) -> object:
    return name.item() if isinstance(name, np.generic) else name if isinstance(name, int) else str(name)


def _level_name(level: float) -> str:
    return f"{level:.10g}"


def read_long_table(
    df: pd.DataFrame,
    future_df: pd.DataFrame | None,
    prediction_length: int | None,
    calendar: str | None,
    id_column: str | None,
    timestamp_column: str | None,
) -> LongTable:
    """Check a long table and split it into series; see `KronosPredictor.predict_df` for the arguments and errors."""
    df = _usual_table(df, id_column, timestamp_column)
    future_df = None if future_df is None else to_pandas(future_df)
    if df.empty:
        raise ValueError("df must be a DataFrame with at least one row, found an empty DataFrame")
    if prediction_length is not None:
        whole(prediction_length, "prediction_length", 1)
    if prediction_length is None and future_df is None:
        raise ValueError("give prediction_length, or the bars to forecast as future_df")
    if calendar is not None and future_df is not None:
        raise ValueError("give a calendar or future_df, not both: future_df has the times already")
    time = _column(df, "timestamp_column", timestamp_column, TIMESTAMP_COLUMNS, ("timestamps", "date", "time"))
    if time is None:
        raise ValueError(
            f"df has no column of times ({', '.join(TIMESTAMP_COLUMNS)}): its columns are {', '.join(map(str, df.columns))}; "
            "name it with timestamp_column="
        )
    name = _column(df, "id_column", id_column, ID_COLUMNS, ("symbol",))
    missing = [column for column in PRICE_COLUMNS if column not in df.columns]
    if missing:
        raise ValueError(f"df lacks {', '.join(missing)}; its columns are {', '.join(map(str, df.columns))}")
    series = _split(df, name, time, "df")
    if future_df is None:
        assert prediction_length is not None
        futures = [_continued(key, rows[time], prediction_length, calendar, name) for key, rows in series.items()]
    else:
        futures = _given(future_df, series, name, time, prediction_length)
    return LongTable(df, name, time, series, futures)


def _usual_table(df: object, id_column: str | None, timestamp_column: str | None) -> pd.DataFrame:
    """A table with times (and ids) in columns and its six features under their own names; the table given is not changed."""
    if isinstance(df, (list, tuple, dict, str)):
        raise ValueError(f"df must be a DataFrame (pandas or Polars) or a PyArrow table, found {type(df).__name__}")
    table = to_pandas(df)
    if table.columns.nlevels > 1:
        raise ValueError(
            f"df has columns of {table.columns.nlevels} levels; predict_df takes one row for each series and time: "
            "df.stack(level=1).reset_index() makes it of fields and tickers"
        )
    if not {id_column, timestamp_column} <= {None, *table.columns} or not isinstance(table.index, pd.RangeIndex):
        table = with_index_columns(table)
    named = {name: i for i, name in enumerate(map(str, table.columns))}
    found = find_columns(list(named)) if not set(PRICE_COLUMNS) <= set(named) else {}
    own = {table.columns[i]: role for role, i in found.items() if role in FEATURES and role not in named}
    kept = {id_column, timestamp_column}
    return table.rename(columns={column: role for column, role in own.items() if column not in kept})


def _column(
    df: pd.DataFrame, argument: str, given: str | None, known: tuple[str, ...], roles: tuple[str, ...]
) -> str | None:
    """The column that is named; else the first of the known names; else what a file's reader takes for one of the roles."""
    if given is None:
        exact = next((column for column in known if column in df.columns), None)
        if exact is not None:
            return exact
        found = find_columns(list(map(str, df.columns)))
        return next((df.columns[found[role]] for role in roles if role in found), None)
    if given not in df.columns:
        raise ValueError(f"{argument}={given!r} is no column of df; its columns are {', '.join(map(str, df.columns))}")
    return given


def _split(df: pd.DataFrame, name: str | None, time: str, what: str) -> dict[object, pd.DataFrame]:
    """{id: rows by time}; without ids one series."""
    table = df.copy(deep=False)
    table[time] = as_timestamps(df[time], f"column {time!r} of {what}")
    if name is None:
        groups: dict[object, pd.DataFrame] = {"series": table}
    else:
        if df[name].isna().any():
            raise ValueError(f"column {name!r} of {what} is missing in row {int(df[name].isna().to_numpy().argmax())}")
        groups = dict(iter(table.groupby(name, sort=False, observed=True)))  # type: ignore[arg-type]
    result = {}
    for key, rows in groups.items():
        rows = rows.sort_values(time, kind="stable")
        twice = rows[time].duplicated()
        if twice.any():
            where = "" if name is None else f"{name} {key!r} at "
            hint = "" if name is not None else "; if the table holds several series, name their column with id_column="
            raise ValueError(f"{what} has two rows for {where}{rows[time][twice].iloc[0]}; keep one{hint}")
        result[key] = rows
    return result


def _continued(key: object, past: pd.Series, horizon: int, calendar: str | None, name: str | None) -> pd.DatetimeIndex:
    try:
        return future_timestamps(past, horizon, calendar)
    except ValueError as error:
        raise ValueError(f"{error}" if name is None else f"{name} {key!r}: {error}") from error


def _given(
    future_df: pd.DataFrame, series: dict[object, pd.DataFrame], name: str | None, time: str, horizon: int | None
) -> list[pd.DatetimeIndex]:
    """The times of future_df, for each series of df."""
    for column in (name, time):
        if column is not None and column not in future_df.columns:
            raise ValueError(
                f"future_df lacks the column {column!r} of df; its columns are {', '.join(map(str, future_df.columns))}"
            )
    groups = _split(future_df, name, time, "future_df")
    unknown = [key for key in groups if key not in series]
    if unknown:
        raise ValueError(f"future_df has {name} {unknown[0]!r}, which df has not")
    result = []
    for key, rows in series.items():
        if key not in groups:
            raise ValueError(
                f"future_df has no rows for {name} {key!r}; give the times to forecast for every series of df"
            )
        future = pd.DatetimeIndex(groups[key][time])
        last = rows[time].iloc[-1]
        where = "" if name is None else f" of {name} {key!r}"
        if (future.tz is None) != (last.tz is None) or not future[0] > last:
            raise ValueError(
                f"the times of future_df{where} begin at {future[0]}; they must come after the last bar, {last}"
            )
        if horizon is not None and len(future) != horizon:
            raise ValueError(
                f"future_df has {len(future)} rows{where}, prediction_length is {horizon}; leave one of them out"
            )
        result.append(future)
    return result
