"""Plot of a training run: losses over steps."""

from __future__ import annotations

from pathlib import Path

from kronos.io.atomic import write_file
from kronos.io.extras import installed
from kronos.training.trackers import read_log

PICTURE = "curves.png"


def draw_curves(folder: Path) -> None:
    """Draw ``curves.png`` from the run's log: losses of training and validation, and the learning rate.

    Does nothing with fewer than two points, or without the extra ``plot``.
    """
    if not installed("matplotlib"):
        return
    from matplotlib.figure import Figure

    from kronos.plotting.matplotlib_fan import figure_bytes

    rows = read_log(folder)
    lines = {kind: [row for row in rows if row["kind"] == kind] for kind in ("train", "validation")}
    if len(lines["train"]) < 2:
        return
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for kind, colour in (("train", "#9aa5b1"), ("validation", "#c0392b")):
        shown = [(row["step"], row["loss"]) for row in lines[kind] if "loss" in row]
        if shown:
            axes.plot(
                *zip(*shown, strict=True), color=colour, lw=1.3, label=kind, marker="." if len(shown) < 30 else None
            )
    axes.set(xlabel="step", ylabel="loss", title=folder.name)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    rate = axes.twinx()
    steps, rates = zip(*((row["step"], row["learning_rate"]) for row in lines["train"]), strict=True)
    rate.plot(steps, rates, color="#2c7fb8", lw=0.8, alpha=0.6)
    rate.set_ylabel("learning rate", color="#2c7fb8")
    write_file(folder / PICTURE, figure_bytes(figure))
