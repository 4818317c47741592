"""Cells of a time column that are no time, named in the words of the table."""

from __future__ import annotations

import pandas as pd

from kronos.klines.columns import KlineError


def refuse_missing(times: pd.Series, series: pd.Series, name: str) -> None:
    wrong = times.index[times.isna()]
    if len(wrong):
        value = str(series.loc[wrong[0]])[:40]
        raise KlineError(
            f"column {name!r} has {value!r} in data row {row_of(series, wrong[0])}: expected a date or time like "
            "2024-07-01 09:35:00" + (f" ({len(wrong)} such cells)" if len(wrong) > 1 else "")
        )


def row_of(series: pd.Series, label: object) -> int:
    return int(series.index.get_indexer(pd.Index([label]))[0]) + 1
