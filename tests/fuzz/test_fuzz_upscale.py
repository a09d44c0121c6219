"""`upscale` on what hypothesis draws: chunks, orientation and byte order never show; bounds, mass, missing cells."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from strategies import PLACES, SINUSOIDAL, Map, boxes, examples, fuzz, is_world, maps, unharmed

import xsoil
from xsoil.errors import NoOverlapError
from xsoil.grids.sheared import VALUE_BOUND, ShearedOverlap

HOWS = (
    "mean", "sum", "min", "max", "median", "mode", "std", "harmonic", "geometric", "quantile", "power", "nearest",
    "bilinear", "cubic",
)  # fmt: skip
MORE = {"quantile": {"q": 0.3}, "power": {"p": -0.7}}
AREA = HOWS[:11]
WITHIN = ("mean", "min", "max", "median", "mode", "harmonic", "geometric", "quantile", "power", "nearest", "bilinear")
"""Operators that cannot leave the range of the source."""


NO_POLE = ("EPSG:5070", "EPSG:32633", "ESRI:54052", SINUSOIDAL)
"""Targets that draw a pole as an arc of thousands of kilometres (Albers), whose cells PROJ knows to 1e-4 there (UTM),
or where pixels about it are spikes that cover cells of half their size 1.3 times (docs/design.md)."""


UTM = "EPSG:32633"


def far_from_utm(box: GeoBox) -> bool:
    """75 degrees from the central meridian, or beyond: there the projection tears (docs/design.md)."""
    x, y = box.affine @ (box.shape[1] / 2, box.shape[0] / 2)
    longitude, latitude = np.radians(Transformer.from_crs(str(box.crs), "EPSG:4326", always_xy=True).transform(x, y))
    ahead, aside = np.cos(longitude - np.radians(15)), np.sin(longitude - np.radians(15))
    return bool(ahead * np.cos(latitude) < 0 or abs(aside) * np.cos(latitude) > np.sin(np.radians(75)))


def reaches_a_pole(box: GeoBox) -> bool:
    """Some of the map lies within two degrees of a pole."""
    x, y = box.affine @ np.meshgrid(*(np.linspace(0, size, 9) for size in box.shape[::-1]))
    latitude = Transformer.from_crs(str(box.crs), "EPSG:4326", always_xy=True).transform(x, y)[1]
    return bool((np.abs(latitude[np.isfinite(latitude)]) > 88).any())


@st.composite
def targets(draw, box: GeoBox) -> GeoBox:
    """A coarser (or finer) grid about the middle of a map: its own, coarser, or in another CRS; anywhere in a world."""
    if is_world(box):
        return draw(boxes(rotated=False))[:25, :25]
    middle = box.affine @ (box.shape[1] / 2, box.shape[0] / 2)
    cell = abs(box.resolution.x) if not (box.affine.b or box.affine.d) else np.hypot(box.affine.a, box.affine.d)
    crs = draw(st.sampled_from([str(box.crs), *PLACES]))
    x, y = Transformer.from_crs(str(box.crs), crs, always_xy=True).transform(*middle)
    if not np.isfinite([x, y]).all() or (crs in NO_POLE and reaches_a_pole(box)) or (crs == UTM and far_from_utm(box)):
        crs, (x, y) = str(box.crs), middle
    degrees = [str(name) == "EPSG:4326" for name in (box.crs, crs)]
    factor = draw(st.sampled_from([0.3, 1.0, 2.0, 3.7, 8.0, 40.0]))
    size = cell * factor * {(True, False): 111_000.0, (False, True): 1 / 111_000}.get(tuple(degrees), 1.0)
    rows, columns = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    if degrees[1]:
        size = min(size, 60.0 / max(rows, columns))
        y = float(np.clip(y, -88 + size * rows / 2, 88 - size * rows / 2))
    shift = draw(st.floats(-0.5, 0.5, width=16))
    left, top = x - size * (columns / 2 + shift), y + size * (rows / 2 + shift)
    return GeoBox((rows, columns), Affine(size, 0, left, 0, -size, top), crs)


@st.composite
def cases(draw):
    given = draw(maps(whole=True))
    how = draw(st.sampled_from(HOWS))
    least = draw(st.sampled_from([None, None, 0.0, 0.5, 1.0]))
    target, tile = draw(targets(given.box)), draw(st.sampled_from([None, 1, 7, (3, 50)]))
    if tile == 1 and target.shape[0] * target.shape[1] > 60:  # each tile divides all pixels at an edge that it meets
        tile = 5
    return given, target, how, least, tile


def check(case) -> None:
    given, target, how, least, tile = case
    options = {"min_valid": least, "valid_fraction": how in AREA, **MORE.get(how, {})}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "upscale: the target is finer")
        try:
            eager = unharmed(lambda: xsoil.upscale(given.plain, target, how, **options), given.plain)
        except NoOverlapError:
            with pytest.raises(NoOverlapError):
                xsoil.upscale(given.disguised, target, how, **options)
            return
        lazy = xsoil.upscale(given.disguised, target, how, chunks=tile, **options)
    lazy = lazy.transpose(*eager.dims)
    for name in eager.data_vars:
        assert lazy[name].chunks is not None
        assert lazy[name].dtype == eager[name].dtype
        np.testing.assert_array_equal(
            lazy[name].transpose(*eager[name].dims).values, eager[name].values, err_msg=str(name)
        )
    assert eager.v.attrs["units"] == "kg m-2"
    assert eager.v.dims[-2:] == target.dimensions
    assert xsoil.grid_of(eager).crs == target.crs
    plausible(given, target, how, least, eager)


def plausible(given: Map, target: GeoBox, how: str, least: float | None, eager: xr.Dataset) -> None:
    """Bounds, mass and missing cells."""
    found = eager.v.astype("f8").where(eager.v != eager.v.attrs.get("_FillValue", np.nan)).values
    source = given.plain.v.values.astype("f8")
    source = np.where(given.missing, np.nan, source)
    assert not np.isinf(found).any()
    known = np.isfinite(found)
    if given.missing.all():
        assert not known.any()
        return
    if known.any() and how in WITHIN:
        slack = 1e-6 * np.nanmax(source)
        assert found[known].min() >= np.nanmin(source) - slack
        assert found[known].max() <= np.nanmax(source) + slack
    if how not in AREA:
        return
    share = eager.v_valid_fraction.values
    assert share.min() >= 0
    assert share.max() <= 1
    bound = (0.0 if how == "sum" else 0.5) if least is None else least
    valid = (share > 0) & (share >= bound - 1e-9)
    np.testing.assert_array_equal(known, valid)
    if how == "sum":
        total = np.nansum(source)
        assert found[known].sum() <= total * (1 + 1e-6)
        if covers(target, given.box) and bound == 0:
            assert found[known].sum() == pytest.approx(total, rel=1e-6)


def covers(target: GeoBox, source: GeoBox) -> bool:
    """The source lies within the target: in one CRS only, where this needs no oracle."""
    if target.crs != source.crs or source.affine.b or source.affine.d:
        return False
    a, b = target.boundingbox, source.boundingbox
    return bool(a.left <= b.left and a.right >= b.right and a.bottom <= b.bottom and a.top >= b.top)


POLE = 7_342_230.136  # metres from the equator in EPSG:6933


@pytest.fixture(autouse=True)
def covered_once(monkeypatch):
    """No cell is covered more than once, also before what is said of it is rounded to 1."""
    fraction = ShearedOverlap._fraction

    def checked(self, area, tile):
        # Areas of pixels in grids that keep none come from their middles: those of 33 km are right to 2.4e-6, and
        # UTM cells of 240 km 70 degrees from the central meridian to 6e-5. Pixels larger than a gap between lobes of a
        # homolosine target are drawn across it.
        size = abs(self._map._target[0]) / 6.4e6
        bound = 1e-5 + 0.1 * size**2 if self._map.kind == "general" else VALUE_BOUND
        if "Homolosine" in self._map.target_crs:
            bound = 1e-3
        covered = (area / self._areas(tile)).reshape(-1, *area.shape[-2:]).max(axis=(0, 2))
        # Cells of 9 km that a cylindrical target has at a pole are slivers of pixels of 50 km: right to 7e-6.
        y = self._map._target[5] + self._map._target[4] * np.arange(tile.r0, tile.r1 + 1)
        at_pole = np.abs(y) >= POLE if self._map.target_crs == "EPSG:6933" else np.zeros(len(y), bool)
        assert (covered <= 1 + np.where(at_pole[1:] | at_pole[:-1], max(bound, 1e-5), bound)).all()
        return fraction(self, area, tile)

    monkeypatch.setattr(ShearedOverlap, "_fraction", checked)


@examples
def test_upscale(number):
    fuzz(check, cases(), number)
