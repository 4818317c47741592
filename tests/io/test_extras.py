"""Optional dependencies: the base installation forecasts without them, and each is asked for by the extra that brings it."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from kronos.io.extras import need
from tests.processes import run_process

ROOT = Path(__file__).parents[2]
OPTIONAL = (
    "matplotlib",
    "arch",
    "scipy",
    "statsmodels",
    "plotly",
    "fastapi",
    "openpyxl",
    "peft",
    "qlib",
    "onnx",
    "ray",
    "ccxt",
    "sklearn",
)
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({names}))
from kronos.cli import main
main({arguments})
"""


def run_without(names, arguments, folder):
    code = WITHOUT.format(names=names, arguments=arguments)
    return run_process([sys.executable, "-c", code], cwd=folder)


def extras() -> dict[str, str]:
    """Name of each extra of pyproject.toml: its lines."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    return dict(re.findall(r"^(\w+) = \[(.*?)\]$", text.split("\n[")[0], flags=re.MULTILINE | re.DOTALL))


def test_need_returns_folder_of_installed_library():
    assert need("numpy pandas", "all", "this") == Path(np.__file__).parent


def test_need_names_every_missing_library_and_the_command():
    with pytest.raises(
        ValueError, match=r"^X needs no_a, no_b, which are not installed: pip install 'kronos-forecast\[y\]'$"
    ):
        need("no_a numpy no_b", "y", "X")


def test_every_extra_that_is_asked_for_is_in_pyproject():
    source = "\n".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    asked = set(re.findall(r"kronos-forecast\[([a-z]+)\]", source)) | set(
        re.findall(r'need\("[\w ]+", "(\w+)"', source)
    )
    assert {"serve", "plot", "lora"} <= asked
    assert asked <= set(extras())


def test_all_brings_every_extra_for_users():
    (listed,) = re.findall(r"\[(.*)\]", extras()["all"])
    named = set(listed.split(","))
    apart = {
        "all",
        "dev",
        "docs",
        "release",
        "notebooks",
        "qlib",
        "sktime",
        "gluonts",
        "chronos",
        "timesfm",
    }  # by their own requirements
    assert named == set(extras()) - apart


def test_the_extra_for_assistants_brings_what_their_tool_evaluate_compares_with():
    from kronos.evaluation.forecasters.baselines import BASELINES

    source = (ROOT / "src" / "kronos" / "serving" / "mcp_tools.py").read_text("utf-8")
    named = re.findall(r'"(\w+)"', source.split("baselines=(")[1].split(")")[0])
    assert named == ["last", "bootstrap"]
    needed = [BASELINES[name].library for name in named]
    assert [library for library in needed if library and f'"{library}>=' not in extras()["mcp"]] == []


def test_forecast_runs_without_optional_libraries(tmp_path):
    arguments = "forecast --sample synthetic --holdout --horizon 3 --lookback 64 --paths 9 --windows 3 --out f.csv"
    done = run_without(OPTIONAL, arguments.split(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.csv").stat().st_size > 100
    assert "Over 3 windows of 3 bars" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("forecast --sample synthetic --plot f.html", "plot"),
        ("forecast --sample synthetic --plot f.png", "plot"),
        ("forecast --sample sp500", "samples"),
        ("serve", "serve"),
        ("mcp", "mcp"),
        ("evaluate bars.csv --out o --baselines none", "evaluate"),
    ],
)
def test_command_without_its_extra_names_it_in_one_line(arguments, extra, tmp_path):
    (tmp_path / "bars.csv").write_text("date,open,high,low,close\n2024-01-01,1,1,1,1\n")
    done = run_without(OPTIONAL, arguments.split(), tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(f"pip install 'kronos-forecast[{extra}]'")
    assert len(done.stderr.strip().splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bars.csv"]
