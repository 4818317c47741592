"""The commands and the code of both READMEs run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from kronos import read_klines
from kronos.klines.samples import sample_path
from tests.commands import run_code, run_command, run_script

ROOT = Path(__file__).parent.parent
READMES = ["README.md", "README.zh-CN.md"]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)


COMMANDS = sorted({line for name in READMES for block in blocks(name, "bash") for line in block.splitlines() if line})
PYTHON = sorted({re.sub(r"  # .*", "", block) for name in READMES for block in blocks(name, "python")})


@pytest.fixture
def folder(tmp_path):
    """An empty folder with a file of bars, and a folder of two."""
    table = read_klines(sample_path("synthetic")).iloc[-600:]
    table.to_csv(tmp_path / "prices.csv", index=False)
    (tmp_path / "market").mkdir()
    for name in ("a.csv", "b.csv"):
        table.iloc[-200:].to_csv(tmp_path / "market" / name, index=False)
    return tmp_path


def test_there_are_commands_and_code_and_both_readmes_have_the_same():
    assert len(COMMANDS) == 10
    assert len(PYTHON) == 1
    assert blocks(READMES[0], "bash") == blocks(READMES[1], "bash")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("kronos")])
def test_command_line_of_the_readme(command, folder):
    words = shlex.split(command)
    run_command(words[1:], folder)
    for option in ("--plot", "--out"):
        if option in words:
            written = folder / words[words.index(option) + 1]
            for file in (written / "a.csv", written / "summary.csv") if written.is_dir() else (written,):
                assert file.stat().st_size > 100


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python")])
def test_example_of_the_readme_runs_without_network_and_display_and_writes_a_picture(command, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = run_script(ROOT / shlex.split(command)[1], ROOT)
    pictures = re.findall(r"picture: (.+)", output)
    assert pictures
    for picture in pictures:
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("code", PYTHON)
def test_python_of_the_readme(code, folder):
    check = "\nassert forecast.ids == ('prices',) and forecast.paths.shape == (1, 100, 24, 6)\nprint('done')"
    assert "done" in run_code(code + check, folder)
