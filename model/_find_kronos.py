"""Load the package ``kronos``, also where another file of that name comes before it on ``sys.path``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "kronos"
HERE = Path(__file__).resolve().parent


class SharedName(ModuleType):
    """A script's own module ``kronos`` that shares its name with the package: its names first, then the package's."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of kronos.nn sets "nn" here, where the script may have its own.
        if not (isinstance(value, ModuleType) and value.__name__ == f"{NAME}.{name}"):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        part = sys.modules.get(f"{NAME}.{name}")
        return part if part is not None else getattr(self.__dict__["_package"], name)


def load() -> None:
    """Make ``import kronos.compat`` find the package.

    Raises:
        ImportError: the package is nowhere, or another package has its name; the message says which.
    """
    known = sys.modules.get(NAME)
    if known is not None:
        folders = getattr(known, "__path__", None)
        file = getattr(known, "__file__", None)
        if _is_ours(folders):
            return
        if file is not None and folders is not None:
            raise ImportError(f"the package {file} hides the package {NAME}, which {HERE} needs: rename it")
        spec = _find(file)
        if file is None or Path(file).resolve().parent == HERE:  # a folder without code, or model/kronos.py itself
            _register(spec)
        else:
            package = importlib.util.module_from_spec(spec)
            known.__dict__.update(_package=package, __path__=spec.submodule_search_locations)
            known.__class__ = SharedName
            _execute(spec, package)
        return
    found = importlib.util.find_spec(NAME)
    if found is not None and _is_ours(found.submodule_search_locations):
        return
    other = None if found is None else found.origin
    _register(_find(other))
    if other is not None and Path(other).resolve().parent != HERE:
        warnings.warn(
            f"{other} has the name of the package {NAME}, which {HERE} needs: `import {NAME}` gives the package; "
            "rename the file if you import it",
            stacklevel=3,
        )


def _is_ours(folders: Any) -> bool:
    return any(Path(folder, "compat", "module.py").is_file() for folder in folders or ())


def _specs() -> Iterator[ModuleSpec | None]:
    """Every ``kronos`` there is: on ``sys.path``, by import hooks (editable installs), and beside this folder."""
    for entry in sys.path:
        yield PathFinder.find_spec(NAME, [entry])
    for finder in sys.meta_path:
        yield finder.find_spec(NAME, None)
    yield PathFinder.find_spec(NAME, [str(HERE.parent / "src")])


def _find(other: str | None) -> ModuleSpec:
    for spec in _specs():
        if spec is not None and _is_ours(spec.submodule_search_locations):
            return spec
    hidden = f"; {other} has its name" if other else ""
    raise ImportError(
        f"the package {NAME} is not installed, and not in {HERE.parent / 'src'}{hidden}: pip install {HERE.parent}"
    )


def _register(spec: ModuleSpec) -> None:
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    _execute(spec, sys.modules[NAME])


def _execute(spec: ModuleSpec, module: ModuleType) -> None:
    """The package's ``__init__``; its other modules are imported when they are used."""
    assert spec.loader is not None
    spec.loader.exec_module(module)
