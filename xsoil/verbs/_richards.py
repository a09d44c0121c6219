"""Richards columns as `simulate` runs them: what they read and return, and the days of one block of columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnknownNameError
from xsoil.verbs._curves import parameters_in
from xsoil.verbs._depths import DEPTH
from xsoil.verbs._inputs import read, require_daily
from xsoil.verbs._richards_days import ABOVE, BELOW, BOTTOMS, TOPS, Setup, days_of_columns
from xsoil.verbs._simulate_inputs import (
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
from xsoil.verbs._soil_columns import NODE, Column, column_of, layers_of, on_nodes, output_depths
from xsoil.verbs._soil_curves import curve_of, explain
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["OUTPUTS", "UPTAKES", "richards_run"]

OUTPUTS = (
    "theta", "theta_obs", "h", "storage", "actual_et", "runoff", "drainage", "inflow", "uptake", "balance", "steps",
    "iterations",
)  # fmt: skip
BY_DEPTH = ("theta", "theta_obs", "h")
AT_THE_END_OF_A_DAY = (*BY_DEPTH, "storage", "balance")
LONG_NAMES = {
    "storage": "soil water storage of the column",
    "drainage": "flux out of the bottom of the column, less what rises into it",
    "runoff": "surface runoff",
}

# What stress takes, with the values that HYDRUS-1D proposes (Feddes: pasture, Wesseling 1991).
UPTAKES: Mapping[str, Mapping[str, float]] = {
    "s_shaped": {"h50": -800.0},
    "feddes": {"h1": -10.0, "h2": -25.0, "h3_high": -200.0, "h3_low": -800.0, "h4": -8000.0},
    "none": {},
}
ROOT_DEPTH = {"root_depth": 0.4}
INITIAL = -100.0

BALANCE = Variable("final_balance", "cm", "storage less all that came and went since the start")
REFERENCES = (
    "Celia, Bouloutas & Zarba (1990), Water Resour. Res., https://doi.org/10.1029/WR026i007p01483; "
    "Qi et al. (2026), Water Resour. Res., https://doi.org/10.1029/2025WR041265"
)


def richards_run(
    given: Given,
    initial: object,
    outputs: tuple[str, ...],
    *,
    curve: str | None,
    depths: float | Sequence[float] | None,
    column_depth: float,
    widths: Sequence[float] | None,
    top: str,
    bottom: str,
    uptake: str,
) -> ModelRun:
    """Read what Richards columns need, and say what they return."""
    from xsoil.kernels.richards_curves import CURVES

    for kind, name, known in (("top", top, TOPS), ("bottom", bottom, BOTTOMS), ("uptake", uptake, UPTAKES)):
        if not isinstance(name, str) or name not in known:
            raise UnknownNameError.of(kind, name, known)
    if given.frost and top != "atmospheric":
        raise ArgumentError(f"frost='snow' with top={top!r}; expected top='atmospheric', on which snow falls")
    there = {*given.fixed, *parameters_in(given.ds)}
    curve, given_l = curve_of(curve, CURVES, there)
    roots = ROOT_DEPTH if uptake != "none" else {}
    edges = [table[name][0] for table, name in ((ABOVE, top), (BELOW, bottom)) if name in table]
    leaves = ["lai"] if top == "atmospheric" or roots else []
    moving = (*leaves, *edges)

    series = _series(given, top == "atmospheric", bool(leaves), moving)
    constant = [name for name in moving if name not in series]
    needed = [*CURVES[curve], *roots, *UPTAKES[uptake], *constant, *[*OBSERVATION] * ("theta_obs" in outputs)]
    options = f"richards: {curve}, {top}, {bottom}, {uptake}"
    require_known(given.fixed, (*needed, *moving, *["degree_day_factor"] * given.frost), options)
    parameters, defaults = parameters_of(
        given, needed, {**given_l, **roots, **UPTAKES[uptake]}, moving, partial(explain, curve, there)
    )
    layers = layers_of(given.ds, parameters)
    for name, array in parameters.items():
        if layers is not None and layers.dim in array.dims and name not in CURVES[curve]:
            raise ArgumentError(f"parameter {name!r} varies with depth; expected one value per column")
    column = column_of(column_depth, widths, layers)
    dims = dims_of(parameters, series, () if layers is None else (layers.dim,))
    require_one_grid(given, parameters, series)
    start, told = _initial_state(initial, given, dims, column)
    below = output_depths(depths, column)

    dtype = given.dtype(series, parameters)
    maps, states = parameters | start, _states(given)
    setup = Setup(
        series=tuple(series),
        maps=tuple(maps),
        outputs=outputs,
        states=tuple(states),
        cell_dims=len(dims),
        curve=curve,
        parameters=CURVES[curve],
        column=column,
        depths=tuple((100.0 * below).tolist()),
        top=top,
        bottom=bottom,
        uptake=uptake,
        stress=tuple(UPTAKES[uptake]),
        dtype=dtype.str,
    )
    return ModelRun(
        step=partial(days_of_columns, setup),
        series=series,
        maps=maps,
        dims=dims,
        outputs={name: _described(name, dtype) for name in outputs} | frost_results(outputs, dtype),
        states=states,
        attrs={
            "model": "richards", "curve": curve, "column_depth": column.bottom, "top": top, "bottom": bottom,
            "uptake": uptake, "initial": told, **defaults,
        },
        references=REFERENCES,
        coords={"depth": xr.Variable("depth", below, DEPTH.attrs | {"positive": "down"}), NODE: column.coordinate},
    )  # fmt: skip


def _series(given: Given, rain: bool, demand: bool, moving: Sequence[str]) -> dict[str, xr.DataArray]:
    """What drives the columns; where only constants do, something that counts the days."""
    # Roots that grow are those of the water balance; they must not be overlooked for a default.
    name = "root_depth"
    if name in given.forcing.variables and name not in given.fixed and name not in given.ds.variables:
        raise ArgumentError(
            f"{name!r} is in the forcing, where model='richards' does not look; expected one value per column, in ds "
            f"or as a keyword: {name}=forcing[{name!r}].max('time')"
        )
    wanted = [*["precipitation"] * rain, *["pet"] * demand]
    series = series_of(given, wanted, ["irrigation"] * rain, moving)
    if not series:
        require_daily(given.forcing, "forcing")
        series["precipitation"] = xr.DataArray(np.zeros(given.forcing.sizes["time"]), dims="time")
    return series


def _described(name: str, dtype: np.dtype[Any]) -> Made:
    made = described(name, dtype, AT_THE_END_OF_A_DAY, ("depth",) * (name in BY_DEPTH))
    attrs = dict(made.attrs)
    if name in ("steps", "iterations"):
        attrs["cell_methods"] = "time: sum"
    if name in LONG_NAMES:
        attrs["long_name"] = LONG_NAMES[name]
    return Made(made.dtype, attrs, made.own)


def _states(given: Given) -> dict[str, Made]:
    """The state of the kernel in its order, then the snow."""
    from xsoil.kernels.richards import FLAGS

    last = given.last
    balance = Made(np.dtype(np.float64), BALANCE.attrs | {"end_time": last})
    states = {
        "final_h": state_of("h", last, (NODE,)), "final_theta": state_of("theta", last, (NODE,)),
        "final_next_step": state_of("next_step", last), "final_balance": balance,
        "status": Made.of_flags("status of the simulation", FLAGS),
    }  # fmt: skip
    return states | ({"final_snow": state_of("snow", last)} if given.frost else {})


def _initial_state(
    initial: object, given: Given, dims: tuple[Hashable, ...], column: Column
) -> tuple[dict[str, xr.DataArray], str]:
    """Heads before the first day, or the whole state of an earlier run; and what to call them."""
    if isinstance(initial, xr.Dataset) and "final_h" in initial.variables:
        return _continued(initial, given, dims, column), "end of an earlier run"
    h: object = {"h": INITIAL} if initial is None else initial
    if isinstance(h, xr.DataArray):
        h = {"h": h}
    if not isinstance(h, (Mapping, xr.Dataset)) or "h" not in h:
        found = sorted(map(str, h)) if isinstance(h, (Mapping, xr.Dataset)) else repr(initial)
        raise ArgumentError(
            f"initial: found {found}; expected for model='richards' {{'h': -100}} [cm] with a number, a map or a "
            "profile, or result.soil.final_state()"
        )
    if not isinstance(h, xr.Dataset) and len(h) > 1:
        raise ArgumentError(f"initial: found {sorted(map(str, h))}; expected 'h' alone")
    head = h["h"]
    if not isinstance(head, xr.DataArray):
        if np.ndim(head) or np.asarray(head).dtype.kind not in "fiu":
            raise ArgumentError(f"initial h={head!r}; expected a number in 'cm', or a DataArray with units")
        return {"initial_h": xr.DataArray(float(head))}, f"h = {float(head):g} cm"
    if "time" in head.dims:
        raise TimeError("initial has a dimension 'time'; expected one day: initial.isel(time=-1)")
    if NODE in head.dims:  # the heads of other cells are a profile
        head = head.rename({NODE: "depth"})
    nodes = on_nodes(read(head.rename("h").to_dataset(), VARIABLES["h"]), column)
    require_place(nodes, given, (NODE, *dims))
    return {"initial_h": nodes}, "h given as a map or profile"


def _continued(
    initial: xr.Dataset, given: Given, dims: tuple[Hashable, ...], column: Column
) -> dict[str, xr.DataArray]:
    names = ("final_h", "final_theta", "final_next_step", "final_balance", "status")
    missing = [name for name in names if name not in initial.variables]
    if missing:
        raise MissingVariableError(
            f"initial has final_h, but no {missing} beside it; expected the whole of result.soil.final_state(), or "
            "{'h': ...} to start anew from heads"
        )
    nodes = initial.indexes.get(NODE)
    if nodes is None or nodes.size != len(column.widths) or not np.allclose(nodes, column.centres, rtol=0, atol=1e-9):
        cells = initial["final_h"].sizes.get(NODE)
        raise ArgumentError(
            f"initial comes from other cells than this run's {len(column.widths)} (it has {cells}); expected the same "
            "column_depth, widths and layers, or {'h': initial.final_h} to start anew from its heads"
        )
    rows = (VARIABLES["h"], VARIABLES["theta"], VARIABLES["next_step"], BALANCE)
    found = {}
    for name, row in zip(names, rows, strict=False):
        require_place(initial[name], given, (NODE, *dims))
        state = read(initial[name].rename(row.name).to_dataset(), row)
        found[f"state_{name}"] = state.transpose(*[NODE] * (NODE in state.dims), ...)
    require_place(initial["status"], given, dims)
    return found | {"state_status": initial["status"]} | given.state_before(initial, dims)
