"""``kronos check``: is this file fit to forecast from, and if not, which rows?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kronos.cli.errors import as_options
from kronos.cli.given import given_file, shown
from kronos.cli.options import close_only_option, read_options, reading_options, timeframe_option, tz_option, url_option

if TYPE_CHECKING:
    from kronos.klines.read_options import ReadOptions


@click.command(short_help="Say what is in a file of K-lines and what is wrong with it.")
@click.argument("file", type=click.Path())
@click.option("--symbol", help="Which series of a table that holds several.")
@tz_option
@reading_options
@close_only_option
@timeframe_option
@url_option
def check(file: str, symbol: str | None, tz: str | None, allow_url: bool, **reading: Any) -> None:
    """Read FILE (- is standard input) and report its columns, its span, its rhythm and every fault with its rows.

    Exit code 0 if it can be forecast from as it is, 2 if not.
    """
    with given_file(file, allow_url) as place:
        assert place is not None
        _check(place, read_options(reading, tz=tz, symbol=symbol))


def _check(file: str, options: ReadOptions) -> None:
    from kronos.calendars import describe_calendar
    from kronos.klines import KlineError, read_klines
    from kronos.klines.notes import notes_of

    try:
        bars = read_klines(file, options=options)
    except KlineError as error:
        click.echo(shown(as_options(error.message)))
        sys.exit(2)
    times = bars["timestamps"]
    click.echo(f"{shown(file)}: {len(bars):,} bars, {times.iloc[0]} to {times.iloc[-1]}")
    click.echo(f"columns: {', '.join(bars.columns)}")
    click.echo(f"rhythm:  {describe_calendar(times)}")
    notes = notes_of(bars)
    if "validation" in bars.attrs:
        click.echo(str(bars.attrs["validation"]))
    elif not any("missing" in note for note in notes):
        click.echo("no faults found")
    for note in notes:
        click.echo(f"note: {as_options(note)}")
