"""``kronos pretrain``: a tokenizer and a model from nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click


@click.group()
def pretrain() -> None:
    """Train a pair from nothing: tokenizer, then model.

    \b
    kronos store build prices/ --out store
    kronos pretrain tokenizer --store store --preset nano --out run
    kronos pretrain model --store store --preset nano --out run
    kronos pretrain advise --store store --out run
    kronos pretrain export --out run pair
    kronos forecast prices/a.csv --model pair
    torchrun --nproc_per_node=8 -m kronos pretrain model ...      (several processes; several machines by torchrun's own options)
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        [
            click.option("--store", "store", required=True, type=click.Path(path_type=Path), help="From `kronos store build`."),
            click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run, to go on in."),
            click.option("--preset", default="nano", show_default=True, help="nano, mini, small, base, or a YAML file."),
            click.option("--set", "sets", multiple=True, metavar="NAME=VALUE",
                         help="Change a value of the recipe, such as steps=500 or network.d_model=64; may be repeated."),
            click.option("--start", metavar="NAME",
                         help="Begin with the weights of this folder or zoo name; further blocks add nothing at first.  "
                         "[default: random weights]"),
            click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, or auto."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@pretrain.command()
@_options
def tokenizer(**options: Any) -> None:
    """Train the tokenizer."""
    _run("tokenizer", None, **options)


@pretrain.command()
@_options
@click.option("--tokenizer", help="Folder, Hub id or zoo name of the tokenizer.  [default: that of the run]")
def model(tokenizer: str | None, **options: Any) -> None:
    """Train the model on the tokenizer's tokens."""
    _run("model", tokenizer, **options)


@pretrain.command()
@click.option(
    "--store", "store", required=True, type=click.Path(path_type=Path), help="The store that the run was trained on."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--windows", type=int, default=720, show_default=True, help="Held-out windows to forecast, for each choice."
)
@click.option("--lookback", type=int, default=256, show_default=True, help="Bars that each of them looks back on.")
@click.option("--horizon", type=int, default=24, show_default=True, help="Bars that each of them forecasts.")
def advise(store: Path, out: Path, windows: int, lookback: int, horizon: int) -> None:
    """Choose the temperature and top-p that forecast the held-out bars best (least CRPS); `export` writes them down as defaults."""
    from kronos.io.atomic import json_bytes, write_file
    from kronos.training.bar_store import Store
    from kronos.training.pretrain import SAMPLING_FILE, context_of, load_pair, parts_of
    from kronos.training.sampling_search import search_sampling

    for name, value, least in (("windows", windows, 1), ("lookback", lookback, 2), ("horizon", horizon, 1)):
        if value < least:
            raise ValueError(f"--{name} must be at least {least}, found {value}")
    tokenizer, model = load_pair(out)
    context = context_of(out)
    held = parts_of(Store.open(store), context)[1]
    found = search_sampling(
        tokenizer, model, held, context, lookback=lookback, horizon=horizon, windows=windows, echo=click.echo
    )
    write_file(out / SAMPLING_FILE, json_bytes(found))
    click.echo(f"best: temperature {found['temperature']}, top-p {found['top_p']}; written to {out / SAMPLING_FILE}")


@pretrain.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.argument("pair", type=click.Path(path_type=Path))
def export(out: Path, pair: Path) -> None:
    """Write the run's pair, in half precision, to the folder PAIR."""
    from kronos.training.pretrain import export_pair

    export_pair(out, pair)
    click.echo(f"the pair is in {pair}: kronos forecast FILE --model {pair}")


def _run(
    stage: Any,
    tokenizer: str | None,
    store: Path,
    out: Path,
    preset: str,
    sets: tuple[str, ...],
    start: str | None,
    device: str,
) -> None:
    from kronos.loading import load_model, load_tokenizer
    from kronos.training.bar_store import Store
    from kronos.training.distributed import world
    from kronos.training.pretrain import pretrain as train
    from kronos.training.pretrain import recipe_of

    recipe = recipe_of(preset, stage, _changes(sets, preset, stage))
    bars = Store.open(store)
    known = None
    if stage == "model":
        best = out / "tokenizer" / "checkpoints" / "best_model"
        if tokenizer is None and not best.is_dir():
            raise ValueError(
                f"{out} has no trained tokenizer: run kronos pretrain tokenizer first, or name one (--tokenizer)"
            )
        known = load_tokenizer(tokenizer or best)
    first = None if start is None else (load_tokenizer(start) if stage == "tokenizer" else load_model(start))
    with world(device) as processes:
        if not train(stage, recipe, bars, out / stage, processes, known, click.echo, first):
            sys.exit(130)


def _changes(sets: tuple[str, ...], preset: str, stage: Any) -> dict[str, Any]:
    """Values by name; ``network.key`` changes a key of the network's configuration."""
    import yaml

    from kronos.training.pretrain import recipe_of

    changes: dict[str, Any] = {}
    for pair in sets:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, found {pair!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {name}: {text!r} cannot be read as a value") from error
        if isinstance(value, str):
            with suppress(ValueError):  # YAML takes 1e-3 for a text
                value = float(value)
        if name.startswith("network."):
            network = changes.setdefault("network", dict(recipe_of(preset, stage).network))
            network[name.removeprefix("network.")] = value
        else:
            changes[name] = value
    return changes
