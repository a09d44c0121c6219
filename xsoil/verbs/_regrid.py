"""What `upscale` and `downscale` share: source and target grid, metadata, one variable after the other."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, AxisError, MissingVariableError, NoOverlapError, UnknownNameError
from xsoil.grids.crs import cell_ratio, draws_pole_as_arc
from xsoil.grids.ease import EASE_GRIDS, ease_grid, named_grid
from xsoil.grids.geobox import Located, locate
from xsoil.verbs import _inputs, _lazy
from xsoil.vocabulary import VARIABLES


def warn(message: str) -> None:
    """Warn at the first line that is not xsoil's: that of the caller, of the function or of the accessor."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "xsoil":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


@dataclass(frozen=True)
class Plan:
    """How one variable comes to the target: the step of each task, and what its outputs are called."""

    data: Any
    """(..., y, x) numpy or dask, as the step takes it; without a step the result itself."""
    step: _lazy.TileStep | None
    attrs: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Dimensions that the result has of its own, with their coordinates."""


def canonical(ds: xr.Dataset) -> tuple[Located, xr.Dataset]:
    """The source with x ascending and y descending, so that its orientation cannot show in the numbers."""
    found = locate(ds)
    if found.cyclic_shift:  # a longitude axis with one jump of a full turn: let it run on instead
        ds = ds.assign_coords({found.x: np.unwrap(ds[found.x].values.astype(float), period=360.0)})
        found = locate(ds)
    a = found.geobox.affine
    if a.determinant == 0.0 or not np.isfinite([a.a, a.b, a.c, a.d, a.e, a.f]).all():
        raise AxisError(f"the grid's transform {tuple(a)[:6]} cannot be inverted: its cells have no area; mend it")
    if a.b or a.d or (a.e < 0 < a.a):
        return found, ds
    if found.x not in ds.coords or found.y not in ds.coords:  # only a GeoTransform, which would not turn with the data
        x, y = (
            a.c + a.a * (np.arange(found.geobox.shape[1]) + 0.5),
            a.f + a.e * (np.arange(found.geobox.shape[0]) + 0.5),
        )
        resolution = ({"resolution": a.a}, {"resolution": a.e})
        ds = ds.assign_coords({found.x: (found.x, x, resolution[0]), found.y: (found.y, y, resolution[1])})
    flips = {dim: slice(None, None, -1) for dim, turned in ((found.y, a.e > 0), (found.x, a.a < 0)) if turned}
    ds = ds.isel(flips)
    for dim in flips:
        if "resolution" in ds[dim].attrs:
            ds[dim].attrs["resolution"] = -float(ds[dim].attrs["resolution"])
    return locate(ds), ds


def target_of(to: object, region: object, source: Located) -> tuple[GeoBox, Hashable, Hashable]:
    """The target grid, and what its dimensions are called."""
    if isinstance(to, str):
        if region is not None:
            target = ease_grid(to, region)
        else:
            from xsoil.grids.overlap import footprint_on

            target = footprint_on(named_grid(to), source.geobox)
        return target, *target.dimensions
    if region is not None:
        raise ArgumentError(
            f"region goes with the name of a grid ({', '.join(EASE_GRIDS)}); the target given has its own extent"
        )
    found = locate(to)
    return found.geobox, found.y, found.x


def choices(
    how: object, spatial: list[Hashable], known: Mapping[str, Any], usual: str, word: str = "operator"
) -> dict[Hashable, str]:
    """The name that each spatial variable gets from ``how=`` (a name, or a dict {variable: name})."""
    if isinstance(how, str):
        table: dict[Hashable, str] = dict.fromkeys(spatial, how)
    elif isinstance(how, Mapping):
        unknown = [name for name in how if name not in spatial]
        if unknown:
            raise MissingVariableError(f"{unknown[0]!r} is named, but not among the maps {sorted(map(str, spatial))}")
        table = {name: str(how.get(name, usual)) for name in spatial}
    else:
        raise ArgumentError(f"found {how!r}; expected one of {tuple(known)} or a dict {{variable: {word}}}")
    for name in table.values():
        if name not in known:
            raise UnknownNameError.of(word, name, known)
    return table


def is_number(value: object) -> bool:
    """True for a finite real number (True and False are none)."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return real and math.isfinite(cast(float, value))


def require_fraction(name: str, value: object) -> None:
    """Raise unless `value` is None or from 0 to 1."""
    if value is not None and not (is_number(value) and 0 <= cast(float, value) <= 1):
        raise ArgumentError(f"{name}={value!r}; expected a fraction, 0 to 1")


def is_class(var: xr.DataArray) -> bool:
    """True where the numbers only name something."""
    variable = VARIABLES.get(str(var.name))
    return "flag_values" in var.attrs or "flag_masks" in var.attrs or (variable is not None and variable.kind != "real")


