"""`depth_mean`: means over a depth interval, of layers or of point slices."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xsoil.choices import require_name
from xsoil.errors import ArgumentError, UnitsError
from xsoil.verbs._cells import map_cells
from xsoil.verbs._depths import BOUNDS, DECIMALS, DEPTH, Profile, profile_of
from xsoil.verbs._inputs import as_dataset, decode
from xsoil.vocabulary import VARIABLES

__all__ = ["depth_mean"]

Doubles = NDArray[np.float64]


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
        k_sat too: for flow across layers take another one (for example of the logarithm). A dask task holds the blocks
        of a variable's layers and, of the size of one layer, one and a half more.

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
    require_name("units", units)
    conversion = DEPTH.conversion(str(units))
    if conversion is None:
        raise UnitsError(f"units of top and bottom are {units!r}; expected 'm' or one of {sorted(DEPTH.accepts)}")
    given = all(isinstance(value, (int, float, np.integer, np.floating)) for value in (top, bottom))
    low, high = (np.round(value * conversion.factor, DECIMALS).item() if given else np.nan for value in (top, bottom))
    if not (np.isfinite([low, high]).all() and low < high):
        raise ArgumentError(f"top is {top!r} and bottom {bottom!r}; expected two depths, the upper one first")
    profile = profile_of(ds)
    weights = _layer_weights(profile, low, high) if profile.layered else _point_weights(profile, low, high)
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


def _layer_weights(profile: Profile, top: float, bottom: float) -> Doubles:
    """Share of the interval in each layer."""
    upper, lower = profile.depths.T
    order = profile.downwards()
    inside = np.clip(np.minimum(lower, bottom) - np.maximum(upper, top), 0, None)
    if abs(inside.sum() - (bottom - top)) > 10.0**-DECIMALS:
        layers = ", ".join(f"{a:g}-{b:g}" for a, b in profile.depths[order])
        raise ArgumentError(
            f"the layers ({layers} m) do not cover {top:g} to {bottom:g} m; choose an interval within, for example "
            f"top={upper.min():g}, bottom={lower.max():g}"
        )
    shares: Doubles = inside / inside[order].sum()  # a sum in the order of the axis would show it
    return shares


def _point_weights(profile: Profile, top: float, bottom: float) -> Doubles:
    """Weights of the points in the mean of the straight lines between them."""
    order = profile.downwards()
    z = profile.depths[order]
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
