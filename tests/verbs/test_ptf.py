"""The verb ptf: units, depth, laziness, what is kept, faults."""

from __future__ import annotations

import time

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from xsoil.errors import ArgumentError, MissingVariableError, SoilError, UnitsError, UnknownNameError
from xsoil.ptfs import PTFS
from xsoil.ptfs.evaluate import FLAGS
from xsoil.verbs.ptf import list_ptfs, ptf
from xsoil.vocabulary import VARIABLES

UNITS = {
    "sand": "percent", "silt": "percent", "clay": "percent", "bulk_density": "g cm-3", "organic_carbon": "percent",
    "ph": "1", "cec": "cmol kg-1",
}  # fmt: skip
REGRESSIONS = [name for name in PTFS if not name.startswith("rosetta")]


def soil(shape=(6, 8), dtype=np.float32, seed=0, faults=True):
    """A small map on EPSG:6933 with some cells at fault."""
    rng = np.random.default_rng(seed)
    sand, silt, clay = rng.dirichlet([1, 1, 1], shape).transpose(2, 0, 1) * 100
    values = {
        "sand": sand, "silt": silt, "clay": clay, "bulk_density": rng.uniform(1.0, 1.8, shape),
        "organic_carbon": rng.uniform(0.1, 5, shape), "ph": rng.uniform(4, 8, shape), "cec": rng.uniform(2, 40, shape),
    }  # fmt: skip
    ds = xr.Dataset(
        {
            name: (("y", "x"), value.astype(dtype), {"units": UNITS[name], "grid_mapping": "spatial_ref"})
            for name, value in values.items()
        },
        coords={
            "y": ("y", 9e3 * np.arange(shape[0], 0, -1.0), {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", 9e3 * np.arange(shape[1]), {"units": "m", "standard_name": "projection_x_coordinate"}),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:6933"}),
            "cell_id": (("y", "x"), np.arange(sand.size).reshape(shape)),
        },
        attrs={"title": "a map"},
    )
    ds["topsoil"] = xr.ones_like(ds.cell_id).astype(np.int8).drop_attrs()
    if faults:
        ds.sand[0, 0] = np.nan
        ds.clay[1, 1] = -5
        ds.silt[2, 2] += 0.5
        ds.bulk_density[3, 3] = -1
    return ds


def point(**values):
    """One soil; units as in UNITS unless given as a pair."""
    out = {}
    for name, value in values.items():
        number, units = value if isinstance(value, tuple) else (value, UNITS.get(name))
        out[name] = ((), number, {} if units is None else {"units": units})
    return xr.Dataset(out)


LOAM = {"sand": 40.0, "silt": 40.0, "clay": 20.0, "bulk_density": 1.4, "organic_carbon": 1.5}


# ---- what comes out


@pytest.mark.parametrize("name", PTFS)
def test_contract(name):
    ds = soil()
    before = ds.copy(deep=True)
    found = ptf(ds, name, quality=True)
    xr.testing.assert_identical(ds, before)  # nothing written to the user's object
    entry = PTFS[name].resolve(frozenset(ds))
    assert list(found.data_vars) == [*(v.name for v in entry.outputs), "quality"]
    xr.testing.assert_identical(
        found.coords.to_dataset().drop_attrs(deep=False), ds.coords.to_dataset().drop_attrs(deep=False)
    )
    assert found.attrs == {"title": "a map"}
    for v in entry.outputs:
        array = found[v.name]
        assert array.dtype == np.float32
        assert array.dims == ("y", "x")
        assert array.attrs["units"] == v.units
        assert array.attrs["long_name"] == v.long_name
        assert array.attrs["grid_mapping"] == "spatial_ref"
        assert array.attrs["ptf"] == name
        assert entry.doi in array.attrs["references"]
        assert array.attrs.get("standard_name") == v.standard_name
        assert np.isnan(array[0, 0])
        assert np.isnan(array[1, 1])
        assert np.isfinite(array[4, 4])
    flag = found.quality
    assert flag.dtype == np.int16
    assert_array_equal(flag.attrs["flag_masks"], list(FLAGS.values()))
    assert flag.attrs["flag_masks"].dtype == np.int16
    assert flag.attrs["flag_meanings"].split() == list(FLAGS)
    assert flag[0, 0] == FLAGS["input_missing"]
    assert flag[1, 1] == FLAGS["texture_rejected"]
    assert flag[2, 2] & FLAGS["texture_renormalised"]
    if "bulk_density" in [v.name for v in entry.inputs]:
        assert flag[3, 3] == FLAGS["input_impossible"]


