"""``kronos store``: from market files to a training store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from kronos.cli.options import read_options, reading_options, tz_option


@click.group()
def store() -> None:
    """Build and look at stores of bars to train on."""


@store.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the store; a stopped build goes on there."
)
@click.option("--least", type=int, help="Bars a segment needs.  [default: the paper's rule for its frequency]")
@click.option(
    "--market", help="What the bars are, for files that no index.csv says it of.  [default: each file's name]"
)
@click.option("--frequency", help="Frequency of all files, such as 5m.  [default: told from the times]")
@click.option(
    "--workers", type=int, default=lambda: os.cpu_count() or 1, help="Processes that read.  [default: all cores]"
)
@tz_option
@reading_options
def build(
    places: tuple[Path, ...],
    out: Path,
    least: int | None,
    market: str | None,
    frequency: str | None,
    workers: int,
    tz: str | None,
    **reading: Any,
) -> None:
    """Read the files and folders PLACES into one store.

    Series are split, never patched, by the paper's rules for their frequency: at faulty rows and jumps, and where bars have no
    volume or the same close for too long. A file index.csv in a folder (columns file, market, freq, licence, source) says what its
    files are. What was kept and dropped is in report.json, and in report.png to look at.
    """
    from dataclasses import replace

    from tqdm.auto import tqdm

    from kronos.klines.read_options import ReadOptions
    from kronos.klines.splitting import nearest_frequency
    from kronos.training.corpus import COUNTS, build, draw_report, find_sources

    if least is not None and least < 2:
        raise ValueError(f"--least must be at least 2, found {least}")
    if frequency is not None:
        nearest_frequency(frequency)
    sources = find_sources(places)
    if market is not None:
        sources = [replace(s, market=market) for s in sources]
    told = read_options(reading, tz=tz)
    if told != ReadOptions():
        sources = [replace(s, reading=told) for s in sources]
    if frequency is not None:
        sources = [replace(s, frequency=frequency) for s in sources]
    with tqdm(total=len(sources), desc="reading", unit="file") as bar:
        report = build(sources, out, workers, least, lambda _: bar.update(1) and None)
    draw_report(report, out)
    total = report[list(COUNTS)].sum()
    for name, value in total.items():
        click.echo(f"{value:>14,}  {name}")
    click.echo(f"the store is in {out}")


@store.command()
@click.argument("folder", type=click.Path(path_type=Path))
def show(folder: Path) -> None:
    """Say what a store holds, by market and frequency."""
    import pandas as pd

    from kronos.training.bar_store import Store
    from kronos.training.corpus import CATALOGUE

    Store.open(folder)
    table = pd.read_parquet(folder / CATALOGUE)
    table["bars"] = table["stop"] - table["start"]
    grouped = table.groupby(["market", "frequency"]).agg(
        symbols=("symbol", "nunique"), segments=("bars", "size"), bars=("bars", "sum"), licence=("licence", "first")
    )
    click.echo(grouped.sort_values("bars", ascending=False).to_string())
