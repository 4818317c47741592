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
    assert len(COMMANDS) == 11
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


NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_script(notebook, tmp_path):
    output = run_script(notebook, tmp_path)
    said = {
        "quickstart": "the same forecast: True",
        "evaluate_own_data": "no advice",
        "finetuning": "kept: ",
        "embeddings_and_heads": "the one that was changed: True",
    }
    assert said[notebook.stem] in output


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_kernel(notebook, tmp_path):
    jupytext = pytest.importorskip("jupytext", reason="needs jupytext")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, which nbmake brings")
    pytest.importorskip("ipykernel")
    book = jupytext.read(notebook)
    nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output]
    if notebook.stem == "quickstart":
        assert any("<svg" in output.data.get("text/html", "") for output in shown)


@pytest.mark.parametrize("name", READMES)
def test_links_and_pictures_of_the_readme_lead_to_files_and_pictures_are_small(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    own = [link for link in links if not link.startswith("http")]
    assert [link for link in own if not (ROOT / link).exists()] == []
    pictures = [ROOT / link for link in own if link.endswith(".png")]
    assert len(pictures) == 4 and all(picture.stat().st_size < 200_000 for picture in pictures)


def results(text: str) -> dict[str, list[str]]:
    """The first figures of each row of tables by the row's name: the error and the CRPS."""
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {cells[0]: cells[1:] for cells in reversed(rows)}  # of a name, the first


@pytest.mark.parametrize("name", READMES)
def test_results_of_the_readme_are_those_of_the_page_of_results(name):
    part = re.split(r"\n## ", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))[1]
    page, readme = (
        results(part),
        results(*re.findall(r"\n## (?:Results|结果)\n(.*?)\n## ", (ROOT / name).read_text(encoding="utf-8"), re.S)),
    )
    rows = list(readme.values())[::-1][2:]  # after the header and its line
    for cells, model in zip(rows, ("nano calibrated", "nano", "last", "garch", "bootstrap", "lightgbm"), strict=True):
        error, _, _, crps, interval, _, _, covers = page[model][:8]
        assert cells[:2] == [error, crps] and cells[3] == covers
        assert re.findall(r"[\d.]+", cells[2]) == re.findall(r"[\d.]+", interval)
