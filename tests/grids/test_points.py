"""Point operators: stored values, scipy and ESMF as oracles; edges, seams, orientation, tiles."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import map_coordinates

from xsoil.errors import UnknownNameError
from xsoil.grids.ease import ease_grid
from xsoil.grids.points import HOWS, PointSampler

ALBERS = GeoBox((45, 50), Affine(9000.0, 0, -900_000, 0, -9000, 1_800_000), "EPSG:5070")


def latlon(rows=40, columns=50, step=0.25, north=43.0, west=-110.0):
    return GeoBox((rows, columns), Affine(step, 0, west, 0, -step, north), "EPSG:4326")


def field(box, seed=0, missing=0.0, layers=1):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, (layers, *box.shape))
    values[rng.random(values.shape) < missing] = np.nan
    return values


def whole(box):
    return slice(0, box.shape[0]), slice(0, box.shape[1])


def sample(source, target, values, how, min_valid=0.5, threads=1):
    return PointSampler(source, target, how).sample(values, (0, 0), *whole(target), min_valid, threads)


def centres(target, source):
    """Target centres as fractional row and column of the source's centres."""
    column, row = np.meshgrid(np.arange(target.shape[1]) + 0.5, np.arange(target.shape[0]) + 0.5)
    a = target.affine
    x, y = a.a * column + a.b * row + a.c, a.d * column + a.e * row + a.f
    x, y = Transformer.from_crs(target.crs, source.crs, always_xy=True).transform(x, y)
    b = ~source.affine
    return b.d * x + b.e * y + b.f - 0.5, b.a * x + b.b * y + b.c - 0.5


