"""The OpenAPI document's pieces: bodies that the routes read themselves, and what answers look like."""

from __future__ import annotations

from enum import Enum
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from kronos.klines.samples import SAMPLES
from kronos.serving import problems
from kronos.serving.schemas import EXAMPLE_BARS, BatchRequest, ForecastRequest, Inspection, Upload

SampleName = Enum("SampleName", {name: name for name in SAMPLES}, type=str)  # type: ignore[misc]

_REF = "#/components/schemas/{model}"


class ProblemAnswer(BaseModel):
    """RFC 9457. ``type`` is urn:kronos: and a short name that programs can rely on."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="what was found, where, and what to do")


class FieldFault(BaseModel):
    kind: str
    level: str
    count: int
    columns: list[str]
    rows: list[int] = Field(description="the first few; 1 is the first row after the header")
    note: str


class Summary(BaseModel):
    """Figures at the end of the horizon; returns and losses are shares of the last close, null where that is not positive."""

    last_close: float
    mean_close: float
    close_q10: float
    close_q50: float
    close_q90: float
    prob_up: float
    expected_return: float | None
    realised_volatility: float | None
    max_drawdown: float | None
    value_at_risk: float | None = Field(description="at 95 %")
    expected_shortfall: float | None = Field(description="at 95 %")
    expected_high: float = Field(description="mean over the paths of their highest high")
    expected_low: float


class Score(BaseModel):
    """Against the bars that were held out."""

    bars: int
    mae: float
    mae_last_price: float = Field(description='of the forecast "nothing changes"')
    crps: float
    inside_50: int
    inside_80: int
    direction: bool | None


class About(BaseModel):
    id: str
    lookback: int
    horizon: int
    paths: int
    seed: int
    temperature: float
    top_p: float | None
    calibration: str | None = Field(description="by what the paths are calibrated; null: as drawn")
    last: str = Field(description="time of the last bar that was seen")
    summary: Summary
    score: Score | None
    samples: list[list[float]] = Field(description="closes of the first paths, as many as were asked for")
    notes: list[str]
    waited: float = Field(description="seconds in the queue")
    batch: int = Field(description="series in the engine's batch")


class ForecastAnswer(About):
    model: str
    forecast: list[dict[str, str | float]] = Field(
        description="the long table: timestamp, target_name where several were asked for, mean, and a column a quantile"
    )
    advice: str


class SeriesProblem(ProblemAnswer):
    id: str


class BatchAnswer(BaseModel):
    model: str
    forecast: list[dict[str, str | float]] = Field(description="the long table of all series; the first column is id")
    series: list[About]
    errors: list[SeriesProblem]
    advice: str


class InspectionAnswer(BaseModel):
    """``bars`` are there when ``ok``; of a long series the latest 20,000."""

    model_config = ConfigDict(extra="allow")

    name: str
    ok: bool
    rows: int
    columns: dict[str, str] = Field(description="role: the column's name in the file")
    symbols: list[str]
    symbol: str | None
    faults: list[FieldFault]


class CalibrationFacts(BaseModel):
    """``covers``: the share of outcomes inside the 80 % interval, as drawn and calibrated, on windows that were not fitted on."""

    name: str
    until: str | None = Field(description="the last bar that it was fitted on")
    covers: list[float] | None
    windows: int | None


class ModelFacts(BaseModel):
    name: str
    context: int
    parameters: int
    temperature: float
    top_p: float | None
    top_k: int | None
    calibration: CalibrationFacts | None


class ModelsAnswer(BaseModel):
    models: list[ModelFacts]
    samples: dict[str, str]
    limits: dict[str, float]
    version: str
    advice: str


class Status(BaseModel):
    status: str


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=ProblemAnswer.__name__)}
    return {"description": problems.TITLES[status], "content": {problems.MEDIA_TYPE: {"schema": schema}}}


def _answers(
    model: type[BaseModel], *statuses: int, description: str = "The answer"
) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"model": model, "description": description},
        **{status: _problem(status) for status in (401, 403, *statuses)},
    }


def _stream(answers: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    answers[200]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return answers


_WORK = (400, 408, 413, 415, 422, 500, 503, 504)
FORECAST = _stream(_answers(ForecastAnswer, *_WORK))
BATCH = _stream(_answers(BatchAnswer, *_WORK))
INSPECT = _answers(InspectionAnswer, 400, 408, 413, 415, 422, 500, 503)
SAMPLE = _answers(InspectionAnswer, 404, 422, 500)
MODELS = _answers(ModelsAnswer)
PROBE = _answers(Status)
READY = _answers(Status, 503)
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}},
    401: _problem(401),
    403: _problem(403),
}


def _body(**schemas: str) -> dict[str, Any]:
    kinds = {"json": "application/json", "form": "multipart/form-data"}
    content: dict[str, Any] = {kinds[k]: {"schema": {"$ref": _REF.format(model=v)}} for k, v in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


FORECAST_BODY = _body(json=ForecastRequest.__name__, form=Upload.__name__)
FORECAST_BODY["requestBody"]["content"]["application/json"]["examples"] = {
    "sample": {
        "summary": "A built-in sample, scored against its last 30 bars",
        "value": {"sample": "synthetic", "horizon": 30, "holdout": 30, "paths": 20},
    },
    "bars": {
        "summary": "Bars, column by column",
        "value": {"bars": EXAMPLE_BARS, "horizon": 3, "paths": 20, "quantiles": [0.05, 0.5, 0.95], "seed": 7},
    },
}
BATCH_BODY = _body(json=BatchRequest.__name__)
INSPECT_BODY = _body(form=Inspection.__name__)


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The document, with the models of the bodies among its components; made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, bodies = models_json_schema(
            [(m, "validation") for m in (ForecastRequest, BatchRequest, Upload, Inspection, ProblemAnswer)],
            ref_template=_REF,
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = document
    return app.openapi_schema
