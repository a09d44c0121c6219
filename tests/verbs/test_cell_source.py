"""Nested grids, patches, staging: what networks are fed with is what lies in the maps."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from worlds import coarse_grid, fine_grid, on_grid, texture, weather

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, NoOverlapError, UnitsError
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import locate
from xsoil.verbs._cell_source import Inputs, XarraySource, observations_per_cell
from xsoil.verbs._infer import cells_like
from xsoil.verbs._lazy import map_windows
from xsoil.verbs._nesting import nest
from xsoil.verbs._observed import observed_of
from xsoil.verbs._predictors import predictors_of, series_of_history

DIMS = ("y", "x")
BACK = slice(None, None, -1)


def cells(rows=5, columns=4):
    coarse = coarse_grid(rows, columns)
    return coarse, cells_like(on_grid(coarse, {"k_sat": np.zeros((rows, columns))}), DIMS)


def expected_patches(fine, coarse, ring):
    """Patches by the coordinates of the fine cells: all within the cell and its ring, north-up."""
    size = 1000.89502334956
    found = []
    for i in range(coarse.shape.y):
        for j in range(coarse.shape.x):
            left, top = coarse.affine.c + j * coarse.affine.a, coarse.affine.f + i * coarse.affine.e
            x = left + (np.arange(-ring, 9 + ring) + 0.5) * size
            y = top - (np.arange(-ring, 9 + ring) + 0.5) * size
            part = fine.reindex(y=y, x=x, method="nearest", tolerance=1.0)
            found.append(np.stack([part.sand.values, part.clay.values]))
    return np.stack(found)


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("flip", [{}, {"y": BACK}, {"y": BACK, "x": BACK}], ids=["as it is", "upside down", "turned"])
@pytest.mark.parametrize("lazy", [False, True])
def test_patches_are_the_cells_around(ring, flip, lazy):
    coarse, like = cells()
    fine = texture(fine_grid(coarse))  # two fine cells around: a ring of three meets the end of the map
    given = fine.isel(flip)
    given = given.chunk(y=11, x=17) if lazy else given
    found = predictors_of(given, like, DIMS, ring=ring)
    at = np.unravel_index(np.array([0, 7, 3, 19, 8]), (5, 4))
    np.testing.assert_array_equal(found.read(at), expected_patches(fine, coarse, ring)[[0, 7, 3, 19, 8]])
    assert found.units == {"sand": "percent", "clay": "percent"}
    assert found.patch == 9 + 2 * ring


def test_patches_of_a_flipped_grid_of_cells():
    coarse, like = cells()
    fine = texture(fine_grid(coarse))
    upside_down = like.isel(y=slice(None, None, -1))
    found = predictors_of(fine, upside_down, DIMS, ring=1).read(np.unravel_index(np.arange(20), (5, 4)))
    expected = expected_patches(fine, coarse, 1).reshape(5, 4, 2, 11, 11)[::-1].reshape(20, 2, 11, 11)
    np.testing.assert_array_equal(found, expected)


def test_coordinates_in_single_precision():
    coarse, like = cells()
    fine = texture(fine_grid(coarse))
    single = fine.assign_coords(x=fine.x.astype("f4"), y=fine.y.astype("f4"))
    rough = like.assign_coords(x=like.x.astype("f4"), y=like.y.astype("f4"))
    at = np.unravel_index(np.arange(20), (5, 4))
    expected = expected_patches(fine, coarse, 1)
    np.testing.assert_array_equal(predictors_of(single, rough, DIMS, ring=1).read(at), expected)


def test_geographic_grids_nest():
    """0.09 degree cells of 0.01 degree maps."""
    lat, lon = 50 - 0.01 * (np.arange(27) + 0.5), 8 + 0.01 * (np.arange(36) + 0.5)
    values = np.arange(27.0 * 36).reshape(27, 36)
    fine = xr.Dataset({"sand": (("lat", "lon"), values, {"units": "percent"})}, {"lat": lat, "lon": lon})
    coarse = xr.Dataset(
        {"a": (("lat", "lon"), np.zeros((3, 4)))},
        {"lat": 50 - 0.09 * (np.arange(3) + 0.5), "lon": 8 + 0.09 * (np.arange(4) + 0.5)},
    )
    dims = ("lat", "lon")
    found = predictors_of(fine, cells_like(coarse, dims), dims, ring=0).read((np.array([1, 2]), np.array([3, 0])))
    np.testing.assert_array_equal(found[0, 0], values[9:18, 27:36])
    np.testing.assert_array_equal(found[1, 0], values[18:27, 0:9])


def test_a_ring_goes_around_the_earth():
    coarse = ease_grid("EASE2_M36km")
    fine = ease_grid("EASE2_M09km")
    nesting = nest(fine[:8], coarse[:2], 2)
    values = np.broadcast_to(np.arange(fine.shape.x, dtype="f4"), (1, 8, fine.shape.x))
    pieces, before, after = nesting.columns.pieces(*nesting.columns.window(np.array([0]), 2))
    assert (before, after) == (0, 0)
    window = np.concatenate([values[:, :, piece] for piece in pieces], axis=2)
    assert window[0, 0].tolist() == [3854, 3855, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("fine", "coarse", "factor"),
    [("EASE2_M01km", "EASE2_M09km", 9), ("EASE2_M01km", "EASE2_M36km", 36), ("EASE2_M09km", "EASE2_M36km", 4)],
)
def test_ease_grids_nest(fine, coarse, factor):
    found = nest(ease_grid(fine, (-100, 35, -98, 37)), ease_grid(coarse, (-101, 34, -97, 38)), 0)
    assert found.rows.factor == found.columns.factor == factor


def test_three_by_three_cells_of_36_km():
    whole = ease_grid("EASE2_M36km")
    a = whole.affine
    about_100_km = GeoBox((135, 321), Affine(3 * a.a, 0, a.c, 0, 3 * a.e, a.f), whole.crs)
    assert nest(ease_grid("EASE2_M01km"), about_100_km, 0).rows.factor == 108


def test_grids_that_do_not_nest():
    coarse, like = cells()
    fine = texture(fine_grid(coarse))
    step = 2500.0 * (np.arange(12) + 0.5)
    wide = fine[{"x": slice(12), "y": slice(12)}].assign_coords(x=coarse.affine.c + step, y=coarse.affine.f - step)
    with pytest.raises(GridMismatchError, match=r"do not nest .*3\.60322 predictor cells"):
        predictors_of(wide, like, DIMS, ring=0)
    with pytest.raises(GridMismatchError, match=r"first edge at .*ds\.soil\.upscale"):
        predictors_of(fine.assign_coords(x=fine.x + 400), like, DIMS, ring=0)
    with pytest.raises(NoOverlapError, match="no cell in common"):
        predictors_of(fine.assign_coords(x=fine.x + 20 * coarse.affine.a), like, DIMS, ring=0)


def test_faults_of_predictors():
    coarse, like = cells()
    fine = texture(fine_grid(coarse))
    with pytest.raises(UnitsError, match="'sand' has no units"):
        predictors_of(fine.drop_attrs().assign_coords(fine.coords), like, DIMS, ring=0)
    with pytest.raises(ArgumentError, match="varies with time"):
        predictors_of(fine.expand_dims(time=2), like, DIMS, ring=0)
    with pytest.raises(ArgumentError, match="one layer"):
        predictors_of(fine.expand_dims(depth=2), like, DIMS, ring=0)
    with pytest.raises(MissingVariableError, match="trained with the predictors"):
        predictors_of(fine[["sand"]], like, DIMS, ring=0, expected={"sand": "percent", "clay": "percent"})
    region = xr.DataArray(np.ones((2, 2)), {"lat": [1.0, 2.0], "lon": [1.0, 2.0]}, ("lat", "lon"))
    with pytest.raises(ArgumentError, match=r"'region' is on \['lat', 'lon'\]; expected maps on one grid"):
        predictors_of(fine.assign(region=region), like, DIMS, ring=0)
    with pytest.raises(ArgumentError, match="'cover' holds classes"):
        predictors_of(fine.assign(cover=fine.sand.assign_attrs(flag_values=[1, 2])), like, DIMS, ring=0)
    slope = fine.assign(slope=fine.sand.assign_attrs(units="degree"))
    with pytest.raises(UnitsError, match="'slope' is in 'degree'; the network was trained with 'rad'"):
        predictors_of(slope, like, DIMS, ring=0, expected={"slope": "rad"})
    sites = xr.Dataset({"sand": ("site", [1.0], {"units": "%"})})
    with pytest.raises(GridMismatchError, match=r"predictors are on \['site'\]"):
        predictors_of(sites, like, DIMS, ring=0)
    with pytest.raises(ArgumentError, match="ring=2 needs predictors on a grid"):
        predictors_of(sites, cells_like(sites, ("site",)), ("site",), ring=2)
    assert predictors_of(xr.Dataset(), like, DIMS, ring=0) is None
    with pytest.raises(ArgumentError, match="no dimension 'time'"):
        series_of_history(xr.Dataset({"lai": (DIMS, np.ones((5, 4)), {"units": "1"})}), like, DIMS)


def inputs(chunks=None, order=("time", "y", "x")):
    coarse, like = cells()
    forcing = weather(like.cells, 40).transpose(*order)
    rng = np.random.default_rng(5)
    values = rng.uniform(0.1, 0.4, (13, 5, 4)).astype("f4")
    values[rng.random(values.shape) < 0.3] = np.nan
    dims = {"time": forcing.time[1::3], "y": like.y, "x": like.x}
    seen = xr.DataArray(values, dims, ("time", "y", "x"), "soil_moisture", {"units": "m3 m-3"}).transpose(*order)
    fine = texture(fine_grid(coarse))
    if chunks:
        forcing, seen, fine = forcing.chunk(chunks), seen.chunk(time=4, x=3), fine.chunk(y=10, x=10)
    observed = observed_of(seen, forcing, DIMS, weights=None, mask=None, warmup=0, operator=True)
    static = predictors_of(fine, like, DIMS, ring=1)
    known = {"theta_s": xr.DataArray(0.5), "root_depth": xr.DataArray(np.arange(4.0) + 1, dims="x")}
    whole = Inputs(observed, forcing.drop_vars(list(forcing.coords)), known, static)
    forcing, seen = (array.transpose("time", *DIMS).compute() for array in (forcing, seen))
    return whole, forcing, seen, fine.compute(), coarse


@settings(max_examples=8)
@given(
    budget=st.sampled_from([1.0, 1e9]),
    chunks=st.sampled_from([None, {"time": 7, "y": 2, "x": 3}, {"time": -1, "y": 5}]),
    order=st.permutations(["time", "y", "x"]),
    seed=st.integers(0, 99),
)
def test_samples_hold_what_the_maps_hold(tmp_path_factory, budget, chunks, order, seed):
    whole, forcing, seen, fine, coarse = inputs(chunks, order)
    rng = np.random.default_rng(seed)
    wanted = rng.random((5, 4)) < 0.8
    wanted[2, 1] = wanted[0, 3] = True
    source = XarraySource(whole, wanted, 39, budget, tmp_path_factory.mktemp("scratch"))
    assert source.resident == (budget > 1)
    np.testing.assert_array_equal(source.cells, np.flatnonzero(wanted))
    picked = rng.permutation(source.cells)[:6]
    fed = source.in_memory()
    patches = expected_patches(fine, coarse, 1)
    for reader in (source, fed):
        sample = reader.read(picked)
        np.testing.assert_array_equal(sample.cells, picked)
        np.testing.assert_array_equal(sample.static, patches[picked])
        for name in ("precipitation", "pet"):
            np.testing.assert_array_equal(sample.forcing[name], forcing[name].values.reshape(40, -1)[:39, picked])
        dense = sample.observed["theta_obs"]
        np.testing.assert_array_equal(dense[1::3], seen.values.reshape(13, -1)[:, picked])
        assert np.isnan(np.delete(dense, np.s_[1::3], axis=0)).all()
        np.testing.assert_array_equal(sample.known["root_depth"], picked % 4 + 1)
        assert (sample.known["theta_s"] == 0.5).all()
    counts = observations_per_cell(whole.observed)
    np.testing.assert_array_equal(counts, np.isfinite(seen.values).sum(axis=0))


def test_reading_is_lazy(no_compute):
    """Inputs are put together without reading."""
    inputs_of_maps = cells()[1]
    fine = texture(fine_grid(coarse_grid(5, 4))).chunk(y=10)
    assert predictors_of(fine, inputs_of_maps, DIMS, ring=0).patch == 9
    assert locate(fine).geobox.shape == (49, 40)


def test_windows_of_dask_are_the_patches_around_the_earth():
    coarse, fine = ease_grid("EASE2_M36km")[100:103], ease_grid("EASE2_M09km")[399:411]
    values = np.arange(12.0 * fine.shape.x, dtype="f4").reshape(12, -1)
    maps = on_grid(fine, {"sand": values})
    like = cells_like(on_grid(coarse, {"k_sat": np.zeros(tuple(coarse.shape))}), DIMS)
    eager = predictors_of(maps, like, DIMS, ring=2)
    stacked = maps.chunk(y=5, x=700).to_dataarray("channel").data.astype("f4")
    found = map_windows(stacked, eager.nesting, tuple(coarse.shape)).compute()
    at = np.unravel_index(np.arange(3 * 964), (3, 964))
    np.testing.assert_array_equal(found.reshape(-1, 1, 8, 8), eager.read(at))
    assert found[1, 0, 0, 4, :3].tolist() == [*values[7, -2:], values[7, 0]]  # the seam
    assert np.isnan(found[0, 0, 0, 0]).all()  # beyond the map
