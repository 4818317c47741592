"""``kronos models``: the zoo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kronos.hub.registry import Published, RegistryEntry


def _cached(published: Published) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(published.repo, "model.safetensors", revision=published.revision), str)


def _row(entry: RegistryEntry) -> tuple[str, ...]:
    """name, parameters of the model + of the tokenizer, bytes, context, where from, tokenizer, cached"""
    if entry.folder is not None or entry.model is None or entry.tokenizer is None:
        from safetensors import safe_open

        assert entry.folder is not None
        counts, sizes = [], 0
        for part in ("model", "tokenizer"):
            path = entry.folder / part / "model.safetensors"
            sizes += path.stat().st_size
            with safe_open(path, framework="numpy") as file:
                keys = [k for k in file.keys() if not k.endswith(("inv_freq", "basis"))]  # noqa: SIM118 (not a dict)
                shapes = [file.get_slice(k).get_shape() for k in keys]
            counts.append(sum(math.prod(shape) for shape in shapes))
        return (
            entry.name, f"{_millions(counts[0])} + {_millions(counts[1])}", f"{sizes / 1e6:.1f} MB", str(entry.context),
            "built in", "its own", "not needed",
        )  # fmt: skip
    model, tokenizer = entry.model, entry.tokenizer
    size = f"{(model.size + tokenizer.size) / 1e6:.1f} MB" if model.size and tokenizer.size else "about 425 MB"
    have = [_cached(model), _cached(tokenizer)]
    state = "yes" if all(have) else "in part" if any(have) else "no"
    return (
        entry.name, f"{_millions(model.parameters)} + {_millions(tokenizer.parameters)}", size, str(entry.context), model.repo,
        tokenizer.short, state,
    )  # fmt: skip


def _millions(n: int) -> str:
    return f"{n / 1e6:.1f} M"


@click.command(short_help="List the models: sizes, contexts, tokenizers, and what is in the local cache.")
def models() -> None:
    """List the models that ``--model`` and ``kronos.load()`` know by name.

    Any Hub id or local folder can be given instead of a name. Downloads go to the Hugging Face cache (HF_HOME); HF_ENDPOINT
    names a mirror of the Hub.
    """
    from kronos.cli.output import show_table
    from kronos.hub.registry import ZOO

    header = ["name", "parameters", "size", "context", "from", "tokenizer", "in cache"]
    show_table(header, [list(_row(entry)) for entry in ZOO.values()], left=tuple(header))
    click.echo("parameters: model + tokenizer; context: how many bars the model sees")
