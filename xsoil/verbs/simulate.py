"""`simulate`: soil moisture from parameters and forcing; `final_state`: where the run stopped."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Literal

import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.verbs import _richards, _water_balance
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._richards import richards_run
from xsoil.verbs._simulate_inputs import Given
from xsoil.verbs._simulate_results import FROST_OUTPUTS, results
from xsoil.verbs._soil_columns import COLUMN_DEPTH
from xsoil.verbs._water_balance import water_balance_run

__all__ = ["OUTPUTS", "final_state", "simulate"]

OUTPUTS = {"water_balance": _water_balance.OUTPUTS, "richards": _richards.OUTPUTS}
SUBSTEPS = 24


def simulate(
    ds: xr.Dataset | xr.DataArray,
    forcing: xr.Dataset,
    model: Literal["water_balance", "richards"] = "water_balance",
    *,
    initial: float | xr.DataArray | xr.Dataset | Mapping[str, float | xr.DataArray] | None = None,
    warmup: int = 0,
    outputs: str | Sequence[str] = ("theta",),
    substeps: int = SUBSTEPS,
    curve: str | None = None,
    depths: float | Sequence[float] | None = None,
    column_depth: float = COLUMN_DEPTH,
    widths: Sequence[float] | None = None,
    top: Literal["atmospheric", "flux", "head"] = "atmospheric",
    bottom: Literal["free_drainage", "head", "zero_flux", "water_table"] = "free_drainage",
    uptake: Literal["s_shaped", "feddes", "none"] = "s_shaped",
    frost: Literal["snow"] | None = None,
    **fixed: float | xr.DataArray,
) -> xr.Dataset:
    """Simulate daily soil moisture of independent cells: a water balance, or Richards columns.

    "water_balance": the water balance of the root zone [1]_ with the stress function of FAO-56 [2]_, in `substeps`
    explicit steps a day, each with its share of the day's rain and demand: rain; what exceeds saturation runs off at
    once; evapotranspiration K_s K_c PET with K_s from the water before the rain; of what is left above field capacity
    the share 1 - exp(-k) drains, k = k_sat / (root_depth (theta_s - theta_fc)) / substeps.

    "richards": d theta / dt = d/dz [K (dh/dz + 1)] - uptake in a column of soil, in the mixed form [4]_, with steps
    of its own; roots take up what the demand PET (1 - exp(-0.39 lai)) and their stress allow, at depths of a linear
    root distribution [5]_; the surface evaporates the rest of PET, takes rain up to what it can, and the rest runs off.

    Every cell closes its balance: the water balance to round-off, Richards columns to 1e-6 of what moved.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Parameters on any dims without time (maps, pixels, sites), each with `units`. Water balance: `theta_s`,
        `theta_fc`, `theta_wp` [m3 m-3], `k_sat` [cm d-1], `root_depth` [m], `depletion_fraction`, `crop_coefficient`
        [1]. Richards: those of the `curve`; `root_depth` [m], 0.4 by default; those of the `uptake`. A curve's
        parameters may also have a dimension of depths: layers (CF bounds of `depth`, or `depth_top` and
        `depth_bottom`), which must cover the column, or points, each for the soil nearest to it. For the output
        `theta_obs` also `obs_scale` [1], `obs_bias` [m3 m-3].
    forcing : xr.Dataset
        `precipitation`, `pet` [mm d-1, or any units of the vocabulary; "mm" is that of the day], for Richards also
        `lai` [1], on (time, the same dims; those it lacks are broadcast), one value a day without a gap, in any order
        of dims. Where it also holds `irrigation` [mm d-1], this is added to the rain. Water balance only:
        `capillary_rise` [mm d-1] is added too, and `crop_coefficient` and `root_depth` on time take the place of those
        in `ds`.
    model : {"water_balance", "richards"}
        The model.
    initial : float, xr.DataArray, xr.Dataset or mapping, optional
        The state before the first day. The `final_state` of another run is continued bit for bit, `status` too.
        Else, water balance: soil moisture, a number [m3 m-3] or a map with units, clipped to
        theta_wp and theta_s and then flagged; field capacity by default. Its root depth and snow (below) are
        only known from a `final_state`. Richards: ``{"h": ...}``, the pressure head, a number [cm] or a DataArray with
        units, a map or a profile over `depth` (linear between, constant beyond its depths; so are the `final_h` of
        other cells); -100 cm by default.
    warmup : int
        Days at the start that are run but not returned.
    outputs : str or sequence of str
        At the end of the day `theta`, `theta_obs` (= obs_scale theta + obs_bias) [m3 m-3] and `storage` [mm];
        `actual_et`, `runoff`, `drainage` [mm d-1]; with `frost` `snow` [mm, end of the day] and `frozen` [CF
        `flag_masks`: freezing, snow_covered]. Water balance with a root depth on time: `root_zone_exchange` [mm d-1].
        Richards: theta, theta_obs and `h` [cm] at the `depths`; `inflow` through the surface and `uptake` by roots
        [mm d-1]; `balance`, the storage less all that came and went since the start [mm]; `steps` and `iterations` of
        the day. Only these are computed; `status` always is.
    substeps : int
        Water balance: steps a day.
    curve : str, optional
        Richards: "van_genuchten" (`theta_r`, `theta_s`, `alpha` [cm-1], `n`, `k_sat`; `l`, 0.5 by default; m = 1 -
        1/n), "fredlund_xing_wang" (`theta_s`, `alpha`, `n`, `m`, `k_sat` [5]_), "brooks_corey" (`theta_r`, `theta_s`,
        `psi_s` [cm, negative], `lambda`, `k_sat`), "campbell" or "clapp_hornberger" (`theta_s`, `psi_s`, `b`, `k_sat`),
        "gardner" (`theta_r`, `theta_s`, `alpha`, `k_sat`), "haverkamp" (`theta_r`, `theta_s`, `a`, `beta`, `k_sat`,
        `k_a`, `gamma`). By default the one whose parameters are there; "gardner", which might be van Genuchten's
        without n, must be named.
    depths : float or sequence of float, optional
        Richards: depths of theta and h [m], by default those of 0.02, 0.05, 0.10, 0.20 and 0.40 m inside the column.
        h is linear between centres of cells (that of the outermost centre beyond them), then theta(h).
    column_depth : float
        Richards: depth of the column [m].
    widths : sequence of float, optional
        Richards: thicknesses of the cells from the surface down [m], in place of `column_depth`. By default cells of
        0.25 cm that grow by 1.15 to at most 3 cm (29 in 0.5 m), their faces moved to the edges of layers.
    top : {"atmospheric", "flux", "head"}
        Richards: the surface. Atmospheric: heads between -1e5 and 0 cm; else, in the forcing or as a keyword, number,
        map or series: `top_flux` into the soil [mm d-1], or `top_head` [cm]. Then precipitation and irrigation are
        not looked at.
    bottom : {"free_drainage", "head", "zero_flux", "water_table"}
        Richards: the bottom. Likewise `bottom_head` [cm], or `water_table_depth` below the surface [m].
    uptake : {"s_shaped", "feddes", "none"}
        Richards: stress of the roots. S-shaped: 1 / (1 + (h/h50)^3), `h50` -800 cm by default. Feddes: `h1`, `h2`,
        `h3_high`, `h3_low`, `h4` [cm], by default -10, -25, -200, -800, -8000. Numbers or maps.
    frost : {None, "snow"}
        "snow": precipitation of days at or below 0 degC lies as snow, above 0 degC melts by `degree_day_factor`
        [mm degC-1 d-1] (in `ds` or as a keyword, 4 by default [3]_) and enters the soil with the rain. Needs
        `air_temperature` in the forcing; `soil_temperature`, where given, tells whether the ground is freezing (at or
        below 0 degC), and stands in for a missing `air_temperature`. Nothing else is changed by frost: `frozen` marks
        the days that a comparison with satellites leaves out.
    **fixed : float or xr.DataArray
        Parameters that `ds` lacks (or to be used instead of its own): numbers in the units above, or maps with units;
        on the days of the forcing too: `crop_coefficient` and `root_depth` of the water balance, `lai` and boundaries
        of Richards columns.

    Returns
    -------
    xr.Dataset
        The outputs on (time, dims of the parameters), those by depth on (time, depth, dims), with the coordinates,
        attributes and grid mapping of `ds`; `depth` in m.

        The state after the last day, in double precision because that is how it is carried: `final_theta` (also
        `final_snow` with `frost`, `final_root_depth` with a root depth on time); Richards: `final_h` [cm] and
        `final_theta` on (node, dims), where `node` is the depth of the centre of a cell [m], `final_next_step` [d],
        `final_balance` [cm].

        `status` [CF `flag_masks`]: missing parameter, impossible parameters, missing or negative forcing, initial
        state clipped or missing, not converged. A cell with such parameters or without initial state is NaN, one with
        such forcing is NaN from that day on, as is one with an impossible parameter on that day, or that did not
        converge. Expected are, water balance: 1 >= theta_s > theta_fc > theta_wp >= 0, k_sat > 0, root_depth > 0, 0 <=
        depletion_fraction < 1, crop_coefficient >= 0; Richards: 1 >= theta_s > theta_r >= 0, k_sat > 0, alpha > 0, n >
        1, m > 0, psi_s < 0, root_depth > 0, h50 < 0, 0 >= h1 > h2 >= h3_high >= h3_low > h4; degree_day_factor >= 0.

        In `attrs`: model, its options, warmup, initial state, parameters given as numbers, defaults that were used,
        optional series that were used.

        The balance of a day: storage and snow change by precipitation + irrigation + capillary_rise +
        root_zone_exchange - actual_et - runoff - drainage. `root_zone_exchange` is the water of the soil that joins
        the root zone as it deepens, or (negative) that of the soil it leaves, at the start of the day and at the water
        content of the root zone, so that theta does not change by it. Richards: `actual_et` is precipitation - runoff
        - inflow + uptake (uptake alone where the top is a flux or a head, which inflow then tells), slightly negative
        where a soil is drier than the air, for which a head of -1e5 cm stands; `drainage` is negative where water rises
        from below.

        float32 where forcing and parameter maps are (the water balance then steps in single precision on
        differences from the start of the day: theta within 3e-6 of a float64 run; Richards columns work in double
        precision and only their results are rounded), else float64. Lazy as soon as one input is, with one task per
        block of the (unified) chunks in time and space; the chunks change nothing in the numbers. A task holds its
        blocks of forcing (Richards: also in double precision, fifteen blocks in all) and outputs, and the state of its
        cells.

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
        Unknown model, curve, boundary, output or keyword, or one that this run does not use.
    ArgumentError
        An argument outside its range, e.g. a warmup as long as the forcing, a depth below the column; an option of the
        other model; an output without the option that makes it; several curves; a parameter on time that may not be.
    AxisError
        Layers that overlap or do not cover the column.

    See Also
    --------
    final_state : the state to continue from.

    References
    ----------
    .. [1] Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    .. [2] Allen et al. (1998), Crop evapotranspiration, FAO Irrigation and Drainage Paper 56.
    .. [3] Fontrodona-Bach et al. (2026), Hydrol. Earth Syst. Sci. 30, 2613, doi:10.5194/hess-30-2613-2026: melt factors
       of 3 to 5 mm degC-1 d-1 for deep snow, and 0 degC as the threshold of 89 % of the days of snowfall.
    .. [4] Celia, Bouloutas & Zarba (1990), Water Resour. Res. 26, 1483, doi:10.1029/WR026i007p01483.
    .. [5] Qi et al. (2026), Water Resour. Res., doi:10.1029/2025WR041265.

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

    A column of loam under grass:

    >>> loam = dict(theta_r=0.078, theta_s=0.43, alpha=0.036, n=1.56, k_sat=24.96)
    >>> column = xsoil.simulate(xr.Dataset(), forcing, "richards", lai=2.0, depths=(0.05, 0.4), **loam)
    >>> column.theta.round(3).values
    array([[0.219, 0.241],
           [0.3  , 0.24 ],
           [0.253, 0.239]])
    >>> column.attrs["curve"], column.attrs["h50"], column.attrs["initial"]
    ('van_genuchten', -800.0, 'h = -100 cm')
    """
    if not isinstance(model, str) or model not in OUTPUTS:
        raise UnknownNameError.of("model", model, OUTPUTS)
    if frost not in (None, "snow"):
        raise UnknownNameError.of("frost", frost, ("snow",))
    given = Given(as_dataset(ds), as_dataset(forcing), fixed, frost is not None)
    wanted = _outputs(outputs, model, given.frost)
    steps, skip = _whole("substeps", substeps, 1), _whole("warmup", warmup, 0)
    if model == "richards":
        _require_default(model, {"substeps": steps != SUBSTEPS}, "water_balance")
        run = richards_run(
            given, initial, wanted, curve=curve, depths=depths, column_depth=column_depth, widths=widths, top=top,
            bottom=bottom, uptake=uptake,
        )  # fmt: skip
    else:
        changed = {
            "curve": curve is not None, "depths": depths is not None, "column_depth": column_depth != COLUMN_DEPTH,
            "widths": widths is not None, "top": top != "atmospheric", "bottom": bottom != "free_drainage",
            "uptake": uptake != "s_shaped",
        }  # fmt: skip
        _require_default(model, changed, "richards")
        run = water_balance_run(given, initial, wanted, steps)
    days = given.forcing.sizes["time"]
    if skip >= days:
        raise ArgumentError(f"warmup={skip}, but the forcing has {days} days; expected fewer")
    return results(run, given, skip)


def final_state(ds: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """The state at the end of a run, to be given to another as `initial`.

    Parameters
    ----------
    ds : xr.Dataset
        Result of `simulate` or `rootzone`, also after it was written and read.

    Returns
    -------
    xr.Dataset
        Its variables `final_*`, without time; of `simulate` also `status`, which goes on with them.

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
    ds = as_dataset(ds)
    names = [name for name in ds.data_vars if str(name).startswith("final_")]
    if not names:
        raise MissingVariableError(
            f"no end state (final_theta) among {sorted(map(str, ds.data_vars))}; "
            "expected a result of simulate or rootzone"
        )
    if "status" in ds and "final_weight" not in names:  # that of rootzone has no use for it
        names.append("status")
    return ds[names]


def _outputs(outputs: str | Sequence[str], model: str, frost: bool) -> tuple[str, ...]:
    if not isinstance(outputs, (str, list, tuple)) or not all(isinstance(name, str) for name in outputs):
        raise ArgumentError(f"outputs={outputs!r}; expected names, such as {', '.join(OUTPUTS[model][:3])}")
    names = tuple(dict.fromkeys([outputs] if isinstance(outputs, str) else outputs))
    known = (*OUTPUTS[model], *FROST_OUTPUTS, "status")
    for name in names:
        if name not in known:
            raise UnknownNameError.of(f"output of {model}", name, known)
        if name in FROST_OUTPUTS and not frost:
            raise ArgumentError(f"output {name!r} needs frost='snow', found frost=None")
    return tuple(name for name in names if name != "status")  # which is always there


def _require_default(model: str, changed: Mapping[str, bool], other: str) -> None:
    """Raise for options of the other model."""
    if wrong := [name for name, given in changed.items() if given]:
        raise ArgumentError(f"{', '.join(wrong)} with model={model!r}; expected model={other!r}, whose option it is")


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(f"{name}={value!r}; expected a whole number of at least {least}")
    return number