@pytest.mark.parametrize("name", REGRESSIONS)
def test_single_precision_is_near_double(name):
    ds = soil((30, 40), np.float64, faults=False)
    double = ptf(ds, name)
    single = ptf(ds.astype(np.float32), name)
    for output in double:
        a, b = single[output].values, double[output].values
        both = np.isfinite(a) & np.isfinite(b)
        assert both.sum() > 0.5 * both.size
        assert (np.isfinite(a) != np.isfinite(b)).mean() < 0.01  # on an edge of the possible
        if name != "clapp_hornberger1978":  # a table: a texture on the edge of a class may change sides
            # psi_s and l may come near 0
            assert_allclose(a[both], b[both], rtol=2e-5, atol=1e-5 * np.abs(b[both]).max(), err_msg=output)


def test_outputs():
    ds = soil()
    assert list(ptf(ds, outputs="k_sat")) == ["k_sat"]
    some = ptf(ds, outputs=["b", "theta_s", "b"], quality=True)
    assert list(some) == ["b", "theta_s", "quality"]
    xr.testing.assert_identical(some.b, ptf(ds).b)
    with pytest.raises(UnknownNameError, match="unknown output of 'cosby1984' 'ksat'; did you mean 'k_sat'"):
        ptf(ds, outputs=["ksat"])


def test_data_array():
    sand = xr.DataArray([40.0], dims="site", name="sand", attrs={"units": "percent"})
    assert_allclose(ptf(sand, "li2024_cb1").k_sat, 32.587, rtol=1e-4)
    with pytest.raises(SoilError, match=r"no name.*rename"):
        ptf(sand.rename(None), "li2024_cb1")


def test_grid_mapping_in_encoding_or_as_a_variable():
    ds = soil().reset_coords("spatial_ref")
    for name in UNITS:
        ds[name].encoding["grid_mapping"] = ds[name].attrs.pop("grid_mapping")
    found = ptf(ds)
    assert "spatial_ref" in found.coords
    assert found.k_sat.encoding["grid_mapping"] == "spatial_ref"
    assert "grid_mapping" not in found.k_sat.attrs


def test_netcdf_round_trip(tmp_path):
    found = ptf(soil(), "toth2015", quality=True)
    found.to_netcdf(tmp_path / "found.nc")
    again = xr.load_dataset(tmp_path / "found.nc", decode_coords="all")
    for name in found:
        assert_array_equal(again[name], found[name])
    assert again.k_sat.encoding["grid_mapping"] == "spatial_ref"


def test_options_are_recorded():
    attrs = ptf(soil(), PTFS["toth2015"].with_options(retention="PTF21")).alpha.attrs
    assert attrs["ptf_options"] == "retention=PTF21"
    assert attrs["ptf_inputs"] == "sand silt clay bulk_density organic_carbon topsoil ph cec"
    assert "ptf_options" not in ptf(soil()).k_sat.attrs


# ---- units


@pytest.mark.parametrize(
    ("name", "value", "units"),
    [
        ("sand", 400.0, "g/kg"), ("sand", 0.4, "1"), ("sand", 40.0, "%"), ("clay", 0.2, "kg kg-1"),
        ("bulk_density", 140.0, "cg/cm³"), ("bulk_density", 1400.0, "kg m-3"), ("bulk_density", 1.4, "t/m3"),
        ("organic_carbon", 150.0, "dg/kg"), ("organic_carbon", 15.0, "g kg-1"), ("organic_carbon", 0.015, "1"),
        ("ph", 65.0, "pH*10"), ("cec", 150.0, "mmol(c)/kg"), ("cec", 15.0, "meq/100g"),
    ],
)  # fmt: skip
def test_units_of_real_files(name, value, units):
    whole = LOAM | {"ph": 6.5, "cec": 15.0, "topsoil": 1}
    expected = ptf(point(**whole), "toth2015")
    found = ptf(point(**whole | {name: (value, units)}), "toth2015")
    xr.testing.assert_allclose(found, expected, rtol=1e-12)


