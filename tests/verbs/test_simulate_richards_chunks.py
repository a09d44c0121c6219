"""`simulate` with model="richards": chunks that change nothing, restarts also through files."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from columns import DAYS, LOAM, NX, NY, SERIES, layered, maps, run, weather
from hypothesis import given, settings
from hypothesis import strategies as st
from uneven_chunks import cuts

import xsoil
from xsoil.verbs.simulate import final_state, simulate

STATE = ("final_h", "final_theta", "final_next_step", "final_balance", "status")


def world(case, dtype="f8", days=DAYS):
    """Parameters, forcing and options of a run."""
    if case == "layers, snow":
        ds, forcing = layered(maps(dtype)), weather(dtype, days, names=("irrigation", "air_temperature"))
        return ds, forcing, {"frost": "snow", "outputs": (*SERIES, "snow", "frozen"), "uptake": "feddes"}
    if case == "other curve":
        ds = maps(dtype, curve="fredlund_xing_wang")
        return ds, weather(dtype, days), {"bottom": "water_table", "water_table_depth": 0.9, "outputs": SERIES}
    return maps(dtype), weather(dtype, days), {"outputs": SERIES}


EVERY = pytest.mark.parametrize("case", ["plain", "layers, snow", "other curve"])


@EVERY
@pytest.mark.parametrize(
    ("soil_chunks", "weather_chunks"),
    [
        ({}, {"time": 1}), ({"y": 1}, {}), ({"x": 2, "y": 1, "depth": 1}, {"time": 7, "x": 1}),
        (None, {"time": (3, 1, 12), "x": 2}), ({"y": 1}, None),
    ],
)  # fmt: skip
def test_lazy_equals_eager(no_compute, case, soil_chunks, weather_chunks):
    ds, forcing, options = world(case, "f4")
    eager = run(ds, forcing, warmup=4, **options)
    if soil_chunks is not None:
        ds = ds.chunk({dim: size for dim, size in soil_chunks.items() if dim in ds.dims})
    lazy = run(ds, forcing if weather_chunks is None else forcing.chunk(weather_chunks), warmup=4, **options)
    assert all(isinstance(array.data, da.Array) for array in lazy.data_vars.values())
    assert all(lazy[name].dtype == eager[name].dtype for name in lazy.data_vars)
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), eager)


@given(st.data())
@settings(max_examples=10)
def test_no_chunking_changes_a_bit(data):
    days = data.draw(st.integers(2, 9))

    def chunks(total):
        return data.draw(cuts(total, most=3))

    ds, forcing = maps(), weather(days=days)
    eager = run(ds, forcing, outputs=("theta", "drainage"), warmup=1)
    forcing["precipitation"] = forcing.precipitation.chunk(time=chunks(days), y=chunks(NY))
    forcing["pet"] = forcing.pet.chunk(time=chunks(days), x=chunks(NX))
    lazy = run(ds.chunk(y=chunks(NY)), forcing, outputs=("theta", "drainage"), warmup=1)
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def test_a_year_of_one_day_chunks():
    forcing = weather(days=365, dims=("time",))
    eager, lazy = (run(xr.Dataset(), f, **LOAM) for f in (forcing, forcing.chunk(time=1)))
    assert lazy.theta.chunks == ((1,) * 365, (5,))
    assert len(dict(lazy.theta.__dask_graph__())) < 9 * 365
    xr.testing.assert_identical(lazy.compute(), eager)


def test_graph_has_one_name_for_one_run():
    one, two = (run(maps().chunk(y=1), weather().chunk(time=8)) for _ in range(2))
    assert one.theta.data.name == two.theta.data.name
    for options in ({"depths": (0.02, 0.05, 0.1, 0.2, 0.3)}, {"column_depth": 0.6}, {"uptake": "none"}):
        other = run(maps().chunk(y=1).drop_vars("h50"), weather().chunk(time=8), **options)
        assert one.theta.data.name != other.theta.data.name


def test_flipped_axes_give_the_flipped_field():
    ds, forcing = maps(), weather()
    there = run(ds.isel(y=slice(None, None, -1)), forcing.isel(y=slice(None, None, -1)), outputs=SERIES)
    xr.testing.assert_identical(there.isel(y=slice(None, None, -1)), run(ds, forcing, outputs=SERIES))
    turned = run(ds.transpose("x", "y"), forcing.transpose("x", "time", "y"))
    xr.testing.assert_identical(turned.theta.transpose("time", "depth", "y", "x"), run(ds, forcing).theta)


def test_user_objects_are_not_written_to():
    ds, forcing = layered(maps("f4")), weather("f4")
    h = xr.full_like(ds.n, -60.0).assign_attrs(units="cm")
    before = ds.copy(deep=True), forcing.copy(deep=True), h.copy(deep=True)
    first = run(ds, forcing, initial={"h": h}, outputs=SERIES)
    copy = first.copy(deep=True)
    run(ds, forcing, initial=first, outputs=SERIES)
    for object_, was in zip((ds, forcing, h, first), (*before, copy), strict=True):
        xr.testing.assert_identical(object_, was)


@EVERY
@pytest.mark.parametrize("cut", [1, 9])
def test_continues_bit_for_bit_also_through_files(tmp_path, case, cut):
    ds, forcing, options = world(case, "f4")
    ds.n[0, 0] = np.nan
    forcing.pet[cut - 1, 0, 1] = np.nan
    forcing.pet[-1, 1, 1] = -1.0
    whole = run(ds, forcing, **options)
    first = run(ds.chunk(y=1), forcing.isel(time=slice(cut)).chunk(time=4), **options)
    path = xsoil.to_zarr(first, tmp_path / "first.zarr", progress=False)
    stored = xr.open_zarr(path)
    for state in (first.compute(), final_state(stored), stored.compute()):
        rest = run(ds, forcing.isel(time=slice(cut, None)), initial=state, **options).compute()
        for name in whole.data_vars:
            expected = whole[name][cut:] if "time" in whole[name].dims else whole[name]
            np.testing.assert_array_equal(rest[name], expected, err_msg=name)
            assert rest[name].dtype == whole[name].dtype
        assert rest.attrs["initial"] == "end of an earlier run"
    assert set(final_state(first).data_vars) == {*STATE, *["final_snow"] * ("frost" in options)}
    assert first.final_h.attrs["end_time"] == str(forcing.indexes["time"][cut - 1])
    assert [whole.status.values[0, 0], whole.status.values[0, 1], whole.status.values[1, 1]] == [1, 4, 8]


@pytest.mark.parametrize("model", ["water_balance", "richards"])
def test_year_by_year_from_restart_files(tmp_path, model):
    """The loop of docs/cluster.md: each piece is written with the state that the next one starts from."""
    ds, forcing = maps(), weather(days=24)
    options = {"outputs": ("theta", "drainage")}
    if model == "water_balance":
        options |= {"theta_fc": 0.25, "theta_wp": 0.1, "depletion_fraction": 0.3, "crop_coefficient": 0.9}
    whole = simulate(ds, forcing, model, **options)
    for number in range(4):
        path, before = tmp_path / f"{number}.zarr", tmp_path / f"{number - 1}.zarr"
        state = xr.open_zarr(before).soil.final_state() if before.exists() else None
        piece = forcing.isel(time=slice(6 * number, 6 * number + 6)).chunk(time=1)
        ds.soil.simulate(piece, model, initial=state, **options).soil.to_zarr(path, progress=False)
    pieces = [xr.open_zarr(tmp_path / f"{number}.zarr")[["theta", "drainage"]] for number in range(4)]
    joined = xr.concat(pieces, "time").compute()
    for name in ("theta", "drainage"):
        np.testing.assert_array_equal(joined[name], whole[name])


def test_forcing_stored_one_file_a_day(tmp_path, no_compute):
    """Files as an archive has them: no rechunk, nothing read while the graph is built."""
    ds, forcing = maps(), weather(days=20)
    paths = [tmp_path / f"{day:02d}.zarr" for day in range(20)]
    for day, path in enumerate(paths):
        forcing.isel(time=[day]).to_zarr(path, consolidated=False)
    bucket = {"theta_fc": 0.25, "theta_wp": 0.1, "depletion_fraction": 0.3, "crop_coefficient": 0.9}
    how = {"engine": "zarr", "combine": "nested", "concat_dim": "time", "consolidated": False}
    with xr.open_mfdataset(paths, **how) as stored:
        for model, fixed in (("water_balance", bucket), ("richards", {})):
            options = {"outputs": ("theta", "drainage"), **fixed}
            found = simulate(ds, stored, model, **options)
            assert found.theta.chunks[0] == (1,) * 20
            xr.testing.assert_identical(found.compute(scheduler="synchronous"), simulate(ds, forcing, model, **options))


@pytest.mark.parametrize("chunks", [None, {"time": 10}])
def test_a_selection_of_no_columns(chunks):
    ds, forcing = maps().isel(y=slice(0)), weather().isel(y=slice(0))
    found = run(
        ds, forcing if chunks is None else forcing.chunk(chunks), warmup=4, depths=0.1, outputs=SERIES
    ).compute()
    assert found.theta.shape == (DAYS - 4, 1, 0, NX)
    assert found.final_h.shape == (found.sizes["node"], 0, NX)
    assert found.status.shape == (0, NX)
