"""Where results are written: paths and names of every kind, and what others have put there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError
from xsoil.grids.ease import ease_grid
from xsoil.outputs.cog import to_cog
from xsoil.outputs.netcdf import to_netcdf
from xsoil.outputs.zarr import to_zarr

WRITERS = {to_zarr: ".zarr", to_netcdf: ".nc", to_cog: ".tif"}
every_writer = pytest.mark.parametrize(("write", "ending"), WRITERS.items(), ids=["zarr", "netcdf", "cog"])


@pytest.fixture
def sand(tmp_path, monkeypatch) -> xr.Dataset:
    """A small lazy map; relative paths lie in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    grid = ease_grid("EASE2_M36km", region=(-104, 33, -100, 36))
    values = np.arange(float(np.prod(grid.shape)), dtype="f4").reshape(grid.shape)
    return xr.Dataset({"sand": (("y", "x"), values, {"grid_mapping": "spatial_ref"})}, xr_coords(grid)).chunk(x=5)


@every_writer
@pytest.mark.parametrize("name", ["a b ü 土", "no/such/../folders/", "link/../above", "a" * 235, "C:%20d"])
def test_odd_paths(sand, tmp_path, write, ending, name):
    (tmp_path / "far" / "away").mkdir(parents=True)
    os.symlink("far/away", "link")  # what stands above it is "far"
    made = write(sand, f"{name}{ending}" if not name.endswith("/") else f"{name}a{ending}/", progress=False)
    assert made.is_absolute()
    assert made.parent == (
        tmp_path / "far" if "link" in name else tmp_path / "no/folders" if "no/" in name else tmp_path
    )
    assert made.exists()
    assert [entry.name for entry in made.parent.iterdir() if entry.name.startswith(".")] == []


@every_writer
def test_urls_of_this_machine(sand, tmp_path, write, ending):
    for start, name in (("file://localhost", "a"), ("file:", "b"), ("FILE://", "c")):
        made = write(sand, f"{start}{tmp_path}/{name}%20b{ending}", progress=False)
        assert made == tmp_path / f"{name} b{ending}"


@every_writer
def test_letters_that_no_file_can_have(sand, tmp_path, write, ending):
    for name in ("\ud800", os.fsdecode(b"caf\xe9")):
        with pytest.raises(ArgumentError, match="255 bytes at most, in UTF-8"):
            write(sand, f"{tmp_path}/{name}{ending}", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_changes_its_folder_meanwhile(sand, tmp_path):
    """The store appeared in the folder of that moment."""
    (tmp_path / "other").mkdir()

    def change(block):
        os.chdir(tmp_path / "other")
        return block

    data = sand["sand"].data.map_blocks(change, meta=np.empty((0, 0), "f4"))
    for write, ending in WRITERS.items():
        os.chdir(tmp_path)
        assert write(sand.assign(sand=sand["sand"].copy(data=data)), f"a{ending}", progress=False).parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "a.tif", "a.zarr", "other"]


@every_writer
@pytest.mark.parametrize("path", ["", "a\0b", "file/a", "/proc/xsoil", "a" * 300], ids=repr)
def test_paths_that_cannot_be(sand, tmp_path, write, ending, path):
    Path("file").write_text("mine")
    with pytest.raises(ArgumentError, match="expected"):
        write(sand, f"{path}{ending}" if path else "", progress=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@every_writer
def test_a_hidden_folder_of_somebody_else(sand, tmp_path, write, ending):
    """It was emptied, or emptied where a link led to."""
    holder, kept = tmp_path / f".a{ending}.partial", tmp_path / "kept"
    kept.mkdir()
    (kept / "notes").write_text("mine")
    os.symlink(kept, holder)
    with pytest.raises(ArgumentError, match="was not made by xsoil"):
        write(sand, f"a{ending}", progress=False)
    holder.unlink()
    kept.rename(holder)
    with pytest.raises(ArgumentError, match="was not made by xsoil"):
        write(sand, f"a{ending}", progress=False)
    assert (holder / "notes").read_text() == "mine"


@pytest.mark.parametrize("name", ["a\\b", "a\0b", "a\udcff", "a" * 300], ids=ascii)
def test_names_that_cannot_be_files(sand, tmp_path, name):
    """zarr took the backslash for a slash: the variable was not in the store."""
    for write in (to_zarr, to_cog):
        with pytest.raises(ArgumentError, match="rename"):
            write(sand.rename(sand=name), "a", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_long_names_in_other_alphabets(sand, tmp_path):
    name = "влажность" * 14
    back = xr.open_zarr(to_zarr(sand.rename(sand=name), "a.zarr", progress=False))
    assert name in back


def test_dims_that_are_no_text(tmp_path):
    with pytest.raises(ArgumentError, match=r"rename\(\{5: '5'\}\)"):
        to_zarr(xr.Dataset({"a": ((5,), [1.0])}), tmp_path / "a.zarr", progress=False)


def test_notes_in_a_store_are_not_deleted(sand, tmp_path):
    to_zarr(sand, "a.zarr", progress=False)
    (tmp_path / "a.zarr" / "README.md").write_text("mine")
    for ds in (sand.load(), sand.chunk()):
        with pytest.raises(ArgumentError, match="not a Zarr store alone"):
            to_zarr(ds, "a.zarr", overwrite=True, progress=False)
    assert (tmp_path / "a.zarr" / "README.md").read_text() == "mine"
