"""`depth_mean` of layers and of points."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xsoil.errors import ArgumentError, AxisError, MissingVariableError, UnitsError
from xsoil.verbs.depth_mean import depth_mean

EDGES = np.array([0, 5, 15, 30, 60, 100, 200.0])  # the layers of SoilGrids, cm


def layers(edges, values, units="cm"):
    """Layers with CF bounds; `values` has depth first."""
    edges, values = np.asarray(edges, float), np.asarray(values)
    dims = ("depth", "y", "x")[: values.ndim]
    ds = xr.Dataset({"sand": (dims, values, {"units": "percent", "cell_methods": "area: mean"})})
    ds = ds.assign_coords(depth=("depth", (edges[1:] + edges[:-1]) / 2, {"units": units, "bounds": "depth_bnds"}))
    return ds.assign_coords(depth_bnds=(("depth", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1)))


def points(depths, values, units="m"):
    """Point slices."""
    return xr.Dataset({"sand": ("depth", values)}, {"depth": ("depth", depths, {"units": units})})


@pytest.fixture
def maps():
    """Float32 maps on the layers of SoilGrids, with a CRS and a variable without depth."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 100, (6, 7, 9)).astype(np.float32)
    values[1, 0, 0] = values[5, 1, 1] = np.nan
    ds = layers(EDGES, values)
    ds["sand"].attrs["grid_mapping"] = "crs"
    ds["elevation"] = (("y", "x"), rng.uniform(0, 100, (7, 9)), {"units": "m"})
    ds["crs"] = xr.DataArray(0, attrs={"grid_mapping_name": "lambert_azimuthal_equal_area"})
    return ds.assign_coords(y=np.arange(7.0)[::-1], x=np.arange(9.0)).assign_attrs(title="soil")


def test_layers_are_weighted_by_thickness():
    ds = layers(EDGES, [10.0, 20, 30, 40, 50, 60])
    assert depth_mean(ds, 0, 0.3).sand.item() == pytest.approx((5 * 10 + 10 * 20 + 15 * 30) / 30)
    assert depth_mean(ds, 10, 50, units="cm").sand.item() == pytest.approx((5 * 20 + 15 * 30 + 20 * 40) / 40)
    assert depth_mean(ds, 20, 25, units="cm").sand.item() == 30
    assert depth_mean(ds, 0, 2000, units="mm").sand.item() == pytest.approx(49.5)


def test_points_are_joined_by_straight_lines():
    ds = points([0, 0.3, 1.0], [10.0, 40, 12])
    assert depth_mean(ds, 0, 0.3).sand.item() == pytest.approx(25)
    assert depth_mean(ds, 0.1, 0.2).sand.item() == pytest.approx(25)
    # theta(0.15) = 25, theta(0.3) = 40, theta(0.65) = 26
    expected = (0.15 * (25 + 40) / 2 + 0.35 * (40 + 26) / 2) / 0.5
    assert depth_mean(ds, 0.15, 0.65).sand.item() == pytest.approx(expected)
    assert depth_mean(ds.isel(depth=[2, 0, 1]), 0.15, 0.65).sand.item() == pytest.approx(expected)


profile = st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(-100, 100)), min_size=1, max_size=6)


@given(profile, st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 0.9))
def test_splitting_a_layer_changes_nothing(rows, one, two, where):
    edges = np.round(np.cumsum([0.0, *(thickness for thickness, _ in rows)]), 5)
    values = np.array([value for _, value in rows])
    top, bottom = np.round(np.array(sorted([one, two])) * edges[-1], 6)
    if bottom - top < 1e-3:
        return
    whole = depth_mean(layers(edges, values, "m"), top, bottom).sand.item()
    assert values.min() - 1e-9 <= whole <= values.max() + 1e-9
    cut = len(rows) // 2
    middle = np.round(edges[cut] + where * (edges[cut + 1] - edges[cut]), 6)
    split = layers(np.insert(edges, cut + 1, middle), np.insert(values, cut, values[cut]), "m")
    assert depth_mean(split, top, bottom).sand.item() == pytest.approx(whole, rel=1e-9, abs=1e-9)
    # two parts of the interval hold what the whole holds
    half = np.round((top + bottom) / 2, 6)
    parts = [depth_mean(split, *part).sand.item() * (part[1] - part[0]) for part in ((top, half), (half, bottom))]
    assert sum(parts) == pytest.approx(whole * (bottom - top), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=6), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_points_on_a_line_and_against_a_fine_integral(steps, one, two, seed):
    z = np.round(np.cumsum([0.02, *steps]), 6)
    top, bottom = np.round(z[0] + np.array(sorted([one, two])) * (z[-1] - z[0]), 6)
    if bottom - top < 1e-3:
        return
    assert depth_mean(points(z, 3 + 2 * z), top, bottom).sand.item() == pytest.approx(3 + top + bottom, rel=1e-9)
    values = np.random.default_rng(seed).uniform(0, 1, z.size)
    mean = depth_mean(points(z, values), top, bottom).sand.item()
    assert values.min() - 1e-9 <= mean <= values.max() + 1e-9
    fine = np.linspace(top, bottom, 20_001)
    middles = (fine[1:] + fine[:-1]) / 2
    assert mean == pytest.approx(np.interp(middles, z, values).mean(), abs=1e-6)


