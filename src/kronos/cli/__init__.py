"""The command line: ``kronos``. Commands import what is heavy only when they run, so that help is instant."""

from __future__ import annotations

import sys

import click

from kronos import __version__
from kronos.cli.check import check
from kronos.cli.forecast import forecast
from kronos.cli.models import models
from kronos.cli.options import as_options
from kronos.cli.serve import serve


class _Commands(click.Group):
    """Faults of the user's input end with exit code 2 and one line; Ctrl-C ends with 130 and nothing half written."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                sys.exit(1)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            click.echo(f"kronos: {as_options(lines[0])}", err=True)
            sys.exit(2)
        except (KeyboardInterrupt, click.Abort):
            click.echo("kronos: stopped; no file was left half written", err=True)
            sys.exit(130)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start here:  kronos forecast --sample sp500 --holdout --plot sp500.png",
)
@click.version_option(__version__, "-V", "--version", prog_name="kronos")
def main() -> None:
    """Forecast financial K-lines (candlesticks) with the Kronos foundation model.

    Point it at a CSV, TSV, Parquet or Feather file of bars. A small model is built in and needs no network; the published
    ones are fetched from the Hugging Face Hub. Forecasts are uncertain and no advice.
    """


for _command in (forecast, check, models, serve):
    main.add_command(_command)
