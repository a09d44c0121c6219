"""What is learned from: observed variables, their days among those of the forcing, and which of them count."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.choices import as_table
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError
from xsoil.evaluation.splits import days_since
from xsoil.verbs._inputs import as_dataset, possible, read, require_same_grid
from xsoil.vocabulary import VARIABLES

__all__ = ["MOISTURE", "VARYING", "Observed", "errors_of", "losses_of", "observed_of", "weights_of"]

MOISTURE = ("soil_moisture", "theta_obs", "theta")
"""Names under which soil moisture is observed; the first two are seen through the observation operator."""
FLUXES = ("storage", "actual_et", "runoff", "drainage")
VARYING = ("nse", "kge")
"""Losses that constant observations do not define."""


@dataclass(frozen=True)
class Observed:
    """Observations in canonical units on (time, dims), NaN where missing or masked.

    Attributes
    ----------
    data : xr.Dataset
        By the name that the user gave them; float32, without coordinates.
    outputs : mapping of str to str
        The output of the model that each is compared with.
    days : (time,) array of int
        Position of each time in the forcing.
    dims : tuple
        Dims of the cells.
    """

    data: xr.Dataset
    outputs: Mapping[str, str]
    days: np.ndarray
    dims: tuple[Hashable, ...]

    def on(self, chosen: np.ndarray) -> Observed:
        """The times where `chosen` is True."""
        at = np.flatnonzero(chosen)
        return Observed(self.data.isel(time=at), self.outputs, self.days[at], self.dims)


def observed_of(
    observations: xr.Dataset | xr.DataArray,
    forcing: xr.Dataset,
    dims: tuple[Hashable, ...],
    *,
    weights: Mapping[str, float] | None,
    mask: xr.DataArray | None,
    warmup: int,
    operator: bool,
) -> Observed:
    """Read the observations and find their days in the forcing.

    Parameters
    ----------
    observations, forcing, dims
        As given, and the dims of the cells.
    weights : mapping, optional
        Names the variables to be used; without, there must be one.
    mask : xr.DataArray of bool, optional
        On (time and) dims of the cells: False leaves an observation out.
    warmup : int
        Days at the start of the forcing whose observations are left out.
    operator : bool
        Soil moisture is seen through obs_scale and obs_bias.
    """
    ds = as_dataset(observations)
    names = _chosen(ds, weights)
    arrays = {name: possible(read(ds, VARIABLES[name]), VARIABLES[name]).astype(np.float32) for name in names}
    for name, array in arrays.items():
        if "time" not in array.dims:
            raise TimeError(f"observed {name!r} has no dimension 'time' among {[str(d) for d in array.dims]}")
        if foreign := [str(d) for d in array.dims if d not in ("time", *dims)]:
            raise GridMismatchError(f"observed {name!r} is on {foreign}; expected time and {[str(d) for d in dims]}")
    if "time" not in ds.indexes:
        raise TimeError("the observations have no time coordinate; add the dates: ds.assign_coords(time=...)")
    times, days = days_since(ds.indexes["time"]), days_since(forcing.indexes["time"])
    if (np.diff(times) <= np.timedelta64(0, "D")).any():
        first = int(np.flatnonzero(np.diff(times) <= np.timedelta64(0, "D"))[0]) + 1
        raise TimeError(
            f"the observations are unsorted or have several times on a day, at {times[first]}; use ds.sortby('time'), "
            "and ds.resample(time='1D').mean()"
        )
    found = pd.Index(days).get_indexer(pd.Index(times))
    counts = found >= warmup
    if not counts.any():
        raise TimeError(
            f"no observation on a day of the forcing after the warm-up: observations from {times[0]} to {times[-1]}, "
            f"forcing from {days[0]} to {days[-1]}, warmup={warmup}"
        )
    if mask is not None:
        arrays = {name: _masked(array, mask, ds, dims, times) for name, array in arrays.items()}
    shape = {d: ds.sizes[d] for d in dims}
    template = xr.DataArray(np.broadcast_to(np.int8(0), tuple(shape.values())), dims=dims)
    bare = {
        name: xr.DataArray(array.variable).broadcast_like(template).transpose("time", *dims)
        for name, array in arrays.items()
    }
    seen = "theta_obs" if operator else "theta"
    outputs = {name: seen if name in MOISTURE[:2] else name for name in names}
    if len(set(outputs.values())) < len(outputs):
        raise ArgumentError(f"several observed variables for one output of the model: {outputs}; choose one of them")
    at = np.flatnonzero(counts)
    data = xr.Dataset({name: array.isel(time=at) for name, array in bare.items()})
    return Observed(data, outputs, found[at], dims)


def losses_of(loss: Any, observed: Mapping[str, str]) -> dict[str, Any]:
    """The loss of each observed variable, from one for all or one for each."""
    from xsoil.kernels.costs import OBJECTIVES

    given = dict(loss) if isinstance(loss, Mapping) else dict.fromkeys(observed, loss)
    for name in given:
        if name not in observed:
            raise UnknownNameError.of("observed variable with a loss", name, observed)
    missing = [name for name in observed if name not in given]
    if missing:
        raise ArgumentError(f"no loss for {missing[0]!r} among those of {sorted(given)}; give one for each variable")
    for one in given.values():
        if not callable(one) and one not in OBJECTIVES:
            raise UnknownNameError.of("loss", one, OBJECTIVES)
    return given


def weights_of(weights: Mapping[str, float] | None, observed: Mapping[str, str]) -> dict[str, float]:
    """The weight of each observed variable."""
    return {name: 1.0 if weights is None else float(weights[name]) for name in observed}


def errors_of(error_std: float | Mapping[str, float], observed: Mapping[str, str]) -> dict[str, float]:
    """Standard deviation of the errors of each observed variable; one number is that of soil moisture."""
    if isinstance(error_std, Mapping):
        for name in error_std:
            if name not in observed:
                raise UnknownNameError.of("observed variable with an error_std", name, observed)
    given = dict(error_std) if isinstance(error_std, Mapping) else dict.fromkeys(
        (name for name in observed if name in MOISTURE), error_std
    )  # fmt: skip
    for name in observed:
        units = VARIABLES[name].units
        if name not in given:
            example = {n: 0.02 if n in MOISTURE else 0.5 for n in observed}
            raise ArgumentError(f"no error_std of {name!r} [{units}]; give one for each variable: error_std={example}")
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
            raise ArgumentError(f"error_std={value!r} of {name!r}; expected a standard deviation above 0 [{units}]")
    return {name: float(given[name]) for name in observed}


def _chosen(ds: xr.Dataset, weights: Mapping[str, float] | None) -> list[str]:
    known = (*MOISTURE, *FLUXES)
    if weights is not None:
        for name, weight in as_table("weights", weights, "{'soil_moisture': 1.0}").items():
            if name not in known:
                raise UnknownNameError.of("observed variable", name, known)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < np.inf:
                raise ArgumentError(f"weights[{name!r}] is {weight!r}; expected a number of at least 0")
        if not any(weights.values()):
            raise ArgumentError(f"weights={dict(weights)!r}; expected at least one above 0")
        return [name for name, weight in weights.items() if weight > 0]
    found = [name for name in known if name in ds.data_vars]
    if not found:
        raise MissingVariableError(
            f"no observed variable among {sorted(map(str, ds.data_vars))}; expected 'soil_moisture', or one of "
            f"{known}: use ds.rename(...)"
        )
    if len(found) > 1:
        example = dict.fromkeys(found, 1.0)
        raise ArgumentError(f"several observed variables, {found}; say which, and their weights: weights={example}")
    return found


def _masked(
    array: xr.DataArray, mask: xr.DataArray, ds: xr.Dataset, dims: tuple[Hashable, ...], times: np.ndarray
) -> xr.DataArray:
    if not isinstance(mask, xr.DataArray) or mask.dtype != bool:
        found = mask.dtype if isinstance(mask, xr.DataArray) else type(mask).__name__
        raise ArgumentError(f"mask is {found}; expected a DataArray of bool, True where an observation counts")
    if foreign := [str(d) for d in mask.dims if d not in ("time", *dims)]:
        raise GridMismatchError(f"mask is on {foreign}; expected time and {[str(d) for d in dims]}")
    require_same_grid(ds, mask, "mask")
    if "time" in mask.dims:
        if "time" not in mask.indexes:
            raise TimeError("mask has no time coordinate; add the dates: mask.assign_coords(time=...)")
        at = pd.Index(days_since(mask.indexes["time"])).get_indexer(pd.Index(times))
        if (at < 0).any():
            raise TimeError(
                f"mask lacks days of the observations, the first is {times[at < 0][0]}; expected all of them"
            )
        mask = mask.isel(time=at)
    bare = xr.DataArray(mask.variable)
    return xr.DataArray(array.variable).where(bare)
