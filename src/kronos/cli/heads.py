"""``kronos heads train``: a head on a model's hidden states, trained on one's own bars."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kronos.cli.options import (
    clean_option,
    device_option,
    listed,
    model_option,
    read_options,
    reading_options,
    tokenizer_option,
    tz_option,
    until_option,
)
from kronos.cli.past_series import dated_windows, past_series, spread_windows

if TYPE_CHECKING:
    import pandas as pd

    from kronos.calibration.fitting import PastWindow
    from kronos.heads import HeadSettings


@click.group(short_help="Train heads that answer in one pass, without sampling.")
def heads() -> None:
    """Heads: small networks on a model's hidden states. They give the quantiles of the return at every step, the probability of a
    rise, or a score to rank series by, in one pass and without sampling."""


@heads.command(short_help="Train a head on past windows of your data.")
@click.argument("data", type=click.Path(exists=True))
@click.option(
    "--task",
    type=click.Choice(["distribution", "direction", "rank"]),
    default="distribution",
    show_default=True,
    help="Quantiles of the return at every step; fall, little change or rise over the horizon; a score to rank series by.",
)
@click.option(
    "--out", required=True, type=click.Path(), help="Folder of the pair that the head is added to, or a new one."
)
@model_option
@tokenizer_option
@click.option(
    "--lookback", type=click.IntRange(32), default=256, show_default=True, help="Bars that are looked back on."
)
@click.option("--horizon", type=click.IntRange(1), default=24, show_default=True, help="Bars ahead.")
@click.option(
    "--windows", type=click.IntRange(200), default=20000, show_default=True, help="Past windows, about and at most."
)
@click.option(
    "--hidden", type=click.IntRange(0), default=0, show_default=True, help="Units of a hidden layer; 0 is a linear map."
)
@click.option(
    "--band",
    type=float,
    default=0.4,
    show_default=True,
    help="direction: volatilities of the horizon within which a return is little change.",
)
@click.option(
    "--embargo",
    type=float,
    metavar="DAYS",
    help="Between the parts.  [default: the time that the longest horizon takes]",
)
@click.option(
    "--covariates",
    type=click.Path(),
    help="Table of further columns by time, one for all series: .csv, .parquet or .feather.",
)
@click.option("--past-covariates", metavar="A,B,...", help="Its columns that are known up to the last bar.")
@click.option("--known-covariates", metavar="A,B,...", help="Its columns that are known ahead, such as events.")
@click.option(
    "--epochs", type=click.IntRange(1), default=40, show_default=True, help="Passes over the windows, at most."
)
@click.option(
    "--verdict-windows",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Windows of the verdict that other methods forecast too, for a table at the end; 0 leaves it out.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@until_option
@tz_option
@clean_option
@reading_options
@device_option
@click.option("--quiet", is_flag=True, help="No progress.")
def train(data: str, task: Any, out: str, quiet: bool, **options: Any) -> None:
    """Read past windows of DATA (a file or a folder of bars) with a model that is left as it is, and train a head on what came.

    The earliest 70 % of the windows are trained on, the next 15 % say when to stop, and the verdict is given on the latest 15 %,
    against the volatility features alone and a walk from the last price. No horizon reaches from one part into the next. In the end
    the last price, HAR, GARCH, LightGBM (where installed) and paths of the model forecast some of these windows too.

    \b
    Examples:
      kronos heads train prices/ --task distribution --out my-pair
      kronos heads train prices/ --task rank --horizon 5 --lookback 90 --out my-pair
      kronos heads train prices/ --covariates funding.csv --past-covariates rate --known-covariates event --out my-pair
    """
    from tqdm.auto import tqdm

    from kronos.heads import HeadSettings, train_head
    from kronos.heads.head import HEADS_FOLDER, model_digest
    from kronos.loading import load

    reading = read_options(options, tz=options.pop("tz"), clean=options.pop("clean"))
    embargo = options["embargo"]
    settings = HeadSettings(
        task,
        options["hidden"],
        options["band"],
        None if embargo is None else embargo * 86400,
        options["epochs"],
        seed=options["seed"],
        past_covariates=listed(options["past_covariates"] or ""),
        known_covariates=listed(options["known_covariates"] or ""),
    )
    table = _covariates(options["covariates"], settings, reading.tz)
    target, lookback, horizon = Path(out), options["lookback"], options["horizon"]
    _check_target(target)
    series = past_series(Path(data), lookback + horizon, options["until"], reading)
    cut = dated_windows if task == "rank" else spread_windows
    chosen = list(cut(series, lookback, horizon, options["windows"]))
    if not chosen:
        few = "no date with 5 series" if task == "rank" and series else "no series"
        raise ValueError(
            f"{data} has {few} of {lookback} + {horizon} bars: give more bars, or a smaller --lookback or --horizon"
        )
    if table is not None:
        _check_times(table, [window for _, window in chosen], settings, options["covariates"])
    predictor = load(options["model"], tokenizer=options["tokenizer"], device=options["device"])
    digest = model_digest(predictor.model)
    if (target / "model").is_dir() and model_digest(load(target, device="cpu").model) != digest:
        raise ValueError(
            f"--out {out} holds another model than --model {options['model']}: give --model {out}, or a new folder"
        )
    hidden = quiet or not sys.stderr.isatty()
    told = {"model": options["model"], "data": data, "horizon": horizon}
    windows, names = [one for _, one in chosen], [name for name, _ in chosen]
    with tqdm(total=len(chosen), desc="reading", unit="window", disable=hidden, leave=False) as bar:

        def read(count: int) -> None:
            bar.update(count)
            if bar.n >= len(chosen):
                bar.close()

        echo = None if quiet else lambda line: click.echo(line, err=True)
        head = train_head(predictor, windows, settings, names, told, read, echo, table)
    predictor.heads[task] = head
    if options["verdict_windows"]:
        from kronos.evaluation.head_comparison import compare_head

        most = options["verdict_windows"]
        head.verdict["comparison"] = compare_head(predictor, head, windows, most, names, settings.seed, table, echo)
    if (target / "model").is_dir():
        head.save(target / HEADS_FOLDER)
    else:
        predictor.save_pretrained(target)
    for line in described(head):
        click.echo(line)
    if "comparison" in head.verdict:
        show_comparison(head.verdict["comparison"], task)
    click.echo(f"the head is in {out}: kronos.load({str(target)!r}).{ASKED_BY[task]}(...)")


def _covariates(file: str | None, settings: HeadSettings, tz: str | None) -> pd.DataFrame | None:
    """The table of the columns that the options name.

    Raises:
        ValueError: a file without names of columns, names without a file, or a table that cannot be used.
    """
    from kronos.heads.covariates import read_covariates

    names = (*settings.past_covariates, *settings.known_covariates)
    if file is None and names:
        raise ValueError(f"the covariates {', '.join(names)} need their table: give --covariates FILE")
    if file is not None and not names:
        raise ValueError(
            f"--covariates {file}: name its columns with --past-covariates (known up to the last bar) or --known-covariates "
            "(known ahead)"
        )
    return None if file is None else read_covariates(file, names, tz)


def _check_times(table: pd.DataFrame, windows: list[PastWindow], settings: HeadSettings, file: str) -> None:
    """Refuse a table that has none of the bars' times, which would be missing everywhere."""
    for named, times in (
        (settings.past_covariates, [one.past[-1] for one in windows]),
        (settings.known_covariates, [one.future[0] for one in windows]),
    ):
        if not named:
            continue
        if (table.index.tz is None) != (times[0].tz is None):  # type: ignore[attr-defined]
            has, lacks = (file, "the bars") if times[0].tz is None else ("the bars", file)
            raise ValueError(f"times of {has} have a time zone and those of {lacks} none: name it with --tz")
        if not table.index.isin(times).any():
            raise ValueError(
                f"--covariates {file} has no row at the times of the bars: they are such as {times[0]}, those of the file such as "
                f"{table.index[0]}"
            )


