"""`retention`: water contents at given pressure heads from hydraulic parameters."""

from __future__ import annotations

import xarray as xr

from xsoil.verbs._curves import Curve, Heads, along_heads, curve_of, retention_of
from xsoil.verbs._inputs import as_dataset
from xsoil.vocabulary import VARIABLES

__all__ = ["retention"]


def retention(
    ds: xr.Dataset | xr.DataArray, h: Heads, *, curve: Curve | None = None, quality: bool = False
) -> xr.Dataset:
    """Water content on the retention curve.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters on any dims, each with `units`, as `xsoil.ptf` returns them.
    h : number, sequence or xr.DataArray
        Pressure heads, negative where the soil is unsaturated; from 0 (or air entry) on, it is saturated. Numbers are
        [cm]; a 1-D DataArray needs `units` (cm, m, kPa, hPa, MPa ...). -33 kPa are -336.5 cm.
    curve : str, optional
        - "van_genuchten": `theta_r`, `theta_s`, `alpha`, `n`, and `m` where it is not 1 - 1/n [1]_
        - "fredlund_xing_wang": `theta_s`, `alpha`, `n`, `m` [2]_
        - "brooks_corey": `theta_r`, `theta_s`, `psi_s`, `lambda` [3]_
        - "campbell" or "clapp_hornberger": `theta_s`, `psi_s`, `b` [4]_
        - "gardner": `theta_r`, `theta_s`, `alpha` [5]_
        - "haverkamp": `theta_r`, `theta_s`, `a`, `beta` [6]_

        By default the one whose parameters are there.
    quality : bool
        Add the flag variable `quality`.

    Returns
    -------
    xr.Dataset
        `theta` [m3 m-3], lazy where a parameter is, float32 where all are, with the dim `h` [cm] in front of those
        of the parameters (a single number gives a scalar coordinate `h` instead). NaN where a parameter is missing or
        impossible (order, sign); `quality` [int16, CF `flag_masks` and `flag_meanings`] tells which. A dask task holds
        the blocks of its parameters, its result (one such block per head) and a few MB more.

    Raises
    ------
    MissingVariableError
        Where no curve's parameters are there, or not those of the curve that was asked for.
    ArgumentError
        Where those of several curves are, for heads that are no numbers, or a dataset that has an `h`.
    UnitsError
        Where a parameter or `h` has no units or unknown ones.
    UnknownNameError
        For an unknown curve.

    See Also
    --------
    conductivity, water_limits

    References
    ----------
    .. [1] van Genuchten (1980), Soil Sci. Soc. Am. J. 44, 892-898, doi:10.2136/sssaj1980.03615995004400050002x
    .. [2] Fredlund & Xing (1994), Can. Geotech. J. 31, 521-532, doi:10.1139/t94-061
    .. [3] Brooks & Corey (1964), Hydrology Paper 3, Colorado State University
    .. [4] Clapp & Hornberger (1978), Water Resour. Res. 14, 601-604, doi:10.1029/WR014i004p00601
    .. [5] Srivastava & Yeh (1991), Water Resour. Res. 27, 753-762, doi:10.1029/90WR02772
    .. [6] Haverkamp et al. (1977), Soil Sci. Soc. Am. J. 41, 285-294, doi:10.2136/sssaj1977.03615995004100020024x

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> percent = {"units": "percent"}
    >>> soil = xr.Dataset({"sand": ("site", [40.0, 90.0], percent), "clay": ("site", [20.0, 5.0], percent)})
    >>> parameters = xsoil.ptf(soil, "cosby1984")
    >>> xsoil.retention(parameters, [-100.0, -15000.0]).theta.round(3).values
    array([[0.353, 0.166],
           [0.156, 0.041]])
    """
    ds = as_dataset(ds)
    name = curve_of(ds, curve, "retention")
    return along_heads(ds, h, name, VARIABLES["theta"], retention_of(ds, name), quality=quality)
