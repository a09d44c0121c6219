"""What `simulate` returns: a model's run through the scan, described."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import GridMismatchError
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._results import carry_grid_mapping, coordinates, flag_attrs
from xsoil.verbs._simulate_inputs import Given
from xsoil.vocabulary import VARIABLES

__all__ = ["FROST_OUTPUTS", "Made", "ModelRun", "described", "frost_results", "results", "state_of"]

FROST_OUTPUTS = ("snow", "frozen")
USUAL_FORCING = ("precipitation", "pet", "lai")


@dataclass(frozen=True)
class Made:
    """Type and attributes of a result, and the dims before those of the cells that it has."""

    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    own: tuple[str, ...] = ()

    @classmethod
    def of_flags(cls, long_name: str, masks: Mapping[str, int]) -> Made:
        """Bit flags of one byte."""
        return cls(np.dtype(np.uint8), {"long_name": long_name} | flag_attrs(masks))

    def sized(self, coords: Mapping[str, xr.Variable]) -> np.dtype[Any]:
        """The type with the sizes of its own dims, as `scan_time` takes it."""
        return np.dtype((self.dtype, tuple(coords[dim].size for dim in self.own)))


@dataclass(frozen=True)
class ModelRun:
    """What a model asks of `scan_time`, and what its results are.

    Parameters
    ----------
    step : callable
        That of `scan_time`; series, maps, outputs and states come in the order of these mappings.
    series, maps : mapping of str to xr.DataArray
        In canonical units.
    dims : tuple
        Of the cells.
    outputs, states : mapping of str to Made
        Series and end states.
    attrs : mapping
        What the result records.
    references : str
        Where the model comes from.
    coords : mapping of str to xr.Variable
        Coordinates of the dims that are not those of cells, under their names; and others to go with them.
    """

    step: Callable[..., Any]
    series: Mapping[str, xr.DataArray]
    maps: Mapping[str, xr.DataArray]
    dims: tuple[Hashable, ...]
    outputs: Mapping[str, Made]
    states: Mapping[str, Made]
    attrs: Mapping[str, Any]
    references: str
    coords: Mapping[str, xr.Variable] = field(default_factory=dict)


def described(name: str, dtype: np.dtype[Any], at_the_end_of_a_day: Collection[str], own: tuple[str, ...] = ()) -> Made:
    """A series of the vocabulary."""
    method = "time: point" if name in at_the_end_of_a_day else "time: mean"
    return Made(dtype, VARIABLES[name].attrs | {"cell_methods": method}, own)


def frost_results(outputs: Collection[str], dtype: np.dtype[Any]) -> dict[str, Made]:
    """Those of `outputs` that snow makes."""
    point = {"cell_methods": "time: point"}
    flags = Made.of_flags("frozen or snow-covered ground", {"freezing": 1, "snow_covered": 2})
    both = {
        "snow": Made(dtype, VARIABLES["snow"].attrs | point),
        "frozen": Made(flags.dtype, {**VARIABLES["frozen"].attrs, **flags.attrs, **point}),
    }
    return {name: made for name, made in both.items() if name in outputs}


def state_of(name: str, last: str, own: tuple[str, ...] = ()) -> Made:
    """The end state of a quantity, in double precision because that is how it is carried."""
    attrs = VARIABLES[name].attrs
    end = {"long_name": f"{attrs['long_name']} at the end of the run", "end_time": last}
    return Made(np.dtype(np.float64), attrs | end, own)


def results(run: ModelRun, given: Given, skip: int) -> xr.Dataset:
    """Run the model, and give its results coordinates, attributes and grid mapping."""
    for dim in run.dims:
        if dim in {*run.outputs, *run.states, *run.coords}:
            raise GridMismatchError(
                f"the cells are on a dimension {dim!r}, the name of one of the results; rename it, for example "
                f"ds.rename({dim}='cell')"
            )
    values, ends = scan_time(
        run.step,
        [Named(array.data, array.dims) for array in run.series.values()],
        [Named(array.data, array.dims) for array in run.maps.values()],
        run.dims,
        outputs={name: made.sized(run.coords) for name, made in run.outputs.items()},
        states={name: made.sized(run.coords) for name, made in run.states.items()},
        skip=skip,
    )
    data = {
        name: (("time", *made.own, *run.dims), array, made.attrs)
        for (name, made), array in zip(run.outputs.items(), values, strict=True)
    }
    data |= {
        name: ((*made.own, *run.dims), array, made.attrs)
        for (name, made), array in zip(run.states.items(), ends, strict=True)
    }
    attrs: dict[str, Any] = {**run.attrs, "warmup": skip}
    attrs |= {name: float(value) for name, value in given.fixed.items() if not isinstance(value, xr.DataArray)}
    if maps := " ".join(name for name, value in given.fixed.items() if isinstance(value, xr.DataArray)):
        attrs["parameters_given_as_maps"] = maps
    if optional := " ".join(name for name in run.series if name not in USUAL_FORCING):
        attrs["optional_series"] = optional
    if given.frost:
        attrs["frost"] = "snow"
    ds, forcing = (_without(source, run.coords) for source in (given.ds, given.forcing))
    steady = coordinates((ds, run.dims), (forcing.isel(time=slice(skip, None)), ("time", *run.dims)))
    out = steady.assign_coords(run.coords).assign(data)
    out = out.assign_attrs(given.ds.attrs | attrs | {"references": run.references})
    return carry_grid_mapping(out, given.ds, given.forcing)


def _without(ds: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """The dataset without dims and coordinates that the results have as their own."""
    return ds.drop_dims([name for name in names if name in ds.dims]).drop_vars(names, errors="ignore")
