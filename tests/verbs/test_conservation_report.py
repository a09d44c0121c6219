"""`conservation_report`, and what `upscale` conserves by it."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod

from xsoil.errors import GridMismatchError, MissingVariableError, NoOverlapError, UnknownNameError
from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.verbs.apply_weights import apply_weights
from xsoil.verbs.conservation_report import conservation_report
from xsoil.verbs.downscale import downscale
from xsoil.verbs.save_weights import save_weights
from xsoil.verbs.upscale import upscale

LATLON = GeoBox((60, 70), Affine(1 / 30, 0, -106.5, 0, -1 / 30, 38.9), "EPSG:4326")
NINE = ease_grid("EASE2_M09km", (-106.2, 37.1, -104.4, 38.6))
GLOBE = GeoBox((45, 90), Affine(4, 0, 0, 0, -4, 90), "EPSG:4326")


def on(box, seed=0, missing=0.1, lead=(), units="percent"):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, (*lead, *box.shape))
    values[rng.random(values.shape) < missing] = np.nan
    dims = (*("time", "depth")[: len(lead)], *box.dimensions)
    return xr.Dataset({"clay": (dims, values, {"units": units})}, xr_coords(box))


# -- by hand -----------------------------------------------------------------------------------------


def test_totals_and_integrals_by_hand():
    box = GeoBox((2, 2), Affine(1000, 0, 0, 0, -1000, 2000), "EPSG:6933")
    ds = on(box).assign(clay=(("y", "x"), [[1.0, 2.0], [3.0, np.nan]], {"units": "percent"}))
    coarse = GeoBox((1, 1), Affine(2000, 0, 0, 0, -2000, 2000), "EPSG:6933")
    mean = upscale(ds, coarse, valid_fraction=True)
    report = conservation_report(ds, mean).sel(variable="clay")
    assert report.source_total == 6
    assert report.source_integral == 6e6
    assert report.source_valid_area == 3e6
    np.testing.assert_allclose(report.target_total, 2)
    np.testing.assert_allclose(report.target_integral, 6e6)
    np.testing.assert_allclose(report.target_valid_area, 3e6)
    np.testing.assert_allclose(report.total_difference, (2 - 6) / 6)
    np.testing.assert_allclose(report.error, 0, atol=1e-15)
    assert report.how == "mean"
    assert report.units == "percent"
    # Without the valid fraction a cell counts whole.
    blind = conservation_report(ds, mean[["clay"]]).sel(variable="clay")
    np.testing.assert_allclose(blind.error, 8 / 6 - 1)
    np.testing.assert_allclose(blind.valid_area_difference, 1 / 3)


def test_areas_are_true_areas():
    """The area of a box of one degree, on the ellipsoid."""
    ds = on(GeoBox((10, 10), Affine(0.1, 0, 7, 0, -0.1, 50), "EPSG:4326"), missing=0)
    utm = GeoBox((200, 150), Affine(1000, 0, 3e5, 0, -1000, 5.6e6), "EPSG:32632")
    t = np.linspace(0, 1, 2001)[:-1]
    lon = 7 + np.concatenate([t, t * 0 + 1, 1 - t, t * 0])
    lat = 49 + np.concatenate([t * 0, t, t * 0 + 1, 1 - t])
    expected = abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
    for target in (ease_grid("EASE2_M36km", (6, 48, 9, 51)), utm):
        report = conservation_report(ds, on(target))
        np.testing.assert_allclose(report.source_valid_area, expected, rtol=1e-7)
        assert report.attrs["areas_measured_in"] == "EPSG:6933"


def test_only_what_the_target_covers_counts():
    ds = on(NINE, missing=0)
    part = NINE[2:6, 3:9]
    report = conservation_report(ds, ds.isel(y=slice(2, 6), x=slice(3, 9)), how="sum")
    np.testing.assert_allclose(report.source_total, ds.clay[2:6, 3:9].sum())
    np.testing.assert_allclose(report.error, 0, atol=1e-12)
    np.testing.assert_allclose(report.source_valid_area, 24 * abs(part.affine.determinant), rtol=1e-12)


def test_what_min_valid_drops_is_told():
    ds = on(LATLON, missing=0.4)
    kept = conservation_report(ds, upscale(ds, "EASE2_M09km", min_valid=0, valid_fraction=True))
    lost = conservation_report(ds, upscale(ds, "EASE2_M09km", min_valid=0.7, valid_fraction=True))
    assert abs(kept.error).max() < 1e-12
    assert lost.valid_area_difference < -0.1
    assert lost.error < -0.1


# -- what upscale keeps ------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    how=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0.0, 0.1, 0.9]),
    case=st.sampled_from(
        [
            (LATLON, "EASE2_M09km"),
            (LATLON, "EASE2_M36km"),
            (LATLON, ease_grid("EASE2_M36km", (-105.9, 37.4, -104.9, 38.4))),  # cut off
            (LATLON, GeoBox((40, 40), Affine(0.23, 0, -110, 0, -0.17, 41), "EPSG:4326")),
            (NINE, "EASE2_M36km"),
            (NINE, GeoBox((30, 30), Affine(0.1, 0, -107, 0, 0.1, 36.5), "EPSG:4326")),
            (GLOBE, GeoBox((30, 60), Affine(6, 0, -180, 0, -6, 90), "EPSG:4326")),
            (GLOBE, EASE_GRIDS["EASE2_M36km"].geobox),
        ]
    ),
)
def test_aligned_grids_conserve_to_1e_12(how, seed, missing, case):
    box, to = case
    ds = on(box, seed, missing)
    made = upscale(ds, to, how, min_valid=0, valid_fraction=True)
    report = conservation_report(ds, made)
    assert report.how == how
    assert abs(report.error).max() < 1e-12
    assert abs(report.valid_area_difference).max() < 1e-12


@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize(
    ("crs", "affine"),
    [
        ("EPSG:5070", (1000, 0, -7e5, 0, -1000, 1.7e6)),
        ("EPSG:32613", (1000, 0, 3e5, 0, -1000, 4.7e6)),
        ("ESRI:54052", (1000, 0, -9e6, 0, -1000, 4.2e6)),
        ("+proj=sinu +lon_0=0 +R=6371007.181 +units=m +type=crs", (1000, 0, -8e6, 0, -1000, 5e6)),
    ],
    ids=["albers", "utm", "homolosine", "sinusoidal"],
)
def test_sheared_grids_conserve_to_1e_6(how, crs, affine):
    """Measured: 1e-16 for sums where the target covers the source, 6e-9 for integrals (areas of cut pixels)."""
    ds = on(GeoBox((120, 120), Affine(*affine), crs))
    made = upscale(ds, "EASE2_M09km", how, min_valid=0, valid_fraction=True)
    report = conservation_report(ds, made)
    assert abs(report.error).max() < (1e-12 if how == "sum" else 1e-7)
    inner = made.isel(y=slice(1, -1), x=slice(1, -1))
    assert abs(conservation_report(ds, inner).error).max() < 1e-6


# -- what xarray users expect ------------------------------------------------------------------------


def test_chunks_never_show_and_layers_stay_apart():
    ds = on(LATLON, lead=(3, 2))
    ds["sand"] = ds.clay[0, 0] * 2
    made = upscale(ds, "EASE2_M36km", {"clay": "sum"}, min_valid=0, valid_fraction=True)
    report = conservation_report(ds, made)
    assert report.source_total.dims == ("variable", "time", "depth")
    assert report.how.values.tolist() == ["sum", "mean"]
    assert abs(report.error).max() < 1e-12
    np.testing.assert_allclose(report.target_total.sel(variable="clay"), made.clay.sum(("y", "x")))
    chunks = {"latitude": 7, "longitude": 11, "time": 1}
    lazy = upscale(ds.chunk(chunks), "EASE2_M36km", {"clay": "sum"}, min_valid=0, valid_fraction=True, chunks=2)
    with dask.config.set(scheduler="threads"):
        xr.testing.assert_identical(conservation_report(ds.chunk(chunks), lazy), report)


def test_orientation_never_matters():
    ds = on(LATLON)
    made = upscale(ds, "EASE2_M36km", min_valid=0, valid_fraction=True)
    turned = conservation_report(ds.isel(latitude=slice(None, None, -1)), made.isel(y=slice(None, None, -1)))
    xr.testing.assert_allclose(turned, conservation_report(ds, made), rtol=1e-12, atol=1e-12)


def test_other_operators_have_no_error_of_their_own():
    ds = on(LATLON)
    made = upscale(ds, "EASE2_M36km", "max")
    report = conservation_report(ds, made)
    assert report.how == ""
    assert np.isnan(report.error).all()
    assert np.isfinite(report.integral_difference).all()
    assert np.isfinite(conservation_report(ds, made, how="mean").error).all()


@pytest.mark.parametrize(
    ("methods", "how"),
    [
        ("area: mean", "mean"),
        ("time: mean area: sum", "sum"),
        ("area: sum depth: mean", "sum"),
        ("area: sum time: mean area: mean", "mean"),
        ("area: mean (comment: conservative)", "mean"),
        ("area: mean where land time: maximum (comment: daily)", "mean"),
        ("area: sum (interval: 1 km)", "sum"),
        ("area: time: mean", "mean"),
        ("area: mean area: maximum", ""),
        ("area: mean (comment: harmonic)", ""),
        ("area: mean area: mean (comment: power, p = 2)", ""),
        ("area: mean_absolute_value", ""),
        ("subarea: mean", ""),
        ("time: mean", ""),
    ],
)
def test_the_last_area_of_cell_methods_counts(methods, how):
    ds = on(GeoBox((2, 2), Affine(1000, 0, 0, 0, -1000, 2000), "EPSG:6933"), missing=0)
    made = ds.copy()
    made["clay"] = ds.clay.assign_attrs(cell_methods=methods)
    report = conservation_report(ds, made)
    assert report.how == how
    assert bool(np.isnan(report.error).all()) == (how == "")


def test_conservative_splits_and_weights_have_an_error(tmp_path):
    ds = on(LATLON, missing=0)
    coarse = upscale(ds, "EASE2_M36km", valid_fraction=True, min_valid=0)[["clay"]]
    fine = downscale(coarse, ease_grid("EASE2_M09km", coarse), "conservative")
    report = conservation_report(coarse, fine)
    assert report.how == "mean"
    assert abs(report.error).max() < 1e-12
    for how, expected in (("mean", "mean"), ("nearest", "")):
        path = save_weights(tmp_path / f"{how}.nc", ds, "EASE2_M36km", how)
        options = {"min_valid": 0, "valid_fraction": True} if how == "mean" else {}
        report = conservation_report(ds, apply_weights(ds, path, "EASE2_M36km", **options))
        assert report.how == expected
    path = tmp_path / "mean.nc"
    report = conservation_report(ds, apply_weights(ds, path, "EASE2_M36km", min_valid=0, valid_fraction=True))
    assert abs(report.error).max() < 1e-9


def test_layers_must_be_the_same():
    days = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
    ds = on(LATLON, lead=(3,), missing=0).assign_coords(time=days)
    made = upscale(ds, "EASE2_M36km", min_valid=0, valid_fraction=True)
    for wrong in (made.isel(time=[0, 1]), made.assign_coords(time=days + np.timedelta64(1, "D"))):
        with pytest.raises(
            GridMismatchError, match=r"'time' of 'clay' differs: 3 \(2000-01-01.*expected the same labels"
        ):
            conservation_report(ds, wrong)
    with pytest.raises(GridMismatchError, match=r"'time' of 'clay' differs: 3 \(0 to 2\)"):
        conservation_report(ds.drop_vars("time"), made.isel(time=[0, 1]).drop_vars("time"))
    with pytest.raises(GridMismatchError, match=r"dimensions \('time',\) in the source and \(\) in the target"):
        conservation_report(ds, made.isel(time=0))
    turned = conservation_report(ds, made.isel(time=[2, 0, 1]))
    assert abs(turned.error).max() < 1e-12
    assert turned.time.values.tolist() == ds.time.values.tolist()


def test_faults():
    ds = on(LATLON)
    made = upscale(ds, "EASE2_M36km")
    with pytest.raises(MissingVariableError, match=r"no variable in common: the source has \['sand'\]"):
        conservation_report(ds.rename(clay="sand"), made)
    with pytest.raises(UnknownNameError, match="did you mean 'sum'"):
        conservation_report(ds, made, how="summ")
    with pytest.raises(MissingVariableError, match=r"how names 'sand', which is not among the maps \['clay'\]"):
        conservation_report(ds, made, how={"sand": "sum"})
    with pytest.raises(NoOverlapError, match="do not overlap"):
        conservation_report(ds, on(ease_grid("EASE2_M36km", (5, 45, 8, 47))))
    before = ds.copy(deep=True)
    conservation_report(ds, made)
    xr.testing.assert_identical(ds, before)
