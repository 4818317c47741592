"""``kronos backtest``: signals from forecasts, or from a file, traded in Qlib's simulator, with a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kronos.cli.settings import read_settings, settings_options, time_range


@click.command("backtest", short_help="Trade a model's signals in Qlib's simulator and report.")
@click.option("--device", help="cpu, cuda, cuda:0, mps or auto.  [setting device]")
@click.option(
    "--model", help="Backtest this model as it is (nano, small, a Hub id, a folder) instead of the fine-tuned one."
)
@click.option("--tokenizer", help="Hub id or folder of the tokenizer, where it does not follow from --model.")
@click.option(
    "--signals",
    type=click.Path(),
    help="Trade these signals (Parquet: datetime, instrument, one column a signal); no model is needed.",
)
@click.option(
    "--signal",
    "traded",
    multiple=True,
    help="Signal to trade by: return, last, mean, max, min. Repeatable.  [setting backtest_signal]",
)
@click.option("--data", "qlib_data_path", type=click.Path(), help="The Qlib data folder.  [setting qlib_data_path]")
@click.option("--instrument", help="The list of instruments.  [setting instrument]")
@click.option("--benchmark", help="Any instrument with data.  [setting backtest_benchmark]")
@click.option(
    "--range", "days", callback=time_range, metavar="FIRST,LAST", help="Days to trade.  [setting backtest_time_range]"
)
@click.option(
    "--prepared", "dataset_path", type=click.Path(), help="What kronos prepare qlib wrote.  [setting dataset_path]"
)
@click.option(
    "--out", type=click.Path(), help="Folder to write to.  [settings backtest_result_path, backtest_save_folder_name]"
)
@click.option("--overwrite", is_flag=True, help="Forecast anew where the folder has signals made with other settings.")
@click.option("--quiet", is_flag=True, help="No tables, no progress.")
@settings_options
@click.pass_context
def backtest_command(
    ctx: click.Context,
    device: str | None,
    model: str | None,
    tokenizer: str | None,
    signals: str | None,
    traded: tuple[str, ...],
    qlib_data_path: str | None,
    instrument: str | None,
    benchmark: str | None,
    days: Any,
    dataset_path: str | None,
    out: str | None,
    overwrite: bool,
    quiet: bool,
    yaml: str | None,
    sets: tuple[str, ...],
) -> None:
    """Forecast every instrument on every day, rank them by the expected return, and trade the ranking with Qlib's
    TopkDropoutStrategy, with costs. Prints and writes the risk analysis, IC and RankIC of every signal, a picture and a page.

    Forecasts are saved as they are made: a run that was stopped goes on where it was when it is started again.

    \b
    Examples:
      kronos backtest --yaml data/mine/settings.yaml --benchmark MEAN --model nano --out results/nano
      kronos backtest --yaml data/mine/settings.yaml --signals my_signals.parquet --out results/mine
    """
    if model is not None and signals is not None:
        raise ValueError("give --model or --signals, not both: signals of your own need no model")
    named: dict[str, Any] = {}
    if out is not None:
        place = Path(out).resolve()
        named = {"backtest_result_path": str(place.parent), "backtest_save_folder_name": place.name}
    config = read_settings(
        ctx,
        yaml,
        sets,
        device=device,
        qlib_data_path=qlib_data_path,
        instrument=instrument,
        backtest_benchmark=benchmark,
        dataset_path=dataset_path,
        backtest_time_range=days,
        **named,
    )
    from kronos.backtest.run import run_backtest

    report = run_backtest(
        config,
        model,
        tokenizer,
        None if signals is None else Path(signals),
        traded,
        overwrite,
        verbose=not quiet and sys.stderr.isatty(),
        echo=(lambda text: None) if quiet else (lambda text: click.echo(text, err=True)),
    )
    if not quiet:
        show_report(report)
    click.echo(f"report, picture, page and signals written to {config.backtest_folder}", err=True)


def show_report(report: dict[str, Any]) -> None:
    """The verdict, the risk analysis, and the scores of every signal."""
    from kronos.backtest.simulate import FIGURES
    from kronos.cli.output import show_table

    for name, result in report["strategy"].items():
        rows = [[curve, *(f"{risk[figure]:.6f}" for figure in FIGURES)] for curve, risk in result["risk"].items()]
        show_table(["", *FIGURES], rows, f"risk analysis, traded by {name}")
    rows = []
    for name, horizons in report["ic"].items():
        for days, score in horizons.items():
            figures = [f"{score[figure]:.4f}" for figure in ("ic", "icir", "rank_ic", "rank_icir")]
            rows.append([name, str(days), *figures, f"{score['t']:.1f}", f"{score['days']:,}"])
    header = ["signal", "return over", "IC", "ICIR", "RankIC", "RankICIR", "t", "days"]
    show_table(header, rows, "scores by day")
    for line in report["verdict"]:
        click.echo(line)
