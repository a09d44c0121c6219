"""Weight files of ESMF, SCRIP and xESMF as arrays: what their variables mean, and the checks they must pass.

Files name cells by one number from 1, longitudes running fastest (Fortran order of ``(nx, ny)``, which is the
C order of arrays (y, x)). Reading and writing netCDF itself is left to the verbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.grids.areas import AUTHALIC_RADIUS, cell_areas
from xsoil.grids.crs import crs_text, is_geographic, to_world, transformer
from xsoil.grids.sparse import Order, WeightMatrix, centres, order_of, require_fit

Array = NDArray[Any]

NAMES = {
    "row": ("row", "dst_address"),
    "col": ("col", "src_address"),
    "S": ("S", "remap_matrix"),
    "source_dims": ("src_grid_dims",),
    "target_dims": ("dst_grid_dims",),
    "source_lat": ("yc_a", "src_grid_center_lat"),
    "source_lon": ("xc_a", "src_grid_center_lon"),
    "target_lat": ("yc_b", "dst_grid_center_lat"),
    "target_lon": ("xc_b", "dst_grid_center_lon"),
    "target_area": ("area_b", "dst_grid_area"),
}
"""What is read of a file: names of ESMF, then of SCRIP."""


@dataclass(frozen=True, eq=False)
class WeightFile:
    """Weights that fit two grids, and how the file's cells lie in arrays on them."""

    matrix: WeightMatrix
    source: Order
    target: Order


def wanted(variables: object) -> dict[str, str]:
    """Which of a file's variables to read: what they are, and what the file calls them."""
    present = set(variables)  # type: ignore[call-overload]
    found = {what: name for what, names in NAMES.items() for name in names if name in present}
    missing = [what for what in ("row", "col", "S") if what not in found]
    if missing:
        raise ArgumentError(
            f"no weights in the file: it holds {sorted(map(str, present))}; expected row, col and S (ESMF, xESMF) or "
            "dst_address, src_address and remap_matrix (SCRIP, CDO)"
        )
    return found


def read_weights(
    arrays: Mapping[str, Array],
    units: Mapping[str, str],
    attrs: Mapping[str, Any],
    source: GeoBox,
    target: GeoBox,
) -> WeightFile:
    """Weights of a file for arrays on two grids.

    Parameters
    ----------
    arrays : mapping
        The variables of `NAMES` that the file has, by what they are.
    units : mapping
        Units of the coordinates among them ("degrees" or "radians").
    attrs : mapping
        Attributes of the file.
    source, target : GeoBox
        Grids of the data and of the result, in the direction of their arrays.

    Raises
    ------
    ArgumentError
        Indices that do not count from 1, weights of second order, weights that are not numbers.
    GridMismatchError
        The weights belong to other grids.
    """
    row, col, weight = np.asarray(arrays["row"]), np.asarray(arrays["col"]), _first_order(arrays, attrs)
    if not row.shape == col.shape == weight.shape or row.ndim != 1:
        raise ArgumentError(
            f"the weights do not agree: {row.shape} rows, {col.shape} columns, {weight.shape} weights; "
            "expected three arrays of one length: write the file anew"
        )
    if weight.dtype.kind not in "fiu":
        raise ArgumentError(f"the file's weights are of type {weight.dtype}; expected numbers: write the file anew")
    if not np.isfinite(weight).all():
        raise ArgumentError(
            f"{int((~np.isfinite(weight)).sum())} of {weight.size} weights are not finite; write the file anew "
            "(in xESMF without unmapped_to_nan)"
        )
    shapes = {}
    for what, box, index in (("source", source, col), ("target", target, row)):
        shape = shapes[what] = (box.shape[0], box.shape[1])
        _require_dims(arrays.get(f"{what}_dims"), shape, what)
        _require_indices(index, shape, what)
    row = row.astype(np.int64) - 1
    if attrs.get("normalization") == "none" and "target_area" in arrays:
        weight = weight / np.asarray(arrays["target_area"], float).ravel()[row]
    elif attrs.get("normalization") == "none":
        raise ArgumentError(
            'the weights are not normalised (normalization = "none") and the file has no dst_grid_area to divide by; '
            'make them with normalization "destarea" or "fracarea"'
        )
    matrix = WeightMatrix.of(row, col.astype(np.int64) - 1, weight, shapes["source"], shapes["target"])
    orders = {}
    for what, box in (("source", source), ("target", target)):
        place = _coordinates(arrays, units, what, shapes[what])
        orders[what] = order_of(box, *place, what) if place is not None else None
    if None in orders.values():
        require_fit(matrix, source, target, orders["source"] or Order(), orders["target"] or Order())
    return WeightFile(matrix, orders["source"] or Order(), orders["target"] or Order())


