"""`simulate`: soil moisture from parameters and forcing; `final_state`: where the run stopped."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import (
    ArgumentError,
    GridMismatchError,
    MissingVariableError,
    TimeError,
    UnknownNameError,
)
from xsoil.verbs._inputs import as_dataset, numbers, read, require_daily, require_same_grid
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._places import require_inside
from xsoil.verbs._results import carry_grid_mapping, coordinates
from xsoil.vocabulary import VARIABLES

__all__ = ["final_state", "simulate"]

PARAMETERS = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
OBSERVATION = ("obs_scale", "obs_bias")
FORCING = ("precipitation", "pet")
OUTPUTS = ("theta", "theta_obs", "storage", "actual_et", "runoff", "drainage")
MODELS = ("water_balance",)
# Values of Li et al. (2024), shown where a parameter is missing.
LI_VALUES = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
REFERENCE = "Li et al. (2024), Water Resour. Res., https://doi.org/10.1029/2023WR035543"
CELL_METHODS = {"theta": "time: point", "theta_obs": "time: point", "storage": "time: point"}


def simulate(
    ds: xr.Dataset | xr.DataArray,
    forcing: xr.Dataset,
    model: str = "water_balance",
    *,
    initial: float | xr.DataArray | xr.Dataset | None = None,
    warmup: int = 0,
    outputs: str | Sequence[str] = ("theta",),
    substeps: int = 24,
    **fixed: float | xr.DataArray,
) -> xr.Dataset:
    """Simulate daily soil moisture of independent cells.

    The water balance of the root zone [1]_ with the stress function of FAO-56 [2]_, in `substeps` explicit steps a
    day, each with its share of the day's rain and demand: rain; what exceeds saturation runs off at once;
    evapotranspiration K_s K_c PET with K_s from the water before the rain; of what is left above field capacity the
    share 1 - exp(-k) drains, k = k_sat / (root_depth (theta_s - theta_fc)) / substeps. Every cell closes its balance
    to round-off.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Parameters on any dims without time (maps, pixels, sites), each with `units`: `theta_s`, `theta_fc`, `theta_wp`
        [m3 m-3], `k_sat` [cm d-1], `root_depth` [m], `depletion_fraction`, `crop_coefficient` [1]; for the output
        `theta_obs` also `obs_scale` [1], `obs_bias` [m3 m-3].
    forcing : xr.Dataset
        `precipitation`, `pet` [mm d-1, or any units of the vocabulary; "mm" is that of the day] on (time, the same
        dims; those it lacks are broadcast), one value a day without a gap, in any order of dims.
    model : {"water_balance"}
        The model.
    initial : float, xr.DataArray or xr.Dataset, optional
        Soil moisture before the first day: a number [m3 m-3], a map with units, or the `final_state` of another run,
        which this run continues bit for bit. Clipped to theta_wp and theta_s, and then flagged. Field capacity by
        default.
    warmup : int
        Days at the start that are run but not returned.
    outputs : str or sequence of str
        Of `theta`, `theta_obs` (= obs_scale theta + obs_bias) [m3 m-3] and `storage` [mm], at the end of the day;
        `actual_et`, `runoff`, `drainage` [mm d-1]. Only these are computed.
    substeps : int
        Steps a day.
    **fixed : float or xr.DataArray
        Parameters that `ds` lacks (or to be used instead of its own): numbers in the units above, or maps with units.

    Returns
    -------
    xr.Dataset
        The outputs on (time, dims of the parameters), with the coordinates, attributes and grid mapping of `ds`;
        `final_theta`, the state after the last day, in double precision because that is how it is carried; `status`
        [CF `flag_masks`]: missing parameter, impossible parameters (expected 1 >= theta_s > theta_fc > theta_wp >= 0,
        k_sat > 0, root_depth > 0, 0 <= depletion_fraction < 1, crop_coefficient >= 0), missing or negative forcing,
        initial state clipped or missing. A cell with such parameters or without initial state is NaN, one with such
        forcing is NaN from that day on. In `attrs`: model, substeps, warmup, initial state and parameters given as
        numbers.

        float32 where forcing and parameter maps are (then the steps of a day run in single precision on differences
        from its start: theta within 3e-6 of a float64 run), else float64. Lazy as soon as one input is, with one task
        per block of the (unified) chunks in time and space; the chunks change nothing in the numbers. A task
        holds its blocks of forcing and outputs.

    Raises
    ------
    MissingVariableError
        Parameters or forcing are missing; the message shows the keywords.
    UnitsError
        No or unknown units.
    TimeError
        Forcing without time, unsorted, not daily or with a gap.
    GridMismatchError
        Forcing, initial state or a parameter map on another grid than `ds`.
    UnknownNameError
        Unknown model, output or keyword.
    ArgumentError
        An argument outside its range, e.g. a warmup as long as the forcing.

    See Also
    --------
    final_state : the state to continue from.

    References
    ----------
    .. [1] Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    .. [2] Allen et al. (1998), Crop evapotranspiration, FAO Irrigation and Drainage Paper 56.

    Examples
    --------
    >>> import pandas as pd
    >>> import xarray as xr
    >>> import xsoil
    >>> rate, days = {"units": "mm d-1"}, pd.date_range("2020-06-01", periods=3)
    >>> forcing = xr.Dataset(
    ...     {"precipitation": ("time", [0.0, 12.0, 0.0], rate), "pet": ("time", [4.0, 2.0, 4.0], rate)}, {"time": days}
    ... )
    >>> k_sat = xr.Dataset({"k_sat": ("site", [36.4], {"units": "cm d-1"})})
    >>> li2024 = dict(
    ...     theta_s=0.5, theta_fc=0.2, theta_wp=0.078, root_depth=1.0, depletion_fraction=0.1, crop_coefficient=0.5
    ... )
    >>> xsoil.simulate(k_sat, forcing, **li2024).theta.round(4).values.ravel()
    array([0.198 , 0.2056, 0.2005])
    """
    if model not in MODELS:
        raise UnknownNameError.of("model", model, MODELS)
    ds, forcing = as_dataset(ds), as_dataset(forcing)
    wanted = _outputs(outputs)
    steps, skip = _whole("substeps", substeps, 1), _whole("warmup", warmup, 0)
    parameters = _parameters(ds, fixed, wanted)
    series = {name: read(forcing, VARIABLES[name]) for name in FORCING}
    for name, array in series.items():
        require_daily(array, f"forcing {name!r}")
    days = forcing.sizes["time"]
    if skip >= days:
        raise ArgumentError(f"warmup={skip}, but the forcing has {days} days; expected fewer")
    dims = _dims(parameters, series)
    _require_one_grid(ds, fixed, parameters, forcing)
    start = _initial(initial, ds, dims)

    dtype = np.result_type(np.float32, *(a.dtype for a in (*series.values(), *parameters.values()) if a.ndim))
    maps = dict(parameters) | ({} if start is None else {"initial": start})
    step = partial(_water_balance, tuple(maps), wanted, steps, np.dtype(dtype).str)
    values, states = scan_time(
        step,
        [Named(array.data, array.dims) for array in series.values()],
        [Named(array.data, array.dims) for array in maps.values()],
        dims,
        outputs=dict.fromkeys(wanted, np.dtype(dtype)),
        states={"final_theta": np.dtype(np.float64), "status": np.dtype(np.uint8)},
        skip=skip,
    )

    last = forcing.indexes["time"][-1]
    data = {
        name: (("time", *dims), array, VARIABLES[name].attrs | {"cell_methods": CELL_METHODS.get(name, "time: mean")})
        for name, array in zip(wanted, values, strict=True)
    }
    theta = VARIABLES["theta"].attrs
    end = {"long_name": f"{theta['long_name']} at the end of the run", "end_time": str(last)}
    data["final_theta"] = (dims, states[0], theta | end)
    data["status"] = (dims, states[1], _status_attrs())
    numbers_used = {name: float(value) for name, value in fixed.items() if not isinstance(value, xr.DataArray)}
    maps_used = " ".join(name for name, value in fixed.items() if isinstance(value, xr.DataArray))
    attrs = {"model": model, "substeps": steps, "warmup": skip, "initial": _describe(initial), **numbers_used}
    if maps_used:
        attrs["parameters_given_as_maps"] = maps_used
    steady = coordinates((ds, dims), (forcing.isel(time=slice(skip, None)), ("time", *dims)))
    out = steady.assign(data).assign_attrs(ds.attrs | attrs | {"references": REFERENCE})
    return carry_grid_mapping(out, ds, forcing)


def final_state(ds: xr.Dataset) -> xr.Dataset:
    """The state at the end of a run, to be given to another as `initial`.

    Parameters
    ----------
    ds : xr.Dataset
        Result of `simulate`, also after it was written and read.

    Returns
    -------
    xr.Dataset
        Its variables `final_*`, without time.

    Raises
    ------
    MissingVariableError
        Where there are none.

    Examples
    --------
    >>> import xsoil
    >>> grid = xsoil.ease_grid("EASE2_M36km", (5, 45, 8, 47))
    >>> soil = xsoil.data.synthetic_soil(grid).soil.ptf("saxton_rawls2006")
    >>> weather = xsoil.data.synthetic_forcing(grid, ("2019-12-30", "2020-01-02"))
    >>> fixed = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}
    >>> first = soil.soil.simulate(weather.sel(time="2019"), **fixed)
    >>> second = soil.soil.simulate(weather.sel(time="2020"), initial=first.soil.final_state(), **fixed)
    >>> whole = soil.soil.simulate(weather, **fixed)
    >>> bool((second.theta == whole.theta.sel(time="2020")).all())
    True
    """
    names = [name for name in ds.data_vars if str(name).startswith("final_")]
    if not names:
        raise MissingVariableError(
            f"no end state (final_theta) among {sorted(map(str, ds.data_vars))}; expected a result of simulate"
        )
    return ds[names]


def _water_balance(
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    substeps: int,
    dtype: str,
    series: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    state: tuple[np.ndarray, ...] | None,
    *,
    skip: int,
    workers: int,
) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """Days of one block of cells, for `scan_time`."""
    from xsoil.kernels import water_balance

    shape = np.broadcast_shapes(*(array.shape[1:] for array in series), *(array.shape for array in maps))
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in zip(names, maps, strict=True)}
    # Forcing that is the same for all cells stays one column.
    forcing = [
        (array if array[:1].size == 1 else np.broadcast_to(array, (array.shape[0], *shape))).reshape(array.shape[0], -1)
        for array in series
    ]
    needed = dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs)
    values, (theta, status) = water_balance.run(
        forcing[0],
        forcing[1],
        [flat[name] for name in PARAMETERS],
        initial=flat.get("initial"),
        state=None if state is None else (state[0].reshape(-1), state[1].reshape(-1)),
        substeps=substeps,
        skip=skip,
        outputs=tuple(needed),
        dtype=np.dtype(dtype),
        workers=workers,
    )
    if "theta_obs" in outputs:
        scale, bias = (flat[name].astype(dtype) for name in OBSERVATION)
        values["theta_obs"] = values["theta"] * scale + bias
    return [values[name].reshape(-1, *shape) for name in outputs], (theta.reshape(shape), status.reshape(shape))


def _outputs(outputs: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([outputs] if isinstance(outputs, str) else outputs))
    for name in names:
        if name not in OUTPUTS:
            raise UnknownNameError.of("output", name, OUTPUTS)
    return names


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(f"{name}={value!r}; expected a whole number of at least {least}")
    return number


def _parameters(
    ds: xr.Dataset, fixed: Mapping[str, float | xr.DataArray], outputs: tuple[str, ...]
) -> dict[str, xr.DataArray]:
    """All parameters in canonical units, or the error that shows how to give the missing ones."""
    known = (*PARAMETERS, *OBSERVATION)
    for name, value in fixed.items():
        if name not in known:
            raise UnknownNameError.of("keyword", name, (*known, "initial", "warmup", "outputs", "substeps"))
        if not isinstance(value, xr.DataArray) and (np.ndim(value) or np.asarray(value).dtype.kind not in "fiu"):
            units = VARIABLES[name].units
            raise ArgumentError(f"{name}={value!r}; expected a number in {units!r}, or a DataArray with units")
    needed = known if "theta_obs" in outputs else PARAMETERS
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
    given = numbers({name: value for name, value in fixed.items() if name in needed})
    found = {name: read(given if name in given else ds, VARIABLES[name]) for name in needed}
    for name, array in found.items():
        if "time" in array.dims:
            raise ArgumentError(f"parameter {name!r} varies with time; expected one value per cell: .isel(time=0)")
    return found


def _dims(parameters: Mapping[str, xr.DataArray], series: Mapping[str, xr.DataArray]) -> tuple[Hashable, ...]:
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


def _require_one_grid(
    ds: xr.Dataset,
    fixed: Mapping[str, float | xr.DataArray],
    parameters: Mapping[str, xr.DataArray],
    forcing: xr.Dataset,
) -> None:
    own = ds[[name for name in parameters if name in ds.variables and name not in fixed]]
    given = [(f"parameter {name!r}", value) for name, value in fixed.items() if isinstance(value, xr.DataArray)]
    places: list[tuple[str, xr.Dataset | xr.DataArray]] = [
        ("parameters", own),
        *given,
        ("forcing", forcing[list(FORCING)]),
    ]
    for (_, one), (what, other) in itertools.combinations(places, 2):
        require_same_grid(one, other, what)
    for (name, one), (what, other) in itertools.permutations(places, 2):
        require_inside(one, name, other, what)


def _initial(
    initial: float | xr.DataArray | xr.Dataset | None, ds: xr.Dataset, dims: tuple[Hashable, ...]
) -> xr.DataArray | None:
    """Soil moisture before the first day in m3 m-3; None for field capacity."""
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
    require_same_grid(ds, initial, "initial")
    unknown = [str(dim) for dim in initial.dims if dim not in dims]
    if unknown:
        raise GridMismatchError(f"initial is on {unknown}, expected the dims of the run {[str(d) for d in dims]}")
    return read(initial.rename("theta").to_dataset(), VARIABLES["theta"])


def _describe(initial: object) -> str | float:
    if initial is None:
        return "field capacity"
    return "given as a map" if isinstance(initial, (xr.DataArray, xr.Dataset)) else float(initial)  # type: ignore[arg-type]


def _status_attrs() -> dict[str, Any]:
    from xsoil.kernels.water_balance import FLAGS

    return {
        "long_name": "status of the simulation",
        "flag_masks": np.array(list(FLAGS.values()), np.uint8),
        "flag_meanings": " ".join(FLAGS),
    }