BESIDE = {
    "features": "volatility features alone",
    "walk": "a walk from the last price",
    "trees": "LightGBM on the same features and states",
}
ASKED_BY = {"distribution": "quantiles_direct", "direction": "direction_direct", "rank": "rank_direct"}


def described(head: Any) -> list[str]:
    """Lines that say how good a head is on the latest windows."""
    verdict, lines = head.verdict, []
    windows = head.trained_on["windows"]
    lines.append(
        f"{sum(windows.values()):,} windows; verdict on the latest {windows['test']:,}, trained on {windows['train']:,}"
    )
    loss = {"distribution": "CRPS", "direction": "log loss"}.get(head.spec.task)
    if loss is not None:
        for name, what in BESIDE.items():
            if f"over_{name}" in verdict:
                lines.append(f"{loss} over that of {what}: {_with_interval(verdict, f'over_{name}', 4)}")
    if "coverage_80" in verdict:
        lines.append(f"80 % intervals cover: {verdict['coverage_80']:.1%}")
    if "accuracy" in verdict:
        lines.append(f"right: {verdict['accuracy']:.1%}; shares of falls, little change, rises: {verdict['shares']}")
    lines.append(f"IC: {_with_interval(verdict, 'ic', 3)}")
    if "ic_of_trees" in verdict:
        lines.append(f"IC of {BESIDE['trees']}: {_with_interval(verdict, 'ic_of_trees', 3)}")
    over = verdict.get("over_features_interval") if loss is not None else verdict["ic_interval"]
    if over is None:
        lines.append("too few blocks of time to tell it from chance: give a longer span of time")
    elif (over[1] >= 1) if loss is not None else (over[0] <= 0):
        lines.append("this cannot be told from no skill beyond the volatility features")
    return lines