# -- oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "how"), [("nearest", "nearest"), ("bilinear", "bilinear"), ("bicubic", "cubic")])
def test_stored_table(reference, name, how):
    values = np.loadtxt(reference / "physics" / "regrid_source_values.csv", delimiter=",")
    source = GeoBox((46, 60), Affine(20 / 60, 0, -10, 0, -20 / 46, 60), "EPSG:4326")
    target = GeoBox((5, 7), Affine(20 / 7, 0, -10, 0, -4, 60), "EPSG:4326")
    table = np.genfromtxt(
        reference / "physics" / "regrid_result.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    rows = table[table["op"] == name]
    assert rows.size == 35
    got, fraction = sample(source, target, values[None], how)
    at = (0, rows["row"], rows["col"])
    np.testing.assert_allclose(got[at], rows["value"], rtol=1e-9)
    assert (fraction[at][~np.isnan(rows["value"])] >= 0.5).all()


TARGETS = {
    "latlon": latlon(33, 41, 0.21, 42.5, -109.3),
    "ease": ease_grid("EASE2_M25km", (-108, 35, -100, 42)),
    "albers": ALBERS,
    "rotated": GeoBox((20, 30), Affine.translation(-107, 40) @ Affine.rotation(20) @ Affine.scale(0.1, -0.1), 4326),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_interior_against_scipy(target):
    source = latlon()
    values = field(source)
    row, column = centres(target, source)
    inside = (row > 1.5) & (row < 37.5) & (column > 1.5) & (column < 47.5)
    assert inside.sum() > 300
    points = np.stack([row[inside], column[inside]], axis=-1)
    grid = (np.arange(40.0), np.arange(50.0))
    expected = {
        "nearest": map_coordinates(values[0], points.T, order=0),
        "bilinear": RegularGridInterpolator(grid, values[0])(points),
        "cubic": [keys(values[0], *point) for point in points],
    }
    for how in HOWS:
        got, fraction = sample(source, target, values, how)
        np.testing.assert_allclose(got[0][inside], expected[how], rtol=1e-9, atol=1e-8, err_msg=how)
        assert (fraction[0][inside] == 1).all()


def keys(values, row, column):
    """Cubic convolution by its definition (Keys 1981, eq. 4 with a = -0.5)."""

    def weight(s):
        s = abs(s)
        if s <= 1:
            return 1.5 * s**3 - 2.5 * s**2 + 1
        return -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2 if s < 2 else 0.0

    rows, columns = (int(np.floor(p)) + np.arange(-1, 3) for p in (row, column))
    return sum(weight(row - r) * weight(column - c) * values[r, c] for r in rows for c in columns)


def test_rotated_source_against_scipy():
    source = TARGETS["rotated"]
    target = GeoBox((9, 9), Affine(0.05, 0, -106.3, 0, -0.05, 40.0), 4326)
    values = field(source)
    row, column = centres(target, source)
    assert row.min() > 0
    assert column.min() > 0
    got, _ = sample(source, target, values, "bilinear")
    np.testing.assert_allclose(got[0], map_coordinates(values[0], [row, column], order=1), rtol=1e-9)


@pytest.mark.parametrize(("case", "tolerance"), [("ease36", 5.8e-6), ("ease9", 7.4e-6), ("latlon", 1.5e-4)])
def test_esmf_bilinear(reference, case, tolerance):
    """ESMF interpolates along great circles, and so differs by what its README says."""
    first = "a_source_latlon_0p1.nc" if case != "latlon" else "c_source_ease36.nc"
    last = f"a_target_{case}_nomask.nc" if case != "latlon" else "c_target_latlon_0p1_nomask.nc"
    given = xr.open_dataset(reference / "esmf" / first)
    expected = xr.open_dataset(reference / "esmf" / last)["bilinear"].values
    north = GeoBox((80, 120), Affine(0.1, 0, -112, 0, 0.1, 34), "EPSG:4326")

    def window(name, row, column, shape):
        grid = ease_grid(name)
        return GeoBox(shape, grid.affine @ Affine.translation(column, row), grid.crs)

    if case == "latlon":
        source, target = window("EASE2_M36km", 67, 183, (22, 31)), north
        assert given["field"].shape == source.shape
    else:
        row, column = (67, 183) if case == "ease36" else (268, 729)
        source, target = (
            north,
            window(case.replace("ease", "EASE2_M").replace("M9", "M09") + "km", row, column, expected.shape),
        )
    got, fraction = sample(source, target, given["field"].values[None], "bilinear")
    mapped = (fraction[0] > 1 - 1e-9) & np.isfinite(expected) & (expected != 0)
    assert mapped.sum() > 400
    np.testing.assert_allclose(got[0][mapped], expected[mapped], atol=tolerance)


# -- rules -----------------------------------------------------------------------------------------


def test_nearest_is_half_open():
    source = GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 4), "EPSG:4326")
    target = GeoBox((2, 2), Affine(2, 0, 0, 0, -2, 4), "EPSG:4326")  # centres on corners of source cells
    got, _ = sample(source, target, np.arange(16.0).reshape(1, 4, 4), "nearest")
    np.testing.assert_array_equal(got[0], [[1, 3], [9, 11]])


