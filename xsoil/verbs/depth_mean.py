"""`depth_mean`: means over a depth interval, of layers or of point slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xsoil.errors import ArgumentError, AxisError, MissingVariableError, UnitsError
from xsoil.verbs._cells import map_cells
from xsoil.verbs._depths import BOUNDS, depth_bounds
from xsoil.verbs._inputs import as_dataset, decode
from xsoil.vocabulary import VARIABLES

__all__ = ["depth_mean"]

Doubles = NDArray[np.float64]

DEPTH = VARIABLES["depth"]
_EDGES = ("depth_top", "depth_bottom")
_DECIMALS = 6  # depths are rounded to a micrometre, so that 30 cm in single precision is 0.3 m


def depth_mean(ds: xr.Dataset | xr.DataArray, top: float, bottom: float, *, units: str = "m") -> xr.Dataset:
    """Mean of every variable between two depths.

    Layers have edges: CF bounds of the coordinate `depth` (the variable that its attribute ``bounds`` names, else
    `depth_bounds` or `depth_bnds`), or coordinates `depth_top` and `depth_bottom` on any one dimension. Their mean is
    weighted by thickness. Without edges, `depth` are points, and the mean is the integral of the straight lines between
    them (trapezoids, cut at `top` and `bottom`).

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Variables with the depth dimension, in any units and order of depths. `depth` itself (or its edges) has units.
    top, bottom : float
        Limits of the interval, positive downwards, `top` < `bottom`. Layers must cover all of it; points must reach
        from `top` to `bottom`: nothing is extrapolated.
    units : str
        Units of `top` and `bottom`: m, cm or mm.

    Returns
    -------
    xr.Dataset
        Each variable without the depth dimension, with its attributes and ``depth: mean`` in `cell_methods`; lazy where
        it is. Floats keep their type; integers of up to 16 bits become float32, longer ones float64. NaN where
        a layer or point that the interval needs is. Variables without the dimension pass through. The scalar
        coordinate `depth` [m] with its `depth_bounds` records the interval. The mean is arithmetic for every variable,
        k_sat too: for flow across layers take another one (for example of the logarithm).

    Raises
    ------
    MissingVariableError
        Where there is no depth dimension, or the declared bounds are not there.
    UnitsError
        Where the depths have no units or unknown ones.
    ArgumentError
        Where the interval is empty or not covered, or a variable on depth has classes, flags or no numbers.
    AxisError
        Where layers overlap or points coincide.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> ds = xr.Dataset({"sand": ("depth", [30.0, 60.0], {"units": "percent"})}, {"depth": [2.5, 17.5]})
    >>> ds["depth"].attrs = {"units": "cm", "bounds": "depth_bounds"}
    >>> ds.coords["depth_bounds"] = (("depth", "bnds"), [[0, 5], [5, 30]])
    >>> xsoil.depth_mean(ds, 0, 0.1).sand.item()
    45.0
    """
    ds = as_dataset(ds)
    conversion = DEPTH.conversion(units)
    if conversion is None:
        raise UnitsError(f"units of top and bottom are {units!r}; expected 'm' or one of {sorted(DEPTH.accepts)}")
    low, high = (float(np.round(value * conversion.factor, _DECIMALS)) for value in (top, bottom))
    if not (np.isfinite([low, high]).all() and low < high):
        raise ArgumentError(f"top is {top!r} and bottom {bottom!r}; expected two depths, the upper one first")
    profile = _profile(ds)
    weights = profile.layer_weights(low, high) if profile.layered else profile.point_weights(low, high)
    # from the top down, so that the order of the axis does not change a bit
    used = tuple(int(i) for i in np.argsort(profile.middles, kind="stable") if weights[i] > 0)

    out: dict[Any, Any] = {}
    for name, array in ds.data_vars.items():
        if profile.dim not in array.dims:
            out[name] = array.variable
        elif name not in profile.edges:
            out[name] = _mean(array, profile.dim, used, tuple(float(weights[i]) for i in used))
    rest = ds.drop_dims(profile.dim).drop_vars("depth", errors="ignore")
    attrs = DEPTH.attrs | {"positive": "down", "bounds": BOUNDS[0]}
    return (
        rest.drop_vars(list(rest.data_vars))
        .assign(out)
        .assign_coords({"depth": ((), (low + high) / 2, attrs), BOUNDS[0]: ("bnds", [low, high])})
    )


@dataclass(frozen=True)
class _Profile:
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

    def layer_weights(self, top: float, bottom: float) -> Doubles:
        """Share of the interval in each layer."""
        upper, lower = self.depths.T
        order = np.argsort(upper, kind="stable")
        if not (upper < lower).all():
            raise AxisError(f"layers of {self.dim!r} without thickness: edges are {self.depths.tolist()} m")
        if (upper[order][1:] < lower[order][:-1]).any():
            raise AxisError(f"layers of {self.dim!r} overlap: edges are {self.depths[order].tolist()} m")
        inside = np.clip(np.minimum(lower, bottom) - np.maximum(upper, top), 0, None)
        if abs(inside.sum() - (bottom - top)) > 10.0**-_DECIMALS:
            layers = ", ".join(f"{a:g}-{b:g}" for a, b in self.depths[order])
            raise ArgumentError(
                f"the layers ({layers} m) do not cover {top:g} to {bottom:g} m; choose an interval within, for example "
                f"top={upper.min():g}, bottom={lower.max():g}"
            )
        shares: Doubles = inside / inside.sum()
        return shares

    def point_weights(self, top: float, bottom: float) -> Doubles:
        """Weights of the points in the mean of the straight lines between them."""
        order = np.argsort(self.depths, kind="stable")
        z = self.depths[order]
        if (np.diff(z) <= 0).any():
            raise AxisError(
                f"{self.dim!r} has the same depth twice: {z.tolist()} m; use ds.drop_duplicates({self.dim!r})"
            )
        if z[0] > top or z[-1] < bottom:
            raise ArgumentError(
                f"the points of 'depth' run from {z[0]:g} to {z[-1]:g} m, not from {top:g} to {bottom:g} m; choose an "
                "interval within. If they are layers, give their edges: "
                "ds.coords['depth_bounds'] = (('depth', 'bnds'), [[0, 0.05], ...])"
            )
        weights = np.zeros(z.size)
        a, b = z[:-1], z[1:]
        start, stop = np.maximum(a, top), np.minimum(b, bottom)
        length = np.clip(stop - start, 0, None)
        share = ((start + stop) / 2 - a) / (b - a)  # of the lower point, at the middle of the piece
        weights[order[:-1]] += length * (1 - share)
        weights[order[1:]] += length * share
        return weights / (bottom - top)


def _profile(ds: xr.Dataset) -> _Profile:
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
            edges = _metres(bounds.transpose(dim, ...), fallback, depth.attrs)
            return _Profile(dim, np.sort(edges, axis=1), (name,))
        if not _has_edges(ds):
            return _Profile(dim, _metres(depth, None, depth.attrs), ())
    if _has_edges(ds):
        pair = np.stack([_metres(ds[name], None, ds[name].attrs) for name in _EDGES], axis=1)
        return _Profile(str(ds[_EDGES[0]].dims[0]), np.sort(pair, axis=1), _EDGES)
    raise MissingVariableError(
        f"no dimension with a coordinate 'depth' (or 'depth_top' and 'depth_bottom'): the dimensions are "
        f"{sorted(map(str, ds.dims))}, the variables {sorted(map(str, ds.variables))}; use ds.rename(...) or "
        "ds.assign_coords(depth=('layer', [...]))"
    )


def _has_edges(ds: xr.Dataset) -> bool:
    dims = [ds[name].dims for name in _EDGES if name in ds.variables]
    return len(dims) == 2 and dims[0] == dims[1] and len(dims[0]) == 1


def _metres(array: xr.DataArray, units: str | None, axis: dict[Any, Any]) -> Doubles:
    """Depths in m, positive downwards. They are metadata, and so read even where a chunked dataset has chunked them."""
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
    depths: Doubles = np.round(array.to_numpy().astype(float) * (sign * conversion.factor), _DECIMALS)
    if not np.isfinite(depths).all():
        raise AxisError(
            f"{array.name!r} has missing depths: {depths.tolist()} m; drop them: ds.dropna({array.dims[0]!r})"
        )
    return depths


def _mean(array: xr.DataArray, dim: str, used: tuple[int, ...], weights: tuple[float, ...]) -> xr.Variable:
    row = VARIABLES.get(str(array.name))
    classes = {"flag_values", "flag_masks", "flag_meanings"} & set(array.attrs) or (
        row is not None and row.kind != "real"
    )
    if classes or array.dtype.kind not in "fiu":
        what = "classes or flags" if classes else f"type {array.dtype}"
        raise ArgumentError(
            f"{array.name!r} has {what}, of which there is no mean over depth; leave it out: "
            f"ds.drop_vars({array.name!r}), or choose a layer: ds[{array.name!r}].isel({dim}=0)"
        )
    values = decode(array)
    dtype = values.dtype if values.dtype.kind == "f" else np.dtype("f4" if values.dtype.itemsize <= 2 else "f8")
    layers = [values.isel({dim: i}, drop=True) for i in used]
    (result,) = map_cells(partial(_weighted, weights, dtype.str), layers, [dtype])
    methods = f"{array.attrs.get('cell_methods', '')} depth: mean".strip()
    variable = result.variable.copy(deep=False)
    variable.attrs = values.attrs | {"cell_methods": methods}
    if "grid_mapping" in array.encoding:
        variable.encoding["grid_mapping"] = array.encoding["grid_mapping"]
    return variable


def _weighted(weights: tuple[float, ...], dtype: DTypeLike, *layers: NDArray[Any]) -> tuple[NDArray[Any]]:
    """Written around the first layer, so that the mean of equal values is that value."""
    first = layers[0].astype(float)
    total = np.zeros_like(first)
    with np.errstate(all="ignore"):
        for weight, layer in zip(weights[1:], layers[1:], strict=True):
            total += weight * (layer - first)
        return ((first + total).astype(dtype),)