def show_comparison(found: dict[str, Any], task: str) -> None:
    """Print the table of `kronos.evaluation.head_comparison.compare_head`, 80 columns wide."""
    from kronos.cli.output import show_table

    def cell(figures: dict[str, Any], name: str) -> str:
        value, interval = figures.get(name), figures.get(f"{name}_interval")
        if value is None:
            return "-"
        return f"{value:.3f}" + ("" if interval is None else f" ({interval[0]:.2f}, {interval[1]:.2f})")

    distribution = task == "distribution"
    header = ["", *(["CRPS", "head / it (95 %)", "80 %"] if distribution else []), "IC (95 %)", "s"]
    rows = []
    for name, figures in found["methods"].items():
        crps = (
            [f"{figures['crps']:.3f}", cell(figures, "head_over"), f"{figures['coverage_80']:.0%}"]
            if distribution
            else []
        )
        rows.append([name, *crps, cell(figures, "ic"), f"{figures['seconds']:.0f}"])
    seconds = sum(figures["seconds"] for figures in found["methods"].values())
    title = f"on {found['windows']:,} windows of the verdict, {found['paths']} paths, {seconds:.0f} s"
    title += "; below 1 the head is better" if distribution else ""
    show_table(header, rows, title, wide=80)
    for name, reason in found["left_out"].items():
        click.echo(f"left out: {reason if name in reason else f'{name}: {reason}'}")


def _with_interval(verdict: dict[str, Any], name: str, digits: int) -> str:
    interval = verdict[f"{name}_interval"]
    span = "" if interval is None else f" (95 % interval {interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
    return f"{verdict[name]:.{digits}f}{span}"


def _check_target(target: Path) -> None:
    """Refuse a folder that holds something else than a pair, before any work is done."""
    if target.exists() and not (target / "model").is_dir() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"--out {target} is no pair and not empty: give a pair's folder, or a new one")
    if not target.resolve().parent.is_dir():
        raise ValueError(f"--out {target}: its parent folder does not exist")
