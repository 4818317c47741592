"""How commands and scripts end when something is wrong: one line and exit code 2, or 130 after Ctrl-C."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kronos.cli.given import shown
from kronos.errors import NAME_ALONE, Argument, message_of, spell

SETTINGS = ("backtest_n_symbol_hold",)
"""Arguments that the command line takes by --set."""


def option_of(argument: Argument) -> str:
    """Spell an argument as an option of the command line, quoted for the shell."""
    name, value = argument
    option = "--map" if name == "columns" else f"--{name.replace('_', '-')}"
    if value is None:
        return f"no {option}"
    if value is True or value is NAME_ALONE:
        return option
    if name in SETTINGS:
        return f"--set {shlex.quote(f'{name}={value}')}"
    if name == "columns":
        return " ".join(f"--map {shlex.quote(f'{role}={column}')}" for column, role in value.items())
    if isinstance(value, (list, tuple)):
        return f"{option} {','.join('...' if one is ... else str(one) for one in value)}"
    return f"{option} {shlex.quote(str(value))}"


def as_options(text: str) -> str:
    """Return a text of the library as the command line says it."""
    return spell(text, option_of)


def _in_a_line(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Warnings of ours for people; what libraries warn their developers of is left out."""
    if category.__module__.startswith("kronos") or category is UserWarning:
        click.echo(f"warning: {as_options(message_of(message) if isinstance(message, Warning) else message)}", err=True)


@contextmanager
def errors_in_a_line(name: str) -> Iterator[None]:
    """Faults of the user's input, files that cannot be written, and runs that cannot go on; warnings in a line each."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _in_a_line  # type: ignore[assignment]
            yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, OSError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        click.echo(f"{name}: {shown(as_options(message_of(error).first_line()))}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{name}: stopped; no file was left half written", err=True)
        sys.exit(130)
