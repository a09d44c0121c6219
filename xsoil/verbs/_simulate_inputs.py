"""What `simulate` reads: parameters, the series that drive them, the state to start from."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError
from xsoil.verbs._inputs import numbers, read, require_daily, require_same_grid
from xsoil.verbs._places import require_inside
from xsoil.verbs._water_balance import OBSERVATION, PARAMETERS, SUPPLIES, TEMPERATURES
from xsoil.vocabulary import VARIABLES

__all__ = ["DEGREE_DAY_FACTOR", "FORCING", "dims_of", "initial_state", "parameters_of", "require_one_grid", "series_of"]

FORCING = ("precipitation", "pet")
# Parameters that may be series.
MOVING = ("crop_coefficient", "root_depth")
# Values of Li et al. (2024), shown where a parameter is missing.
LI_VALUES = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
# Fontrodona-Bach et al. (2026), doi:10.5194/hess-30-2613-2026: 3 to 5 mm degC-1 d-1 over 4736 stations.
DEGREE_DAY_FACTOR = 4.0


def series_of(
    forcing: xr.Dataset, fixed: Mapping[str, float | xr.DataArray], *, frost: bool
) -> dict[str, xr.DataArray]:
    """All series in canonical units: forcing, what is there of optional forcing, and parameters that vary with time."""
    names = [*FORCING, *(name for name in SUPPLIES if name in forcing.variables)]
    if frost:
        temperatures = [name for name in TEMPERATURES if name in forcing.variables]
        if not temperatures:
            raise MissingVariableError(
                f"no {' or '.join(map(repr, TEMPERATURES))} among {sorted(map(str, forcing.data_vars))}; "
                "frost='snow' needs one of them in the forcing"
            )
        names += temperatures
    names += [name for name in MOVING if name not in fixed and name in forcing and "time" in forcing[name].dims]
    found = {name: read(forcing, VARIABLES[name]) for name in names}
    for name, array in found.items():
        require_daily(array, f"forcing {name!r}")
    for name in MOVING:
        value = fixed.get(name)
        if isinstance(value, xr.DataArray) and "time" in value.dims:
            found[name] = read(numbers({name: value}), VARIABLES[name])
            require_daily(found[name], f"parameter {name!r}")
            ours, theirs = forcing.indexes["time"], found[name].indexes["time"]
            if not ours.equals(theirs):
                raise TimeError(
                    f"parameter {name!r} covers {theirs[0]} to {theirs[-1]}, expected the days of the forcing, "
                    f"{ours[0]} to {ours[-1]}: .sel(time=forcing.time)"
                )
    return found


def parameters_of(
    ds: xr.Dataset,
    fixed: Mapping[str, float | xr.DataArray],
    series: Mapping[str, object],
    *,
    observed: bool,
    frost: bool,
) -> dict[str, xr.DataArray]:
    """All parameters without time in canonical units, or the error that shows how to give the missing ones."""
    known = (*PARAMETERS, *OBSERVATION, "degree_day_factor")
    for name, value in fixed.items():
        if name not in known:
            raise UnknownNameError.of("keyword", name, (*known, "initial", "warmup", "outputs", "substeps", "frost"))
        if not isinstance(value, xr.DataArray) and (np.ndim(value) or np.asarray(value).dtype.kind not in "fiu"):
            units = VARIABLES[name].units
            raise ArgumentError(f"{name}={value!r}; expected a number in {units!r}, or a DataArray with units")
    needed = [name for name in PARAMETERS if name not in series] + [*OBSERVATION] * observed
    missing = [name for name in needed if name not in fixed and name not in ds.variables]
    if missing:
        described = ", ".join(f"{name!r} ({VARIABLES[name].long_name})" for name in missing)
        keywords = ", ".join(f"{name}={LI_VALUES[name]}" for name in missing if name in LI_VALUES)
        hints = [f"give them as keywords, here with the values of Li et al. (2024): {keywords}"] if keywords else []
        if "k_sat" in missing:
            hints.append("k_sat comes from ds.soil.ptf(...), or k_sat=... [cm d-1]")
        if set(OBSERVATION) & set(missing):
            hints.append("the output theta_obs needs obs_scale=..., obs_bias=...")
        raise MissingVariableError(f"no {described} among {sorted(map(str, ds.data_vars))}; " + "; ".join(hints))
    values = dict(fixed)
    if frost:
        needed.append("degree_day_factor")
        if "degree_day_factor" not in ds.variables:
            values.setdefault("degree_day_factor", DEGREE_DAY_FACTOR)
    given = numbers({name: value for name, value in values.items() if name in needed})
    found = {name: read(given if name in given else ds, VARIABLES[name]) for name in needed}
    for name, array in found.items():
        if "time" in array.dims:
            where = "in the forcing or as a keyword" if name in MOVING else "as one value per cell: .isel(time=0)"
            raise ArgumentError(f"parameter {name!r} varies with time; expected it {where}")
    return found


def dims_of(parameters: Mapping[str, xr.DataArray], series: Mapping[str, xr.DataArray]) -> tuple[Hashable, ...]:
    """Dims of the results after time: those of the widest parameter; what it lacks comes in front of them."""
    widest = max(parameters.values(), key=lambda array: array.ndim).dims
    ours = dict.fromkeys(dim for array in parameters.values() for dim in array.dims)
    theirs = dict.fromkeys(dim for array in series.values() for dim in array.dims if dim != "time")
    extra, lacking = [d for d in theirs if d not in ours], [d for d in ours if d not in theirs]
    if extra and lacking and theirs:
        raise GridMismatchError(
            f"the forcing is on {[str(d) for d in theirs]}, expected the parameters' {[str(d) for d in ours]}; "
            "rename its dims, or bring both to one grid with ds.soil.upscale(...)"
        )
    return (*(dim for dim in (ours | theirs) if dim not in widest), *widest)


def require_one_grid(
    ds: xr.Dataset,
    fixed: Mapping[str, float | xr.DataArray],
    parameters: Mapping[str, xr.DataArray],
    series: Mapping[str, xr.DataArray],
    forcing: xr.Dataset,
) -> None:
    """Raise unless parameters, keywords and forcing lie on one grid."""
    own = ds[[name for name in parameters if name in ds.variables and name not in fixed]]
    given = [(f"parameter {name!r}", value) for name, value in fixed.items() if isinstance(value, xr.DataArray)]
    places: list[tuple[str, xr.Dataset | xr.DataArray]] = [
        ("parameters", own),
        *given,
        ("forcing", forcing[[name for name in series if name not in fixed]]),
    ]
    for (_, one), (what, other) in itertools.combinations(places, 2):
        require_same_grid(one, other, what)
    for (name, one), (what, other) in itertools.permutations(places, 2):
        require_inside(one, name, other, what)


def initial_state(
    initial: float | xr.DataArray | xr.Dataset | None,
    ds: xr.Dataset,
    dims: tuple[Hashable, ...],
    *,
    frost: bool,
    moving: bool,
) -> dict[str, xr.DataArray]:
    """Soil moisture before the first day in m3 m-3 (none for field capacity), with the snow and root depth of then."""
    theta = _theta(initial, ds, dims)
    if theta is None or not isinstance(initial, xr.Dataset):
        return {} if theta is None else {"initial": theta}
    if "final_snow" in initial.variables and not frost:
        raise ArgumentError(
            "initial holds snow (final_snow), but frost is None; continue with frost='snow', or leave it: "
            "initial.drop_vars('final_snow')"
        )
    found = {"initial": theta}
    for name, wanted in (("snow", frost), ("root_depth", moving)):
        if wanted and f"final_{name}" in initial.variables:
            state = initial[f"final_{name}"]
            _require_place(state, ds, dims)
            found[f"initial_{name}"] = read(state.rename(name).to_dataset(), VARIABLES[name])
    return found


def _theta(
    initial: float | xr.DataArray | xr.Dataset | None, ds: xr.Dataset, dims: tuple[Hashable, ...]
) -> xr.DataArray | None:
    if initial is None:
        return None
    if isinstance(initial, xr.Dataset):
        name = next((name for name in ("final_theta", "theta") if name in initial.variables), None)
        if name is None:
            raise MissingVariableError(
                f"initial has neither 'final_theta' nor 'theta' among {sorted(map(str, initial.data_vars))}; "
                "expected result.soil.final_state(), a map of theta or a number"
            )
        initial = initial[name]
    if not isinstance(initial, xr.DataArray):
        if np.ndim(initial) or np.asarray(initial).dtype.kind not in "fiu":
            raise ArgumentError(f"initial={initial!r}; expected a number, a DataArray or result.soil.final_state()")
        return xr.DataArray(float(initial))
    if "time" in initial.dims:
        raise TimeError("initial has a dimension 'time'; expected one day: initial.isel(time=-1)")
    _require_place(initial, ds, dims)
    return read(initial.rename("theta").to_dataset(), VARIABLES["theta"])


def _require_place(initial: xr.DataArray, ds: xr.Dataset, dims: tuple[Hashable, ...]) -> None:
    require_same_grid(ds, initial, "initial")
    unknown = [str(dim) for dim in initial.dims if dim not in dims]
    if unknown:
        raise GridMismatchError(f"initial is on {unknown}, expected the dims of the run {[str(d) for d in dims]}")
