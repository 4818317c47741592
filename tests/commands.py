"""Commands and code as users write them, run in this process: starting Python and PyTorch takes longer than most of them."""

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from click.testing import CliRunner

from kronos.cli import main


def run_command(words: Sequence[str], folder: Path) -> str:
    """What ``kronos WORDS`` prints in that folder; it must end well."""
    with _chdir(folder):
        result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def run_code(code: str, folder: Path) -> str:
    """What Python code prints in that folder, run as a script."""
    output = io.StringIO()
    with _chdir(folder), contextlib.redirect_stdout(output):
        exec(compile(code, "<page>", "exec"), {"__name__": "__main__"})
    return output.getvalue()


def run_script(script: Path, folder: Path) -> str:
    """What a script without arguments prints in that folder; its own folder is on Python's path, as ``python SCRIPT`` has it."""
    output, before = io.StringIO(), (sys.argv, sys.path)
    sys.argv, sys.path = [str(script)], [str(script.parent), *sys.path]
    try:
        with _chdir(folder), contextlib.redirect_stdout(output):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path = before
    return output.getvalue()


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    """The working folder changed for a while, as `contextlib.chdir` of Python 3.11 does."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
