"""What a file holds, what xsoil can do with it, and what it lacks: the text of `xsoil info`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xsoil
from xsoil.data.files import Opened
from xsoil.errors import CRSError, SoilError
from xsoil.grids.crs import is_geographic
from xsoil.grids.ease import find_ease
from xsoil.grids.geobox import Located, has_grid, locate
from xsoil.ptfs.evaluate import TEXTURE
from xsoil.verbs._simulate_inputs import LI_VALUES
from xsoil.verbs.ptf import derivable, read_inputs
from xsoil.vocabulary import VARIABLES, Variable

MANY = 8
CORNER = 2
"""Cells along each dimension on which a verb is tried; lazily, so that nothing is read."""


def describe(opened: Opened, name: str) -> str:
    """The report on an opened file, as lines of text; no data are read.

    Parameters
    ----------
    opened : Opened
        As `xsoil.data.files.open_file` returns it.
    name : str
        What the user calls the file.
    """
    ds = opened.ds
    mend: list[str] = []
    lines = [f"{name}: {opened.kind}, {_size(ds.nbytes)}"]
    if opened.reader and opened.note is None:
        lines.append(
            f"  opened by xsoil.data.{opened.reader}, which has what the product needs: units, missing values, time"
        )
    elif opened.reader:
        mend.append(f"{opened.note}: ds = xsoil.data.{opened.reader}([...])")
    located = None
    try:
        located = locate(ds) if has_grid(ds) else None
    except SoilError as error:
        mend.append(str(error))
        if isinstance(error, CRSError):
            lines += ["", "Grid", "  no CRS: see below"]
    if located is not None:
        lines += ["", "Grid", *_indented(_grid(located))]
    elif not has_grid(ds):
        lines += ["", "Grid", f"  none: no pair of spatial dims among {', '.join(map(str, ds.dims)) or 'no dims'}"]
    if axes := list(_axes(ds, located)):
        lines += ["", "Other dims", *_indented(axes)]
    lines += ["", "Variables", *_indented(_variables(ds, mend))]
    lines += ["", "What xsoil can do with it", *_indented(_verbs(ds, located) or ["nothing yet: see below"])]
    if functions := list(_functions(ds)):
        lines += ["", "Pedotransfer functions", *_indented(functions)]
    if mend:
        lines += ["", "What is missing, and the line that mends it", *_indented(mend)]
    return "\n".join(lines)


def _indented(lines: Any) -> list[str]:
    return [f"  {line}" for line in lines]


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit} in memory"
        count /= 1000
    return f"{count:.3g} TB in memory"


def _grid(located: Located) -> Iterator[str]:
    box = located.geobox
    crs = box.crs
    shown = str(crs) if len(str(crs)) < 30 else crs.proj.name
    unit = "degrees" if is_geographic(str(crs)) else crs.units[0].replace("metre", "m")
    step_x, step_y = abs(box.resolution.x), abs(box.resolution.y)
    size = f"{step_y:.10g}" if np.isclose(step_x, step_y, rtol=1e-9) else f"{step_y:.10g} x {step_x:.10g}"
    yield f"{box.shape.y} x {box.shape.x} cells ({located.y}, {located.x}) of {size} {unit}"
    yield f"CRS {shown} ({crs.proj.name})" if shown != crs.proj.name else f"CRS {shown}"
    left, bottom, right, top = box.boundingbox.bbox
    yield f"{located.x} {left:.9g} to {right:.9g}, {located.y} {bottom:.9g} to {top:.9g}"
    if (found := find_ease(box)) is not None:
        grid, row, column = found
        whole = box.shape == (grid.rows, grid.columns)
        yield f"{grid.name}, {'all of it' if whole else f'from row {row}, column {column} on'}"


def _axes(ds: xr.Dataset, located: Located | None) -> Iterator[str]:
    spatial = () if located is None else located.dims
    for dim, size in ds.sizes.items():
        if dim in spatial or dim == "bounds":
            continue
        if dim not in ds.indexes:
            yield f"{dim}: {size}"
            continue
        index = ds.indexes[dim]
        if isinstance(index, pd.DatetimeIndex) and size > 1:
            steps = pd.Series(index).diff().dropna()
            usual = steps.median()
            gaps = int((steps > 1.5 * usual).sum())
            ends = " to ".join(str(end).removesuffix(" 00:00:00") for end in (index[0], index[-1]))
            order = "" if index.is_monotonic_increasing else ", unsorted"
            yield f"{dim}: {size}, {ends}, every {_duration(usual)}, {gaps or 'no'} gap{'s' * (gaps > 1)}{order}"
        else:
            units = ds[dim].attrs.get("units", "")
            shown = ", ".join(str(v) for v in index[:7]) + (" ..." if size > 7 else "")
            yield f"{dim}: {size} ({shown}{f' {units}' if units and not isinstance(index, pd.DatetimeIndex) else ''})"


def _duration(step: pd.Timedelta) -> str:
    hours = step / pd.Timedelta(hours=1)
    return ("day" if hours == 24 else f"{hours / 24:g} days") if hours >= 24 else f"{hours:g} h"


def _variables(ds: xr.Dataset, mend: list[str]) -> list[str]:
    rows = []
    others = set(map(str, ds.variables))
    for name, array in ds.data_vars.items():
        if not array.ndim and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(array.attrs):
            continue  # the grid mapping
        chunks = "" if array.chunks is None else " x ".join(str(max(c)) for c in array.chunks)
        dims = ", ".join(map(str, array.dims))
        rows.append(
            (
                str(name),
                str(array.dtype),
                f"({dims})",
                f"chunks {chunks}" if chunks else "",
                _units(array, others, mend),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    return ["  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0])).rstrip() for row in rows]


def _units(array: xr.DataArray, others: set[str], mend: list[str]) -> str:
    """The units, and what xsoil makes of them; what is wrong goes to `mend`."""
    name, units = str(array.name), array.attrs.get("units")
    shown = f"[{units}]" if units else "no units"
    variable = VARIABLES.get(name)
    if variable is None:
        near = _meant(name)
        if near is not None and near.name not in others:
            line = f"{name!r} is no name of xsoil; if it is {near.name}: ds = ds.rename({{{name!r}: {near.name!r}}})"
            if not units:
                line += f"; ds[{near.name!r}].attrs['units'] = ... (no units found; xsoil: {near.units!r})"
            mend.append(line)
        kind = "classes or flags" if {"flag_values", "flag_masks"} & set(array.attrs) else "not in xsoil's vocabulary"
        return f"{shown}, {kind}"
    conversion = variable.conversion(None if units is None else str(units))
    if conversion is None:
        found = f"is in {units!r}, which xsoil does not know for it" if units else "has no units"
        expected = ", ".join([variable.units, *variable.accepts][:6])
        mend.append(
            f"{name!r} {found} (known: {expected}); if it is in {variable.units}: "
            f"ds[{name!r}].attrs['units'] = {variable.units!r}"
        )
        return f"{shown}, {variable.long_name}: units to be mended"
    same = conversion.factor == 1.0 and conversion.offset == 0.0
    return f"{shown}, {variable.long_name}" + ("" if same else f" (xsoil: {variable.units})")


def _meant(name: str) -> Variable | None:
    """The variable that a name such as "KSAT" or "soil_2014_clay" is written for."""
    plain = re.sub(r"\W|_", "", name).lower()
    for variable in VARIABLES.values():
        own = variable.name
        if plain == own.replace("_", "") or (len(own) > 2 and re.search(rf"[\W_]{own}$", name.lower())):
            return variable
    return None


def _verbs(ds: xr.Dataset, located: Located | None) -> list[str]:
    """The calls that would work, tried on a corner of the dataset without computing."""
    lines: list[str] = []
    names = [str(name) for name, array in ds.data_vars.items() if located and set(located.dims) <= set(array.dims)]
    if names:
        shown = ", ".join(names) if len(names) <= MANY else f"{len(names)} maps"
        how = {name: VARIABLES[name].how for name in names if name in VARIABLES and VARIABLES[name].how != "mean"}
        lines += [f"ds.soil.upscale(to{f', {how!r}' if how else ''}) and ds.soil.downscale(to): {shown}"]
        lines += ["ds.soil.to_zarr(path), ds.soil.to_cog(path)"]
    corner = ds.isel({dim: slice(0, CORNER) for dim in ds.dims}).chunk()
    days = pd.date_range("2001-01-01", periods=2)
    rate = xr.DataArray(np.zeros(2), {"time": days}, ("time",), attrs={"units": "mm d-1"}).chunk()
    forcing = xr.Dataset({"precipitation": rate, "pet": rate})
    # What a soil map does not hold may be given as numbers; theta_s, theta_fc and theta_wp it should.
    fixed = {name: value for name, value in LI_VALUES.items() if name not in ds and not name.startswith("theta")}
    tries: dict[str, Callable[[], object]] = {
        "ds.soil.texture_class()": corner.soil.texture_class,
        "ds.soil.water_limits()": corner.soil.water_limits,
        "ds.soil.retention(h)": lambda: corner.soil.retention(-100.0),
        "ds.soil.conductivity(h)": lambda: corner.soil.conductivity(-100.0),
        f"ds.soil.simulate(forcing{''.join(f', {name}=...' for name in fixed)})": lambda: corner.soil.simulate(
            forcing, **fixed
        ),
        'ds.soil.simulate(forcing, "richards")': lambda: corner.soil.simulate(
            forcing.assign(lai=rate.assign_attrs(units="1")), "richards"
        ),
    }
    if "time" not in ds.dims:
        lines += [call for call, attempt in tries.items() if _works(attempt)]
    if "depth" in ds.dims:
        lines.append("ds.soil.depth_mean(top, bottom)")
    if "time" in ds.dims:
        lines += list(_series(ds))
    return lines


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Exception:  # a file of any kind: what a library says of it is as good a no as xsoil's own
        return False
    return True


def _series(ds: xr.Dataset) -> Iterator[str]:
    if "precipitation" in ds:
        daily = (
            isinstance(ds.indexes.get("time"), pd.DatetimeIndex)
            and ds.sizes["time"] > 1
            and bool((np.diff(ds.indexes["time"].to_numpy()) == np.timedelta64(1, "D")).all())
        )
        if daily and "pet" in ds:
            yield "parameters.soil.simulate(ds)"
        yield f"xsoil.data.prepare_forcing(ds, to{'' if 'pet' in ds else ', pet=...'})"
    moisture = [name for name in ("soil_moisture", "theta") if name in ds]
    if moisture:
        yield f"ds.soil.fill_gaps(), ds.soil.rootzone(T=...), ds.soil.evaluate(reference): {', '.join(moisture)}"


def _functions(ds: xr.Dataset) -> Iterator[str]:
    """Which pedotransfer functions have all of their inputs, and which lack one."""
    available = frozenset(map(str, ds.variables)) | derivable(ds)
    if not set(TEXTURE) & set(map(str, ds.data_vars)):
        return
    corner = ds.isel({dim: slice(0, CORNER) for dim in ds.dims}).chunk()
    complete: list[str] = []
    one_short: list[str] = []
    unreadable: list[str] = []
    for entry in xsoil.PTFS.values():
        chosen = entry.resolve(available)
        lacking = [v.name for v in chosen.inputs if v.name not in available]
        if len(lacking) == 1:
            one_short.append(f"{entry.name} ({lacking[0]})")
        elif not lacking:
            works = _works(lambda chosen=chosen: read_inputs(corner, chosen, available))  # type: ignore[misc]
            (complete if works else unreadable).append(entry.name)
    if complete:
        yield f"complete: {', '.join(complete)}"
    if unreadable:
        yield f"complete once the units are mended: {', '.join(unreadable)}"
    if one_short:
        yield f"one input short: {', '.join(one_short)}"
