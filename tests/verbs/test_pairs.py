"""Metrics of every map against every other: values, missing cells, laziness."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xsoil.verbs import _pairs
from xsoil.verbs._pairs import pair_metrics


@pytest.fixture(scope="module")
def maps() -> xr.DataArray:
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 1, (6, 60, 90)).astype(np.float32)
    values[1] *= 0.5
    values[1, :9], values[3, :, :30], values[3, 5, 40] = np.nan, np.nan, np.inf
    values[4] = values[0]  # the same map
    values[5] = 7.0  # a constant one
    return xr.DataArray(values, dims=("combination", "y", "x"), attrs={"units": "cm d-1"})


def metrics(maps: xr.DataArray) -> dict[str, np.ndarray]:
    return {name: v.to_numpy() for name, v in pair_metrics(maps, "combination", ("y", "x")).items()}


def test_every_pair_over_its_own_valid_cells(maps):
    found = metrics(maps)
    for i in range(6):
        for j in range(6):
            a, b = (maps.values[k].astype(float) for k in (i, j))
            both = np.isfinite(a) & np.isfinite(b)
            a, b = a[both], b[both]
            rmse = np.sqrt(((a - b) ** 2).mean())
            assert found["n"][i, j] == both.sum()
            np.testing.assert_allclose(found["rmse"][i, j], rmse, rtol=1e-12)
            if 5 in (i, j):
                assert np.isnan(found["r"][i, j])
            else:
                np.testing.assert_allclose(found["r"][i, j], np.corrcoef(a, b)[0, 1], rtol=1e-10, atol=1e-12)
            if j == 5:
                assert np.isnan(found["nrmse"][i, j])
            else:  # the second map is the reference
                np.testing.assert_allclose(found["nrmse"][i, j], rmse / (b.max() - b.min()), rtol=1e-12)


def test_equal_maps_do_not_differ(maps):
    found = metrics(maps)
    assert found["rmse"][0, 4] == 0.0
    assert found["rmse"][4, 0] == 0.0
    assert found["r"][0, 4] == pytest.approx(1.0, abs=1e-15)
    assert found["nrmse"][0, 1] != found["nrmse"][1, 0]


def test_small_differences_of_large_values_are_kept():
    base = np.linspace(1e6, 1e6 + 1, 4000).reshape(1, 40, 100)
    maps = xr.DataArray(np.concatenate([base, base + 1e-6]), dims=("combination", "y", "x"))
    found = metrics(maps)
    assert found["rmse"][0, 1] == pytest.approx(1e-6, rel=1e-3)
    assert found["r"][0, 1] == pytest.approx(1.0, abs=1e-9)


def test_chunks_do_not_show(maps, monkeypatch, no_compute):
    monkeypatch.setattr(_pairs, "TILE_CELLS", 1000)
    eager = metrics(maps)
    asked = ({"combination": 1, "y": 7, "x": 90}, {"combination": 4, "y": 60, "x": 11})
    lazy = [pair_metrics(maps.chunk(chunks), "combination", ("y", "x")) for chunks in asked]
    assert all(v.chunks is not None for found in lazy for v in found.values())
    with dask.config.set(scheduler="threads"):
        for found in lazy:
            for name, variable in found.items():
                np.testing.assert_array_equal(variable.compute().values, eager[name])
    monkeypatch.setattr(_pairs, "TILE_CELLS", 2**17)
    for name, value in metrics(maps).items():  # another tile: the same but for rounding
        np.testing.assert_allclose(value, eager[name], rtol=1e-10, atol=1e-12)


def test_other_dimensions_stay(maps):
    both = xr.concat([maps, 2 * maps], "depth").transpose("combination", "depth", "y", "x")
    found = pair_metrics(both, "combination", ("y", "x"))
    lazy = pair_metrics(both.chunk({"depth": 1, "y": 20}), "combination", ("y", "x"))
    assert found["rmse"].dims == ("depth", "combination", "combination_2")
    np.testing.assert_array_equal(lazy["rmse"].values, found["rmse"].values)
    np.testing.assert_allclose(found["rmse"][1], 2 * metrics(maps)["rmse"], rtol=1e-12)


def test_maps_without_a_common_cell():
    values = np.full((2, 2, 2), np.nan)
    values[0, 0], values[1, 1] = 1.0, 2.0
    found = metrics(xr.DataArray(values, dims=("combination", "y", "x")))
    assert found["n"].tolist() == [[2, 0], [0, 2]]
    assert np.isnan(found["rmse"][0, 1])
    assert np.isnan(found["nrmse"][0, 1])
    assert np.isnan(found["r"][0, 1])