def test_what_the_result_carries(maps):
    before = maps.copy(deep=True)
    found = depth_mean(maps, 0, 0.3)
    xr.testing.assert_identical(maps, before)
    assert found.sand.dtype == np.float32
    assert found.sand.dims == ("y", "x")
    assert found.sand.attrs == {
        "units": "percent", "cell_methods": "area: mean depth: mean", "grid_mapping": "crs"
    }  # fmt: skip
    assert list(found) == ["sand", "elevation", "crs"]
    xr.testing.assert_identical(found.elevation.drop_vars("depth"), maps.elevation)
    assert found.attrs == maps.attrs
    assert found.depth.item() == 0.15
    assert found.depth.attrs["units"] == "m"
    assert found[found.depth.attrs["bounds"]].values.tolist() == [0, 0.3]
    # missing where a layer of the interval is, and only there
    assert np.isnan(found.sand).sum() == 1
    assert np.isnan(found.sand[0, 0])
    assert np.isnan(depth_mean(maps, 1, 2).sand[1, 1])


@pytest.mark.parametrize("chunks", [{"depth": 1, "y": 3, "x": 4}, {"depth": 6, "y": 7, "x": 9}, {"depth": 4, "x": 1}])
def test_lazy_is_eager(maps, chunks, no_compute):
    lazy = depth_mean(maps.chunk(chunks), 0.02, 0.77)
    assert lazy.sand.chunks is not None
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), depth_mean(maps, 0.02, 0.77))


def test_flipped_depths_give_the_same_bits(maps):
    xr.testing.assert_identical(depth_mean(maps.isel(depth=slice(None, None, -1)), 0, 2), depth_mean(maps, 0, 2))


def test_the_sum_of_thicknesses_is_not_taken_along_the_axis():
    """These sum to another double in another order; found by fuzzing."""
    values = np.random.default_rng(1).uniform(0, 100, (4, 10, 10))
    ds = layers([0, 1, 15, 40, 41], values)
    shuffled = depth_mean(ds.isel(depth=[0, 1, 3, 2]), 0, 0.41)
    np.testing.assert_array_equal(shuffled.sand, depth_mean(ds, 0, 0.41).sand)


def test_a_uniform_profile_keeps_its_value(maps):
    maps["sand"][:] = np.float32(0.1)
    assert (depth_mean(maps, 0.013, 1.7).sand == np.float32(0.1)).all()


def test_edges_by_other_names(maps):
    expected = depth_mean(maps, 0, 0.5)
    del maps.depth.attrs["bounds"]  # the name alone says enough
    xr.testing.assert_equal(depth_mean(maps, 0, 0.5), expected)
    tops = {"depth_top": EDGES[:-1] / 100, "depth_bottom": EDGES[1:] / 100}
    horizons = maps.drop_vars(["depth", "depth_bnds"]).rename(depth="horizon")
    horizons = horizons.assign_coords({name: ("horizon", v, {"units": "m"}) for name, v in tops.items()})
    xr.testing.assert_equal(depth_mean(horizons, 0, 0.5), expected)
    upwards = maps.assign_coords(depth=-maps.depth, depth_bnds=-maps.depth_bnds)
    upwards.depth.attrs = {"units": "cm", "positive": "up", "bounds": "depth_bnds"}
    xr.testing.assert_equal(depth_mean(upwards, 0, 0.5), expected)


