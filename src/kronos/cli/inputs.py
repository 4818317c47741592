"""No command writes over a file that it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kronos.io.atomic import check_not_input, inputs_kept

INPUTS = ("file", "data", "train", "valid", "yaml", "qlib_data_path", "signals", "sources", "places", "folder", "reference",
          "distribution_reference", "token_file", "calibration", "store", "covariates")  # fmt: skip
"""Parameters of commands that name files or folders to read."""
OUTPUTS = ("out", "plot", "save", "pair")


def _paths(values: Iterable[Any]) -> list[Path]:
    flat = [one for value in values for one in (value if isinstance(value, (tuple, list)) else (value,))]
    return [Path(one) for one in flat if isinstance(one, (str, Path)) and str(one)]


def inputs_guarded(command: click.Command) -> click.Command:
    """The command, refusing outputs that are its inputs, before it starts and whenever it writes; a group's commands likewise."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            inputs_guarded(one)
        return command
    run = command.invoke

    def invoke(context: click.Context) -> Any:
        given = context.params
        inputs = _paths(given.get(name) for name in INPUTS)
        with inputs_kept(inputs):
            for name in OUTPUTS:
                for path in _paths([given.get(name)]):
                    check_not_input(path)
            return run(context)

    command.invoke = invoke  # type: ignore[method-assign,assignment]
    return command
