"""``python -m kronos`` is ``kronos``."""

from kronos.cli import main

if __name__ == "__main__":
    main()
