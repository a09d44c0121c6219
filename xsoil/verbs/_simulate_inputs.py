"""What `simulate` reads: parameters, the series that drive them, what is left of an earlier run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError
from xsoil.verbs._inputs import numbers, read, require_daily, require_same_grid
from xsoil.verbs._places import require_inside
from xsoil.verbs._weather import TEMPERATURES
from xsoil.vocabulary import VARIABLES

__all__ = [
    "LI_VALUES",
    "OBSERVATION",
    "Given",
    "dims_of",
    "parameters_of",
    "require_known",
    "require_one_grid",
    "require_place",
    "series_of",
]

OBSERVATION = ("obs_scale", "obs_bias")
LI_VALUES = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
"""Parameters of the water balance in Li et al. (2024), shown where one is missing."""
# Fontrodona-Bach et al. (2026), doi:10.5194/hess-30-2613-2026: 3 to 5 mm degC-1 d-1 over 4736 stations.
DEGREE_DAY_FACTOR = 4.0
OPTIONS = (
    "initial", "warmup", "outputs", "substeps", "curve", "depths", "column_depth", "widths", "top", "bottom", "uptake",
    "frost",
)  # fmt: skip

Arrays = Mapping[str, xr.DataArray]


@dataclass(frozen=True)
class Given:
    """What `simulate` was called with."""

    ds: xr.Dataset
    forcing: xr.Dataset
    fixed: Mapping[str, float | xr.DataArray]
    frost: bool

    @property
    def last(self) -> str:
        """The last day."""
        return str(self.forcing.indexes["time"][-1])

    def dtype(self, series: Arrays, parameters: Arrays) -> np.dtype[Any]:
        """Type of the results: single precision where all series and maps are."""
        return np.result_type(np.float32, *(a.dtype for a in (*series.values(), *parameters.values()) if a.ndim))

    def state_before(
        self, initial: xr.Dataset, dims: tuple[Hashable, ...], *, root_depth: bool = False
    ) -> dict[str, xr.DataArray]:
        """Snow and root depth at the end of the run before, where this run has them."""
        if "final_snow" in initial.variables and not self.frost:
            raise ArgumentError(
                "initial holds snow (final_snow), but frost is None; continue with frost='snow', or leave it: "
                "initial.drop_vars('final_snow')"
            )
        found = {}
        for name, wanted in (("snow", self.frost), ("root_depth", root_depth)):
            if wanted and f"final_{name}" in initial.variables:
                state = initial[f"final_{name}"]
                require_place(state, self, dims)
                found[f"initial_{name}"] = read(state.rename(name).to_dataset(), VARIABLES[name])
        return found


def series_of(
    given: Given, needed: Sequence[str], optional: Sequence[str], moving: Sequence[str]
) -> dict[str, xr.DataArray]:
    """All series in canonical units: forcing, what is there of optional forcing, and parameters that vary with time."""
    forcing, fixed = given.forcing, given.fixed
    names = [*needed, *(name for name in optional if name in forcing.variables)]
    if given.frost:
        temperatures = [name for name in TEMPERATURES if name in forcing.variables]
        if not temperatures:
            raise MissingVariableError(
                f"no {' or '.join(map(repr, TEMPERATURES))} among {sorted(map(str, forcing.data_vars))}; "
                "frost='snow' needs one of them in the forcing"
            )
        names += temperatures
    names += [name for name in moving if name not in fixed and name in forcing and "time" in forcing[name].dims]
    found = {name: read(forcing, VARIABLES[name]) for name in names}
    for name, array in found.items():
        require_daily(array, f"forcing {name!r}")
    for name in moving:
        value = fixed.get(name)
        if isinstance(value, xr.DataArray) and "time" in value.dims:
            found[name] = read(numbers({name: value}), VARIABLES[name])
            require_daily(found[name], f"parameter {name!r}")
            require_daily(forcing, "forcing")
            ours, theirs = forcing.indexes["time"], found[name].indexes["time"]
            if not ours.equals(theirs):
                raise TimeError(
                    f"parameter {name!r} covers {theirs[0]} to {theirs[-1]}, expected the days of the forcing, "
                    f"{ours[0]} to {ours[-1]}: .sel(time=forcing.time)"
                )
    return found


def require_known(fixed: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raise for keywords that nobody knows, or that this run does not use."""
    for name, value in fixed.items():
        if name not in known:
            raise UnknownNameError.of(f"keyword ({what})", name, (*known, *OPTIONS))
        if not isinstance(value, xr.DataArray) and (np.ndim(value) or np.asarray(value).dtype.kind not in "fiu"):
            units = VARIABLES[name].units
            raise ArgumentError(f"{name}={value!r}; expected a number in {units!r}, or a DataArray with units")


