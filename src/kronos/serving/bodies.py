"""JSON bodies, checked against the schemas: every fault is named by its member, and what is sound becomes tables of bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from kronos.serving.config import Limits
from kronos.serving.inputs import from_json, from_sample
from kronos.serving.problems import Problem, unfit
from kronos.serving.schemas import BatchRequest, ForecastRequest, RequestOptions

LISTS = ("quantiles", "target")
LISTED = 20
"""Faults of a request that are named."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class ReadSeries:
    """One series of a request: its name, what is asked of it (None for a file), and its bars, or what is wrong with them."""

    id: str
    options: RequestOptions | None
    bars: pd.DataFrame | Problem


def read_forecast(body: bytes, limits: Limits) -> ReadSeries:
    """The series of a body for `ForecastRequest`.

    Raises:
        Problem: 400, 413 or 422.
    """
    wanted = checked(ForecastRequest, body)
    if (wanted.bars is None) == (wanted.sample is None):
        raise Problem(422, "give bars, or the name of a sample, and not both", "unfit")
    options = RequestOptions.model_construct(**{name: getattr(wanted, name) for name in RequestOptions.model_fields})
    name = wanted.id or wanted.sample or "series"
    try:
        if wanted.bars is not None:
            return ReadSeries(name, options, from_json(wanted.bars, wanted.tz, wanted.clean, limits))
        return ReadSeries(name, options, from_sample(str(wanted.sample)))
    except ValueError as error:
        raise unfit(error) from error


def read_batch(body: bytes, limits: Limits) -> tuple[ReadSeries, ...]:
    """The series of a body for `BatchRequest`, a problem in place of the bars of those that cannot be used.

    Raises:
        Problem: 400 or 422, of the request itself.
    """
    wanted = checked(BatchRequest, body)
    if len(wanted.series) > limits.series:
        raise Problem(
            422, f"{len(wanted.series)} series; at most {limits.series} are allowed in one request", "beyond-limits",
            {"member": "series"},
        )  # fmt: skip
    names = [one.id for one in wanted.series]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(422, f"the id {twice!r} is there twice; give each series its own", "unfit")
    shared = {name: getattr(wanted, name) for name in RequestOptions.model_fields}
    found = []
    for one in wanted.series:
        own = {name: getattr(one, name) for name in ("horizon", "lookback", "seed", "calendar", "tz")}
        options = RequestOptions.model_construct(
            **shared | {name: value for name, value in own.items() if value is not None}
        )
        bars: pd.DataFrame | Problem
        try:
            bars = from_json(one.bars, options.tz, options.clean, limits)
        except ValueError as error:
            bars = unfit(error)
        except Problem as problem:
            bars = problem
        found.append(ReadSeries(one.id, options, bars))
    return tuple(found)


def checked(model: type[Model], given: bytes | dict[str, str]) -> Model:
    """The JSON or the fields of a form as a model; JSON strictly, forms leniently, since all they have is text."""
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given, strict=True)
        return model.model_validate({key: _listed(key, value) for key, value in given.items()})
    except ValidationError as error:
        raise _as_problem(error) from error


def _listed(key: str, value: str) -> Any:
    if key not in LISTS or (key == "target" and "," not in value):
        return value
    return [item.strip() for item in value.split(",")]


def _as_problem(error: ValidationError) -> Problem:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem(400, f"not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}", "unreadable")
    faults = [
        {"member": ".".join(str(part) for part in fault["loc"]) or "body", "detail": fault["msg"]}
        for fault in found[:LISTED]
    ]
    first = faults[0]
    return Problem(422, f"{first['member']}: {first['detail']}", "schema", {"errors": faults})