def test_beyond_the_outermost_centres():
    """Half a cell more, where the valid weight reaches min_valid; nothing beyond the outer edge."""
    source = GeoBox((1, 4), Affine(1.0, 0, 0, 0, -1.0, 1), "EPSG:32631")
    target = GeoBox((1, 5), Affine(1.25, 0, -1.125, 0, -1.0, 1), "EPSG:32631")  # x = -0.5, 0.75, 2.0, 3.25, 4.5
    values = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    got, fraction = sample(source, target, values, "bilinear", 0.0)
    np.testing.assert_allclose(got[0, 0], [np.nan, 1.25, 2.5, 3.75, np.nan])
    np.testing.assert_allclose(fraction[0, 0], [0, 1, 1, 1, 0])
    near = GeoBox((1, 3), Affine(0.25, 0, -0.125, 0, -1.0, 1), "EPSG:32631")  # x = 0, 0.25, 0.5
    got, fraction = sample(source, near, values, "bilinear")
    np.testing.assert_allclose(fraction[0, 0], [0.5, 0.75, 1.0])
    np.testing.assert_allclose(got[0, 0], 1.0)
    got, _ = sample(source, near, values, "bilinear", 0.6)
    np.testing.assert_allclose(got[0, 0], [np.nan, 1.0, 1.0])
    got, fraction = sample(source, near, values, "cubic")  # only the last centre lies on a source centre
    np.testing.assert_array_equal(got[0, 0], [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(fraction[0, 0], [0, 0, 1])


def test_missing_corners_are_renormalised():
    source = GeoBox((2, 2), Affine(1.0, 0, 0, 0, -1.0, 2), "EPSG:32631")
    target = GeoBox((1, 1), Affine(0.5, 0, 0.5, 0, -0.5, 1.5), "EPSG:32631")  # centre at (0.75, 1.25)
    values = np.array([[[1.0, 2.0], [4.0, 8.0]]])
    weights = np.array([[[9, 3], [3, 1]]]) / 16
    for missing in np.ndindex(2, 2):
        some = values.copy()
        some[0][missing] = np.nan
        valid = ~np.isnan(some)
        got, fraction = sample(source, target, some, "bilinear")
        assert fraction[0, 0, 0] == weights[valid].sum()
        if fraction[0, 0, 0] < 0.5:
            assert np.isnan(got[0, 0, 0])
        else:
            assert got[0, 0, 0] == pytest.approx((weights * some)[valid].sum() / weights[valid].sum(), rel=1e-15)
    half = np.array([[[np.nan, 2.0], [4.0, np.nan]]])
    middle = GeoBox((1, 1), Affine(1.0, 0, 0.5, 0, -1.0, 1.5), "EPSG:32631")
    assert sample(source, middle, half, "bilinear")[0] == 3.0  # exactly min_valid


def test_a_missing_cell_of_sixteen():
    source = GeoBox((4, 4), Affine(1.0, 0, 0, 0, -1.0, 4), "EPSG:32631")
    target = GeoBox((1, 1), Affine(0.2, 0, 2.0, 0, -0.2, 2.2), "EPSG:32631")
    values = field(source)
    assert np.isfinite(sample(source, target, values, "cubic")[0]).all()
    for missing in np.ndindex(4, 4):
        some = values.copy()
        some[0][missing] = np.nan
        assert np.isnan(sample(source, target, some, "cubic")[0]).all()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("box", [latlon(), ALBERS, ease_grid("EASE2_M25km", (-108, 35, -100, 42))], ids=lambda b: b.crs)
def test_the_same_grid_is_the_same_field(box, how):
    values = field(box, missing=0.2)
    np.testing.assert_array_equal(sample(box, box, values, how)[0], values)


def test_centres_on_centres_give_their_values():
    """Every third cell of a finer grid, whatever its neighbours are."""
    source = ease_grid("EASE2_M03km", (-106, 37, -105, 38.5))
    a = source.affine
    target = GeoBox((10, 10), Affine(3 * a.a, 0, a.c, 0, 3 * a.e, a.f), source.crs)
    values = field(source, missing=0.3)
    for how in HOWS:
        np.testing.assert_array_equal(sample(source, target, values, how)[0], values[:, 1:30:3, 1:30:3])


def test_a_plane_is_kept():
    source = latlon()
    row, column = np.mgrid[0:40, 0:50]
    target = ease_grid("EASE2_M09km", (-108, 35, -100, 42))
    at_row, at_column = centres(target, source)
    for how in ("bilinear", "cubic"):
        got, _ = sample(source, target, (3.0 * row + 2.0 * column)[None], how)
        np.testing.assert_allclose(got[0], 3 * at_row + 2 * at_column, rtol=1e-8)


# -- seams -----------------------------------------------------------------------------------------


def globe(first=-180.0, step=3.0):
    return GeoBox((int(180 / step), int(360 / step)), Affine(step, 0, first, 0, -step, 90), "EPSG:4326")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "target",
    [globe(step=2.5), ease_grid("EASE2_M36km", (150, -40, -160, 50)), ease_grid("EASE2_N36km", (0, 60, 360, 90))],
    ids=["latlon", "ease", "polar"],
)
def test_a_global_axis_has_no_seam(target, how):
    values = field(globe(), missing=0.1)
    expected, fraction = sample(globe(), target, values, how)
    # All that is missing is what cells near the poles or the missing cells are needed for.
    assert np.isfinite(expected).mean() > (0.7 if how != "cubic" else 0.05)
    for shift in (60, 31):  # 0-360, and rolled
        first = -180.0 + 3.0 * shift
        got, other = sample(globe(first), target, np.roll(values, -shift, axis=2), how)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(other, fraction)
    turned = GeoBox((60, 120), Affine(-3.0, 0, 180.0, 0, 3.0, -90), "EPSG:4326")
    np.testing.assert_array_equal(sample(turned, target, values[:, ::-1, ::-1], how)[0], expected)


def test_between_the_last_and_the_first_column():
    target = GeoBox((1, 1), Affine(1.0, 0, 179.75, 0, -3.0, 3), "EPSG:4326")  # centre at 180.25
    values = np.zeros((1, 60, 120))
    values[..., 0], values[..., -1] = 12.0, 6.0
    got, _ = sample(globe(), target, values, "bilinear")
    assert got[0, 0, 0] == pytest.approx(6.0 * (1.25 / 3) + 12.0 * (1.75 / 3))
    assert PointSampler(globe(), target, "bilinear").window(*whole(target))[1].start < 0
    full = ease_grid("EASE2_M36km")
    a = full.affine
    beyond = GeoBox((1, 1), Affine(a.a, 0, a.c + a.a * (full.shape[1] - 0.5), 0, a.e, a.f + 200 * a.e), full.crs)
    values = np.zeros((1, *full.shape))
    values[..., 0], values[..., -1] = 12.0, 6.0
    assert sample(full, beyond, values, "bilinear")[0][0, 0, 0] == pytest.approx(9.0)


@pytest.mark.parametrize("how", HOWS)
def test_a_region_in_either_longitudes(how):
    values = field(latlon(), missing=0.1)
    east = latlon(west=250.0)
    for target in (latlon(33, 41, 0.21, 42.5, -109.3), ALBERS):
        np.testing.assert_allclose(
            sample(east, target, values, how)[0], sample(latlon(), target, values, how)[0], rtol=1e-9
        )


def test_places_that_are_not_on_earth():
    """The inverse of the sinusoidal projection names a longitude also beyond the edge of the world."""
    target = GeoBox((20, 40), Affine(1e6, 0, -2e7, 0, -1e6, 1e7), "+proj=sinu +R=6371007.181 +units=m +type=crs")
    got, _ = sample(globe(), target, np.ones((1, 60, 120)), "nearest")
    row, column = np.mgrid[0:20, 0:40] + 0.5
    y, x = (10 - row) * 1e6 / 6371007.181, (column - 20) * 1e6 / 6371007.181
    on_earth = (np.abs(x) <= np.pi * np.cos(y)) & (np.abs(y) < np.pi / 2)
    np.testing.assert_array_equal(np.isfinite(got[0]), on_earth)


# -- bits ------------------------------------------------------------------------------------------

PAIRS = {
    "latlon-ease": (latlon(), ease_grid("EASE2_M25km", (-111, 32, -96, 44))),
    "latlon-albers": (latlon(), ALBERS),
    "albers-latlon": (ALBERS, latlon(33, 41, 0.2, 43.0, -112)),
    "globe-across": (globe(), ease_grid("EASE2_M36km", (150, -40, -160, 50))),
    "globe-north": (globe(), ease_grid("EASE2_N36km", (0, 60, 360, 90))),
}


@settings(max_examples=40)
@given(pair=st.sampled_from(list(PAIRS)), how=st.sampled_from(HOWS), data=st.data())
def test_tiles_never_show(pair, how, data):
    """A tile from its window alone has the bits of the whole, whatever the layout of the window."""
    source, target = PAIRS[pair]
    values = field(source, missing=0.1, layers=2)
    expected, share = sample(source, target, values, how, threads=2)
    height, width = target.shape
    r0, c0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows = slice(r0, data.draw(st.integers(r0 + 1, height)))
    cols = slice(c0, data.draw(st.integers(c0 + 1, width)))
    sampler = pickle.loads(pickle.dumps(PointSampler(source, target, how)))
    window = sampler.window(rows, cols)
    if window is None:
        assert np.isnan(expected[:, rows, cols]).all()
        return
    columns = np.arange(window[1].start, window[1].stop)
    assert window[0].start >= 0
    assert window[0].stop <= source.shape[0]
    part = values[:, window[0]][:, :, columns % source.shape[1]]
    got, fraction = sampler.sample(part, (window[0].start, window[1].start), rows, cols)
    np.testing.assert_array_equal(got, expected[:, rows, cols])
    np.testing.assert_array_equal(fraction, share[:, rows, cols])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("pair", list(PAIRS))
def test_orientation_never_shows(pair, how):
    source, target = PAIRS[pair]
    values = field(source, missing=0.1)
    expected, _ = sample(source, target, values, how)
    a, (rows, columns) = source.affine, source.shape
    flipped = {
        (1, -1): Affine(a.a, 0, a.c, 0, -a.e, a.f + a.e * rows),
        (-1, 1): Affine(-a.a, 0, a.c + a.a * columns, 0, a.e, a.f),
        (-1, -1): Affine(-a.a, 0, a.c + a.a * columns, 0, -a.e, a.f + a.e * rows),
    }
    for (along_x, along_y), affine in flipped.items():
        box = GeoBox(source.shape, affine, source.crs)
        given = values[:, ::along_y, ::along_x]
        np.testing.assert_array_equal(sample(box, target, given, how)[0], expected)
        window = PointSampler(box, target, how).window(*whole(target))
        part = given[:, window[0]][:, :, np.arange(window[1].start, window[1].stop) % columns]
        origin = (window[0].start, window[1].start)
        got, _ = PointSampler(box, target, how).sample(part, origin, *whole(target))
        np.testing.assert_array_equal(got, expected)


def test_windows_are_small():
    target = ease_grid("EASE2_M09km")
    for how, halo in (("nearest", 0), ("bilinear", 1), ("cubic", 2)):
        rows, cols = PointSampler(globe(step=0.1), target, how).window(slice(700, 800), slice(1000, 1100))
        assert rows.stop - rows.start <= 90 + 2 * halo
        assert cols.stop - cols.start <= 95 + 2 * halo


def test_precision_and_empty_results():
    source, target = latlon(), latlon(5, 6, 0.3, 40.0, -105)
    values = field(source).astype("f4")
    assert sample(source, target, values, "nearest")[0].dtype == np.float32
    assert sample(source, target, values, "bilinear")[0].dtype == np.float64
    away = latlon(5, 6, 0.3, -40.0, 20)
    for how in HOWS:
        assert PointSampler(source, away, how).window(*whole(away)) is None
        got, fraction = sample(source, away, values, how)
        assert np.isnan(got).all()
        assert (fraction == 0).all()
        got, fraction = sample(source, target, values * np.nan, how)
        assert np.isnan(got).all()
        assert (fraction == 0).all()


def test_an_unknown_name():
    with pytest.raises(UnknownNameError, match=r"'linear'.*bilinear"):
        PointSampler(latlon(), latlon(), "linear")
