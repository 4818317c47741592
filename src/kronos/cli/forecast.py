"""``kronos forecast``: bars in a file (or a sample) in, a table and a picture of the bars to come out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLES = {"sp500": "S&P 500, daily", "nasdaq": "NASDAQ Composite, daily"}
"""Daily bars that ship inside the arch package, 1999 to 2018."""

TABLE_ENDINGS = (".csv", ".parquet", ".json")
PICTURE_ENDINGS = (".png", ".svg", ".pdf")
DEFAULT_LOOKBACK = 400


@click.command(short_help="Forecast the next bars of a file.")
@click.argument("file", required=False, type=click.Path())
@click.option(
    "--sample",
    type=click.Choice(list(SAMPLES)),
    help="Forecast a built-in sample (daily bars, 1999 to 2018) instead of FILE.",
)
@click.option(
    "--model",
    default="nano",
    show_default=True,
    help="nano, mini, small, base, a Hub id, or a folder. See: kronos models",
)
@click.option("--tokenizer", help="Hub id or folder of the tokenizer, where it does not follow from the model.")
@click.option(
    "--lookback",
    type=int,
    help=f"Bars to look back on.  [default: {DEFAULT_LOOKBACK}, or what the file and the model's context hold]",
)
@click.option("--horizon", type=int, default=30, show_default=True, help="Bars to forecast.")
@click.option("--holdout", is_flag=True, help="Hide the last HORIZON bars, forecast them, and compare.")
@click.option(
    "--calendar",
    help="Exchange calendar, so that holidays are skipped: XSHG, XNYS, 24/7, ...  [default: learned from the file]",
)
@click.option("--paths", type=int, default=20, show_default=True, help="Sample paths; the forecast is their mean.")
@click.option("--temperature", type=float, help="Below 1: more certain; 0: greedy.  [default: the model's]")
@click.option(
    "--top-p", type=float, help="Draw from the likeliest codes that hold this probability.  [default: the model's]"
)
@click.option("--top-k", type=int, default=0, show_default=True, help="Draw from the k likeliest codes; 0 is off.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same forecast.")
@click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: the best there is]")
@click.option("--symbol", help="Which series of a file that holds several.")
@click.option("--tz", help="Time zone of the file's timestamps, such as Asia/Shanghai.")
@click.option(
    "--clean",
    type=click.Choice(["drop", "split", "sort"]),
    help="What to do with faulty rows (see: kronos check FILE).",
)
@click.option(
    "--map", "mapping", multiple=True, metavar="ROLE=COLUMN", help="Name a column: --map close=Last. Repeatable."
)
@click.option("--out", type=click.Path(), help="Write the forecast: .csv, .parquet or .json.")
@click.option("--plot", type=click.Path(), help="Draw history and forecast: .png, .svg or .pdf.")
@click.option("--quiet", is_flag=True, help="No table, no progress.")
def forecast(file: str | None, sample: str | None, **options: object) -> None:
    """Forecast the next bars of FILE: a CSV, TSV, Parquet or Feather table of open, high, low, close and, if there are, volume
    and amount. Columns, separators and timestamps are recognised, in English and Chinese.

    \b
    Examples:
      kronos forecast prices.csv
      kronos forecast prices.csv --horizon 48 --calendar XSHG --plot forecast.png --out forecast.csv
      kronos forecast prices.csv --holdout            # how would it have done on the last bars?
      kronos forecast table.parquet --symbol BTCUSDT --model small --paths 50
      kronos forecast --sample sp500 --holdout --plot sp500.png
    """
    _forecast(file, sample, _Options(**options))  # type: ignore[arg-type]


class _Options(NamedTuple):
    model: str
    tokenizer: str | None
    lookback: int | None
    horizon: int
    holdout: bool
    calendar: str | None
    paths: int
    temperature: float | None
    top_p: float | None
    top_k: int
    seed: int
    device: str | None
    symbol: str | None
    tz: str | None
    clean: Literal["drop", "split", "sort"] | None
    mapping: tuple[str, ...]
    out: str | None
    plot: str | None
    quiet: bool

    def check(self) -> None:
        """What can be known to be wrong before anything is read."""
        for name, least, most in (("horizon", 1, 10_000), ("lookback", 2, 100_000), ("paths", 1, 10_000)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"--{name} must lie in {least:,}..{most:,}, found {value:,}")
        for option, path, endings in (("--out", self.out, TABLE_ENDINGS), ("--plot", self.plot, PICTURE_ENDINGS)):
            if path is None:
                continue
            if Path(path).suffix.lower() not in endings:
                raise ValueError(f"{option} {path}: the ending must be one of {', '.join(endings)}")
            if not Path(path).resolve().parent.is_dir():
                raise ValueError(f"{option} {path}: there is no folder {Path(path).resolve().parent}")

    def columns(self) -> dict[str, str] | None:
        """{column of the file: role} for the reader."""
        pairs = [item.partition("=") for item in self.mapping]
        for role, equals, column in pairs:
            if not (role and equals and column):
                raise ValueError(f"--map takes ROLE=COLUMN, such as close=Last, found {role + equals + column!r}")
        return {column: role for role, _, column in pairs} or None


def _source(file: str | None, sample: str | None) -> tuple[str, str]:
    """The file to read and what to call it."""
    if (file is None) == (sample is None):
        raise ValueError("give a FILE of bars, or --sample sp500, and not both; kronos forecast --help shows examples")
    if file is not None:
        return file, Path(file).name
    spec = importlib.util.find_spec("arch")  # found, not imported: it is slow
    if spec is None or spec.origin is None:
        raise ValueError("the samples ship inside the arch package, which is not installed: pip install arch")
    assert sample is not None
    return str(Path(spec.origin).parent / "data" / sample / f"{sample}.csv.gz"), SAMPLES[sample]


def _window(bars: pd.DataFrame, options: _Options, context: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The lookback, and the hidden bars if some are held out."""
    truth = None
    if options.holdout:
        if len(bars) < options.horizon + 2:
            raise ValueError(
                f"--holdout hides {options.horizon} bars and needs 2 more to look back on; the file has {len(bars)}"
            )
        bars, truth = bars.iloc[: -options.horizon], bars.iloc[-options.horizon :]
    lookback = options.lookback or min(len(bars), DEFAULT_LOOKBACK, max(context - options.horizon, context // 2))
    if lookback > len(bars):
        raise ValueError(f"--lookback {lookback} is more than the {len(bars)} bars there are to look back on")
    return bars.iloc[-lookback:], truth


def _forecast(file: str | None, sample: str | None, options: _Options) -> None:
    options.check()
    path, name = _source(file, sample)
    columns = options.columns()
    from kronos.klines import read_klines

    bars = read_klines(path, symbol=options.symbol, tz=options.tz, clean=options.clean, columns=columns)
    if not options.quiet and "cleaning" in bars.attrs:
        click.echo(bars.attrs["cleaning"], err=True)
    import pandas as pd

    from kronos.generation.sampling import Sampling
    from kronos.hub.loading import load, pair_settings
    from kronos.klines import VALUE_COLUMNS

    advice = pair_settings(options.model)
    past, truth = _window(bars, options, advice.max_context)
    if truth is not None:
        future = pd.DatetimeIndex(truth["timestamps"])
    else:
        from kronos.calendars import future_timestamps

        future = future_timestamps(bars["timestamps"], options.horizon, options.calendar)
    sampling = Sampling(
        advice.temperature if options.temperature is None else options.temperature,
        options.top_k,
        advice.top_p if options.top_p is None else options.top_p,
    )
    predictor = load(options.model, tokenizer=options.tokenizer, device=options.device)
    values = [c for c in VALUE_COLUMNS if c in past.columns]
    paths = predictor.predict_samples(
        past[values],
        past["timestamps"],
        future,
        options.horizon,
        T=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        sample_count=options.paths,
        seed=options.seed,
        verbose=not options.quiet and sys.stderr.isatty(),
    )[0]
    result = _table(paths, future, values)
    title = f"{name}: {options.horizon} bars by {options.model}, from {len(past)}"
    if not options.quiet:
        _show(result, truth, title)
        _compare(result, truth, float(past["close"].iloc[-1]))
    _write(result, options.out)
    _draw(result, past, truth, options, title)


def _table(paths: np.ndarray, future: pd.DatetimeIndex, values: list[str]) -> pd.DataFrame:
    """Mean of the paths [P, H, 6], and the bounds between which 80 % of the closes lie."""
    import numpy as np
    import pandas as pd

    from kronos.klines import FEATURES

    table = pd.DataFrame(paths.mean(0), columns=list(FEATURES), index=future.rename("timestamps"))[values]
    if len(paths) > 1:
        table["close_q10"], table["close_q90"] = np.quantile(paths[:, :, 3], [0.1, 0.9], axis=0)
    return table


def _show(result: pd.DataFrame, truth: pd.DataFrame | None, title: str) -> None:
    """The table on the terminal; of a long one the beginning and the end."""
    from rich.console import Console
    from rich.table import Table

    shown = result.copy()
    if truth is not None:
        shown["actual close"] = truth["close"].to_numpy()
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    table.add_column("time", no_wrap=True)
    for column in shown.columns:
        table.add_column(column, justify="right", no_wrap=True)
    daily = bool((shown.index.normalize() == shown.index).all())  # type: ignore[attr-defined]
    spots = list(range(len(shown)))
    if len(spots) > 40:
        spots = [*spots[:20], -1, *spots[-10:]]
    for i in spots:
        if i < 0:
            table.add_row("...")
            continue
        time = shown.index[i]
        cells = [
            f"{v:,.0f}" if c in ("volume", "amount") and abs(v) >= 1000 else f"{v:.6g}"
            for c, v in shown.iloc[i].items()
        ]
        table.add_row(f"{time:%Y-%m-%d}" if daily else f"{time:%Y-%m-%d %H:%M}", *cells)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _compare(result: pd.DataFrame, truth: pd.DataFrame | None, last: float) -> None:
    """How it did on held-out bars, beside the simplest forecast there is."""
    if truth is None:
        return
    actual = truth["close"].to_numpy()
    error, naive = abs(result["close"].to_numpy() - actual).mean(), abs(last - actual).mean()
    verdict = "better than" if error < naive else "worse than" if error > naive else "the same as"
    click.echo(
        f"mean absolute error of close: {error:.6g}, {verdict} the last price ({naive:.6g}); one window proves nothing"
    )
    if "close_q10" in result.columns:
        inside = ((actual >= result["close_q10"]) & (actual <= result["close_q90"])).sum()
        click.echo(f"{inside} of {len(actual)} closes fell between the paths' 10 % and 90 % quantiles")


def _write(result: pd.DataFrame, out: str | None) -> None:
    if out is None:
        return
    import io

    from kronos.files import write_file

    table, target = result.reset_index(), Path(out)
    if target.suffix.lower() == ".csv":
        content = table.to_csv(index=False, float_format="%.8g").encode()
    elif target.suffix.lower() == ".json":
        content = (table.to_json(orient="records", date_format="iso", indent=1) or "").encode()
    else:
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        content = buffer.getvalue()
    write_file(target, content)
    click.echo(f"forecast written to {out}", err=True)


def _draw(result: pd.DataFrame, past: pd.DataFrame, truth: pd.DataFrame | None, options: _Options, title: str) -> None:
    if options.plot is None:
        return
    from kronos.files import write_file
    from kronos.picture import forecast_picture

    target = Path(options.plot)
    shown = past.iloc[-max(60, 3 * options.horizon) :].set_index("timestamps")
    band = (result["close_q10"].to_numpy(), result["close_q90"].to_numpy()) if "close_q10" in result.columns else None
    write_file(
        target, forecast_picture(shown, result, band=band, truth=truth, title=title, kind=target.suffix.lower()[1:])
    )
    click.echo(f"picture written to {options.plot}", err=True)
