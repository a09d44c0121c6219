"""`downscale(method=model)`: covariates of any grid, masks, conservation, clusters; no chunk shows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError, UnknownNameError

COARSE = xsoil.ease_grid("EASE2_M36km", (5, 45, 7, 46.5))
FINE = xsoil.ease_grid("EASE2_M03km", (5.3, 45.2, 6.9, 46.4))
TILTED = GeoBox((50, 60), Affine(0.03, 0, 5.203, 0, -0.025, 46.397), "EPSG:4326")


def on_grid(grid, name, values, units, time=None):
    lead = () if time is None else ("time",)
    coords = dict(xr_coords(grid)) | ({} if time is None else {"time": time})
    array = xr.DataArray(values, dims=(*lead, *grid.dimensions), coords=coords, name=name)
    return array.assign_attrs({} if units is None else {"units": units}).to_dataset()


TIME = np.array(["2015-01-01", "2015-01-02"], "datetime64[ns]")


@pytest.fixture(scope="module")
def satellite():
    values = np.random.default_rng(0).uniform(0.1, 0.4, (2, *COARSE.shape)).astype(np.float32)
    values[1, 1, 1] = np.nan
    return on_grid(COARSE, "smap", values, "m3 m-3", TIME)


@pytest.fixture(scope="module")
def soil():
    grid = xsoil.ease_grid("EASE2_M01km", (4.9, 44.9, 7.2, 46.7))
    found = xsoil.data.synthetic_soil(grid).drop_vars("topsoil").compute()
    return found[["sand", "clay"]].assign(texture_class=found.soil.texture_class())


@pytest.fixture(scope="module")
def weather():
    return on_grid(xsoil.ease_grid("EASE2_M09km", (4.9, 44.9, 7.2, 46.7)), "lst", 280.0, "K", TIME[:1]).isel(time=0)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    n = 400
    smap, sand, clay, lst = (rng.uniform(a, b, n) for a, b in ((0.1, 0.4), (5, 90), (5, 60), (270, 300)))
    texture = rng.integers(1, 13, n)
    moisture = 0.6 * smap + 0.1 - 0.001 * sand + 0.001 * clay + 0.02 * (texture == 4)
    classes = {"flag_values": np.arange(1, 13)}
    rows = {
        "smap": (smap, {"units": "m3 m-3"}), "sand": (sand, {"units": "percent"}), "clay": (clay, {"units": "percent"}),
        "lst": (lst, {"units": "K"}), "texture_class": (texture, classes), "soil_moisture": (moisture, {"units": "1"}),
    }  # fmt: skip
    samples = xr.Dataset({name: ("sample", values, attrs) for name, (values, attrs) in rows.items()})
    names = ["smap", "sand", "clay", "lst", "texture_class"]
    return xsoil.fit_moisture_model(
        samples, kind="dense", predictors=names, weights=[None, "texture_class"], options={"epochs": 15}, progress=False
    )


def predictors(satellite, soil, weather, grid):
    """All predictors on the grid, brought there one by one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [
            xsoil.downscale(satellite, grid, "nearest"),
            xsoil.upscale(soil, grid, {"sand": "mean", "clay": "mean", "texture_class": "mode"}),
            xsoil.downscale(weather.drop_vars("time"), grid, "nearest"),
        ]
    return parts[0].assign({str(n): v.variable for part in parts[1:] for n, v in part.data_vars.items()})


@pytest.mark.parametrize("grid", [FINE, TILTED], ids=["nested", "tilted"])
def test_covariates_are_brought_to_the_grid(satellite, soil, weather, model, grid):
    weather = weather.drop_vars("time")
    found = xsoil.downscale(satellite, grid, model, covariates=[soil, weather], members=True)
    expected = model.predict(predictors(satellite, soil, weather.assign_coords(time=TIME[0]), grid), members=True)
    assert found.soil_moisture.dims == ("time", *grid.dimensions)
    assert xsoil.grid_of(found) == grid
    for name in ("soil_moisture", "soil_moisture_std", "soil_moisture_members"):
        np.testing.assert_array_equal(found[name].values, expected[name].values)
        assert found[name].attrs["units"] == "m3 m-3"
        assert found[name].encoding["grid_mapping"] == "spatial_ref"
    assert found.soil_moisture.std() > 0.01