def parameters_of(
    given: Given,
    needed: Sequence[str],
    defaults: Mapping[str, float],
    moving: Sequence[str],
    explain: Callable[[Sequence[str]], list[str]],
) -> tuple[dict[str, xr.DataArray], dict[str, float]]:
    """All parameters without time in canonical units, or the error that shows how to give the missing ones.

    Also the defaults that were used. One of `moving` may be constant in the forcing.
    """
    ds, forcing, fixed = given.ds, given.forcing, given.fixed
    if given.frost:
        needed, defaults = [*needed, "degree_day_factor"], {**defaults, "degree_day_factor": DEGREE_DAY_FACTOR}
    where = {name: ds for name in needed if name in ds.variables}
    where |= {name: forcing for name in needed if name in moving and name in forcing.variables and name not in where}
    used = {name: defaults[name] for name in needed if name in defaults and name not in where and name not in fixed}
    missing = [name for name in needed if name not in where and name not in fixed and name not in used]
    if missing:
        named = ", ".join(f"{name!r} ({VARIABLES[name].long_name})" for name in missing)
        hints = explain(missing)
        if set(OBSERVATION) & set(missing):
            hints.append("the output theta_obs needs obs_scale=..., obs_bias=...")
        raise MissingVariableError(f"no {named} among {sorted(map(str, ds.data_vars))}; " + "; ".join(hints))
    values = {**used, **fixed}
    found = {
        name: read(numbers({name: values[name]}) if name in values else where[name], VARIABLES[name]) for name in needed
    }
    for name, array in found.items():
        if "time" in array.dims:
            place = "in the forcing or as a keyword" if name in moving else "as one value per cell: .isel(time=0)"
            raise ArgumentError(f"parameter {name!r} varies with time; expected it {place}")
    return found, used


def dims_of(parameters: Arrays, series: Arrays, own: Sequence[Hashable] = ()) -> tuple[Hashable, ...]:
    """Dims of the results after time: those of the widest parameter; what it lacks comes in front of them.

    `own` are dims that are not those of cells, such as the layers of a soil.
    """
    there = [tuple(dim for dim in array.dims if dim not in own) for array in parameters.values()]
    widest = max(there, key=len, default=())
    ours = dict.fromkeys(dim for dims in there for dim in dims)
    theirs = dict.fromkeys(dim for array in series.values() for dim in array.dims if dim != "time")
    extra, lacking = [d for d in theirs if d not in ours], [d for d in ours if d not in theirs]
    if extra and lacking and theirs:
        raise GridMismatchError(
            f"the forcing is on {[str(d) for d in theirs]}, expected the parameters' {[str(d) for d in ours]}; "
            "rename its dims, or bring both to one grid with ds.soil.upscale(...)"
        )
    return (*(dim for dim in (ours | theirs) if dim not in widest), *widest)


def require_one_grid(given: Given, parameters: Arrays, series: Arrays) -> None:
    """Raise unless parameters, keywords and forcing lie on one grid."""
    ds, forcing, fixed = given.ds, given.forcing, given.fixed
    own = ds[[name for name in parameters if name in ds.variables and name not in fixed]]
    maps = [(f"parameter {name!r}", value) for name, value in fixed.items() if isinstance(value, xr.DataArray)]
    used = [name for name in forcing.variables if name in {*series, *parameters} - {*fixed, *own.variables}]
    places: list[tuple[str, xr.Dataset | xr.DataArray]] = [("parameters", own), *maps, ("forcing", forcing[used])]
    for (_, one), (what, other) in itertools.combinations(places, 2):
        require_same_grid(one, other, what)
    for (name, one), (what, other) in itertools.permutations(places, 2):
        require_inside(one, name, other, what)


def require_place(initial: xr.DataArray, given: Given, dims: tuple[Hashable, ...]) -> None:
    """Raise unless a state lies on the grid and the dims of the run, of which each input may have others."""
    maps = [value for value in given.fixed.values() if isinstance(value, xr.DataArray)]
    places: list[xr.Dataset | xr.DataArray] = [given.ds, given.forcing, *maps]
    for place in places:
        require_same_grid(place, initial, "initial")
    unknown = [str(dim) for dim in initial.dims if dim not in dims]
    if unknown:
        raise GridMismatchError(f"initial is on {unknown}, expected the dims of the run {[str(d) for d in dims]}")
