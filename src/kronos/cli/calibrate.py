"""``kronos calibrate``: spreads and means that fit what came, from past windows of one's own data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kronos.cli.options import (
    clean_option,
    device_option,
    model_option,
    read_options,
    reading_options,
    tokenizer_option,
    tz_option,
    until_option,
)
from kronos.cli.past_series import past_series, spread_windows

if TYPE_CHECKING:
    from kronos.calibration.fitting import FitWindows, PastWindow
    from kronos.io.run_folder import RunFolder
    from kronos.klines.read_options import ReadOptions

HELD_OUT = 0.3
"""Share of the windows, the latest ones, that the verdict is given on."""


@click.command(short_help="Fit the spread and mean of a model's forecasts to your data.")
@click.argument("data", required=False, type=click.Path(exists=True))
@click.option("--store", type=click.Path(exists=True), help="The held-out bars of a training store instead of DATA.")
@model_option
@tokenizer_option
@click.option("--out", required=True, type=click.Path(), help="Write the calibration: .json.")
@click.option(
    "--lookback", type=click.IntRange(32), default=256, show_default=True, help="Bars that forecasts look back on."
)
@click.option("--horizon", type=click.IntRange(1), default=24, show_default=True, help="Bars that they forecast.")
@click.option(
    "--windows", type=click.IntRange(40), default=6000, show_default=True, help="Past windows to forecast, at most."
)
@click.option("--paths", type=click.IntRange(10), default=24, show_default=True, help="Paths of each.")
@until_option
@tz_option
@clean_option
@reading_options
@device_option
@click.option("--quiet", is_flag=True, help="No progress.")
def calibrate(data: str | None, store: str | None, out: str, windows: int, quiet: bool, **options: Any) -> None:
    """Forecast past windows of DATA (a file or a folder of bars), compare with what came, and write parameters that make later
    forecasts of such data better: how far to trust the mean, and how wide to be. The verdict is given on the latest windows, which
    are not fitted on; where the score does not fall there, nothing is written.

    \b
    Examples:
      kronos calibrate prices/ --out cal.json
      kronos forecast prices/a.csv --calibration cal.json

    A run that was stopped goes on where it was: forecasts are kept in OUT.windows until the calibration is written.
    """
    from kronos.calibration.fitting import evaluate_calibration, fit
    from kronos.loading import load

    reading = read_options(options, tz=options.pop("tz"), clean=options.pop("clean"))
    if (data is None) == (store is None):
        raise ValueError("give DATA, a file or folder of bars, or --store, and not both")
    target = Path(out)
    if target.suffix != ".json" or not target.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: give a .json file in a folder that exists")
    lookback, horizon = options["lookback"], options["horizon"]
    source = (
        _of_store(Path(store), lookback, horizon, windows)
        if store
        else _of_files(Path(str(data)), lookback, horizon, windows, options["until"], reading)
    )
    chosen = list(source)
    if len(chosen) < 40:
        raise ValueError(
            f"{data or store} has {len(chosen)} windows of {lookback} + {horizon} bars that do not overlap much; 40 are needed: "
            "give more series, or a smaller --lookback or --horizon"
        )
    predictor = load(options["model"], tokenizer=options["tokenizer"], device=options["device"])
    told = {"model": options["model"], "lookback": lookback, "horizon": horizon, "data": str(data or store)}
    run = _folder(target.with_suffix(".windows"), chosen, {**told, "paths": options["paths"]})
    made = _collected(predictor, chosen, options["paths"], run, quiet)
    import numpy as np

    order = np.argsort(made.time, kind="stable")
    cut = int(len(order) * (1 - HELD_OUT))
    verdict = evaluate_calibration(made.part(order[cut:]), fit(made.part(order[:cut])))
    click.echo(f"{len(made):,} windows; verdict on the latest {verdict.windows:,}, fitted on the others")
    low, high = verdict.interval
    click.echo(f"CRPS of close, after over before: {verdict.crps:.3f} (95 % interval {low:.3f} to {high:.3f})")
    click.echo(f"80 % intervals cover: {verdict.covers[0]:.1%} before, {verdict.covers[1]:.1%} after")
    click.echo("by frequency, after: " + ", ".join(f"{n} {v:.0%}" for n, v in verdict.covers_by_frequency.items()))
    if not verdict.helps:
        raise ValueError(
            f"the calibration does not help on the held-out windows (CRPS {verdict.crps:.3f} of what it was): nothing is written"
        )
    from dataclasses import asdict, replace

    whole = fit(made, told)
    replace(whole, verdict=json.loads(json.dumps(asdict(verdict)))).save(target)
    run.remove()
    click.echo(f"the calibration is in {out}: kronos forecast FILE --calibration {out}")


def _folder(place: Path, chosen: list[PastWindow], told: dict[str, Any]) -> RunFolder:
    """Open the folder of these windows' forecasts, which is kept until the calibration is written."""
    import hashlib

    from kronos.io.run_folder import RunFolder

    truth = hashlib.sha256(b"".join(one.truth.tobytes() for one in chosen)).hexdigest()
    settings = {**told, "windows": len(chosen), "truth": truth}
    return RunFolder(place, settings, owns=("[0-9]*.npz",), remedy="delete it, or take another --out")


