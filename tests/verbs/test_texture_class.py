"""`texture_class` on datasets; the triangle itself is tested in tests/ptfs/test_usda.py."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

from xsoil.data.objects import nodata_of
from xsoil.errors import MissingVariableError, UnitsError
from xsoil.grids.ease import ease_grid
from xsoil.outputs.zarr import to_zarr
from xsoil.ptfs.usda import usda_class
from xsoil.verbs.evaluate import evaluate
from xsoil.verbs.texture_class import texture_class
from xsoil.verbs.upscale import upscale

PERCENT = {"units": "percent"}


@pytest.fixture
def soil():
    """A small raster with a CRS; the last column is missing."""
    rng = np.random.default_rng(0)
    texture = rng.dirichlet([1, 1, 1], (7, 9)).transpose(2, 0, 1).astype(np.float32) * 100
    texture[0, :, 8] = np.nan
    attrs = PERCENT | {"grid_mapping": "crs"}
    ds = xr.Dataset(
        {name: (("y", "x"), a, attrs) for name, a in zip(("sand", "silt", "clay"), texture)},
        coords={"y": np.arange(7.0)[::-1], "x": np.arange(9.0)},
    )
    ds["crs"] = xr.DataArray(0, attrs={"grid_mapping_name": "lambert_azimuthal_equal_area"})
    return ds


def test_classes_and_what_describes_them(soil):
    before = soil.copy(deep=True)
    found = texture_class(soil)
    xr.testing.assert_identical(soil, before)
    np.testing.assert_array_equal(found, usda_class(soil.sand, soil.silt, soil.clay))
    assert found.name == "texture_class"
    assert found.dtype == np.int8
    assert (found.isel(x=8) == 0).all()
    assert (found.isel(x=slice(8)) > 0).all()
    assert dict(zip(found.flag_meanings.split(), found.flag_values))["silty_clay_loam"] == 9
    assert len(found.flag_values) == 12
    assert found.attrs["grid_mapping"] == "crs"
    assert found.attrs["long_name"] == "USDA texture class"
    assert "crs" in found.coords


@pytest.mark.parametrize("missing", ["sand", "silt", "clay"])
def test_the_third_fraction_is_what_is_left(soil, missing):
    xr.testing.assert_equal(
        texture_class(soil.drop_vars(missing)).isel(x=slice(8)), texture_class(soil).isel(x=slice(8))
    )


def test_units_are_read(soil):
    per_mille = (soil[["sand", "silt", "clay"]] * 10).round(3)
    expected = usda_class(*(per_mille[name] / 10 for name in ("sand", "silt", "clay")))
    for array in per_mille.values():
        array.attrs["units"] = "g/kg"
    np.testing.assert_array_equal(texture_class(per_mille), expected)


@pytest.mark.parametrize("chunks", [{"y": 3, "x": 4}, {"y": 1, "x": 9}, {"y": 7, "x": 9}])
def test_lazy_is_eager(soil, chunks, no_compute):
    lazy = texture_class(soil.chunk(chunks))
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), texture_class(soil))


def test_value_faults_have_no_class():
    sand = np.array([40, np.nan, -5, 70, 40, 40, 60])
    clay = np.array([20, 20, 20, 40, 20, 61, 41])
    silt = np.array([40, 40, 85, 20, 38.5, 0, 0])
    texture = {"sand": ("site", sand, PERCENT), "silt": ("site", silt, PERCENT), "clay": ("site", clay, PERCENT)}
    assert texture_class(xr.Dataset(texture)).values.tolist() == [4, 0, 0, 0, 0, 12, 10]
    del texture["silt"]
    assert texture_class(xr.Dataset(texture)).values.tolist() == [4, 0, 0, 0, 4, 12, 10]


def test_classes_stay_classes_in_files_and_zero_stays_missing(tmp_path):
    """int8 from Zarr and netCDF, also after `upscale`; no verb takes 0 for a class."""
    fine, coarse = ease_grid("EASE2_M09km", (5, 45, 9, 49)), ease_grid("EASE2_M36km", (5, 45, 9, 49))
    sand = np.full(fine.shape, 40.0, np.float32)
    sand[:, ::3] = np.nan
    texture = {"sand": (("y", "x"), sand, PERCENT), "clay": (("y", "x"), sand / 2, PERCENT)}
    classes = texture_class(xr.Dataset(texture, coords=xr_coords(fine)))
    for name, found in (
        ("fine", classes),
        ("coarse", upscale(classes, coarse, how="mode", min_valid=0.1).texture_class),
    ):
        to_zarr(found, tmp_path / f"{name}.zarr", progress=False)
        back = xr.open_zarr(tmp_path / f"{name}.zarr").texture_class
        assert back.dtype == np.int8
        assert back.rio.nodata == 0
        np.testing.assert_array_equal(back, found)
        counted = upscale(back, coarse, how="mode", min_valid=0.1).texture_class
        assert (counted.values == 4).any()
        assert not ((counted.values != 4) & (counted.values != 0)).any()
    classes.to_dataset().to_netcdf(tmp_path / "fine.nc")
    with xr.open_dataset(tmp_path / "fine.nc") as back:
        assert back.texture_class.dtype == np.int8
        assert nodata_of(back.texture_class) == 0
        groups = evaluate(
            classes.astype("f4").rename("theta"),
            classes.astype("f4").rename("soil_moisture"),
            by=back.texture_class,
            dims=("y", "x"),
        )
    assert groups.n.sum() == np.isfinite(sand).sum()


def test_metadata_faults_raise(soil):
    with pytest.raises(MissingVariableError, match=r"two of 'sand', 'silt', 'clay', found \['clay'\]"):
        texture_class(soil[["clay"]])
    del soil.clay.attrs["units"]
    with pytest.raises(UnitsError, match="attrs\\['units'\\] = 'percent'"):
        texture_class(soil)


def test_depths_and_single_soils(soil):
    deep = soil.expand_dims(depth=[0.1, 0.5])
    assert texture_class(deep).dims == ("depth", "y", "x")
    one = xr.Dataset({"sand": ((), 40.0, PERCENT), "clay": ((), 20.0, PERCENT)})
    assert texture_class(one).item() == 4
