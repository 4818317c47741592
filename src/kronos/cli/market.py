"""``kronos forecast`` of many series: a folder of files, or tables of many symbols, into a folder of forecasts.

Every series' table is written as soon as its group is done, so that a stopped run loses at most one group; started again with the
same settings and files it goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kronos.cli.errors import as_options
from kronos.cli.options import Options
from kronos.errors import message_of

if TYPE_CHECKING:
    import pandas as pd

    from kronos.cli.window import SeriesWindow
    from kronos.forecast.forecast import Forecast
    from kronos.forecast.price_limits import PriceLimit
    from kronos.io.run_folder import RunFolder
    from kronos.predictor import KronosPredictor

GROUP = 64
"""Series that are forecast together, and lost together when the run is stopped."""
SUMMARY, SKIPPED = "summary.csv", "skipped.csv"
HEADER, FIGURES = ["timestamps", "symbol"], ("last_close", "expected_return", "prob_up", "value_at_risk")
"""First and last columns of a series' table."""
NOT_SETTINGS = ("out", "quiet", "overwrite", "device", "plot", "save", "timeframe")


class _Member(NamedTuple):
    name: str
    part: str
    window: SeriesWindow
    limit: PriceLimit | None


def forecast_all(source: Path, options: Options) -> None:
    """Every series of ``source`` into the folder --out."""
    if not options.many:
        raise ValueError(f"{source} is a folder: give a folder for the forecasts too, with --out FOLDER")
    for option, value in (("--plot", options.plot), ("--save", options.save), ("--symbol", options.symbol)):
        if value is not None:
            raise ValueError(f"{option} is for one series; with --out FOLDER leave it out")
    from kronos.klines.formats import table_files

    files = table_files(source)
    assert options.out is not None
    out = Path(options.out)
    folder = _begin(out, files, options)
    from tqdm.auto import tqdm

    from kronos.loading import load

    options.check_sampling()
    predictor = load(options.model, tokenizer=options.tokenizer, device=options.device, precision=options.precision)
    skipped: list[tuple[str, str]] = []
    done, group = 0, []
    verbose = not options.quiet and sys.stderr.isatty()
    with tqdm(desc="forecasting", unit="series", disable=not verbose) as bar:
        for member in _members(files, folder, options, predictor.trained_context, skipped):
            if isinstance(member, str):  # there already
                bar.update(1)
                done += 1
                continue
            group.append(member)
            if len(group) == GROUP:
                done += _forecast_group(group, folder, predictor, options)
                bar.update(len(group))
                group = []
        if group:
            done += _forecast_group(group, folder, predictor, options)
            bar.update(len(group))
    _finish(folder, done, skipped, options)


