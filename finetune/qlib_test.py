"""Step 4: signals, backtest and report. ``kronos backtest`` with the settings of config.py."""

from config import Config

from kronos.cli.backtest import backtest_command
from kronos.cli.settings import run_script

if __name__ == "__main__":
    run_script(backtest_command, Config())
