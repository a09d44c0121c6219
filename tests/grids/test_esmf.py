"""Weight files as arrays: their names and checks, which way their cells run, areas of cells."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.grids.areas import AUTHALIC_RADIUS, cell_areas
from xsoil.grids.ease import ease_grid
from xsoil.grids.esmf import corner_places, describe_grid, read_weights, wanted
from xsoil.grids.sparse import Order, WeightMatrix, centres, order_of

SOURCE = GeoBox((6, 8), Affine(0.5, 0, 10, 0, -0.5, 50), "EPSG:4326")
TARGET = GeoBox((3, 4), Affine(1.0, 0, 10, 0, -1.0, 50), "EPSG:4326")
LAEA = "+proj=laea +lat_0=40 +lon_0=-100 +datum=WGS84 +units=m +type=crs"


def places(box):
    row, column = np.mgrid[: box.shape[0], : box.shape[1]]
    return centres(box, row, column)


def nested(source=SOURCE, target=TARGET):
    """Means of 2 x 2 cells as a file would hold them, with indices from 1 and without coordinates."""
    row, column = np.mgrid[: source.shape[0], : source.shape[1]]
    cell = row // 2 * target.shape[1] + column // 2
    return {
        "row": cell.ravel().astype("i4") + 1,
        "col": np.arange(1, cell.size + 1, dtype="i4"),
        "S": np.full(cell.size, 0.25),
    }


def turned(box, rows, columns):
    a, (ny, nx) = box.affine, box.shape
    return GeoBox(
        box.shape,
        Affine(-a.a if columns else a.a, 0, a.c + a.a * nx * columns, 0, -a.e if rows else a.e, a.f + a.e * ny * rows),
        box.crs,
    )


def product(file, values, source_box):
    matrix = file.matrix
    rows, cols = slice(0, matrix.target_shape[0]), slice(0, matrix.target_shape[1])
    total, share = matrix.multiply(values[None], (0, 0), rows, cols, file.source, file.target, False)
    return total[0], share[0]


def test_names_of_esmf_and_scrip():
    assert wanted(["row", "col", "S", "yc_a", "other"]) == {"row": "row", "col": "col", "S": "S", "source_lat": "yc_a"}
    found = wanted(["dst_address", "src_address", "remap_matrix", "src_grid_dims", "dst_grid_area"])
    assert found["S"] == "remap_matrix"
    assert found["source_dims"] == "src_grid_dims"
    assert found["target_area"] == "dst_grid_area"
    with pytest.raises(ArgumentError, match=r"holds \['lat', 'row'\]; expected row, col and S"):
        wanted(["row", "lat"])


def test_means_of_nested_cells():
    file = read_weights(nested(), {}, {}, SOURCE, TARGET)
    values = np.arange(48.0).reshape(6, 8)
    total, share = product(file, values, SOURCE)
    np.testing.assert_array_equal(total, values.reshape(3, 2, 4, 2).mean(axis=(1, 3)))
    np.testing.assert_array_equal(share, 1.0)


def test_entries_in_any_order_give_the_same_bits():
    arrays = nested()
    arrays["S"] = np.random.default_rng(0).random(48)
    mixed = np.random.default_rng(1).permutation(48)
    one = read_weights(arrays, {}, {}, SOURCE, TARGET).matrix
    two = read_weights({name: a[mixed] for name, a in arrays.items()}, {}, {}, SOURCE, TARGET).matrix
    for name in ("pointer", "column", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_first_order_weights_of_scrip():
    arrays = nested() | {"S": np.stack([np.full(48, 0.25), np.full(48, 9.0), np.full(48, 9.0)], axis=1)}
    file = read_weights(arrays, {}, {"map_method": "Conservative remapping"}, SOURCE, TARGET)
    assert set(file.matrix.weight) == {0.25}
    with pytest.raises(ArgumentError, match="need gradients"):
        read_weights(arrays, {}, {"map_method": "Bicubic remapping"}, SOURCE, TARGET)


def test_unnormalised_weights_are_divided_by_the_area():
    arrays = nested() | {"S": np.full(48, 2.0), "target_area": np.full(12, 8.0)}
    file = read_weights(arrays, {}, {"normalization": "none"}, SOURCE, TARGET)
    assert set(file.matrix.weight) == {0.25}
    del arrays["target_area"]
    with pytest.raises(ArgumentError, match="not normalised"):
        read_weights(arrays, {}, {"normalization": "none"}, SOURCE, TARGET)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"row": nested()["row"] - 1}, ArgumentError, "target cells start at 0; expected 1"),
        ({"col": nested()["col"] + 1}, GridMismatchError, "names its cell 49, but the source grid has 6 x 8 = 48"),
        ({"col": nested()["col"] + 0.5}, ArgumentError, "expected whole numbers"),
        ({"S": np.full(47, 0.25)}, ArgumentError, "do not agree"),
        ({"S": np.where(np.arange(48) == 3, np.nan, 0.25)}, ArgumentError, "1 of 48 weights are not finite"),
        ({"source_dims": [6, 8]}, GridMismatchError, r"columns, rows\) = \(6, 8\); expected .* with \(8, 6\)"),
        ({"target_dims": [13]}, GridMismatchError, r"another target.*\(13,\)"),
    ],
)
def test_faults_of_files(change, error, match):
    arrays = nested() | {name: np.asarray(a) for name, a in change.items()}
    with pytest.raises(error, match=match):
        read_weights(arrays, {}, {}, SOURCE, TARGET)


def test_sizes_of_unstructured_files_are_products():
    read_weights(nested() | {"source_dims": np.array([48]), "target_dims": np.array([12])}, {}, {}, SOURCE, TARGET)


@pytest.mark.parametrize("units", ["degrees", "radians"])
@pytest.mark.parametrize(("rows", "columns"), [(False, False), (True, False), (False, True), (True, True)])
def test_coordinates_tell_which_way_the_cells_run(rows, columns, units):
    """The file stays; data and target turn."""
    arrays, scale = nested(), {"degrees": 1.0, "radians": np.pi / 180}[units]
    for what, box in (("source", SOURCE), ("target", TARGET)):
        lon, lat = places(box)
        arrays[f"{what}_lon"], arrays[f"{what}_lat"] = (lon % 360).ravel() * scale, lat.ravel() * scale
    flip = (slice(None, None, -1 if rows else None), slice(None, None, -1 if columns else None))
    values = np.arange(48.0).reshape(6, 8)
    expected = values.reshape(3, 2, 4, 2).mean(axis=(1, 3))
    marks = {f"{what}_{axis}": units for what in ("source", "target") for axis in ("lon", "lat")}
    file = read_weights(arrays, marks, {}, turned(SOURCE, rows, columns), TARGET)
    np.testing.assert_array_equal(product(file, values[flip], SOURCE)[0], expected)
    file = read_weights(arrays, marks, {}, SOURCE, turned(TARGET, rows, columns))
    np.testing.assert_array_equal(product(file, values, SOURCE)[0], expected[flip])


def test_coordinates_of_another_grid():
    arrays = nested()
    lon, lat = places(SOURCE)
    arrays["source_lon"], arrays["source_lat"] = lon.ravel() + 0.25, lat.ravel()
    with pytest.raises(GridMismatchError, match=r"another source: the file's first cell lies at 10\.5 E, 49\.75 N"):
        read_weights(arrays, {}, {}, SOURCE, TARGET)


def test_zeros_are_no_coordinates():
    arrays = nested() | {"source_lon": np.zeros(48), "source_lat": np.zeros(48)}
    assert read_weights(arrays, {}, {}, SOURCE, TARGET).source == Order()


def test_without_coordinates_the_weights_must_fit_the_grids():
    upside_down = turned(SOURCE, rows=True, columns=False)
    with pytest.raises(GridMismatchError, match="fit with the rows of the source reversed"):
        read_weights(nested(), {}, {}, upside_down, TARGET)
    elsewhere = GeoBox((6, 8), Affine(0.5, 0, 30, 0, -0.5, 50), "EPSG:4326")
    with pytest.raises(GridMismatchError, match="do not belong to these two grids") as caught:
        read_weights(nested(), {}, {}, elsewhere, TARGET)
    assert "reversed" not in str(caught.value)


def test_a_global_axis_may_start_elsewhere():
    from_zero = GeoBox((18, 36), Affine(10, 0, 0, 0, -10, 90), "EPSG:4326")
    from_dateline = GeoBox((18, 36), Affine(10, 0, -180, 0, 10, -90), "EPSG:4326")
    order = order_of(from_dateline, *places(from_zero), "source")
    rows, columns = order.to_array(np.array([0, 17]), np.array([0, 17]), 36)
    np.testing.assert_array_equal(rows, [17, 0])
    np.testing.assert_array_equal(columns, [18, 35])
    back = order.to_file(rows, columns, 36)
    np.testing.assert_array_equal(back[0], [0, 17])
    np.testing.assert_array_equal(back[1], [0, 17])
    matrix = WeightMatrix.of(np.zeros(2, int), np.array([3, 5]), np.ones(2), (18, 36), (1, 1))
    window = matrix.window(slice(0, 1), slice(0, 1), order, Order())
    assert window == (slice(17, 18), slice(21, 24))


def test_a_window_may_run_beyond_the_width():
    order = Order(column=18)
    matrix = WeightMatrix.of(np.zeros(2, int), np.array([16, 19]), np.ones(2), (1, 36), (1, 1))
    assert matrix.window(slice(0, 1), slice(0, 1), order, Order()) == (slice(0, 1), slice(34, 38))
    values = np.arange(36.0)
    whole, _ = matrix.multiply(values[None, None], (0, 0), slice(0, 1), slice(0, 1), order, Order(), False)
    cut = values[np.arange(34, 38) % 36][None, None]
    part, _ = matrix.multiply(cut, (0, 34), slice(0, 1), slice(0, 1), order, Order(), False)
    assert whole.item() == part.item() == 34 + 1


def test_a_target_across_the_dateline():
    box = ease_grid("EASE2_M36km", (178, -5, -178, 5))
    lon, lat = places(box)
    assert (lon < 0).any()
    assert (lon > 0).any()
    assert order_of(box, lon, lat, "target") == Order()


@pytest.mark.parametrize(
    ("crs", "affine"),
    [
        ("EPSG:4326", (0.1, 0, -105, 0, -0.1, 40)),
        ("EPSG:32613", (9000, 0, 4e5, 0, -9000, 4.5e6)),
        ("EPSG:32613", (9000, 2000, 4e5, 2000, -9000, 4.5e6)),
        ("EPSG:5070", (9000, 0, 1e6, 0, 9000, 2e6)),
        ("EPSG:3413", (9000, 0, 1e6, 0, -9000, -1e6)),
        ("EPSG:3857", (9000, 0, -1.1e7, 0, -9000, 5e6)),
    ],
)
def test_areas_against_geodesics(crs, affine):
    box = GeoBox((5, 6), Affine(*affine), crs)
    t = np.linspace(0, 1, 65)[:-1]
    c, r = np.concatenate([t, t * 0 + 1, 1 - t, t * 0]) + 3, np.concatenate([t * 0, t, t * 0 + 1, 1 - t]) + 2
    a = box.affine
    ring = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
        a.a * c + a.b * r + a.c, a.d * c + a.e * r + a.f
    )
    expected = abs(Geod(ellps="WGS84").polygon_area_perimeter(*ring)[0])
    for working in ("EPSG:6933", LAEA):
        areas = np.broadcast_to(cell_areas(box, working), box.shape)
        assert areas[2, 3] == pytest.approx(expected, rel=1e-8)
        np.testing.assert_array_equal(cell_areas(box, working, slice(2, 3))[0, -1], areas[2, -1])


def test_areas_of_the_world():
    whole = cell_areas(GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326"), "EPSG:6933")
    assert whole.sum() == pytest.approx(4 * np.pi * AUTHALIC_RADIUS**2, rel=1e-9)


@pytest.mark.parametrize("box", [TARGET, turned(TARGET, rows=True, columns=False), turned(TARGET, False, True)])
def test_described_grids(box):
    found = describe_grid(box, "b", "EPSG:6933", np.ones(12), corners=True)
    np.testing.assert_array_equal(found["dst_grid_dims"], [4, 3])
    lon, lat = places(box)
    np.testing.assert_array_equal(found["xc_b"].reshape(3, 4), lon)
    x, y = found["xv_b"], found["yv_b"]
    np.testing.assert_allclose(x.mean(axis=1), found["xc_b"])
    np.testing.assert_allclose(y.mean(axis=1), lat.ravel())
    turn_left = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 1]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 1])
    assert (turn_left > 0).all()
    sphere = np.radians(np.diff(np.sin(np.radians(np.sort(y, axis=1)[:, [0, -1]])), axis=1)[:, 0])
    np.testing.assert_allclose(found["area_b"], sphere, rtol=5e-3)  # geodetic latitudes are not spherical ones
    assert "xv_b" not in describe_grid(box, "b", "EPSG:6933", np.ones(12), corners=False)


def test_corners_stop_at_the_pole():
    box = GeoBox((3, 4), Affine(90, 0, -180, 0, -90, 135), "EPSG:4326")
    assert corner_places(box)[1].max() == 90.0
