"""`conservation_report`: what a change of grid kept, and what it lost."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.choices import require_choice
from xsoil.errors import GridMismatchError, MissingVariableError
from xsoil.grids.geobox import Located, locate
from xsoil.verbs import _inputs, _lazy, _regrid

KEPT = {"mean": "integral", "sum": "total"}
"""What each operator is meant to keep."""

AREA = re.compile(r"\barea:\s*(?:\w+:\s*)*(\w+)(?:\s+\w+\b(?!:))*(?:\s*\(([^)]*)\))?")
"""A part of `cell_methods` that is about the area: its method, and what stands in brackets behind it."""

LONG_NAMES = {
    "source_total": "sum of the source's values, by the part of each cell that the target covers",
    "target_total": "sum of the target's values",
    "source_integral": "sum of value x area of the source, where the target covers it",
    "target_integral": "sum of value x valid area of the target",
    "source_valid_area": "valid area of the source, where the target covers it",
    "target_valid_area": "valid area of the target",
    "total_difference": "target less source, relative to the sum of the source's absolute values",
    "integral_difference": "target less source, relative to the integral of the source's absolute values",
    "valid_area_difference": "target less source, relative to the source's valid area",
    "error": "the difference of what the operator is meant to keep: the total for sum, the integral for mean",
}


def conservation_report(
    src: xr.Dataset | xr.DataArray, dst: xr.Dataset | xr.DataArray, *, how: str | Mapping[str, str] | None = None
) -> xr.Dataset:
    """Compare totals and area integrals before and after a change of grid.

    This computes: dask input is read, chunk by chunk. Beside it two float64 maps of the source's size are held.

    Parameters
    ----------
    src, dst : xr.Dataset or xr.DataArray
        The same variables on two grids, as `upscale`, `downscale` or `apply_weights` took and gave them. With
        ``<name>_valid_fraction`` in `dst` (``upscale(..., valid_fraction=True)``) a cell counts by its valid part;
        without, a cell that is not NaN counts whole, and cells cut by coasts show up as a difference.
    how : {"mean", "sum"} or dict, optional
        How `dst` was made, for `error`; by default from the last ``area:`` in its ``cell_methods``, as `upscale`,
        `downscale` (conservative) and `apply_weights` (conservative) write it.

    Returns
    -------
    xr.Dataset
        On `variable` and the dimensions that are not spatial: `source_total`, `target_total` [units],
        `source_integral`, `target_integral` [units m2], `source_valid_area`, `target_valid_area` [m2], the differences
        `total_difference`, `integral_difference`, `valid_area_difference` [1], and `error` [1], that of the two
        which the operator is meant to keep (NaN for others). Of the source only what the target's grid covers counts.

    Raises
    ------
    MissingVariableError
        No variable of both, or `how` names one that is not among them.
    UnknownNameError
        Unknown `how`.
    GridMismatchError
        Dimensions that are not spatial, or their labels, differ (labels may come in another order).
    NoOverlapError
        The grids have no cell in common.

    Notes
    -----
    Areas are true areas: measured in the target's CRS if it is equal-area, else in EPSG:6933 (poleward of 80 degrees
    in a Lambert azimuthal equal-area projection). `mean` keeps its integral and `sum` its total where `min_valid` is
    0: cells below it are lost, with their area. In float64 both hold to 1e-12 on aligned grids. On sheared ones the
    total does too where the target covers the source; the integral, and totals of a part, hold to 1e-6 (the areas of
    cut pixels).

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))[["sand"]]
    >>> coarse = soil.soil.upscale("EASE2_M36km", min_valid=0, valid_fraction=True)
    >>> bool(abs(xsoil.conservation_report(soil, coarse).error).max() < 1e-6)
    True
    """
    from xsoil.grids.areas import cell_areas
    from xsoil.grids.crs import working_crs

    src, dst = _inputs.as_dataset(src), _inputs.as_dataset(dst)
    ours, theirs = locate(src), locate(dst)
    names = [
        name
        for name, var in src.data_vars.items()
        if name in dst.data_vars
        and set(ours.dims) <= set(var.dims)
        and set(theirs.dims) <= set(dst[name].dims)
        and not _regrid.is_class(var)
    ]
    if not names:
        raise MissingVariableError(
            f"no variable in common: the source has {sorted(map(str, src.data_vars))}, the target "
            f"{sorted(map(str, dst.data_vars))}; expected the same names of amounts on both grids: ds.rename(...)"
        )
    unknown = [name for name in how if name not in names] if isinstance(how, Mapping) else []
    if unknown:
        raise MissingVariableError(f"how names {unknown[0]!r}, which is not among the maps {sorted(map(str, names))}")
    for name in names:
        _require_same_layers(src[name], dst[name], ours.dims, theirs.dims)
    _regrid.require_overlap(ours, theirs.geobox)
    working = working_crs(theirs.geobox)
    covered = _covered(ours.geobox, theirs.geobox)
    area_src = _map(cell_areas(ours.geobox, working), ours)
    area_dst = _map(cell_areas(theirs.geobox, working), theirs)
    reports = []
    for name in names:
        operator = _operator(how, name, dst[name])
        before = _sums(src[name], ours, _map(covered, ours), area_src)
        share = dst.get(f"{name}_valid_fraction", xr.DataArray(1.0))
        after = _sums(dst[name], theirs, share, area_dst, whole_values=True)
        reports.append(_one(before, after, operator))
    report: xr.Dataset = xr.concat(reports, dim="variable", coords="minimal", compat="override")
    report = report.assign_coords(
        variable=("variable", [str(name) for name in names]),
        how=("variable", [_operator(how, name, dst[name]) or "" for name in names]),
        units=("variable", [str(src[name].attrs.get("units", "")) for name in names]),
    )
    for label, long_name in LONG_NAMES.items():
        units = {"long_name": long_name}
        if label.endswith(("area", "difference", "error")):
            units["units"] = "m2" if label.endswith("area") else "1"
        report[label].attrs = units
    return report.assign_attrs(areas_measured_in=working)


def _require_same_layers(
    src: xr.DataArray, dst: xr.DataArray, ours: tuple[Hashable, ...], theirs: tuple[Hashable, ...]
) -> None:
    """Raise unless both have the same dimensions beside the spatial ones, with the same labels."""
    lead, other = ([d for d in var.dims if d not in dims] for var, dims in ((src, ours), (dst, theirs)))
    if set(lead) != set(other):
        raise GridMismatchError(
            f"{src.name!r} has the dimensions {tuple(lead)} in the source and {tuple(other)} in the target beside the "
            "spatial ones; expected the same: take the same part of both with .isel(...), or leave the variable out"
        )
    for dim in lead:
        labels = [var.indexes[dim] for var in (src, dst) if dim in var.indexes]
        if len(labels) < 2:
            same = src.sizes[dim] == dst.sizes[dim]
        else:
            a, b = labels
            same = a.equals(b) or (a.is_unique and b.is_unique and len(a) == len(b) and bool(a.isin(b).all()))
        if not same:
            ends = [f"{var.sizes[dim]} ({var[dim].values[0]} to {var[dim].values[-1]})" for var in (src, dst)]
            raise GridMismatchError(
                f"{dim!r} of {src.name!r} differs: {ends[0]} in the source, {ends[1]} in the target; expected the same "
                f"labels: src.sel({dim}=dst[{dim!r}])"
            )


def _covered(source: GeoBox, target: GeoBox) -> np.ndarray:
    """Part of each source cell that the target's grid covers."""
    from xsoil.grids.reduce import OPERATORS, Reduction

    double = np.dtype(np.float64)
    step = Reduction(target, source, OPERATORS["mean"], None, 0.0, double, double, with_fraction=True)
    found = np.asarray(_lazy.map_tiles(np.ones(target.shape), step)["valid_fraction"])
    return np.asarray(np.minimum(found, 1.0))


