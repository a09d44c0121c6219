"""`compare_scaling`: a soil map to another scale in every way, and how far the results are apart."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids.ease import ease_grid, find_ease
from xsoil.grids.geobox import locate
from xsoil.ptfs import PTF
from xsoil.ptfs.evaluate import SLACK, TEXTURE, balance_texture, faulty_inputs, impossible_results
from xsoil.verbs import _regrid
from xsoil.verbs._cells import map_cells
from xsoil.verbs._inputs import as_dataset, carry
from xsoil.verbs._pairs import pair_metrics
from xsoil.verbs.ptf import _derivable, _entry, _read_inputs, _select
from xsoil.verbs.upscale import upscale
from xsoil.vocabulary import VARIABLES

__all__ = ["compare_scaling"]

Framework = Literal["mpr", "tr", "three_step"]
FRAMEWORKS: tuple[str, ...] = ("mpr", "tr", "three_step")

CODES = {
    "nearest": "NN", "bilinear": "BL", "cubic": "BC", "mean": "ME", "min": "MI", "max": "MA", "median": "MD",
    "mode": "MO", "harmonic": "HA", "geometric": "GE",
}  # fmt: skip
"""Operators and what names call them: the eight of Li et al. (2024) in their order, then two of ours."""
SETS: Mapping[str, tuple[str, ...]] = {"li2024": tuple(CODES)[:8], "all": tuple(CODES)}
PARAMETERS = {"quantile": "q", "power": "p"}

DIM = "combination"
MARGIN = 2
"""Cells that a cubic needs beyond the target."""


@dataclass(frozen=True)
class Operator:
    """One way to change the scale: a name of `upscale`, with its parameter."""

    how: str
    parameter: float | None = None

    @property
    def code(self) -> str:
        return CODES[self.how] if self.parameter is None else f"{PARAMETERS[self.how].upper()}{self.parameter:g}"

    @property
    def label(self) -> str:
        return self.how if self.parameter is None else f"{self.how}({self.parameter:g})"

    def to(self, maps: xr.Dataset, to: object, **options: Any) -> xr.Dataset:
        """`maps` on another grid; of classes, which have no mean, the mode."""
        how: Any = {n: "mode" if _is_class(n) and self.how not in ("nearest", "min", "max") else self.how for n in maps}
        if self.parameter is not None:
            options[PARAMETERS[self.how]] = self.parameter
        return upscale(maps, to, how, **options)


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
    """Derive a hydraulic parameter on a coarser grid in every way, and measure how far the ways are apart [1]_.

    A way is a framework, a pedotransfer function and an operator of `upscale`:

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
        Grid of the PTF in three_step, between those of the map and of the target. Of a named grid the part that the
        target needs.
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

    Raises
    ------
    UnknownNameError
        Unknown PTF, output, operator, framework or grid.
    ArgumentError
        No or twice the same combination; only three_step, without `via`.
    MissingVariableError, UnitsError, CRSError, AxisError, NoOverlapError
        As `xsoil.ptf` and `xsoil.upscale`.

    Notes
    -----
    Inputs of a PTF are scaled one by one, as in the paper: after max or min, sand and clay may leave no room for
    silt or too much, which neither rejects nor changes them (the verbs `upscale` and `ptf` one after the other
    would: texture that sums to more than 101 percent is NaN there). Texture is brought to a sum of 100 percent once,
    on the source; fractions that a cubic brings outside 0 to 100 give NaN. With operators that keep sums (nearest,
    bilinear, cubic, mean), and for mpr always, the maps are those of the two verbs.

    Lazy where the input is: all combinations and matrices are one graph in which blocks of the source, the
    parameters on its grid and the maps on `via` occur once, so that ``.compute()`` of the whole result reads the
    source once. A task holds a source window of one map (about 32 MB; see `upscale`), or for the matrices 131,072
    cells of all maps (17 MB for 32 of float32). Results do not depend on the chunks.

    References
    ----------
    .. [1] Li, P. et al. (2024), Deep learning integrating scale conversion and pedo-transfer function to avoid
       potential errors in cross-scale transfer. Water Resour. Res. 60, e2023WR035543, doi:10.1029/2023WR035543,
       section 3.1.

    Examples
    --------
    >>> import xsoil
    >>> from xsoil.verbs.compare_scaling import compare_scaling
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))
    >>> ways = compare_scaling(soil, "EASE2_M36km", ptfs="li2024_cb2", hows=["mean", "max"])
    >>> ways.combination.values.tolist()
    ['CB2-ME', 'CB2-MA', 'ME-CB2', 'MA-CB2']
    """
    ds = as_dataset(ds)
    operators = _operators(hows)
    chosen = _frameworks(frameworks, via)
    available = frozenset(map(str, ds.variables)) | _derivable(ds)
    entries = _labelled([_entry(method).resolve(available) for method in _several(ptfs, (str, PTF))])
    for entry in entries.values():
        _select(entry, variable)
    source, _ = _regrid.canonical(ds)
    target, _, _ = _regrid.target_of(to, region, source)
    goal = target if isinstance(to, str) else to

    inputs = _balanced(ds, list(entries.values()), available)
    options: dict[str, Any] = {"min_valid": min_valid, "chunks": chunks}
    maps: dict[str, xr.DataArray] = {}
    rows: list[tuple[str, str, str]] = []
    scaled: list[dict[str, xr.Dataset]] = []  # one per framework: by operator, a map per label
    for framework in chosen:
        found: dict[str, xr.Dataset] = {}
        fine = _parameters(inputs, entries, variable) if framework == "mpr" else None
        for operator in operators:
            if fine is not None:
                found[operator.code] = operator.to(fine, goal, **options)
            elif framework == "tr":
                found[operator.code] = _parameters(operator.to(inputs, goal, **options), entries, variable)
            else:
                there = operator.to(inputs, _between(via, target), **options)
                found[operator.code] = operator.to(_parameters(there, entries, variable), goal, **options)
        scaled.append(found)
        for (label, entry), operator in itertools.product(entries.items(), operators):
            name = {"mpr": "{p}-{o}", "tr": "{o}-{p}", "three_step": "{o}-{p}-{o}"}[framework]
            maps[name.format(p=label, o=operator.code)] = found[operator.code][label]
            rows.append((framework, operator.label, entry.name))

    first = next(iter(scaled[0].values()))
    dims = locate(first).dims
    stacked = xr.concat(
        [array.reset_coords(drop=True).astype(np.result_type(*maps.values()), copy=False) for array in maps.values()],
        dim=DIM, join="override", coords="minimal", compat="override", combine_attrs="drop",
    )  # fmt: skip
    sources = dict.fromkeys(
        f"{e.reference} https://doi.org/{e.doi}" if e.doi else e.reference for e in entries.values()
    )
    stacked.attrs = VARIABLES[variable].attrs | {"references": "; ".join(sources)}
    names = np.array(list(maps))
    labels = {
        name: (DIM, np.array(column), {"long_name": text})
        for (name, text), column in zip(_COORDS.items(), zip(*rows, strict=True), strict=True)
    }
    result = xr.Dataset(
        {variable: stacked.variable} | pair_metrics(stacked, DIM, dims),
        coords={DIM: names, f"{DIM}_2": names} | labels | dict(first.coords),
        attrs=first.attrs,
    )
    result[variable].encoding["grid_mapping"] = "spatial_ref"
    return result


_COORDS = {
    "framework": "mpr: PTF, then operator; tr: operator, then PTF; three_step: operator, PTF, operator",
    "operator": "operator of upscale",
    "ptf": "pedotransfer function",
}


# What is asked for


def _several(value: Any, single: tuple[type, ...]) -> list[Any]:
    return [value] if isinstance(value, single) else list(value)


def _operators(hows: str | Sequence[str | tuple[str, float]]) -> list[Operator]:
    wanted = SETS[hows] if isinstance(hows, str) and hows in SETS else _several(hows, (str,))
    found = []
    for how in wanted:
        name, parameter = how if isinstance(how, tuple) and len(how) == 2 else (how, None)
        if name in PARAMETERS and parameter is None:
            raise ArgumentError(
                f"operator {name!r} without its {PARAMETERS[name]}; expected a pair: hows=[({name!r}, 0.5)]"
            )
        if name not in CODES and name not in PARAMETERS:
            raise UnknownNameError.of("operator of a comparison", name, [*CODES, *PARAMETERS])
        if name in CODES and parameter is not None:
            raise ArgumentError(f"operator {name!r} takes no parameter, found {parameter!r}; give its name alone")
        found.append(Operator(name, None if parameter is None else float(parameter)))
    return _distinct("operator", found, [operator.label for operator in found])


def _frameworks(frameworks: str | Sequence[str], via: object) -> list[str]:
    wanted = _several(frameworks, (str,))
    for name in wanted:
        if name not in FRAMEWORKS:
            raise UnknownNameError.of("framework", name, FRAMEWORKS)
    wanted = _distinct("framework", wanted, wanted)
    if via is None:
        wanted = [name for name in wanted if name != "three_step"]
        if not wanted:
            raise ArgumentError("three_step without via; expected the grid of the PTF: via='EASE2_M03km'")
    return wanted


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


def _between(via: object, target: GeoBox) -> object:
    """The grid `via`; of a named one the part below the target, with what a cubic needs beyond its edge."""
    if not isinstance(via, str):
        return via
    box = ease_grid(via, target)
    found = find_ease(box)
    if found is None:  # never: `box` is a window of a named grid
        return box
    grid, row, column = found
    top, bottom = max(row - MARGIN, 0), min(row + box.shape[0] + MARGIN, grid.rows)
    left, right = max(column - MARGIN, 0), max(min(column + box.shape[1] + MARGIN, grid.columns), column + box.shape[1])
    return grid.window(top, left, bottom - top, right - left)


# Maps of inputs and of parameters


def _balanced(ds: xr.Dataset, entries: list[PTF], available: frozenset[str]) -> xr.Dataset:
    """All inputs of all entries in canonical units, texture as `ptf` takes it: NaN where it rejects it."""
    arrays: dict[str, xr.DataArray] = {}
    for entry in entries:
        arrays |= _read_inputs(ds, entry, available)
    needed = dict.fromkeys(variable.name for entry in entries for variable in entry.inputs)
    texture = [name for name in TEXTURE if name in arrays]
    if texture:
        wanted = tuple(name for name in TEXTURE if name in needed)
        dtype = np.result_type(np.float32, *(arrays[name].dtype for name in texture))
        function = _Texture(tuple(texture), wanted, dtype.str)
        arrays |= zip(
            wanted, map_cells(function, [arrays[name] for name in texture], [dtype] * len(wanted)), strict=True
        )
    out = xr.Dataset({n: arrays[n].assign_attrs(VARIABLES[n].attrs) for n in needed})
    return carry(ds, out, next(iter(_read_inputs(ds, entries[0], available))))


def _parameters(inputs: xr.Dataset, entries: Mapping[str, PTF], variable: str) -> xr.Dataset:
    """The parameter by each entry, under its label."""
    out: dict[Hashable, xr.DataArray] = {}
    for label, entry in entries.items():
        cells = [inputs[v.name] for v in entry.inputs]
        dtype = np.result_type(np.float32, *(c.dtype for c in cells if not _is_class(c.name)))
        (array,) = map_cells(_Formula(entry, variable, dtype.str), cells, [dtype], block=entry.block)
        out[label] = array.assign_attrs(VARIABLES[variable].attrs)
    return carry(inputs, xr.Dataset(out), entries[next(iter(entries))].inputs[0].name)


def _is_class(name: Hashable) -> bool:
    variable = VARIABLES.get(str(name))
    return variable is not None and variable.kind != "real"


@dataclass(frozen=True)
class _Texture:
    """`texture(*blocks) -> (fraction, ...)`: texture classes that sum to 100 percent, or NaN."""

    names: tuple[str, ...]
    wanted: tuple[str, ...]
    dtype: str

    def __call__(self, *blocks: Any) -> tuple[Any, ...]:
        cells = {name: block.astype(self.dtype, copy=False) for name, block in zip(self.names, blocks, strict=True)}
        with np.errstate(all="ignore"):
            _, rejected = balance_texture(cells)
        return tuple(np.where(rejected, np.nan, cells[name]).astype(self.dtype, copy=False) for name in self.wanted)


@dataclass(frozen=True)
class _Formula:
    """`formula(*inputs) -> (output,)`: a PTF with the checks of single inputs and of its result, not of their sum."""

    entry: PTF
    output: str
    dtype: str

    def __call__(self, *blocks: Any) -> tuple[Any]:
        inputs = [block.astype(self.dtype, copy=False) for block in blocks]
        with np.errstate(all="ignore"):
            missing, impossible = faulty_inputs(inputs, self.entry.inputs)
            void = missing | impossible
            for x, v in zip(inputs, self.entry.inputs, strict=True):
                if v.name in TEXTURE:
                    void = void | (x < -SLACK) | (x > 100 + SLACK)
            results = dict(zip((v.name for v in self.entry.outputs), self.entry.function(*inputs), strict=True))
            void = void | impossible_results(results, self.entry.outputs, self.entry.curve == "van_genuchten")
        return (np.where(void, np.nan, results[self.output]).astype(self.dtype, copy=False),)
