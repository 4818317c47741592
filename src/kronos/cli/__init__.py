"""The command line: ``kronos``. Commands import what is heavy only when they run, so that help is instant."""

from __future__ import annotations

import click

from kronos import __version__
from kronos.cli.audit import audit
from kronos.cli.backtest import backtest_command
from kronos.cli.calibrate import calibrate
from kronos.cli.check import check
from kronos.cli.errors import errors_in_a_line
from kronos.cli.evaluate import evaluate
from kronos.cli.export_onnx import export_onnx
from kronos.cli.export_qlib import export_qlib_command
from kronos.cli.features import features
from kronos.cli.fetch import fetch
from kronos.cli.finetune import finetune
from kronos.cli.forecast import forecast
from kronos.cli.generate import generate
from kronos.cli.heads import heads
from kronos.cli.inputs import inputs_guarded
from kronos.cli.mcp import mcp
from kronos.cli.models import models
from kronos.cli.prepare import prepare
from kronos.cli.pretrain import pretrain
from kronos.cli.score import score
from kronos.cli.serve import serve
from kronos.cli.store import store


class _Commands(click.Group):
    """Faults of the user's input end with exit code 2 and one line; Ctrl-C ends with 130 and nothing half written."""

    def invoke(self, ctx: click.Context) -> object:
        if ctx.resilient_parsing:
            return super().invoke(ctx)
        with errors_in_a_line("kronos"):
            return super().invoke(ctx)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nStart here:\nkronos forecast --sample synthetic --holdout --windows 20 --plot forecast.png",
)
@click.version_option(__version__, "-V", "--version", prog_name="kronos")
def main() -> None:
    """Forecast financial K-lines (candlesticks) with the Kronos foundation model.

    Point it at a CSV, TSV, Parquet or Feather file of bars. A small model is built in and needs no network; the published
    ones are fetched from the Hugging Face Hub. Forecasts are uncertain and no advice.
    """


COMMANDS = (
    forecast,
    check,
    models,
    evaluate,
    generate,
    audit,
    score,
    features,
    fetch,
    finetune,
    calibrate,
    heads,
    prepare,
    backtest_command,
    export_qlib_command,
    export_onnx,
    store,
    pretrain,
    serve,
    mcp,
)
for _command in COMMANDS:
    main.add_command(inputs_guarded(_command))
