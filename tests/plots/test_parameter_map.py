"""Maps: which cells are drawn where, colours, ticks, and what is read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from matplotlib.colors import LogNorm
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer

import xsoil
from xsoil.errors import ArgumentError, CRSError, MissingVariableError, UnknownNameError
from xsoil.plots import parameter_map
from xsoil.plots._raster import raster_of

CONUS = xsoil.ease_grid("EASE2_M36km", (-104, 33, -94, 40))


def field(geobox: GeoBox, name="sand", units="percent", of=lambda x, y: x + y, **attrs) -> xr.DataArray:
    coords = xr_coords(geobox)
    dy, dx = geobox.dimensions
    y, x = np.meshgrid(coords[dy].values, coords[dx].values, indexing="ij")
    return xr.DataArray(of(x, y), coords, (dy, dx), name=name, attrs={"units": units, **attrs})


def labels(axis) -> list[str]:
    axis.axes.figure.canvas.draw()
    return [text.get_text() for text in axis.get_ticklabels()]


@pytest.mark.parametrize("flip", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("cells", [5, 100])
def test_a_cell_is_drawn_where_it_lies(flip, cells):
    geobox = GeoBox.from_bbox((10, 40, 21, 47), "EPSG:4326", resolution=1.0)
    array = field(geobox, of=lambda x, y: 100 * x + y)[:: flip[0], :: flip[1]]
    ax = parameter_map(array, cells=cells)
    (image,) = ax.images
    drawn = image.get_array()
    left, right, bottom, top = image.get_extent()
    x = left + (np.arange(drawn.shape[1]) + 0.5) * (right - left) / drawn.shape[1]
    y = top - (np.arange(drawn.shape[0]) + 0.5) * (top - bottom) / drawn.shape[0]
    # The cell in the middle of each block of 3: of the 7 rows 2 blocks, of the 11 columns 4.
    assert drawn.shape == ((7, 11) if cells == 100 else (2, 4))
    expected = 100 * x[None, :] + y[:, None]
    np.testing.assert_allclose(drawn, expected)
    assert ax.get_xlim() == (10, 21)
    assert ax.get_ylim() == (40, 47)


def test_a_rotated_grid_is_drawn_as_a_mesh():
    geobox = GeoBox((6, 8), Affine.translation(1e6, 2e6) * Affine.rotation(30) * Affine.scale(1e4, -1e4), "EPSG:5070")
    array = xr.DataArray(np.arange(48.0).reshape(6, 8), xr_coords(geobox), geobox.dimensions, name="ph")
    ax = parameter_map(array, coast=False, colorbar=False)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), np.arange(48))
    corner = mesh.get_coordinates()[0, 0]
    np.testing.assert_allclose(corner, (1e6, 2e6))


def test_only_blocks_with_drawn_cells_are_read(no_compute):
    read = []

    def block(block_info=None):
        (y0, y1), (x0, x1) = block_info[None]["array-location"]
        read.append((y0, x0))
        return np.zeros((y1 - y0, x1 - x0), "f4")

    geobox = GeoBox.from_bbox((0, 0, 40, 20), "EPSG:4326", resolution=0.01)
    values = da.map_blocks(block, chunks=((500,) * 4, (500,) * 8), dtype="f4", meta=np.empty((0, 0), "f4"))
    array = xr.DataArray(values, xr_coords(geobox), geobox.dimensions, name="ph")
    raster = raster_of(array, 100, (11.0, 14.0, 6.0, 9.0))
    assert read == []
    assert raster.array.shape == (100, 100)
    import dask

    with dask.config.set(scheduler="sync"):
        drawn = parameter_map(array, region=(11.0, 14.0, 6.0, 9.0), cells=100)
    assert set(read) == {(1000, 1000)}
    assert drawn.get_xlim() == (11, 14)
    assert drawn.images[0].get_array().shape == (100, 100)


def test_k_is_drawn_on_a_logarithmic_scale():
    k = field(CONUS, "k_sat", "cm d-1", lambda x, y: 10 ** ((x - x.min()) / np.ptp(x) * 3))
    ax = parameter_map(k.to_dataset(), "k_sat")
    norm = ax.images[0].norm
    assert isinstance(norm, LogNorm)
    np.testing.assert_allclose([norm.vmin, norm.vmax], np.percentile(k, (2, 98)))
    (bar,) = ax.child_axes
    assert bar.get_ylabel().replace("\n", " ") == "saturated hydraulic conductivity [cm d⁻¹]"
    assert [text for text in labels(bar.yaxis) if text] == ["1", "10", "100", "1000"]
    assert not isinstance(parameter_map(k, scale="linear").images[0].norm, LogNorm)
    assert parameter_map(k, vmin=1, vmax=50).images[0].norm.vmax == 50


def test_missing_cells_show_the_ground(pixels):
    array = field(CONUS)
    array[3:6, 4:9] = np.nan
    k = array.rename("k_sat").assign_attrs(units="cm d-1") * 0 - 1  # no logarithm: nothing to colour, no error
    ax = parameter_map(array)
    assert ax.images[0].get_array().mask.sum() == 15
    assert (pixels(ax) == round(0.93 * 255)).all(axis=-1).sum() > 100
    parameter_map(k.rename("k_sat"))


def test_nodata_and_scales_of_integers():
    array = field(CONUS, "ph", "1", lambda x, y: (0 * x + 65).astype("i2"), nodata=-9, scale_factor=0.1)
    array[0, 0] = -9
    drawn = parameter_map(array).images[0].get_array()
    assert drawn.mask[0, 0]
    np.testing.assert_allclose(drawn.compressed(), 6.5)


def test_classes_have_a_colour_and_a_name_each():
    kinds = field(CONUS, "kind", "1", lambda x, y: (np.arange(x.size).reshape(x.shape) % 4).astype("i1"))
    kinds.attrs = {"flag_values": np.array([1, 2, 3], "i1"), "flag_meanings": "dry wet very_wet", "nodata": 0}
    ax = parameter_map(kinds)
    assert labels(ax.child_axes[0].yaxis) == ["dry", "wet", "very wet"]
    image = ax.images[0]
    assert image.get_array().mask.sum() == (kinds == 0).sum()
    assert len({tuple(image.to_rgba(value)) for value in (1, 2, 3)}) == 3
    assert len(labels(parameter_map(texture()).child_axes[0].yaxis)) == 12


def texture() -> xr.DataArray:
    sand = field(CONUS, of=lambda x, y: (x - x.min()) / np.ptp(x) * 60)
    return xr.Dataset({"sand": sand, "clay": (sand * 0 + 20).assign_attrs(units="percent")}).soil.texture_class()


def test_ticks_are_degrees_or_kilometres():
    ax = parameter_map(field(CONUS))
    assert labels(ax.xaxis)[:3] == ["104°W", "102°W", "100°W"]
    assert "36°N" in labels(ax.yaxis)
    at = dict(zip(labels(ax.yaxis), ax.get_yticks(), strict=True))["36°N"]
    assert at == pytest.approx(Transformer.from_crs("EPSG:4326", "EPSG:6933").transform(36, 0)[1], abs=1e-3)
    around = GeoBox.from_bbox((150, -30, 210, 30), "EPSG:4326", resolution=2.0)
    assert {"180°", "170°W", "170°E", "0°"} <= {*labels(parameter_map(field(around)).xaxis), *labels(
        parameter_map(field(around)).yaxis)}  # fmt: skip
    albers = GeoBox.from_bbox((-1e6, 1e6, 1e6, 2e6), "EPSG:5070", resolution=50_000)
    ax = parameter_map(field(albers))
    assert ax.get_xlabel() == "x [km]"
    assert "500" in labels(ax.xaxis)
    assert ax.get_aspect() == 1


def test_a_degree_is_as_long_as_at_its_latitude():
    north = GeoBox.from_bbox((0, 55, 10, 65), "EPSG:4326", resolution=1.0)
    assert parameter_map(field(north)).get_aspect() == pytest.approx(2.0, rel=1e-3)


def test_the_coast_is_drawn_over_the_map(pixels):
    gulf = GeoBox.from_bbox((-98, 24, -80, 32), "EPSG:4326", resolution=0.5)
    array = field(gulf, of=lambda x, y: 0 * x)
    plain, drawn = (pixels(parameter_map(array, coast=coast, colorbar=False)) for coast in (False, True))
    assert plain.shape == drawn.shape
    assert (plain != drawn).any(axis=-1).mean() > 0.005


def test_everything_fits_on_the_figure(pixels):
    for geobox in (CONUS, xsoil.ease_grid("EASE2_N36km").zoom_out(25)):
        picture = pixels(parameter_map(field(geobox, long_name="a name that is rather long for such a small bar")))
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (edge == 255).all()


def test_axes_of_ones_own():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2)
    assert parameter_map(field(CONUS), ax=axes[1], colorbar=False, coast=False) is axes[1]
    assert not axes[0].images
    assert not axes[1].child_axes
    assert len(plt.get_fignums()) == 1


def test_faults():
    array = field(CONUS)
    ds = xr.Dataset({"sand": array, "clay": array})
    with pytest.raises(ArgumentError, match="variable='clay'"):
        parameter_map(ds)
    with pytest.raises(MissingVariableError, match="no 'silt'"):
        parameter_map(ds, "silt")
    with pytest.raises(ArgumentError, match=r"\.isel\(depth=0\)"):
        parameter_map(array.expand_dims(depth=3))
    with pytest.raises(ArgumentError, match="vmin > 0"):
        parameter_map(array, scale="log", vmin=0)
    with pytest.raises(ArgumentError, match="vmin < vmax"):
        parameter_map(array, vmin=3, vmax=1)
    with pytest.raises(ArgumentError, match="scale='logarithmic'"):
        parameter_map(array, scale="logarithmic")
    with pytest.raises(ArgumentError, match="cells=1"):
        parameter_map(array, cells=1)
    for region in ((-1e7, -2e7, 4e6, 5e6), (0, 1), (np.nan, 1, 0, 1)):
        with pytest.raises(ArgumentError, match="left, right, bottom, top"):
            parameter_map(array, region=region)
    with pytest.raises(UnknownNameError, match="did you mean 'viridis'"):
        parameter_map(array, cmap="viridus")
    with pytest.raises(ArgumentError, match="no cell in the region"):
        parameter_map(array, region=(0, 1, 0, 1))
    with pytest.raises(ArgumentError, match="expected numbers"):
        parameter_map(array.astype(str))
    with pytest.raises(CRSError, match="write_crs"):
        parameter_map(array.drop_vars("spatial_ref"))
