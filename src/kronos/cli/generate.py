"""``kronos generate``: synthetic K-lines that go on from real ones, for use elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kronos.cli.options import (
    clean_option,
    device_option,
    model_option,
    read_options,
    reading_options,
    tokenizer_option,
    tz_option,
)

if TYPE_CHECKING:
    from kronos.klines.read_options import Policy


@click.command(short_help="Write synthetic K-lines that go on from real ones.")
@click.argument("data", type=click.Path())
@model_option
@tokenizer_option
@click.option("--out", required=True, type=click.Path(), help="Folder for synthetic.parquet; a stopped run goes on.")
@click.option(
    "--count", type=int, default=6000, show_default=True, help="Sequences, at most one for each bar of the data."
)
@click.option("--lookback", type=int, help="Real bars to go on from.  [default: 120 of 15m, 96 of 1d]")
@click.option("--horizon", type=int, help="Bars a sequence.  [default: 96 of 15m, 35 of 1d]")
@click.option("--temperature", type=float, help="Below 1: more certain; 0: greedy.  [default: the model's]")
@click.option("--top-p", type=float, help="The likeliest codes that hold this share; 1: all.  [default: the model's]")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same sequences.")
@device_option
@tz_option
@clean_option
@reading_options
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder made with other settings.")
@click.option("--quiet", is_flag=True, help="No progress.")
def generate(
    data: str,
    model: str,
    tokenizer: str | None,
    out: str,
    count: int,
    lookback: int | None,
    horizon: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    device: str | None,
    tz: str | None,
    clean: Policy | None,
    overwrite: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Draw one path from each of many windows of DATA, a file or a folder, and write them as one long table: symbol
    ("series@last real bar"), timestamps, open, high, low, close, volume, amount. Every candle is valid.

    \b
    Examples:
      kronos generate market/ --out synthetic/
      kronos generate prices.csv --lookback 200 --horizon 48 --count 500 --out synthetic/
    """
    if (lookback is None) != (horizon is None):
        raise ValueError("give --lookback and --horizon together, or neither")
    from kronos.evaluation.dataset import read_series
    from kronos.evaluation.forecasters.models import PairForecaster, forecaster_of
    from kronos.evaluation.synthetic.sequences import SYNTHETIC
    from kronos.evaluation.synthetic.sequences import generate as run
    from kronos.evaluation.tasks import TASKS

    task = TASKS["synthetic"].with_(lookback=lookback, horizon=horizon, sequences=count)
    task = replace(task, temperature=temperature, top_p=top_p)
    dataset = read_series(data, options=read_options(reading, tz=tz, clean=clean))
    forecaster = forecaster_of(model, task, tokenizer=tokenizer, device=device)
    if not isinstance(forecaster, PairForecaster):
        raise ValueError(f"--model {model}: only a Kronos pair generates whole bars")
    origins, table = run(
        dataset, forecaster, task, Path(out), seed=seed, overwrite=overwrite, progress=not quiet and sys.stderr.isatty()
    )
    click.echo(f"{len(origins):,} sequences, {len(table):,} bars written to {Path(out) / SYNTHETIC}", err=True)