def test_soilgrids_integers():
    """int16 with a declared nodata, g/kg and cg/cm3, as SoilGrids stores them."""

    def stored(values, units):
        return ("c", np.array(values, np.int16), {"units": units, "_FillValue": np.int16(-32768)})

    ds = xr.Dataset(
        {
            "sand": stored([400, 400, -32768], "g/kg"), "clay": stored([200, 200, 200], "g/kg"),
            "bulk_density": stored([140, -32768, 140], "cg/cm3"),
        }
    )  # fmt: skip
    found = ptf(ds, "zacharias_wessolek2007", quality=True)
    assert found.alpha.dtype == np.float32
    assert_allclose(found.alpha[0], ptf(point(**LOAM), "zacharias_wessolek2007").alpha, rtol=1e-5)
    assert_array_equal(found.quality, [0, 16, 16])
    assert_array_equal(np.isnan(found.n), [False, True, True])


def test_wrong_units():
    with pytest.raises(UnitsError, match=r"'sand' has no units.*ds\['sand'\].attrs\['units'\] = 'percent'"):
        ptf(point(**LOAM | {"sand": (40.0, None)}))
    with pytest.raises(UnitsError, match="'sand' has units 'furlong'"):
        ptf(point(**LOAM | {"sand": (40.0, "furlong")}))


# ---- what is missing


def test_missing_variables():
    with pytest.raises(
        MissingVariableError,
        match=r"cosby1984 needs 'silt' \(or two of sand, silt, clay\).* not among \['sand'\]; use ds.rename",
    ):
        ptf(point(sand=40.0))
    with pytest.raises(MissingVariableError, match="wosten1999 needs 'organic_carbon'"):
        ptf(point(sand=40.0, clay=20.0, bulk_density=1.4).assign(topsoil=1), "wosten1999")
    entry = PTFS["toth2015"].with_options(retention="PTF20")
    with pytest.raises(MissingVariableError, match="toth2015 needs 'ph'"):
        ptf(point(**LOAM).assign(topsoil=1), entry)


def test_unknown_method():
    with pytest.raises(UnknownNameError, match="did you mean 'cosby1984'"):
        ptf(point(**LOAM), "cosby1985")
    with pytest.raises(ArgumentError, match=r"method is 3; expected a name in xsoil\.PTFS"):
        ptf(point(**LOAM), 3)


def test_topsoil_message_mends():
    ds = point(**LOAM)
    with pytest.raises(
        MissingVariableError, match=r"neither that variable nor a coordinate 'depth'.*ds.assign\(topsoil=1\)"
    ):
        ptf(ds, "wosten1999")
    assert np.isfinite(ptf(ds.assign(topsoil=1), "wosten1999").k_sat)


# ---- lazy


@settings(max_examples=25)
@given(st.sampled_from(list(PTFS)), st.integers(1, 6), st.integers(1, 8), st.booleans(), st.booleans(), st.booleans())
def test_chunks_and_flips(name, ny, nx, flip_y, flip_x, mixed):
    ds = soil(seed=ny)
    expected = ptf(ds, name, quality=True)
    lazy = ds.chunk(y=ny, x=nx)
    if mixed:
        lazy["clay"] = ds.clay.chunk(y=nx % 6 + 1)
        lazy["silt"] = ds.silt  # numpy among dask
    lazy = lazy.isel(y=slice(None, None, -1 if flip_y else 1), x=slice(None, None, -1 if flip_x else 1))
    found = ptf(lazy, name, quality=True)
    assert all(array.chunks is not None for array in found.values())
    xr.testing.assert_identical(found.compute().sel(y=ds.y, x=ds.x).drop_attrs(), expected.drop_attrs())


