"""`water_limits`: field capacity and wilting point from hydraulic parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.choices import require_choice
from xsoil.errors import ArgumentError
from xsoil.physics.curves import CURVES, possible
from xsoil.verbs._cells import map_cells
from xsoil.verbs._curves import Curve, curve_of, holds_a_curve, in_cm, parameters_in, retention_of
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


def water_limits(
    ds: xr.Dataset | xr.DataArray,
    method: Method = "retention",
    *,
    curve: Curve | None = None,
    field_capacity: float | xr.DataArray | None = None,
    wilting_point: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """Add field capacity and wilting point to hydraulic parameters.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters on any dims, each with `units`, as `xsoil.ptf` returns them.
    method : {"retention", "noah", "clm", "flux"}
        - "retention": theta at -33 and -1500 kPa on the retention curve that the dataset holds (any of
          `xsoil.retention`). Where it holds no curve but points of one (`theta_fc` and `theta_wp` of
          "saxton_rawls2006"), these are kept.
        - "noah": theta_fc = t + (theta_s - t)/3 with t where K is 0.5 mm d-1, theta_wp = 0.5 theta(-200 m) [1]_
          (Campbell and `k_sat`).
        - "clm": theta_fc where K is 0.1 mm d-1 [2]_, theta_wp at -1500 kPa (Campbell and `k_sat`).
        - "flux": theta_fc = theta_r + (theta_s - theta_r) n^(-0.6 (2 + log10 k_sat[cm d-1])) [3]_, theta_wp at
          -1500 kPa (van Genuchten and `k_sat`).
    curve : str, optional
        As in `xsoil.retention`; by default the one whose parameters are there.
    field_capacity, wilting_point : number or xr.DataArray, optional
        Pressure heads instead of -33 and -1500 kPa where the method reads the limit from the retention curve: numbers
        [cm, negative], or DataArrays with units, which may be maps (-10 kPa for sand). The mesoscale Hydrologic Model
        has its wilting point at -15,000 cm.

    Returns
    -------
    xr.Dataset
        The input with `theta_fc`, `theta_wp` [m3 m-3] and `water_limits_quality` (int16, CF `flag_masks` and
        `flag_meanings`), lazy where that is. A `theta_fc` and `theta_wp` that were there are replaced: the method
        that is asked for wins (apart from the points above). Everywhere theta_wp + 0.001 < theta_fc < theta_s - 0.001:
        where the method gives something else, theta_fc is lowered from saturation, theta_wp to below theta_fc but not
        below theta_r, and where there is no room for it theta_fc is raised; each is flagged. Where an input is missing
        or impossible (order, sign, less than 0.002 between theta_r and theta_s), both are NaN, and flagged. No other
        parameter is changed. A dask task holds the blocks of its inputs and three such blocks more, of which its
        results are two and a half.

    Raises
    ------
    MissingVariableError
        Where the method needs a variable that is not there; the message names functions of `xsoil.ptf` that give it.
    ArgumentError
        Where the dataset holds more than one curve, or a head is not below 0, not in order, or of no use to the method.
    UnitsError
        Where a parameter or head has no units or unknown ones.
    UnknownNameError
        For an unknown method or curve.

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
    require_choice("method of water_limits", method, _METHODS)
    found = _curve_for(ds, method, curve)
    names = _inputs_of(found, method, ds)
    cells = [read(ds, VARIABLES[name]) for name in names]
    heads = _heads(method, found, {"field_capacity": field_capacity, "wilting_point": wilting_point})
    maps = {name: head for name, head in heads.items() if isinstance(head, xr.DataArray)}
    dtype = np.result_type(np.float32, *(array.dtype for array in cells))
    fixed = tuple((name, head) for name, head in heads.items() if not isinstance(head, xr.DataArray))
    limits = _Limits(method, found, (*names, *maps), fixed, dtype.str)
    results = map_cells(limits, [*cells, *maps.values()], [dtype, dtype, np.int16])
    out = xr.Dataset(dict(zip(("theta_fc", "theta_wp", "water_limits_quality"), results, strict=True)))
    reference = _METHODS[method].reference if field_capacity is wilting_point is None else "theta at given heads"
    for name, limit in (("theta_fc", "field_capacity"), ("theta_wp", "wilting_point")):
        out[name].attrs = VARIABLES[name].attrs | {"references": reference, "water_limits": method}
        if limit in dict(fixed) and found != "points":
            out[name].attrs["pressure_head_cm"] = dict(fixed)[limit]
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
    heads: tuple[str, ...]
    """Limits that are read from the retention curve."""
    reference: str


_POINTS = ("theta_s", "theta_fc", "theta_wp")
_DEFAULTS = {"field_capacity": FIELD_CAPACITY, "wilting_point": WILTING_POINT}
_METHODS = {
    "retention": _Method(tuple(CURVES), (), ("field_capacity", "wilting_point"), "theta at -33 and -1500 kPa"),
    "noah": _Method(("campbell",), ("k_sat",), (), "Chen & Dudhia (2001), Mon. Weather Rev. 129, 569-585"),
    "clm": _Method(
        ("campbell",), ("k_sat",), ("wilting_point",), "Oleson et al. (2013), CLM 4.5 https://doi.org/10.5065/D6RR1W7M"
    ),
    "flux": _Method(
        ("van_genuchten",),
        ("k_sat",),
        ("wilting_point",),
        "Twarakavi et al. (2009) https://doi.org/10.1029/2009WR007944",
    ),
}


