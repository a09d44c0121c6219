"""The faults of DESIGN 2.5 through the accessor: what must work, what must raise, what must become NaN with a flag."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

import xsoil
from xsoil import errors

LI = {"theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1}
LI |= {"crop_coefficient": 0.5}


def soil(n=12, m=16, lat0=45.0, lon0=5.0, dtype="f4"):
    rng = np.random.default_rng(0)
    sand, clay = rng.uniform(20, 60, (n, m)).astype(dtype), rng.uniform(5, 35, (n, m)).astype(dtype)
    maps = {"sand": sand, "clay": clay, "silt": (100 - sand - clay).astype(dtype)}
    lat, lon = lat0 - 0.1 * np.arange(n), lon0 + 0.1 * np.arange(m)
    return xr.Dataset({k: (("lat", "lon"), v, {"units": "percent"}) for k, v in maps.items()}, {"lat": lat, "lon": lon})


def weather(like, days=5):
    time = pd.date_range("2020-01-01", periods=days)
    shape = (days, like.sizes["lat"], like.sizes["lon"])
    rain = np.random.default_rng(1).gamma(0.5, 10, shape).astype("f4")
    units = {"units": "mm d-1"}
    dims = ("time", "lat", "lon")
    coords = {"time": time, "lat": like.lat, "lon": like.lon}
    return xr.Dataset({"precipitation": (dims, rain, units), "pet": (dims, np.full(shape, 3, "f4"), units)}, coords)


def chain(ds):
    return ds.soil.ptf(quality=True).soil.upscale("EASE2_M36km")


# -- must work -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.isel(lat=slice(None, None, -1)),
        lambda ds: ds.isel(lon=slice(None, None, -1)),
        lambda ds: ds.assign_coords(lon=ds.lon + 360),
    ],
    ids=["ascending latitude", "descending longitude", "longitudes beyond 360"],
)
def test_orientation_and_longitude_conventions(change, lazy):
    ds = soil(lon0=-5.0)
    expected = chain(ds)
    changed = change(ds)
    got = chain(changed.chunk(lat=5, lon=7) if lazy else changed).compute()
    np.testing.assert_allclose(got.k_sat, expected.k_sat, rtol=1e-6)


def test_declared_integer_nodata():
    ds = soil()
    whole = ds.round().astype("i2")
    whole["silt"] = 100 - whole.sand - whole.clay
    for name in whole:
        values = whole[name].values.copy()
        values[:2] = -32768
        whole[name] = (("lat", "lon"), values, {"units": "percent", "_FillValue": np.int16(-32768)})
    out = whole.soil.ptf(quality=True)
    assert out.k_sat.isel(lat=slice(0, 2)).isnull().all()
    assert out.k_sat.isel(lat=slice(2, None)).notnull().all()
    assert chain(whole).k_sat.notnull().any()


@pytest.mark.parametrize("lazy", [False, True])
def test_all_nan(lazy):
    ds = (soil() * np.nan).map(lambda v: v.assign_attrs(units="percent"))
    ds = ds.chunk() if lazy else ds
    coarse = chain(ds).compute()
    assert coarse.k_sat.isnull().all()
    run = ds.soil.ptf().soil.simulate(weather(ds), **{k: v for k, v in LI.items() if k != "theta_s"})
    assert run.theta.isnull().all()


def test_one_pixel():
    ds = soil(1, 1)
    for dim in ("lat", "lon"):
        ds[dim].attrs["resolution"] = 0.1 if dim == "lon" else -0.1
    coarse = ds.soil.ptf().soil.upscale("EASE2_M36km", min_valid=0.0)
    assert int(coarse.k_sat.notnull().sum()) >= 1
    run = ds.soil.ptf().soil.simulate(weather(ds), **{k: v for k, v in LI.items() if k != "theta_s"})
    assert run.theta.shape == (5, 1, 1)


# -- must raise ------------------------------------------------------------------------------------


def without_units(ds):
    out = ds.copy()
    out["clay"] = out.clay.drop_attrs()
    return out


def with_second_crs(ds):
    return ds.rio.write_crs(4326).assign_coords(other=xr.Variable((), 0, {"crs_wkt": "EPSG:3035"}))


SHUFFLED = [3, 1, 2, 0, 4, 5, 6, 7, 8, 9, 10, 11]
RAISING = {
    "no units": (lambda ds: without_units(ds).soil.ptf(), errors.UnitsError, r"attrs\['units'\] = 'percent'"),
    "wrong units": (
        lambda ds: ds.assign(clay=ds.clay.assign_attrs(units="m s-1")).soil.ptf(), errors.UnitsError, "'m s-1'",
    ),
    "no CRS": (lambda ds: ds.rename(lat="y", lon="x").soil.upscale("EASE2_M36km"), errors.CRSError, "write_crs"),
    "two CRSs": (
        lambda ds: with_second_crs(ds).soil.upscale("EASE2_M36km"),
        errors.CRSError, "two coordinate reference systems",
    ),
    "shuffled axis": (lambda ds: ds.isel(lat=SHUFFLED).soil.upscale("EASE2_M36km"), errors.AxisError, "shuffled"),
    "non-uniform axis": (lambda ds: ds.drop_isel(lat=5).soil.upscale("EASE2_M36km"), errors.AxisError, "evenly"),
    "no overlap": (
        lambda ds: ds.soil.upscale(xsoil.ease_grid("EASE2_M36km", (100, 0, 110, 9))), errors.NoOverlapError, "overlap",
    ),
    "time gap": (
        lambda ds: ds.soil.ptf().soil.simulate(weather(ds).isel(time=[0, 1, 3]), **LI), errors.TimeError, "gap",
    ),
    "unsorted time": (
        lambda ds: ds.soil.ptf().soil.simulate(weather(ds).isel(time=[1, 0, 2]), **LI), errors.TimeError, "sortby",
    ),
    "forcing on another grid": (
        lambda ds: ds.soil.ptf().soil.simulate(weather(soil(lat0=44.95)), **LI), errors.GridMismatchError, "upscale",
    ),
    "unknown PTF": (lambda ds: ds.soil.ptf("cosby1985"), errors.UnknownNameError, "did you mean 'cosby1984'"),
    "unknown grid": (lambda ds: ds.soil.upscale("EASE2_M9km"), errors.UnknownNameError, "did you mean 'EASE2_M09km'"),
    "missing variable": (lambda ds: ds[["sand"]].soil.ptf(), errors.MissingVariableError, "rename"),
}  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("act", "error", "message"), RAISING.values(), ids=RAISING)
def test_metadata_faults_raise(act, error, message, lazy):
    ds = soil().chunk(lat=5) if lazy else soil()
    with pytest.raises(error, match=message) as caught:
        act(ds)
    assert isinstance(caught.value, ValueError)


# -- must become NaN with a flag -------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("values", "what"), [((70, 30, 30), "sum of 130"), ((60, 45, -5), "negative clay")])
def test_impossible_texture_is_flagged(values, what, lazy):
    ds = soil()
    for name, value in zip(("sand", "silt", "clay"), values, strict=True):
        ds[name] = ds[name].copy()
        ds[name].values[3, 4] = value
    out = (ds.chunk(lat=5) if lazy else ds).soil.ptf(quality=True).compute()
    assert np.isnan(out.k_sat[3, 4]), what
    assert out.quality[3, 4] != 0
    assert int(out.k_sat.isnull().sum()) == 1
    assert {"flag_masks", "flag_meanings"} <= set(out.quality.attrs)


@pytest.mark.parametrize("lazy", [False, True])
def test_impossible_parameters_are_flagged(lazy):
    ds = soil()
    maps = {"theta_s": 0.45, "theta_fc": 0.25, "theta_wp": 0.1}
    for name, value in maps.items():
        ds[name] = (("lat", "lon"), np.full((12, 16), value, "f4"), {"units": "m3 m-3"})
    ds.theta_fc.values[2, 2] = 0.6
    ds["k_sat"] = (("lat", "lon"), np.full((12, 16), 30, "f4"), {"units": "cm d-1"})
    fixed = {k: v for k, v in LI.items() if k not in maps}
    run = (ds.chunk(lat=5) if lazy else ds).soil.simulate(weather(ds), **fixed).compute()
    assert run.theta.isel(lat=2, lon=2).isnull().all()
    assert run.status[2, 2] != 0
    assert int(run.theta.isel(time=0).isnull().sum()) == 1
    assert int((run.status != 0).sum()) == 1
