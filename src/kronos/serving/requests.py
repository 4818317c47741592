"""From an HTTP request to work: JSON or a form, checked against the schemas, every fault named by its member."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from kronos.serving.bodies import LISTS, ReadSeries, checked
from kronos.serving.config import Limits
from kronos.serving.inputs import from_sample, inspected, read_options
from kronos.serving.problems import Problem, unfit
from kronos.serving.reader_process import ReadTask, read
from kronos.serving.responses import check_levels, targets_of
from kronos.serving.schemas import Inspection, RequestOptions, Upload
from kronos.serving.state import State, in_thread
from kronos.serving.uploads import shown_name
from kronos.serving.work import Work, check_limits, chosen_model, deadline_of, work_of

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
SMALL = 64 * 2**10
"""Bytes of a JSON body that is read at once and not by a process of its own: 500 bars, or at worst some 30 ms."""

Form = tuple[bytes | None, str | None, dict[str, str]]


async def forecast_work(request: Request, state: State) -> tuple[RequestOptions, Work]:
    """The options of a request for one series, and the series made ready."""
    began = time.monotonic()
    options: RequestOptions
    if _kind(request) in FORMS:
        options, series = await _of_form(await form_of(request, state), state)
    else:
        body = await _json_body(request)
        (series,) = await _of_json("forecast", body, state)
        assert series.options is not None
        options = series.options
        _check(options, [options.horizon], state.settings.limits)
    return options, await in_thread(state, lambda: _work(series, options, state, began))


async def batch_works(request: Request, state: State) -> tuple[list[tuple[RequestOptions, Work]], list[dict[str, Any]]]:
    """The sound series of a batch made ready, and a problem for each of the others."""
    began = time.monotonic()
    series = await _of_json("batch", await _json_body(request), state)
    return await in_thread(state, lambda: _batch(series, state, began))


async def inspection(request: Request, state: State) -> bytes:
    """What is in the file of a form, as JSON."""
    content, name, fields = await form_of(request, state)
    wanted = checked(Inspection, fields)
    _one_source(content, wanted.sample)
    options, limits = read_options(wanted), state.settings.limits
    if content is None:
        return await in_thread(
            state, lambda: inspected(None, None, wanted.sample, limits, options, wanted.calendar, wanted.timeframe)
        )
    return (
        await state.readers.read(ReadTask("inspect", content, name, options, wanted.calendar, wanted.timeframe))
    ).document


async def _of_json(kind: str, body: bytes, state: State) -> tuple[ReadSeries, ...]:
    """The series of a JSON body; a large one is read apart, since it would hold Python's lock for long."""
    task, limits = ReadTask(kind, body), state.settings.limits
    answer = await (state.readers.read(task) if len(body) > SMALL else in_thread(state, lambda: read(task, limits)))
    return answer.series


async def _of_form(form: Form, state: State) -> tuple[Upload, ReadSeries]:
    content, name, fields = form
    wanted = checked(Upload, fields)
    _check(wanted, [wanted.horizon], state.settings.limits)
    _one_source(content, wanted.sample)
    chosen_model(state.offered, wanted.model)
    if content is None:
        sample = str(wanted.sample)
        return wanted, ReadSeries(sample, wanted, await in_thread(state, lambda: from_sample(sample, wanted.timeframe)))
    (series,) = (
        await state.readers.read(ReadTask("file", content, name, read_options(wanted), None, wanted.timeframe))
    ).series
    return wanted, replace(series, id=series.id or shown_name(name))


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


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json_body(request: Request) -> bytes:
    if _kind(request) != "application/json":
        raise Problem(
            415, f"content-type must be application/json or {FORMS[0]}, found {_kind(request)[:60]!r}", "content-type"
        )
    return await request.body()


def _work(series: ReadSeries, options: RequestOptions, state: State, began: float) -> Work:
    """A series made ready for the engine.

    Raises:
        Problem: it cannot be forecast.
    """
    if isinstance(series.bars, Problem):
        raise series.bars
    offered = chosen_model(state.offered, options.model)
    try:
        return work_of(series.bars, options, series.id, offered, deadline_of(options, state.settings.limits, began))
    except ValueError as error:
        raise unfit(error) from error


def _batch(
    series: tuple[ReadSeries, ...], state: State, began: float
) -> tuple[list[tuple[RequestOptions, Work]], list[dict[str, Any]]]:
    wanted = [(one, one.options) for one in series if one.options is not None]
    for _, options in wanted:
        check_limits(options, [options.horizon], state.settings.limits)
    first = wanted[0][1]
    _check(first, [options.horizon for _, options in wanted], state.settings.limits)
    chosen_model(state.offered, first.model)
    ready, errors = [], []
    for one, options in wanted:
        try:
            ready.append((options, _work(one, options, state, began)))
        except Problem as problem:
            errors.append({"id": one.id, **problem.members()})
    if not ready:
        raise Problem(
            422, f"none of the {len(series)} series can be forecast: {errors[0]['detail']}", "unfit", {"errors": errors}
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
