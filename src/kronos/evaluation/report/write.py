"""Write the report of an evaluation: sentences, the leaderboard and figures, in one HTML file, and the figures as PNGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.evaluation.dataset import Dataset
from kronos.evaluation.report import figures
from kronos.evaluation.report.page import Cell, Row, Section, picture, render
from kronos.evaluation.report.sentences import headline, judged, sentences
from kronos.evaluation.run import Evaluation
from kronos.evaluation.scores import Scores
from kronos.evaluation.table import QUANTILES
from kronos.evaluation.tasks import LEVELS
from kronos.io.atomic import write_file
from kronos.schema import PRICE_COLUMNS

REPORT, FIGURES = "report.html", "figures"
MOST_LINES = 6
"""Models at most in a figure with a line for each."""

COLUMNS = {
    "forecast": ("covered", "width", "energy", "direction", "return_ic", "volatility_r2"),
    "price": ("price_ic", "price_rank_ic", "covered", "direction"),
    "returns": ("return_ic", "return_rank_ic", "daily_ic", "daily_icir", "direction"),
    "volatility": ("volatility_mae", "volatility_r2", "qlike"),
}
TITLES = {
    "covered": "80 % covers",
    "width": "width",
    "energy": "energy",
    "direction": "direction",
    "price_ic": "price IC",
    "price_rank_ic": "price RankIC",
    "return_ic": "return IC",
    "return_rank_ic": "return RankIC",
    "daily_ic": "daily RankIC",
    "daily_icir": "ICIR",
    "volatility_mae": "volatility MAE",
    "volatility_r2": "volatility R2",
    "qlike": "QLIKE",
}


def shown_models(result: Evaluation) -> list[str]:
    """Return the models that are no baselines; all models of a run that has only baselines."""
    from kronos.evaluation.forecasters import BASELINES

    return [m for m in result.models if m not in BASELINES] or result.models


def figure(value: float, name: str = "") -> str:
    """Format a number for tables; a dash where there is none."""
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.0f} %" if name in ("covered", "direction") else f"{value:.3f}"


def leaderboard_rows(scores: Scores, kind: str) -> tuple[list[str], list[list[str]], list[tuple[str, str]]]:
    """Return header, cells, and each row's two verdicts, best distribution first."""
    columns = COLUMNS[kind]
    header = ["model", f"error / {scores.reference}", "95 %", f"CRPS / {scores.distribution_reference}", "95 %"]
    rows, verdicts = [], []
    for _, row in scores.leaderboard.sort_values("relative_crps", kind="stable").iterrows():
        cells = [str(row["model"])]
        for loss in ("mase", "crps"):
            low, high = row[f"relative_{loss}_low"], row[f"relative_{loss}_high"]
            cells += [f"{row[f'relative_{loss}']:.3f}", f"{low:.3f} to {high:.3f}" if low < high else "–"]
        rows.append(cells + [figure(float(row[name]), name) for name in columns])
        blocks = int(row["blocks"])
        verdicts.append(
            tuple(judged(float(row[f"relative_{x}"]), float(row[f"{x}_p_adjusted"]), blocks) for x in ("mase", "crps"))
        )
    return header + [TITLES[name] for name in columns], rows, verdicts  # type: ignore[return-value]


def facts(result: Evaluation, scores: Scores) -> str:
    losses, board = scores.losses, scores.leaderboard
    first, last = losses["cutoff"].min(), losses["end"].max()
    return (
        f"{len(losses) // len(board):,} windows of {losses['id'].nunique()} series in {int(board['groups'].iloc[0])} groups, "
        f"{first:%Y-%m-%d} to {last:%Y-%m-%d}; task {result.task.name}, {result.task.paths} paths, seed {result.seed}; "
        f"{int(board['blocks'].iloc[0])} independent periods of {int(board['block_days'].iloc[0])} days."
    )


def _leaderboard(result: Evaluation, scores: Scores, shown: Sequence[str]) -> Section:
    header, rows, verdicts = leaderboard_rows(scores, result.task.kind)
    made = []
    for cells, (point, distribution) in zip(rows, verdicts, strict=True):
        kinds = {1: point, 3: distribution}
        made.append(
            Row(
                [Cell(t, kinds.get(i, "") if kinds.get(i) in ("better", "worse") else "") for i, t in enumerate(cells)],
                cells[0] in shown,
            )
        )
    note = (
        "Below 1 is better than the reference. Colours: different from the reference beyond luck (Diebold-Mariano on blocks of "
        "time, corrected by Holm for the number of models). Intervals: block bootstrap. Other columns: means over groups."
    )
    return Section("Leaderboard", note, header=header, rows=made)


def _groups(scores: Scores, shown: Sequence[str]) -> Section:
    header = [
        "group",
        "model",
        "windows",
        "periods",
        "horizon",
        f"error / {scores.reference}",
        f"CRPS / {scores.distribution_reference}",
    ]
    header += ["95 %", "80 % covers", "direction", "price IC", "return IC", "95 %", "volatility R2"]
    rows = []
    for _, row in scores.groups[scores.groups["model"].isin(shown)].iterrows():
        low, high = row["return_ic_low"], row["return_ic_high"]
        texts = [f"{row['market']} {row['frequency']}", row["model"]]
        texts += [f"{int(row[n]):,}" for n in ("windows", "blocks", "horizon")]
        texts += [figure(float(row[n])) for n in ("relative_mase", "relative_crps")]
        bounds = row["relative_crps_low"], row["relative_crps_high"]
        texts.append(f"{bounds[0]:.2f} to {bounds[1]:.2f}" if bounds[0] < bounds[1] else "–")
        texts += [figure(float(row[n]), n) for n in ("covered", "direction", "price_ic", "return_ic")]
        texts += [f"{low:.2f} to {high:.2f}" if np.isfinite(low) else "–", figure(float(row["volatility_r2"]))]
        rows.append(Row([Cell(str(text)) for text in texts]))
    note = (
        "Few independent periods stand behind a group, and no correction is made for their number: differences between them "
        "mean little."
    )
    return Section("By market and frequency", note, header=header, rows=rows)