def regrid(
    ds: xr.Dataset,
    source: Located,
    target: tuple[GeoBox, Hashable, Hashable],
    plan: Callable[[xr.DataArray], Plan],
    chunks: int | tuple[int, int] | None,
) -> xr.Dataset:
    """Bring every spatial variable to the target by its plan; carry what has no place on the grid.

    `plan` gets the variable with its spatial dimensions last.
    """
    box, y, x = target
    if (y in ds.dims and y not in source.dims) or (x in ds.dims and x not in source.dims):
        raise ArgumentError(
            f"the target's dimension names {(y, x)} are taken by other dimensions of the source; rename those"
        )
    bounds = {ds[dim].attrs.get("bounds", ds[dim].encoding.get("bounds", f"{dim}_bnds")) for dim in source.dims}
    verb = _lazy.label(plan)
    out: dict[Hashable, xr.Variable] = {}
    beside: dict[Hashable, xr.Variable] = {}
    coords: dict[Hashable, Any] = {}
    for name, var in ds.data_vars.items():
        if not set(source.dims) <= set(var.dims):
            if not set(source.dims) & set(var.dims):
                if not _is_mapping(var):  # that of the source; the result has its own
                    out[name] = var.variable
            elif name not in bounds:
                warn(
                    f"{name!r} is left out: it has only one of the spatial dimensions {source.dims}, "
                    "which the target does not have"
                )
            continue
        made = plan(var.transpose(..., source.y, source.x))
        lead = tuple(d for d in var.dims if d not in source.dims)
        step = made.step
        arrays = {"value": made.data} if step is None else _lazy.map_tiles(made.data, step, chunks, verb=verb)
        for what, array in arrays.items():
            if what == "value":
                out[name] = xr.Variable((*lead, *made.extra, y, x), array, dict(made.attrs))
                coords |= {dim: coord for dim, coord in made.extra.items() if coord is not None}
            else:
                beside[f"{name}_{what}"] = xr.Variable((*lead, y, x), array, _BESIDE[what](name))
    for name, made_too in beside.items():
        there = out.setdefault(name, made_too)
        if there is made_too:
            continue
        if "flag_meanings" not in made_too.attrs or there.attrs.get("flag_meanings") != made_too.attrs["flag_meanings"]:
            raise ArgumentError(f"the source has {name!r} already; drop it with ds.drop_vars({name!r}), or rename it")
        both = there | made_too  # faults of an earlier step stay
        out[name] = both.transpose(*(d for d in both.dims if d not in (y, x)), y, x)
        out[name].attrs = dict(there.attrs)
    coords |= {
        name: coord
        for name, coord in ds.coords.items()
        if not set(source.dims) & set(coord.dims) and not _is_mapping(coord)
    }
    lost = [
        str(name)
        for name, coord in ds.coords.items()
        if set(source.dims) & set(coord.dims) and name not in (*source.dims, *bounds)
    ]
    if lost:
        warn(f"the coordinates {lost} are left out, as they lie on the source's grid; ds.reset_coords(...) brings them")
    axes = xr_coords(box, dims=(str(y), str(x)))
    for name in out:
        if name in axes or name in coords:
            raise ArgumentError(
                f"the variable {name!r} has the name of a coordinate of the result; rename it, or drop it with "
                f"ds.drop_vars({str(name)!r})"
            )
    # What other attributes say about the source's grid (GeoZarr, GDAL) is not true of the target's.
    attrs = {
        k: v
        for k, v in ds.attrs.items()
        if not str(k).startswith(("proj:", "spatial:")) and k not in ("crs", "crs_wkt", "transform", "GeoTransform")
    }
    result = xr.Dataset(out, coords=coords | axes, attrs=attrs)
    for name in result.data_vars:
        if y in result[name].dims:
            result[name].encoding["grid_mapping"] = "spatial_ref"
    return result


def on_axes_of(result: xr.Dataset, to: object) -> xr.Dataset:
    """The result with the very coordinates of the object that gave the grid, so that both go together.

    Coordinates made from a transform may differ from those of a file by rounding, or by a full turn.
    """
    if not isinstance(to, (xr.Dataset, xr.DataArray)):
        return result
    found = locate(to)
    axes = {dim: to[dim].variable for dim in found.dims if dim in to.coords}
    return result.assign_coords(axes)


_BESIDE: Mapping[str, Callable[[Hashable], dict[str, Any]]] = {
    "valid_fraction": lambda name: {"units": "1", "long_name": f"valid part of the cell's area of {name}"},
    "quality": lambda name: {
        "long_name": f"faults of {name}",
        "flag_masks": np.array([1, 2], np.uint8),
        "flag_meanings": "negative_value overflow",
    },
}
"""Attributes of the arrays that a step makes beside its values."""


