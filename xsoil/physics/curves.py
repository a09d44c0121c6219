"""The hydraulic curves by name: the parameters that each needs, theta(h) and K(h) of arrays.

Which outputs of pedotransfer functions are parameters of which curve (`xsoil.convert_curve` leads from one to another;
nothing is converted unasked):

- van_genuchten: `rosetta1`, `rosetta3`, `wosten1999` (with l), `toth2015`; `zacharias_wessolek2007` without
  conductivity; `vereecken1989` (an m of its own: retention only), `weynants2009` (a matching point k_0 with its l).
- campbell: `cosby1984`, `cosby1984_univariate`, `clapp_hornberger1978`.
- brooks_corey: `rawls_brakensiek1985`.
- fredlund_xing_wang: none; it is fitted to another curve (`xsoil.fit_fredlund_xing_wang`).
- gardner: none; from another curve by its capillary drive. haverkamp: none; measured ones.

`saxton_rawls2006` gives points of its curve (theta_fc, theta_wp), `li2024_cb1` and `li2024_cb2` conductivity at
saturation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.physics.elementary import NUMPY
from xsoil.physics.fredlund_xing_wang import (
    fredlund_xing_wang,
    fredlund_xing_wang_anchors,
    fredlund_xing_wang_retention,
)
from xsoil.physics.power_laws import brooks_corey, gardner, haverkamp
from xsoil.physics.retention import brooks_corey_theta, campbell_theta, van_genuchten_theta
from xsoil.physics.van_genuchten import van_genuchten

__all__ = ["CURVES", "HydraulicCurve", "possible"]

Array = NDArray[Any]

_van_genuchten = van_genuchten(NUMPY)
_fredlund_xing_wang = fredlund_xing_wang(NUMPY)
_fredlund_xing_wang_anchors = fredlund_xing_wang_anchors(NUMPY)
_fredlund_xing_wang_retention = fredlund_xing_wang_retention(NUMPY)
_brooks_corey = brooks_corey(NUMPY)
_gardner = gardner(NUMPY)
_haverkamp = haverkamp(NUMPY)


@dataclass(frozen=True)
class HydraulicCurve:
    """One pair of curves.

    Attributes
    ----------
    retention, conductivity : tuple of str
        Parameters of theta(h) and of K(h), in the order in which `theta` and `k` take them.
    theta : callable
        ``theta(h, *retention)`` [m3 m-3] of heads [cm]; van Genuchten's takes `m` as well.
    k : callable
        ``k(h, *conductivity)`` [cm d-1].
    reference : str
        Sources.
    """

    retention: tuple[str, ...]
    conductivity: tuple[str, ...]
    theta: Callable[..., Any]
    k: Callable[..., Any]
    reference: str


# Plain formulas where there are: they take a tenth of the time of all curves with their derivatives.
def _of_van_genuchten(h: Any, theta_r: Any, theta_s: Any, alpha: Any, n: Any, m: Any = None) -> Any:
    return van_genuchten_theta(h, theta_r, theta_s, alpha, n, 1 - 1 / n if m is None else m)


def _k_of_van_genuchten(h: Any, alpha: Any, n: Any, k_sat: Any, l: Any) -> Any:  # noqa: E741
    return _van_genuchten(h, 0.0, 1.0, alpha, n, 1 - 1 / n, k_sat, l)[2]


def _of_fredlund_xing_wang(h: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
    return _fredlund_xing_wang_retention(h, theta_s, alpha, n, m)[0]


def _k_of_fredlund_xing_wang(h: Any, *parameters: Any) -> Any:
    return _fredlund_xing_wang(h, *parameters, *_fredlund_xing_wang_anchors(*parameters))[2]


def _k_of_brooks_corey(h: Any, psi_s: Any, lambda_: Any, k_sat: Any) -> Any:
    return _brooks_corey(h, 0.0, 1.0, psi_s, lambda_, k_sat)[2]


def _k_of_campbell(h: Any, psi_s: Any, b: Any, k_sat: Any) -> Any:
    return _k_of_brooks_corey(h, psi_s, 1 / b, k_sat)


def _of_gardner(h: Any, theta_r: Any, theta_s: Any, alpha: Any) -> Any:
    return _gardner(h, theta_r, theta_s, alpha, 1.0)[0]


def _k_of_gardner(h: Any, alpha: Any, k_sat: Any) -> Any:
    return _gardner(h, 0.0, 1.0, alpha, k_sat)[2]


def _of_haverkamp(h: Any, theta_r: Any, theta_s: Any, a: Any, beta: Any) -> Any:
    return _haverkamp(h, theta_r, theta_s, a, beta, 1.0, 1.0, 1.0)[0]


def _k_of_haverkamp(h: Any, k_sat: Any, k_a: Any, gamma: Any) -> Any:
    return _haverkamp(h, 0.0, 1.0, 1.0, 1.0, k_sat, k_a, gamma)[2]


CURVES: Mapping[str, HydraulicCurve] = MappingProxyType(
    {
        "van_genuchten": HydraulicCurve(
            ("theta_r", "theta_s", "alpha", "n"), ("alpha", "n", "k_sat", "l"), _of_van_genuchten, _k_of_van_genuchten,
            "van Genuchten (1980) https://doi.org/10.2136/sssaj1980.03615995004400050002x",
        ),
        "fredlund_xing_wang": HydraulicCurve(
            ("theta_s", "alpha", "n", "m"), ("theta_s", "alpha", "n", "m", "k_sat"),
            _of_fredlund_xing_wang, _k_of_fredlund_xing_wang,
            "Fredlund & Xing (1994) https://doi.org/10.1139/t94-061; Wang et al. (2018), Water Resour. Res. 54, 6860",
        ),
        "brooks_corey": HydraulicCurve(
            ("theta_r", "theta_s", "psi_s", "lambda"), ("psi_s", "lambda", "k_sat"),
            brooks_corey_theta, _k_of_brooks_corey,
            "Brooks & Corey (1964), Hydrology Paper 3, Colorado State University",
        ),
        "campbell": HydraulicCurve(
            ("theta_s", "psi_s", "b"), ("psi_s", "b", "k_sat"), campbell_theta, _k_of_campbell,
            "Campbell (1974), Soil Sci. 117, 311-314; Clapp & Hornberger (1978), Water Resour. Res. 14, 601-604",
        ),
        "gardner": HydraulicCurve(
            ("theta_r", "theta_s", "alpha"), ("alpha", "k_sat"), _of_gardner, _k_of_gardner,
            "Gardner (1958), Soil Sci. 85, 228-232; Srivastava & Yeh (1991), Water Resour. Res. 27, 753-762",
        ),
        "haverkamp": HydraulicCurve(
            ("theta_r", "theta_s", "a", "beta"), ("k_sat", "k_a", "gamma"), _of_haverkamp, _k_of_haverkamp,
            "Haverkamp et al. (1977), Soil Sci. Soc. Am. J. 41, 285-294",
        ),
    }
)  # fmt: skip
"""All curves by name."""

_POSITIVE = ("alpha", "m", "b", "lambda", "a", "beta", "k_a", "gamma", "k_sat", "k_0")


def possible(values: Mapping[str, Array], curve: str | None = None) -> Array:
    """Where the parameters of a soil are finite, in their ranges and in order.

    Parameters
    ----------
    values : mapping of str to array
        Parameters by the names of the vocabulary, in its units.
    curve : str, optional
        That they belong to: n may be below 1 in van Genuchten's retention with an m of its own.

    Returns
    -------
    array of bool
    """
    checks = [np.isfinite(array) for array in values.values()]
    if "theta_s" in values:
        checks.append((values["theta_s"] > 0) & (values["theta_s"] <= 1))
    if "theta_r" in values:
        checks.append((values["theta_r"] >= 0) & (values["theta_r"] < values["theta_s"]))
    checks += [values[name] > 0 for name in _POSITIVE if name in values]
    if "psi_s" in values:
        checks.append(values["psi_s"] < 0)
    if "n" in values:
        free = curve == "van_genuchten" and "m" in values
        checks.append(values["n"] > (0 if free else 1))
        if "l" in values:  # below that, conductivity grows as the soil dries (Peters et al. 2011)
            checks.append(values["l"] * (1 - 1 / values["n"]) > -2)
    good: Array = np.logical_and.reduce(np.broadcast_arrays(*checks))
    return good
