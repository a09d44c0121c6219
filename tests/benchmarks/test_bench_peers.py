"""`upscale` beside its peers in one run: time, and error against polygons on some hundred cells.

Peers are odc-geo and rioxarray (both GDAL), xarray-regrid (latitude-longitude only) and xESMF, each where it is
installed. The error is |result - polygons| / standard deviation of the field, mean (largest); of a mode the
share of cells that are wrong.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.enums import Resampling

import xsoil

SINU = "+proj=sinu +R=6371007.181 +units=m +type=crs"
NINE = "EASE2_M09km"
GDAL = {"mean": "average", "max": "max", "median": "med", "mode": "mode"}
BUDGETS = {
    "separable": {"mean": 8, "max": 8, "median": 10, "mode": 8},
    "sheared": {"mean": 1.6, "max": None, "median": 2.5, "mode": 2.5},
}


def conus(rows=2940, columns=6960) -> GeoBox:
    return GeoBox((rows, columns), Affine(1 / 120, 0, -125, 0, -1 / 120, 49), "EPSG:4326")


def sheared(crs: str, left: float, top: float) -> GeoBox:
    return GeoBox((2000, 3000), Affine(1000, 0, left, 0, -1000, top), crs)


CASES = {
    "2940 x 6960, lat-lon": ("separable", conus(), NINE, 0.0),
    "2000 x 3000 with 5 % NaN, Albers": ("sheared", sheared("EPSG:5070", -1_500_000.0, 2_900_000.0), NINE, 0.05),
    "2000 x 3000 with 5 % NaN, homolosine": ("sheared", sheared("ESRI:54052", -11_500_000.0, 5_000_000.0), NINE, 0.05),
    "2000 x 3000 with 5 % NaN, sinusoidal": ("sheared", sheared(SINU, -9_700_000.0, 5_000_000.0), NINE, 0.05),
    "2940 x 6960, lat-lon to 0.1 degree lat-lon": (
        "separable",
        conus(),
        GeoBox((245, 580), Affine(0.1, 0, -125, 0, -0.1, 49), "EPSG:4326"),
        0.0,
    ),
}


def source_map(box: GeoBox, how: str, missing: float) -> xr.Dataset:
    """White noise, or twenty classes for a mode."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 21, box.shape) if how == "mode" else rng.normal(25, 10, box.shape)
    values = values.astype("f4")
    values[rng.random(box.shape) < missing] = np.nan
    ds = xr.Dataset({"sand": (box.dimensions, values)}, xr_coords(box))
    if missing:
        ds["sand"] = ds.sand.rio.write_nodata(np.nan)
    return ds


class Judge:
    """The answer of polygons on blocks of 8 x 8 target cells."""

    def __init__(self, ds: xr.Dataset, box: GeoBox, target: GeoBox, how: str) -> None:
        polygons = self.polygons()
        values, self.how = ds.sand.values, how
        self.spread = float(np.nanstd(values))
        self.blocks, self.answers = [], []
        rows, columns = target.shape
        for at_row, at_column in ((0.3, 0.4), (0.5, 0.6), (0.6, 0.3)):
            first = int(rows * at_row), int(columns * at_column)
            part = tuple(slice(at, at + 8) for at in first)
            cells = target[part]
            ring = polygons.outlines(cells, box.crs.proj, 4)
            x0, y0, x1, y1 = polygons.shapely.total_bounds(ring)
            c0, r0 = ~box.affine @ (x0, y1)
            c1, r1 = ~box.affine @ (x1, y0)
            if min(c0, r0) < 3 or c1 > box.shape[1] - 3 or r1 > box.shape[0] - 3:
                continue
            here = (slice(int(r0) - 2, int(r1) + 3), slice(int(c0) - 2, int(c1) + 3))
            overlaps = polygons.Overlaps.of(box[here], cells, points=(12, 2))
            rule, parameter = ("quantile", 0.5) if how == "median" else (how, None)
            self.blocks.append(part)
            self.answers.append(overlaps.answer(rule, values[here].astype(float), parameter))

    @staticmethod
    def polygons():
        folder = str(Path(__file__).parents[1] / "verbs")
        if folder not in sys.path:
            sys.path.append(folder)
        return importlib.import_module("polygons")

    def error(self, found: np.ndarray) -> str:
        off = []
        for block, answer in zip(self.blocks, self.answers):
            seen = answer.decided & (answer.fraction > 0.5)
            off.append(np.abs(found[block] - answer.value)[seen])
        off = np.concatenate(off)
        if self.how == "mode":
            return f"{np.mean(~(off == 0)) * 100:.0f} % of cells wrong"
        return f"error {np.mean(off) / self.spread:.1g} ({np.max(off) / self.spread:.1g})"


def peers(ds: xr.Dataset, box: GeoBox, target: GeoBox, how: str) -> dict[str, Callable[[], np.ndarray]]:
    """What each library that is here is called with."""
    template = xr.Dataset({"t": (target.dimensions, np.zeros(target.shape, "f4"))}, xr_coords(target)).t
    found: dict[str, Callable[[], np.ndarray]] = {
        "odc-geo": lambda: ds.sand.odc.reproject(target, resampling=GDAL[how]).values,
        "rioxarray": lambda: ds.sand.rio.reproject_match(template, resampling=Resampling[GDAL[how]]).values,
    }
    plain = box.crs.geographic and target.crs.geographic
    if plain and importlib.util.find_spec("xarray_regrid"):
        importlib.import_module("xarray_regrid")
        flat, goal = ds.sand.drop_vars("spatial_ref"), template.to_dataset().drop_vars(["t", "spatial_ref"])
        if how == "mean":
            found["xarray-regrid"] = lambda: flat.regrid.conservative(goal, latitude_coord="latitude").values
        elif how != "mode":  # its most_common stops with an error on these grids (0.4.2)
            found["xarray-regrid"] = lambda: flat.regrid.stat(goal, how).values
    if box.crs.geographic and how == "mean" and importlib.util.find_spec("xesmf"):
        found["xESMF"] = lambda: xsoil.upscale(ds, target, engine="xesmf").sand.values
    return found


@pytest.mark.parametrize("how", list(GDAL))
@pytest.mark.parametrize("name", CASES)
def test_beside_its_peers(ratio, name, how):
    kind, box, to, missing = CASES[name]
    ds = source_map(box, how, missing)
    target = xsoil.upscale(ds, to).odc.geobox if isinstance(to, str) else to
    judge = Judge(ds, box, target, how)
    others = peers(ds, box, target, how)
    ours, *theirs = ratio.times(
        lambda: xsoil.upscale(ds, target, how), *others.values(), rounds=7 if how in ("mean", "max") else 3
    )
    said = [f"{ours * 1e3:.0f} ms, {judge.error(xsoil.upscale(ds, target, how).sand.values)}"]
    for (peer, call), seconds in zip(others.items(), theirs):
        said.append(f"{seconds / ours:.2g} x faster than {peer} ({judge.error(call())})")
    goal = BUDGETS[kind][how]
    end = "" if isinstance(to, GeoBox) else f" -> {to}"
    ratio.report(f"`upscale` {how}, {name}{end}", "; ".join(said), f"{goal:g} x odc-geo" if goal else "none")