def _first_order(arrays: Mapping[str, Array], attrs: Mapping[str, Any]) -> Array:
    weight = np.asarray(arrays["S"])
    if weight.ndim == 1:
        return weight
    # SCRIP: (links, weights); those after the first go with gradients, and vanish for a first-order remapping.
    method = str(attrs.get("map_method", ""))
    if weight.ndim == 2 and (weight.shape[1] == 1 or method.lower().startswith("conservative")):
        return weight[:, 0]
    raise ArgumentError(
        f"weights of shape {weight.shape} ({method or 'no map_method'}) need gradients of the field; "
        "expected one weight for each pair of cells: conservative, bilinear or nearest"
    )


def _require_dims(dims: Array | None, shape: tuple[int, int], what: str) -> None:
    if dims is None:
        return
    if np.asarray(dims).dtype.kind not in "iu":
        raise ArgumentError(f"the size of the {what} grid in the file is {np.asarray(dims).dtype}; expected integers")
    found = tuple(int(n) for n in np.asarray(dims).ravel())
    cells = shape[0] * shape[1]
    if found != (shape[1], shape[0]) and not (len(found) == 1 and found[0] == cells):
        raise GridMismatchError(
            f"the weights are for another {what}: the file's has (columns, rows) = {found}; expected the {what} grid "
            f"with {(shape[1], shape[0])}: give the grid that the weights were made for"
        )


def _require_indices(index: Array, shape: tuple[int, int], what: str) -> None:
    cells = shape[0] * shape[1]
    if index.dtype.kind not in "iu" and not (
        index.dtype.kind == "f" and np.isfinite(index).all() and (index == np.floor(index)).all()
    ):
        raise ArgumentError(f"the file's indices of {what} cells are {index.dtype}; expected whole numbers from 1")
    if index.size and index.min() < 1:
        raise ArgumentError(
            f"the file's indices of {what} cells start at {int(index.min())}; expected 1: add 1 to row and col"
        )
    if index.size and index.max() > cells:
        raise GridMismatchError(
            f"the weights are for another {what}: the file names its cell {int(index.max())}, but the {what} grid has "
            f"{shape[0]} x {shape[1]} = {cells} cells; expected the grid that the weights were made for: give that"
        )


def _coordinates(
    arrays: Mapping[str, Array], units: Mapping[str, str], what: str, shape: tuple[int, int]
) -> tuple[Array, Array] | None:
    """Centres of the file's cells [degrees]; None where it has none (some tools write zeros)."""
    both = []
    for axis in ("lon", "lat"):
        name = f"{what}_{axis}"
        if name not in arrays or np.asarray(arrays[name]).size != shape[0] * shape[1]:
            return None
        values = np.asarray(arrays[name]).reshape(shape)
        both.append(np.degrees(values) if units.get(name, "degrees").lower().startswith("rad") else values)
    if shape != (1, 1) and all(np.ptp(values) == 0 for values in both):
        return None
    return both[0], both[1]


def describe_grid(box: GeoBox, side: str, working: str, covered: Array, *, corners: bool) -> dict[str, Array]:
    """The variables of a weight file that describe one grid.

    Parameters
    ----------
    box : GeoBox
    side : {"a", "b"}
        Source or target.
    working : str
        Equal-area CRS of the areas.
    covered : ndarray (rows * columns)
        Part of each cell that the other grid covers.
    corners : bool
        With the corners of the cells: counter-clockwise, 64 bytes a cell.

    Returns
    -------
    dict
        ``{src,dst}_grid_dims``, ``xc``, ``yc``, ``xv``, ``yv`` [degrees], ``area`` [square radians], ``frac``,
        ``mask``.
    """
    rows, columns = box.shape
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    lon, lat = centres(box, row, column)
    area = np.broadcast_to(cell_areas(box, working), (rows, columns)) / AUTHALIC_RADIUS**2
    out = {
        f"{'src' if side == 'a' else 'dst'}_grid_dims": np.array([columns, rows], np.int32),
        f"xc_{side}": lon.ravel(),
        f"yc_{side}": lat.ravel(),
        f"area_{side}": area.ravel(),
        f"frac_{side}": covered,
        f"mask_{side}": np.ones(rows * columns, np.int32),
    }
    if corners:
        at_lon, at_lat = corner_places(box)
        out[f"xv_{side}"], out[f"yv_{side}"] = (_around(a, box).reshape(-1, 4) for a in (at_lon, at_lat))
    return out


def corner_places(box: GeoBox) -> tuple[Array, Array]:
    """Longitude and latitude [degrees] of the corners of all cells, (rows + 1, columns + 1)."""
    rows, columns = box.shape
    row, column = np.meshgrid(np.arange(rows + 1.0), np.arange(columns + 1.0), indexing="ij")
    x, y = to_world(box.affine, column, row)
    if is_geographic(crs_text(box)):
        return np.asarray(x), np.clip(y, -90.0, 90.0)
    lon, lat = transformer(crs_text(box), "EPSG:4326").transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def _around(values: Array, box: GeoBox) -> Array:
    """The four corners of each cell, counter-clockwise on the map."""
    ring = [values[1:, :-1], values[1:, 1:], values[:-1, 1:], values[:-1, :-1]]
    return np.stack(ring if box.affine.determinant < 0 else ring[::-1], axis=-1)
