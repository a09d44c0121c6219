"""What hypothesis draws for the fuzzing of verbs: georeferenced maps, the disguises they may wear, and the runner."""

from __future__ import annotations

import faulthandler
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

HANG = 600
"""Seconds after which one example counts as hung: the run is ended, and a file xsoil-fuzz-*.txt in the temporary folder
is left with the example and all stacks: what a process of pytest-xdist prints then is lost. Compilation is within."""

LONG = int(os.environ.get("XSOIL_FUZZ", "5000"))
"""Examples of a long run; XSOIL_FUZZ=500 takes a tenth."""

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
PLACES = {
    "EPSG:4326": ((-170, 170), (-75, 75)),
    "EPSG:6933": ((-1.6e7, 1.6e7), (-6.5e6, 6.5e6)),
    "EPSG:6931": ((-3e6, 3e6), (-3e6, 3e6)),
    "EPSG:3035": ((3.3e6, 5.3e6), (2.2e6, 4.2e6)),
    "EPSG:5070": ((-1.5e6, 1.5e6), (5e5, 2.5e6)),
    "EPSG:32633": ((3e5, 7e5), (1e6, 7e6)),
    "ESRI:54052": ((-1.2e7, 1.2e7), (-5e6, 5e6)),
    SINUSOIDAL: ((-6e6, 6e6), (-5e6, 5e6)),
}
"""CRSs and where the centres of maps lie in them."""
WORLDS = {
    "EPSG:4326": ((-180, 180), (-90, 90)),
    "EPSG:6933": ((-17367530.445, 17367530.445), (-7314540.83, 7314540.83)),
}
"""CRSs that draw the world as a rectangle, and where it ends."""
CELLS = (250.0, 1000.0, 5000.0, 12345.678, 30000.0)
LARGEST = 2_000_000.0
"""Maps of a part of the world are at most so wide [m]: farther out some projections end."""
DTYPES = ("f4", "f8", ">f4", ">f8", "i2", "u1")
LAYERS = ((), ("time",), ("depth",), ("time", "draw"))


@dataclass(frozen=True)
class Sizes:
    """Number of examples: a few in every run of the suite, many under the marker `long`."""

    quick: int = 15
    long: int = LONG

    def mark(self) -> pytest.MarkDecorator:
        """Both numbers as cases of one test."""
        return pytest.mark.parametrize(
            "number", [pytest.param(self.quick, id="quick"), pytest.param(self.long, marks=pytest.mark.long, id="long")]
        )


examples = Sizes().mark()


def fuzz(check: Callable[[Any], None], strategy: st.SearchStrategy[Any], number: int) -> None:
    """Run a check on examples; the few of a quick run are always the same ones."""
    few = number < 100

    @settings(
        max_examples=number, deadline=None, database=None, derandomize=few, print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def run(case: Any) -> None:
        told.seek(0)
        told.truncate()
        print(f"{check.__module__}: {case!r}", file=told, flush=True)
        faulthandler.dump_traceback_later(HANG, exit=True, file=told)
        try:
            with dask.config.set(scheduler="synchronous"):
                check(case)
        finally:
            faulthandler.cancel_dump_traceback_later()

    number_of_file, path = tempfile.mkstemp(prefix="xsoil-fuzz-", suffix=".txt")
    try:
        with open(number_of_file, "w", encoding="utf-8") as told:
            run()
    finally:
        os.remove(path)


sizes = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(13, 60), st.integers(61, 200))


@st.composite
def boxes(draw: Any, rotated: bool = True) -> GeoBox:
    """A grid of 1 to 200 x 1 to 200 cells in one of the CRSs, perhaps turned."""
    crs = draw(st.sampled_from(list(PLACES)))
    rows, columns = draw(sizes), draw(sizes)
    metres = draw(st.sampled_from(CELLS))
    metres = min(metres, LARGEST / max(rows, columns))
    cell = metres / 111_000 if crs == "EPSG:4326" else metres
    aspect = draw(st.sampled_from([1.0, 1.0, 0.5, 1.7]))
    (west, east), (south, north) = PLACES[crs]
    x = draw(st.floats(west, east, width=32))
    y = draw(st.floats(south, north, width=32))
    affine = Affine(cell, 0, x - cell * columns / 2, 0, -cell * aspect, y + cell * aspect * rows / 2)
    if rotated and crs == "EPSG:32633" and draw(st.booleans()):
        affine = affine @ Affine.rotation(draw(st.sampled_from([5.0, 30.0, 45.0, 77.0])))
    return GeoBox((rows, columns), affine, crs)


@st.composite
def worlds(draw: Any) -> GeoBox:
    """A map of the whole world, of pixels of 220 km to a quarter of it."""
    crs, rows = draw(st.sampled_from(list(WORLDS))), draw(st.integers(2, 90))
    (west, east), (south, north) = WORLDS[crs]
    return GeoBox((rows, 2 * rows), Affine((east - west) / (2 * rows), 0, west, 0, (south - north) / rows, north), crs)


def is_world(box: GeoBox) -> bool:
    ends = WORLDS.get(str(box.crs))
    return ends is not None and box.shape[1] * abs(box.affine.a) > 0.99 * (ends[0][1] - ends[0][0])


