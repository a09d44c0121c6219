"""`evaluate`: metrics of a simulation against observations."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xsoil.choices import require_name
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.evaluation.metrics import METRICS
from xsoil.grids.geobox import has_grid, spatial_dims
from xsoil.verbs._groups import groups_of
from xsoil.verbs._inputs import as_dataset, carry, decode, require_same_grid
from xsoil.verbs._reduce import by_series, pooled
from xsoil.vocabulary import VARIABLES, Conversion, canonical_units

__all__ = ["evaluate"]

_LONG_NAMES = {
    "r": "Pearson correlation",
    "rmse": "root mean square error",
    "ubrmse": "unbiased root mean square error",
    "bias": "mean of simulation minus observation",
    "nse": "Nash-Sutcliffe efficiency",
    "kge": "Kling-Gupta efficiency (2009)",
    "n": "number of pairs",
}


def evaluate(
    ds: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    *,
    variable: str | tuple[str, str] | None = None,
    by: Hashable | xr.DataArray | tuple[Hashable | xr.DataArray, Sequence[float]] | None = None,
    dims: Hashable | Sequence[Hashable] = "time",
) -> xr.Dataset:
    r"""Compare a simulation with observations: r, RMSE, ubRMSE, bias, NSE, KGE and the number of pairs.

    A pair counts where both values are finite. With population moments of the pairs, s simulated and o observed [1]_,

    .. math::
        bias = \overline{s - o},\quad RMSE^2 = \overline{(s - o)^2},\quad ubRMSE^2 = RMSE^2 - bias^2,\quad
        NSE = 1 - \frac{\sum (s - o)^2}{\sum (o - \bar o)^2},\quad
        KGE = 1 - \sqrt{(r - 1)^2 + (\sigma_s / \sigma_o - 1)^2 + (\bar s / \bar o - 1)^2}.

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        The simulation.
    reference : xr.Dataset or xr.DataArray
        The observations. Times (and other labelled `dims`) are aligned on those that both have; all other shared dims
        must have the same coordinates. A dim that only one of them has is broadcast.
    variable : str or (str, str), optional
        What to compare; a pair where the names differ, simulated first. Default: the one common name, else `theta`
        against `soil_moisture`. A reference DataArray may have any name.
    by : str, xr.DataArray or (str or xr.DataArray, edges), optional
        Classes: the name of a variable of either object (texture class, land cover), an array on (some of) the dims,
        or one of these with the edges of bins, which hold [low, high), the last one [low, high].
        **Samples are pooled**: over `dims` and over the dims of `by`, so r and NSE of a class include the differences
        between its cells. For statistics of the scores of cells, call ``evaluate`` without `by` and group its result.
    dims : str or sequence of str
        Dims that the metrics reduce.

    Returns
    -------
    xr.Dataset
        `r`, `nse`, `kge` [1], `rmse`, `ubrmse`, `bias` in the units of the variable, and `n`; on the dims left, with
        `by` on a first dim of its name (``<name>_bins`` for bins). Lazy where the input is, float32 where both
        variables are. Undefined ones are NaN: all without a pair, r and KGE for a constant series, NSE for constant
        observations, KGE for observations of mean zero. With one dim in `dims` and without `by` a dask task takes the
        whole series of its cells and holds both and twice as much more: give long series small blocks of cells.

    Raises
    ------
    MissingVariableError, UnitsError
        No variable in common or several; units that cannot be converted, or on one side only.
    TimeError, GridMismatchError
        No common time; another grid.
    ArgumentError
        `dims` or `by` that do not fit; classes of a lazy `by` that are not known without reading it.

    References
    ----------
    .. [1] Entekhabi et al. (2010), doi:10.1175/2010JHM1223.1; Nash and Sutcliffe (1970),
       doi:10.1016/0022-1694(70)90255-6; Gupta et al. (2009), doi:10.1016/j.jhydrol.2009.08.003.

    Examples
    --------
    >>> import xarray as xr
    >>> water = {"units": "m3 m-3"}
    >>> simulated = xr.Dataset({"theta": ("time", [0.2, 0.3, 0.4], water)})
    >>> observed = xr.Dataset({"soil_moisture": ("time", [0.1, 0.2, 0.3], water)})
    >>> scores = evaluate(simulated, observed)
    >>> float(scores.bias.round(3)), float(scores.r.round(3)), int(scores.n)
    (0.1, 1.0, 3)
    """
    ds = as_dataset(ds)
    names, sim, obs = _pair(ds, reference, variable)
    sim, obs, units = _same_units(sim, obs, names)
    over = _dims(dims, sim, obs)
    sim, obs = _aligned(sim, obs, over)
    groups = None
    if by is not None:
        groups = groups_of(by, ds, reference, sim.indexes, {d: s for a in (obs, sim) for d, s in a.sizes.items()})
        kept = [d for d in {**sim.sizes, **obs.sizes} if d not in over and d not in groups.index.dims]
        if groups.dim in kept:
            raise ArgumentError(f"by={groups.dim!r} is also a dimension of the data; rename it: by=array.rename(...)")
    dtype = np.result_type(sim.dtype, obs.dtype)
    if groups is None and len(over) == 1:
        found = by_series(sim, obs, over[0])
    else:
        found = pooled(sim, obs, over, groups)
    out = xr.Dataset(dict(zip((*METRICS, "n"), found, strict=True)))
    for name in METRICS:
        out[name] = out[name].astype(dtype, copy=False)
    spatial = [d for d in (spatial_dims(sim) if has_grid(sim) else ()) if d in out.dims]
    first = [] if groups is None else [groups.dim]
    out = out.transpose(*first, *(d for d in out.dims if d not in (*first, *spatial)), *spatial)
    coords = {
        name: array.variable
        for side in (obs.drop_vars([c for c in obs.coords if c not in obs.dims]), sim)
        for name, array in side.coords.items()
        if name not in out.coords and set(array.dims) <= set(out.dims)
    }
    out = carry(ds, out.assign_coords(coords), names[0])
    for metric, array in out.data_vars.items():
        name = str(metric)
        own = {"units": units} if name in ("rmse", "ubrmse", "bias") and units else {"units": "1"}
        mapping = {k: v for k, v in array.attrs.items() if k == "grid_mapping"}
        array.attrs = {"long_name": f"{_LONG_NAMES[name]} of {names[0]} against {names[1]}"} | own | mapping
        if name in ("rmse", "ubrmse", "bias") and not units:
            del array.attrs["units"]
    reduced = list(dict.fromkeys([*over, *(() if groups is None else groups.index.dims)]))
    return out.assign_attrs(
        {"evaluated": f"{names[0]} against {names[1]}", "reduced_dims": " ".join(map(str, reduced))}
    )


def _pair(
    ds: xr.Dataset, reference: xr.Dataset | xr.DataArray, variable: str | tuple[str, str] | None
) -> tuple[tuple[str, str], xr.DataArray, xr.DataArray]:
    """The simulated and the observed variable."""
    mine = _comparable(ds)
    if isinstance(reference, xr.DataArray):
        theirs = [] if reference.name is None else [str(reference.name)]
    elif isinstance(reference, xr.Dataset):
        theirs = _comparable(reference)
    else:
        raise ArgumentError(f"the reference is {type(reference).__name__}; expected an xarray Dataset or DataArray")
    if isinstance(variable, (tuple, list)):
        if len(variable) != 2:
            raise ArgumentError(f"variable={variable!r}; expected one name, or (simulated, observed)")
        names = (variable[0], variable[1])
    elif variable is not None:
        require_name("variable", variable)
        names = (variable, variable)
        if isinstance(reference, xr.DataArray):
            names = (variable, theirs[0] if theirs else variable)
    elif len(common := [name for name in mine if name in theirs]) == 1:
        names = (common[0], common[0])
    elif len(common) > 1:
        raise MissingVariableError(
            f"several variables are in both: {', '.join(common)}; choose one with variable={common[0]!r}"
        )
    elif "theta" in mine and ("soil_moisture" in theirs or isinstance(reference, xr.DataArray)):
        names = ("theta", "soil_moisture" if isinstance(reference, xr.Dataset) else (theirs or ["soil_moisture"])[0])
    elif isinstance(reference, xr.DataArray) and len(mine) == 1:
        names = (mine[0], (theirs or mine)[0])
    else:
        raise MissingVariableError(
            f"no variable in common: found {mine} and {theirs}; expected one name in both, or 'theta' and "
            "'soil_moisture'. Name the two with variable=(simulated, observed)"
        )
    for name, obj, what in ((names[0], ds, "the simulation"), (names[1], reference, "the reference")):
        if isinstance(obj, xr.Dataset) and name not in obj.data_vars:
            raise MissingVariableError(
                f"no {name!r} in {what}, found {_comparable(obj)}; where names differ: variable=(simulated, observed)"
            )
    obs = reference if isinstance(reference, xr.DataArray) else reference[names[1]]
    return names, ds[names[0]], obs


def _comparable(ds: xr.Dataset) -> list[str]:
    """Names of variables to compare: numbers, and neither grid mapping, nor flags, nor the end state of a run."""
    return [
        str(n)
        for n, v in ds.data_vars.items()
        if v.dtype.kind in "fiub"
        and not {"grid_mapping_name", "crs_wkt", "flag_masks"} & set(v.attrs)
        and not str(n).startswith("final_")
    ]


def _same_units(
    sim: xr.DataArray, obs: xr.DataArray, names: tuple[str, str]
) -> tuple[xr.DataArray, xr.DataArray, str | None]:
    """Both in one unit: that of the simulation, or the canonical one where they differ."""
    units = [str(a.attrs.get("units", "")).strip() or None for a in (sim, obs)]
    sim, obs = _floating(decode(sim)), _floating(decode(obs))
    if units[0] is None and units[1] is None:
        return sim, obs, None
    for name, unit, other in ((names[0], units[0], units[1]), (names[1], units[1], units[0])):
        if unit is None:
            raise UnitsError(
                f"{name!r} has no units, but it is compared with units {other!r}. If they are the same: "
                f"[{name!r}].attrs['units'] = {other!r}"
            )
    if canonical_units(units[0] or "") == canonical_units(units[1] or ""):
        return sim, obs, units[0]
    rows = [row for row in (VARIABLES.get(names[0]), VARIABLES.get(names[1])) if row is not None]
    if rows and len({row.units for row in rows}) == 1:
        mine, theirs = (rows[0].conversion(unit) for unit in units)
        if mine is not None and theirs is not None:
            return _converted(sim, mine), _converted(obs, theirs), rows[0].units
    raise UnitsError(
        f"{names[0]!r} is in {units[0]!r}, {names[1]!r} in {units[1]!r}, and xsoil knows no conversion between them; "
        "convert one of them and set its attrs['units'], or compare the same quantity: variable=(simulated, observed)"
    )


def _converted(array: xr.DataArray, conversion: Conversion) -> xr.DataArray:
    real = array.dtype.type
    out: xr.DataArray = array * real(conversion.factor) + real(conversion.offset)
    return out


def _floating(array: xr.DataArray) -> xr.DataArray:
    if array.dtype.kind == "f":
        return array
    return array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)


def _dims(dims: Hashable | Sequence[Hashable], sim: xr.DataArray, obs: xr.DataArray) -> list[Hashable]:
    over = list(dict.fromkeys([dims] if isinstance(dims, str) or not isinstance(dims, Iterable) else dims))
    if not over:
        raise ArgumentError("dims is empty; expected at least one dimension to reduce, such as 'time'")
    for dim in over:
        for array, what in ((sim, "simulation"), (obs, "reference")):
            if dim not in array.dims:
                found = [str(d) for d in array.dims]
                if dim == "time":
                    raise TimeError(f"the {what} has no dimension 'time' among {found}; rename it, or give dims=...")
                raise ArgumentError(f"the {what} has no dimension {dim!r} among {found}; choose other dims=...")
    return over


def _aligned(sim: xr.DataArray, obs: xr.DataArray, over: list[Hashable]) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the labels of `over` (and of time) that they share, on one grid otherwise."""
    spatial: tuple[Hashable, ...] = ()
    if has_grid(sim) and has_grid(obs):
        spatial = spatial_dims(sim)
        if set(spatial) != set(spatial_dims(obs)):
            theirs = spatial_dims(obs)
            raise GridMismatchError(
                f"the spatial dims of the reference are {theirs}, expected {spatial}; "
                f"reference.rename({dict(zip(theirs, spatial))}) if the grids are the same, else .soil.upscale(...)"
            )
    for dim in dict.fromkeys([*over, "time"]):
        if dim in spatial or dim not in sim.dims or dim not in obs.dims:
            continue
        fault = TimeError if dim == "time" else GridMismatchError
        if dim not in sim.indexes or dim not in obs.indexes:
            if sim.sizes[dim] != obs.sizes[dim]:
                raise fault(
                    f"{dim!r} has {sim.sizes[dim]} steps in the simulation and {obs.sizes[dim]} in the reference, and "
                    f"not both have its coordinate; add it: .assign_coords({dim}=...)"
                )
            continue
        left, right = sim.indexes[dim], obs.indexes[dim]
        if left.equals(right):
            continue
        for index, what in ((left, "simulation"), (right, "reference")):
            if not index.is_unique:
                raise fault(f"{dim!r} of the {what} has duplicates; use .drop_duplicates({dim!r})")
        here = left.isin(right)
        if not here.any():
            hint = (
                ".assign_coords(time=reference.time.dt.floor('D')), say, or reference.convert_calendar(...)"
                if dim == "time"
                else "check the labels"
            )
            first = [str(i[0]) if len(i) else "nothing" for i in (left, right)]
            raise fault(f"no common {dim!r}: the simulation starts at {first[0]}, the reference at {first[1]}; {hint}")
        positions = np.flatnonzero(here)
        sim = sim.isel({dim: _slice(positions)})
        obs = obs.isel({dim: _slice(right.get_indexer(left[positions]))})
    require_same_grid(sim, obs, "the reference")
    return sim, obs


def _slice(positions: Any) -> Any:
    """A run of positions as a slice, which dask need not reorder."""
    start = int(positions[0])
    run = np.array_equal(positions, np.arange(start, start + len(positions)))
    return slice(start, start + len(positions)) if run else positions
