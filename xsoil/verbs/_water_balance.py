"""The water balance as `simulate` runs it: what it reads and returns, and the days of one block of cells."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xsoil.errors import ArgumentError, MissingVariableError, TimeError
from xsoil.verbs._inputs import read
from xsoil.verbs._simulate_inputs import (
    LI_VALUES,
    OBSERVATION,
    Given,
    dims_of,
    parameters_of,
    require_known,
    require_one_grid,
    require_place,
    series_of,
)
from xsoil.verbs._simulate_results import Made, ModelRun, described, frost_results, state_of
from xsoil.verbs._weather import SUPPLIES, Series, State, add_supplies, days_of, faulty, store_snow
from xsoil.vocabulary import VARIABLES

__all__ = ["OBSERVATION", "OUTPUTS", "PARAMETERS", "water_balance_run"]

PARAMETERS = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
# Parameters that may be series.
MOVING = ("crop_coefficient", "root_depth")
EXCHANGE = "root_zone_exchange"
OUTPUTS = ("theta", "theta_obs", "storage", "actual_et", "runoff", "drainage", EXCHANGE)
AT_THE_END_OF_A_DAY = ("theta", "theta_obs", "storage")
REFERENCE = "Li et al. (2024), Water Resour. Res., https://doi.org/10.1029/2023WR035543"


def water_balance_run(given: Given, initial: object, outputs: tuple[str, ...], substeps: int) -> ModelRun:
    """Read what the water balance needs, and say what it returns."""
    series = series_of(given, ("precipitation", "pet"), SUPPLIES, MOVING)
    moving = "root_depth" in series
    if EXCHANGE in outputs and not moving:
        raise ArgumentError(f"output {EXCHANGE!r} needs a root_depth on time, found one without")
    require_known(given.fixed, (*PARAMETERS, *OBSERVATION, "degree_day_factor"), "water_balance")
    needed = [name for name in PARAMETERS if name not in series] + [*OBSERVATION] * ("theta_obs" in outputs)
    parameters, defaults = parameters_of(given, needed, {}, MOVING, _explain)
    dims = dims_of(parameters, series)
    require_one_grid(given, parameters, series)
    start = _initial_state(initial, given, dims, moving=moving)

    dtype = given.dtype(series, parameters)
    maps = parameters | start
    states = {"final_theta": state_of("theta", given.last), "status": _status()}
    if given.frost:
        states["final_snow"] = state_of("snow", given.last)
    if moving:
        states["final_root_depth"] = state_of("root_depth", given.last)
    made = {name: described(name, dtype, AT_THE_END_OF_A_DAY) for name in outputs} | frost_results(outputs, dtype)
    return ModelRun(
        step=partial(_block, tuple(series), tuple(maps), outputs, tuple(states), substeps, dtype.str),
        series=series,
        maps=maps,
        dims=dims,
        outputs=made,
        states=states,
        attrs={"model": "water_balance", "substeps": substeps, "initial": _describe(initial), **defaults},
        references=REFERENCE,
    )


def _explain(missing: Sequence[str]) -> list[str]:
    keywords = ", ".join(f"{name}={LI_VALUES[name]}" for name in missing if name in LI_VALUES)
    hints = [f"give them as keywords, here with the values of Li et al. (2024): {keywords}"] if keywords else []
    if "k_sat" in missing:
        hints.append("k_sat comes from ds.soil.ptf(...), or k_sat=... [cm d-1]")
    return hints


def _status() -> Made:
    from xsoil.kernels.water_balance import FLAGS

    return Made.of_flags("status of the simulation", FLAGS)


def _describe(initial: object) -> str | float:
    if initial is None:
        return "field capacity"
    return "given as a map" if isinstance(initial, (xr.DataArray, xr.Dataset)) else float(initial)  # type: ignore[arg-type]


def _initial_state(
    initial: object, given: Given, dims: tuple[Hashable, ...], *, moving: bool
) -> dict[str, xr.DataArray]:
    """Soil moisture before the first day in m3 m-3 (none for field capacity), with the snow and root depth of then."""
    theta = _theta(initial, given, dims)
    if theta is None or not isinstance(initial, xr.Dataset):
        return {} if theta is None else {"initial": theta}
    found = {"initial": theta} | given.state_before(initial, dims, root_depth=moving)
    meanings = _status().attrs["flag_meanings"]  # other flags are those of another verb
    if "final_theta" in initial and initial.get("status", theta).attrs.get("flag_meanings") == meanings:
        require_place(initial["status"], given, dims)
        found["initial_status"] = initial["status"]
    return found


def _theta(initial: object, given: Given, dims: tuple[Hashable, ...]) -> xr.DataArray | None:
    if initial is None:
        return None
    if isinstance(initial, xr.Dataset):
        if "final_h" in initial.variables:
            raise ArgumentError(
                "initial is the end of a run with model='richards' (it holds final_h); expected one of "
                "model='water_balance', a map of theta or a number"
            )
        name = next((name for name in ("final_theta", "theta") if name in initial.variables), None)
        if name is None:
            raise MissingVariableError(
                f"initial has neither 'final_theta' nor 'theta' among {sorted(map(str, initial.data_vars))}; "
                "expected result.soil.final_state(), a map of theta or a number"
            )
        initial = initial[name]
    if not isinstance(initial, xr.DataArray):
        if np.ndim(initial) or np.asarray(initial).dtype.kind not in "fiu":  # type: ignore[arg-type]
            raise ArgumentError(f"initial={initial!r}; expected a number, a DataArray or result.soil.final_state()")
        return xr.DataArray(float(initial))  # type: ignore[arg-type]
    if "time" in initial.dims:
        raise TimeError("initial has a dimension 'time'; expected one day: initial.isel(time=-1)")
    require_place(initial, given, dims)
    return read(initial.rename("theta").to_dataset(), VARIABLES["theta"])


def _block(
    series_names: tuple[str, ...],
    map_names: tuple[str, ...],
    outputs: tuple[str, ...],
    states: tuple[str, ...],
    substeps: int,
    dtype: str,
    series: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    state: State | None,
    *,
    skip: int,
    workers: int,
) -> tuple[list[np.ndarray], State]:
    """Days of one block of cells, for `scan_time`; the state is named by `states`, theta and status first."""
    shape = np.broadcast_shapes(*(array.shape[1:] for array in series), *(array.shape for array in maps))
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in zip(map_names, maps, strict=True)}
    before = {name: array.reshape(-1) for name, array in zip(states, state or (), strict=state is not None)}
    days = days_of(series_names, series, shape)
    values: Series = {}
    if "final_snow" in states:
        before["final_snow"] = store_snow(days, flat, before, values, outputs, dtype, workers)
    add_supplies(days, dtype)
    _grow(days, flat, dtype)
    needed = dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs if name not in values)
    run = _by_depth if "root_depth" in days else _whole
    found, end = run(days, flat, before, tuple(needed), substeps, dtype, skip, workers)
    if "status" not in before and "initial_status" in flat:
        end = end[0], _with_the_flags_of_before(end[1], flat["initial"], flat["initial_status"].astype(np.uint8))
    values = {name: array[skip:] for name, array in values.items()} | found
    if "theta_obs" in outputs:
        scale, bias = (flat[name].astype(dtype) for name in OBSERVATION)
        values["theta_obs"] = values["theta"] * scale + bias
    after = [*end, *(before[name] for name in states[len(end) :])]
    made = [values[name].reshape(len(values[name]), *shape) for name in outputs]
    return made, tuple(array.reshape(shape) for array in after)


def _with_the_flags_of_before(status: np.ndarray, initial: np.ndarray, before: np.ndarray) -> np.ndarray:
    """A cell that was missing before keeps the reason why; one that was clipped at its start stays so."""
    from xsoil.kernels.water_balance import FLAGS

    clipped = np.uint8(FLAGS["initial_state_clipped"])
    lost = np.isnan(initial) & (before & ~clipped > 0)
    flags = np.array(status | before & clipped)
    flags[lost] = status[lost] & ~np.uint8(FLAGS["missing_initial_state"]) | before[lost]
    return flags


def _grow(days: Series, flat: Series, dtype: DTypeLike) -> None:
    """The demand of a crop whose coefficient changes, as pet."""
    if "crop_coefficient" in days:
        coefficient, pet = (days[name].astype(dtype, copy=False) for name in ("crop_coefficient", "pet"))
        days["pet"] = faulty(pet, faulty(coefficient, coefficient * pet))
        flat["crop_coefficient"] = np.ones_like(flat["theta_s"])


def _whole(
    days: Series,
    flat: Series,
    before: Series,
    outputs: tuple[str, ...],
    substeps: int,
    dtype: str,
    skip: int,
    workers: int,
) -> tuple[Series, State]:
    """All days at once: parameters that do not change."""
    from xsoil.kernels import water_balance

    return water_balance.run(
        days["precipitation"],
        days["pet"],
        [flat[name] for name in PARAMETERS],
        initial=flat.get("initial"),
        state=(before["final_theta"], before["status"]) if "status" in before else None,
        substeps=substeps,
        skip=skip,
        outputs=outputs,
        dtype=np.dtype(dtype),
        workers=workers,
    )


def _by_depth(
    days: Series,
    flat: Series,
    before: Series,
    outputs: tuple[str, ...],
    substeps: int,
    dtype: str,
    skip: int,
    workers: int,
) -> tuple[Series, State]:
    """Days of one root depth after the other.

    Soil that joins or leaves the root zone has the water content of the root zone: theta stays, the storage changes.
    """
    depths, cells = days["root_depth"].astype(np.float64), flat["theta_s"].size
    rows, wanted = depths.shape[0], EXCHANGE in outputs
    depths = np.broadcast_to(depths, (rows, cells))
    # A depth that is missing or impossible is a fault of that day's forcing.
    possible = (depths > 0) & (depths < np.inf)
    if not possible.all():
        fault = np.where(depths <= 0, -1.0, np.nan)
        days = days | {"precipitation": np.where(possible, days["precipitation"], fault).astype(dtype)}
    usable = np.where(possible, depths, 1.0)
    exchange = np.zeros((rows if wanted else 0, cells))
    last = before.get("final_root_depth", flat.get("initial_root_depth"))
    edges = [0, *(np.flatnonzero((usable[1:] != usable[:-1]).any(axis=1)) + 1), rows]
    found: list[Series] = []
    kept = tuple(dict.fromkeys("theta" if name == EXCHANGE else name for name in outputs))
    now = dict(before)
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        theta = now.get("final_theta", flat.get("initial"))
        if wanted and last is not None and theta is not None:
            within = np.clip(theta, flat["theta_wp"], flat["theta_s"])
            exchange[first] = 1000.0 * (depths[first] - last) * within
        part = {name: array[first:end] for name, array in days.items()}
        own = flat | {"root_depth": usable[first]}
        values, (theta, status) = _whole(part, own, now, kept, substeps, dtype, max(skip - first, 0), workers)
        now |= {"final_theta": theta, "status": status}
        last = depths[end - 1]
        if end > skip:
            found.append(values)
    before["final_root_depth"] = np.array(last)
    none = [np.empty((0, cells), dtype)]  # a block of nothing but warm-up
    joined = {name: np.concatenate([values[name] for values in found] or none) for name in kept}
    if wanted:
        joined[EXCHANGE] = np.where(np.isnan(joined["theta"]), np.nan, exchange[skip:]).astype(dtype)
    return joined, (now["final_theta"], now["status"])
