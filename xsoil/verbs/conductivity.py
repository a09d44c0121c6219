"""`conductivity`: hydraulic conductivity at given pressure heads from hydraulic parameters."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.physics.curves import CURVES
from xsoil.verbs._curves import Curve, Heads, along_heads, curve_of, heads_of, missing, parameters_in
from xsoil.verbs._inputs import as_dataset
from xsoil.vocabulary import Variable

__all__ = ["CONDUCTIVITY", "MATCHING_HEAD", "conductivity"]

CONDUCTIVITY = Variable("k", "cm d-1", "hydraulic conductivity", low=0.0, log=True, how="geometric")
MATCHING_HEAD = -6.0
"""A matching point k_0 stands for the matrix of the soil: its curve holds from here down [cm]."""
TORTUOSITY = 0.5
"""l of Mualem (1976)."""


def conductivity(
    ds: xr.Dataset | xr.DataArray,
    h: Heads,
    *,
    curve: Curve | None = None,
    matching: Literal["k_sat", "k_0"] | None = None,
    quality: bool = False,
) -> xr.Dataset:
    """Hydraulic conductivity of the unsaturated soil.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters on any dims, each with `units`, as `xsoil.ptf` returns them: those of the retention curve
        (see `xsoil.retention`), and those of the conductivity.
    h : number, sequence or xr.DataArray
        Pressure heads as in `xsoil.retention`; from 0 (or air entry) on, K is `k_sat`.
    curve : str, optional
        - "van_genuchten" with Mualem's model [1]_: `k_sat` (or `k_0`), and `l` where it is not 0.5 (above -2/m, below
          which K grows as the soil dries); m is 1 - 1/n
        - "fredlund_xing_wang", FXW-M3 [2]_: `k_sat`
        - "brooks_corey" [3]_: `k_sat`; K = k_sat S_e^(3 + 2/lambda)
        - "campbell" or "clapp_hornberger" [4]_: `k_sat`; K = k_sat (theta/theta_s)^(2b + 3)
        - "gardner" [5]_: `k_sat`; K = k_sat exp(alpha h)
        - "haverkamp" [6]_: `k_sat`, `k_a`, `gamma`; K = k_sat k_a / (k_a + abs(h)^gamma)

        By default the one whose parameters of retention are there.
    matching : {"k_sat", "k_0"}, optional
        What van Genuchten's curve is scaled by: the one that is there, by default. `k_0` is a matching point of the
        soil's matrix (Weynants et al. 2009; Schaap & Leij 2000), which says nothing about macropores: above -6 cm the
        result is NaN. An `l` beside `k_0` belongs to it: with "k_sat" it is then 0.5.
    quality : bool
        Add the flag variable `quality`.

    Returns
    -------
    xr.Dataset
        `k` [cm d-1], lazy where a parameter is, float32 where all are, with the dim `h` [cm] in front of those of the
        parameters (a single number gives a scalar coordinate `h` instead). NaN where a parameter is missing or
        impossible (order, sign), and above the matching point; `quality` [int16, CF `flag_masks` and `flag_meanings`]
        tells which. A dask task holds the blocks of its parameters, its result (one such block per head) and a few MB
        more.

    Raises
    ------
    MissingVariableError
        Where a parameter is missing.
    ArgumentError
        Where the parameters of several curves are there, or `k_sat` and `k_0`; for van Genuchten parameters with an m
        of their own (Vereecken et al. 1989), for which Mualem's model has no closed form; where all heads lie above
        the matching point.
    UnitsError
        Where a parameter or `h` has no units or unknown ones.
    UnknownNameError
        For an unknown curve.

    See Also
    --------
    retention

    References
    ----------
    .. [1] van Genuchten (1980), Soil Sci. Soc. Am. J. 44, 892-898, doi:10.2136/sssaj1980.03615995004400050002x
    .. [2] Wang et al. (2018), Water Resour. Res. 54, 6860
    .. [3] Brooks & Corey (1964), Hydrology Paper 3, Colorado State University
    .. [4] Clapp & Hornberger (1978), Water Resour. Res. 14, 601-604, doi:10.1029/WR014i004p00601
    .. [5] Gardner (1958), Soil Sci. 85, 228-232
    .. [6] Haverkamp et al. (1977), Soil Sci. Soc. Am. J. 41, 285-294, doi:10.2136/sssaj1977.03615995004100020024x

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> loam = {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56, "k_sat": 24.96}
    >>> units = {"theta_r": "1", "theta_s": "1", "alpha": "cm-1", "n": "1", "k_sat": "cm d-1"}
    >>> parameters = xr.Dataset({name: ((), value, {"units": units[name]}) for name, value in loam.items()})
    >>> xsoil.conductivity(parameters, [-100.0, -10.0, 0.0]).k.round(3).values
    array([ 0.034,  5.377, 24.96 ])
    """
    ds = as_dataset(ds)
    if matching not in (None, "k_sat", "k_0"):
        raise UnknownNameError.of("matching", matching, ("k_sat", "k_0"))
    name, there = curve_of(ds, curve, "conductivity"), parameters_in(ds)
    row = CURVES[name]
    scale, highest = "k_sat", np.inf
    constants: dict[str, float] = {}
    if name == "van_genuchten":
        if "m" in there:
            raise ArgumentError(
                "the dataset holds an m of its own (that of Vereecken et al. 1989 is 1), and Mualem's conductivity has "
                "m = 1 - 1/n; expected another pedotransfer function, or ds.drop_vars('m') where it is 1 - 1/n"
            )
        scale = _scale(there, matching)
        if scale == "k_0":
            highest = MATCHING_HEAD
            heads, _ = heads_of(h, ds)
            if (heads > highest).all():
                raise ArgumentError(
                    f"h={h!r}: k_0 is a matching point, from which conductivity follows below {highest:g} cm only; "
                    "expected drier heads, or k_sat"
                )
        if "l" not in there or (scale == "k_sat" and "k_0" in there):
            constants["l"] = TORTUOSITY
    elif matching == "k_0":
        raise ArgumentError(f"matching='k_0' belongs to curve='van_genuchten', found {name!r}; expected 'k_sat'")
    takes = tuple(scale if p == "k_sat" else p for p in row.conductivity)
    if any(p not in there and p not in constants for p in takes):
        raise missing(ds, "conductivity", (name,), [p for p in takes if p not in constants])
    return along_heads(
        ds, h, name, CONDUCTIVITY, takes, checked=row.retention, constants=constants, highest=highest, quality=quality
    )


def _scale(there: Collection[Hashable], matching: str | None) -> str:
    if matching is not None:
        return matching
    if "k_0" not in there:
        return "k_sat"
    if "k_sat" in there:
        raise ArgumentError(
            "the dataset holds k_sat and k_0; choose matching='k_0' (unsaturated soil, with the l that belongs to it) "
            "or matching='k_sat' (with l = 0.5)"
        )
    return "k_0"