def types_of(var: xr.DataArray, whole: bool) -> tuple[xr.DataArray, np.dtype[Any], np.dtype[Any], int | None]:
    """The variable with missing values as NaN, a float type that holds it exactly, the type of a result
    (`whole`: integers stay integers) and the integer that marks missing cells of such a result."""
    if var.dtype.kind not in "fiub":
        raise ArgumentError(
            f"{var.name!r} is {var.dtype}; expected numbers: drop it with ds.drop_vars({str(var.name)!r})"
        )
    if var.dtype.kind == "f" and var.dtype.itemsize > 8:
        raise ArgumentError(f"{var.name!r} is {var.dtype}; expected float64 or less: ds[...].astype('f8')")
    packed = var.attrs.get("scale_factor", 1.0) != 1.0 or var.attrs.get("add_offset", 0.0) != 0.0
    integer = whole and var.dtype.kind in "iub" and not packed
    decoded = _inputs.decode(var)
    exact = decoded.dtype
    if exact.kind != "f":
        exact = np.dtype(np.float32 if exact.itemsize <= 2 else np.float64)
    if exact.itemsize < 4:
        exact = np.dtype(np.float32)
    if integer:
        out = np.dtype(np.uint8) if var.dtype.kind == "b" else var.dtype.newbyteorder("=")
    else:
        out = decoded.dtype if var.dtype.kind == "f" else np.dtype(np.float64)
    return decoded, exact, out, fill_of(var) if integer else None


def fill_of(var: xr.DataArray) -> int:
    """The integer that marks missing cells of a result that stays integer."""
    nodata = _inputs.nodata_of(var)
    if nodata is not None:
        return int(nodata)
    variable = VARIABLES.get(str(var.name))
    if "flag_masks" in var.attrs or (variable is not None and variable.kind == "class"):
        return 0
    if var.dtype.kind == "b":
        return 255
    info = np.iinfo(var.dtype)
    return int(info.min if info.min < 0 else info.max)


def attrs_of(var: xr.DataArray, cell_method: str, fill: int | None = None) -> dict[str, Any]:
    """Attributes of a result: those of the source but what described its storage, and how it was made."""
    attrs = {k: v for k, v in var.attrs.items() if k not in (*_inputs.STORAGE_ATTRS, "grid_mapping", "cell_methods")}
    if cell_method:
        before = str(var.attrs.get("cell_methods", ""))
        attrs["cell_methods"] = f"{before} area: {cell_method}".strip()
    if fill is not None and "flag_masks" not in var.attrs:  # no flag is no fault, and nothing that is missing
        dtype = np.dtype(np.uint8) if var.dtype.kind == "b" else var.dtype.newbyteorder("=")
        # With _FillValue xarray would read classes back as floats.
        variable = VARIABLES.get(str(var.name))
        plain = "nodata" in var.attrs or (variable is not None and variable.kind == "class")
        attrs["nodata" if plain else "_FillValue"] = dtype.type(fill)
    return attrs


def require_overlap(source: Located, target: GeoBox) -> None:
    """Raise unless the two grids have a cell in common."""
    from xsoil.grids.overlap import overlap_window

    if overlap_window(source.geobox, target, 0, target.shape[0], 0, target.shape[1]) is None:
        raise NoOverlapError(
            f"source and target do not overlap: {_extent(source.geobox)} against {_extent(target)}; "
            "check the CRS of both"
        )


def warn_direction(source: GeoBox, target: GeoBox, *, verb: str, other: str) -> None:
    """Warn where the cells change in the other direction than the verb says."""
    ratio = cell_ratio(source, target)
    if (verb == "upscale" and ratio < 1.0 - 1e-3) or (verb == "downscale" and ratio > 1.0 + 1e-3):
        which = "finer" if verb == "upscale" else "coarser"
        warn(
            f"{verb}: the target is {which} than the source (a target cell covers {ratio:.3g} source cells); "
            f"it works, but `{other}` is made for that"
        )


def warn_pole(source: GeoBox, target: GeoBox, *, verb: str) -> None:
    """Warn where the target's projection makes an arc of a pole that the source holds."""
    if draws_pole_as_arc(source, target):
        warn(
            f"{verb}: the projection of the target draws the pole as an arc, and the source holds that pole: cells at "
            "the arc may be far off, valid fractions too; take a polar or a cylindrical grid there, or mask them"
        )


def _is_mapping(coord: xr.DataArray) -> bool:
    return coord.ndim == 0 and bool({"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(coord.attrs))


def _extent(geobox: GeoBox) -> str:
    box = geobox.boundingbox
    return f"x {box.left:.6g}..{box.right:.6g}, y {box.bottom:.6g}..{box.top:.6g} in {geobox.crs.epsg or geobox.crs}"
