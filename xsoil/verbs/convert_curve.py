"""`convert_curve`: hydraulic parameters of one curve from those of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.physics.conversion import (
    brooks_corey_of_campbell,
    brooks_corey_of_van_genuchten,
    brooks_corey_of_van_genuchten_lenhard,
    brooks_corey_of_van_genuchten_morel_seytoux,
    gardner_of_brooks_corey,
    van_genuchten_of_brooks_corey,
    van_genuchten_of_brooks_corey_morel_seytoux,
)
from xsoil.physics.curves import CURVES, possible
from xsoil.verbs._cells import map_cells
from xsoil.verbs._curves import FLAGS, Curve, curve_of, parameters_in, require_free
from xsoil.verbs._inputs import as_dataset, carry, read
from xsoil.verbs.fit_fredlund_xing_wang import fit_fredlund_xing_wang
from xsoil.vocabulary import VARIABLES

__all__ = ["convert_curve"]

Array = NDArray[Any]
Cells = dict[str, Array]
Method = Literal["exact", "asymptotic", "lenhard", "morel_seytoux", "capillary_drive", "fit"]


def _campbell_to_brooks_corey(p: Cells) -> Cells:
    return {"theta_r": 0 * p["theta_s"], "psi_s": p["psi_s"], "lambda": brooks_corey_of_campbell(p["b"])}


def _lenhard(alpha: Any, n: Any) -> Any:
    return brooks_corey_of_van_genuchten_lenhard(alpha, n, np.exp)


def _to_brooks_corey(formula: Callable[..., Any]) -> Callable[[Cells], Cells]:
    def convert(p: Cells) -> Cells:
        psi_s, lambda_ = formula(p["alpha"], p["n"])
        return {"theta_r": p["theta_r"], "psi_s": psi_s, "lambda": lambda_}

    return convert


def _to_van_genuchten(formula: Callable[..., Any]) -> Callable[[Cells], Cells]:
    def convert(p: Cells) -> Cells:
        p = p | _campbell_to_brooks_corey(p) if "b" in p else p
        alpha, n = formula(p["psi_s"], p["lambda"])
        return {"theta_r": p["theta_r"], "alpha": alpha, "n": n}

    return convert


def _to_gardner(p: Cells) -> Cells:
    if "b" in p:
        p = p | _campbell_to_brooks_corey(p)
    if "n" in p:
        p = p | _to_brooks_corey(brooks_corey_of_van_genuchten_morel_seytoux)(p)
    return {"theta_r": p["theta_r"], "alpha": gardner_of_brooks_corey(p["psi_s"], p["lambda"])}


@dataclass(frozen=True)
class _Way:
    sources: tuple[str, ...]
    to: str
    method: str
    convert: Callable[[Cells], Cells]
    reference: str


_POWER_LAWS = ("brooks_corey", "campbell")
_LENHARD = "Lenhard, Parker & Mishra (1989), J. Irrig. Drain. Eng. 115, 744-751"
_MOREL_SEYTOUX = "Morel-Seytoux et al. (1996), Water Resour. Res. 32, 1251-1258"
_SAME_END = "van Genuchten (1980), Soil Sci. Soc. Am. J. 44, 892-898"
_DRIVE = "White & Sully (1987), Water Resour. Res. 23, 1514-1522"
_EXACT = "Campbell (1974), Soil Sci. 117, 311-314"
# The first way of a pair is the default.
_WAYS = (
    _Way(("campbell",), "brooks_corey", "exact", _campbell_to_brooks_corey, _EXACT),
    _Way(
        ("van_genuchten",), "brooks_corey", "asymptotic", _to_brooks_corey(brooks_corey_of_van_genuchten), _SAME_END
    ),
    _Way(("van_genuchten",), "brooks_corey", "lenhard", _to_brooks_corey(_lenhard), _LENHARD),
    _Way(
        ("van_genuchten",), "brooks_corey", "morel_seytoux",
        _to_brooks_corey(brooks_corey_of_van_genuchten_morel_seytoux), _MOREL_SEYTOUX,
    ),
    _Way(_POWER_LAWS, "van_genuchten", "asymptotic", _to_van_genuchten(van_genuchten_of_brooks_corey), _SAME_END),
    _Way(
        _POWER_LAWS, "van_genuchten", "morel_seytoux",
        _to_van_genuchten(van_genuchten_of_brooks_corey_morel_seytoux), _MOREL_SEYTOUX,
    ),
    _Way((*_POWER_LAWS, "van_genuchten"), "gardner", "capillary_drive", _to_gardner, _DRIVE),
)  # fmt: skip


def convert_curve(
    ds: xr.Dataset | xr.DataArray,
    to: Curve,
    *,
    method: Method | None = None,
    curve: Curve | None = None,
    quality: bool = False,
) -> xr.Dataset:
    """Hydraulic parameters of another curve.

    Pedotransfer functions give those of van Genuchten, Brooks-Corey or Campbell.

    Parameters
    ----------
    ds : xr.Dataset
        Parameters of a curve (see `xsoil.retention`), and `k_sat` if it shall come along.
    to : str
        The curve wanted.
    method : str, optional
        The first of its line by default.

        - campbell to "brooks_corey": "exact" (lambda = 1 / b, theta_r = 0)
        - van_genuchten to "brooks_corey": "asymptotic" (the same dry end), "lenhard" (they meet at half saturation)
          [1]_, "morel_seytoux" (the same capillary drive) [2]_
        - brooks_corey or campbell to "van_genuchten": "asymptotic", "morel_seytoux"
        - these three to "gardner": "capillary_drive" (the same integral of K / k_sat over all suctions [3]_; for van
          Genuchten within some percent)
        - any to "fredlund_xing_wang": "fit", `xsoil.fit_fredlund_xing_wang`
    curve : str, optional
        The curve of the dataset; by default the one whose parameters are there.
    quality : bool
        Add the flag variable `quality`.

    Returns
    -------
    xr.Dataset
        The parameters of retention on the curve `to`, and `k_sat` where it was there, lazy where a parameter is,
        float32 where all are. NaN where a parameter is missing or impossible; `quality` [int16, CF `flag_masks` and
        `flag_meanings`] tells which.

    Raises
    ------
    ArgumentError
        Where no way leads from one curve to the other, or the method is another's; for van Genuchten parameters with an
        m of their own (Vereecken et al. 1989), but for a fit.
    MissingVariableError, UnitsError, UnknownNameError
        As `xsoil.retention`.

    References
    ----------
    .. [1] Lenhard, Parker & Mishra (1989), J. Irrig. Drain. Eng. 115, 744-751
    .. [2] Morel-Seytoux et al. (1996), Water Resour. Res. 32, 1251-1258
    .. [3] White & Sully (1987), Water Resour. Res. 23, 1514-1522

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> percent = {"units": "percent"}
    >>> soil = xr.Dataset({"sand": ((), 40.0, percent), "clay": ((), 20.0, percent)})
    >>> loam = xsoil.convert_curve(xsoil.ptf(soil, "cosby1984"), "van_genuchten")
    >>> [round(loam[name].item(), 4) for name in ("theta_r", "theta_s", "alpha", "n")]
    [0.0, 0.4408, 0.0387, 1.1634]
    """
    ds = as_dataset(ds)
    name = curve_of(ds, curve, "convert_curve")
    target = "campbell" if to == "clapp_hornberger" else to
    if not isinstance(target, str) or target not in CURVES:
        raise UnknownNameError.of("curve", to, CURVES)
    if target == "fredlund_xing_wang" and method in (None, "fit"):
        return fit_fredlund_xing_wang(ds, curve=curve, quality=quality)
    way = _way(name, target, method)
    if name == "van_genuchten" and "m" in parameters_in(ds):
        raise ArgumentError(
            "the dataset holds an m of its own (that of Vereecken et al. 1989 is 1), and conversions have m = 1 - 1/n; "
            "expected another pedotransfer function, or ds.drop_vars('m') where it is 1 - 1/n"
        )
    names = CURVES[name].retention
    wanted = tuple(p for p in CURVES[target].retention if p != "theta_s")
    require_free(ds, ("theta_s", *wanted, "k_sat", *["quality"] * bool(quality)))
    cells = [read(ds, VARIABLES[p]) for p in names]
    dtype = np.result_type(np.float32, *(array.dtype for array in cells))
    function = _Conversion(_WAYS.index(way), names, wanted, dtype.str)
    *found, flags = map_cells(function, cells, [dtype] * (len(wanted) + 1) + [np.dtype(np.int16)])
    out = xr.Dataset(dict(zip(("theta_s", *wanted), found, strict=True)))
    for p in ("theta_s", *wanted):
        out[p].attrs = VARIABLES[p].attrs
    source = {"references": way.reference, "converted_from": name, "conversion": way.method}
    for p in wanted:
        out[p].attrs |= source
    if "k_sat" in ds.variables:
        out["k_sat"] = read(ds, VARIABLES["k_sat"])
    if quality:
        masks = dict(list(FLAGS.items())[:2])
        out["quality"] = flags.assign_attrs(
            long_name="quality of the conversion", flag_masks=np.array(list(masks.values()), np.int16),
            flag_meanings=" ".join(masks),
        )  # fmt: skip
    return carry(ds, out, names[0])


def _way(name: str, target: str, method: str | None) -> _Way:
    ways = [way for way in _WAYS if name in way.sources and way.to == target]
    for way in ways:
        if method in (None, way.method):
            return way
    methods = [way.method for way in ways] or ["fit"] * (target == "fredlund_xing_wang")
    if methods:
        raise ArgumentError(
            f"method={method!r} from {name} to {target}; expected {' or '.join(repr(known) for known in methods)}"
        )
    targets = sorted({way.to for way in _WAYS if name in way.sources} | {"fredlund_xing_wang"} - {name})
    raise ArgumentError(
        f"no way leads from {name} to {target}; expected {' or '.join(targets) or 'parameters of another curve'}"
    )


@dataclass(frozen=True)
class _Conversion:
    """Parameters and flags of blocks of cells: a function for `map_cells`."""

    way: int
    names: tuple[str, ...]
    wanted: tuple[str, ...]
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array, ...]:
        p = {name: block.astype(np.float64) for name, block in zip(self.names, blocks, strict=True)}
        absent = np.logical_or.reduce([np.isnan(values) for values in p.values()])
        way = _WAYS[self.way]
        with np.errstate(all="ignore"):
            found = {**p, **way.convert(p)}
            rows = {name: found[name] for name in ("theta_s", *self.wanted)}
            good = possible(p) & possible(rows)
        values = [np.where(good, row, np.nan).astype(self.dtype) for row in rows.values()]
        quality = absent * np.int16(FLAGS["input_missing"]) + (~absent & ~good) * np.int16(FLAGS["input_impossible"])
        return *values, quality
