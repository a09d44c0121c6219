"""Compiled code that checks every index: a kernel that writes behind an array spoils memory, and seldom shows it.

numba checks indices only where it is told to before anything is compiled, so this runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
WHERE = ("fuzz", "grids", "kernels", "inverse", "ptfs")


@pytest.mark.long
def test_no_kernel_reaches_beyond_its_arrays(tmp_path):
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTEST_ADDOPTS": ""}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not long", *(str(TESTS / name) for name in WHERE)],
        capture_output=True, text=True, check=False, env=checked, cwd=TESTS.parent,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
