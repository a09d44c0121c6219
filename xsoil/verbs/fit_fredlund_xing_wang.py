"""`fit_fredlund_xing_wang`: parameters of the curve of Fredlund, Xing & Wang from those of another curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.physics.curves import CURVES, possible
from xsoil.verbs._cells import map_cells
from xsoil.verbs._curves import Curve, Heads, curve_of, heads_of, require_free, retention_of
from xsoil.verbs._inputs import as_dataset, carry, read
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["BOUNDS", "fit_fredlund_xing_wang"]

Array = NDArray[Any]
Pair = tuple[float, float]

BOUNDS: Mapping[str, Pair] = {"alpha": (0.0015, 0.2), "n": (1.05, 13.5), "m": (0.2, 1.6)}
"""Those within which Qi et al. (2026) search."""
SUCTIONS = tuple(np.logspace(0.0, 4.2, 40).tolist())
"""pF 0 to 4.2, the range in which water is measured [cm]."""
_START = (0.02, 2.0, 0.8)  # five others beside it find a better fit for one in 3,000 random soils
_CELLS = 2048

FLAGS = {"input_missing": 1, "input_impossible": 2, "at_bound": 4, "not_converged": 8}
_RMSE = Variable("fit_rmse", "m3 m-3", "root-mean-square difference of the fitted curve from the given one")


def fit_fredlund_xing_wang(
    ds: xr.Dataset | xr.DataArray,
    *,
    curve: Curve | None = None,
    h: Heads | None = None,
    bounds: Mapping[str, Pair] | None = None,
    quality: bool = False,
) -> xr.Dataset:
    """Fit the retention curve of Fredlund, Xing & Wang to another one.

    No pedotransfer function gives its parameters. alpha, n and m minimise the sum of squared differences of the water
    contents at `h` (Levenberg-Marquardt, with the curve's own derivatives); theta_s is that of the given curve. The
    curves differ most where a given one stays at theta_r: this one dries out towards -6.3e6 cm.

    Parameters
    ----------
    ds : xr.Dataset
        Parameters of any curve of `xsoil.retention`, as `xsoil.ptf` returns them, and `k_sat` if it shall come along.
    curve : str, optional
        As in `xsoil.retention`; by default the one whose parameters are there.
    h : sequence or xr.DataArray, optional
        Pressure heads as in `xsoil.retention`, at least four below 0; by default 40 from pF 0 to 4.2, evenly.
    bounds : mapping of str to (low, high), optional
        Of `alpha` [cm-1], `n` and `m`; those left out are (0.0015, 0.2), (1.05, 13.5) and (0.2, 1.6) [1]_.
    quality : bool
        Add the flag variable `quality`.

    Returns
    -------
    xr.Dataset
        `theta_s`, `alpha`, `n`, `m`, `k_sat` where it was there, and `fit_rmse` [m3 m-3], lazy where a parameter is,
        float32 where all are. NaN where a parameter is missing or impossible; `quality` [int16, CF `flag_masks` and
        `flag_meanings`] tells which, and where a result lies on a bound. Some 100,000 cells a second and core.

    Raises
    ------
    MissingVariableError, ArgumentError, UnitsError, UnknownNameError
        As `xsoil.retention`; for bounds that are not in order, or n at 1 or below.

    References
    ----------
    .. [1] Qi et al. (2026); Wang et al. (2018), Water Resour. Res. 54, 6860

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> loam = {"theta_r": (0.078, "1"), "theta_s": (0.43, "1"), "alpha": (0.036, "cm-1"), "n": (1.56, "1")}
    >>> parameters = xr.Dataset({name: ((), value, {"units": units}) for name, (value, units) in loam.items()})
    >>> found = xsoil.fit_fredlund_xing_wang(parameters)
    >>> [round(found[name].item(), 4) for name in ("alpha", "n", "m", "fit_rmse")]
    [0.037, 1.5257, 0.6962, 0.003]
    """
    ds = as_dataset(ds)
    name = curve_of(ds, curve, "fit_fredlund_xing_wang")
    names = retention_of(ds, name)
    require_free(ds, ("theta_s", *BOUNDS, "k_sat", "fit_rmse", *["quality"] * bool(quality)))
    cells = [read(ds, VARIABLES[p]) for p in names]
    dtype = np.result_type(np.float32, *(array.dtype for array in cells))
    function = _Fit(name, names, _suctions(h, ds), _bounds(bounds), dtype.str)
    alpha, n, m, rmse, flags = map_cells(function, cells, [dtype] * 4 + [np.dtype(np.int16)], block=_CELLS)
    fitted = {"theta_s": read(ds, VARIABLES["theta_s"]), "alpha": alpha, "n": n, "m": m}
    if "k_sat" in ds.variables:
        fitted["k_sat"] = read(ds, VARIABLES["k_sat"])
    fitted["theta_s"] = fitted["theta_s"].where(np.isfinite(rmse))
    out = xr.Dataset({p: array.assign_attrs(VARIABLES[p].attrs) for p, array in fitted.items()})
    out["fit_rmse"] = rmse.assign_attrs(_RMSE.attrs)
    for p in ("alpha", "n", "m"):
        out[p].attrs |= {
            "long_name": f"{p} of Fredlund & Xing",
            "references": CURVES["fredlund_xing_wang"].reference,
            "fitted_to": name,
        }
    if quality:
        out["quality"] = flags.assign_attrs(
            long_name="quality of the fit", flag_masks=np.array(list(FLAGS.values()), np.int16),
            flag_meanings=" ".join(FLAGS),
        )  # fmt: skip
    return carry(ds, out, names[0])


@dataclass(frozen=True)
class _Fit:
    """alpha, n, m, rmse and flags of blocks of cells: a function for `map_cells`."""

    curve: str
    names: tuple[str, ...]
    suctions: tuple[float, ...]
    bounds: tuple[Pair, ...]
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array, ...]:
        from xsoil.kernels.fredlund_xing_wang_fit import fit  # numba loads on first use

        p = {name: block.astype(np.float64) for name, block in zip(self.names, blocks, strict=True)}
        absent = np.logical_or.reduce([np.isnan(values) for values in p.values()])
        suction = np.array(self.suctions)
        with np.errstate(all="ignore"):
            good = possible(p, self.curve)
            wanted = np.where(good, CURVES[self.curve].theta(-suction[:, None], *p.values()), np.nan)
        low, high = np.array(self.bounds).T
        columns = np.ascontiguousarray(wanted.T)
        shape, rmse, rested = fit(suction, columns, p["theta_s"], np.array(_START), low.copy(), high.copy())
        fitted = np.isfinite(rmse)
        bound = ((shape <= low[:, None]) | (shape >= high[:, None])).any(axis=0)
        quality = np.zeros(absent.size, np.int16)
        faults = (absent, ~absent & ~fitted, fitted & bound, fitted & ~rested)
        for bit, where in zip(FLAGS.values(), faults, strict=True):
            quality |= where * np.int16(bit)
        return *(row.astype(self.dtype) for row in (*shape, rmse)), quality


def _suctions(h: Heads | None, ds: xr.Dataset) -> tuple[float, ...]:
    if h is None:
        return SUCTIONS
    heads, _ = heads_of(h, ds)
    if np.unique(heads[heads < 0]).size < 4 or (heads >= 0).any():
        raise ArgumentError(f"h={h!r}; expected at least four different pressure heads, all below 0 [cm]")
    return tuple((-heads).tolist())


def _bounds(asked: Mapping[str, Sequence[float]] | None) -> tuple[Pair, ...]:
    chosen: dict[str, Sequence[float]] = dict(BOUNDS)
    if not isinstance(asked, Mapping | None):
        raise ArgumentError(f"bounds={asked!r}; expected pairs by name: bounds={{'n': (1.05, 13.5)}}")
    for name, pair in (asked or {}).items():
        if name not in BOUNDS:
            raise UnknownNameError.of("parameter of the fit", name, BOUNDS)
        chosen[name] = pair
    for name, pair in chosen.items():
        least = 1.0 if name == "n" else 0.0
        numbers = np.ndim(pair) == 1 and np.asarray(pair).dtype.kind in "iuf"
        if not (numbers and len(pair) == 2 and least < pair[0] < pair[1] < np.inf):
            raise ArgumentError(f"bounds of {name!r} are {pair!r}; expected (low, high) with {least:g} < low < high")
    return tuple((float(pair[0]), float(pair[1])) for pair in chosen.values())
