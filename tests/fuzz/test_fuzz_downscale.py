"""`downscale` on what hypothesis draws: chunks, orientation and byte order never show; bounds, coarse means."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from affine import Affine
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from strategies import examples, fuzz, maps, unharmed
from test_fuzz_upscale import targets

import xsoil
from xsoil.errors import NoOverlapError

EQUAL = ("EPSG:4326", "EPSG:6933", "EPSG:6931", "EPSG:3035", "EPSG:5070")
"""CRSs whose areas need no oracle."""
METHODS = ("nearest", "bilinear", "cubic", "conservative")


@st.composite
def cases(draw):
    given = draw(maps(dtypes=("f4", "f8", ">f4", "i2"), whole=True))
    method = draw(st.sampled_from(METHODS))
    least = draw(st.sampled_from([None, 0.0, 1.0]))
    if draw(st.booleans()):
        target = nested(draw, given.box)
    else:
        target = draw(targets(given.box))
    return given, target, method, least, draw(st.sampled_from([None, 5, (40, 9)]))


def nested(draw, box: GeoBox) -> GeoBox:
    """Some coarse cells, each cut into n x n."""
    n = draw(st.integers(2, 5))
    rows, columns = (min(size, 25) for size in box.shape)
    a = box.affine
    return GeoBox((rows * n, columns * n), a @ Affine.scale(1 / n), box.crs)


def check(case) -> None:
    given, target, method, least, tile = case
    options = {"method": method, "min_valid": least}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "downscale: the target is coarser")
        try:
            found = unharmed(lambda: xsoil.downscale(given.plain, target, **options), given.plain)
        except NoOverlapError:
            with pytest.raises(NoOverlapError):
                xsoil.downscale(given.disguised, target, **options)
            return
        lazy = xsoil.downscale(given.disguised, target, chunks=tile, **options)
    assert lazy.v.chunks is not None
    np.testing.assert_array_equal(lazy.v.transpose(*found.v.dims).values, found.v.values)
    assert found.v.attrs["units"] == "kg m-2"
    assert xsoil.grid_of(found).shape == target.shape
    values = found.v.astype("f8").where(found.v != found.v.attrs.get("_FillValue", np.nan)).values
    assert not np.isinf(values).any()
    known = np.isfinite(values)
    source = np.where(given.missing, np.nan, given.plain.v.values.astype("f8"))
    if given.missing.all():
        assert not known.any()
        return
    if known.any() and method in ("nearest", "bilinear"):
        slack = 1e-6 * np.nanmax(source)
        assert values[known].min() >= np.nanmin(source) - slack
        assert values[known].max() <= np.nanmax(source) + slack


def check_means(case) -> None:
    """Nested fine cells average back to their coarse cell."""
    given, n, least = case
    if given.box.affine.b or given.box.affine.d:
        return
    rows, columns = (min(size, 25) for size in given.box.shape)
    target = GeoBox((rows * n, columns * n), given.box.affine @ Affine.scale(1 / n), given.box.crs)
    fine = xsoil.downscale(given.plain.astype("f8", keep_attrs=True), target, "conservative", min_valid=least)
    area = cell_areas(target)
    blocks = (fine.v.values * area[:, None]).reshape(*fine.v.shape[:-2], rows, n, columns, n)
    weights = np.broadcast_to(area[:, None], target.shape).reshape(rows, n, columns, n)
    mean = blocks.sum(axis=(-3, -1)) / weights.sum(axis=(-3, -1))
    source = np.where(given.missing, np.nan, given.plain.v.values.astype("f8"))[..., :rows, :columns]
    np.testing.assert_allclose(mean, source, rtol=1e-6)


def cell_areas(box: GeoBox):
    """Of each row, up to a factor; exact for latitudes on the ellipsoid."""
    edges = box.affine.f + box.affine.e * np.arange(box.shape[0] + 1)
    if str(box.crs) != "EPSG:4326":
        return np.abs(np.diff(edges))
    e2 = 0.0066943799901413165
    s, e = np.sin(np.radians(edges)), np.sqrt(e2)
    return np.abs(np.diff((1 - e2) * (s / (1 - e2 * s * s) + np.arctanh(e * s) / e)))


@st.composite
def whole(draw):
    given = draw(maps(dtypes=("f4", "f8")).filter(lambda m: str(m.box.crs) in EQUAL))
    return given, draw(st.integers(2, 5)), draw(st.sampled_from([None, 0.0, 1.0]))


@examples
def test_downscale(number):
    fuzz(check, cases(), number)


@examples
def test_coarse_means_come_back(number):
    fuzz(check_means, whole(), max(number // 5, 5))
