"""Random soils: their quantiles and correlations, chunks, what is kept, faults."""

from __future__ import annotations

from importlib import import_module

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import xsoil
from xsoil.errors import ArgumentError, AxisError, MissingVariableError

LEVELS = [0.05, 0.5, 0.95]
TEXTURE = ("sand", "silt", "clay")
OTHERS = {"bulk_density": ("g cm-3", 1.0, 1.7), "organic_carbon": ("percent", 0.02, 6.0), "ph": ("1", 4.0, 8.0),
          "cec": ("cmol kg-1", 2.0, 40.0), "coarse_fragments": ("percent", 0.0, 40.0)}  # fmt: skip


def compositions(cells, samples, seed=0):
    """Textures of soils whose log-ratios are normal: (cells, samples, 3) [percent]."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 0.35, (cells, 2, 2))
    ratios = rng.normal(0, 0.7, (cells, 1, 2)) + rng.normal(size=(cells, samples, 2)) @ mix
    parts = np.exp(np.concatenate([ratios, np.zeros((cells, samples, 1))], axis=-1))
    return 100 * parts / parts.sum(axis=-1, keepdims=True)


def quantile_maps(depth=3, y=4, x=5, seed=0):
    """As `open_soilgrids` lays them out."""
    rng = np.random.default_rng(seed)
    shape = (3, depth, y, x)
    textures = compositions(depth * y * x, 400, seed)
    values = dict(zip(TEXTURE, np.quantile(textures, LEVELS, axis=1).transpose(2, 0, 1).reshape(3, *shape)))
    units = dict.fromkeys(TEXTURE, "percent") | {name: row[0] for name, row in OTHERS.items()}
    for name, (_, low, high) in OTHERS.items():
        values[name] = np.sort(rng.uniform(low, high, shape), axis=0)
    coords = {
        "quantile": LEVELS, "y": 250.0 * np.arange(y, 0, -1), "x": 250.0 * np.arange(x),
        "depth": ("depth", [0.025, 0.1, 0.225, 0.45][:depth], {"units": "m", "bounds": "depth_bounds"}),
        "depth_bounds": (("depth", "nv"), np.array([[0, 0.05], [0.05, 0.15], [0.15, 0.3], [0.3, 0.6]])[:depth]),
        "spatial_ref": 0,
    }  # fmt: skip
    ds = xr.Dataset(
        {
            name: (("quantile", "depth", "y", "x"), value.astype(np.float32), {"units": units[name]})
            for name, value in values.items()
        },
        coords,
        {"title": "SoilGrids"},
    )
    for array in ds.data_vars.values():
        array.attrs["grid_mapping"] = "spatial_ref"
    ds["land_cover"] = (("y", "x"), rng.integers(0, 5, (y, x)))
    return ds


def test_single_properties_meet_their_quantiles():
    ds = quantile_maps(depth=1, y=2, x=2)[list(OTHERS)]
    ds["nitrogen"] = (0.3 * ds.ph - 1.5).assign_attrs(units="g kg-1")  # not in the vocabulary: as it is
    found = xsoil.draw_soil(ds, 40_000)
    for name in ds.data_vars:
        width = ds[name].isel(quantile=2) - ds[name].isel(quantile=0)
        off = abs(found[name].quantile(LEVELS, "draw") - ds[name]) / width
        assert off.max() < 0.04, name
    assert found.bulk_density.min() > 0
    assert 0 < found.organic_carbon.min() < found.organic_carbon.max() < 100


def test_texture_keeps_quantiles_and_correlations():
    truth = compositions(6, 40_000)
    quantiles = np.quantile(truth, LEVELS, axis=1)
    ds = xr.Dataset(
        {name: (("quantile", "x"), quantiles[..., i], {"units": "percent"}) for i, name in enumerate(TEXTURE)},
        {"quantile": LEVELS},
    )
    found = xsoil.draw_soil(ds, 40_000)
    assert_allclose(sum(found[name] for name in TEXTURE), 100, rtol=1e-12)
    assert all((found[name] > 0).all() for name in TEXTURE)
    for name in TEXTURE:
        off = abs(found[name].quantile(LEVELS, "draw") - ds[name])
        width = ds[name].isel(quantile=2) - ds[name].isel(quantile=0)
        assert float(off.mean()) < 0.8  # percent
        assert float((off / width).max()) < 0.12
    for cell in range(6):
        drawn = np.corrcoef([found[name][:, cell] for name in TEXTURE])
        assert_allclose(drawn, np.corrcoef(truth[cell].T), atol=0.12)


def test_intervals_that_no_texture_has():
    """One fraction wider than both others together, or none known to vary: still a texture."""
    percent = {"units": "percent"}
    maps = {"sand": [[20, 50], [50, 50], [80, 50]], "silt": [[28, 30], [30, 30], [32, 30]],
            "clay": [[19, 20], [20, 20], [21, 20]]}  # fmt: skip
    ds = xr.Dataset(
        {n: (("quantile", "x"), np.array(v, float), percent) for n, v in maps.items()}, {"quantile": LEVELS}
    )
    found = xsoil.draw_soil(ds, 500)
    assert_allclose(sum(found[name] for name in TEXTURE), 100, rtol=1e-12)
    assert_allclose(np.corrcoef(found.silt[:, 0], found.clay[:, 0])[0, 1], 1, atol=0.01)
    assert float(np.corrcoef(found.sand[:, 0], found.clay[:, 0])[0, 1]) < -0.99
    assert_allclose(found.sand[:, 1], 50, rtol=1e-12)


def test_zero_is_half_a_digit():
    ds = xr.Dataset({"clay": ("quantile", [0.0, 0.0, 20.0], {"units": "percent"})}, {"quantile": LEVELS})
    found = xsoil.draw_soil(ds, 2000).clay
    assert_allclose(found.quantile([0.05, 0.5], "draw"), 0.05, rtol=0.01)
    assert_allclose(found.quantile(0.95, "draw"), 20, rtol=0.1)


@pytest.mark.parametrize(
    ("correlated", "along", "between"),
    [(None, ["depth"], ["y", "x"]), ((), [], ["depth", "y", "x"]), (("depth", "y", "x"), ["depth", "y", "x"], []),
     ("y", ["y"], ["depth", "x"])],
)  # fmt: skip
def test_correlation_along_dims(correlated, along, between):
    ds = quantile_maps(depth=2, y=2, x=2)[["ph", "bulk_density", *TEXTURE]]
    found = xsoil.draw_soil(ds, 3000, correlated=correlated)
    for name in ("ph", "sand"):
        first = found[name].isel(depth=0, y=0, x=0)
        for dim in ("depth", "y", "x"):
            there = {"depth": 0, "y": 0, "x": 0} | {dim: 1}
            # ranks: one place of both distributions
            ranks = [np.argsort(np.argsort(a.values)) for a in (first, found[name].isel(there))]
            r = np.corrcoef(ranks)[0, 1]
            assert r > 0.9 if dim in along else abs(r) < 0.08
    assert abs(np.corrcoef(found.ph[:, 0, 0, 0], found.bulk_density[:, 0, 0, 0])[0, 1]) < 0.08
    assert set(str(found.draw.attrs["correlated"]).split()) == (set(along) or {"none"})


@settings(max_examples=4)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_chunks_do_not_show(depth, y, x, quantile):
    ds = quantile_maps()
    whole = xsoil.draw_soil(ds, 7)
    lazy = xsoil.draw_soil(ds.chunk(depth=depth, y=y, x=x, quantile=quantile), 7)
    xr.testing.assert_identical(whole, lazy.compute())


def test_chunks_of_draws_do_not_show(monkeypatch, no_compute):
    ds = quantile_maps()
    whole = xsoil.draw_soil(ds, 11, seed=5)
    monkeypatch.setattr(import_module("xsoil.verbs.draw_soil"), "BLOCK", 60 * 4 * 3 * 4)
    lazy = xsoil.draw_soil(ds.chunk(), 11, seed=5)
    assert lazy.sand.chunksizes["draw"] == (4, 4, 3)
    assert lazy.ph.chunksizes["draw"] == (11,)
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(whole, lazy.compute())


def test_a_draw_belongs_to_its_place():
    ds = quantile_maps()
    whole = xsoil.draw_soil(ds, 5)
    part = {"y": slice(1, 3), "x": [4, 2], "depth": [1]}
    xr.testing.assert_identical(xsoil.draw_soil(ds.isel(part), 5), whole.isel(part))
    flipped = xsoil.draw_soil(ds.isel(y=slice(None, None, -1)).transpose("x", "quantile", "depth", "y", ...), 5)
    xr.testing.assert_allclose(flipped.isel(y=slice(None, None, -1)).transpose(*whole.sand.dims, ...), whole, rtol=0)
    more = xsoil.draw_soil(ds[["ph", "sand", "silt", "clay"]], 9)
    xr.testing.assert_identical(more.ph.isel(draw=slice(5)), whole.ph)  # neither draws nor other maps change a draw
    xr.testing.assert_identical(more.sand.isel(draw=slice(5)), whole.sand)
    assert not xsoil.draw_soil(ds, 5, seed=1).equals(whole)
    reordered = xsoil.draw_soil(ds.isel(quantile=[2, 0, 1]), 5)
    xr.testing.assert_identical(reordered, whole)


def test_what_is_kept(no_compute):
    ds = quantile_maps()
    ds.sand.attrs["silt_limit"] = 50
    before = ds.copy(deep=True)
    assert xsoil.draw_soil(ds.chunk(y=2)).sand.chunks is not None
    found = ds.soil.draw_soil(4, seed=2)
    xr.testing.assert_identical(ds, before)
    assert list(found.data_vars) == list(ds.data_vars)
    assert found.attrs == {"title": "SoilGrids"}
    assert found.sand.dims == ("draw", "depth", "y", "x")
    assert found.sand.dtype == np.float32
    assert found.sand.attrs.items() >= {"units": "percent", "grid_mapping": "spatial_ref", "silt_limit": 50}.items()
    assert found.draw.attrs == {"long_name": "random draw", "seed": 2, "correlated": "depth"}
    assert "quantile" not in found.coords
    xr.testing.assert_identical(
        found.drop_vars("draw").coords.to_dataset(), ds.drop_vars("quantile").coords.to_dataset()
    )
    xr.testing.assert_identical(found.land_cover, ds.land_cover)


def test_through_ptf():
    ds = quantile_maps(depth=1, y=2, x=2).chunk(y=1)
    drawn = ds.soil.draw_soil(200)
    found = drawn.soil.ptf("wosten1999", quality=True)
    assert found.k_sat.dims == ("draw", "depth", "y", "x")
    assert found.k_sat.chunks is not None
    assert not (found.quality.compute() & 4).any()  # no texture rejected
    # a function that rises with sand alone keeps its quantiles
    k_sat = drawn.soil.ptf("li2024_cb1").k_sat.compute()
    expected = ds[["sand"]].soil.ptf("li2024_cb1").k_sat
    assert_allclose(np.log(k_sat.quantile(LEVELS, "draw")), np.log(expected), atol=0.25)


def test_files_of_soilgrids(tmp_path, no_compute):
    """From the quantiles on disk to parameters with their spread, on the grid of the files."""
    profile = {"driver": "GTiff", "count": 1, "dtype": "int16", "nodata": -32768, "height": 3, "width": 4,
               "crs": "ESRI:54052", "transform": Affine(250, 0, -1e6, 0, -250, 6e6)}  # fmt: skip
    stored = {"sand": (350, 420, 500), "silt": (280, 360, 430), "clay": (160, 220, 290)}  # g/kg
    for name, three in stored.items():
        for layer in ("0-5", "5-15"):
            for level, value in zip(("Q0.05", "Q0.5", "Q0.95"), three, strict=True):
                values = np.full((3, 4), value, np.int16)
                values[0, 0] = -32768
                with rasterio.open(tmp_path / f"{name}_{layer}cm_{level}.tif", "w", **profile) as file:
                    file.write(values, 1)
    maps = xsoil.data.open_soilgrids(tmp_path, statistic=["Q0.05", "Q0.5", "Q0.95"])
    parameters = maps.soil.draw_soil(50, seed=1).soil.ptf("cosby1984")
    assert parameters.k_sat.dims == ("draw", "depth", "y", "x")
    assert parameters.soil.depth_mean(0, 0.15).k_sat.dims == ("draw", "y", "x")
    assert xsoil.grid_of(parameters) == xsoil.grid_of(maps)
    with dask.config.set(scheduler="synchronous"):
        k_sat = parameters.k_sat.compute()
    assert k_sat[..., 0, 0].isnull().all()
    assert k_sat[..., 1:, 1:].notnull().all()
    low, high = k_sat.isel(depth=0).quantile([0.05, 0.95], ["draw", "y", "x"])
    bounds = 60.96 * 10 ** (-0.60 + 0.0126 * np.array([35, 50]) - 0.0064 * np.array([29, 16]))
    assert bounds[0] < low < high < bounds[1]
    assert high / low > 1.3
    # one soil in both layers
    assert_array_equal(k_sat.isel(depth=0), k_sat.isel(depth=1))


def test_faulty_values_are_missing():
    ds = quantile_maps(depth=1, y=1, x=5)
    ds.clay[1, 0, 0, 0] = np.nan
    ds.clay[0, 0, 0, 1] = -1
    ds.ph[0, 0, 0, 2] = 9
    ds.ph[2, 0, 0, 3] = 15
    found = xsoil.draw_soil(ds, 3)
    for name in TEXTURE:
        assert_array_equal(found[name].isnull().all(("draw", "depth", "y")), [True, True, False, False, False])
        assert_array_equal(found[name].isnull().any("draw"), found[name].isnull().all("draw"))
    assert_array_equal(found.ph.isnull().all(("draw", "depth", "y")), [False, False, True, True, False])


def test_faults():
    ds = quantile_maps(depth=1, y=1, x=1)
    with pytest.raises(AxisError, match=r"no dim 'quantile'.*statistic="):
        xsoil.draw_soil(ds.isel(quantile=0))
    with pytest.raises(AxisError, match=r"quantiles are \[0.05, 0.5\]; expected three"):
        xsoil.draw_soil(ds.isel(quantile=[0, 1]))
    with pytest.raises(AxisError, match=r"quantiles are \[5, 50, 95\]"):
        xsoil.draw_soil(ds.assign_coords(quantile=[5, 50, 95]))
    with pytest.raises(AxisError, match="correlated names 'z'"):
        xsoil.draw_soil(ds, correlated="z")
    with pytest.raises(MissingVariableError, match=r"sand and clay, not of 'silt'"):
        xsoil.draw_soil(ds.drop_vars("silt"))
    for draws in (0, 1.5, True):
        with pytest.raises(ArgumentError, match="expected a whole number of at least 1"):
            xsoil.draw_soil(ds, draws)
    with pytest.raises(ArgumentError, match="seed=-1"):
        xsoil.draw_soil(ds, seed=-1)
    with pytest.raises(xsoil.errors.UnitsError, match="no units"):
        xsoil.draw_soil(ds.assign(ph=ds.ph.drop_attrs()))


def test_draws_are_not_drawn_from():
    with pytest.raises(AxisError, match="a dim 'draw' already"):
        xsoil.draw_soil(quantile_maps().expand_dims(draw=2))
