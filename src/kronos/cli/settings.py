"""Options that the fine-tuning and backtest commands share, and running a command from one of the scripts in ``finetune/``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kronos.finetune.config import FinetuneConfig

Function = TypeVar("Function", bound=Callable[..., Any])


def settings_options(function: Function) -> Function:
    """--yaml, --set and --settings."""
    for option in (
        click.option(
            "--settings",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_list_settings,
            help="List all settings with their defaults, and leave.",
        ),
        click.option(
            "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Override a setting; JSON or text. Repeatable."
        ),
        click.option("--yaml", type=click.Path(), help="A YAML file of settings, name: value."),
    ):
        function = option(function)
    return function


def read_settings(ctx: click.Context, yaml: str | None, sets: tuple[str, ...], **named: Any) -> FinetuneConfig:
    """The script's ``Config()`` or the defaults; then file, environment, --set, and last the options that were given."""
    from kronos.finetune.config import FinetuneConfig

    base = FinetuneConfig() if ctx.obj is None else FinetuneConfig.from_object(ctx.obj)
    return base.with_overrides(sets, yaml, **{name: value for name, value in named.items() if value is not None})


def time_range(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """FIRST,LAST of an option."""
    if value is None:
        return None
    parts = tuple(part.strip() for part in value.split(","))
    if len(parts) != 2:
        raise click.BadParameter(f"two dates with a comma between, such as 2024-07-01,2024-12-31; found {value!r}")
    return parts


def _list_settings(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from kronos.finetune.config import describe

    for name, default, about in describe():
        shown = ",".join(default) if isinstance(default, tuple) else default
        click.echo(f"{name} = {shown}\n    {about}")
    ctx.exit()


def run_script(command: click.Command, settings: object) -> None:
    """A script of ``finetune/``: the command with its ``Config()``; errors end as those of ``kronos`` do."""
    from kronos.cli.errors import errors_in_a_line

    name = Path(sys.argv[0]).name
    with errors_in_a_line(name):
        command.main(sys.argv[1:], prog_name=name, obj=settings, standalone_mode=False)
