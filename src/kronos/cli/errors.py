"""How commands and scripts end when something is wrong: one line and exit code 2, or 130 after Ctrl-C."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kronos.cli.options import as_options


def _in_a_line(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Warnings of ours for people; what libraries warn their developers of is left out."""
    if category.__module__.startswith("kronos") or category is UserWarning:
        click.echo(f"warning: {as_options(str(message))}", err=True)


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
        lines = str(error).strip().splitlines() or [type(error).__name__]
        click.echo(f"{name}: {as_options(lines[0])}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{name}: stopped; no file was left half written", err=True)
        sys.exit(130)