@pytest.mark.parametrize("name", PTFS)
def test_building_computes_nothing(no_compute, name):
    ds = soil().chunk(y=3)
    ds["sand"] = (ds.sand * 10).assign_attrs(units="g/kg")
    ds["cell_id"] = ds.cell_id.chunk(y=3)  # a lazy coordinate too
    names = {ptf(ds, name, quality=True).quality.data.name for _ in range(2)}
    assert len(names) == 1  # tokens, no uuids


def test_global_1_km_graph_builds_in_seconds(no_compute):
    fields = {
        name: (("y", "x"), da.full((14616, 34704), value, dtype=np.float32, chunks=2048), {"units": UNITS[name]})
        for name, value in LOAM.items()
    }
    start = time.perf_counter()
    found = ptf(xr.Dataset(fields), "vereecken1989", quality=True)
    assert found.k_sat.shape == (14616, 34704)
    assert len(dict(found.k_sat.__dask_graph__())) < 20 * found.k_sat.data.npartitions
    assert time.perf_counter() - start < 10


def test_all_missing():
    ds = soil(faults=False)
    ds["sand"] = ds.sand.where(False).assign_attrs(units="percent")
    found = ptf(ds, "rosetta3", quality=True)
    assert np.isnan(found.k_sat).all()
    assert (found.quality == FLAGS["input_missing"]).all()


def test_any_dims():
    sites = soil(faults=False).stack(site=("y", "x")).drop_vars(["site", "y", "x"])
    assert_array_equal(ptf(sites).k_sat, ptf(soil(faults=False)).k_sat.values.ravel())
    assert ptf(point(**LOAM)).k_sat.dims == ()


def test_no_warnings(recwarn):
    ptf(soil().assign(cec=lambda ds: (ds.cec * 0).assign_attrs(units="cmol kg-1")), "toth2015")
    assert not recwarn.list


# ---- real maps


def test_angola(data):
    """Integer percents that sum to 99 to 101: scaled, nowhere rejected."""
    with xr.open_dataset(data / "rasters" / "soilgrids_angola_1km_2014.nc", decode_coords="all") as ds:
        found = ptf(ds, "cosby1984", quality=True)
        total = ds.sand + ds.silt + ds.clay
        assert_array_equal(found.quality, np.where(total != 100, FLAGS["texture_renormalised"], 0))
        sand, clay = (ds[name].astype(float) * 100 / total for name in ("sand", "clay"))
        assert_allclose(found.k_sat, 60.96 * 10 ** (-0.6 + 0.0126 * sand - 0.0064 * clay), rtol=1e-5)
        assert found.rio.crs == ds.rio.crs
        assert found.rio.transform() == ds.rio.transform()


def test_smap_pixels(data):
    """Published texture that does not always sum to 100: the rest is rejected, not repaired."""
    with xr.open_dataset(data / "conus_smap_nldas.nc") as ds:
        found = ptf(ds[["sand", "silt", "clay", "bulk_density"]], "rosetta3", quality=True)
        total = ds.sand + ds.silt + ds.clay
        rejected = (total < 99 - 1e-4) | (total > 101 + 1e-4)
        assert_array_equal((found.quality & FLAGS["texture_rejected"]) > 0, rejected)
        assert_array_equal(np.isnan(found.k_sat), rejected | total.isnull() | ds.bulk_density.isnull())
        assert 200 < np.isfinite(found.k_sat).sum() < 309


# ---- the table


def test_list_ptfs():
    table = list_ptfs()
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == list(PTFS)
    assert table.loc["toth2015", "optional"] == "ph, cec"
    assert table.loc["toth2015", "outputs"] == "theta_s, theta_r, alpha, n, theta_fc, theta_wp, k_sat"
    assert table.loc["weynants2009", "validity"].startswith("sand 5.6 to 97.8, clay 0 to 54.5")
    assert "k_0 [cm d-1]" in table.loc["weynants2009", "units"]
    assert "density: normal, measured" in table.loc["saxton_rawls2006", "options"]
    for name, row in table.iterrows():
        assert row.doi == PTFS[name].doi
        for variable in row.inputs.split(", "):
            assert f"{variable} [{VARIABLES[variable].units}]" in row.units
