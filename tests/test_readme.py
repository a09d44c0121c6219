"""Every line of Python in the README runs, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import xarray as xr

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(block, str(README), "exec"), names)
    written = xr.open_zarr(tmp_path / "soil_moisture.zarr")
    assert 0.0 < float(written.theta.isel(time=-1).mean()) < 0.6
    assert (tmp_path / "k_sat.tif").stat().st_size > 1000


def test_there_is_code():
    assert BLOCKS


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if "://" not in target:
            assert (README.parent / target).is_file(), target


def test_verbs_of_the_table_exist():
    import xsoil
    from xsoil.accessor import SoilAccessor

    rows = re.findall(r"^\| (`.*?) \|", TEXT, flags=re.MULTILINE)
    assert len(rows) >= 8
    for row in rows:
        for name in re.findall(r"`(\w+)\(", row):
            assert hasattr(SoilAccessor, name), name
            assert hasattr(xsoil, name), name
    for path in re.findall(r"`xsoil\.([\w.]+)\(", TEXT):
        owner: object = xsoil
        for part in path.split("."):
            owner = getattr(owner, part)
