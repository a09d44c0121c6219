"""The scripts of examples/, run as a user runs them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    """A script as a module, for tests of its functions."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: object) -> str:
    """What a script that succeeds prints."""
    command = [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(name: str, *arguments: object) -> str:
    """What a script says to arguments that it refuses: in this process, where its libraries are loaded already."""
    script, said = str(EXAMPLES / f"{name}.py"), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [script, *map(str, arguments)]),
        mock.patch.object(sys, "path", [str(EXAMPLES), *sys.path]),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 2
    return said.getvalue()
