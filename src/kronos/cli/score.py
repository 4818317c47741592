"""``kronos score``: signals of a whole market into partitioned Parquet, on one machine or a Ray cluster."""

from __future__ import annotations

import sys
from typing import Any, Literal

import click

from kronos.cli.options import (
    calibration_option,
    calibration_told,
    cutoffs_option,
    device_option,
    listed,
    max_age_option,
    model_option,
    precision_option,
    read_options,
    tokenizer_option,
    worker_options,
)


@click.command(short_help="Score thousands of series at many dates.")
@click.argument("data")
@click.option("--out", required=True, metavar="FOLDER", help="Where the scores go: a folder, or a URI such as s3://...")
@model_option
@tokenizer_option
@click.option("--horizon", type=int, default=10, show_default=True, help="Bars to forecast.")
@click.option("--lookback", type=int, help="Bars to look back on.  [default: 400, or what there is]")
@click.option("--paths", type=int, default=100, show_default=True, help="Sample paths a series.")
@click.option(
    "--signals",
    default="return,prob_up,volatility,q05,q95",
    show_default=True,
    help="Of return, log_return, prob_up, volatility, drawdown, qNN, varNN, esNN.",
)
@cutoffs_option
@max_age_option
@click.option("--calendar", help="Exchange calendar: XSHG, XNYS, 24/7, ...  [default: learned from each series]")
@click.option(
    "--price-limit",
    metavar="RULE",
    help="Keep every path within the daily price limit: cn (by the board of the code in the symbol), or a share such as 0.1.",
)
@click.option("--temperature", type=float, help="[default: the model's]")
@click.option("--top-p", type=float, help="[default: the model's]")
@click.option("--top-k", type=int, default=0, show_default=True)
@calibration_option
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same table.")
@device_option
@precision_option
@click.option("--memory", type=float, metavar="GIB", help="What a batch may take.  [default: 0.125, on a GPU 4]")
@worker_options
def score(data: str, out: str, **options: Any) -> None:
    """Forecast every series of DATA at every cut-off and write its signals. DATA is a folder of Parquet, Feather, CSV or TSV
    files, or one long table of many symbols: a path, or a URI such as s3://bucket/bars.

    Scores go to FOLDER/scores/cutoff=DATE/ as Parquet, a row a series; what could not be scored is in FOLDER/rejected.csv with the
    reason. A stopped run goes on where it was when it is started again.

    \b
    Examples:
      kronos score market/ --horizon 10 --paths 50 --out scores/
      kronos score bars.parquet --cutoffs 2024-01-01..2024-06-30/W-FRI --calendar XSHG --out weekly/
      kronos score s3://desk/bars --ray auto --device cuda --out s3://desk/scores
    """
    options["calibration"] = calibration_told(options["calibration"])
    options["signals"] = listed(options["signals"])
    options["memory"] = None if options["memory"] is None else int(options["memory"] * 2**30)
    run_scoring(data, out, "ScoreSettings", options, "scores")


def run_scoring(
    data: str, out: str, kind: Literal["ScoreSettings", "FeatureSettings"], options: dict[str, Any], rows: str
) -> None:
    """Run what `kronos score` and `kronos features` share, and say how it ended.

    Args:
        kind: the settings in `kronos.scoring` that the options belong to.
        options: of the command, with those of `reading_options`, and ray, workers, quiet and overwrite.
        rows: what the report calls the rows written.

    Raises:
        ValueError: options that do not fit together, or what `kronos.scoring.score` refuses.
    """
    from kronos import scoring

    ray, workers, quiet, overwrite = (options.pop(name) for name in ("ray", "workers", "quiet", "overwrite"))
    if workers is not None and (ray is None or workers < 1):
        raise ValueError("--workers is a number of Ray actors of at least 1; give --ray too")
    if options["device"] is None:
        from kronos.nn.device import best_device

        options["device"] = best_device()
    reading = read_options(options)
    options |= reading.dialect | {"columns": tuple((reading.columns or {}).items())}
    options["cutoffs"] = scoring.parse_cutoffs(options["cutoffs"])
    settings = getattr(scoring, kind)(**options)
    how: dict[str, Any] = {"overwrite": overwrite, "verbose": not quiet and sys.stderr.isatty()}
    if ray is not None:
        from kronos.scoring.ray_executor import on_ray

        how["execute"] = on_ray(ray, workers)
    report = scoring.score(data, out, settings, **how)
    click.echo(
        f"{report.scores:,} {rows} in {out}/scores, {report.rejected:,} rejected ({out}/rejected.csv); "
        f"{report.parts:,} parts, {report.resumed:,} of them there before; {report.seconds:.0f} s",
        err=True,
    )
