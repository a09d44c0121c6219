"""The days of one block of Richards columns: from variables and options to the arguments of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xsoil.verbs._simulate_inputs import OBSERVATION
from xsoil.verbs._soil_columns import Column
from xsoil.verbs._weather import Series, State, add_supplies, days_of, store_snow

__all__ = ["ABOVE", "BELOW", "BOTTOMS", "TOPS", "Setup", "days_of_columns"]

# Names of the kernel, and the variable that a boundary takes with its factor to cm.
TOPS = {"atmospheric": "atmosphere", "flux": "flux", "head": "head"}
BOTTOMS = ("free_drainage", "head", "zero_flux", "water_table")
ABOVE = {"flux": ("top_flux", 0.1), "head": ("top_head", 1.0)}
BELOW = {"head": ("bottom_head", 1.0), "water_table": ("water_table_depth", 100.0)}
# What the kernel is given where there are no roots, and does not look at.
NO_ROOTS, NO_STRESS = 1.0, -1.0


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
    stress: tuple[str, ...]
    dtype: str


def days_of_columns(
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
        stress=[flat[name] for name in setup.stress] or [NO_STRESS],
        initial=flat.get("initial_h", 0.0),
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
