"""``kronos forecast``: bars in a file (or a sample) in, a table and a picture of the bars to come out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kronos.cli.errors import as_options
from kronos.cli.given import given_file, shown
from kronos.cli.options import (
    Options,
    calibration_option,
    clean_option,
    close_only_option,
    device_option,
    precision_option,
    reading_options,
    tokenizer_option,
    tz_option,
    url_option,
)
from kronos.cli.output import show_chart, show_forecast, show_text, table_bytes, table_of
from kronos.errors import Argument, KronosError
from kronos.klines.samples import SAMPLES, sample_path

if TYPE_CHECKING:
    import pandas as pd

    from kronos.forecast.forecast import Forecast
    from kronos.klines.window import SeriesWindow

    _ForecastOf = Callable[[Sequence[SeriesWindow], int], Forecast]


@click.command(short_help="Forecast the next bars of a file.")
@click.argument("file", required=False, type=click.Path())
@click.option(
    "--sample",
    type=click.Choice(list(SAMPLES)),
    help="Forecast a sample instead of FILE: made-up bars of the package, or an index (1999 to 2018) of the extra samples.",
)
@click.option(
    "--model",
    default="nano",
    show_default=True,
    help="nano, mini, small, base, a Hub id, or a folder. See: kronos models",
)
@tokenizer_option
@click.option(
    "--lookback",
    type=int,
    help="Bars to look back on.  [default: 400, or what the file and the model's context hold]",
)
@click.option("--horizon", type=int, default=30, show_default=True, help="Bars to forecast.")
@click.option("--holdout", is_flag=True, help="Hide the last HORIZON bars, forecast them, and compare.")
@click.option(
    "--windows",
    type=int,
    default=1,
    show_default=True,
    help="With --holdout: measure over so many windows, the last one and those before it.",
)
@click.option(
    "--calendar",
    help="Exchange calendar, so that holidays are skipped: XSHG, XNYS, 24/7, ...  [default: learned from the file]",
)
@click.option("--paths", type=int, default=100, show_default=True, help="Sample paths; the forecast is their mean.")
@click.option("--quantiles", metavar="Q,Q,...", help="Quantiles of close to report.  [default: 0.1,0.9]")
@click.option(
    "--interval",
    type=float,
    multiple=True,
    metavar="SHARE",
    help="Bounds that hold this share of the paths' closes. Repeatable.",
)
@click.option("--temperature", type=float, help="Below 1: more certain; 0: greedy.  [default: the model's]")
@click.option(
    "--top-p", type=float, help="Draw from the likeliest codes that hold this probability.  [default: the model's]"
)
@click.option("--top-k", type=int, default=0, show_default=True, help="Draw from the k likeliest codes; 0 is off.")
@click.option(
    "--price-limit",
    metavar="cn|SHARE",
    help="Keep each day's prices within a share of the close of the day before; cn: of the board of the stock's code.",
)
@calibration_option
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same forecast.")
@device_option
@precision_option
@click.option("--symbol", help="Which series of a file that holds several.")
@click.option(
    "--timeframe",
    metavar="5min|15min|30min|1h|4h|1d|1w",
    help="Make bars of this length of shorter ones; a last one that is not complete is left out. Of a live source: the length that "
    "is fetched, 1m, 1h, 1d, ...  [default: as they are; of a live source 1d]",
)
@tz_option
@clean_option
@reading_options
@close_only_option
@url_option
@click.option(
    "--out",
    type=click.Path(),
    help="Write the forecast: .csv, .parquet or .json; or a folder, for every series there is.",
)
@click.option("--show", is_flag=True, help="Draw candles and fan in the terminal, as wide as it is.")
@click.option("--plot", type=click.Path(), help="Draw history and fan chart: .png, .svg, .pdf, or .html to zoom in.")
@click.option("--save", type=click.Path(), help="Keep all paths: .parquet, read again by kronos.Forecast.load.")
@click.option("--overwrite", is_flag=True, help="With --out FOLDER: begin anew instead of going on.")
@click.option("--quiet", is_flag=True, help="No table, no progress.")
def forecast(file: str | None, sample: str | None, **options: object) -> None:
    """Forecast the next bars of FILE: a CSV, TSV, Parquet or Feather table of open, high, low, close and, if there are, volume
    and amount; - is standard input. Columns, separators and timestamps are recognised, in English and Chinese. FILE may also be a
    folder of such files, or a table of many symbols: with --out FOLDER each series gets its own table there, and a stopped run
    goes on where it was when it is started again.

    \b
    Examples:
      kronos forecast prices.csv
      kronos forecast prices.csv --horizon 48 --calendar XSHG --plot forecast.png --out forecast.csv
      kronos forecast minutes.csv --timeframe 1h      # 1-minute bars, forecast as hourly ones
      kronos forecast prices.csv --holdout            # how would it have done on the last bars?
      kronos forecast table.parquet --symbol BTCUSDT --model small --paths 50
      kronos forecast prices.csv --quantiles 0.05,0.5,0.95 --interval 0.8 --plot fan.html
      kronos forecast market/ --horizon 10 --out forecasts/
      cat prices.csv | kronos forecast - --show
      kronos forecast https://example.org/nav.csv --allow-url --close-only
      kronos forecast ccxt:binance:BTC/USDT --timeframe 1h --horizon 24    # fetched first, see: kronos fetch
      kronos forecast --sample synthetic --holdout --windows 20 --plot forecast.png
    """
    told = Options(**options)  # type: ignore[arg-type]
    told.check()
    with given_file(file, told.allow_url) as place:
        path, name, told = _source(place, sample, told)
        if told.many or Path(path).is_dir():
            from kronos.cli.market import forecast_all

            forecast_all(Path(path), told)
        else:
            _forecast(path, name if place == file else shown(path), told)


def _source(file: str | None, sample: str | None, options: Options) -> tuple[str, str, Options]:
    """The file to read, what to call it, and how; the candles of a live source are fetched into one."""
    if (file is None) == (sample is None):
        raise ValueError(
            "give a FILE of bars, or --sample synthetic, and not both; kronos forecast --help shows examples"
        )
    if file is not None and not Path(file).exists():
        from kronos.live.source import is_spec

        if is_spec(file):
            from kronos.cli.fetch import fetch_to_forecast

            bars = max(1_000, 2 * (options.lookback or 0))
            fetched = fetch_to_forecast(file, options.timeframe or "1d", bars, options.quiet)
            return str(fetched), file, options._replace(timeframe=None)
    if file is not None:
        return file, Path(file).name, options
    assert sample is not None
    return str(sample_path(sample)), SAMPLES[sample], options


def _forecast(path: str, name: str, options: Options) -> None:
    from kronos.klines import KlineError, read_klines
    from kronos.schema import FEATURES

    try:
        bars = read_klines(path, options=options.reading())
    except KlineError as error:
        if "symbol" not in error.arguments or options.symbol is not None:
            raise
        raise KronosError(error.summary, ", or forecast all of them with ", Argument("out", "FOLDER")) from error
    if not options.quiet and "cleaning" in bars.attrs:
        click.echo(as_options(bars.attrs["cleaning"]), err=True)
    from kronos.cli.window import window_of
    from kronos.klines.notes import future_notes, notes_of, volume_unit
    from kronos.loading import load, pair_settings

    options.check_sampling()
    window = window_of(bars, options, pair_settings(options.model).trained_context)
    before = _windows_before(bars, window, options)
    predictor = load(options.model, tokenizer=options.tokenizer, device=options.device, precision=options.precision)
    if not options.quiet:
        holidays = [] if options.holdout else future_notes(bars["timestamps"], window.future, options.calendar)
        for note in (*notes_of(bars), *holidays):
            click.echo(f"note: {note}", err=True)
    values = [c for c in FEATURES if c in bars.columns]

    symbol = str(bars.attrs.get("symbol", name))
    limit = options.limit(symbol, window)
    if limit is not None and not options.quiet:
        click.echo(f"note: prices are kept within the daily limit of {limit.name}; {volume_unit(bars)}", err=True)

    def forecast_of(windows: Sequence[SeriesWindow], paths: int, ids: Sequence[str] | None = None) -> Forecast:
        drawn = predictor.forecast(
            [cut.past[values] for cut in windows],
            [cut.past["timestamps"] for cut in windows],
            [cut.future for cut in windows],
            T=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            calibration=options.calibrating(),
            sample_count=paths,
            seed=options.seed,
            verbose=not options.quiet and sys.stderr.isatty(),
            ids=ids,
        )
        return drawn if limit is None else drawn.within_price_limits(limit)

    forecast = forecast_of([window], options.paths, [symbol])
    result = table_of(forecast, values, options.levels())
    title = f"{name}: {options.horizon} bars forecast by {options.model} from the {len(window.past)} before them"
    title += ", calibrated" if forecast.calibration else ""
    if not options.quiet:
        show_forecast(result, window.truth, title)
    if options.show:
        show_chart(forecast, window.truth, options.coverages())
    if window.truth is not None and (not options.quiet or options.windows > 1):
        show_text(_compare(forecast, window, before, options, forecast_of))
    if options.out is not None:
        from kronos.io.atomic import write_file

        write_file(Path(options.out), table_bytes(result, Path(options.out).suffix.lower()))
        click.echo(f"forecast written to {options.out}", err=True)
    if options.save is not None:
        forecast.save(options.save)
        click.echo(f"paths written to {options.save}", err=True)
    _draw(forecast, window.truth, options, title)


def _windows_before(bars: pd.DataFrame, latest: SeriesWindow, options: Options) -> list[SeriesWindow]:
    """The held-out windows before the latest one, as many as were asked for."""
    if options.windows == 1:
        return []
    from kronos.cli.holdout import windows_before
    from kronos.cli.window import window_of

    same = options._replace(lookback=len(latest.past))
    return windows_before(bars, options, lambda known: window_of(known, same, 0), len(latest.past))


def _compare(
    forecast: Forecast, window: SeriesWindow, before: list[SeriesWindow], options: Options, forecast_of: _ForecastOf
) -> list[str]:
    """How forecasts of held-out bars did, over as many windows as were asked for."""
    from kronos.cli.holdout import MEASURE_PATHS, score_window, sentences

    paths = options.paths if not before else min(options.paths, MEASURE_PATHS)
    forecasts = [forecast]
    if before:
        many = forecast_of(before, paths)
        forecasts += [many[i] for i in many]
    scores = [
        score_window(one, cut.past["close"], cut.truth["close"], paths)
        for one, cut in zip(forecasts, [window, *before], strict=True)
        if cut.truth is not None
    ]
    return sentences(scores)


def _draw(forecast: Forecast, truth: pd.DataFrame | None, options: Options, title: str) -> None:
    if options.plot is None:
        return
    bars = None if truth is None else truth.set_index("timestamps")
    coverages = options.coverages()
    if Path(options.plot).suffix.lower() == ".html":
        forecast.to_html(options.plot, truth=bars, coverages=coverages, title=title)
    else:
        forecast.plot(path=options.plot, truth=bars, coverages=coverages, title=title)
    click.echo(f"picture written to {options.plot}", err=True)