def _curve_for(ds: xr.Dataset, method: str, curve: str | None) -> str:
    """The curve whose parameters the dataset holds, or "points"."""
    wanted = _METHODS[method]
    points = curve is None and method == "retention" and {*_POINTS} <= parameters_in(ds)
    if points and not holds_a_curve(ds, wanted.curves):
        return "points"
    return curve_of(ds, curve, f"water_limits({method!r})", wanted.curves, wanted.needs)


def _inputs_of(curve: str, method: str, ds: xr.Dataset) -> tuple[str, ...]:
    if curve == "points":
        return _POINTS
    return (*retention_of(ds, curve), *_METHODS[method].needs)


def _heads(
    method: str, curve: str, asked: Mapping[str, float | xr.DataArray | None]
) -> dict[str, float | xr.DataArray]:
    """Heads [cm] of the limits that come from the curve."""
    heads: dict[str, float | xr.DataArray] = {name: _DEFAULTS[name] for name in _METHODS[method].heads}
    for name, head in asked.items():
        if head is None:
            continue
        if name not in heads or curve == "points":
            reason = (
                "the dataset holds points of a curve, not its parameters"
                if curve == "points"
                else (f"method={method!r} has a definition of its own")
            )
            raise ArgumentError(f"{name}={head!r}, but {reason}; leave it out, or use method='retention' with a curve")
        if isinstance(head, xr.DataArray):
            array = in_cm(head, name).reset_coords(drop=True)
            if array.ndim or array.chunks is not None:
                heads[name] = array
                continue
            head = array.item()
        if not (np.ndim(head) == 0 and np.isreal(head) and -np.inf < head < 0):
            raise ArgumentError(f"{name}={head!r}; expected a pressure head [cm, negative], or a DataArray with units")
        heads[name] = float(head)
    wet, dry = heads.get("field_capacity"), heads.get("wilting_point")
    if isinstance(wet, float) and isinstance(dry, float) and wet <= dry:
        raise ArgumentError(
            f"field_capacity={wet:g} cm is not wetter than wilting_point={dry:g} cm; expected the order"
        )
    return heads


@dataclass(frozen=True)
class _Limits:
    """Field capacity, wilting point and flags of blocks of cells: a function for `map_cells`."""

    method: str
    curve: str
    names: tuple[str, ...]
    fixed: tuple[tuple[str, float], ...]
    """Heads that are the same everywhere."""
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array, Array, Array]:
        p = {name: block.astype(np.float64) for name, block in zip(self.names, blocks, strict=True)}
        with np.errstate(all="ignore"):
            missing = np.logical_or.reduce([np.isnan(values) for values in p.values()])
            theta_fc, theta_wp = self.limits(p)
            good = possible(p, self.curve) & np.isfinite(theta_fc) & np.isfinite(theta_wp)
            for name in ("field_capacity", "wilting_point"):
                if name in p:
                    good &= p[name] < 0
            heads = dict(self.fixed) | p
            if "field_capacity" in heads and "wilting_point" in heads:
                good &= heads["field_capacity"] > heads["wilting_point"]
            if self.curve == "points":
                good &= (p["theta_fc"] > 0) & (p["theta_wp"] >= 0)
            floor = p.get("theta_r", np.zeros_like(theta_wp))
            # written as "not below", so that equal counts
            lower_fc = ~(theta_fc < p["theta_s"] - MARGIN)
            theta_fc = np.where(lower_fc, p["theta_s"] - _SET_APART, theta_fc)
            lowered = np.where(theta_wp < theta_fc - MARGIN, theta_wp, np.maximum(theta_fc - _SET_APART, floor))
            lower_wp = lowered < theta_wp
            theta_wp = np.minimum(lowered, theta_wp)
            raise_fc = ~(theta_wp < theta_fc - MARGIN)
            theta_fc = np.where(raise_fc, theta_wp + _SET_APART, theta_fc)
            good &= (theta_wp >= 0) & (theta_fc < p["theta_s"] - MARGIN)
        void = missing | ~good
        quality = np.zeros(void.shape, np.int16)
        flagged = (lower_fc & ~void, lower_wp & ~void, raise_fc & ~void, missing, ~good & ~missing)
        for bit, where in zip(FLAGS.values(), flagged, strict=True):
            quality |= where * np.int16(bit)
        fc, wp = (np.where(void, np.nan, values).astype(self.dtype) for values in (theta_fc, theta_wp))
        return fc, wp, quality

    def limits(self, p: dict[str, Array]) -> Sequence[Array]:
        """Field capacity and wilting point as the method has them."""
        if self.curve == "points":
            return p["theta_fc"], p["theta_wp"]
        if self.method == "retention":
            return self._theta(p, "field_capacity"), self._theta(p, "wilting_point")
        if self.method == "noah":
            theta_fc = p["theta_s"] * (5.79e-9 / (p["k_sat"] * _M_PER_S)) ** (1 / (2 * p["b"] + 3))
            return theta_fc + (p["theta_s"] - theta_fc) / 3, 0.5 * self._theta(p, -20000.0)
        if self.method == "clm":
            theta_fc = p["theta_s"] * (0.1 / (p["k_sat"] * _MM_PER_D)) ** (1 / (2 * p["b"] + 3))
        else:
            exponent = -0.60 * (2 + np.log10(p["k_sat"]))
            theta_fc = p["theta_r"] + (p["theta_s"] - p["theta_r"]) * p["n"] ** exponent
        return theta_fc, self._theta(p, "wilting_point")

    def _theta(self, p: dict[str, Array], head: str | float) -> Array:
        h = (p[head] if head in p else dict(self.fixed)[head]) if isinstance(head, str) else head
        row = CURVES[self.curve]
        free_m = [p["m"]] if self.curve == "van_genuchten" and "m" in p else []
        found: Array = row.theta(h, *(p[name] for name in row.retention), *free_m)
        return found