def holes(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Where values are missing."""
    out = np.zeros(shape, bool)
    if kind == "all":
        out[...] = True
    elif kind == "half":
        out = rng.random(shape) < 0.5
    elif kind == "some":
        out = rng.random(shape) < 0.1
    elif kind == "row":
        out[..., shape[-2] // 2, :] = True
    elif kind == "but one":
        out[...] = True
        out.flat[rng.integers(out.size)] = False
    elif kind == "rim":
        out[..., (0, -1), :] = out[..., :, (0, -1)] = True
    elif kind == "squares":
        out = np.indices(shape)[-2:].sum(axis=0) % 2 == 0
    return out


HOLES = st.sampled_from(["none", "none", "some", "half", "all", "row", "but one", "rim", "squares"])


def stored(values: Any, missing: Any, dtype: str) -> tuple[Any, dict[str, Any]]:
    """Numbers in a type, with the attributes that declare what is missing."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        out = values.astype(kind)
        out[missing] = np.nan
        return out, {}
    nodata = 255 if kind.kind == "u" else -9999
    out = np.round(values).astype(kind)
    out[missing] = nodata
    return out, {"_FillValue": kind.type(nodata)}


@dataclass(frozen=True)
class Map:
    """A map as it is, and the same in a disguise: other chunks, order of rows, dims, bytes."""

    plain: xr.Dataset
    disguised: xr.Dataset
    box: GeoBox
    missing: Any
    disguise: str

    def __repr__(self) -> str:
        var = self.plain["v"]
        return f"Map({self.box!r}, {dict(var.sizes)}, {var.dtype}, missing {self.missing.sum()}, {self.disguise})"


def coordinates(box: GeoBox) -> Any:
    """Coordinates of a grid; a turned one has none, its GeoTransform says all."""
    coords = xr_coords(box, crs_coord_name="spatial_ref")
    if box.affine.b or box.affine.d:
        return {"spatial_ref": coords["spatial_ref"]}
    return coords


@st.composite
def maps(
    draw: Any, low: float = 1.0, high: float = 200.0, dtypes: tuple[str, ...] = DTYPES, whole: bool = False
) -> Map:
    """A variable `v` on a grid, with layers before it, missing cells and a disguise; one in eight of all the world."""
    box = draw(worlds() if whole and draw(st.integers(0, 7)) == 0 else boxes())
    names = draw(st.sampled_from(LAYERS))
    more = tuple(draw(st.integers(1, 3)) for _ in names) if box.shape[0] * box.shape[1] < 2000 else (1,) * len(names)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*more, *box.shape)
    dtype = draw(st.sampled_from(dtypes))
    missing = holes(draw(HOLES), rng, shape)
    values, nodata = stored(rng.uniform(low, high, shape), missing, dtype)
    turned = bool(box.affine.b or box.affine.d)
    dims = ("y", "x") if turned else box.dimensions
    plain = xr.Dataset({"v": ((*names, *dims), values, {"units": "kg m-2", **nodata})}, coordinates(box))
    plain["v"].encoding["grid_mapping"] = "spatial_ref"
    disguised, what = draw(disguises(plain, dims, flips=not turned))
    return Map(plain, disguised, box, missing, what)


@st.composite
def disguises(
    draw: Any, ds: xr.Dataset, dims: tuple[str, ...], flips: bool = True, most: int = 12
) -> tuple[xr.Dataset, str]:
    """The same data, told in another way."""
    words, out = [], ds.copy(deep=True)
    for dim in dims if flips else ():
        if ds.sizes[dim] > 1 and draw(st.booleans()):
            out = out.isel({dim: slice(None, None, -1)})
            if "resolution" in out[dim].attrs:
                out[dim].attrs["resolution"] = -out[dim].attrs["resolution"]
            words.append(f"{dim} turned")
    turned = {}
    for name, array in out.data_vars.items():
        order = draw(st.permutations(array.dims))
        turned[name] = array.variable.transpose(*order)
        words.append(f"{name} on {order}")
        if draw(st.integers(0, 3)) == 0:
            swapped = np.array(turned[name].values.astype(array.dtype.newbyteorder("S")))
            swapped.setflags(write=False)
            turned[name] = turned[name].copy(data=swapped)
            words.append("bytes swapped, read-only")
    out = out.assign(turned)
    chunks = draw(blocks(out.sizes, most))
    words.append(f"chunks {chunks}")
    return out.chunk(chunks), ", ".join(words)


@st.composite
def cuts(draw: Any, size: int, most: int = 3) -> tuple[int, ...]:
    """Uneven chunks of a dim, a few."""
    at = draw(st.sets(st.integers(1, size - 1), max_size=most)) if size > 1 else set()
    return tuple(int(n) for n in np.diff([0, *sorted(at), size]))


@st.composite
def blocks(draw: Any, sizes: Any, most: int = 12) -> dict[Any, tuple[int, ...]]:
    """Uneven chunks of all dims, few enough that an example does not spend its time in the scheduler."""
    out = {}
    for dim in draw(st.permutations(list(sizes))):
        out[dim] = draw(cuts(sizes[dim], min(3, most - 1)))
        most //= len(out[dim])
    return out


def loaded(lazy: xr.Dataset) -> xr.Dataset:
    """A result that must be lazy, computed in one go."""
    for name, array in lazy.data_vars.items():
        assert array.chunks is not None, f"{name} was computed"
    return lazy.compute()


def unharmed(check: Callable[[], Any], *given: Any) -> Any:
    """Run something and require that its inputs are what they were, to the bit."""
    before = [obj.copy(deep=True) for obj in given]
    found = check()
    for obj, was in zip(given, before, strict=True):
        xr.testing.assert_identical(obj, was)
        for name in was.variables:
            assert obj[name].dtype == was[name].dtype
            assert obj[name].attrs.keys() == was[name].attrs.keys()
    return found
