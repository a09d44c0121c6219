"""`compare_scaling`: a soil map to another scale in every way, and how far the results are apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, NoOverlapError, UnknownNameError
from xsoil.grids.crs import cell_ratio
from xsoil.grids.ease import ease_grid, find_ease
from xsoil.grids.geobox import locate
from xsoil.grids.reduce import OPERATORS
from xsoil.ptfs import PTF
from xsoil.ptfs.evaluate import TEXTURE
from xsoil.verbs import _regrid
from xsoil.verbs._cells import map_cells
from xsoil.verbs._inputs import as_dataset, carry
from xsoil.verbs._pairs import pair_metrics
from xsoil.verbs._ways import Formula, Pack, Parameter, Ways, around
from xsoil.verbs.ptf import derivable, entry_of, read_inputs, selected
from xsoil.verbs.upscale import checked_parameters
from xsoil.vocabulary import VARIABLES

__all__ = ["compare_scaling"]

Framework = Literal["mpr", "tr", "three_step"]
FRAMEWORKS: tuple[str, ...] = ("mpr", "tr", "three_step")

CODES = {
    "nearest": "NN", "bilinear": "BL", "cubic": "BC", "mean": "ME", "min": "MI", "max": "MA", "median": "MD",
    "mode": "MO", "harmonic": "HA", "geometric": "GE",
}  # fmt: skip
"""Operators and what names call them: the eight of Li et al. (2024) in their order, then two of ours."""
SETS: dict[str, tuple[str, ...]] = {"li2024": tuple(CODES)[:8], "all": tuple(CODES)}
PARAMETERS = {"quantile": "q", "power": "p"}

DIM = "combination"
METRICS = ("rmse", "r", "nrmse", "n")
MARGIN = 2
"""Cells that a cubic needs beyond the target."""


def _code(operator: Parameter) -> str:
    how, parameter = operator
    return CODES[how] if parameter is None else f"{PARAMETERS[how].upper()}{parameter:g}"


def _label(operator: Parameter) -> str:
    how, parameter = operator
    return how if parameter is None else f"{how}({parameter:g})"


def compare_scaling(
    ds: xr.Dataset | xr.DataArray,
    to: object,
    *,
    ptfs: str | PTF | Sequence[str | PTF] = ("li2024_cb1", "li2024_cb2"),
    hows: str | Sequence[str | tuple[str, float]] = "li2024",
    frameworks: str | Sequence[str] = FRAMEWORKS,
    via: object = None,
    variable: str = "k_sat",
    region: object = None,
    min_valid: float | None = None,
    chunks: int | tuple[int, int] | None = None,
) -> xr.Dataset:
    """Derive a hydraulic parameter on a coarser grid in every way, and measure how far the ways are apart.

    As Li et al. (2024) [1]_ do. A way is a framework, a pedotransfer function and an operator of `upscale`:

    - ``"mpr"``: PTF on the grid of the map, then the operator; "CB1-NN".
    - ``"tr"``: operator, then the PTF on the target; "NN-CB1".
    - ``"three_step"``: operator to the grid `via`, PTF there, the same operator to the target; "NN-CB1-NN".

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Soil maps on a regular grid, each with `units`: what the PTFs need (see `xsoil.ptf`).
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid, as for `xsoil.upscale`.
    ptfs : str, PTF or sequence of them
        Names in `xsoil.PTFS`, or entries. Names call li2024_cb1 and li2024_cb2 CB1 and CB2.
    hows : str or sequence
        Operators of `xsoil.upscale`: nearest (NN), bilinear (BL), cubic (BC), mean (ME), min (MI), max (MA), median
        (MD), mode (MO), harmonic (HA), geometric (GE), and with their parameter ``("quantile", 0.9)`` (Q0.9) and
        ``("power", 2)`` (P2). "li2024": the eight of the paper; "all": these, harmonic and geometric.
    frameworks : str or sequence of {"mpr", "tr", "three_step"}
        three_step takes part only where `via` is given.
    via : str, GeoBox, xr.Dataset or xr.DataArray, optional
        Grid of the PTF in three_step, with cells between those of the map and of the target in size, under all of the
        target that the map covers. Of a named grid the part that the target needs.
    variable : str
        The output of the PTFs that is compared.
    region, min_valid, chunks
        As for `xsoil.upscale`; `min_valid` holds in each step.

    Returns
    -------
    xr.Dataset
        ``<variable>`` on (combination, ..., y, x) in its units, ordered by framework, PTF, operator; ``rmse``
        [units of the variable], ``r`` [1], ``nrmse`` [1] = RMSE / (max - min of the map `combination_2`), and ``n``,
        the number of cells in which both maps have a value, over which the three are taken, on (...,
        combination, combination_2). Coordinates of combination: its name, ``framework``, ``operator``, ``ptf``. NaN
        where there is no such cell; r also where a map is constant, nrmse where `combination_2` is.

    Warns
    -----
    UserWarning
        The cells of `via` are smaller than those of the map or larger than the target's; it leaves out a part of the
        target that the map covers, which is NaN in three_step. The target is finer than the map.

    Raises
    ------
    UnknownNameError
        Unknown PTF, output, operator, framework or grid.
    ArgumentError
        No or twice the same combination; only three_step, without `via`; a dimension of the map has a name that the
        result needs ("combination").
    NoOverlapError
        The grids of map and target, or `via` and one of them, have no cell in common.
    MissingVariableError, UnitsError, CRSError, AxisError
        As `xsoil.ptf` and `xsoil.upscale`.

    Notes
    -----
    Inputs of a PTF are scaled one by one, as in the paper: after max or min, sand and clay may leave no room for
    silt or too much, which neither rejects nor changes them (the verbs `upscale` and `ptf` one after the other
    would: texture that sums to more than 101 percent is NaN there). Texture is brought to a sum of 100 percent once,
    on the source; fractions that a cubic brings outside 0 to 100 give NaN. With operators that keep sums (nearest,
    bilinear, cubic, mean), and for mpr always, the maps are those of the two verbs.

    Lazy where the input is. One task makes the tiles of all combinations from one window of the source, so that
    ``.compute()`` of the whole result reads each block once, and memory does not grow with the map. A task holds the
    window of all inputs (about 32 MB, however many; see `upscale`), the same once more as single maps, the parameters
    of one PTF on it, and its tiles: about 150 MB for 60 combinations. One of the matrices holds 131,072 cells of all
    maps. Results do not depend on the chunks.

    References
    ----------
    .. [1] Li, P. et al. (2024), Deep learning integrating scale conversion and pedo-transfer function to avoid
       potential errors in cross-scale transfer. Water Resour. Res. 60, e2023WR035543, doi:10.1029/2023WR035543,
       section 3.1.

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))
    >>> ways = soil.soil.compare_scaling("EASE2_M36km", ptfs="li2024_cb2", hows=["mean", "max"])
    >>> ways.combination.values.tolist()
    ['CB2-ME', 'CB2-MA', 'ME-CB2', 'MA-CB2']
    """
    ds = as_dataset(ds)
    if not isinstance(variable, str):
        raise ArgumentError(f"variable={variable!r}; expected the name of a parameter, such as 'k_sat'")
    operators = _operators(hows)
    chosen = _frameworks(frameworks, via)
    _regrid.require_fraction("min_valid", min_valid)
    available = frozenset(map(str, ds.variables)) | derivable(ds)
    entries = _labelled([entry_of(method).resolve(available) for method in _several("ptfs", ptfs, (str, PTF))])
    for entry in entries.values():
        selected(entry, variable)
    packed = _packed(ds, list(entries.values()), available, variable)
    _require_free(packed, variable)
    source, packed = _regrid.canonical(packed)
    target = _regrid.target_of(to, region, source)
    _regrid.require_overlap(source, target[0])
    _regrid.warn_direction(source.geobox, target[0], verb="upscale", other="downscale")

    fields = packed[variable].dtype
    formulas = tuple(Formula(entry, variable, _dtype(entry, fields).str) for entry in entries.values())
    dtype = np.result_type(*(formula.dtype for formula in formulas))
    between = _between(via, target[0]) if "three_step" in chosen else None
    if between is not None:
        _check_between(source.geobox, between, target[0])
    step = Ways(source.geobox, target[0], between, chosen, formulas, operators, min_valid, dtype.str)
    rows = list(itertools.product(chosen, entries.items(), operators))
    names = np.array([_NAMES[f].format(p=label, o=_code(operator)) for f, (label, _), operator in rows])
    sources = dict.fromkeys(
        f"{e.reference} https://doi.org/{e.doi}" if e.doi else e.reference for e in entries.values()
    )
    attrs = VARIABLES[variable].attrs | {"references": "; ".join(sources)}

    def plan(var: xr.DataArray) -> _regrid.Plan:
        return _regrid.Plan(var.data, step, attrs, {DIM: names})

    result = _regrid.on_axes_of(_regrid.regrid(packed, source, target, plan, chunks), to).transpose(DIM, ...)
    maps = result[variable]
    result = result.assign(pair_metrics(maps, DIM, (target[1], target[2])))
    about = {
        "framework": [framework for framework, _, _ in rows],
        "operator": [_label(operator) for _, _, operator in rows],
        "ptf": [entry.name for _, (_, entry), _ in rows],
    }
    labels = {name: (DIM, np.array(column), {"long_name": _ABOUT[name]}) for name, column in about.items()}
    return result.assign_coords(labels | {f"{DIM}_2": names})


_NAMES = {"mpr": "{p}-{o}", "tr": "{o}-{p}", "three_step": "{o}-{p}-{o}"}
_ABOUT = {
    "framework": "mpr: PTF, then operator; tr: operator, then PTF; three_step: operator, PTF, operator",
    "operator": "operator of upscale",
    "ptf": "pedotransfer function",
}


# What is asked for


def _several(what: str, value: Any, single: tuple[type, ...]) -> list[Any]:
    if isinstance(value, single):
        return [value]
    if not isinstance(value, Iterable):
        raise ArgumentError(f"{what}={value!r}; expected a name, or a list of them (leave it out for the default)")
    return list(value)


def _require_free(ds: xr.Dataset, variable: str) -> None:
    """Raise where a dimension has a name that the result gives to something else."""
    for dim in ds.dims:
        if dim in (DIM, f"{DIM}_2", *_ABOUT, *METRICS, variable):
            raise ArgumentError(
                f"the map has a dimension {dim!r}, a name that the result needs; rename it: "
                f"ds.rename({dim}='{dim}_of_map')"
            )


def _operators(hows: str | Sequence[str | tuple[str, float]]) -> tuple[Parameter, ...]:
    wanted = SETS[hows] if isinstance(hows, str) and hows in SETS else _several("hows", hows, (str,))
    found = []
    for how in wanted:
        name, parameter = how if isinstance(how, tuple) and len(how) == 2 else (how, None)
        if not isinstance(name, str):
            raise ArgumentError(f"operator {name!r} of hows; expected a name, or a pair such as ('quantile', 0.9)")
        if name in PARAMETERS and parameter is None:
            raise ArgumentError(
                f"operator {name!r} without its {PARAMETERS[name]}; expected a pair: hows=[({name!r}, 0.5)]"
            )
        if name not in CODES and name not in PARAMETERS:
            raise UnknownNameError.of("operator of a comparison", name, [*CODES, *PARAMETERS])
        if name in CODES and parameter is not None:
            raise ArgumentError(f"operator {name!r} takes no parameter, found {parameter!r}; give its name alone")
        letters = dict.fromkeys(PARAMETERS.values()) | ({PARAMETERS[name]: parameter} if name in PARAMETERS else {})
        given = checked_parameters({name: OPERATORS[name]}, **letters)
        found.append((name, given.get(PARAMETERS.get(name))))
    return tuple(_distinct("operator", found, [_label(operator) for operator in found]))


def _frameworks(frameworks: str | Sequence[str], via: object) -> tuple[str, ...]:
    wanted = _several("frameworks", frameworks, (str,))
    for name in wanted:
        if name not in FRAMEWORKS:
            raise UnknownNameError.of("framework", name, FRAMEWORKS)
    wanted = _distinct("framework", wanted, wanted)
    if via is None:
        wanted = [name for name in wanted if name != "three_step"]
        if not wanted:
            raise ArgumentError("three_step without via; expected the grid of the PTF: via='EASE2_M03km'")
    return tuple(wanted)


def _distinct(what: str, found: list[Any], labels: list[str]) -> list[Any]:
    if not found:
        raise ArgumentError(f"no {what} to compare; expected at least one")
    twice = [label for n, label in enumerate(labels) if label in labels[:n]]
    if twice:
        raise ArgumentError(f"{what} {twice[0]!r} is given twice; give each once")
    return found


def _labelled(entries: list[PTF]) -> dict[str, PTF]:
    """Entries by what the names of combinations call them: with their options where two share a name."""
    shared = [entry.name for entry in entries]
    labels = []
    for entry in entries:
        label = entry.name.removeprefix("li2024_").upper() if entry.name.startswith("li2024_") else entry.name
        if shared.count(entry.name) > 1 and entry.options:
            label += f"({','.join(f'{k}={v}' for k, v in entry.options.items())})"
        labels.append(label)
    return dict(zip(labels, _distinct("PTF", entries, labels), strict=True))


def _between(via: object, target: GeoBox) -> GeoBox:
    """The grid `via`; of a named one the part below the target, with what a cubic needs beyond its edge."""
    if not isinstance(via, str):
        box = locate(via).geobox
        if not (box.affine.b or box.affine.d):  # the way a source is turned, so that its orientation cannot show
            box = box.flipy() if box.affine.e > 0 else box
            box = box.flipx() if box.affine.a < 0 else box
        return box
    box = ease_grid(via, target)
    found = find_ease(box)
    if found is None:  # never: `box` is a window of a named grid
        return box
    grid, row, column = found
    top, bottom = max(row - MARGIN, 0), min(row + box.shape[0] + MARGIN, grid.rows)
    left, right = max(column - MARGIN, 0), max(min(column + box.shape[1] + MARGIN, grid.columns), column + box.shape[1])
    return grid.window(top, left, bottom - top, right - left)


def _check_between(source: GeoBox, via: GeoBox, target: GeoBox) -> None:
    """Raise where `via` lies elsewhere; warn where its part or its cells make no sense between the two grids."""
    from xsoil.grids.overlap import overlap_of

    under = {}
    for name, box in (("map", source), ("target", target)):
        under[name] = overlap_of(box, via).window(slice(0, via.shape[0]), slice(0, via.shape[1]))
        if under[name] is None:
            raise NoOverlapError(
                f"via does not overlap the {name}; expected a grid that covers the target: check its CRS"
            )
    covered = overlap_of(target, source).window(slice(0, source.shape[0]), slice(0, source.shape[1]))
    there, wanted = under["target"], around([under["target"], covered], target.shape[1])
    whole = there is not None and there[1].stop - there[1].start >= target.shape[1]
    if there and wanted and (wanted[0] != there[0] or (wanted[1] != there[1] and not whole)):
        _regrid.warn(
            "via covers only a part of the target that the map covers; the rest is NaN in three_step: "
            "give the name of a grid, or a larger one"
        )
    ratios = {"smaller than the map's": cell_ratio(source, via), "larger than the target's": cell_ratio(via, target)}
    for word, ratio in ratios.items():
        if ratio < 1.0 - 1e-3:
            _regrid.warn(f"the cells of via are {word} ({ratio:.3g} to one); three_step expects a grid between the two")


def _packed(ds: xr.Dataset, entries: list[PTF], available: frozenset[str], name: str) -> xr.Dataset:
    """All inputs of all entries, in canonical units, as one map of records called `name`."""
    arrays: dict[str, xr.DataArray] = {}
    for entry in entries:
        arrays |= read_inputs(ds, entry, available)
    needed = dict.fromkeys(variable.name for entry in entries for variable in entry.inputs)
    texture = np.result_type(np.float32, *(arrays[n].dtype for n in TEXTURE if n in arrays))
    fields = tuple((n, (texture if n in TEXTURE else arrays[n].dtype).str) for n in needed)
    (records,) = map_cells(Pack(tuple(arrays), fields), list(arrays.values()), [list(fields)])
    return carry(ds, xr.Dataset({name: records}), next(iter(arrays)))


def _dtype(entry: PTF, fields: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which `ptf` would compute."""
    numbers = [fields[v.name] for v in entry.inputs if v.name != "topsoil"]
    return np.result_type(np.float32, *numbers)
