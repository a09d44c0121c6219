"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import dask
import pytest
from hypothesis import HealthCheck, settings

# Tensors and matrices of tests are small: threads that wait for each other would take most of the time. The variable
# comes before torch, and goes on to xdist's workers and to every process that a test starts.
if "XSOIL_BENCH" not in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "xsoil", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("xsoil")


@pytest.fixture
def no_compute():
    """Fail if anything computes while the graph is being built."""
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("computed too early")):
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the real data; the test is skipped where there is none."""
    folder = os.environ.get("XSOIL_TEST_DATA")
    if not folder:
        pytest.skip("XSOIL_TEST_DATA is not set: the real data are not part of the project")
    return Path(folder)


@pytest.fixture(scope="session")
def reference(data: Path) -> Path:
    """Folder of the reference values, beside the real data."""
    folder = data.parent / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference values in {folder}")
    return folder
