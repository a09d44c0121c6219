"""What the verbs on hydraulic curves share: which curve a dataset holds, heads with their units, faults of cells."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.physics.curves import CURVES, possible
from xsoil.ptfs import PTFS
from xsoil.verbs._cells import CELLS_PER_BLOCK, map_cells
from xsoil.verbs._inputs import carry, decode, read
from xsoil.vocabulary import VARIABLES, Variable

__all__ = [
    "FLAGS",
    "Curve",
    "Heads",
    "along_heads",
    "chosen",
    "curve_of",
    "heads_of",
    "holds_a_curve",
    "in_cm",
    "missing",
    "parameters_in",
    "require_free",
    "retention_of",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Curve = Literal[
    "van_genuchten", "fredlund_xing_wang", "brooks_corey", "campbell", "clapp_hornberger", "gardner", "haverkamp"
]
Heads = float | Sequence[float] | NDArray[Any] | xr.DataArray

HEAD = VARIABLES["h"]
FLAGS = {"input_missing": 1, "input_impossible": 2, "above_matching_point": 4}


def parameters_in(ds: xr.Dataset) -> set[Hashable]:
    """Names of what may be parameters: a dim that is called n or m is none."""
    return {name for name in ds.variables if name not in ds.dims}


def retention_of(ds: xr.Dataset, curve: str) -> tuple[str, ...]:
    """Parameters of theta(h) in their order, with van Genuchten's m where the dataset has one of its own."""
    return *CURVES[curve].retention, *["m"] * (curve == "van_genuchten" and "m" in parameters_in(ds))


def require_free(ds: xr.Dataset, names: Collection[str]) -> None:
    """Raise where the dataset has a dim or coordinate with the name of a result."""
    for name in names:
        if name in ds.dims or name in ds.coords:
            raise ArgumentError(
                f"the dataset has a coordinate {name!r} already: ds.rename({name}=...), or ds.drop_vars({name!r})"
            )


def chosen(curve: str | None, needed: Mapping[str, Collection[str]], there: Collection[Hashable]) -> str | None:
    """The curve that was asked for, else the one whose parameters are all there; None where there is none.

    Parameters
    ----------
    curve : str, optional
        One of `needed`, or "clapp_hornberger" for "campbell".
    needed : mapping of str to collection of str
        Parameters of each curve.
    there : collection of str
        Names of all that is given.

    Raises
    ------
    UnknownNameError
        No such curve.
    ArgumentError
        The parameters of several curves are there. Those that are only part of another's do not count.
    """
    if curve is not None:
        name = "campbell" if curve == "clapp_hornberger" else curve
        if not isinstance(name, str) or name not in needed:
            raise UnknownNameError.of("curve", curve, (*needed, *["clapp_hornberger"] * ("campbell" in needed)))
        return name
    whole = {name: {*own} for name, own in needed.items() if {*own} <= {*there}}
    found = [name for name, own in whole.items() if not any(own < other for other in whole.values())]
    if len(found) > 1:
        choice = " or ".join(f"curve={name!r}" for name in found)
        rest = ", ".join(map(repr, sorted(whole[found[-1]] - whole[found[0]])))
        raise ArgumentError(
            f"there are the parameters of {len(found)} curves; choose one: {choice}, or leave out {rest}"
        )
    return found[0] if found else None


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
    there = parameters_in(ds)
    # Gardner's are part of van Genuchten's; those of Fredlund, Xing & Wang (theta_s, alpha, n, m) are part of van
    # Genuchten's with an m of its own, which has theta_r too.
    known = among if curve is None else CURVES
    name = chosen(curve, {row: (*retention_of(ds, row), *needs) for row in known}, there)
    if name is None:
        raise missing(ds, verb, among, needs)
    if name not in among:
        raise ArgumentError(f"{verb} is not defined for curve={curve!r}; expected {' or '.join(among)}")
    if not {*CURVES[name].retention, *needs} <= there:
        raise missing(ds, verb, (name,), needs)
    return name


def holds_a_curve(ds: xr.Dataset, among: Collection[str]) -> bool:
    """Whether all parameters of retention of at least one curve are there."""
    there = parameters_in(ds)
    return any({*CURVES[name].retention} <= there for name in among)


def missing(ds: xr.Dataset, verb: str, among: Collection[str], needs: Sequence[str]) -> MissingVariableError:
    """What is missing of the curve that lacks the least, and which functions give it."""
    options = {name: list(dict.fromkeys((*CURVES[name].retention, *needs))) for name in among}
    there = parameters_in(ds)
    nearest = max(options, key=lambda name: sum(p in there for p in options[name]) / len(options[name]))
    lacking = [p for p in options[nearest] if p not in there]
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
    if isinstance(h, xr.DataArray):
        if h.chunks is not None:
            raise ArgumentError("h is lazy; expected heads that are there: h.load()")
        if any(dim in ds.dims and dim != HEAD.name for dim in h.dims):
            raise ArgumentError(
                f"h lies along {h.dims}, which the parameters have too; expected heads for all cells: h.values "
                f"[{HEAD.units}]"
            )
        h = in_cm(h, "h").to_numpy()
    try:
        found = np.array(np.nan) if np.asarray(h).dtype.kind in "bSUmM" else np.asarray(h, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.ndim > 1 or not found.size or not np.isfinite(found).all():
        raise ArgumentError(
            f"h={h!r}; expected a pressure head, or a sequence of them [cm, negative where the soil is unsaturated], "
            "or a DataArray with units"
        )
    require_free(ds, (HEAD.name,))
    return found.reshape(-1), found.ndim == 0


def in_cm(head: xr.DataArray, name: str) -> xr.DataArray:
    """Heads of an argument in the units of the vocabulary, nodata as NaN."""
    conversion = HEAD.require(head.attrs.get("units"), name, name)
    return decode(head).astype(np.float64) * conversion.factor


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
    require_free(ds, (variable.name, *["quality"] * bool(quality)))
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
