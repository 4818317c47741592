"""``kronos forecast`` of many series: a folder of files, or tables of many symbols, into a folder of forecasts.

Every series' table is written as soon as its group is done, so that a stopped run loses at most one group; started again with the
same settings and files it goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kronos.cli.options import Options, as_options

if TYPE_CHECKING:
    import pandas as pd

    from kronos.cli.window import SeriesWindow
    from kronos.forecast import Forecast
    from kronos.predictor import KronosPredictor

GROUP = 64
"""Series that are forecast together, and lost together when the run is stopped."""
SETTINGS, SUMMARY, SKIPPED = "settings.json", "summary.csv", "skipped.csv"
NOT_SETTINGS = ("out", "quiet", "overwrite", "device", "plot", "save", "timeframe")


class _Member(NamedTuple):
    name: str
    file: Path
    window: SeriesWindow


def forecast_all(source: Path, options: Options) -> None:
    """Every series of ``source`` into the folder --out."""
    if not options.many:
        raise ValueError(f"{source} is a folder: give a folder for the forecasts too, with --out FOLDER")
    for option, value in (("--plot", options.plot), ("--save", options.save), ("--symbol", options.symbol)):
        if value is not None:
            raise ValueError(f"{option} is for one series; with --out FOLDER leave it out")
    from kronos.klines.files import table_files

    files = table_files(source)
    assert options.out is not None
    out = Path(options.out)
    _begin(out, files, options)
    from tqdm.auto import tqdm

    from kronos.hub.loading import load

    options.check_sampling()
    predictor = load(options.model, tokenizer=options.tokenizer, device=options.device, precision=options.precision)
    skipped: list[tuple[str, str]] = []
    done, group = 0, []
    verbose = not options.quiet and sys.stderr.isatty()
    with tqdm(desc="forecasting", unit="series", disable=not verbose) as bar:
        for member in _members(files, out, options, predictor.trained_context, skipped):
            if isinstance(member, str):  # there already
                bar.update(1)
                done += 1
                continue
            group.append(member)
            if len(group) == GROUP:
                done += _forecast_group(group, predictor, options)
                bar.update(len(group))
                group = []
        if group:
            done += _forecast_group(group, predictor, options)
            bar.update(len(group))
    _finish(out, done, skipped, options)


def _begin(out: Path, files: list[Path], options: Options) -> None:
    """Make the folder, or see that what is in it was made with the same settings from the same files."""
    from kronos.files import write_file

    settings: dict[str, Any] = {k: v for k, v in options._asdict().items() if k not in NOT_SETTINGS}
    stats = {str(file.resolve()): file.stat() for file in files}
    settings["files"] = {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
    settings = json.loads(json.dumps(settings))
    record = out / SETTINGS
    if out.is_dir() and any(out.iterdir()):
        if not record.is_file():
            raise ValueError(f"--out {out}: the folder holds other files; give an empty or a new one")
        before = json.loads(record.read_text())
        differ = sorted(key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key))
        if differ and not options.overwrite:
            raise ValueError(
                f"--out {out} was made with other {', '.join(differ)}; give another folder, or --overwrite to begin anew"
            )
        if options.overwrite:
            for file in out.glob("*.csv"):
                file.unlink()
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.resolve().parent}")
    out.mkdir(exist_ok=True)
    write_file(record, json.dumps(settings, indent=1).encode())


def _file_name(symbol: str) -> str:
    """A name of its own inside the folder, whatever the symbol holds."""
    plain = re.sub(r"[^\w.=^-]", "_", symbol).lstrip(".")[:100]
    changed = plain != symbol or f"{plain}.csv".lower() in (SUMMARY, SKIPPED)
    return f"{plain}-{hashlib.sha256(symbol.encode()).hexdigest()[:8]}.csv" if changed else f"{plain}.csv"


def _members(
    files: list[Path], out: Path, options: Options, context: int, skipped: list[tuple[str, str]]
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
                target = out / _file_name(symbol)
                if isinstance(bars, KlineError):
                    skipped.append((symbol, _said(bars)))
                elif target.is_file():
                    yield symbol
                else:
                    try:
                        yield _Member(symbol, target, window_of(bars, options, context))
                    except ValueError as error:
                        skipped.append((symbol, _said(error)))
        except KlineError as error:
            skipped.append((file.name, _said(error)))


def _said(error: Exception) -> str:
    return as_options(str(error).splitlines()[0])


def _forecast_group(group: list[_Member], predictor: KronosPredictor, options: Options) -> int:
    from kronos.cli.forecast import table_of, write_table
    from kronos.klines import VALUE_COLUMNS

    values = [[c for c in VALUE_COLUMNS if c in member.window.past.columns] for member in group]
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
        table = table_of(one, columns, options.levels())
        if member.window.truth is not None:
            table["actual_close"] = member.window.truth["close"].to_numpy()
        table.attrs = {}
        table.insert(0, "symbol", member.name)
        for name, value in _figures(one).items():
            table[name] = value
        write_table(table, member.file)
    return len(group)


def _figures(one: Forecast) -> dict[str, float]:
    """What the summary ranks by, repeated on every row of a series' table so that a resumed run need not recompute it."""
    row = one.summary().iloc[0]
    return {name: float(row[name]) for name in ("last_close", "expected_return", "prob_up", "value_at_risk")}


def _finish(out: Path, done: int, skipped: list[tuple[str, str]], options: Options) -> None:
    """The summary of all tables in the folder, best expected return first, and what was skipped and why."""
    import pandas as pd

    from kronos.files import write_file

    rows = [
        pd.read_csv(file, dtype={"symbol": "str"}).iloc[-1:]
        for file in sorted(out.glob("*.csv"))
        if file.name not in (SUMMARY, SKIPPED)
    ]
    if rows:
        table = pd.concat(rows, ignore_index=True).sort_values("expected_return", ascending=False, kind="stable")
        write_file(out / SUMMARY, table.to_csv(index=False, float_format="%.8g").encode())
    if skipped:
        reasons = pd.DataFrame(skipped, columns=["series", "reason"])
        write_file(out / SKIPPED, reasons.to_csv(index=False).encode())
        click.echo(
            f"{len(skipped)} skipped, the first: {skipped[0][0]}: {skipped[0][1]} (all in {out / SKIPPED})", err=True
        )
    else:
        (out / SKIPPED).unlink(missing_ok=True)
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
