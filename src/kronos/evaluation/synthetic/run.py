"""The synthetic task: generate sequences, compare them with real bars and a bootstrap of bars, and write the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.evaluation.dataset import Dataset
from kronos.evaluation.forecasters.models import PairForecaster, forecaster_of
from kronos.evaluation.report.figures import BAD, GREY, INK, _figure, _plain, png
from kronos.evaluation.report.page import Cell, Row, Section, picture, render
from kronos.evaluation.report.write import FIGURES, REPORT
from kronos.evaluation.synthetic import stylized_facts as stylised
from kronos.evaluation.synthetic.sequences import Sequences, bar_bootstrap, generate, pairs
from kronos.evaluation.tasks import Task
from kronos.io.atomic import write_file
from kronos.schema import PRICE_COLUMNS

REPEATS = 3
"""Number of trainings of each LSTM, whose mean and spread are reported."""
CONTROL = "bootstrap of bars"


def evaluate_sequences(real: Sequences, synthetic: Sequences, control: Sequences, seed: int) -> dict[str, Any]:
    """Compute discriminative score, usefulness and stylised facts of one frequency's sequences."""
    from kronos.evaluation.synthetic.lstm import discriminative_score, usefulness

    sources = {"real": real, "synthetic": synthetic, CONTROL: control}
    result: dict[str, Any] = {"sequences": len(real), "bars": int(real.bars.shape[1])}
    result["facts"] = {name: stylised.facts(s) for name, s in sources.items()}
    try:
        for name in ("synthetic", CONTROL):
            errors = [discriminative_score(real, sources[name], seed + i) for i in range(REPEATS)]
            result[f"error of the judge, {name}"] = [float(np.mean(errors)), float(np.std(errors))]
        for name, s in sources.items():
            both = np.array([usefulness(s, real, seed + i) for i in range(REPEATS)])
            result[f"IC, RankIC on real after training on {name}"] = np.round(both.mean(0), 5).tolist()
    except ValueError as error:
        result["not judged"] = str(error)
    return result