def _map(values: np.ndarray, on: Located) -> xr.DataArray:
    return xr.DataArray(np.broadcast_to(values, on.geobox.shape), dims=on.dims)


def _sums(
    var: xr.DataArray, on: Located, share: xr.DataArray, area: xr.DataArray, *, whole_values: bool = False
) -> dict[str, xr.DataArray]:
    """Total, integral, valid area, and the sums of absolute values, over the spatial dimensions.

    Rows are added up whole, then the rows: so chunks do not show.
    """
    values = _inputs.decode(var).reset_coords(drop=True).drop_vars([dim for dim in on.dims if dim in var.indexes])
    share = share.drop_vars(list(share.coords))
    if values.chunks is not None:
        values = values.chunk({on.x: -1})
        rows = {on.y: values.chunksizes[on.y]}
        area, share = (a.chunk({d: rows.get(d, -1) for d in a.dims}) for a in (area, share))
    x = on.x
    parts: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        _row_sums,
        values,
        share if x in share.dims else share.expand_dims({x: values.sizes[x]}),
        area,
        input_core_dims=[[x], [x], [x]],
        output_core_dims=[[]] * 5,
        kwargs={"whole_values": whole_values},
        dask="parallelized",
        output_dtypes=[np.float64] * 5,
    )
    names = ("total", "integral", "valid_area", "total_scale", "integral_scale")
    both = xr.Dataset(dict(zip(names, parts, strict=True))).compute()
    return {str(name): array.sum([on.y]) for name, array in both.data_vars.items()}


def _row_sums(values: Any, share: Any, area: Any, *, whole_values: bool) -> tuple[Any, ...]:
    valid = ~np.isnan(values)
    known = np.where(valid, values, 0.0).astype(np.float64)
    part = np.where(valid, share, 0.0)
    held = part * area
    counted = known if whole_values else known * part

    def along(array: Any) -> Any:
        return np.ascontiguousarray(array).sum(axis=-1)

    return (
        along(counted), along(known * held), along(held), along(np.abs(counted)), along(np.abs(known) * held)
    )  # fmt: skip


def _one(before: Mapping[str, xr.DataArray], after: Mapping[str, xr.DataArray], operator: str | None) -> xr.Dataset:
    out: dict[str, xr.DataArray] = {}
    for what, scale in (("total", "total_scale"), ("integral", "integral_scale"), ("valid_area", "valid_area")):
        out[f"source_{what}"], out[f"target_{what}"] = before[what], after[what]
        whole = before[scale]
        out[f"{what}_difference"] = (after[what] - before[what]) / whole.where(whole > 0)
    kept = KEPT.get(operator or "")
    out["error"] = out[f"{kept}_difference"] if kept else xr.full_like(out["total_difference"], np.nan)
    return xr.Dataset(out)


def _operator(how: str | Mapping[str, str] | None, name: Hashable, var: xr.DataArray) -> str | None:
    """mean or sum, as given, else as the result says; None for others, such as a harmonic mean."""
    asked = how.get(str(name)) if isinstance(how, Mapping) else how
    if asked is not None:
        require_choice("conserving operator", asked, KEPT)
        return asked
    found = AREA.findall(str(var.attrs.get("cell_methods", "")))
    if not found:
        return None
    method, remark = found[-1]  # those before are the source's own
    plain = "comment:" not in remark or remark.split("comment:")[1].strip().startswith("conservative")
    return str(method) if method in KEPT and plain else None
