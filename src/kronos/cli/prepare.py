"""``kronos prepare qlib``: bars out of Qlib into the tables that fine-tuning and backtest read."""

from __future__ import annotations

import sys
from typing import Any

import click

from kronos.cli.settings import read_settings, settings_options, time_range


@click.group(short_help="Prepare data for fine-tuning: prepare qlib.")
def prepare() -> None:
    """Prepare data for fine-tuning and backtest."""


@prepare.command("qlib", short_help="Read bars from Qlib, clean them, split them by time.")
@click.option("--data", "qlib_data_path", type=click.Path(), help="The Qlib data folder.  [setting qlib_data_path]")
@click.option("--instrument", help="The list of instruments: csi300, all, ...  [setting instrument]")
@click.option(
    "--train", callback=time_range, metavar="FIRST,LAST", help="Dates to train on.  [setting train_time_range]"
)
@click.option(
    "--val", callback=time_range, metavar="FIRST,LAST", help="Dates to validate on.  [setting val_time_range]"
)
@click.option("--test", callback=time_range, metavar="FIRST,LAST", help="Dates to test on.  [setting test_time_range]")
@click.option("--out", "dataset_path", type=click.Path(), help="Folder to write to.  [setting dataset_path]")
@click.option("--quiet", is_flag=True, help="No table, no progress.")
@settings_options
@click.pass_context
def qlib_command(
    ctx: click.Context,
    qlib_data_path: str | None,
    instrument: str | None,
    train: Any,
    val: Any,
    test: Any,
    dataset_path: str | None,
    quiet: bool,
    yaml: str | None,
    sets: tuple[str, ...],
) -> None:
    """Load open, high, low, close, volume and amount of a list of instruments through Qlib, leave out faulty rows and short
    series, split by time, and write train, val and test as Parquet (and as .pkl for existing scripts) with a report.

    Every setting has a default (--settings lists them) and is overridden by --yaml, by the environment variable
    KRONOS_FINETUNE_<NAME>, by --set, or by the options here, in this order.

    \b
    Example:
      kronos prepare qlib --data ~/.qlib/qlib_data/cn_data --instrument csi300 --out data/csi300
        --train 2015-01-01,2022-12-31 --val 2023-01-01,2023-12-31 --test 2024-01-01,2024-12-31
    """
    config = read_settings(
        ctx,
        yaml,
        sets,
        qlib_data_path=qlib_data_path,
        instrument=instrument,
        train_time_range=train,
        val_time_range=val,
        test_time_range=test,
        dataset_path=dataset_path,
    )
    from kronos.qlib.session import require_qlib

    require_qlib()
    from kronos.qlib.prepare import prepare_qlib

    report = prepare_qlib(config, verbose=not quiet and sys.stderr.isatty())
    if not quiet:
        show_report(report)
    click.echo(f"written to {config.dataset_path}", err=True)


def show_report(report: dict[str, Any]) -> None:
    """The parts as a table, then what was left out and why."""
    from kronos.cli.output import show_table

    header = ["part", "symbols", "rows", "targets", "first target", "last target", "symbols dropped"]
    rows = []
    for part in report["parts"]:
        figures = [f"{part[name]:,}" for name in ("symbols", "rows", "targets")]
        rows.append([part["part"], *figures, part["first"][:10], part["last"][:10], f"{part['dropped']:,}"])
    show_table(header, rows)
    sources = ", ".join(f"{source} ({count})" for source, count in report["amount_from"].items())
    click.echo(
        f"{report['rows_kept']:,} of {report['rows_read']:,} rows of {report['symbols_kept']:,} symbols kept; "
        f"{report['rows_with_faults']:,} rows with missing or impossible values left out; amount from {sources}"
    )
    for reason, symbols in list(report["dropped"].items())[:10]:
        more = ", ..." if len(symbols) > 5 else ""
        click.echo(f"left out of {reason}: {len(symbols)} ({', '.join(symbols[:5])}{more})")
    click.echo(f"leak check {report['leak_check']}")
