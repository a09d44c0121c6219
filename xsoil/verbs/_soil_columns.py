"""The vertical grid of soil columns: its cells, the layers of a soil on it, profiles of heads."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, AxisError, MissingVariableError
from xsoil.physics.richards import grid
from xsoil.verbs._depths import DECIMALS, DEPTH, Profile, profile_of

__all__ = ["COLUMN_DEPTH", "DEPTHS", "NODE", "Column", "column_of", "layers_of", "on_nodes", "output_depths"]

Doubles = NDArray[np.float64]

DEPTHS = (0.02, 0.05, 0.10, 0.20, 0.40)
"""Depths of the results where none are asked for, as far as the column reaches [m]."""
COLUMN_DEPTH = 0.5
"""[m]."""
NODE = "node"
"""Dim of the end state."""
NEAR = 10.0**-DECIMALS


@dataclass(frozen=True)
class Column:
    """Cells from the surface down.

    Parameters
    ----------
    widths : tuple of float
        Thicknesses [cm].
    layers : tuple of int, optional
        The layer of the soil that each cell belongs to.
    """

    widths: tuple[float, ...]
    layers: tuple[int, ...] | None = None

    @property
    def bottom(self) -> float:
        """[m]."""
        return round(float(np.sum(self.widths)) / 100.0, 9)

    @property
    def centres(self) -> Doubles:
        """[m]."""
        widths = np.array(self.widths)
        middles: Doubles = (np.cumsum(widths) - widths / 2) / 100.0
        return middles

    @property
    def coordinate(self) -> xr.Variable:
        """Centres of the cells."""
        attrs = DEPTH.attrs | {"long_name": "depth of the centre of a cell of the column", "positive": "down"}
        return xr.Variable(NODE, self.centres, attrs)


def column_of(column_depth: float, widths: Sequence[float] | None, layers: Profile | None) -> Column:
    """The cells of a column: given ones [m], or those of `xsoil.physics.richards.grid` fitted to the layers.

    The soil of a cell is that of the layer that its centre lies in, or of the nearest point.
    """
    found = _numbers("column_depth", column_depth)
    depth = float(found[0])
    if found.size != 1 or not depth > 0:
        raise ArgumentError(f"column_depth={column_depth!r}; expected a depth above 0 [m]")
    if widths is not None:
        thickness = 100.0 * _numbers("widths", widths)
        total = thickness.sum() / 100.0
        if not (thickness > 0).all():
            raise ArgumentError(f"widths={widths!r}; expected thicknesses of the cells, all above 0 [m]")
        if depth != COLUMN_DEPTH and abs(depth - total) > NEAR:
            raise ArgumentError(
                f"the widths add up to {total:g} m, but column_depth={column_depth!r}; expected one of the two"
            )
    else:
        thickness = grid(100.0 * depth)
        if layers is not None:
            thickness = _fitted(thickness, 100.0 * _interfaces(layers, depth))
    column = Column(tuple(thickness.tolist()))
    if layers is None:
        return column
    return Column(column.widths, _owners(layers, column.centres, column.bottom))


def layers_of(ds: xr.Dataset, parameters: Mapping[str, xr.DataArray]) -> Profile | None:
    """The layers or depths that parameters have, if any have."""
    sources = [ds, *(array.rename("layer").to_dataset() for array in parameters.values())]
    for source in sources:
        dim = _depth_dim(source)
        if dim is not None and any(dim in array.dims for array in parameters.values()):
            return profile_of(source)
    return None


def on_nodes(h: xr.DataArray, column: Column) -> xr.DataArray:
    """Heads given by depth at the centres of the cells: linear between depths, constant beyond them."""
    source = h.to_dataset()
    if _depth_dim(source) not in h.dims:
        return h
    if "depth" in source:  # an array has lost the bounds that its depth may tell of; here depths are points
        depth = source["depth"].variable.copy(deep=False)
        depth.attrs = {name: value for name, value in depth.attrs.items() if name != "bounds"}
        depth.encoding = {}
        source = source.assign_coords(depth=depth)
    profile = profile_of(source)
    order = profile.downwards()
    depths = profile.middles[order]
    upper = np.clip(np.searchsorted(depths, column.centres, side="right") - 1, 0, None)
    lower = np.minimum(upper + 1, depths.size - 1)
    gaps = np.where(lower > upper, depths[lower] - depths[upper], 1.0)
    weights = np.clip((column.centres - depths[upper]) / gaps, 0.0, 1.0)
    lower = np.where(weights > 0, lower, upper)  # so that a depth that does not count may be missing
    bare = h.drop_vars([name for name in h.coords if profile.dim in h[name].dims])
    above, below = (bare.isel({profile.dim: xr.DataArray(order[at], dims=NODE)}) for at in (upper, lower))
    share = xr.DataArray(weights, dims=NODE)
    return above + share * (below - above)


def output_depths(depths: float | Sequence[float] | None, column: Column) -> Doubles:
    """Depths of the results [m], all inside the column."""
    bottom = column.bottom
    if depths is None:
        return np.array([depth for depth in DEPTHS if depth <= bottom + NEAR] or [bottom / 2])
    found = _numbers("depths", depths)
    below = found[found > bottom + NEAR]
    if below.size:
        raise ArgumentError(
            f"depth {below[0]:g} m lies below the column of {bottom:g} m; expected depths inside it, or "
            f"column_depth={below.max():g}"
        )
    if not (found >= 0).all():
        raise ArgumentError(f"depths={depths!r}; expected depths below the surface, positive downwards [m]")
    if np.unique(found).size < found.size:
        raise ArgumentError(f"depths={depths!r}; expected each of them once")
    return np.minimum(found, bottom)


def _numbers(name: str, values: Any) -> Doubles:
    """One number or several [m]; nothing that may have units of its own."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    listed = list(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else [listed]
    plain = all(isinstance(value, Real) and not isinstance(value, (bool, np.bool)) for value in listed)
    found = np.array(listed if plain else [np.nan], np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        what = f"a {type(values).__name__}" if isinstance(values, xr.DataArray) else repr(values)
        raise ArgumentError(f"{name} is {what}; expected numbers [m]")
    return found


def _depth_dim(ds: xr.Dataset) -> Hashable | None:
    """The dim of the depths, if there is one."""
    for name in ("depth", "depth_top"):
        if name in ds.variables and ds[name].ndim == 1:
            return ds[name].dims[0]
    if "depth" in ds.dims:
        raise MissingVariableError(
            "the dimension 'depth' has no coordinate; give the depths: ds.assign_coords(depth=('depth', [...], "
            "{'units': 'm'})), and for layers their edges: depth_bounds=(('depth', 'bnds'), [[0, 0.05], ...])"
        )
    return None


def _interfaces(layers: Profile, bottom: float) -> Doubles:
    """Depths inside the column at which the soil changes [m]: edges of layers, or half-way between points."""
    order = layers.downwards()
    along = layers.depths[order]
    inner = along[1:, 0] if layers.layered else (along[1:] + along[:-1]) / 2
    return inner[(inner > NEAR) & (inner < bottom - NEAR)]


def _owners(layers: Profile, centres: Doubles, bottom: float) -> tuple[int, ...]:
    order = layers.downwards()
    along = layers.depths[order]
    if layers.layered:
        upper, lower = along.T
        torn = np.flatnonzero(upper[1:] > lower[:-1] + NEAR)
        reached = lower[torn[0]] if torn.size else lower[-1]
        if upper[0] > NEAR or reached < bottom - NEAR:
            told = ", ".join(f"{a:g}-{b:g}" for a, b in along)
            raise AxisError(
                f"the layers ({told} m) do not cover the column of {bottom:g} m; expected layers from the surface to "
                "its bottom, or a column_depth within them"
            )
    return tuple(int(order[at]) for at in np.searchsorted(_interfaces(layers, np.inf), centres, side="right"))


def _fitted(widths: Doubles, interfaces: Doubles) -> Doubles:
    """Cells whose faces lie on the interfaces: the nearest faces are moved there, those between follow."""
    faces = np.concatenate([[0.0], np.cumsum(widths)])
    if interfaces.size >= widths.size:
        raise ArgumentError(
            f"{interfaces.size + 1} layers in a column of {widths.size} cells; give finer cells: widths=[...] [m]"
        )
    moved = [0]
    for place, depth in enumerate(interfaces):
        highest = widths.size - (interfaces.size - place)
        moved.append(int(np.clip(np.argmin(np.abs(faces - depth)), moved[-1] + 1, highest)))
    anchors = [*moved, widths.size]
    there = np.concatenate([[0.0], interfaces, faces[-1:]])
    return np.diff(np.interp(faces, faces[anchors], there))
