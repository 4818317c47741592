"""``kronos features``: embeddings and other features of a whole market into partitioned Parquet."""

from __future__ import annotations

from typing import Any

import click

from kronos.cli.options import clean_option, reading_options, tz_option
from kronos.cli.score import listed, run_scoring


@click.command(short_help="Write embeddings of thousands of series at many dates.")
@click.argument("data")
@click.option("--out", required=True, metavar="FOLDER", help="Where they go: a folder, or a URI such as s3://...")
@click.option("--model", default="nano", show_default=True, help="nano, mini, small, base, a Hub id, or a folder.")
@click.option("--tokenizer", help="Hub id or folder of the tokenizer, where it does not follow from the model.")
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
@click.option(
    "--cutoffs",
    multiple=True,
    metavar="DATE|RANGE",
    help="As of this date or time, or of each in START..END/FREQ (FREQ: D, B, W-FRI, ME, 4h). Repeatable.  "
    "[default: each series' last bar]",
)
@click.option("--max-age", type=float, metavar="DAYS", help="Reject series whose last bar is older at the cut-off.")
@click.option("--device", help="cpu, cuda, mps.  [default: the best there is here]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "int8"]), default="float32", show_default=True)
@click.option("--threads", type=int, default=1, show_default=True, help="Processor threads of each worker.")
@click.option(
    "--part", type=int, default=512, show_default=True, help="Rows that are written, and if stopped lost, together."
)
@tz_option
@clean_option
@reading_options
@click.option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: auto, local, or its address.")
@click.option("--workers", type=int, help="Ray: actors that hold a model.  [default: one a device]")
@click.option("--overwrite", is_flag=True, help="Begin anew instead of going on.")
@click.option("--quiet", is_flag=True, help="No progress.")
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