@pytest.mark.parametrize("grid", [FINE, TILTED], ids=["nested", "tilted"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_of_coarse_cells_is_conserved(satellite, soil, weather, model, grid, masked):
    mask = on_grid(grid, "water", np.random.default_rng(2).random(grid.shape) < 0.3, None) if masked else None
    arguments = {"covariates": [soil, weather.drop_vars("time")], "mask": mask, "members": True}
    free = xsoil.downscale(satellite, grid, model, **arguments)
    found = xsoil.downscale(satellite, grid, model, conserve=True, **arguments)
    back = xsoil.upscale(found, COARSE, "mean", min_valid=0.0, valid_fraction=True)
    there = (back.soil_moisture_valid_fraction > 0.1) & satellite.smap.notnull()
    for name in ("soil_moisture", "soil_moisture_members"):
        gap = abs(back[name] - satellite.smap).where(there)
        assert there.sum() > 20
        assert float(gap.max()) < 3e-7
        assert float(abs(xsoil.upscale(free, COARSE, min_valid=0.0)[name] - satellite.smap).where(there).max()) > 0.02
        np.testing.assert_array_equal(found[name].isnull(), free[name].isnull())
    missing = xsoil.downscale(satellite, grid, "nearest").smap.isnull() & (grid is FINE)
    assert bool((found.soil_moisture == free.soil_moisture).where(missing & free.soil_moisture.notnull(), True).all())
    assert found.soil_moisture.attrs["conserves"] == "smap"
    if masked:
        np.testing.assert_array_equal(free.soil_moisture.isnull().all("time"), mask.water.values)


def test_masks_of_other_grids(satellite, soil, weather, model):
    one = on_grid(xsoil.ease_grid("EASE2_M01km", (4.9, 44.9, 7.2, 46.7)), "water", False, None)
    one["water"] = one.water.copy(data=np.random.default_rng(0).random(one.water.shape) < 0.5)
    two = on_grid(COARSE, "urban", np.arange(np.prod(COARSE.shape)).reshape(COARSE.shape) % 5 == 0, None)
    covariates = [soil, weather.drop_vars("time")]
    both = [
        xsoil.downscale(satellite, FINE, model, covariates=covariates, mask=mask).soil_moisture.isnull().any("time")
        for mask in (one, two)
    ]
    share = xsoil.upscale(one.assign(water=one.water.astype(np.float32)), FINE, "mean").water >= 0.5
    np.testing.assert_array_equal(both[0].values, share.values)
    urban = xsoil.downscale(two.assign(urban=two.urban.astype(np.float32)), FINE, "nearest").urban
    np.testing.assert_array_equal(both[1].values, urban.values == 1)


def test_a_mask_of_shares_in_any_units(satellite, soil, weather, model):
    arguments = {"covariates": [soil, weather.drop_vars("time")]}
    share = np.random.default_rng(3).random(FINE.shape) * 0.6
    one, other = on_grid(FINE, "water", share, "1"), on_grid(FINE, "water", 100 * share, "%")
    found = [xsoil.downscale(satellite, FINE, model, mask=mask, **arguments).soil_moisture for mask in (one, other)]
    np.testing.assert_array_equal(found[0].isnull().all("time"), share >= 0.5)
    xr.testing.assert_equal(*found)


def test_masks_and_conserved_fields_have_the_days_of_the_map(satellite, soil, weather, model):
    arguments = {"covariates": [soil, weather.drop_vars("time")]}
    later = TIME + np.timedelta64(1, "D")
    ice = on_grid(FINE, "ice", np.random.default_rng(3).random((2, *FINE.shape)) < 0.2, None, TIME)
    found = xsoil.downscale(satellite, FINE, model, mask=ice, **arguments).soil_moisture
    assert bool(found.isnull().where(ice.ice).fillna(1).all())
    for mask in (ice.assign_coords(time=later), ice.isel(time=[1])):
        with pytest.raises(TimeError, match="the mask has"):
            xsoil.downscale(satellite, FINE, model, mask=mask, **arguments)
    reference = satellite.rename(smap="reference").assign_coords(time=later)
    for field, smap in (
        (reference, satellite),
        (satellite.rename(smap="reference"), satellite.isel(time=0, drop=True)),
    ):
        covariates = [*arguments["covariates"], smap]
        with pytest.raises(TimeError, match="'reference', which shall be conserved, has 2 times"):
            xsoil.downscale(field, FINE, model, covariates=covariates, conserve="reference")


@pytest.mark.parametrize("grid", [FINE, TILTED], ids=["nested", "tilted"])
def test_lazy_in_any_chunks(satellite, soil, weather, model, grid, no_compute):
    import dask

    mask = on_grid(grid, "water", np.random.default_rng(2).random(grid.shape) < 0.1, None)
    covariates = [soil, weather.drop_vars("time")]
    whole = xsoil.downscale(satellite, grid, model, covariates=covariates, conserve=True, mask=mask)
    for blocks, chunks in ((31, 17), (200, 64)):
        lazy = xsoil.downscale(
            satellite.chunk({"time": 1, "x": 3, "y": 2}), grid, model,
            covariates=[soil.chunk({"x": blocks, "y": blocks}), covariates[1].chunk()], conserve=True,
            mask=mask.chunk(), chunks=chunks,
        )  # fmt: skip
        assert lazy.soil_moisture.chunks is not None
        with dask.config.set(scheduler="threads"):
            xr.testing.assert_identical(lazy.compute(), whole)


def test_on_the_grid_of_an_object(satellite, soil, weather, model):
    like = soil.rename(y="northing", x="easting").isel(northing=slice(None, None, -1))
    found = xsoil.downscale(satellite, like, model, covariates=[soil, weather.drop_vars("time")])
    assert found.soil_moisture.dims == ("time", "northing", "easting")
    plain = xsoil.downscale(satellite, soil, model, covariates=[soil, weather.drop_vars("time")])
    np.testing.assert_array_equal(found.soil_moisture.values[:, ::-1], plain.soil_moisture.values)
    assert satellite.soil.downscale(soil, model, covariates=[soil, weather.drop_vars("time")]).identical(plain)


def test_faults(satellite, soil, weather, model):
    weather = weather.drop_vars("time")
    with pytest.raises(MissingVariableError, match=r"no \['lst'\]"):
        xsoil.downscale(satellite, FINE, model, covariates=soil)
    with pytest.raises(ArgumentError, match="in several"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, weather, soil[["sand"]]])
    wrong = weather.assign(lst=weather.lst.assign_attrs(units="degC"))
    with pytest.raises(UnitsError, match="'lst' is in 'degC'"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, wrong])
    days = weather.expand_dims(time=TIME[:1]).copy()
    with pytest.raises(TimeError, match="different times"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, days])
    bare = satellite.assign(smap=satellite.smap.assign_attrs(units="percent"))
    with pytest.raises(UnitsError, match="'smap' is in 'percent'"):
        xsoil.downscale(bare, FINE, model, covariates=[soil, weather])
    with pytest.raises(ArgumentError, match="name it"):
        xsoil.downscale(bare, FINE, model, covariates=[soil, weather], conserve=True)
    with pytest.raises(MissingVariableError, match="to conserve"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, weather], conserve="smop")
    with pytest.raises(UnknownNameError, match="sampling"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, weather], sampling="linear")
    with pytest.raises(ArgumentError, match="go with method=model"):
        xsoil.downscale(satellite, FINE, "bilinear", covariates=soil)
    with pytest.raises(ArgumentError, match="min_valid"):
        xsoil.downscale(satellite, FINE, model, covariates=[soil, weather], min_valid=0.5)