def test_integers_with_nodata():
    ds = layers([0, 10, 20], np.array([[[100, -9999, 7]], [[301, 5, 8]]], np.int16))
    ds["sand"].attrs["_FillValue"] = -9999
    found = depth_mean(ds, 0, 0.2).sand
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[200.5, np.nan, 7.5]])
    assert "_FillValue" not in found.attrs


def test_a_data_array_and_a_profile_in_time():
    moisture = xr.DataArray(
        np.arange(12.0).reshape(4, 3), {"depth": ("depth", [0.1, 0.3, 0.5], {"units": "m"})}, ("time", "depth"), "theta"
    )
    assert depth_mean(moisture, 0.1, 0.5).theta.values.tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("change", "top", "bottom", "error", "message"),
    [
        (lambda ds: ds, 0, 2.5, ArgumentError, r"0-0.05, 0.05-0.15, .* do not cover 0 to 2.5 m; .* bottom=2"),
        (lambda ds: ds.isel(depth=[0, 2]), 0, 0.3, ArgumentError, "do not cover"),
        (lambda ds: ds, 0.3, 0.3, ArgumentError, "upper one first"),
        (lambda ds: ds, 0, np.inf, ArgumentError, "two depths"),
        (lambda ds: ds.assign(sand=ds.sand.astype(str)), 0, 0.3, ArgumentError, "has type"),
        (lambda ds: ds.drop_vars("depth_bnds"), 0, 0.3, MissingVariableError, "declares the bounds 'depth_bnds'"),
        (lambda ds: ds.rename(depth="level", depth_bnds="b"), 0, 0.3, MissingVariableError, "no dimension with"),
        (lambda ds: ds.isel(depth=0), 0, 0.3, MissingVariableError, "no dimension with"),
        (lambda ds: ds.assign_coords(depth_bnds=ds.depth_bnds * [1, 2]), 0, 0.3, AxisError, "overlap"),
        (lambda ds: ds.assign_coords(depth_bnds=ds.depth_bnds * [0, 0]), 0, 0.3, AxisError, "without thickness"),
        (lambda ds: ds.assign_coords(depth_bnds=ds.depth_bnds.isel(bnds=0)), 0, 0.3, AxisError, "expected"),
        (lambda ds: ds.assign_coords(depth_bnds=ds.depth_bnds * np.nan), 0, 0.3, AxisError, "missing depths"),
    ],
)
def test_faults_of_layers(maps, change, top, bottom, error, message):
    with pytest.raises(error, match=message):
        depth_mean(change(maps), top, bottom)


def test_faults_of_points():
    ds = points([0.025, 0.1, 0.2], [1.0, 2, 3])
    with pytest.raises(ArgumentError, match=r"run from 0.025 to 0.2 m, not from 0 to 0.2 m.*depth_bounds"):
        depth_mean(ds, 0, 0.2)
    with pytest.raises(AxisError, match="same depth twice"):
        depth_mean(points([0, 0.1, 0.1], [1.0, 2, 3]), 0, 0.1)
    with pytest.raises(ArgumentError, match="run from"):
        depth_mean(points([0.1], [1.0]), 0.05, 0.1)


def test_units_of_depth():
    with pytest.raises(UnitsError, match=r"'depth' has no units; .* ds\['depth'\].attrs\['units'\] = 'm'"):
        depth_mean(points([0, 1], [1.0, 2], units=""), 0, 1)
    with pytest.raises(UnitsError, match="'kPa'"):
        depth_mean(points([0, 1], [1.0, 2], units="kPa"), 0, 1)
    with pytest.raises(UnitsError, match="'inch'"):
        depth_mean(points([0, 1], [1.0, 2]), 0, 1, units="inch")


def test_classes_and_flags_have_no_mean(maps):
    classes = maps.assign(texture_class=maps.sand.fillna(0).astype(np.int8).assign_attrs(flag_meanings="sand loam"))
    with pytest.raises(ArgumentError, match=r"'texture_class' has classes or flags.*drop_vars\('texture_class'\)"):
        depth_mean(classes, 0, 0.3)
    with pytest.raises(ArgumentError, match="'topsoil' has classes or flags"):
        depth_mean(maps.assign(topsoil=maps.sand * 0), 0, 0.3)
