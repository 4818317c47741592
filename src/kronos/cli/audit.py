"""``kronos audit``: does anything of the future reach this model's forecasts on this data?"""

from __future__ import annotations

import sys
from typing import Any

import click

from kronos.cli.errors import option_of
from kronos.cli.options import (
    calibration_option,
    calibration_told,
    clean_option,
    device_option,
    read_options,
    reading_options,
    tokenizer_option,
    tz_option,
)


@click.command(short_help="Look for leaks of the future into a model's forecasts.")
@click.argument("model")
@click.argument("data", type=click.Path())
@tokenizer_option
@click.option(
    "--train", type=click.Path(), help="What it was trained on: K-lines, or a CSV of windows with id, first, last."
)
@click.option("--valid", type=click.Path(), help="What it was validated on, likewise.")
@click.option(
    "--task", type=click.Choice(["forecast", "price", "returns", "volatility"]), default="forecast", show_default=True
)
@click.option("--lookback", type=int, help="Bars that the model sees.  [default: the paper's, by frequency]")
@click.option("--horizon", type=int, help="Bars to forecast.  [default: the paper's, by frequency]")
@calibration_option
@click.option("--probes", type=int, default=8, show_default=True, help="Windows whose future is changed.")
@device_option
@tz_option
@clean_option
@reading_options
def audit(model: str, data: str, **options: Any) -> None:
    """Change the bars after a cutoff and see that no token, logit, normalisation or forecast of the past moves; and see that test,
    validation and training data are apart in time, as far as the model and the options say what they were.

    MODEL is a name as for kronos evaluate. Exit code 0: no leak found, 1: a leak, 2: it could not be looked for.

    \b
    Examples:
      kronos audit nano prices.csv
      kronos audit small market/test --train market/train --valid market/valid
    """
    if options["probes"] < 1:
        raise ValueError(f"--probes must be at least 1, found {options['probes']}")
    from kronos.evaluation.dataset import read_series
    from kronos.evaluation.leakage import audit as run
    from kronos.evaluation.tasks import TASKS

    told = read_options(options, tz=options["tz"], clean=options["clean"])
    read = lambda path: read_series(path, options=told)
    report = run(
        model,
        read(data),
        train=options["train"],
        valid=options["valid"],
        task=TASKS[options["task"]].with_(lookback=options["lookback"], horizon=options["horizon"]),
        tokenizer=options["tokenizer"],
        device=options["device"],
        calibration=calibration_told(options["calibration"]),
        probes=options["probes"],
    )
    click.echo(report.text(option_of))
    if report.leaks:
        sys.exit(1)