def examples(result: Evaluation, scores: Scores, dataset: Dataset, model: str) -> Iterator[tuple[str, bytes]]:
    """Plot a model's best, median and worst window by relative CRPS; yield (title, PNG)."""
    from kronos.plotting.matplotlib_fan import forecast_picture

    part = scores.losses[scores.losses["model"] == model].sort_values(["relative_crps", "id", "cutoff"]).reset_index()
    f = result.forecasts[result.forecasts["model"].astype("str") == model]
    series = {one.id: one for one in dataset.series}
    for name, at in (("best", 0), ("median", len(part) // 2), ("worst", len(part) - 1)):
        row = part.iloc[at]
        rows = f[(f["id"].astype("str") == row["id"]) & (f["cutoff"] == row["cutoff"])].sort_values("step")
        bars = series[row["id"]].bars.set_index("timestamps")[list(PRICE_COLUMNS)]
        history = bars[bars.index <= row["cutoff"]].iloc[-max(60, 2 * len(rows)) :]
        index = pd.DatetimeIndex(rows["timestamp"])
        q = rows[QUANTILES].to_numpy(np.float64)
        bands = [
            (round(1 - 2 * level, 2), q[:, i], q[:, -1 - i])
            for i, level in enumerate(LEVELS)
            if level in (0.05, 0.1, 0.3)
        ]
        mean = rows["mean"].to_numpy()
        content = forecast_picture(
            history,
            pd.DataFrame(dict.fromkeys(PRICE_COLUMNS, mean), index=index),
            bands=bands,
            median=q[:, LEVELS.index(0.5)],
            truth=bars.loc[index],
            title=f"{name}: {row['id']}, from {row['cutoff']}, CRPS {row['relative_crps']:.2f} of the reference's mean",
        )
        yield f"example-{name}", bytes(content)


def write_report(result: Evaluation, scores: Scores, dataset: Dataset, folder: Path) -> Path:
    """Write report.html, its figures as PNGs, leaderboard.csv and groups.csv to a folder; return the page's path."""
    shown = shown_models(result)
    lines = list(dict.fromkeys([*shown, *scores.leaderboard.sort_values("relative_crps")["model"]]))[:MOST_LINES]
    pictures = {
        "leaderboard": figures.leaderboard(scores, shown),
        "steps": figures.skill_by_step(scores, lines),
        "groups": figures.by_group(scores),
        "reliability": figures.reliability(result.forecasts, lines),
        "pit": figures.pit_histogram(result.forecasts, lines[:4]),
        **dict(examples(result, scores, dataset, shown[0])),
    }
    said = scores.leaderboard.set_index("model")["volatility_mae"]
    with_variance = [m for m in lines if np.isfinite(said[m])][:4]
    if with_variance:
        pictures["volatility"] = figures.volatility(scores, with_variance)
    sections = [
        _leaderboard(result, scores, shown),
        Section("With intervals", picture=picture(pictures["leaderboard"])),
        Section("In words", lines=sentences(scores)),
        Section("Along the horizon", picture=picture(pictures["steps"])),
        Section("CRPS by market and frequency", picture=picture(pictures["groups"])),
        _groups(scores, shown),
        Section("Are the quantiles right?", picture=picture(pictures["reliability"])),
        Section(
            "Where the truth fell",
            "Flat: right. U: too narrow. Hump: too wide. Slope: biased.",
            picture(pictures["pit"]),
        ),
        *([Section("Volatility", picture=picture(pictures["volatility"]))] if with_variance else []),
        *(
            Section(f"Example: {n} window of {shown[0]}", picture=picture(pictures[f"example-{n}"]))
            for n in ("best", "median", "worst")
        ),
        _time(result),
        _left_out(result),
    ]
    title = f"Evaluation of {', '.join(shown)}"
    page = render(title, facts(result, scores), headline(scores, shown), [s for s in sections if s is not None])
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, content in pictures.items():
        write_file(folder / FIGURES / f"{name}.png", content)
    write_file(folder / "leaderboard.csv", scores.leaderboard.to_csv(index=False, float_format="%.6g").encode())
    write_file(folder / "groups.csv", scores.groups.to_csv(index=False, float_format="%.6g").encode())
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def _time(result: Evaluation) -> Section:
    total = sum(result.seconds.values())
    lines = [f"{name}: {seconds / 60:.1f} min" for name, seconds in result.seconds.items() if seconds >= 3]
    return Section("Time", f"All forecasts together took {total / 60:.1f} minutes.", lines=lines)


def _left_out(result: Evaluation) -> Section | None:
    if not result.skipped:
        return None
    lines = [f"{name}: {reason}" for name, reason in result.skipped[:50]]
    return Section(
        "Left out", lines=lines + ([f"and {len(result.skipped) - 50} more"] if len(result.skipped) > 50 else [])
    )