def run_synthetic(
    dataset: Dataset,
    model: str,
    task: Task,
    out: Path,
    *,
    seed: int = 0,
    tokenizer: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> tuple[list[str], Path]:
    """Run the whole task; return the results in sentences, and the page's path.

    Files in ``out``: synthetic.parquet, judged.json, report.html and figures/.

    Raises:
        ValueError: ``model`` is no Kronos pair, the data have no usable window, or ``out`` holds another run.
    """
    forecaster = forecaster_of(model, task, tokenizer=tokenizer, device=device)
    if not isinstance(forecaster, PairForecaster):
        raise ValueError(f"the task synthetic takes a Kronos pair, found {model!r}")
    origins, table = generate(dataset, forecaster, task, out, seed=seed, overwrite=overwrite, progress=progress)
    found: list[str] = []
    sections: list[Section] = []
    pictures: dict[str, bytes] = {}
    judged: dict[str, Any] = {}
    lengths = [o.past.horizon for o in origins]
    kinds = list(dict.fromkeys((o.past.frequency, o.past.horizon) for o in origins))
    ends = np.cumsum(lengths)
    for frequency, horizon in kinds:
        members = [i for i, o in enumerate(origins) if (o.past.frequency, o.past.horizon) == (frequency, horizon)]
        rows = np.concatenate([np.arange(ends[i] - horizon, ends[i]) for i in members])
        part = [origins[i] for i in members]
        real, synthetic = pairs(part, table.iloc[rows])
        control = bar_bootstrap(part, real, seed)
        verdict = evaluate_sequences(real, synthetic, control, seed)
        verdict["valid candles as drawn"] = float(table["valid_as_drawn"].iloc[rows].mean())
        judged[frequency] = verdict
        found += words(frequency, verdict)
        pictures[f"returns-{frequency}"] = _distributions(real, synthetic, control)
        pictures[f"sequences-{frequency}"] = _gallery(real, synthetic, seed)
        sections += [
            Section(f"{frequency} bars: judges", header=["", "figure"], rows=_judges(verdict)),
            Section(
                f"{frequency} bars: stylised facts",
                "Mean over sequences ± standard error.",
                header=["", *verdict["facts"]],
                rows=_facts(verdict),
            ),
            Section("Returns and their memory", picture=picture(pictures[f"returns-{frequency}"])),
            Section(
                "Real (left) and synthetic sequences from the same lookbacks",
                picture=picture(pictures[f"sequences-{frequency}"]),
            ),
        ]
    (out / FIGURES).mkdir(exist_ok=True)
    for name, content in pictures.items():
        write_file(out / FIGURES / f"{name}.png", content)
    write_file(out / "judged.json", json.dumps(judged, indent=1).encode())
    drawn = forecaster.sampling
    top_p = "" if drawn.top_p is None else f", top-p {drawn.top_p:g}"
    facts = f"{len(origins):,} sequences; temperature {drawn.temperature:g}{top_p}, seed {seed}."
    write_file(out / REPORT, render(f"Synthetic K-lines of {model}", facts, found, sections).encode())
    return found, out / REPORT


def words(frequency: str, verdict: dict[str, Any]) -> list[str]:
    """Return sentences on one frequency; facts count as different beyond three standard errors."""
    lines = []
    head = f"{frequency}, {verdict['sequences']:,} sequences of {verdict['bars']} bars"
    if "not judged" in verdict:
        lines.append(f"{head}: not judged by LSTMs: {verdict['not judged']}.")
    else:
        mean, spread = verdict["error of the judge, synthetic"]
        other, _ = verdict[f"error of the judge, {CONTROL}"]
        lines.append(
            f"{head}: an LSTM that tells synthetic from real errs {100 * mean:.0f} % of the time (± {100 * spread:.0f}; "
            f"50 % would be ideal); it errs {100 * other:.0f} % on a {CONTROL}."
            + (
                " It can tell neither, so its verdict means little; generate more sequences."
                if min(mean, other) > 0.45
                else ""
            )
        )
        ic = {s: verdict[f"IC, RankIC on real after training on {s}"] for s in ("real", "synthetic", CONTROL)}
        lines.append(
            f"{frequency}: trained on synthetic bars, an LSTM's forecasts of real returns have an IC of {ic['synthetic'][0]:+.3f} "
            f"(RankIC {ic['synthetic'][1]:+.3f}); trained on real ones {ic['real'][0]:+.3f} ({ic['real'][1]:+.3f})."
        )
    off = []
    for name in stylised.FACTS:
        (real, e1), (synthetic, e2) = verdict["facts"]["real"][name], verdict["facts"]["synthetic"][name]
        if np.isfinite(e1 + e2) and abs(real - synthetic) > 3 * np.hypot(e1, e2):
            off.append(f"{name} {synthetic:.2f} against {real:.2f}")
    lines.append(
        f"{frequency}: stylised facts that differ beyond three standard errors: {'; '.join(off) if off else 'none'}."
    )
    lines.append(f"{frequency}: {100 * verdict['valid candles as drawn']:.1f} % of the candles were valid as drawn.")
    return lines


def _judges(verdict: dict[str, Any]) -> list[Row]:
    rows = []
    for name, value in verdict.items():
        if name in ("facts", "sequences", "bars"):
            continue
        if name.startswith("error"):
            text = f"{value[0]:.3f} ± {value[1]:.3f}"
        elif isinstance(value, list):
            text = ", ".join(f"{v:+.3f}" for v in value)
        else:
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append(Row([Cell(name), Cell(text)]))
    return rows


def _facts(verdict: dict[str, Any]) -> list[Row]:
    rows = []
    for name, what in stylised.FACTS.items():
        cells = [Cell(f"{name} ({what})")]
        for source in verdict["facts"].values():
            value, error = source[name]
            text = f"{value:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "") if np.isfinite(value) else "–"
            cells.append(Cell(text))
        rows.append(Row(cells))
    return rows


def _distributions(real: Sequences, synthetic: Sequences, control: Sequences) -> bytes:
    """Plot the log density of returns, and the autocorrelation of absolute returns."""
    figure = _figure(11, 4)
    left, right = figure.subplots(1, 2)
    bins = np.linspace(-12, 12, 97)
    for s, colour, label in ((real, "#222222", "real"), (synthetic, INK, "synthetic"), (control, GREY, CONTROL)):
        density, _ = np.histogram(np.clip(s.returns(), -12, 12), bins=bins, density=True)
        left.semilogy((bins[1:] + bins[:-1]) / 2, np.where(density > 0, density, np.nan), color=colour, label=label)
        lags = min(40, s.bars.shape[1] // 2)
        right.plot(
            range(1, lags + 1), np.nanmean(stylised.clustering(s.returns(), lags), axis=0), color=colour, label=label
        )
    left.set_xlabel("return, in units of the lookback's mean absolute return")
    left.set_ylabel("density")
    right.axhline(0, color=BAD, linewidth=0.8)
    right.set_xlabel("lag, bars")
    right.set_ylabel("autocorrelation of absolute returns")
    left.legend(frameon=False)
    for axes in (left, right):
        _plain(axes)
    return png(figure)


def _gallery(real: Sequences, synthetic: Sequences, seed: int) -> bytes:
    """Plot four windows, real beside synthetic, on the same scale."""
    from kronos.plotting.fan import DOWN, UP
    from kronos.plotting.matplotlib_fan import draw_candles

    chosen = np.random.default_rng(seed).choice(len(real), min(4, len(real)), replace=False)
    figure = _figure(11, 2.1 * len(chosen))
    panels = np.atleast_2d(figure.subplots(len(chosen), 2, sharey="row", sharex=True))
    for row, i in zip(panels, sorted(chosen), strict=True):
        both = np.concatenate((real.bars[i, :, 1:3], synthetic.bars[i, :, 1:3]))
        row[0].set_ylim(both.min() - 0.03 * np.ptp(both), both.max() + 0.03 * np.ptp(both))
        for axes, s in zip(row, (real, synthetic), strict=True):
            bars = pd.DataFrame(s.bars[i, :, :4], columns=list(PRICE_COLUMNS))
            draw_candles(axes, np.arange(len(bars)), bars, UP, DOWN)
            _plain(axes)
            axes.tick_params(labelsize=7)
    return png(figure)
