"""Options that commands share."""

import click
import pytest

from kronos.cli import main

READING = {"--map", "--encoding", "--decimal", "--thousands", "--names", "--tz"}
READERS = [
    "audit",
    "calibrate",
    "check",
    "evaluate",
    "export-qlib",
    "features",
    "finetune",
    "forecast",
    "generate",
    "heads train",
    "score",
    "store build",
]


@pytest.mark.parametrize("command", READERS)
def test_command_that_reads_files_has_every_reading_option(command):
    group: click.Command | None = main
    context = click.Context(main)
    for name in command.split():
        assert isinstance(group, click.Group)
        group = group.get_command(context, name)
    assert group is not None
    assert set().union(*(parameter.opts for parameter in group.params)) >= READING
