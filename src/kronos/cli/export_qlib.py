"""``kronos export-qlib``: files of bars into a Qlib data folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kronos.cli.errors import as_options
from kronos.cli.options import clean_option, read_options, reading_options, tz_option


@click.command("export-qlib", short_help="Write a Qlib data folder from files of bars.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="FILES_OR_FOLDER...")
@click.option("--out", required=True, type=click.Path(), help="The Qlib data folder to write.")
@click.option("--freq", help="day, week, month, 1min, 5min, 60min, ...  [default: inferred]")
@click.option(
    "--name", default="mine", show_default=True, help="Name of the list of all symbols (instruments/NAME.txt)."
)
@click.option("--benchmark", help="Add an instrument of this name: the equal-weighted mean of all symbols.")
@tz_option
@clean_option
@reading_options
@click.option("--overwrite", is_flag=True, help="Replace a Qlib data folder that is there.")
@click.option("--quiet", is_flag=True, help="No progress.")
def export_qlib_command(
    sources: tuple[str, ...],
    out: str,
    freq: str | None,
    name: str,
    benchmark: str | None,
    tz: str | None,
    clean: Any,
    overwrite: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Read every series of CSV, TSV, Parquet and Feather files (or of a folder of them) and write calendars, instruments and
    features as Qlib reads them: open, high, low, close, volume, amount, vwap, change, factor. Symbols become safe names
    (symbols.csv says which). Qlib itself is not needed.

    \b
    Example:
      kronos export-qlib market/ --out qlib_data --name mine --benchmark MEAN
      kronos prepare qlib --data qlib_data --instrument mine --out data/mine
        --train 2018-01-01,2022-12-31 --val 2023-01-01,2023-12-31 --test 2024-01-01,2024-12-31
    """
    from tqdm.auto import tqdm

    from kronos.qlib.export import check_target, export_qlib, read_series
    from kronos.qlib.folder import qlib_freq

    told = read_options(reading, tz=tz, clean=clean)
    check_target(Path(out), overwrite)
    freq = None if freq is None else qlib_freq(freq)
    skipped: list[tuple[str, str]] = []
    found = read_series([Path(source) for source in sources], skipped=skipped, options=told)
    series = dict(tqdm(found, desc="reading", unit="series", disable=quiet or not sys.stderr.isatty()))
    for symbol, reason in skipped[:5]:
        about = "" if reason.startswith((symbol, *sources)) else f"{symbol}: "
        click.echo(f"left out: {about}{as_options(reason)}", err=True)
    if len(skipped) > 5:
        click.echo(f"left out: {len(skipped) - 5} more", err=True)
    if not series:
        raise ValueError("no series could be read; see kronos check FILE")
    done = export_qlib(series, Path(out), freq, name, benchmark, overwrite)
    click.echo(
        f"{len(series)} symbols, {len(done.calendar):,} times of {done.freq} ({done.calendar[0]} to {done.calendar[-1]}) written "
        f"to {out}, list {name.lower()}" + (f", benchmark {benchmark}" if benchmark else ""),
        err=True,
    )
