"""From an HTTP request to work: JSON or a form, checked against the schemas, every fault named by its member."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from kronos.serving.config import Limits
from kronos.serving.inputs import from_file, from_json, from_sample, read_options
from kronos.serving.problems import Problem, unfit
from kronos.serving.responses import check_levels, targets_of
from kronos.serving.schemas import BatchRequest, ForecastRequest, Inspection, RequestOptions, Upload
from kronos.serving.state import State, in_thread
from kronos.serving.uploads import shown_name
from kronos.serving.work import Work, check_limits, chosen_model, deadline_of, work_of

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
LISTS = ("quantiles", "target")
LISTED = 20
"""Faults of a request that are named."""

Model = TypeVar("Model", bound=BaseModel)
Form = tuple[bytes | None, str | None, dict[str, str]]


async def forecast_work(request: Request, state: State) -> tuple[RequestOptions, Work]:
    """The options of a request for one series, and the series made ready."""
    began = time.monotonic()
    if _kind(request) in FORMS:
        form = await form_of(request, state)
        return await in_thread(state, lambda: _from_form(form, state, began))
    body = await _json_body(request)
    return await in_thread(state, lambda: _from_json(body, state, began))


async def batch_works(request: Request, state: State) -> tuple[list[tuple[RequestOptions, Work]], list[dict[str, Any]]]:
    """The sound series of a batch made ready, and a problem for each of the others."""
    began = time.monotonic()
    body = await _json_body(request)
    return await in_thread(state, lambda: _batch(body, state, began))


async def form_of(request: Request, state: State) -> Form:
    """The file of a form, its name, and the other fields."""
    if _kind(request) not in FORMS:
        raise Problem(415, f"send a form ({FORMS[0]}) with a file", "content-type")
    try:
        async with request.form(max_files=1, max_fields=40) as form:
            content, name = None, None
            fields: dict[str, str] = {}
            for key, value in form.multi_items():
                if key in LISTS and key in fields and isinstance(value, str):
                    fields[key] += f",{value}"
                    continue
                if key in fields or (key == "file" and content is not None):
                    raise Problem(422, f"the field {key[:40]} is there twice", "unfit")
                if isinstance(value, UploadFile):
                    if key != "file":
                        raise Problem(
                            422, f"the field {key[:40]} must not be a file; send the file as the field file", "unfit"
                        )
                    content, name = await value.read(), value.filename
                elif key == "file":
                    raise Problem(422, "the field file must be a file: curl -F file=@prices.csv", "unfit")
                elif value != "":
                    fields[key] = value
    except HTTPException as error:
        raise Problem(400, f"the form cannot be read: {error.detail}", "unreadable") from error
    return content, name, fields


def parsed_inspection(form: Form) -> tuple[bytes | None, str | None, Inspection]:
    content, name, fields = form
    wanted = _checked(Inspection, fields)
    _one_source(content, wanted.sample)
    return content, name, wanted


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json_body(request: Request) -> bytes:
    if _kind(request) != "application/json":
        raise Problem(
            415, f"content-type must be application/json or {FORMS[0]}, found {_kind(request)[:60]!r}", "content-type"
        )
    return await request.body()


def _from_json(body: bytes, state: State, began: float) -> tuple[RequestOptions, Work]:
    limits = state.settings.limits
    wanted = _checked(ForecastRequest, body)
    _check(wanted, [wanted.horizon], limits)
    if (wanted.bars is None) == (wanted.sample is None):
        raise Problem(422, "give bars, or the name of a sample, and not both", "unfit")
    offered = chosen_model(state.offered, wanted.model)
    try:
        if wanted.bars is not None:
            frame = from_json(wanted.bars, wanted.tz, wanted.clean, limits)
        else:
            frame = from_sample(str(wanted.sample))
        name = wanted.id or wanted.sample or "series"
        return wanted, work_of(frame, wanted, name, offered, deadline_of(wanted, limits, began))
    except ValueError as error:
        raise unfit(error) from error


def _from_form(form: Form, state: State, began: float) -> tuple[RequestOptions, Work]:
    content, name, fields = form
    limits = state.settings.limits
    wanted = _checked(Upload, fields)
    _check(wanted, [wanted.horizon], limits)
    _one_source(content, wanted.sample)
    offered = chosen_model(state.offered, wanted.model)
    try:
        if content is None:
            frame, id = from_sample(str(wanted.sample)), str(wanted.sample)
        else:
            frame = from_file(content, name, limits, read_options(wanted))
            id = str(frame.attrs.get("symbol", shown_name(name)))
        return wanted, work_of(frame, wanted, id, offered, deadline_of(wanted, limits, began))
    except ValueError as error:
        raise unfit(error) from error


def _batch(body: bytes, state: State, began: float) -> tuple[list[tuple[RequestOptions, Work]], list[dict[str, Any]]]:
    limits = state.settings.limits
    wanted = _checked(BatchRequest, body)
    _check(wanted, [one.horizon or wanted.horizon for one in wanted.series], limits)
    names = [one.id for one in wanted.series]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(422, f"the id {twice!r} is there twice; give each series its own", "unfit")
    offered = chosen_model(state.offered, wanted.model)
    shared = {name: getattr(wanted, name) for name in RequestOptions.model_fields}
    ready, errors = [], []
    for one in wanted.series:
        own = {name: getattr(one, name) for name in ("horizon", "lookback", "seed", "calendar", "tz")}
        options = RequestOptions.model_construct(
            **shared | {name: value for name, value in own.items() if value is not None}
        )
        try:
            frame = from_json(one.bars, options.tz, options.clean, limits)
            ready.append((options, work_of(frame, options, one.id, offered, deadline_of(wanted, limits, began))))
        except ValueError as error:
            errors.append({"id": one.id, **unfit(error).members()})
        except Problem as problem:
            errors.append({"id": one.id, **problem.members()})
    if not ready:
        raise Problem(
            422, f"none of the {len(names)} series can be forecast: {errors[0]['detail']}", "unfit", {"errors": errors}
        )
    return ready, errors


def _check(wanted: RequestOptions, horizons: list[int], limits: Limits) -> None:
    """What the schema cannot say."""
    check_limits(wanted, horizons, limits)
    try:
        check_levels(wanted.quantiles)
        targets_of(wanted)
    except ValueError as error:
        raise unfit(error) from error


def _one_source(content: bytes | None, sample: str | None) -> None:
    if (content is None) == (sample is None):
        raise Problem(422, "give a file, or the name of a sample, and not both", "unfit")


def _checked(model: type[Model], given: bytes | dict[str, str]) -> Model:
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
