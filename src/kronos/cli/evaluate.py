"""``kronos evaluate``: how good is a model on this data, against what costs nothing?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kronos.cli.options import (
    calibration_told,
    clean_option,
    device_option,
    listed,
    read_options,
    reading_options,
    timeframe_option,
    tokenizer_option,
    tz_option,
)
from kronos.cli.settings import time_range
from kronos.io.extras import need

if TYPE_CHECKING:
    from kronos.evaluation.dataset import Dataset
    from kronos.evaluation.run import Evaluation
    from kronos.evaluation.scores import Scores
    from kronos.evaluation.tasks import Task

DEFAULT_BASELINES = "last,drift,seasonal,bootstrap,ets,theta,garch"


@click.command(short_help="Forecast the past of many series and score it against baselines.")
@click.argument("data", type=click.Path())
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="nano, mini, small, base, a Hub id, a folder; head:FOLDER; chronos:ID, timesfm:ID; python:module:attribute. Repeatable.  "
    "[default: nano]",
)
@tokenizer_option
@click.option(
    "--baselines",
    default=DEFAULT_BASELINES,
    show_default=True,
    metavar="A,B,...",
    help="last, drift, seasonal, bootstrap, ets, theta, arima, garch, egarch, har, lightgbm; all; or none.",
)
@click.option(
    "--task",
    type=click.Choice(["forecast", "price", "returns", "volatility", "synthetic", "investment"]),
    default="forecast",
    show_default=True,
    help="The paper's lookbacks, horizons and sampling; forecast takes the model's own sampling.",
)
@click.option(
    "--out", required=True, type=click.Path(), help="Folder for the forecasts and the report; a stopped run goes on."
)
@click.option("--lookback", type=int, help="Bars that the models see.  [default: the paper's, by frequency]")
@click.option("--horizon", type=int, help="Bars to forecast.  [default: the paper's, by frequency]")
@click.option("--step-size", type=int, help="Bars between two windows.  [default: the horizon]")
@click.option("--windows", "n_windows", type=int, help="Windows a series, the latest.  [default: all that fit]")
@click.option("--paths", type=int, help="Sample paths.  [default: the task's]")
@click.option("--temperature", type=float, help="[default: the task's, or the model's]")
@click.option("--top-p", type=float, help="[default: the task's, or the model's]")
@click.option(
    "--calibration",
    default="none",
    show_default=True,
    help="Score each pair with calibrated paths too: auto takes its own, or a file of kronos calibrate.",
)
@click.option(
    "--covariates",
    type=click.Path(),
    help="Table of the further columns that head:FOLDER was trained with, by time: .csv, .parquet or .feather.",
)
@click.option("--sequences", type=int, help="Task synthetic: sequences to generate.  [default: 6000]")
@click.option("--instrument", help="Task investment: the list of instruments of the Qlib data, such as csi300.")
@click.option(
    "--benchmark", help="Task investment: the instrument to compare with.  [default: the list's index, or its mean]"
)
@click.option(
    "--range",
    "days",
    callback=time_range,
    metavar="FIRST,LAST",
    help="Task investment: days to trade.  [default: from July 2024]",
)
@click.option("--reference", default="last", show_default=True, help="The model that points are compared with.")
@click.option("--distribution-reference", help="The model that distributions are compared with.  [default: the same]")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same table.")
@click.option("--jobs", type=int, default=2, show_default=True, help="Processes for the slow baselines.")
@device_option
@tz_option
@clean_option
@reading_options
@timeframe_option
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder made with other settings.")
@click.option("--quiet", is_flag=True, help="No table, no progress.")
def evaluate(data: str, models: tuple[str, ...], out: str, **options: Any) -> None:
    """Forecast many windows of the past of DATA, a file or a folder of K-line files, and score them against what happened and
    against simple baselines. Writes forecasts.parquet, leaderboard.csv, groups.csv and report.html to --out, and says in words
    whether the model was better than the last price. The task investment trades the lists of a Qlib data folder instead.

    \b
    Examples:
      kronos evaluate prices.csv --out eval/
      kronos evaluate market/ --model nano --baselines last,bootstrap,garch --step-size 200 --out eval/
      kronos evaluate market/ --model small --task price --out paper-price/
      kronos evaluate market/ --task synthetic --sequences 500 --out synthetic/
      kronos evaluate qlib_data/ --task investment --instrument csi300 --model small --out investment/
    """
    need("scipy statsmodels matplotlib", "evaluate", "kronos evaluate")
    from kronos.evaluation.tasks import TASKS

    preset = TASKS[options["task"]]
    names = ("lookback", "horizon", "step_size", "n_windows", "paths", "temperature", "top_p", "sequences")
    task = _checked(lambda: preset.with_(**{name: options[name] for name in names}))
    references = [r for r in (options["reference"], options["distribution_reference"]) if r is not None]
    if task.kind == "investment":
        _investment(data, task, models or ("nano",), out, options)
        return
    baselines = _baselines(options["baselines"], references, models)
    from kronos.evaluation.dataset import read_series

    dataset = read_series(data, options=read_options(options, tz=options["tz"], clean=options["clean"]))
    shown = not options["quiet"]
    if shown and dataset.skipped:
        click.echo(
            f"{len(dataset.skipped)} series left out, such as {dataset.skipped[0][0]}: {dataset.skipped[0][1]}",
            err=True,
        )
    if task.kind == "synthetic":
        _synthetic(dataset, task, models or ("nano",), out, options)
    else:
        _forecasts(dataset, task, models or ("nano",), baselines, out, options)


def _checked(make: Any) -> Task:
    """Names of settings as options."""
    try:
        task: Task = make()
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        option = {"n_windows": "windows"}.get(name, name).replace("_", "-")
        raise ValueError(f"--{option} {rest}") from None
    return task


def _baselines(text: str, references: list[str], models: tuple[str, ...]) -> list[str]:
    from kronos.evaluation.forecasters import BASELINES

    names = list(listed(text))
    names = list(BASELINES) if names == ["all"] else [] if names == ["none"] else names
    needed = [r for r in references if r in BASELINES and r not in models]
    return list(dict.fromkeys([*(r for r in needed if r not in names), *names]))


def _forecasts(
    dataset: Dataset, task: Task, models: tuple[str, ...], baselines: list[str], out: str, options: dict[str, Any]
) -> None:
    from kronos.evaluation.report.write import write_report
    from kronos.evaluation.run import evaluate as run
    from kronos.heads.covariates import read_covariates

    result = run(
        dataset,
        list(dict.fromkeys(models)),
        task=task,
        baselines=[b for b in baselines if b not in models],
        out=out,
        seed=options["seed"],
        jobs=options["jobs"],
        overwrite=options["overwrite"],
        progress=not options["quiet"] and sys.stderr.isatty(),
        tokenizer=options["tokenizer"],
        device=options["device"],
        calibration=calibration_told(options["calibration"]),
        covariates=None if options["covariates"] is None else read_covariates(options["covariates"], tz=options["tz"]),
    )
    scores = result.scores(options["reference"], options["distribution_reference"])
    page = write_report(result, scores, dataset, Path(out))
    if not options["quiet"]:
        _show(result, scores)
    click.echo(f"report written to {page}", err=True)


def _show(result: Evaluation, scores: Scores) -> None:
    from kronos.cli.output import show_table
    from kronos.evaluation.report.sentences import headline
    from kronos.evaluation.report.write import facts, leaderboard_rows, shown_models

    header, rows, _ = leaderboard_rows(scores, result.task.kind)
    show_table(header, rows, facts(result, scores), wide=180)
    for line in headline(scores, shown_models(result)):
        click.echo(line)


def _synthetic(dataset: Dataset, task: Task, models: tuple[str, ...], out: str, options: dict[str, Any]) -> None:
    from kronos.evaluation.synthetic.run import run_synthetic

    if len(models) != 1:
        raise ValueError("the task synthetic takes one --model")
    found, page = run_synthetic(
        dataset,
        models[0],
        task,
        Path(out),
        seed=options["seed"],
        tokenizer=options["tokenizer"],
        device=options["device"],
        overwrite=options["overwrite"],
        progress=not options["quiet"] and sys.stderr.isatty(),
    )
    if not options["quiet"]:
        for line in found:
            click.echo(line)
    click.echo(f"report written to {page}", err=True)


def _investment(data: str, task: Task, models: tuple[str, ...], out: str, options: dict[str, Any]) -> None:
    from kronos.backtest.investment import investment_config
    from kronos.backtest.run import run_backtest
    from kronos.cli.backtest import show_report

    if len(models) != 1:
        raise ValueError("the task investment takes one --model")
    if options["instrument"] is None:
        raise ValueError("the task investment needs --instrument, a list of the Qlib data folder, such as csi300")
    config = investment_config(
        data, task, Path(out), options["instrument"], options["days"],
        backtest_benchmark=options["benchmark"], device=options["device"], seed=options["seed"],
    )  # fmt: skip
    report = run_backtest(
        config,
        models[0],
        options["tokenizer"],
        overwrite=options["overwrite"],
        verbose=not options["quiet"] and sys.stderr.isatty(),
        echo=lambda text: None if options["quiet"] else click.echo(text, err=True),
    )
    if not options["quiet"]:
        show_report(report)
    click.echo(f"report written to {config.backtest_folder / 'report.html'}", err=True)
