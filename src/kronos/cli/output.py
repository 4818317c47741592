"""Tables that commands write: a forecast as CSV, JSON or Parquet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from kronos.forecast.forecast import Forecast


def table_of(forecast: Forecast, values: list[str], levels: list[float]) -> pd.DataFrame:
    """Means of what the file has, and quantiles of close, indexed by time."""
    table = forecast.to_frame("wide", quantiles=levels if forecast.n_paths > 1 else (), columns=values)
    return table.drop(columns="id").set_index("timestamps")


def table_bytes(result: pd.DataFrame, ending: str) -> bytes:
    """A table in the format of a file's ending: .csv, .json or .parquet."""
    table = result.reset_index()
    if ending == ".csv":
        return table.to_csv(index=False, float_format="%.8g").encode()
    return _as_json(table) if ending == ".json" else table.to_parquet(index=False)


def _as_json(table: pd.DataFrame) -> bytes:
    """A list of rows, numbers with 8 digits whatever their size: pandas would write a price of 1e-11 as 0."""
    rows = json.loads(table[["timestamps"]].to_json(orient="records", date_format="iso"))
    for row, values in zip(rows, table.drop(columns="timestamps").to_dict("records"), strict=True):
        row |= {name: float(f"{value:.8g}") for name, value in values.items()}
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()
