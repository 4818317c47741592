"""``kronos fetch``: candles of an exchange or a data vendor into Parquet, and only what is missing of them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

    from kronos.live.fetching import FetchReport
    from kronos.live.retry import RetryPolicy
    from kronos.live.source import Adjust, Spec

SHOWN_GAPS = 5
BASE_URL = "KRONOS_LIVE_URL"


@click.command(short_help="Fetch candles from exchanges and data vendors.")
@click.argument("source")
@click.argument("symbols", nargs=-1)
@click.option("--timeframe", default="1d", show_default=True, help="1m, 5m, 15m, 1h, 4h, 1d, 1w, 1M, ...")
@click.option(
    "--since", metavar="DATE", help="From here on (UTC).  [default: where the file begins, or 1,000 bars ago]"
)
@click.option("--until", metavar="DATE", help="Up to here (UTC).  [default: now]")
@click.option(
    "--adjust",
    type=click.Choice(["none", "forward", "backward"]),
    default="forward",
    show_default=True,
    help="Of share prices for splits and dividends: forward leaves the latest price as traded.",
)
@click.option("--out", type=click.Path(), help="A .parquet file, or a folder.  [default: this folder]")
@click.option("--tries", type=int, default=7, show_default=True, help="How often a request is made that fails.")
@click.option(
    "--wait", type=float, default=1.0, show_default=True, help="Seconds before the second try; then twice as long."
)
@click.option(
    "--base-url",
    envvar=BASE_URL,
    show_envvar=True,
    help="Ask this host instead: a mirror, or a proxy that speaks the same interface.",
)
@click.option("--quiet", is_flag=True, help="No report, no progress.")
def fetch(
    source: str,
    symbols: tuple[str, ...],
    timeframe: str,
    since: str | None,
    until: str | None,
    adjust: Adjust,
    out: str | None,
    tries: int,
    wait: float,
    base_url: str | None,
    quiet: bool,
) -> None:
    """Fetch the candles of SYMBOLS from SOURCE: ccxt:EXCHANGE, yfinance or akshare; one symbol may also follow in the same word.

    A file that is there is brought up to date: only what is missing is asked for. The bar that is not finished is left out.
    Gaps are reported. Needs the libraries: pip install 'kronos-forecast[live]'.

    \b
    Examples:
      kronos fetch ccxt:binance BTC/USDT ETH/USDT --timeframe 1h --since 2024-01-01 --out market/
      kronos fetch yfinance:AAPL
      kronos fetch akshare:600519 --adjust forward --out maotai.parquet
    """
    from kronos.live.retry import RetryPolicy
    from kronos.live.source import parse_spec

    specs = [parse_spec(source, symbol) for symbol in symbols] or [parse_spec(source)]
    span = (_instant("--since", since), _instant("--until", until))
    targets = [_target(out, spec, timeframe, len(specs)) for spec in specs]
    _show_retries(quiet)
    policy = RetryPolicy(tries, wait, max(60.0, wait))
    failed = []
    for spec, target in zip(specs, targets, strict=True):
        try:
            report = fetch_one(spec, target, timeframe, span, adjust, base_url, policy, quiet)
        except (ValueError, OSError) as error:
            if len(specs) == 1:
                raise
            failed.append(str(spec))
            click.echo(f"{spec}: {str(error).splitlines()[0]}", err=True)
            continue
        if not quiet:
            report_fetched(report, str(spec))
    if failed:
        raise ValueError(f"{len(failed)} of {len(specs)} symbols could not be fetched: {', '.join(failed[:5])}")


def _instant(option: str, text: str | None) -> pd.Timestamp | None:
    import pandas as pd

    if text is None:
        return None
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ValueError(f"{option} {text!r} is no date or time such as 2024-01-01 or 2024-01-01T08:00") from error
    return moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")


def _target(out: str | None, spec: Spec, timeframe: str, count: int) -> Path:
    path = Path(out or ".")
    if path.suffix.lower() == ".parquet":
        if count > 1:
            raise ValueError(f"--out {out} is one file for {count} symbols; give a folder")
        if not path.resolve().parent.is_dir():
            raise ValueError(f"--out {out}: there is no folder {path.resolve().parent}")
        return path
    if path.suffix and not path.is_dir():
        raise ValueError(f"--out {out}: candles are written as .parquet, or give a folder")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {path.resolve().parent}")
    path.mkdir(exist_ok=True)
    return path / spec.file_name(timeframe)


def _show_retries(quiet: bool) -> None:
    """Why it takes so long."""
    if not quiet:
        handler = logging.StreamHandler(sys.stderr)
        logger = logging.getLogger("kronos.live.retry")
        logger.handlers, logger.propagate = [handler], False


def fetch_one(
    spec: Spec,
    target: Path,
    timeframe: str,
    span: tuple[pd.Timestamp | None, pd.Timestamp | None],
    adjust: Adjust,
    base_url: str | None,
    policy: RetryPolicy,
    quiet: bool,
    bars: int = 1_000,
) -> FetchReport:
    """One symbol into one file, with a line of progress."""
    from tqdm.auto import tqdm

    from kronos.live.fetching import fetch as bring_up_to_date
    from kronos.live.sources import open_source

    opened = open_source(spec, timeframe, adjust, base_url, policy)
    with tqdm(desc=str(spec), unit="bar", disable=quiet or not sys.stderr.isatty(), leave=False) as bar:

        def progress(at: pd.Timestamp, bars: int) -> None:
            bar.set_postfix_str(f"{at:%Y-%m-%d}")
            bar.update(bars)

        return bring_up_to_date(opened, target, *span, progress, bars)


def report_fetched(report: FetchReport, name: str) -> None:
    """What came in, and what is missing."""
    click.echo(
        f"{name}: {report.new:,} new of {report.bars:,} bars, {report.first} to {report.last}, in {report.path}",
        err=True,
    )
    if report.revised:
        click.echo(f"  {report.revised:,} bars were changed by the source since and are replaced", err=True)
    if report.unfinished:
        click.echo("  the unfinished last bar is left out", err=True)
    for note in report.notes:
        click.echo(f"  {note}", err=True)
    if report.gaps:
        shown = "; ".join(map(str, report.gaps[:SHOWN_GAPS])) + ("; ..." if len(report.gaps) > SHOWN_GAPS else "")
        bars = sum(gap.bars for gap in report.gaps)
        click.echo(f"  missing at the source: {bars:,} bars in {len(report.gaps):,} places: {shown}", err=True)


def fetch_to_forecast(text: str, timeframe: str, bars: int, quiet: bool) -> Path:
    """The file of a source's candles in the user's cache, brought up to date, for `kronos forecast ccxt:binance:BTC/USDT`."""
    from kronos.live.retry import RetryPolicy
    from kronos.live.source import parse_spec

    spec = parse_spec(text)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kronos" / "live"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / spec.file_name(timeframe)
    _show_retries(quiet)
    report = fetch_one(
        spec,
        target,
        timeframe,
        (None, None),
        _usual_adjustment(spec),
        os.environ.get(BASE_URL),
        RetryPolicy(),
        quiet,
        bars,
    )
    if not quiet:
        report_fetched(report, text)
    return target


def _usual_adjustment(spec: Spec) -> Adjust:
    return "none" if spec.library == "ccxt" else "forward"
