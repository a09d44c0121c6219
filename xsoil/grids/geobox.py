"""The grid of any dataset as an odc GeoBox: rioxarray, odc, CF and plain latitude/longitude."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError as PyprojCRSError

from xsoil.errors import ArgumentError, AxisError, CRSError
from xsoil.grids.axis_units import require_degrees, require_units
from xsoil.grids.crs import crs_of, crs_text, short_name, to_world
from xsoil.grids.ease import ease_grid, find_ease

# Standard names, axis attributes and, last, plain names that mark the two spatial dimensions.
_STANDARD = {
    "y": ("projection_y_coordinate", "latitude", "grid_latitude"),
    "x": ("projection_x_coordinate", "longitude", "grid_longitude"),
}
_NAMES = {
    "y": ("y", "latitude", "lat", "northing", "yc", "Y", "Latitude", "Lat"),
    "x": ("x", "longitude", "lon", "easting", "xc", "X", "Longitude", "Lon", "long"),
}
_GEOGRAPHIC_NAMES = {"latitude", "lat", "longitude", "lon", "long"}

# Deviation from even spacing that still counts as rounding, in cells (files store 6 digits).
SPACING_TOLERANCE = 0.01


@dataclass(frozen=True)
class Located:
    """A grid and what the object calls its dimensions."""

    geobox: GeoBox
    y: Hashable
    x: Hashable
    cyclic_shift: int = 0
    """Columns that stand before the jump of a longitude axis rolled past 180 or 360 degrees."""

    @property
    def dims(self) -> tuple[Hashable, Hashable]:
        return self.y, self.x


def grid_of(obj: object) -> GeoBox:
    """GeoBox of a dataset, a name or a GeoBox.

    Parameters
    ----------
    obj : str, GeoBox, xr.Dataset or xr.DataArray
        Name of an EASE-Grid 2.0 grid, a GeoBox, or an object with a regular grid: conventions of
        rioxarray and odc (``spatial_ref``, ``GeoTransform``), a CF grid mapping, or plain latitude
        and longitude (taken as EPSG:4326). Coordinates win over a stale ``GeoTransform``.

    Returns
    -------
    odc.geo.geobox.GeoBox
        In the orientation of the object. Coordinates within 1e-4 of a cell of an EASE-Grid 2.0 grid
        give that grid's exact GeoBox.

    Raises
    ------
    AxisError
        No spatial dimensions, or axes that are shuffled, not evenly spaced or in other units than their CRS.
    CRSError
        No CRS, or two different ones.

    Examples
    --------
    >>> import xsoil
    >>> xsoil.grid_of("EASE2_M09km").shape
    Shape2d(x=3856, y=1624)
    """
    return locate(obj).geobox


def locate(obj: object) -> Located:
    """Like `grid_of`, with the names of the dimensions."""
    if isinstance(obj, str):
        obj = ease_grid(obj)
    if isinstance(obj, GeoBox):
        if obj.crs is None:
            raise CRSError("the GeoBox has no CRS; build it with crs=...")
        require_degrees(crs_of(crs_text(obj)))
        return Located(obj, *obj.dimensions)
    if not isinstance(obj, (xr.Dataset, xr.DataArray)):
        raise ArgumentError(
            f"{type(obj).__name__} has no grid; expected the name of an EASE-Grid, a GeoBox or an xarray object"
        )
    y, x = spatial_dims(obj)
    mapping = _grid_mapping(obj)
    crs = _crs(obj, mapping, y, x)
    require_degrees(crs)
    transform = _transform(mapping)
    rows, columns = obj.sizes[y], obj.sizes[x]
    if rows == 0 or columns == 0:
        raise AxisError(f"the grid is empty: {y!r} has {rows} cells, {x!r} {columns}")
    shift = 0
    if x in obj.coords and y in obj.coords:
        require_units(obj, crs, (y, x))
        along_y = _Axis.read(obj, y, transform.e if transform else None, cyclic=False)
        along_x = _Axis.read(obj, x, transform.a if transform else None, cyclic=crs.is_geographic)
        shift = along_x.shift
        affine = Affine(along_x.step, 0.0, along_x.edge, 0.0, along_y.step, along_y.edge)
        if transform is not None and all(obj[dim].attrs.get("units") == "pixel" for dim in (y, x)):
            # odc-geo's way to write a rotated grid: the coordinates count pixels of the transform.
            a, b = transform, affine
            corner = to_world(a, np.array(b.c), np.array(b.f))
            affine = Affine(a.a * b.a, a.b * b.e, float(corner[0]), a.d * b.a, a.e * b.e, float(corner[1]))
        elif transform is not None and _agree(affine, transform, rows, columns):
            affine = transform
    elif transform is not None:
        affine = transform
    else:
        raise AxisError(
            f"dimensions {y!r} and {x!r} have no coordinates and there is no GeoTransform; "
            "add coordinates, or ds.rio.write_transform(...)"
        )
    geobox = GeoBox((rows, columns), affine, short_name(crs.srs))
    found = find_ease(geobox)
    if found is not None:
        grid, row, column = found
        geobox = grid.window(row, column, rows, columns)
    return Located(geobox, y, x, shift)


def spatial_dims(obj: xr.Dataset | xr.DataArray) -> tuple[Hashable, Hashable]:
    """Names of the (y, x) dimensions, or an error that lists what there is."""
    found = {axis: _spatial_dim(obj, axis) for axis in ("y", "x")}
    if None in found.values():
        missing = " and ".join(axis for axis, dim in found.items() if dim is None)
        raise AxisError(
            f"no {missing} dimension among {[str(d) for d in obj.dims]}; "
            "rename the spatial dimensions to y and x (or latitude and longitude), "
            "or give their coordinates a standard_name"
        )
    return found["y"], found["x"]


def has_grid(obj: xr.Dataset | xr.DataArray) -> bool:
    """True where the object has both spatial dimensions."""
    return all(_spatial_dim(obj, axis) is not None for axis in ("y", "x"))


def _spatial_dim(obj: xr.Dataset | xr.DataArray, axis: str) -> Hashable | None:
    for dim in obj.dims:
        attrs = obj[dim].attrs if dim in obj.coords else {}
        if attrs.get("standard_name") in _STANDARD[axis] or attrs.get("axis") == axis.upper():
            return dim
    return next((name for name in _NAMES[axis] if name in obj.dims), None)


def _grid_mapping(obj: xr.Dataset | xr.DataArray) -> dict[Hashable, dict[str, object]]:
    """Attributes of every grid-mapping variable of the object, by name."""
    named: list[Hashable] = []
    arrays: Iterable[xr.DataArray] = obj.data_vars.values() if isinstance(obj, xr.Dataset) else [obj]
    for array in arrays:
        name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
        if name is not None:
            named.append(str(name).split(":")[0].strip())
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    candidates = [name for name in dict.fromkeys(named) if name in variables]
    for name, variable in variables.items():
        if name not in candidates and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(variable.attrs):
            candidates.append(name)
    return {name: dict(variables[name].attrs) for name in candidates}


def _crs(obj: xr.Dataset | xr.DataArray, mapping: dict[Hashable, dict[str, object]], y: Hashable, x: Hashable) -> CRS:
    found: dict[Hashable, CRS] = {}
    for name, attrs in mapping.items():
        try:
            text = attrs.get("crs_wkt") or attrs.get("spatial_ref")
            found[name] = crs_of(str(text)) if text else CRS.from_cf(attrs)
        except Exception as error:
            raise CRSError(
                f"the grid mapping {name!r} cannot be read ({error}); write it with ds.rio.write_crs(...)"
            ) from error
    if not found:
        stated = _stated_crs(obj)
        if stated is not None:
            return stated
        if _is_geographic(obj, y, x):
            return CRS.from_epsg(4326)
        bare = [str(name) for name in ("spatial_ref", "crs") if name in obj.coords and not obj.coords[name].attrs]
        lost = f" ({bare[0]!r} has lost its attributes, as xr.where(...) does; .where(...) keeps them)" if bare else ""
        raise CRSError(
            f"no CRS for the dimensions {y!r} and {x!r}: neither a grid mapping nor latitude and longitude{lost}; "
            'add it with ds.rio.write_crs("EPSG:...")'
        )
    first, *others = found.items()
    for name, crs in others:
        if not first[1].equals(crs, ignore_axis_order=True):
            raise CRSError(
                f"two coordinate reference systems: {first[0]!r} is {first[1].name!r}, {name!r} is {crs.name!r}; "
                "drop the wrong one with ds.drop_vars(...), or split the dataset"
            )
    return first[1]


def _stated_crs(obj: xr.Dataset | xr.DataArray) -> CRS | None:
    """The CRS of an attribute; free text ("lat-lon grid") is not searched for a name that sounds alike."""
    for key in ("proj:code", "proj:wkt2", "crs", "crs_wkt"):
        text = str(obj.attrs.get(key, "")).removeprefix("+init=").strip()
        if re.fullmatch(r"\w+:\w+", text) or "+proj=" in text or re.match(r"(GEOG|PROJ|GEOD|BOUND)\w*\[", text):
            try:
                return CRS.from_user_input(text)
            except PyprojCRSError as error:
                raise CRSError(
                    f"the attribute {key!r} is {text!r}, which is no CRS ({error}); delete it, or ds.rio.write_crs(...)"
                ) from error
    return None


def _is_geographic(obj: xr.Dataset | xr.DataArray, y: Hashable, x: Hashable) -> bool:
    def degrees(dim: Hashable) -> bool:
        attrs = obj[dim].attrs if dim in obj.coords else {}
        return (
            str(dim).lower() in _GEOGRAPHIC_NAMES
            or attrs.get("standard_name") in ("latitude", "longitude")
            or str(attrs.get("units", "")).lower().startswith(("degrees_", "degree_"))
        )

    return degrees(y) and degrees(x)


def _transform(mapping: dict[Hashable, dict[str, object]]) -> Affine | None:
    for attrs in mapping.values():
        text = attrs.get("GeoTransform")
        if not isinstance(text, (str, list, tuple, np.ndarray)):
            continue
        try:
            numbers = [float(v) for v in (text.split() if isinstance(text, str) else text)]
        except ValueError as error:
            raise AxisError(
                f"the GeoTransform is {text!r}; expected six numbers: mend it with ds.rio.write_transform(...)"
            ) from error
        if len(numbers) == 6:
            return Affine.from_gdal(*numbers)
    return None


def _agree(a: Affine, b: Affine, rows: int, columns: int) -> bool:
    """Both transforms put all corners at the same place (to 1e-3 of a cell)."""
    if b.b or b.d:
        return False
    x_off = max(abs(a.c - b.c), abs(a.c + a.a * columns - b.c - b.a * columns)) / abs(a.a)
    y_off = max(abs(a.f - b.f), abs(a.f + a.e * rows - b.f - b.e * rows)) / abs(a.e)
    return max(x_off, y_off) < 1e-3


@dataclass(frozen=True)
class _Axis:
    """An evenly spaced axis: outer edge of the first cell, signed step."""

    edge: float
    step: float
    shift: int = 0

    @classmethod
    def read(cls, obj: xr.Dataset | xr.DataArray, dim: Hashable, declared: float | None, *, cyclic: bool) -> _Axis:
        coord = obj[dim]
        if coord.dtype.kind not in "fiu":
            raise AxisError(f"the axis {dim!r} is {coord.dtype}; expected numbers")
        values = np.asarray(coord.values, dtype=float)
        if not np.isfinite(values).all():
            raise AxisError(f"the axis {dim!r} holds NaN or infinite coordinates; expected evenly spaced numbers")
        if values.size == 1:
            step = _single_step(obj, dim, declared)
            return cls(float(values[0]) - step / 2, step)
        shift = 0
        steps = np.diff(values)
        if cyclic and (jumps := np.flatnonzero(np.sign(steps) != np.sign(np.median(steps)))).size == 1:
            # A global longitude axis rolled past its seam: one jump back by a full turn.
            turn = 360.0 * np.sign(np.median(steps))
            if abs(abs(steps[jumps[0]]) + abs(np.median(steps)) - 360.0) < 0.5 * abs(np.median(steps)):
                shift = int(jumps[0]) + 1
                values = values.copy()
                values[shift:] += turn
                steps = np.diff(values)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise AxisError(f"the axis {dim!r} is shuffled: neither ascending nor descending; use ds.sortby({dim!r})")
        step = float((values[-1] - values[0]) / (values.size - 1))
        even = values[0] + step * np.arange(values.size)
        rounding = 2 * np.finfo(coord.dtype).eps * np.abs(values).max() if coord.dtype.kind == "f" else 0.0
        off = float(np.abs(values - even).max())
        if off > SPACING_TOLERANCE * abs(step) + rounding:
            raise AxisError(
                f"the axis {dim!r} is not evenly spaced: steps from {np.abs(steps).min():.9g} "
                f"to {np.abs(steps).max():.9g}; expected a regular grid (interpolate to one, or check for missing rows)"
            )
        error = max(rounding, 1.5 * off)
        if error > 1e-9 * abs(
            step
        ):  # of coordinates in single precision, or with six digits: what was meant is rounder
            step = _rounder(step, 2 * error / (values.size - 1))
            edge = float(values.mean()) - step * values.size / 2
            return cls(step * _rounder(edge / step, error / abs(step)), step, shift)
        edge = float(values[0]) - step / 2
        return cls(edge, step, shift)


def _rounder(value: float, error: float) -> float:
    """The simplest fraction within `error` of a number, if it is too simple to be there by chance; else the number."""
    low, high = Fraction(value - error), Fraction(value + error)
    simplest = _simplest(low, high) if low > 0 or high < 0 else Fraction(0)
    return float(simplest) if simplest.denominator**2 * error < 0.005 else value


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest denominator between two numbers of one sign (Stern and Brocot)."""
    if high < 0:
        return -_simplest(-high, -low)
    whole = low.numerator // low.denominator
    if whole == low:
        return Fraction(whole)
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / _simplest(1 / (high - whole), 1 / (low - whole))


def _single_step(obj: xr.Dataset | xr.DataArray, dim: Hashable, declared: float | None) -> float:
    """Cell size of an axis of one cell: from its attributes, its bounds or the GeoTransform."""
    coord = obj[dim]
    resolution = coord.attrs.get("resolution")
    if resolution is not None:
        try:
            step = float(resolution)
        except (TypeError, ValueError):
            step = np.nan
        if not np.isfinite(step) or step == 0:
            raise AxisError(
                f"the axis {dim!r} declares the resolution {resolution!r}; expected the size of its cell, a number: "
                f"ds[{dim!r}].attrs['resolution'] = ..."
            )
        return step
    bounds = coord.attrs.get("bounds")
    if bounds is not None and bounds in getattr(obj, "variables", obj.coords):
        low, high = np.asarray(obj[bounds].values, dtype=float).ravel()[:2]
        return float(high - low)
    if declared:
        return float(declared)
    raise AxisError(
        f"the axis {dim!r} has one cell, so its size is not known; "
        f"ds.rio.write_transform(...), or ds[{dim!r}].attrs['resolution'] = ..."
    )
