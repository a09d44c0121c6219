"""What the verbs on hydraulic curves share: which curve a dataset holds, heads with their units, faults of cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError, UnknownNameError
from xsoil.physics.curves import CURVES, possible
from xsoil.ptfs import PTFS
from xsoil.verbs._cells import CELLS_PER_BLOCK, map_cells
from xsoil.verbs._inputs import carry, read
from xsoil.vocabulary import VARIABLES, Conversion, Variable

__all__ = ["FLAGS", "Curve", "Heads", "along_heads", "converted", "curve_of", "heads_of", "held", "missing"]

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Curve = Literal[
    "van_genuchten", "fredlund_xing_wang", "brooks_corey", "campbell", "clapp_hornberger", "gardner", "haverkamp"
]
Heads = float | Sequence[float] | NDArray[Any] | xr.DataArray

HEAD = VARIABLES["h"]
FLAGS = {"input_missing": 1, "input_impossible": 2, "above_matching_point": 4}


def curve_of(
    ds: xr.Dataset, curve: str | None, verb: str, among: Collection[str] = tuple(CURVES), needs: Sequence[str] = ()
) -> str:
    """The curve that was asked for, else the one whose retention parameters are there.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters.
    curve : str, optional
        A name in `CURVES`, or "clapp_hornberger" for "campbell".
    verb : str
        For messages.
    among, needs : collection of str
        Curves that the verb takes, and what it needs besides their parameters.

    Raises
    ------
    UnknownNameError, ArgumentError
        No such curve; not one that the verb takes; or the parameters of several are there.
    MissingVariableError
        Parameters are missing, of the curve or of all of them.
    """
    if curve is None:
        found = held(ds, among, needs)
        if len(found) > 1:
            rest = [p for p in CURVES[found[-1]].retention if p not in CURVES[found[0]].retention]
            raise ArgumentError(
                f"the dataset holds the parameters of {len(found)} curves, {' and '.join(found)}; choose one, "
                f"curve={found[0]!r}, or keep those of one: ds.drop_vars({rest})"
            )
        if not found:
            raise missing(ds, verb, among, needs)
        return found[0]
    name = "campbell" if curve == "clapp_hornberger" else curve
    if name not in CURVES:
        raise UnknownNameError.of("curve", curve, (*CURVES, "clapp_hornberger"))
    if name not in among:
        raise ArgumentError(f"{verb} is not defined for curve={curve!r}; expected {' or '.join(among)}")
    if any(p not in ds.variables for p in (*CURVES[name].retention, *needs)):
        raise missing(ds, verb, (name,), needs)
    return name


def held(ds: xr.Dataset, among: Collection[str], needs: Sequence[str] = ()) -> list[str]:
    """Curves whose parameters are all there, without those whose parameters are only part of another's.

    Gardner's are part of van Genuchten's; those of Fredlund, Xing & Wang (theta_s, alpha, n, m) are part of van
    Genuchten's with an m of its own, which has theta_r too.
    """
    whole = {
        name: {*CURVES[name].retention, *(("m",) if name == "van_genuchten" and "m" in ds.variables else ())}
        for name in among
        if all(p in ds.variables for p in (*CURVES[name].retention, *needs))
    }
    return [name for name, own in whole.items() if not any(own < other for other in whole.values())]


def missing(ds: xr.Dataset, verb: str, among: Collection[str], needs: Sequence[str]) -> MissingVariableError:
    """What is missing of the curve that lacks the least, and which functions give it."""
    options = {name: list(dict.fromkeys((*CURVES[name].retention, *needs))) for name in among}
    nearest = max(options, key=lambda name: sum(p in ds.variables for p in options[name]) / len(options[name]))
    lacking = [p for p in options[nearest] if p not in ds.variables]
    given = [
        entry.name
        for entry in PTFS.values()
        if any({*option} <= {v.name for v in entry.outputs} for option in options.values())
    ]
    needed = " or ".join(f"{', '.join(option)} ({name})" for name, option in options.items())
    source = (
        f"They come from ds.soil.ptf(...) with {', '.join(given)}"
        if given
        else "No pedotransfer function gives them; measured ones: ds.assign(...), with their units"
    )
    return MissingVariableError(
        f"{verb} needs {needed}; no {', '.join(map(repr, lacking))} among {sorted(map(str, ds.data_vars))}. {source}"
    )


def heads_of(h: Heads, ds: xr.Dataset) -> tuple[Doubles, bool]:
    """Heads [cm], and whether it was a single one.

    Raises
    ------
    ArgumentError
        Not finite numbers in one dimension, or along a dimension of the dataset.
    UnitsError
        A DataArray without units, or with unknown ones.
    """
    factor = 1.0
    if isinstance(h, xr.DataArray):
        if h.chunks is not None:
            raise ArgumentError("h is lazy; expected heads that are there: h.load()")
        if any(dim in ds.dims and dim != HEAD.name for dim in h.dims):
            raise ArgumentError(
                f"h lies along {h.dims}, which the parameters have too; expected heads for all cells: h.values "
                f"[{HEAD.units}]"
            )
        factor = converted(h, "h", HEAD).factor
        h = h.to_numpy()
    try:
        found = np.asarray(h, np.float64) * factor
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.ndim > 1 or not found.size or not np.isfinite(found).all():
        raise ArgumentError(
            f"h={h!r}; expected a pressure head, or a sequence of them [cm, negative where the soil is unsaturated], "
            "or a DataArray with units"
        )
    if HEAD.name in ds.dims or HEAD.name in ds.coords:
        raise ArgumentError(
            f"the dataset has a coordinate {HEAD.name!r} already: ds.rename(h=...), or ds.drop_vars('h')"
        )
    return found.reshape(-1), found.ndim == 0


def converted(array: xr.DataArray, name: str, variable: Variable) -> Conversion:
    """How to come from the units of an argument to those of the vocabulary."""
    units = array.attrs.get("units")
    conversion = variable.conversion(None if units is None else str(units))
    if conversion is None:
        found = "no units" if not units else f"units {units!r}"
        raise UnitsError(
            f"{name} has {found}; expected {variable.units!r} or one of {sorted(variable.accepts)}: "
            f"{name}.attrs['units'] = {variable.units!r}"
        )
    return conversion


@dataclass(frozen=True)
class _AlongHeads:
    """Values (head, cell) of a curve and their flags: a function for `map_cells`."""

    curve: str
    of: Literal["theta", "k"]
    takes: tuple[str, ...]
    """What the curve takes, in its order; `read` holds at least these, but for constants."""
    read: tuple[str, ...]
    constants: tuple[tuple[str, float], ...]
    heads: tuple[float, ...]
    highest: float
    """Head [cm] above which there is no value."""
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array, Array]:
        p = {name: block.astype(np.float64) for name, block in zip(self.read, blocks, strict=True)}
        absent = np.logical_or.reduce([np.isnan(values) for values in p.values()])
        h = np.array(self.heads)[:, None]
        arguments = [p[name] if name in p else dict(self.constants)[name] for name in self.takes]
        with np.errstate(all="ignore"):
            found = np.broadcast_to(getattr(CURVES[self.curve], self.of)(h, *arguments), (h.size, absent.size))
            if self.of == "theta":  # not above saturation by a rounding, nor below 0 drier than oven-dry
                found = np.clip(found, 0.0, p["theta_s"])
            wrong = ~(possible(p, self.curve) & np.isfinite(found)) & ~absent
            above = np.broadcast_to(h > self.highest, found.shape) & ~absent & ~wrong
            values = np.where(absent | wrong | above, np.nan, found).astype(self.dtype)
        quality = np.zeros(found.shape, np.int16)
        for bit, where in zip(FLAGS.values(), (absent, wrong, above), strict=True):
            quality |= where * np.int16(bit)
        return values, quality


def along_heads(
    ds: xr.Dataset,
    h: Heads,
    curve: str,
    variable: Variable,
    takes: tuple[str, ...],
    *,
    checked: Sequence[str] = (),
    constants: Mapping[str, float] | None = None,
    highest: float = np.inf,
    quality: bool,
) -> xr.Dataset:
    """A curve at heads as a dataset: `variable` with a new dim in front of those of the parameters.

    Parameters
    ----------
    ds : xr.Dataset
        Hydraulic parameters.
    h : number, sequence or xr.DataArray
        Heads.
    curve : str
        A name in `CURVES`.
    variable : Variable
        `theta` or `k`.
    takes : tuple of str
        Parameters in the order of the curve's arguments.
    checked : sequence of str
        Others that must be there and possible.
    constants : mapping
        Parameters that are not in the dataset.
    highest : float
        Head [cm] above which the curve is not defined.
    quality : bool
        Add the flags.
    """
    heads, single = heads_of(h, ds)
    constants = dict(constants or {})
    names = tuple(dict.fromkeys(name for name in (*takes, *checked) if name not in constants))
    cells = [read(ds, VARIABLES[name]) for name in names]
    dtype = np.result_type(np.float32, *(array.dtype for array in cells))
    of: Literal["theta", "k"] = "theta" if variable.name == "theta" else "k"
    function = _AlongHeads(curve, of, takes, names, tuple(constants.items()), tuple(heads.tolist()), highest, dtype.str)
    block = max(CELLS_PER_BLOCK // heads.size, 1024)
    values, flags = map_cells(function, cells, [dtype, np.int16], block=block, along=(HEAD.name, heads.size))
    out = xr.Dataset({variable.name: values})
    out[variable.name].attrs = variable.attrs | {"references": CURVES[curve].reference, "curve": curve}
    if quality:
        out["quality"] = flags.assign_attrs(
            long_name=f"quality of {variable.name}",
            flag_masks=np.array(list(FLAGS.values()), np.int16),
            flag_meanings=" ".join(FLAGS),
        )
    out = out.assign_coords({HEAD.name: (HEAD.name, heads, HEAD.attrs)})
    return carry(ds, out.isel({HEAD.name: 0}) if single else out, names[0])
