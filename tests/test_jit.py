"""Kernels on disk are not served after what they call has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import xsoil
from xsoil.jit import kernel

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from xsoil.kernels.middle import twice
print(twice(1.0), sum(twice.stats.cache_hits.values()))
"""
FORMULA = "def formula(x):\n    return {factor} * x\n"
MIDDLE = """
from xsoil.jit import kernel
from xsoil.physics.formula import (
    formula,
)

inner = kernel(formula)

@kernel
def twice(x):
    return 2.0 * inner(x)
"""


@pytest.fixture
def package(tmp_path):
    """A package of that name with our jit.py and two small modules of its own."""
    root = tmp_path / "xsoil"
    for room in ("", "kernels", "physics"):
        (root / room).mkdir()
        (root / room / "__init__.py").touch()
    (root / "jit.py").write_text((Path(xsoil.__file__).parent / "jit.py").read_text())
    (root / "kernels" / "middle.py").write_text(MIDDLE)
    (root / "physics" / "formula.py").write_text(FORMULA.format(factor="3.0"))
    return root


def run(package: Path) -> tuple[float, int]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(package.parent / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package.parent)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    value, hits = found.stdout.split()
    return float(value), int(hits)


def test_an_edit_two_files_away_is_seen_whatever_its_date(package):
    assert run(package) == (6.0, 0)
    assert run(package) == (6.0, 1)
    formula = package / "physics" / "formula.py"
    before = formula.stat()
    formula.write_text(FORMULA.format(factor="5.0"))
    os.utime(formula, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(package) == (10.0, 0)
    assert run(package) == (10.0, 1)


def test_where_nothing_can_be_cached_kernels_still_run():
    """As in a read-only installation: numba finds no folder for a function that is in no file."""
    names = {}
    exec("def double(x):\n    return 2.0 * x\n", names)
    assert kernel(names["double"])(3.0) == 6.0
