"""``kronos`` and ``python -m kronos``: the command line, where Ctrl-C while it is loaded ends it like later on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of the process."""
    try:
        from kronos.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run(prog_name="kronos")


if __name__ == "__main__":
    main()
