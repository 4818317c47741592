"""Loss against bars trained on, of several pre-training runs: the scaling picture of docs/pretrain.md.

    python benchmarks/scaling.py runs/small runs/middle runs/nano --out docs/scaling.png

Each is the --out folder of `kronos pretrain`, of one store and one tokenizer (--tokenizer). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kronos.io.atomic import write_file
from kronos.nn import Kronos
from kronos.plotting.matplotlib_fan import figure_bytes
from kronos.training.trackers import read_log


def curve(run: Path) -> dict[str, Any]:
    """Parameters of the run's model, and (million bars, held-out loss) of its validations."""
    folder = run / "model"
    recipe = json.loads((folder / "recipe.json").read_text())
    points = [
        (row["step"] * recipe["bars_a_step"] / 1e6, row["loss"], row["s1"], row["s2"])
        for row in read_log(folder)
        if row["kind"] == "validation"
    ]
    network = Kronos.from_pretrained(folder / "checkpoints" / "best_model")
    shape = f"{network.d_model} wide, {len(network.transformer)} blocks"
    return {"parameters": sum(p.numel() for p in network.parameters()), "shape": shape, "points": points}


def main() -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    curves = sorted(map(curve, options.runs), key=lambda c: c["parameters"])
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    print(
        "| parameters | shape | million bars | held-out loss, nats a token (coarse, fine) |\n| --- | --- | --- | --- |"
    )
    for found in curves:
        bars, loss, s1, s2 = zip(*found["points"], strict=True)
        axes.plot(bars, loss, marker=".", label=f"{found['parameters'] / 1e6:.2f} M ({found['shape']})")
        print(
            f"| {found['parameters']:,} | {found['shape']} | {bars[-1]:.1f} | {loss[-1]:.3f} ({s1[-1]:.3f}, {s2[-1]:.3f}) |"
        )
    axes.set(xscale="log", xlabel="million bars trained on", ylabel="held-out loss, nats a token")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.2, which="both")
    axes.legend(frameon=False, title="parameters")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    write_file(options.out, figure_bytes(figure))


if __name__ == "__main__":
    main()
