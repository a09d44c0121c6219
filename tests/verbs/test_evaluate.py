"""`evaluate` on xarray: alignment, units, classes, laziness."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from numpy.testing import assert_allclose
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.evaluation.metrics import METRICS
from xsoil.grids.ease import ease_grid
from xsoil.verbs.evaluate import evaluate

NAMES = (*METRICS, "n")
GRID = ease_grid("EASE2_M36km", "conus")[20:26, 50:57]


@pytest.fixture
def simulated() -> xr.Dataset:
    rng = np.random.default_rng(0)
    attrs = {"units": "m3 m-3", "grid_mapping": "spatial_ref"}
    theta = rng.random((200, *GRID.shape), dtype=np.float32)
    theta[:, 2, 3] = np.nan
    return xr.Dataset(
        {
            "theta": (("time", "y", "x"), theta, attrs),
            "texture_class": (
                ("y", "x"),
                rng.integers(0, 4, GRID.shape).astype(np.int8),
                {"_FillValue": np.int8(0), "flag_values": np.arange(1, 5, dtype=np.int8), "flag_meanings": "a b c d"},
            ),
            "clay": (("y", "x"), 50 * rng.random(GRID.shape), {"units": "percent"}),
        },
        coords=dict(xr_coords(GRID)) | {"time": pd.date_range("2015-01-01", periods=200)},
        attrs={"title": "a run"},
    )


@pytest.fixture
def observed(simulated) -> xr.Dataset:
    """150 days within, in percent, with gaps, and the dims in another order."""
    rng = np.random.default_rng(1)
    theta = simulated["theta"].isel(time=slice(30, 180)).transpose("x", "time", "y")
    noisy = (100 * (0.7 * theta + 0.3 * rng.random(theta.shape))).where(rng.random(theta.shape) < 0.8)
    return noisy.assign_attrs(units="%").to_dataset(name="soil_moisture")


def manual(sim, obs):
    """Plain numpy, one series at a time."""
    good = np.isfinite(sim) & np.isfinite(obs)
    s, o = sim[good].astype(float), obs[good].astype(float)
    if s.size == 0:
        return dict.fromkeys(METRICS, np.nan) | {"n": 0}
    d = s - o
    r = np.corrcoef(s, o)[0, 1]
    return {
        "r": r, "rmse": np.sqrt((d**2).mean()), "ubrmse": d.std(), "bias": d.mean(),
        "nse": 1 - (d**2).sum() / ((o - o.mean()) ** 2).sum(),
        "kge": 1 - np.sqrt((r - 1) ** 2 + (s.std() / o.std() - 1) ** 2 + (s.mean() / o.mean() - 1) ** 2), "n": s.size,
    }  # fmt: skip


def test_per_cell(simulated, observed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(simulated, observed)
    assert tuple(found.data_vars) == NAMES
    assert found["r"].dims == ("y", "x")
    assert found["n"].dtype == np.int64
    sim = simulated["theta"].isel(time=slice(30, 180)).values
    obs = observed["soil_moisture"].transpose("time", "y", "x").values / 100
    for y, x in ((0, 0), (5, 6), (2, 3)):
        for name, expected in manual(sim[:, y, x], obs[:, y, x]).items():
            assert_allclose(found[name][y, x], expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_results_are_described(simulated, observed):
    found = evaluate(simulated, observed)
    assert found["rmse"].attrs["units"] == found["bias"].attrs["units"] == found["ubrmse"].attrs["units"] == "m3 m-3"
    assert found["r"].attrs["units"] == found["n"].attrs["units"] == "1"
    assert "soil_moisture" in found["kge"].attrs["long_name"]
    assert found.attrs["title"] == "a run"
    assert found.odc.geobox == GRID
    assert found["r"].attrs["grid_mapping"] == "spatial_ref"
    assert set(found.coords) == {"y", "x", "spatial_ref"}


CHUNKS = [{"time": 7, "y": 2, "x": 3}, {"time": 1}, {"time": -1, "y": 1, "x": 1}, {"time": (3, 100, 97), "x": (6, 1)}]
CASES = [
    {},
    {"dims": ["time", "x"]},
    {"dims": ("time", "y", "x")},
    {"by": "texture_class"},
    {"by": "time.season"},
    {"by": ("clay", [0, 10, 30, 50])},
    {"by": "texture_class", "dims": "y"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lazy_is_eager_for_any_chunks(simulated, observed, case):
    eager = evaluate(simulated, observed, **case)
    for chunks in CHUNKS:
        lazy = evaluate(simulated.chunk(chunks), observed.chunk(time=50, y=5), **case)
        assert all(array.chunks is not None for array in lazy.data_vars.values())
        xr.testing.assert_identical(lazy.compute(), eager)
    xr.testing.assert_identical(evaluate(simulated.chunk(CHUNKS[0]), observed, **case).compute(), eager)
    xr.testing.assert_identical(evaluate(simulated, observed.chunk(time=20), **case).compute(), eager)


@pytest.mark.parametrize("case", [{}, {"dims": ["time", "x"]}, {"by": "texture_class"}], ids=str)
def test_tiles_and_blocks_of_rows(simulated, observed, case, monkeypatch):
    """Small tiles and blocks, as a large raster has them: still the same for any chunks, and right."""
    whole = evaluate(simulated, observed, **case)
    monkeypatch.setattr("xsoil.verbs._reduce.TILE_SAMPLES", 500)
    monkeypatch.setattr("xsoil.verbs._reduce.BLOCK_SAMPLES", 800)
    eager = evaluate(simulated, observed, **case)
    xr.testing.assert_allclose(eager, whole, rtol=1e-5)
    for chunks in CHUNKS:
        xr.testing.assert_identical(evaluate(simulated.chunk(chunks), observed.chunk(y=4), **case).compute(), eager)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_computed_while_building(simulated, observed, case, no_compute):
    evaluate(simulated.chunk(CHUNKS[0]), observed.chunk(time=50), **case)


def test_flipped_axes(simulated, observed):
    found = evaluate(simulated.isel(y=slice(None, None, -1)), observed.isel(y=slice(None, None, -1)))
    xr.testing.assert_identical(found.isel(y=slice(None, None, -1)), evaluate(simulated, observed))


def test_input_is_unchanged(simulated, observed):
    before = simulated.copy(deep=True), observed.copy(deep=True)
    evaluate(simulated, observed, by="texture_class")
    xr.testing.assert_identical(simulated, before[0])
    xr.testing.assert_identical(observed, before[1])


def test_precision_follows_the_input(simulated, observed):
    assert evaluate(simulated, observed)["r"].dtype == np.result_type(simulated["theta"], observed["soil_moisture"])
    assert evaluate(simulated, observed.astype("f4", keep_attrs=True))["r"].dtype == np.float32
    assert evaluate(simulated, observed.astype("f8", keep_attrs=True))["r"].dtype == np.float64


def test_classes_pool_all_their_samples(simulated, observed):
    found = evaluate(simulated, observed, by="texture_class")
    assert found["r"].dims == ("texture_class",)
    assert found["texture_class"].values.tolist() == [1, 2, 3, 4]
    assert found["texture_class_meaning"].values.tolist() == ["a", "b", "c", "d"]
    sim = simulated["theta"].isel(time=slice(30, 180)).values
    obs = observed["soil_moisture"].transpose("time", "y", "x").values / 100
    for k in (1, 2, 3):
        cells = simulated["texture_class"].values == k
        for name, expected in manual(sim[:, cells].ravel(), obs[:, cells].ravel()).items():
            assert_allclose(found[name].sel(texture_class=k), expected, rtol=1e-5, atol=1e-7, err_msg=name)
    assert found["n"].sel(texture_class=4) == 0
    assert np.isnan(found["rmse"].sel(texture_class=4))
    per_cell = evaluate(simulated, observed)["n"].values
    assert found["n"].sum() == per_cell[simulated["texture_class"].values > 0].sum()


def test_bins(simulated, observed):
    found = evaluate(simulated, observed, by=("clay", [0, 10, 30, 50]))
    assert found["clay_bins"].values.tolist() == ["[0, 10)", "[10, 30)", "[30, 50]"]
    assert found["clay_lower"].values.tolist() == [0, 10, 30]
    clay = simulated["clay"].values
    per_cell = evaluate(simulated, observed)["n"].values
    for k, (low, high) in enumerate(((0, 10), (10, 30), (30, 50))):
        assert found["n"][k] == per_cell[(clay >= low) & (clay < high)].sum() > 0
    edges = xr.DataArray([0.0, 10, 30, 50, -1, 51, np.nan], dims="x", name="clay", coords={"x": simulated.x})
    ones = evaluate(simulated, observed, by=(edges, [0, 10, 30, 50]), dims=["time", "y"])["n"]
    per_column = per_cell.sum(axis=0)
    assert ones.values.tolist() == [per_column[0], per_column[1], per_column[2] + per_column[3]]


def test_seasons(simulated, observed):
    found = evaluate(simulated, observed, by="time.season")
    assert found["rmse"].dims == ("season", "y", "x")
    part = simulated["theta"].isel(time=slice(30, 180))
    spring = evaluate(simulated.sel(time=part.time[part.time.dt.season == "MAM"]), observed)
    assert_allclose(found["rmse"].sel(season="MAM"), spring["rmse"], rtol=1e-6)


def test_classes_of_the_reference_or_an_array(simulated, observed):
    expected = evaluate(simulated, observed, by="texture_class")
    moved = observed.assign(texture_class=simulated["texture_class"])
    xr.testing.assert_equal(evaluate(simulated.drop_vars("texture_class"), moved, by="texture_class"), expected)
    xr.testing.assert_equal(evaluate(simulated, observed, by=simulated["texture_class"]), expected)
    names = xr.DataArray(np.where(simulated["clay"] > 25, "heavy", "light"), dims=("y", "x"), name="kind")
    assert evaluate(simulated, observed, by=names)["kind"].values.tolist() == ["heavy", "light"]


def test_lazy_classes(simulated, observed):
    lazy = simulated.chunk(y=2)
    del lazy["texture_class"].attrs["flag_values"]
    with pytest.raises(ArgumentError, match="flag_values"):
        evaluate(lazy, observed, by="texture_class")
    binned = evaluate(lazy, observed, by=("texture_class", [0.5, 1.5, 3.5]))
    assert_allclose(binned["n"], evaluate(simulated, observed, by=("texture_class", [0.5, 1.5, 3.5]))["n"])


def test_pooling_all_cells(simulated, observed):
    found = evaluate(simulated, observed, dims=["time", "y", "x"])
    sim = simulated["theta"].isel(time=slice(30, 180)).values
    obs = observed["soil_moisture"].transpose("time", "y", "x").values / 100
    for name, expected in manual(sim.ravel(), obs.ravel()).items():
        assert found[name].dims == ()
        assert_allclose(found[name], expected, rtol=1e-5, err_msg=name)


def test_a_dim_of_one_side_is_broadcast(simulated, observed):
    layers = simulated.expand_dims(depth=[0.05, 0.2]).copy()
    layers["theta"] = layers["theta"] * xr.DataArray([1.0, 0.5], dims="depth").astype("f4")
    layers["theta"].attrs = simulated["theta"].attrs
    found = evaluate(layers, observed)
    assert found["r"].dims == ("depth", "y", "x")
    xr.testing.assert_equal(found["rmse"].isel(depth=0, drop=True), evaluate(simulated, observed)["rmse"])


def test_declared_nodata_is_no_pair(simulated, observed):
    filled = observed.copy()
    filled["soil_moisture"] = observed["soil_moisture"].fillna(-9999.0).assign_attrs(units="%", _FillValue=-9999.0)
    xr.testing.assert_equal(evaluate(simulated, filled), evaluate(simulated, observed))


class TestNames:
    def test_one_common_name_wins(self, simulated, observed):
        reference = observed.assign(theta=simulated["theta"])
        assert evaluate(simulated[["theta"]], reference).attrs["evaluated"] == "theta against theta"

    def test_array_of_any_name(self, simulated, observed):
        found = evaluate(simulated, observed["soil_moisture"].rename("station_17"))
        xr.testing.assert_equal(found, evaluate(simulated, observed))
        xr.testing.assert_equal(evaluate(simulated["theta"], observed["soil_moisture"].rename(None)), found)

    def test_named_pair(self, simulated, observed):
        found = evaluate(
            simulated.rename(theta="theta_obs"), observed.rename(soil_moisture="sm"), variable=("theta_obs", "sm")
        )
        assert_allclose(found["r"], evaluate(simulated, observed)["r"])

    def test_several_or_none(self, simulated, observed):
        both = observed.assign(theta=simulated["theta"], clay=simulated["clay"])
        with pytest.raises(MissingVariableError, match="variable="):
            evaluate(simulated, both)
        with pytest.raises(MissingVariableError, match="no variable in common"):
            evaluate(simulated[["clay"]], observed)
        with pytest.raises(MissingVariableError, match="no 'sand' in the simulation"):
            evaluate(simulated, observed, variable="sand")
        with pytest.raises(MissingVariableError, match="no 'theta' in the reference"):
            evaluate(simulated, observed, variable="theta")


class TestUnits:
    def test_any_variable_passes_its_units_through(self):
        a = xr.Dataset({"swe": ("time", [1.0, 2.0, 4.0], {"units": "furlong"})})
        found = evaluate(a, a)
        assert found["rmse"].attrs["units"] == "furlong"
        assert found["n"] == 3

    def test_other_spelling(self, simulated, observed):
        spelled = observed / 100
        spelled["soil_moisture"].attrs["units"] = "m**3 m**-3"
        assert_allclose(evaluate(simulated, spelled)["bias"], evaluate(simulated, observed)["bias"], atol=1e-7)

    def test_no_units_on_both_sides(self):
        a = xr.Dataset({"index": ("time", [1.0, 2.0, 4.0])})
        assert "units" not in evaluate(a, a)["rmse"].attrs

    def test_faults(self, simulated, observed):
        with pytest.raises(UnitsError, match=r"no units.*attrs\['units'\]"):
            evaluate(simulated, observed.drop_attrs())
        wrong = observed.copy()
        wrong["soil_moisture"] = observed["soil_moisture"].assign_attrs(units="mm")
        with pytest.raises(UnitsError, match="no conversion"):
            evaluate(simulated, wrong)
        storage = observed.rename(soil_moisture="storage")
        storage["storage"].attrs["units"] = "mm"
        with pytest.raises(UnitsError, match="no conversion"):
            evaluate(simulated, storage, variable=("theta", "storage"))


class TestAlignment:
    def test_unsorted_reference_times(self, simulated, observed):
        shuffled = observed.isel(time=np.random.default_rng(0).permutation(observed.sizes["time"]))
        xr.testing.assert_equal(evaluate(simulated, shuffled), evaluate(simulated, observed))

    def test_no_common_time(self, simulated, observed):
        with pytest.raises(TimeError, match=r"no common 'time'.*2015-01-01.*2015-01-31 12:00"):
            evaluate(simulated, observed.assign_coords(time=observed.time + pd.Timedelta("12h")))

    def test_other_calendar(self, simulated, observed):
        cftime = pytest.importorskip("cftime")
        times = [cftime.DatetimeNoLeap(2015, 2, 1 + i) for i in range(20)]
        with pytest.raises(TimeError, match="no common 'time'"):
            evaluate(simulated, observed.isel(time=slice(0, 20)).assign_coords(time=times))

    def test_duplicates(self, simulated, observed):
        with pytest.raises(TimeError, match="duplicates"):
            evaluate(simulated, xr.concat([observed, observed.isel(time=[0])], "time"))

    def test_no_time(self, simulated, observed):
        with pytest.raises(TimeError, match="no dimension 'time'"):
            evaluate(simulated, observed.isel(time=0, drop=True))
        with pytest.raises(TimeError, match="assign_coords"):
            evaluate(simulated, observed.drop_vars("time"))

    def test_other_grid(self, simulated, observed):
        with pytest.raises(GridMismatchError, match="upscale"):
            evaluate(simulated, observed.assign_coords(x=observed.x + 1000.0))
        with pytest.raises(GridMismatchError, match="cells"):
            evaluate(simulated, observed.isel(x=slice(0, 4)))
        with pytest.raises(GridMismatchError, match="rename"):
            evaluate(simulated, observed.rename(x="lon", y="lat"))
        with pytest.raises(GridMismatchError, match="CRS"):
            evaluate(simulated, observed.drop_vars("spatial_ref").rio.write_crs("EPSG:3035"))

    def test_dims_and_by(self, simulated, observed):
        with pytest.raises(ArgumentError, match="no dimension 'depth'"):
            evaluate(simulated, observed, dims="depth")
        with pytest.raises(ArgumentError, match="empty"):
            evaluate(simulated, observed, dims=[])
        with pytest.raises(MissingVariableError, match="no 'landcover'"):
            evaluate(simulated, observed, by="landcover")
        with pytest.raises(ArgumentError, match="ascending edges"):
            evaluate(simulated, observed, by=("clay", [10, 0]))
        with pytest.raises(GridMismatchError, match="by='clay'"):
            evaluate(simulated, observed, by=simulated["clay"].assign_coords(x=simulated.x + 500.0))
        with pytest.raises(ArgumentError, match="data lack"):
            evaluate(simulated, observed, by=simulated["clay"].expand_dims(depth=2))
        many = simulated["theta"].isel(time=slice(30, 180))
        with pytest.raises(ArgumentError, match="for a measurement give bins"):
            evaluate(simulated, observed, by=many)


def test_real_pixels(data):
    """LSTM predictions against SMAP: the medians that the description of the data reports."""
    with xr.open_dataset(data / "hydrodl_lstm_predictions.nc") as ds:
        lstm, smap = ds["lstm_rmse_ep100"].load(), ds["soil_moisture"].load()
    found = evaluate(lstm.assign_attrs(units="m3 m-3"), smap.assign_attrs(units="m3 m-3"))
    median = found.median("pixel")
    assert found.sizes == {"pixel": 309}
    assert_allclose(median["bias"], 0.0082, atol=6e-5)
    assert_allclose(median["rmse"], 0.0336, atol=6e-5)
    assert_allclose(median["ubrmse"], 0.0283 + 0.0010, atol=6e-4)
    assert_allclose(median["r"], 0.842, atol=6e-4)
    pooled = evaluate(lstm.assign_attrs(units="m3 m-3"), smap.assign_attrs(units="m3 m-3"), dims=["pixel", "time"])
    assert_allclose(pooled["rmse"], 0.0373, atol=6e-5)


def test_flags_and_end_states_of_runs_are_not_compared(simulated):
    """Two results of `simulate` have `status` and `final_theta` in common, beside what is meant."""
    flags = (("y", "x"), np.zeros(GRID.shape, np.int8), {"flag_masks": np.int8([1, 2]), "flag_meanings": "a b"})
    run = simulated[["theta"]].assign(status=flags, final_theta=simulated.theta[-1])
    assert evaluate(run, run).n.max() == 200
    assert evaluate(run, run.rename(theta="soil_moisture")).n.max() == 200
