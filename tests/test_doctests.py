"""Every example of a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import xsoil

MODULES = ["xsoil", *(m.name for m in pkgutil.walk_packages(xsoil.__path__, "xsoil."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_there_are_examples():
    """Each of these verbs shows one."""
    finder = doctest.DocTestFinder(recurse=False)
    for name in ("ptf", "upscale", "simulate", "to_zarr", "to_cog", "ease_grid", "grid_of"):
        verb = getattr(xsoil, name)
        assert any(test.examples for test in finder.find(verb, name)), name
