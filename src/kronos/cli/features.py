"""``kronos features``: embeddings and other features of a whole market into partitioned Parquet."""

from __future__ import annotations

from typing import Any

import click

from kronos.cli.options import (
    cutoffs_option,
    device_option,
    listed,
    max_age_option,
    model_option,
    precision_option,
    tokenizer_option,
    worker_options,
)
from kronos.cli.score import run_scoring


@click.command(short_help="Write embeddings of thousands of series at many dates.")
@click.argument("data")
@click.option("--out", required=True, metavar="FOLDER", help="Where they go: a folder, or a URI such as s3://...")
@model_option
@tokenizer_option
@click.option(
    "--lookback", type=int, help="Bars to look back on.  [default: what the model was trained on, or what there is]"
)
@click.option(
    "--features",
    "groups",
    default="embedding,volatility",
    show_default=True,
    help="Of embedding (hidden states e000, e001, ...), volatility, surprise (of the last bar).",
)
@click.option("--layer", type=int, default=-1, show_default=True, help="Of the hidden states; -1 is the last.")
@click.option(
    "--pooling", type=click.Choice(["last", "mean"]), default="last", show_default=True, help="Over the bars."
)
@cutoffs_option
@max_age_option
@device_option
@precision_option
@worker_options
def features(data: str, out: str, **options: Any) -> None:
    """Read every series of DATA up to every cut-off and write its hidden states and other features. Nothing is sampled, and nothing
    after a cut-off is looked at. DATA is what kronos score takes.

    Rows go to FOLDER/scores/cutoff=DATE/ as Parquet, one a series; a stopped run goes on where it was when it is started again.

    \b
    Examples:
      kronos features market/ --out features/
      kronos features bars.parquet --cutoffs 2024-01-01..2024-06-30/W-FRI --lookback 90 --out features/
    """
    options["groups"] = listed(options["groups"])
    run_scoring(data, out, "FeatureSettings", options, "rows")
