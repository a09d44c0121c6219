"""`upscale`: from any grid to a coarser one, exact and lazy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids.reduce import OPERATORS, UNION, Operator, Reduction
from xsoil.verbs import _inputs, _regrid
from xsoil.vocabulary import VARIABLES

How = Literal[
    "mean", "sum", "min", "max", "median", "mode", "nearest", "bilinear", "cubic", "harmonic", "geometric", "std",
    "quantile", "power", "fraction", "default",
]  # fmt: skip
HOWS: tuple[str, ...] = (*OPERATORS, "default")
ENGINES = ("exact", "gdal", "xesmf")
ESMF_ONLY = {
    "conservative": Operator("conservative", "area", "mean (comment: conservative)"),
    "patch": Operator("patch", "point", "point (comment: patch)"),
}
"""What ESMF has beside our operators, for engine="xesmf"."""
MAX_CLASSES = 256
"""More different values than this are a measurement, not classes."""


def upscale(
    ds: xr.Dataset | xr.DataArray,
    to: object,
    how: How | Mapping[str, How] = "mean",
    *,
    region: object = None,
    min_valid: float | None = None,
    q: float | None = None,
    p: float | None = None,
    engine: Literal["exact", "gdal", "xesmf"] = "exact",
    chunks: int | tuple[int, int] | None = None,
    valid_fraction: bool = False,
) -> xr.Dataset:
    """Bring maps to a coarser grid by exact overlap areas.

    Weights are the true areas of (source cell ∩ target cell), made for each target tile inside its task
    from the two grids; on dask input a task reads only the source blocks that its tile overlaps. The
    result does not depend on how the input is chunked, nor on its orientation.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Maps on a regular grid in any CRS, any other dimensions, any units. Variables without both
        spatial dimensions pass through.
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid: a name (``"EASE2_M09km"``: the part that covers the source), a GeoBox, or an object on the grid.
    how : str or dict
        Operator, or a dict {variable: operator}; variables that the dict does not name get the mean.

        - ``"mean"``, ``"sum"`` (conserves the total), ``"min"``, ``"max"`` (of every cell that overlaps);
        - ``"harmonic"``, ``"geometric"``, ``"power"`` (``p=``): power means, as MPR uses them for conductivities; 0
          where a cell holds a zero (p > 0: zeros are ordinary), NaN where it holds a negative value;
        - ``"median"``, ``"quantile"`` (``q=``), ``"std"``, ``"mode"`` (area-weighted; of equal areas the smallest
          value), ``"fraction"`` (share of each class, on a new dimension ``<name>_class``);
        - ``"nearest"``, ``"bilinear"``, ``"cubic"`` at the target's centre;
        - ``"default"``: by variable, conductivities geometric, classes by mode, all else the mean.

        Flags (a variable with ``flag_masks``, such as `quality`) are united over all cells that overlap, unless the
        dict says otherwise.
    region : str or tuple of float, optional
        With a named grid: ``"conus"``, (west, south, east, north) in degrees, or an object to cover.
    min_valid : float, optional
        A target cell is NaN where the valid part of its area is below this; default 0 for sum, else
        0.5. Bilinear: of the weight of the four cells around. Not used by nearest and cubic.
    q : float, optional
        Quantile, 0 to 1.
    p : float, optional
        Exponent of the power mean, not 0 (that is the geometric mean).
    engine : {"exact", "gdal", "xesmf"}
        What computes: xsoil itself by true overlap areas; GDAL's warper through odc-geo, for those who want its
        numbers (no `min_valid`, no NaN rule, a rectangle around each footprint); or ESMF through xESMF, where that
        is installed (mean: conservative_normed; nearest, bilinear; beside these "conservative" and "patch").
    chunks : int or (int, int), optional
        Rows and columns of the result's dask chunks. By default a task's source window stays near 32 MB.
    valid_fraction : bool
        Add ``<name>_valid_fraction`` [1], valid overlap area / target cell area.

    Returns
    -------
    xr.Dataset
        On the target grid, spatial dimensions last, named as the target names them, with its CRS. Floats
        keep their dtype (accumulated in float64); integers stay integers for min, max, mode and nearest
        (missing cells hold the declared nodata, else the smallest (unsigned: largest) integer, declared as
        ``_FillValue``) and become float64 for the others; beyond 2**53 they are rounded. Integers with an undecoded
        ``scale_factor`` or ``add_offset`` are decoded to floats. Harmonic, geometric and power means add
        ``<name>_quality`` (CF flags): 1 where a negative value made the cell NaN, 2 where a power left the range of
        the numbers. A valid integer that equals the one for missing cells reads as missing: declare another nodata.

    Warns
    -----
    UserWarning
        A variable that has only one of the spatial dimensions, or a coordinate on the source's grid, is left out
        (bounds of the axes silently).
        The target is finer than the source (`downscale` is made for that).
        The target's projection draws as an arc a pole that both grids hold (Albers): cells there may be far off.

    Raises
    ------
    CRSError, AxisError
        The source has no CRS or no regular axes.
    NoOverlapError
        Source and target have no cell in common.
    UnknownNameError
        Unknown grid or operator.
    ArgumentError
        A class variable under an operator that needs amounts, `q`, `p` or `min_valid` out of range or missing,
        `region` with a grid that has one.

    Notes
    -----
    Areas are measured in the target's CRS if it is equal-area, else in EPSG:6933 (poleward of 80 degrees in a
    Lambert azimuthal equal-area projection at the target's centre). Overlaps below 1e-9 of the smaller cell are
    dropped; areas within 1e-9 of each other are equal (mode: the smallest value, median: the mean of the two).

    Operators of areas on grids whose axes stay aligned (longitude and latitude to EASE-Grid 2.0 Global, nested grids):
    a dask task holds one source block, and hands on the cells inside it and its rims, a target cell wide; no block
    waits for its neighbours, so that memory does not grow with the map. Else, and where that would be more than half of
    the source: a task holds the source blocks that its window (near 32 MB, see `chunks`) touches, the window and its
    result, and neighbouring tiles share blocks, which wait for each other. The geometric mean takes some four times
    the window (block) more.

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))
    >>> soil.soil.upscale("EASE2_M36km").sand.shape
    (6, 9)
    """
    ds = _inputs.as_dataset(ds)
    source, ds = _regrid.canonical(ds)
    target = _regrid.target_of(to, region, source)
    spatial = [name for name, var in ds.data_vars.items() if set(source.dims) <= set(var.dims)]
    if engine not in ENGINES:
        raise UnknownNameError.of("engine", engine, ENGINES)
    operators = _operators(how, spatial, ds, ESMF_ONLY if engine == "xesmf" else {})
    _regrid.require_fraction("min_valid", min_valid)
    given = checked_parameters(operators, q, p)
    if engine != "exact" and valid_fraction:
        raise ArgumentError(f"valid_fraction=True with engine={engine!r}, which does not tell it; use engine='exact'")
    _regrid.require_overlap(source, target[0])
    _regrid.warn_direction(source.geobox, target[0], verb="upscale", other="downscale")
    _regrid.warn_pole(source.geobox, target[0], verb="upscale")

    def plan(var: xr.DataArray) -> _regrid.Plan:
        operator = operators[var.name]
        if operator is UNION:
            unsigned = np.dtype(f"u{var.dtype.itemsize}")
            masks = _inputs.flags_of(var.attrs["flag_masks"]).astype(var.dtype).view(unsigned)
            bits, nodata = int(np.bitwise_or.reduce(masks)), _inputs.nodata_of(var)
            if nodata is not None:  # no flag is known where nothing is
                var = var.where(var != nodata, var.dtype.type(0))
            step = Reduction(
                source.geobox, target[0], UNION, bits, 0.0, np.dtype(np.float32), var.dtype, 0, valid_fraction
            )
            return _regrid.Plan(var.data, step, _regrid.attrs_of(var, ""))
        if engine != "exact":
            return _other_engine(engine, var, source.geobox, target[0], operator, q, min_valid, chunks)
        data, exact, out, fill = _regrid.types_of(var, operator.whole)
        parameter: Any = given.get(operator.parameter)
        extra: dict[str, Any] = {}
        if operator.parameter == "classes":
            extra = _classes(var, data)
            parameter = tuple(float(value) for value in next(iter(extra.values())).values)
            out = np.dtype(np.float64)
        least = operator.least if min_valid is None else min_valid
        step = Reduction(source.geobox, target[0], operator, parameter, least, exact, out, fill, valid_fraction)
        method = operator.cell_method.format(q=q, p=p)
        attrs = _regrid.attrs_of(var, method, fill)
        if extra:
            attrs = {"units": "1", "long_name": f"share of each class of {var.name}", "cell_methods": "area: mean"}
        return _regrid.Plan(data.data, step, attrs, extra)

    return _regrid.on_axes_of(_regrid.regrid(ds, source, target, plan, chunks), to)


def _other_engine(
    engine: str,
    var: xr.DataArray,
    source: GeoBox,
    target: GeoBox,
    operator: Operator,
    q: float | None,
    min_valid: float | None,
    chunks: int | tuple[int, int] | None,
) -> _regrid.Plan:
    """A plan that holds the result of GDAL or ESMF."""
    from xsoil.verbs import _engines

    if engine == "gdal":
        found = _engines.gdal(var, source, target, operator.name, q=q, min_valid=min_valid, chunks=chunks)
    else:
        least = operator.least if min_valid is None else min_valid
        found = _engines.xesmf(var, source, target, operator.name, min_valid=least, chunks=chunks)
    whole = found.dtype.kind in "iu"
    attrs = _regrid.attrs_of(var, operator.cell_method.format(q=q, p=None), _regrid.fill_of(var) if whole else None)
    return _regrid.Plan(found, None, attrs)


def _operators(
    how: object, spatial: list[Hashable], ds: xr.Dataset, more: Mapping[str, Operator]
) -> dict[Hashable, Operator]:
    rows = {**OPERATORS, **more}
    table = {}
    for name, asked in _regrid.choices(how, spatial, dict.fromkeys((*HOWS, *more)), "mean").items():
        var = ds[name]
        if "flag_masks" in var.attrs and var.dtype.kind in "iu" and not (isinstance(how, Mapping) and name in how):
            table[name] = UNION
            continue
        operator = rows[_default(var) if asked == "default" else asked]
        if _regrid.is_class(var) and not operator.classes:
            raise ArgumentError(
                f"{name!r} holds classes or flags, which have no {operator.name}; use how={{{str(name)!r}: 'mode'}} "
                f"(or nearest, fraction, min, max), or drop it with ds.drop_vars({str(name)!r})"
            )
        table[name] = operator
    return table


def _default(var: xr.DataArray) -> str:
    """The operator of how="default"."""
    variable = VARIABLES.get(str(var.name))
    if variable is not None:
        return variable.how
    return "mode" if _regrid.is_class(var) or var.dtype.kind == "b" else "mean"


def checked_parameters(
    operators: Mapping[Hashable, Operator], q: float | None, p: float | None
) -> dict[str | None, float]:
    """q and p, checked against what the operators need."""
    needed = {operator.parameter: operator.name for operator in operators.values()}
    found: dict[str | None, float] = {}
    rules = (
        ("q", q, "quantile", "0 to 1, such as q=0.9"),
        ("p", p, "power", "not 0, such as p=2 (0: how='geometric')"),
    )
    for letter, value, name, expected in rules:
        if value is None:
            if letter in needed:
                raise ArgumentError(f"how={name!r} needs {letter}=; expected a number, {expected}")
            continue
        if letter not in needed:
            raise ArgumentError(f"{letter}={value!r} goes with how={name!r}, which no variable asks for")
        number = _regrid.is_number(value)
        if not number or (letter == "q" and not 0 <= value <= 1) or (letter == "p" and value == 0):
            raise ArgumentError(f"{letter}={value!r}; expected a number, {expected}")
        found[letter] = float(value)
    return found


def _classes(var: xr.DataArray, decoded: xr.DataArray) -> dict[str, Any]:
    """The dimension of how="fraction": the classes, as declared, else (not lazy) as found."""
    variable = VARIABLES.get(str(var.name))
    binary = (variable is not None and variable.kind == "flag") or var.dtype.kind == "b"
    values = np.array([0, 1]) if binary and "flag_values" not in var.attrs else _inputs.classes_of(var, decoded)
    if values is None:
        raise ArgumentError(
            f"{var.name!r} is lazy and has no flag_values, so its classes are not known without reading it: "
            f"set ds[{str(var.name)!r}].attrs['flag_values'] = [...], or load it first (.compute())"
        )
    if not 0 < values.size <= MAX_CLASSES:
        raise ArgumentError(
            f"{var.name!r} has {values.size} classes; how='fraction' expects 1 to {MAX_CLASSES}: "
            "round a measurement to classes first, or set attrs['flag_values']"
        )
    dim = f"{var.name}_class"
    attrs = {"long_name": f"class of {var.name}"}
    meanings = str(var.attrs.get("flag_meanings", "")).split()
    if len(meanings) == values.size:
        attrs["flag_meanings"] = " ".join(meanings)
    return {dim: xr.Variable(dim, values, attrs)}
