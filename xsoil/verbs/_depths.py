"""Where the depths of a profile are found: edges of layers, or points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import AxisError, MissingVariableError, UnitsError
from xsoil.vocabulary import VARIABLES

__all__ = ["BOUNDS", "DECIMALS", "DEPTH", "Profile", "depth_bounds", "metres", "profile_of"]

Doubles = NDArray[np.float64]

DEPTH = VARIABLES["depth"]
DECIMALS = 6
"""Depths are rounded to a micrometre, so that 30 cm in single precision is 0.3 m."""
_EDGES = ("depth_top", "depth_bottom")

BOUNDS = ("depth_bounds", "depth_bnds")
"""Names that are taken for the bounds of `depth` where it declares none."""


def depth_bounds(ds: xr.Dataset) -> str | None:
    """Name of the variable that holds the edges of the layers of the coordinate `depth`; None where there is none.

    Declared bounds that are not there are an error: a layer would be taken for a point in its middle.
    """
    depth = ds["depth"]
    declared = depth.attrs.get("bounds", depth.encoding.get("bounds"))
    if declared is None:
        return next((name for name in BOUNDS if name in ds.variables), None)
    if declared not in ds.variables:
        raise MissingVariableError(
            f"'depth' declares the bounds {declared!r}, which are not among {sorted(map(str, ds.variables))}; "
            f"select them too: ds[['sand', {declared!r}]], or del ds['depth'].attrs['bounds'] if these are points"
        )
    return str(declared)


@dataclass(frozen=True)
class Profile:
    """Where the values lie along `dim` [m], in the order of the data."""

    dim: str
    depths: Doubles
    """(n, 2) edges of layers, upper first; or (n,) points."""
    edges: tuple[str, ...]
    """Names of the variables that hold edges."""

    @property
    def layered(self) -> bool:
        return self.depths.ndim == 2

    @property
    def middles(self) -> Doubles:
        return self.depths.mean(axis=1) if self.layered else self.depths

    def downwards(self) -> NDArray[np.intp]:
        """Indices from the top down; layers that are empty or overlap, and points that coincide, are errors."""
        order = np.argsort(self.depths[:, 0] if self.layered else self.depths, kind="stable")
        along = self.depths[order]
        if not self.layered:
            if (np.diff(along) <= 0).any():
                raise AxisError(
                    f"{self.dim!r} has the same depth twice: {along.tolist()} m; use ds.drop_duplicates({self.dim!r})"
                )
        elif not (along[:, 0] < along[:, 1]).all():
            raise AxisError(f"layers of {self.dim!r} without thickness: edges are {self.depths.tolist()} m")
        elif (along[1:, 0] < along[:-1, 1]).any():
            raise AxisError(f"layers of {self.dim!r} overlap: edges are {along.tolist()} m")
        return order


def profile_of(ds: xr.Dataset) -> Profile:
    """Find the depth dimension and what is known of its depths."""
    if "depth" in ds.variables and ds["depth"].ndim == 1:
        depth = ds["depth"]
        dim = str(depth.dims[0])
        name = depth_bounds(ds)
        if name is not None:
            bounds = ds[name]
            if bounds.ndim != 2 or dim not in bounds.dims or bounds.sizes[dim] * 2 != bounds.size:
                raise AxisError(f"bounds {name!r} have dims {bounds.sizes}; expected ({dim!r}: {ds.sizes[dim]}, 2)")
            fallback = depth.attrs.get("units")  # CF: bounds need not repeat the units
            edges = metres(bounds.transpose(dim, ...), fallback, depth.attrs)
            return Profile(dim, np.sort(edges, axis=1), (name,))
        if not _has_edges(ds):
            return Profile(dim, metres(depth, None, depth.attrs), ())
    if _has_edges(ds):
        pair = np.stack([metres(ds[name], None, ds[name].attrs) for name in _EDGES], axis=1)
        return Profile(str(ds[_EDGES[0]].dims[0]), np.sort(pair, axis=1), _EDGES)
    raise MissingVariableError(
        f"no dimension with a coordinate 'depth' (or 'depth_top' and 'depth_bottom'): the dimensions are "
        f"{sorted(map(str, ds.dims))}, the variables {sorted(map(str, ds.variables))}; use ds.rename(...) or "
        "ds.assign_coords(depth=('layer', [...]))"
    )


def _has_edges(ds: xr.Dataset) -> bool:
    dims = [ds[name].dims for name in _EDGES if name in ds.variables]
    return len(dims) == 2 and dims[0] == dims[1] and len(dims[0]) == 1


def metres(array: xr.DataArray, units: str | None, axis: dict[Any, Any]) -> Doubles:
    """Depths in m, positive downwards. They are metadata, and so read even where a chunked dataset has chunked them."""
    if array.dtype.kind not in "fiu":
        raise AxisError(
            f"{array.name!r} is of type {array.dtype}; expected depths as numbers: "
            f"ds[{array.name!r}] = ds[{array.name!r}].astype(float)"
        )
    units = array.attrs.get("units", units)
    conversion = DEPTH.conversion(units)
    if conversion is None:
        found = f"units {units!r}" if units else "no units"
        raise UnitsError(
            f"{array.name!r} has {found}; expected 'm' or one of {sorted(DEPTH.accepts)}. If it really is in 'm': "
            f"ds[{array.name!r}].attrs['units'] = 'm'"
        )
    if array.chunks is not None:
        array = array.compute(scheduler="synchronous")
    sign = -1.0 if axis.get("positive") == "up" else 1.0
    depths: Doubles = np.round(array.to_numpy().astype(float) * (sign * conversion.factor), DECIMALS)
    if not np.isfinite(depths).all():
        raise AxisError(
            f"{array.name!r} has missing depths: {depths.tolist()} m; drop them: ds.dropna({array.dims[0]!r})"
        )
    return depths
