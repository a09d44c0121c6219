"""`simulate`: soil moisture from parameters and forcing; `final_state`: where the run stopped."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._results import carry_grid_mapping, coordinates, flag_attrs
from xsoil.verbs._simulate_inputs import (
    DEGREE_DAY_FACTOR,
    FORCING,
    dims_of,
    initial_state,
    parameters_of,
    require_one_grid,
    series_of,
)
from xsoil.verbs._water_balance import EXCHANGE, block
from xsoil.vocabulary import VARIABLES

__all__ = ["final_state", "simulate"]

OUTPUTS = ("theta", "theta_obs", "storage", "actual_et", "runoff", "drainage")
FROST_OUTPUTS = ("snow", "frozen")
MODELS = ("water_balance",)
REFERENCE = "Li et al. (2024), Water Resour. Res., https://doi.org/10.1029/2023WR035543"
CELL_METHODS = {"theta": "time: point", "theta_obs": "time: point", "storage": "time: point", "snow": "time: point"}


def simulate(
    ds: xr.Dataset | xr.DataArray,
    forcing: xr.Dataset,
    model: str = "water_balance",
    *,
    initial: float | xr.DataArray | xr.Dataset | None = None,
    warmup: int = 0,
    outputs: str | Sequence[str] = ("theta",),
    substeps: int = 24,
    frost: Literal["snow"] | None = None,
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
        dims; those it lacks are broadcast), one value a day without a gap, in any order of dims. Where it also holds
        `irrigation` or `capillary_rise` [mm d-1], these are added to the rain; `crop_coefficient` and `root_depth` on
        time take the place of those in `ds`.
    model : {"water_balance"}
        The model.
    initial : float, xr.DataArray or xr.Dataset, optional
        Soil moisture before the first day: a number [m3 m-3], a map with units, or the `final_state` of another run,
        which this run continues bit for bit. Clipped to theta_wp and theta_s, and then flagged. Field capacity by
        default. Its root depth and snow (below) are only known from a `final_state`.
    warmup : int
        Days at the start that are run but not returned.
    outputs : str or sequence of str
        Of `theta`, `theta_obs` (= obs_scale theta + obs_bias) [m3 m-3] and `storage` [mm], at the end of the day;
        `actual_et`, `runoff`, `drainage` [mm d-1]; with a root depth on time `root_zone_exchange` [mm d-1]; with
        `frost` `snow` [mm, end of the day] and `frozen` [CF `flag_masks`: freezing, snow_covered]. Only these are
        computed.
    substeps : int
        Steps a day.
    frost : {None, "snow"}
        "snow": precipitation of days at or below 0 degC lies as snow, above 0 degC melts by `degree_day_factor`
        [mm degC-1 d-1] (in `ds` or as a keyword, 4 by default [3]_) and enters the soil with the rain. Needs
        `air_temperature` in the forcing; `soil_temperature`, where given, tells whether the ground is freezing (at or
        below 0 degC), and stands in for a missing `air_temperature`. Nothing else is changed by frost: `frozen` marks
        the days that a comparison with satellites leaves out.
    **fixed : float or xr.DataArray
        Parameters that `ds` lacks (or to be used instead of its own): numbers in the units above, or maps with units;
        `crop_coefficient` and `root_depth` also on the days of the forcing.

    Returns
    -------
    xr.Dataset
        The outputs on (time, dims of the parameters), with the coordinates, attributes and grid mapping of `ds`;
        `final_theta`, the state after the last day, in double precision because that is how it is carried (also
        `final_snow` with `frost`, `final_root_depth` with a root depth on time); `status` [CF `flag_masks`]: missing
        parameter, impossible parameters (expected 1 >= theta_s > theta_fc > theta_wp >= 0, k_sat > 0, root_depth > 0, 0
        <= depletion_fraction < 1, crop_coefficient >= 0, degree_day_factor >= 0), missing or negative forcing, initial
        state clipped or missing. A cell with such parameters or without initial state is NaN, one with such forcing is
        NaN from that day on; so is one with an impossible parameter on that day. In `attrs`: model, substeps, warmup,
        initial state, parameters given as numbers, optional series that were used.

        The balance of a day, to round-off: storage and snow change by precipitation + irrigation + capillary_rise
        + root_zone_exchange - actual_et - runoff - drainage. `root_zone_exchange` is the water of the soil that joins
        the root zone as it deepens, or (negative) that of the soil it leaves, at the start of the day and at the water
        content of the root zone, so that theta does not change by it.

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
        An argument outside its range, e.g. a warmup as long as the forcing; an output without the option that makes it;
        a parameter on time that may not be.

    See Also
    --------
    final_state : the state to continue from.

    References
    ----------
    .. [1] Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    .. [2] Allen et al. (1998), Crop evapotranspiration, FAO Irrigation and Drainage Paper 56.
    .. [3] Fontrodona-Bach et al. (2026), Hydrol. Earth Syst. Sci. 30, 2613, doi:10.5194/hess-30-2613-2026: melt factors
       of 3 to 5 mm degC-1 d-1 for deep snow, and 0 degC as the threshold of 89 % of the days of snowfall.

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
    if frost not in (None, "snow"):
        raise UnknownNameError.of("frost", frost, ("snow",))
    ds, forcing = as_dataset(ds), as_dataset(forcing)
    wanted = _outputs(outputs)
    steps, skip = _whole("substeps", substeps, 1), _whole("warmup", warmup, 0)
    cold = frost is not None
    series = series_of(forcing, fixed, frost=cold)
    parameters = parameters_of(ds, fixed, series, observed="theta_obs" in wanted, frost=cold)
    moving = "root_depth" in series
    _require_made(wanted, cold, moving)
    days = forcing.sizes["time"]
    if skip >= days:
        raise ArgumentError(f"warmup={skip}, but the forcing has {days} days; expected fewer")
    dims = dims_of(parameters, series)
    require_one_grid(ds, fixed, parameters, series, forcing)
    start = initial_state(initial, ds, dims, frost=cold, moving=moving)

    dtype = np.result_type(np.float32, *(a.dtype for a in (*series.values(), *parameters.values()) if a.ndim))
    maps = parameters | start
    states: dict[str, np.dtype] = {"final_theta": np.dtype(np.float64), "status": np.dtype(np.uint8)}
    more = {"final_snow": cold, "final_root_depth": moving}
    states |= {name: np.dtype(np.float64) for name, there in more.items() if there}
    step = partial(block, tuple(series), tuple(maps), wanted, tuple(states), steps, np.dtype(dtype).str)
    values, ends = scan_time(
        step,
        [Named(array.data, array.dims) for array in series.values()],
        [Named(array.data, array.dims) for array in maps.values()],
        dims,
        outputs={name: np.dtype(np.uint8 if name == "frozen" else dtype) for name in wanted},
        states=states,
        skip=skip,
    )

    last = forcing.indexes["time"][-1]
    data = {
        name: (("time", *dims), array, VARIABLES[name].attrs | {"cell_methods": CELL_METHODS.get(name, "time: mean")})
        for name, array in zip(wanted, values, strict=True)
    }
    if "frozen" in data:
        data["frozen"][2].update(flag_attrs({"freezing": 1, "snow_covered": 2}), cell_methods="time: point")
    for name, array in zip(states, ends, strict=True):
        if name == "status":
            data[name] = (dims, array, {"long_name": "status of the simulation"} | flag_attrs(_status()))
        else:
            own = VARIABLES[name.removeprefix("final_")].attrs
            end = {"long_name": f"{own['long_name']} at the end of the run", "end_time": str(last)}
            data[name] = (dims, array, own | end)
    numbers_used = {name: float(value) for name, value in fixed.items() if not isinstance(value, xr.DataArray)}
    maps_used = " ".join(name for name, value in fixed.items() if isinstance(value, xr.DataArray))
    attrs = {"model": model, "substeps": steps, "warmup": skip, "initial": _describe(initial), **numbers_used}
    optional = " ".join(name for name in series if name not in FORCING)
    if optional:
        attrs["optional_series"] = optional
    if cold:
        attrs |= {"frost": "snow"}
        if "degree_day_factor" not in {*fixed, *ds.variables}:
            attrs["degree_day_factor"] = DEGREE_DAY_FACTOR
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
        Result of `simulate` or `rootzone`, also after it was written and read.

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
            f"no end state (final_theta) among {sorted(map(str, ds.data_vars))}; "
            "expected a result of simulate or rootzone"
        )
    return ds[names]


def _outputs(outputs: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([outputs] if isinstance(outputs, str) else outputs))
    for name in names:
        if name not in (known := (*OUTPUTS, EXCHANGE, *FROST_OUTPUTS)):
            raise UnknownNameError.of("output", name, known)
    return names


def _require_made(outputs: tuple[str, ...], frost: bool, moving: bool) -> None:
    """Raise where an output is asked for that this run does not make."""
    for name in outputs:
        if name in FROST_OUTPUTS and not frost:
            raise ArgumentError(f"output {name!r} needs frost='snow', found frost=None")
        if name == EXCHANGE and not moving:
            raise ArgumentError(f"output {name!r} needs a root_depth on time, found one without")


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(f"{name}={value!r}; expected a whole number of at least {least}")
    return number


def _describe(initial: object) -> str | float:
    if initial is None:
        return "field capacity"
    return "given as a map" if isinstance(initial, (xr.DataArray, xr.Dataset)) else float(initial)  # type: ignore[arg-type]


def _status() -> Mapping[str, int]:
    from xsoil.kernels.water_balance import FLAGS

    return FLAGS
