"""What callers may say, as pydantic models: they check requests and are the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kronos.klines.samples import SampleName

Feature = Literal["open", "high", "low", "close", "volume", "amount"]
Timeframe = Literal["5min", "15min", "30min", "1h", "4h", "1d", "1w"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Cell = float | None
Time = Annotated[str, Field(min_length=1, max_length=40)] | int
Name = Annotated[str, Field(min_length=1, max_length=200)]

EXAMPLE_BARS: dict[str, Any] = {
    "timestamps": ["2024-07-01T09:30:00", "2024-07-01T09:35:00", "2024-07-01T09:40:00", "2024-07-01T09:45:00"],
    "open": [100.0, 100.4, 100.2, 100.9],
    "high": [100.6, 100.7, 101.1, 101.2],
    "low": [99.8, 100.1, 100.0, 100.5],
    "close": [100.4, 100.2, 100.9, 100.7],
    "volume": [1200, 900, 1500, 800],
}


Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True)]
"""A list of which one fault is told: a million of them would take gigabytes."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Bar(_Strict):
    """One bar. A price that is missing is null, and reported as a fault."""

    timestamp: Time = Field(description="ISO 8601, or an epoch in seconds to nanoseconds (UTC)")
    open: Cell
    high: Cell
    low: Cell
    close: Cell
    volume: Cell = None
    amount: Cell = None


class Columns(_Strict):
    """Bars column by column, oldest first: compact, and the fastest to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_BARS]})

    timestamps: Items[Time] = Field(min_length=2)
    open: Items[Cell]
    high: Items[Cell]
    low: Items[Cell]
    close: Items[Cell]
    volume: Items[Cell] | None = None
    amount: Items[Cell] | None = None


class RequestOptions(_Strict):
    """How to forecast; every member has a default."""

    model: Name | None = Field(None, description="a name of /v1/models; default: its first")
    horizon: int = Field(24, ge=1, description="bars to forecast")
    lookback: int | None = Field(
        None, ge=2, description="bars to look back on; default: 400, or what context and data hold"
    )
    holdout: int = Field(
        0,
        ge=0,
        description="hide this many of the last bars from the model, forecast from there, and score against them",
    )
    paths: int = Field(100, ge=1, description="sample paths")
    quantiles: list[Fraction] = Field(
        [0.1, 0.5, 0.9], min_length=1, max_length=41, description="quantile levels to report"
    )
    target: Feature | list[Feature] = Field("close", description="what to report, one feature or several")
    calendar: str | None = Field(
        None,
        max_length=40,
        description="exchange calendar such as XNYS, XSHG, 24/7; default: learned from the timestamps",
    )
    tz: str | None = Field(
        None, max_length=64, description="time zone of naive timestamps, else the zone to convert to"
    )
    clean: Literal["drop", "sort", "split"] | None = Field(
        None, description="what to do with faulty rows; default: refuse"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed gives the same forecast")
    temperature: float | None = Field(
        None, ge=0, le=100, description="below 1 more certain, 0 greedy; default: the model's"
    )
    top_p: float | None = Field(None, gt=0, le=1, description="default: the model's")
    top_k: int = Field(0, ge=0, le=2**20, description="0 is off")
    price_limit: Literal["cn"] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="keep every path within the daily price limit: cn (by the board of the stock's code in the id), or a share of "
        "the close of the day before, such as 0.1",
    )
    calibration: Literal["auto", "none"] = Field(
        "auto",
        description="auto: the model's own, where it has one and is sampled as it was fitted for; none: paths as drawn",
    )
    samples: int = Field(0, ge=0, le=200, description="closes of this many of the paths come with the answer")
    timeout: float | None = Field(None, gt=0, description="seconds until an answer; after that 504")


class ForecastRequest(RequestOptions):
    """A forecast of one series: ``bars``, or a built-in ``sample``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sample": "synthetic", "horizon": 30, "holdout": 30, "paths": 20},
                {"bars": EXAMPLE_BARS, "horizon": 3, "paths": 20, "quantiles": [0.05, 0.5, 0.95], "seed": 7},
            ]
        }
    )

    id: Name | None = Field(None, description="a name for the series, given back")
    bars: Columns | Items[Bar] | None = Field(None, description="columns, or a list of bars")
    sample: SampleName | None = Field(
        None, description="made-up bars of the package, or daily bars of an index (extra samples)"
    )


class SeriesRequest(_Strict):
    """One series of a batch; what it does not say, the batch says."""

    id: Name
    bars: Columns | Items[Bar]
    horizon: int | None = Field(None, ge=1)
    lookback: int | None = Field(None, ge=2)
    seed: int | None = Field(None, ge=0, lt=2**63)
    calendar: str | None = Field(None, max_length=40)
    tz: str | None = Field(None, max_length=64)


class BatchRequest(RequestOptions):
    """Forecasts of several series in one request; faulty ones are reported and do not stop the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "series": [{"id": "A", "bars": EXAMPLE_BARS}, {"id": "B", "bars": EXAMPLE_BARS, "horizon": 2}],
                    "horizon": 3,
                    "paths": 10,
                }
            ]
        }
    )

    series: Items[SeriesRequest] = Field(min_length=1)


class FileOptions(_Strict):
    """How an uploaded file is to be read."""

    symbol: Name | None = Field(None, description="which series of a file that holds several")
    columns: str | None = Field(None, max_length=1000, description="columns by name, close=Last,open=First")
    encoding: str | None = Field(None, max_length=40, description="of the text, such as gb18030; told from the content")
    decimal: Literal[".", ","] | None = Field(None, description="the decimal sign")
    thousands: Literal[".", ",", " ", "'"] | None = Field(None, description="the sign between groups of digits")
    names: str | None = Field(
        None, max_length=1000, description="names of the columns of a file without a header, a,b,c"
    )
    timeframe: Timeframe | None = Field(None, description="make longer bars of those that were read")
    close_only: bool = Field(False, description="make candles of the closes alone; other prices are not read")


class Upload(RequestOptions, FileOptions):
    """The same as a form: a file of bars, or the name of a built-in sample. Lists are written with commas, 0.1,0.5,0.9."""

    file: Any = Field(
        None,
        description="CSV, TSV or Parquet; text also as .gz",
        json_schema_extra={"type": "string", "format": "binary"},
    )
    sample: SampleName | None = None


class Inspection(FileOptions):
    """A file to look into."""

    file: Any = Field(None, json_schema_extra={"type": "string", "format": "binary"})
    sample: SampleName | None = None
    tz: str | None = Field(None, max_length=64)
    clean: Literal["drop", "sort", "split"] | None = None
    calendar: str | None = Field(None, max_length=40)
