"""Step 1: bars out of Qlib into train, val and test. ``kronos prepare qlib`` with the settings of config.py."""

from config import Config

from kronos.cli.prepare import qlib_command
from kronos.cli.settings import run_script

if __name__ == "__main__":
    run_script(qlib_command, Config())
