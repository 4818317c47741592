"""How the package is laid out; the layers themselves are checked by import-linter (make lint)."""

import ast
import importlib.util
from collections import defaultdict
from pathlib import Path

import kronos

PACKAGE = Path(kronos.__file__).parent
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
PUBLISHED = ("compat", "model")
"""Packages whose names are those of the published code."""


def repeated(named: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in named.items() if len(places) > 1}


def test_no_basename_occurs_twice():
    # A workflow has config.py and run.py; files of cli are called as their commands.
    named = defaultdict(list)
    for file in FILES:
        if file.name not in ("__init__.py", "config.py", "run.py") and file.parts[0] not in (*PUBLISHED, "cli"):
            named[file.name].append(str(file))
    assert not repeated(named)


def test_no_public_class_name_occurs_twice():
    named = defaultdict(list)
    for file in FILES:
        if file.parts[0] in PUBLISHED:
            continue
        for node in ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named[node.name].append(str(file))
    assert not repeated(named)


def test_at_most_eight_files_lie_at_the_top():
    assert len([file for file in FILES if len(file.parts) == 1]) <= 8


def test_scripts_import_names_that_exist():
    # Benchmarks and tools are not run by the tests.
    missing = []
    for folder in ("benchmarks", "tools", "examples", "finetune"):
        for script in sorted((Path(__file__).parent.parent / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kronos":
                    module = importlib.import_module(node.module)
                    missing += [
                        f"{script.name}: {node.module}.{alias.name}"
                        for alias in node.names
                        if not hasattr(module, alias.name)
                        and not importlib.util.find_spec(f"{node.module}.{alias.name}")
                    ]
    assert not missing


def test_the_documented_layers_name_every_package():
    text = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    tops = {file.parts[0].removesuffix(".py") for file in FILES} - {"__init__", "__main__", "_imports", "model"}
    assert [name for name in sorted(tops) if f"`{name}`" not in text] == []
