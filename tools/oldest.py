"""Print the oldest release of each dependency that pyproject.toml allows, as constraints for pip.

    python tools/oldest.py               the dependencies of the base installation
    python tools/oldest.py plot excel    and those of extras

``make test-oldest`` installs these and runs the tests of the base installation with them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]
    return tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def oldest(requirement: str) -> str:
    """``name[extra]>=1.2; marker`` -> ``name==1.2; marker``.

    Raises:
        ValueError: the requirement has no lower bound.
    """
    match = re.fullmatch(r"([\w.-]+)(?:\[.*?\])?\s*>=\s*([\w.]+)[^;]*(;.*)?", requirement)
    if match is None:
        raise ValueError(f"{requirement!r} has no lower bound, expected name>=version")
    return f"{match[1]}=={match[2]}{match[3] or ''}"


def main() -> None:
    settings = project()
    wanted = list(settings["dependencies"])
    for extra in sys.argv[1:]:
        wanted += settings["optional-dependencies"][extra]
    print("\n".join(oldest(one) for one in wanted if not one.startswith(f"{settings['name']}[")))


if __name__ == "__main__":
    main()
