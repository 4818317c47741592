"""Modules by their former names, and names that are imported when they are used."""

import importlib

import pytest

from kronos._imports import MOVED


@pytest.mark.parametrize(("before", "now"), MOVED.items())
def test_module_by_its_former_name_is_the_module_of_today(before, now):
    with pytest.warns(DeprecationWarning, match=f"kronos.{before} is now kronos.{now}"):
        module = importlib.reload(importlib.import_module(f"kronos.{before}"))
    today = importlib.import_module(f"kronos.{now}")
    public = [name for name in vars(today) if not name.startswith("_")]
    assert public and all(getattr(module, name) is getattr(today, name) for name in public)


def test_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("kronos.nothing")


@pytest.mark.parametrize("package", ["kronos", "kronos.klines", "kronos.evaluation"])
def test_every_listed_name_is_there(package):
    module = importlib.import_module(package)
    assert module.__all__ and all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(module, "nothing")  # noqa: B009
