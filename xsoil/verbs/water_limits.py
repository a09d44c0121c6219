"""`water_limits`: field capacity and wilting point from hydraulic parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.physics.retention import brooks_corey_theta, campbell_theta, van_genuchten_theta
from xsoil.ptfs import PTFS
from xsoil.verbs._cells import map_cells
from xsoil.verbs._inputs import as_dataset, carry, read
from xsoil.vocabulary import KPA_IN_CM, VARIABLES

__all__ = ["water_limits"]

Array = NDArray[Any]
Method = Literal["retention", "noah", "clm", "flux"]

FIELD_CAPACITY = -33 * KPA_IN_CM  # cm
WILTING_POINT = -1500 * KPA_IN_CM
MARGIN = 1e-3  # m3 m-3, between wilting point, field capacity and saturation
_SET_APART = MARGIN * (1 + 1e-3)  # what is repaired keeps the margin after rounding to single precision too
_M_PER_S = 1 / 8.64e6  # of 1 cm d-1
_MM_PER_D = 10.0

FLAGS = {
    "field_capacity_lowered": 1,
    "wilting_point_lowered": 2,
    "field_capacity_raised": 4,
    "input_missing": 8,
    "input_impossible": 16,
}


def water_limits(ds: xr.Dataset, method: Method = "retention") -> xr.Dataset:
    """Add field capacity and wilting point to hydraulic parameters.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters on any dims, each with `units`, as `xsoil.ptf` returns them.
    method : {"retention", "noah", "clm", "flux"}
        - "retention": theta at -33 and -1500 kPa on the retention curve that the dataset holds: van Genuchten
          (`theta_r`, `theta_s`, `alpha`, `n`, and `m` where it is not 1 - 1/n), Campbell (`theta_s`, `psi_s`, `b`) or
          Brooks-Corey (`theta_r`, `theta_s`, `psi_s`, `lambda`). Where it holds no curve but points of one (`theta_fc`
          and `theta_wp` of "saxton_rawls2006"), these are kept.
        - "noah": theta_fc = t + (theta_s - t)/3 with t where K is 0.5 mm d-1, theta_wp = 0.5 theta(-200 m) [1]_
          (Campbell and `k_sat`).
        - "clm": theta_fc where K is 0.1 mm d-1 [2]_, theta_wp at -1500 kPa (Campbell and `k_sat`).
        - "flux": theta_fc = theta_r + (theta_s - theta_r) n^(-0.6 (2 + log10 k_sat[cm d-1])) [3]_, theta_wp at
          -1500 kPa (van Genuchten and `k_sat`).

    Returns
    -------
    xr.Dataset
        The input with `theta_fc`, `theta_wp` [m3 m-3] and `water_limits_quality` (int16, CF `flag_masks` and
        `flag_meanings`), lazy where that is. A `theta_fc` and `theta_wp` that were there are replaced: the method
        that is asked for wins (apart from the points above). Everywhere theta_wp + 0.001 < theta_fc < theta_s - 0.001:
        where the method gives something else, theta_fc is lowered from saturation, theta_wp to below theta_fc but not
        below theta_r, and where there is no room for it theta_fc is raised; each is flagged. Where an input is missing
        or impossible (order, sign, less than 0.002 between theta_r and theta_s), both are NaN, and flagged. No other
        parameter is changed.

    Raises
    ------
    MissingVariableError
        Where the method needs a variable that is not there; the message names functions of `xsoil.ptf` that give it.
    ArgumentError
        Where the dataset holds more than one curve.
    UnitsError
        Where a parameter has no units or unknown ones.
    UnknownNameError
        For an unknown method.

    References
    ----------
    .. [1] Chen & Dudhia (2001), Mon. Weather Rev. 129, 569-585, doi:10.1175/1520-0493(2001)129<0569:CAALSH>2.0.CO;2
    .. [2] Oleson et al. (2013), Technical description of CLM 4.5, NCAR/TN-503+STR, doi:10.5065/D6RR1W7M
    .. [3] Twarakavi et al. (2009), Water Resour. Res. 45, W10410, doi:10.1029/2009WR007944

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> percent = {"units": "percent"}
    >>> soil = xr.Dataset({"sand": ("site", [40.0, 90.0], percent), "clay": ("site", [20.0, 5.0], percent)})
    >>> xsoil.water_limits(xsoil.ptf(soil, "cosby1984"), "noah").theta_fc.round(3).values
    array([0.338, 0.237])
    """
    ds = as_dataset(ds)
    if method not in _METHODS:
        raise UnknownNameError.of("method of water_limits", method, _METHODS)
    curve = _curve_for(ds, method)
    names = _inputs_of(curve, method, ds)
    cells = [read(ds, VARIABLES[name]) for name in names]
    dtype = np.result_type(np.float32, *(array.dtype for array in cells))
    limits = _Limits(method, curve, names, dtype.str)
    results = map_cells(limits, cells, [dtype, dtype, np.int16])
    out = xr.Dataset(dict(zip(("theta_fc", "theta_wp", "water_limits_quality"), results, strict=True)))
    for name in ("theta_fc", "theta_wp"):
        out[name].attrs = VARIABLES[name].attrs | {"references": _METHODS[method].reference, "water_limits": method}
    out["water_limits_quality"].attrs = {
        "long_name": "what water_limits changed or could not calculate",
        "flag_masks": np.array(list(FLAGS.values()), np.int16),
        "flag_meanings": " ".join(FLAGS),
    }
    out = carry(ds, out, names[0])
    return ds.assign({name: array.variable for name, array in out.data_vars.items()})


@dataclass(frozen=True)
class _Method:
    curves: tuple[str, ...]
    needs: tuple[str, ...]
    reference: str


_CURVES = {
    "van_genuchten": ("theta_r", "theta_s", "alpha", "n"),
    "campbell": ("theta_s", "psi_s", "b"),
    "brooks_corey": ("theta_r", "theta_s", "psi_s", "lambda"),
}
_POINTS = ("theta_s", "theta_fc", "theta_wp")
_METHODS = {
    "retention": _Method(tuple(_CURVES), (), "theta at -33 and -1500 kPa"),
    "noah": _Method(("campbell",), ("k_sat",), "Chen & Dudhia (2001), Mon. Weather Rev. 129, 569-585"),
    "clm": _Method(("campbell",), ("k_sat",), "Oleson et al. (2013), CLM 4.5 https://doi.org/10.5065/D6RR1W7M"),
    "flux": _Method(("van_genuchten",), ("k_sat",), "Twarakavi et al. (2009) https://doi.org/10.1029/2009WR007944"),
}


def _curve_for(ds: xr.Dataset, method: str) -> str:
    """The curve whose parameters the dataset holds, or "points"."""
    wanted = _METHODS[method]
    # beside the air-entry head, b alone tells Campbell from Brooks-Corey
    held = [name for name in wanted.curves if all(p in ds.variables for p in (*_CURVES[name], *wanted.needs))]
    if len(held) > 1:
        raise ArgumentError(
            f"the dataset holds the parameters of {len(held)} curves, {' and '.join(held)}; keep those of one: "
            f"ds.drop_vars({[p for p in _CURVES[held[-1]] if p not in _CURVES[held[0]]]})"
        )
    if held:
        return held[0]
    if method == "retention" and all(p in ds.variables for p in _POINTS):
        return "points"
    options = {name: (*_CURVES[name], *wanted.needs) for name in wanted.curves}
    nearest = max(options, key=lambda name: sum(p in ds.variables for p in options[name]) / len(options[name]))
    missing = [p for p in options[nearest] if p not in ds.variables]
    given = [
        entry.name
        for entry in PTFS.values()
        if any(set(option) <= {v.name for v in entry.outputs} for option in options.values())
    ]
    needs = " or ".join(", ".join(option) for option in options.values())
    raise MissingVariableError(
        f"water_limits({method!r}) needs {needs}; no {', '.join(map(repr, missing))} among "
        f"{sorted(map(str, ds.data_vars))}. They come from ds.soil.ptf(...) with {', '.join(given)}"
    )


def _inputs_of(curve: str, method: str, ds: xr.Dataset) -> tuple[str, ...]:
    if curve == "points":
        return _POINTS
    free_m = ("m",) if curve == "van_genuchten" and "m" in ds.variables else ()
    return (*_CURVES[curve], *free_m, *_METHODS[method].needs)


@dataclass(frozen=True)
class _Limits:
    """Field capacity, wilting point and flags of blocks of cells: a function for `map_cells`."""

    method: str
    curve: str
    names: tuple[str, ...]
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array, Array, Array]:
        p = {name: block.astype(np.float64) for name, block in zip(self.names, blocks, strict=True)}
        with np.errstate(all="ignore"):
            missing = np.logical_or.reduce([np.isnan(values) for values in p.values()])
            theta_fc, theta_wp = _FORMULAS[self.method](self.curve, p)
            possible = _possible(p, self.curve) & np.isfinite(theta_fc) & np.isfinite(theta_wp)
            floor = p.get("theta_r", np.zeros_like(theta_wp))
            # written as "not below", so that equal counts
            lower_fc = ~(theta_fc < p["theta_s"] - MARGIN)
            theta_fc = np.where(lower_fc, p["theta_s"] - _SET_APART, theta_fc)
            lowered = np.where(theta_wp < theta_fc - MARGIN, theta_wp, np.maximum(theta_fc - _SET_APART, floor))
            lower_wp = lowered < theta_wp
            theta_wp = np.minimum(lowered, theta_wp)
            raise_fc = ~(theta_wp < theta_fc - MARGIN)
            theta_fc = np.where(raise_fc, theta_wp + _SET_APART, theta_fc)
            possible &= (theta_wp >= 0) & (theta_fc < p["theta_s"] - MARGIN)
        void = missing | ~possible
        quality = np.zeros(void.shape, np.int16)
        flagged = (lower_fc & ~void, lower_wp & ~void, raise_fc & ~void, missing, ~possible & ~missing)
        for bit, where in zip(FLAGS.values(), flagged, strict=True):
            quality |= where * np.int16(bit)
        fc, wp = (np.where(void, np.nan, values).astype(self.dtype) for values in (theta_fc, theta_wp))
        return fc, wp, quality


def _possible(p: dict[str, Array], curve: str) -> Array:
    """Where all parameters are finite, in their ranges and in order."""
    checks = [np.isfinite(values) for values in p.values()]
    checks.append((p["theta_s"] > 0) & (p["theta_s"] <= 1))
    if "theta_r" in p:
        checks.append((p["theta_r"] >= 0) & (p["theta_r"] < p["theta_s"]))
    checks += [p[name] > 0 for name in ("alpha", "b", "lambda", "k_sat", "m") if name in p]
    if "psi_s" in p:
        checks.append(p["psi_s"] < 0)
    if "n" in p:
        checks.append(p["n"] > (0 if "m" in p else 1))
    if curve == "points":
        checks += [p["theta_fc"] > 0, p["theta_wp"] >= 0]
    good: Array = np.logical_and.reduce(checks)
    return good


def _theta(curve: str, p: dict[str, Array], h: float) -> Array:
    found: Array
    if curve == "van_genuchten":
        m = p["m"] if "m" in p else 1 - 1 / p["n"]
        found = van_genuchten_theta(h, p["theta_r"], p["theta_s"], p["alpha"], p["n"], m)
    elif curve == "campbell":
        found = campbell_theta(h, p["theta_s"], p["psi_s"], p["b"])
    else:
        found = brooks_corey_theta(h, p["theta_r"], p["theta_s"], p["psi_s"], p["lambda"])
    return found


def _retention(curve: str, p: dict[str, Array]) -> Sequence[Array]:
    if curve == "points":
        return p["theta_fc"], p["theta_wp"]
    return _theta(curve, p, FIELD_CAPACITY), _theta(curve, p, WILTING_POINT)


def _noah(curve: str, p: dict[str, Array]) -> Sequence[Array]:
    at_flux = p["theta_s"] * (5.79e-9 / (p["k_sat"] * _M_PER_S)) ** (1 / (2 * p["b"] + 3))
    return at_flux + (p["theta_s"] - at_flux) / 3, 0.5 * _theta(curve, p, -20000.0)


def _clm(curve: str, p: dict[str, Array]) -> Sequence[Array]:
    theta_fc = p["theta_s"] * (0.1 / (p["k_sat"] * _MM_PER_D)) ** (1 / (2 * p["b"] + 3))
    return theta_fc, _theta(curve, p, WILTING_POINT)


def _flux(curve: str, p: dict[str, Array]) -> Sequence[Array]:
    exponent = -0.60 * (2 + np.log10(p["k_sat"]))
    theta_fc = p["theta_r"] + (p["theta_s"] - p["theta_r"]) * p["n"] ** exponent
    return theta_fc, _theta(curve, p, WILTING_POINT)


_FORMULAS: dict[str, Callable[[str, dict[str, Array]], Sequence[Array]]] = {
    "retention": _retention,
    "noah": _noah,
    "clm": _clm,
    "flux": _flux,
}
