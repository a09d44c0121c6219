"""Richards columns as `simulate` runs them: what they read and return, and the days of one block of columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError
from xsoil.verbs._depths import DEPTH
from xsoil.verbs._inputs import read, require_daily
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
from xsoil.verbs._weather import Series, State, add_supplies, days_of, store_snow
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["BOTTOMS", "OUTPUTS", "TOPS", "UPTAKES", "richards_run"]

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

# Names of the kernel, and the variable that a boundary takes with its factor to cm.
TOPS = {"atmospheric": "atmosphere", "flux": "flux", "head": "head"}
BOTTOMS = ("free_drainage", "head", "zero_flux", "water_table")
ABOVE = {"flux": ("top_flux", 0.1), "head": ("top_head", 1.0)}
BELOW = {"head": ("bottom_head", 1.0), "water_table": ("water_table_depth", 100.0)}
# What stress takes, with the values that HYDRUS-1D proposes (Feddes: pasture, Wesseling 1991).
UPTAKES: Mapping[str, Mapping[str, float]] = {
    "s_shaped": {"h50": -800.0},
    "feddes": {"h1": -10.0, "h2": -25.0, "h3_high": -200.0, "h3_low": -800.0, "h4": -8000.0},
    "none": {},
}
ROOT_DEPTH = {"root_depth": 0.4}
# What the kernel is given where there are no roots, and does not look at.
NO_ROOTS, NO_STRESS = 1.0, -1.0
INITIAL = -100.0

BALANCE = Variable("final_balance", "cm", "storage less all that came and went since the start")
REFERENCES = (
    "Celia, Bouloutas & Zarba (1990), Water Resour. Res., https://doi.org/10.1029/WR026i007p01483; "
    "Qi et al. (2026), Water Resour. Res., https://doi.org/10.1029/2025WR041265"
)


@dataclass(frozen=True)
class Setup:
    """What all columns have in common."""

    series: tuple[str, ...]
    maps: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    cell_dims: int
    curve: str
    parameters: tuple[str, ...]
    column: Column
    depths: tuple[float, ...]
    top: str
    bottom: str
    uptake: str
    dtype: str


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

    ds, forcing, fixed = given.ds, given.forcing, given.fixed
    for kind, name, known in (("top", top, TOPS), ("bottom", bottom, BOTTOMS), ("uptake", uptake, UPTAKES)):
        if name not in known:
            raise UnknownNameError.of(kind, name, known)
    if given.frost and top != "atmospheric":
        raise ArgumentError(f"frost='snow' with top={top!r}; expected top='atmospheric', on which snow falls")
    there = {*fixed, *(name for name in ds.variables if name not in ds.dims)}  # a dim called n or m is no parameter
    curve, given_l = curve_of(curve, CURVES, there)
    roots = ROOT_DEPTH if uptake != "none" else {}
    edges = [table[name][0] for table, name in ((ABOVE, top), (BELOW, bottom)) if name in table]
    leaves = ["lai"] if top == "atmospheric" or roots else []
    moving = (*leaves, *edges)
    stress = UPTAKES[uptake]

    wanted = [*["precipitation"] * (top == "atmospheric"), *["pet"] * bool(leaves)]
    _require_constant(given)
    series = series_of(given, wanted, ("irrigation",) if top == "atmospheric" else (), moving)
    if not series:
        require_daily(forcing, "forcing")
        days = np.zeros(forcing.sizes["time"])
        series = {"precipitation": xr.DataArray(days, dims="time")}  # counts the days
    observed = [*OBSERVATION] * ("theta_obs" in outputs)
    names = CURVES[curve]
    needed = [*names, *roots, *stress, *(name for name in moving if name not in series), *observed]
    cold = ["degree_day_factor"] * given.frost
    require_known(fixed, (*needed, *moving, *cold), f"richards with curve {curve!r}, top {top!r}, bottom {bottom!r}, "
                  f"uptake {uptake!r}")  # fmt: skip
    parameters, defaults = parameters_of(
        given, needed, {**given_l, **roots, **stress}, moving, partial(explain, curve, there)
    )
    layers = layers_of(ds, parameters)
    for name, array in parameters.items():
        if layers is not None and layers.dim in array.dims and name not in names:
            raise ArgumentError(f"parameter {name!r} varies with depth; expected one value per column")
    column = column_of(column_depth, widths, layers)
    own = () if layers is None else (layers.dim,)
    dims = dims_of(parameters, series, own)
    _require_free(dims)
    require_one_grid(given, parameters, series)
    start, told = _initial_state(initial, given, dims, column)
    below = output_depths(depths, column)

    dtype = given.dtype(series, parameters)
    maps = parameters | start
    states = _states(given)
    made = {name: _described(name, dtype) for name in outputs} | frost_results(outputs, dtype)
    setup = Setup(
        tuple(series), tuple(maps), outputs, tuple(states), len(dims), curve, names, column,
        tuple((100.0 * below).tolist()), top, bottom, uptake, dtype.str,
    )  # fmt: skip
    depth = xr.Variable("depth", below, DEPTH.attrs | {"positive": "down"})
    return ModelRun(
        step=partial(_block, setup),
        series=series,
        maps=maps,
        dims=dims,
        outputs=made,
        states=states,
        attrs={
            "model": "richards", "curve": curve, "column_depth": column.bottom, "top": top, "bottom": bottom,
            "uptake": uptake, "initial": told, **defaults,
        },
        references=REFERENCES,
        coords={"depth": depth, NODE: column.coordinate},
    )  # fmt: skip


def _require_constant(given: Given) -> None:
    """Roots that grow are those of the water balance; they must not be overlooked for a default."""
    name = "root_depth"
    if name in given.forcing.variables and name not in given.fixed and name not in given.ds.variables:
        raise ArgumentError(
            f"{name!r} is in the forcing, where model='richards' does not look; expected one value per column, in ds "
            f"or as a keyword: {name}=forcing[{name!r}].max('time')"
        )


def _require_free(dims: tuple[Hashable, ...]) -> None:
    for dim in dims:
        if dim in ("depth", NODE):
            raise GridMismatchError(
                f"the columns are on a dimension {dim!r}, the name of one of the results; rename it, for example "
                f"ds.rename({dim}='member')"
            )


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
    nodes = on_nodes(read(head.rename("h").to_dataset(), VARIABLES["h"]), column)
    require_place(nodes, given.ds, (NODE, *dims))
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
            "column_depth, widths and layers"
        )
    rows = (VARIABLES["h"], VARIABLES["theta"], VARIABLES["next_step"], BALANCE)
    found = {}
    for name, row in zip(names, rows, strict=False):
        require_place(initial[name], given.ds, (NODE, *dims))
        state = read(initial[name].rename(row.name).to_dataset(), row)
        found[f"state_{name}"] = state.transpose(*[NODE] * (NODE in state.dims), ...)
    require_place(initial["status"], given.ds, dims)
    return found | {"state_status": initial["status"]} | given.state_before(initial, dims)


def _block(
    setup: Setup,
    series: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    state: State | None,
    *,
    skip: int,
    workers: int,
) -> tuple[list[np.ndarray], State]:
    """Days of one block of columns, for `scan_time`."""
    from xsoil.kernels import richards

    outputs, dtype = setup.outputs, setup.dtype
    split = [array.ndim - setup.cell_dims for array in maps]  # own dims come first
    shape = np.broadcast_shapes(
        *(array.shape[1:] for array in series), *(a.shape[at:] for a, at in zip(maps, split, strict=True))
    )
    flat = {
        name: np.broadcast_to(array, (*array.shape[:at], *shape)).reshape(*array.shape[:at], -1)
        for name, array, at in zip(setup.maps, maps, split, strict=True)
    }
    layers = setup.column.layers
    for name in setup.parameters:
        if flat[name].ndim == 2 and layers is not None:
            flat[name] = flat[name][np.array(layers)]
    if state is not None:
        before = {
            name: array.reshape(*array.shape[: array.ndim - setup.cell_dims], -1)
            for name, array in zip(setup.states, state, strict=True)
        }
    else:
        before = {name: flat[f"state_{name}"] for name in setup.states if f"state_{name}" in flat}
    days = days_of(setup.series, series, shape)
    values: Series = {}
    if "final_snow" in setup.states:
        before["final_snow"] = store_snow(days, flat, before, values, outputs, dtype, workers)
    add_supplies(days, dtype)

    def driven(name: str | None, factor: float = 1.0) -> np.ndarray:
        constant = flat[name][None] if name in flat else np.zeros((1, 1))
        return factor * days.get(str(name), constant).astype(np.float64, copy=False)

    needed = dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs if name not in values)
    found, end, _ = richards.run(
        driven("precipitation"),
        driven("pet"),
        driven("lai"),
        [flat[name] for name in setup.parameters],
        curve=setup.curve,
        widths=setup.column.widths,
        depths=setup.depths,
        top=TOPS[setup.top],
        top_value=driven(*ABOVE.get(setup.top, (None, 1.0))),
        bottom=setup.bottom,
        bottom_value=driven(*BELOW.get(setup.bottom, (None, 1.0))),
        uptake=setup.uptake,
        root_depth=100.0 * flat["root_depth"].astype(np.float64) if "root_depth" in flat else NO_ROOTS,
        stress=[flat[name] for name in UPTAKES[setup.uptake]] or [NO_STRESS],
        initial=flat.get("initial_h", INITIAL),
        state=_kernel_state(before) if "status" in before else None,
        skip=skip,
        outputs=tuple(needed),
        dtype=np.dtype(dtype),
        workers=workers,
    )
    values = {name: array[skip:] for name, array in values.items()} | found
    if "theta_obs" in outputs:
        scale, bias = (flat[name].astype(dtype) for name in OBSERVATION)
        values["theta_obs"] = values["theta"] * scale + bias
    after: list[np.ndarray] = [*end, *(before[name] for name in setup.states[len(end) :])]
    return (
        [values[name].reshape((*values[name].shape[:-1], *shape)) for name in outputs],
        tuple(array.reshape((*array.shape[:-1], *shape)) for array in after),
    )


def _kernel_state(before: Series) -> Any:
    h, mass, step, balance, status = (
        before[name] for name in ("final_h", "final_theta", "final_next_step", "final_balance", "status")
    )
    return h, mass, step, balance, status.astype(np.uint8)
