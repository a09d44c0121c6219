"""Faults of `apply_weights` and `save_weights`: weights for other grids, files that changed, wrong arguments."""

from __future__ import annotations

import os

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from test_weights import LATLON, on

from xsoil.errors import ArgumentError, GridMismatchError, NoOverlapError, UnknownNameError
from xsoil.grids.ease import ease_grid
from xsoil.verbs.apply_weights import apply_weights, load
from xsoil.verbs.save_weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights from LATLON to 36 km that know their grids."""
    return save_weights(tmp_path_factory.mktemp("weights") / "w.nc", LATLON, "EASE2_M36km", corners=False)


def test_weights_for_another_grid(weights):
    shifted = GeoBox(LATLON.shape, Affine(1 / 30, 0, -106.5 + 1 / 60, 0, -1 / 30, 38.9), LATLON.crs)
    with pytest.raises(GridMismatchError, match="another source: the file's first cell lies at"):
        apply_weights(on(shifted), weights, "EASE2_M36km")
    with pytest.raises(GridMismatchError, match=r"another source.*\(70, 60\)"):
        apply_weights(on(LATLON[:59]), weights, ease_grid("EASE2_M36km", LATLON))
    with pytest.raises(GridMismatchError, match="another target"):
        apply_weights(on(LATLON), weights, "EASE2_M09km")


def test_files_without_coordinates_are_held_against_the_grids(tmp_path, weights):
    with xr.open_dataset(weights) as file:
        bare = file[["row", "col", "S"]].load()  # what xESMF's to_netcdf writes
    bare.to_netcdf(tmp_path / "bare.nc")
    ds = on(LATLON)
    expected = apply_weights(ds, weights, "EASE2_M36km")
    np.testing.assert_array_equal(apply_weights(ds, tmp_path / "bare.nc", "EASE2_M36km").clay, expected.clay)
    with pytest.raises(GridMismatchError, match="fit with the rows of the source reversed"):
        apply_weights(ds.isel(latitude=slice(None, None, -1)), tmp_path / "bare.nc", "EASE2_M36km")


def test_the_file_must_stay_as_it_was(tmp_path):
    path = save_weights(tmp_path / "w.nc", LATLON, "EASE2_M36km", corners=False)
    lazy = apply_weights(on(LATLON).chunk(), path, "EASE2_M36km")
    os.utime(path, ns=(1, 1))
    load.cache_clear()
    with pytest.raises(GridMismatchError, match="changed or gone"):
        lazy.compute()


def test_a_place_that_cannot_be_written_to(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(ArgumentError, match=r"cannot write .*No space left on device"):
        save_weights(tmp_path / "w.nc", LATLON, "EASE2_M36km")


def test_faulty_arguments(tmp_path, weights):
    ds = on(LATLON)
    with pytest.raises(ArgumentError, match="min_valid=2"):
        apply_weights(ds, weights, "EASE2_M36km", min_valid=2)
    with pytest.raises(ArgumentError, match="min_valid='half'"):
        apply_weights(ds, weights, "EASE2_M36km", min_valid="half")
    with pytest.raises(ArgumentError, match="no weight file"):
        apply_weights(ds, tmp_path / "none.nc", "EASE2_M36km")
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ArgumentError, match="cannot be read as netCDF"):
        apply_weights(ds, tmp_path / "text.nc", "EASE2_M36km")
    with pytest.raises(ArgumentError, match="is there already"):
        save_weights(weights, LATLON, "EASE2_M36km")
    with pytest.raises(ArgumentError, match=r"none' does not exist; make it first"):
        save_weights(tmp_path / "none" / "w.nc", LATLON, "EASE2_M36km")
    with pytest.raises(ArgumentError, match=r"is a folder; expected the path of a file in it"):
        save_weights(tmp_path, LATLON, "EASE2_M36km", overwrite=True)
    with pytest.raises(UnknownNameError, match="'mean'"):
        save_weights(tmp_path / "w.nc", LATLON, "EASE2_M36km", "meen")
    with pytest.raises(ArgumentError, match="leave normed out"):
        save_weights(tmp_path / "w.nc", LATLON, "EASE2_M36km", "nearest", normed=True)
    with pytest.raises(NoOverlapError):
        save_weights(tmp_path / "w.nc", LATLON, ease_grid("EASE2_M36km", (5, 45, 8, 47)))
    assert not (tmp_path / "w.nc").exists()
