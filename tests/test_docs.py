"""The documentation site: its snippets run, its links lead somewhere, its generated pages name every command and route."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from kronos import read_klines
from kronos.cli import main
from kronos.klines.samples import sample_path
from tests.commands import run_code, run_command
from tests.processes import run_process

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    DOCS / "start.md",
    DOCS / "start.zh.md",
    *sorted((DOCS / "howto").glob("*.md")),
    *sorted((DOCS / "concepts").glob("*.md")),
]


def blocks(language: str) -> list[str]:
    """Blocks of code of the pages, each once: comments may be translated."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    found = [block for text in texts for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)]
    return list(dict.fromkeys(re.sub(r"  # .*", "", block) for block in found))


COMMANDS = list(dict.fromkeys(line for block in blocks("bash") for line in block.splitlines() if line))


@pytest.fixture
def folder(tmp_path):
    """A file and a folder of bars, as the pages name them."""
    bars = read_klines(sample_path("synthetic")).iloc[-500:]
    bars.to_csv(tmp_path / "prices.csv", index=False)
    (tmp_path / "market").mkdir()
    for name in ("a", "b"):
        bars.iloc[-300:].to_csv(tmp_path / "market" / f"{name}.csv", index=False)
    return tmp_path


def test_pages_have_commands_and_code():
    assert len(COMMANDS) >= 12 and len(blocks("python")) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_a_page_runs(command, folder):
    words = shlex.split(command)
    assert words[0] == "kronos"
    run_command(words[1:], folder)


@pytest.mark.parametrize("code", blocks("python"))
def test_code_of_a_page_runs(code, folder):
    assert run_code(code, folder).strip()


def test_commands_of_a_translation_are_those_of_the_page():
    for page in DOCS.rglob("*.zh.md"):
        original = page.with_name(page.name.replace(".zh.md", ".md"))
        found = [
            re.findall(r"```bash\n(.*?)```", p.read_text(encoding="utf-8"), flags=re.DOTALL) for p in (page, original)
        ]
        assert found[0] == found[1], page.name


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if not page.name.endswith(".zh.md")]
    assert [page for page in pages if page not in navigation] == []


SAME_IN_CHINESE = {"ONNX", "Python", "HTTP"}


def test_every_title_of_the_navigation_has_a_chinese_name():
    settings, navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")
    titles = re.findall(r"^ *- (.+?):(?: |$)", navigation, flags=re.MULTILINE)
    translated = re.findall(r"^ {12}(\S.*?): ", settings, flags=re.MULTILINE)
    assert len(titles) > 40
    assert [title for title in titles if title not in translated and title not in SAME_IN_CHINESE] == []


def test_generated_pages_name_every_command_and_route():
    pytest.importorskip("fastapi")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import docs_pages
    finally:
        sys.path.pop(0)
    commands, routes = docs_pages.command_line(), docs_pages.http()
    assert [name for name in main.commands if f"## kronos {name}\n" not in commands] == []
    for route in ("POST /v1/forecast", "POST /v1/forecast/batch", "POST /v1/inspect", "GET /v1/models", "GET /healthz"):
        assert f"## {route}\n" in routes
    assert "| `horizon` | integer | default `24`" in routes


def test_site_builds_strictly_without_a_warning(tmp_path):
    for package in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings"):
        pytest.importorskip(package, reason="needs the extra docs (make docs)")
    copy = tmp_path / "project"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "tests", "benchmarks", "site", "build", "dist")
    )
    done = run_process([sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")], cwd=copy)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "zh" / "start" / "index.html").exists()
