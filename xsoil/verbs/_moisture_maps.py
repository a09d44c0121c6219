"""`downscale` by a soil-moisture model: covariates on the target grid, prediction, masks, conservation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.grids.crs import cell_ratio, crs_text, same_crs
from xsoil.grids.geobox import Located, has_grid, locate
from xsoil.verbs import _regrid
from xsoil.verbs._inputs import as_dataset, decode, read
from xsoil.verbs._moisture_inputs import is_categorical
from xsoil.verbs._moisture_limits import require_times
from xsoil.verbs._moisture_model import MoistureModel
from xsoil.verbs.upscale import upscale
from xsoil.vocabulary import VARIABLES, canonical_units

__all__ = ["SAMPLINGS", "model_map"]

SAMPLINGS = ("nearest", "bilinear", "cubic")
"""How covariates that are coarser than the target are sampled."""

CHUNKS = 1024
"""Rows and columns of the target that a task predicts, unless the caller chooses them."""

PASSES = 6
"""Corrections of a conserved map. One is exact where coarse cells are made of whole fine cells, or nothing is masked;
each further one divides what masked cells on the border of coarse cells leave."""

Chunks = int | tuple[int, int]


def model_map(
    ds: xr.Dataset,
    to: object,
    model: MoistureModel,
    *,
    covariates: xr.Dataset | xr.DataArray | Sequence[xr.Dataset | xr.DataArray] | None,
    conserve: bool | str,
    mask: xr.Dataset | xr.DataArray | None,
    sampling: str,
    members: bool,
    region: object,
    chunks: Chunks | None,
) -> xr.Dataset:
    """See `xsoil.downscale`."""
    if sampling not in SAMPLINGS:
        raise UnknownNameError.of("sampling", sampling, SAMPLINGS)
    source, turned = _regrid.canonical(ds)
    box, y, x = _regrid.target_of(to, region, source)
    _regrid.require_overlap(source, box)
    grid = to if isinstance(to, (xr.Dataset, xr.DataArray)) else box
    size = CHUNKS if chunks is None else chunks
    coarse = None if conserve is False else _coarse(turned, model, conserve)
    brought = [_on_grid(part[names], grid, model, sampling, size) for part, names in _shares(turned, covariates, model)]
    fine = model.predict(_together(brought), members=members)
    if mask is not None:
        out = _masked(as_dataset(mask), grid, size)
        require_times(fine, out, "the mask")
        out = out.drop_vars(list(out.coords))
        for name in fine.data_vars:
            fine[name] = fine[name].where(~out)
    if coarse is not None:
        require_times(fine, coarse, f"{coarse.name!r}, which shall be conserved,")
        for name in (model.targets[0], f"{model.targets[0]}_members"):
            if name in fine:
                fine[name] = _conserved(fine[name], coarse, source, grid, size)
    for name in fine.data_vars:
        fine[name] = fine[name].transpose(..., y, x)
        fine[name].encoding["grid_mapping"] = "spatial_ref"
    return fine


def _shares(ds: xr.Dataset, covariates: Any, model: MoistureModel) -> list[tuple[xr.Dataset, list[str]]]:
    """The datasets with the predictors that each has.

    Raises
    ------
    MissingVariableError, ArgumentError
        A predictor that is nowhere, or in several places.
    """
    listed = [] if covariates is None else covariates
    listed = [listed] if isinstance(listed, (xr.Dataset, xr.DataArray)) else list(listed)
    parts = [ds, *(as_dataset(part) for part in listed)]
    owners: dict[str, int] = {}
    for number, part in enumerate(parts):
        for name in model.predictors:
            if name not in part.data_vars:
                continue
            if name in owners:
                raise ArgumentError(
                    f"the predictor {name!r} is in several of the dataset and its covariates; drop it where it is not "
                    f"meant: ds.drop_vars({name!r})"
                )
            owners[name] = number
    if lost := [name for name in model.predictors if name not in owners]:
        there = sorted({str(name) for part in parts for name in part.data_vars})
        raise MissingVariableError(f"no {lost} among {there}; the model needs them: give them in covariates=...")
    found = []
    for number, part in enumerate(parts):
        names = [name for name, owner in owners.items() if owner == number]
        if names:
            found.append((part, names))
    return found


def _on_grid(part: xr.Dataset, grid: Any, model: MoistureModel, sampling: str, chunks: Chunks) -> xr.Dataset:
    """Predictors on the target grid: finer ones averaged by area (classes: the commonest), coarser ones sampled."""
    if not has_grid(part):
        return part  # series that hold everywhere
    classes = {row.name for row in model.ensemble.inputs.predictors if row.classes is not None}
    return _brought(part, grid, classes, sampling, chunks)


def _brought(ds: xr.Dataset, grid: Any, classes: Collection[str], sampling: str, chunks: Chunks) -> xr.Dataset:
    from xsoil.verbs.downscale import downscale  # which imports this module

    found, target = locate(ds), locate(grid)
    if found.geobox == target.geobox:
        names = {old: new for old, new in zip(found.dims, target.dims, strict=True) if old != new}
        return _regrid.on_axes_of(ds.rename(names), grid)
    spatial = [name for name, var in ds.data_vars.items() if set(found.dims) <= set(var.dims)]
    coarser = cell_ratio(found.geobox, target.geobox) > 1.0 + 1e-3
    way: Any = {}
    for name in spatial:
        of_classes = name in classes or is_categorical(ds[name])
        row = VARIABLES.get(str(name))
        usual = "mean" if row is None else row.how
        way[name] = ("mode" if of_classes else usual) if coarser else ("nearest" if of_classes else sampling)
    if coarser:
        return upscale(ds, grid, way, chunks=chunks)
    return downscale(ds, grid, way, chunks=chunks)


def _together(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """All predictors as one dataset; the same days in all that have a time."""
    indexes = [part.indexes["time"] for part in parts if "time" in part.indexes]
    for index in indexes[1:]:
        if not index.equals(indexes[0]):
            raise TimeError(
                f"the predictors have different times: {len(indexes[0])} from {indexes[0][0]}, {len(index)} from "
                f"{index[0]}; bring them to the same days: .reindex(time=..., method='ffill', tolerance='7D')"
            )
    out = parts[0]
    for part in parts[1:]:
        out = out.merge(part, join="override", compat="override", combine_attrs="drop_conflicts")
    return out


def _masked(mask: xr.Dataset, grid: Any, chunks: Chunks) -> xr.DataArray:
    """True where half of a cell (finer masks) or its centre (coarser ones) is masked by one of the variables."""
    found: xr.DataArray | None = None
    dims = locate(mask).dims
    for name in mask.data_vars:
        if not set(dims) <= set(mask[name].dims):
            continue
        share = mask[[name]].assign({name: decode(mask[name]).astype(np.float32).drop_attrs(deep=False)})
        half = 50.0 if canonical_units(str(mask[name].attrs.get("units", "1"))) == "percent" else 0.5
        own = _brought(share.rename({name: "share"}), grid, (), "nearest", chunks)["share"] >= half
        found = own if found is None else found | own
    if found is None:
        raise MissingVariableError(f"no map in the mask among {sorted(map(str, mask.data_vars))}")
    return found


def _coarse(ds: xr.Dataset, model: MoistureModel, conserve: bool | str) -> xr.DataArray:
    """The coarse field that a map shall average back to, in the units of the target."""
    if len(model.targets) > 1:
        raise ArgumentError(f"conserve={conserve!r} with a model of {list(model.targets)}; expected one target")
    units = model.ensemble.targets.units[0]

    def fits(name: str) -> bool:
        return canonical_units(str(ds[name].attrs.get("units") or "none")) == canonical_units(units)

    if conserve is True:
        target = model.targets[0]
        names = [target] if target in ds.data_vars else [n for n in model.predictors if n in ds.data_vars and fits(n)]
        if len(names) != 1:
            raise ArgumentError(
                f"conserve=True: {names or 'none'} of the dataset's predictors could be the coarse field, in "
                f"{units!r}; name it: conserve='smap'"
            )
    name = str(conserve) if conserve is not True else names[0]
    if name not in ds.data_vars:
        raise MissingVariableError(f"no {name!r} to conserve among {sorted(map(str, ds.data_vars))}")
    if name in VARIABLES and VARIABLES[name].units == units:
        return read(ds, VARIABLES[name])
    if not fits(name):
        raise UnitsError(
            f"{name!r} is in {ds[name].attrs.get('units')!r}, the model's target in {units!r}; convert it, and set its "
            "attrs['units']"
        )
    return decode(ds[name])


def _conserved(fine: xr.DataArray, coarse: xr.DataArray, source: Located, grid: Any, chunks: Chunks) -> xr.DataArray:
    """The map plus what each coarse cell lacks, spread over it; unchanged where the coarse field is missing."""
    from xsoil.verbs.downscale import downscale  # which imports this module

    rows, columns = source.geobox.dimensions
    bare = coarse.drop_vars(list(coarse.coords)).rename({source.y: rows, source.x: columns})
    wanted = bare.variable.astype(np.float64)
    out = fine.astype(np.float64)
    for _ in range(1 if _nested(source.geobox, locate(grid).geobox) else PASSES):
        mean = upscale(out.rename("lack").to_dataset(), source.geobox, "mean", min_valid=0.0)["lack"]
        lack = mean.copy(data=(wanted - mean.variable).transpose(*mean.dims).data)
        spread = downscale(lack.to_dataset(), grid, "conservative", min_valid=0.0, chunks=chunks)["lack"]
        more = spread.fillna(0.0).variable
        out = out.copy(data=(out.variable + more).transpose(*out.dims).data)
    return out.astype(np.float32).assign_attrs(fine.attrs | {"conserves": str(coarse.name)})


def _nested(coarse: GeoBox, fine: GeoBox) -> bool:
    """Whether coarse cells are made of whole fine cells."""
    if not same_crs(crs_text(fine), crs_text(coarse)):
        return False
    into = ~fine.affine @ coarse.affine
    return all(abs(value - round(value)) < 1e-6 for value in tuple(into)[:6])
