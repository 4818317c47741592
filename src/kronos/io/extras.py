"""Optional dependencies: check that a library is installed before it is used, and name the extra that installs it.

The base installation forecasts from files. Everything else is an extra of pyproject.toml: ``pip install 'kronos-forecast[NAME]'``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'kronos-forecast[{extra}]'"


def installed(library: str) -> bool:
    """Whether a library can be imported; nothing is imported."""
    return importlib.util.find_spec(library) is not None


def need(libraries: str, extra: str, purpose: str) -> Path:
    """Check that libraries are installed, without importing them: many are slow to import.

    Args:
        libraries: names to import, separated by spaces.
        extra: the extra of pyproject.toml that brings them.
        purpose: what needs them, the subject of the message ("kronos serve", "LoRA").

    Returns:
        The folder of the first of them.

    Raises:
        ValueError: at least one is missing; the message names them all and the command that installs them.
    """
    found = {name: importlib.util.find_spec(name) for name in libraries.split()}
    missing = [name for name, spec in found.items() if spec is None]
    if missing:
        verb = "which is" if len(missing) == 1 else "which are"
        raise ValueError(f"{purpose} needs {', '.join(missing)}, {verb} not installed: {install_command(extra)}")
    origin = next(iter(found.values())).origin  # type: ignore[union-attr]
    return Path(origin).parent if origin else Path()