def _begin(out: Path, files: list[Path], options: Options) -> RunFolder:
    """Open the folder of forecasts from these files and options."""
    from kronos.io.run_folder import RunFolder

    settings: dict[str, Any] = {k: v for k, v in options._asdict().items() if k not in NOT_SETTINGS}
    settings |= {} if options.timeframe is None else {"timeframe": options.timeframe}
    stats = {str(file.resolve()): file.stat() for file in files}
    settings["files"] = {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
    return RunFolder(out, settings, options.overwrite, (SUMMARY, SKIPPED, *_tables(out)))


def _tables(out: Path) -> list[str]:
    """Names of the tables of forecasts in a folder, by their header; a user's own CSV is none."""
    names = [file.name for file in sorted(out.glob("*.csv")) if file.name not in (SUMMARY, SKIPPED)]
    return [name for name in names if _is_table(out / name)]


def _is_table(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as lines:
        header = lines.readline().rstrip("\n").split(",")
    return header[:2] == HEADER and header[-len(FIGURES) :] == list(FIGURES)


def _file_name(symbol: str) -> str:
    """A name of its own inside the folder, whatever the symbol holds."""
    plain = re.sub(r"[^\w.=^-]", "_", symbol).lstrip(".")[:100]
    changed = plain != symbol or f"{plain}.csv".lower() in (SUMMARY, SKIPPED)
    return f"{plain}-{hashlib.sha256(symbol.encode()).hexdigest()[:8]}.csv" if changed else f"{plain}.csv"


def _members(
    files: list[Path], folder: RunFolder, options: Options, context: int, skipped: list[tuple[str, str]]
) -> Iterator[_Member | str]:
    """Series to forecast; the name alone where its table is there already."""
    from kronos.cli.window import window_of
    from kronos.klines import KlineError, iter_klines

    seen: set[str] = set()
    for file in files:
        try:
            for symbol, bars in iter_klines(file, options=options.reading()):
                # A folder may hold one symbol at several frequencies.
                symbol = symbol if symbol not in seen else f"{symbol}@{file.name.split('.')[0]}"
                if symbol in seen:
                    skipped.append((symbol, f"{file.name} has it twice"))
                    continue
                seen.add(symbol)
                part = _file_name(symbol)
                if isinstance(bars, KlineError):
                    skipped.append((symbol, _said(bars)))
                elif folder.is_done(part):
                    yield symbol
                else:
                    try:
                        window = window_of(bars, options, context)
                        yield _Member(symbol, part, window, options.limit(symbol, window))
                    except ValueError as error:
                        skipped.append((symbol, _said(error)))
        except KlineError as error:
            skipped.append((file.name, _said(error)))


def _said(error: Exception) -> str:
    return as_options(message_of(error).first_line())


def _forecast_group(group: list[_Member], folder: RunFolder, predictor: KronosPredictor, options: Options) -> int:
    from kronos.cli.output import table_bytes, table_of
    from kronos.schema import FEATURES

    values = [[c for c in FEATURES if c in member.window.past.columns] for member in group]
    forecast = predictor.forecast(
        [member.window.past[columns] for member, columns in zip(group, values, strict=True)],
        [member.window.past["timestamps"] for member in group],
        [member.window.future for member in group],
        T=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        calibration=options.calibrating(),
        sample_count=options.paths,
        seed=options.seed,
        verbose=False,
        ids=[member.name for member in group],
    )
    for member, columns in zip(group, values, strict=True):
        one = forecast[[member.name]]
        one = one if member.limit is None else one.within_price_limits(member.limit)
        table = table_of(one, columns, options.levels())
        if member.window.truth is not None:
            table["actual_close"] = member.window.truth["close"].to_numpy()
        table.attrs = {}
        table.insert(0, "symbol", member.name)
        for name, value in _figures(one).items():
            table[name] = value
        folder.write(member.part, table_bytes(table, ".csv"))
    return len(group)


def _figures(one: Forecast) -> dict[str, float]:
    """What the summary ranks by, repeated on every row of a series' table so that a resumed run need not recompute it."""
    row = one.summary().iloc[0]
    return {name: float(row[name]) for name in FIGURES}


def _finish(folder: RunFolder, done: int, skipped: list[tuple[str, str]], options: Options) -> None:
    """The summary of all tables in the folder, best expected return first, and what was skipped and why."""
    import pandas as pd

    out = Path(str(folder))
    rows = [pd.read_csv(out / name, dtype={"symbol": "str"}).iloc[-1:] for name in _tables(out)]
    if rows:
        table = pd.concat(rows, ignore_index=True).sort_values("expected_return", ascending=False, kind="stable")
        folder.write(SUMMARY, table.to_csv(index=False, float_format="%.8g").encode())
    if skipped:
        reasons = pd.DataFrame(skipped, columns=["series", "reason"])
        folder.write(SKIPPED, reasons.to_csv(index=False).encode())
        click.echo(
            f"{len(skipped)} skipped, the first: {skipped[0][0]}: {skipped[0][1]} (all in {out / SKIPPED})", err=True
        )
    else:
        folder.clear(SKIPPED)
    if not done:
        raise ValueError(f"nothing could be forecast; see {out / SKIPPED}")
    click.echo(f"{done} series forecast into {out}, ranked in {out / SUMMARY}", err=True)
    if not options.quiet and rows:
        _show_best(table)


def _show_best(table: pd.DataFrame) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="highest expected return over the horizon", title_justify="left", box=None, pad_edge=False)
    for heading in ("symbol", "last close", "forecast close", "expected return", "paths that rise"):
        shown.add_column(heading, justify="left" if heading == "symbol" else "right")
    for _, row in table.head(10).iterrows():
        shown.add_row(
            str(row["symbol"]),
            f"{row['last_close']:.6g}",
            f"{row['close']:.6g}",
            f"{row['expected_return']:+.2%}",
            f"{row['prob_up']:.0%}",
        )
    Console().print(shown)
