"""Order operators and deviations of separable overlaps against the mean and against odc-geo (GDAL) in the same run."""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.grids.ease import EASE_GRIDS
from xsoil.grids.overlap import footprint_on
from xsoil.grids.separable import SeparableOverlap

SOURCE = GeoBox((2940, 6960), Affine(1 / 120, 0, -125, 0, -1 / 120, 49), "EPSG:4326")
"""1/120 degree CONUS."""

ALL = slice(None)


def field(kind):
    """Continuous values, those with 5 % missing, or 20 classes at random or in patches, all as float32."""
    rng = np.random.default_rng(0)
    if kind == "20 classes":
        return rng.integers(1, 21, SOURCE.shape).astype("f4")
    if kind == "20 classes in patches":
        return np.kron(rng.integers(1, 21, (59, 140)), np.ones((50, 50), "f4"))[:2940, :6960].astype("f4")
    values = rng.normal(25, 10, SOURCE.shape).astype("f4")
    if kind == "5 % missing":
        values[rng.random(SOURCE.shape) < 0.05] = np.nan
    return values


@pytest.mark.parametrize(
    ("how", "parameter", "kind", "gdal", "budget"),
    [
        ("quantile", 0.5, "continuous", "med", ">= 10 x odc-geo"),
        ("quantile", 0.5, "5 % missing", "med", ">= 10 x odc-geo"),
        ("mode", None, "continuous", "mode", ">= 8 x odc-geo"),
        ("mode", None, "20 classes", "mode", ">= 8 x odc-geo"),
        ("mode", None, "20 classes in patches", "mode", ">= 8 x odc-geo"),
        ("fraction", np.arange(1, 21), "20 classes", None, "<= 3 x mean"),
        ("std", None, "continuous", None, "<= 3 x mean"),
        ("std", None, "5 % missing", None, "<= 3 x mean"),
    ],
)
def test_conus_to_9_km(ratio, how, parameter, kind, gdal, budget):
    target = footprint_on(EASE_GRIDS["EASE2_M09km"], SOURCE)
    overlap, values = SeparableOverlap.of(SOURCE, target), field(kind)
    there = xr.DataArray(values, xr_coords(SOURCE), SOURCE.dimensions)
    works = [
        lambda: overlap.select(values[None], (0, 0), ALL, ALL, how, parameter, threads=2),
        lambda: overlap.select(values[None], (0, 0), ALL, ALL, how, parameter),
        lambda: overlap.reduce(values[None], (0, 0), ALL, ALL, "mean"),
    ]
    if gdal:
        works.append(lambda: there.odc.reproject(target, resampling=gdal))
    two, one, mean, *theirs = ratio.times(*works)
    against = f", {theirs[0] / two:.1f} x faster than odc-geo ({theirs[0] / one:.1f} x on one)" if gdal else ""
    ratio.report(
        f"{how} of {kind}, 2940 x 6960 f4 lat-lon -> EASE2_M09km",
        f"{two * 1e3:.0f} ms on two threads, {one * 1e3:.0f} on one = {one / mean:.1f} x mean{against}",
        budget,
    )


@pytest.mark.parametrize("how", ["mean", "quantile", "mode", "std"])
@pytest.mark.parametrize("cells", [1, 40, 400])
def test_other_ratios(ratio, how, cells):
    """Targets as fine as the source, and 40 and 400 times as coarse: against one numpy pass."""
    source = GeoBox((4000, 4000), Affine(1, 0, 0, 0, -1, 0), "EPSG:6933")
    shift = 0.3 if cells > 1 else 0.0
    target = GeoBox((4000 // cells, 4000 // cells), Affine(cells, 0, shift, 0, -cells, shift), "EPSG:6933")
    values = np.random.default_rng(0).normal(25, 10, (1, 4000, 4000)).astype("f4")
    overlap = SeparableOverlap.of(source, target)

    def ours(threads):
        if how == "mean":
            return overlap.reduce(values, (0, 0), ALL, ALL, how, threads)
        return overlap.select(values, (0, 0), ALL, ALL, how, 0.5 if how == "quantile" else None, threads)

    two, one, one_pass = ratio.times(lambda: ours(2), lambda: ours(1), lambda: values.sum(dtype="f8"), rounds=4)
    ratio.report(
        f"{how}, 4000 x 4000 f4, {cells} x {cells} pixels a cell",
        f"{two * 1e3:.0f} ms on two threads, {one * 1e3:.0f} on one = {one / one_pass:.1f} x one pass",
        "none",
    )