def _collected(predictor: Any, chosen: list[PastWindow], paths: int, run: RunFolder, quiet: bool) -> FitWindows:
    """Forecasts of all windows; those of a stopped run are read from its folder."""
    import io

    import numpy as np
    from tqdm.auto import tqdm

    from kronos.calibration.fitting import BATCH, FitWindows, collect

    kept = []
    names = list(FitWindows.__dataclass_fields__)
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=len(chosen), desc="forecasting", unit="window", disable=hidden, leave=False) as bar:
        for first in range(0, len(chosen), BATCH):
            windows, part = chosen[first : first + BATCH], f"{first:06}.npz"
            if not run.is_done(part):
                made = collect(predictor, windows, paths)
                buffer = io.BytesIO()
                np.savez(buffer, **{name: getattr(made, name) for name in names})
                run.write(part, buffer.getvalue())
            with np.load(run.path(part), allow_pickle=False) as arrays:
                kept.append(FitWindows(*(arrays[name] for name in names)))
            bar.update(len(windows))
    return FitWindows.joined(kept)


def _of_files(
    place: Path, lookback: int, horizon: int, most: int, until: str | None, reading: ReadOptions | None = None
) -> Iterator[PastWindow]:
    """Windows evenly spread over every series of a file or folder."""
    for _, window in spread_windows(past_series(place, lookback + horizon, until, reading), lookback, horizon, most):
        yield window


def _of_store(folder: Path, lookback: int, horizon: int, most: int) -> Iterator[PastWindow]:
    """As many held-out windows of every group of a training store."""
    import numpy as np
    import pandas as pd

    from kronos.calibration.fitting import PastWindow
    from kronos.schema import FEATURES
    from kronos.training.bar_store import Store
    from kronos.training.pretrain import parts_of

    held = parts_of(Store.open(folder), 512)[1]
    groups: dict[int, list[Any]] = {}
    for segment in held.segments:
        if segment.stop - segment.start >= lookback + horizon:
            groups.setdefault(segment.group, []).append(segment)
    rng = np.random.default_rng(0)
    for segments in groups.values():
        for _ in range(max(1, most // len(groups))):
            segment = segments[rng.integers(len(segments))]
            first = int(rng.integers(segment.start, segment.stop - lookback - horizon + 1))
            stop, end = first + lookback, first + lookback + horizon
            past = pd.DataFrame(np.asarray(held.bars[first:stop], np.float64), columns=list(FEATURES))
            if not past["volume"].any():
                past = past.drop(columns=["volume", "amount"])
            times = pd.DatetimeIndex(pd.to_datetime(held.times[first:end]))
            yield PastWindow(past, times[:lookback], times[lookback:], np.asarray(held.bars[stop:end, 3], np.float64))
