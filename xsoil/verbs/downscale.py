"""`downscale`: from any grid to a finer one, by sampling or by conservative splitting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.grids.reduce import OPERATORS, Reduction
from xsoil.verbs import _inputs, _regrid
from xsoil.verbs._moisture_maps import model_map
from xsoil.verbs._moisture_model import MoistureModel

Method = Literal["nearest", "bilinear", "cubic", "conservative"]
METHODS: Mapping[str, str] = MappingProxyType(
    {name: OPERATORS[name].cell_method for name in ("nearest", "bilinear", "cubic")}
    | {"conservative": "mean (comment: conservative)"}
)
"""The methods, and what CF calls them."""


def downscale(
    ds: xr.Dataset | xr.DataArray,
    to: object,
    method: Method | Mapping[str, Method] | MoistureModel = "bilinear",
    *,
    covariates: xr.Dataset | xr.DataArray | Sequence[xr.Dataset | xr.DataArray] | None = None,
    conserve: bool | str = False,
    mask: xr.Dataset | xr.DataArray | None = None,
    sampling: Literal["nearest", "bilinear", "cubic"] = "nearest",
    members: bool = False,
    region: object = None,
    min_valid: float | None = None,
    chunks: int | tuple[int, int] | None = None,
) -> xr.Dataset:
    """Bring maps to a finer grid, by sampling, by conservative splitting, or by a model of soil moisture.

    On dask input a task reads only the source blocks that its tile needs. The result does not depend on how the input
    is chunked, nor on its orientation.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Maps on a regular grid in any CRS, any other dimensions, any units. Variables without both
        spatial dimensions pass through.
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid: a name (``"EASE2_M01km"``: the part that covers the source), a GeoBox, or an object on the grid.
    method : {"bilinear", "nearest", "cubic", "conservative"} or dict
        Method, or a dict {variable: method}; variables that the dict does not name are bilinear.

        - ``"nearest"``: the source cell that holds the target cell's centre (on an edge: the one with the higher
          coordinate);
        - ``"bilinear"``: between the four source centres around the target's centre, in the source's CRS. Missing
          ones, and those beyond the source's edge, are left out if the others have enough of the weight;
        - ``"cubic"``: the sixteen around, Keys' cubic convolution with a = -0.5 [1]_; missing if one of them is. May
          leave the range of the source;
        - ``"conservative"``: the mean of the fine cells over a coarse cell, weighted by the areas that overlap, is the
          coarse cell's value. May leave the range of the source along the borders of coarse cells.

        Flags (a variable with ``flag_masks``, such as `quality`) are nearest, unless the dict says otherwise.

        A model of `fit_moisture_model` predicts its target on the grid instead, from its predictors in `ds` (the coarse
        satellite field) and in `covariates`.
    covariates : xr.Dataset, xr.DataArray or sequence of these, optional
        With a model: its other predictors, on any grids. Those finer than the target are averaged by area
        (``upscale(how="default")``; of classes the commonest), coarser ones are sampled; those without a grid hold
        everywhere. All that vary in time have the same times.
    conserve : bool or str
        With a model: the field of `ds` to whose values the fine map averages back, by area over the cells that have a
        value. True is the one predictor of `ds` in the target's units (or the target itself). What a coarse cell lacks
        is added to its fine cells; the map may so leave the range of soil moisture.
    mask : xr.Dataset or xr.DataArray of bool, optional
        With a model: water, cities (or their shares); NaN where a map of it is True, over half of the cell or at its
        centre.
    sampling : {"nearest", "bilinear", "cubic"}
        With a model: how coarser covariates are sampled (classes are nearest). Poehls et al. (2025) take the nearest,
        and show that bilinear ones give smoother maps.
    members : bool
        With a model: also the members of an ensemble.
    region : str or tuple of float, optional
        With a named grid: ``"conus"``, (west, south, east, north) in degrees, or an object to cover.
    min_valid : float, optional
        A target cell is NaN where less than this is valid: of the weight of the four cells around (bilinear), of
        its own area (conservative); default 0.5. Not used by nearest and cubic.
    chunks : int or (int, int), optional
        Rows and columns of the result's dask chunks. By default a chunk has about 32 MB.

    Returns
    -------
    xr.Dataset
        On the target grid, spatial dimensions last, named as the target names them, with its CRS. Floats
        keep their dtype (computed in float64); integers stay integers for nearest (missing cells hold the declared
        nodata, else the smallest (unsigned: largest) integer, declared as ``_FillValue``) and become float64 for the
        others.

    Warns
    -----
    UserWarning
        A variable that has only one of the spatial dimensions is left out (bounds of the axes silently).
        The target is coarser than the source (`upscale` is made for that).
        The target's projection draws as an arc a pole that both grids hold (Albers): cells there may be far off.

    Raises
    ------
    CRSError, AxisError
        The source has no CRS or no regular axes.
    NoOverlapError
        Source and target have no cell in common.
    UnknownNameError
        Unknown grid or method.
    ArgumentError
        A class or flag variable under a method other than nearest, `min_valid` outside 0..1, `region` with a grid that
        has one.

    Notes
    -----
    Conservative: a fine cell starts as the area-weighted mean of the coarse cells that it overlaps. What a coarse
    cell then lacks is added to the fine cells of its own, which overlap no other coarse cell with a value. So
    ``upscale(to=source, how="mean")`` gives back every value to 1e-12 (float64), also beside missing cells and
    where borders cut fine cells. That needs fine cells of its own in every coarse cell: there always are where
    fine cells are half as long (on grids that are not aligned: a third) or less. Coarse cells that have none, as
    at the border of the target, are put right first, on fine cells that they share only with cells that have some;
    before them those that then are still left, on fine cells that they share only with the former. It goes no
    farther, so that a task needs a bounded neighbourhood: a coarse cell that is left after that (some at ratios below
    2, most near 1, and where coarse meridians meet at a pole) keeps what its neighbourhood gives it. So do one of which
    the fine grid covers less than 5 %, and two whose only valid fine cell is the same: no values could suit both.

    Nearest, bilinear, cubic: a dask task holds the source blocks that its window touches, the window, and three
    (nearest) to five times its result in float32.

    References
    ----------
    .. [1] Keys (1981), Cubic convolution interpolation for digital image processing, IEEE Trans. Acoust. 29,
       1153-1160, doi:10.1109/TASSP.1981.1163711.

    Examples
    --------
    >>> import xsoil
    >>> coarse = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M36km", (5, 45, 8, 47)))
    >>> fine = xsoil.downscale(coarse, "EASE2_M09km", "conservative")
    >>> fine.sand.shape, bool(abs(fine.sand.mean() - coarse.sand.mean()) < 1e-4)
    ((24, 36), True)
    """
    ds = _inputs.as_dataset(ds)
    if isinstance(method, MoistureModel):
        if min_valid is not None:
            raise ArgumentError("min_valid with a model; it goes with method='bilinear' or 'conservative'")
        return model_map(
            ds, to, method, covariates=covariates, conserve=conserve, mask=mask, sampling=sampling, members=members,
            region=region, chunks=chunks,
        )  # fmt: skip
    if covariates is not None or conserve is not False or mask is not None or members or sampling != "nearest":
        raise ArgumentError(
            f"covariates, conserve, mask, sampling and members go with method=model, found method={method!r}; maps "
            "that keep the mean of coarse cells are method='conservative'"
        )
    source, ds = _regrid.canonical(ds)
    target = _regrid.target_of(to, region, source)
    spatial = [name for name, var in ds.data_vars.items() if set(source.dims) <= set(var.dims)]
    methods = _methods(method, spatial, ds)
    _regrid.require_fraction("min_valid", min_valid)
    least = 0.5 if min_valid is None else min_valid
    _regrid.require_overlap(source, target[0])
    _regrid.warn_direction(source.geobox, target[0], verb="downscale", other="upscale")
    _regrid.warn_pole(source.geobox, target[0], verb="downscale")

    from xsoil.grids.conservative import ConservativeSplit  # numba loads on first use

    def plan(var: xr.DataArray) -> _regrid.Plan:
        name = methods[var.name]
        data, exact, out, fill = _regrid.types_of(var, whole=name == "nearest")
        step: Any
        if name == "conservative":
            step = ConservativeSplit(source.geobox, target[0], least, exact, out)
        else:
            step = Reduction(source.geobox, target[0], OPERATORS[name], None, least, exact, out, fill)
        return _regrid.Plan(data.data, step, _regrid.attrs_of(var, METHODS[name], fill))

    return _regrid.on_axes_of(_regrid.regrid(ds, source, target, plan, chunks), to)


def _methods(method: object, spatial: list[Hashable], ds: xr.Dataset) -> dict[Hashable, str]:
    table = _regrid.choices(method, spatial, METHODS, "bilinear", "method")
    for name, chosen in table.items():
        if "flag_masks" in ds[name].attrs and not (isinstance(method, Mapping) and name in method):
            table[name] = "nearest"
            continue
        if chosen != "nearest" and _regrid.is_class(ds[name]):
            raise ArgumentError(
                f"{name!r} holds classes or flags, which have no values in between ({chosen}); "
                f"use method={{{str(name)!r}: 'nearest'}}, or drop it with ds.drop_vars({str(name)!r})"
            )
    return table
