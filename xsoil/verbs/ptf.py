"""`ptf`: hydraulic parameters from soil properties by published pedotransfer functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.choices import as_names, require_choice
from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.ptfs import PTF, PTFS
from xsoil.ptfs.coarse_fragments import COARSE_FRAGMENTS, Correction
from xsoil.ptfs.evaluate import FLAGS, TEXTURE, Evaluation
from xsoil.ptfs.organic import LETTS_2000_REFERENCE, PEAT_DEPTHS, PEAT_OUTPUTS
from xsoil.verbs._cells import map_cells
from xsoil.verbs._depths import depth_bounds
from xsoil.verbs._inputs import as_dataset, carry, read, renaming
from xsoil.verbs._silt_limit import require_silt_limit
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["list_ptfs", "ptf"]

CoarseFragments = Literal["ravina_magier1984", "peck_watson1979", "bouwer_rice1984", "brakensiek1986"]

TOPSOIL_DEPTH = 0.3  # m; a layer with its upper edge above is topsoil


def ptf(
    ds: xr.Dataset | xr.DataArray,
    method: str | PTF = "cosby1984",
    *,
    outputs: str | Sequence[str] | None = None,
    quality: bool = False,
    coarse_fragments: CoarseFragments | None = None,
    organic: Literal["flag", "letts2000"] = "flag",
) -> xr.Dataset:
    """Estimate hydraulic parameters from soil properties.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Soil properties on any dims, each with `units`: what `method` needs of `sand`, `silt`, `clay`, `bulk_density`,
        `organic_carbon`, `ph`, `cec`, `coarse_fragments`, `topsoil` (see `list_ptfs`). One texture class may be left
        out where the two others are there. `topsoil` (1 or 0) is taken from the variable, else from the coordinate
        `depth`: 1 where the upper edge (of its CF bounds or `depth_top`, else the depth itself) is above 0.3 m.
    method : str or PTF
        A name in `xsoil.PTFS`, or an entry: ``xsoil.PTFS["saxton_rawls2006"].with_options(density="measured")``.
    outputs : str or sequence of str, optional
        Names of the results wanted; all by default.
    quality : bool
        Add the flag variable `quality`.
    coarse_fragments : {"ravina_magier1984", "peck_watson1979", "bouwer_rice1984", "brakensiek1986"}, optional
        Give the parameters of the whole soil, not of its fine earth: water contents times 1 - R_v, R_v being the
        volume of `coarse_fragments`; `k_sat` and `k_0` times 1 - R_v [1]_, 2 (1 - R_v) / (2 + R_v) [2]_, the ratio of
        the void ratios (of a porosity `theta_s`) [3]_ or 1 - R_m, the mass without stones (by `bulk_density`) [4]_.
        By default stones are left out of account. (The option of that name of saxton_rawls2006 follows that paper.)
    organic : {"flag", "letts2000"}
        Soils of 12 to 18 % of organic carbon or more (the higher limit for 60 % of clay, a line between) are beyond
        the functions of mineral soils. "flag" tells so in `quality`, where there is `organic_carbon`; "letts2000" gives
        them the parameters of fibric, hemic or sapric peat [5]_, by the variable `peat_class` (1, 2, 3), else by the
        middle of the depth: above 0.10 m, to 0.35 m, below.

    Returns
    -------
    xr.Dataset
        One variable per output in the units of the vocabulary, with coordinates, attributes and grid mapping of the
        input, lazy where it is; float32 where all inputs are. Texture that sums to 99 to 101 percent is scaled to
        100. A cell has no result (NaN) where an input is missing, texture is outside 0 to 100 or sums to less than
        99 or more than 101, another input is physically impossible, or the function's result is (not a number,
        outside its range, theta_r >= theta_s, n <= 1 ...). Results outside the calibration range are returned.
        `quality` [int16, CF `flag_masks` and `flag_meanings`] tells which of these holds. A dask task holds the
        blocks of its inputs and twice those of its outputs, and a few MB more (Rosetta: twelve blocks in all).

    Raises
    ------
    UnknownNameError
        For an unknown method or output.
    MissingVariableError
        Where the dataset lacks an input.
    UnitsError
        Where an input has no units or unknown ones.
    TextureError
        Where `silt_limit` among the attributes of sand or silt is not 50 um, to which all functions belong.
    ArgumentError
        Where `coarse_fragments` or `organic` do not go with the function.

    See Also
    --------
    list_ptfs : the table of functions, with inputs, outputs, units, validity and DOI.
    convert_texture : sand and silt with another limit, such as 63 um.
    draw_soil : random soils between the quantiles of a map.

    References
    ----------
    .. [1] Ravina and Magier (1984), Soil Sci. Soc. Am. J. 48, 736-740.
    .. [2] Peck and Watson (1979), Workshop on Soil Physics and Field Heterogeneity, CSIRO, Canberra.
    .. [3] Bouwer and Rice (1984), Ground Water 22, 696-705.
    .. [4] Brakensiek et al. (1986), Soil Sci. Soc. Am. J. 50, 834-835.
    .. [5] Letts et al. (2000), Atmos. Ocean 38, 141-160, doi:10.1080/07055900.2000.9649643.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> percent = {"units": "percent"}
    >>> ds = xr.Dataset({"sand": ("site", [40.0, 90.0], percent), "clay": ("site", [20.0, 5.0], percent)})
    >>> xsoil.ptf(ds, "cosby1984", outputs="k_sat").k_sat.round(1).values
    array([ 36.4, 193.7])
    """
    ds = as_dataset(ds)
    entry = entry_of(method)
    available = frozenset(map(str, ds.variables)) | derivable(ds)
    entry = entry.resolve(available)
    wanted = selected(entry, outputs)
    cells = read_inputs(ds, entry, available)
    correction = _correction(entry, coarse_fragments)
    peat = _peat(entry, organic)
    if correction is not None:
        for name in ("coarse_fragments", *correction.inputs):
            if name not in cells:
                cells[name] = read(ds, VARIABLES[name])
    dtype = np.result_type(np.float32, *(array.dtype for name, array in cells.items() if name != "topsoil"))
    if peat:
        cells |= {"organic_carbon": read(ds, VARIABLES["organic_carbon"]), "peat_class": _peat_class(ds)}
    elif quality and "organic_carbon" in ds.variables and "organic_carbon" not in cells:
        carbon = ds["organic_carbon"]
        if set(carbon.dims) <= {dim for array in cells.values() for dim in array.dims}:
            cells["organic_carbon"] = read(ds, VARIABLES["organic_carbon"])

    names = tuple(v.name for v in wanted)
    evaluation = Evaluation(entry, tuple(cells), names, dtype.str, quality, coarse_fragments, peat)
    dtypes: list[np.dtype[np.generic]] = [np.dtype(dtype)] * len(wanted)
    results = map_cells(evaluation, list(cells.values()), dtypes + [np.dtype(np.int16)] * quality, block=entry.block)

    source = _provenance(entry)
    if correction is not None:
        source["ptf_coarse_fragments"] = str(coarse_fragments)
        source["references"] += f"; {correction.reference}"
    if peat:
        source["ptf_organic"] = organic
        source["references"] += f"; {LETTS_2000_REFERENCE}"
    told = [str(ds[name].attrs["source"]) for name in cells if name in ds.variables and ds[name].attrs.get("source")]
    if told:  # what the user said of the maps stays true of what follows from them
        source["source"] = "; ".join(dict.fromkeys(told))
    out = xr.Dataset(
        {v.name: array.assign_attrs(v.attrs | source) for v, array in zip(wanted, results[: len(wanted)], strict=True)}
    )
    if quality:
        flags = {"flag_masks": np.array(list(FLAGS.values()), np.int16), "flag_meanings": " ".join(FLAGS)}
        out["quality"] = results[-1].assign_attrs({"long_name": f"quality of the results of {entry.name}"} | flags)
    return carry(ds, out, next(iter(cells)))


def list_ptfs() -> pd.DataFrame:
    """Table of the pedotransfer functions.

    Returns
    -------
    pandas.DataFrame
        One row per name in `xsoil.PTFS`: `inputs`, `optional` inputs, `outputs`, `units` of all of these, `validity`
        (range of the calibration data, in these units), `options` with their choices (the first is the default),
        `doi` and `title`.

    Examples
    --------
    >>> import xsoil
    >>> xsoil.list_ptfs().loc["li2024_cb2", ["inputs", "outputs", "doi"]].tolist()
    ['sand, clay', 'k_sat', '10.1029/2023WR035543']
    """
    rows = {}
    for entry in PTFS.values():
        outputs = dict.fromkeys([*entry.outputs, *entry.resolve(frozenset(VARIABLES)).outputs])
        every = dict.fromkeys([*entry.inputs, *entry.optional, *outputs])
        rows[entry.name] = {
            "inputs": _names(entry.inputs),
            "optional": _names(entry.optional),
            "outputs": _names(outputs),
            "units": ", ".join(f"{v.name} [{v.units}]" for v in every),
            "validity": ", ".join(f"{name} {low:g} to {high:.3g}" for name, (low, high) in entry.validity.items()),
            "options": "; ".join(f"{name}: {', '.join(map(str, c))}" for name, c in entry.choices.items()),
            "doi": entry.doi,
            "title": entry.title,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def entry_of(method: object) -> PTF:
    if isinstance(method, PTF):
        return method
    if isinstance(method, str):
        return PTFS[method]
    raise ArgumentError(f"method is {method!r}; expected a name in xsoil.PTFS or one of its entries")


def _names(rows: Sequence[Variable] | dict[Variable, None]) -> str:
    return ", ".join(v.name for v in rows)


def derivable(ds: xr.Dataset) -> frozenset[str]:
    """Inputs that follow from others: the third texture class, topsoil from the depth."""
    found = {name for name in TEXTURE if all(other in ds.variables for other in TEXTURE if other != name)}
    return frozenset(found | ({"topsoil"} if "depth" in ds.variables else set()))


def selected(entry: PTF, outputs: str | Sequence[str] | None) -> tuple[Variable, ...]:
    if outputs is None:
        return entry.outputs
    rows = {v.name: v for v in entry.outputs}
    names = as_names("outputs", outputs)
    for name in names:
        if name not in rows:
            raise UnknownNameError.of(f"output of {entry.name!r}", name, rows)
    return tuple(rows[name] for name in dict.fromkeys(names))


def read_inputs(ds: xr.Dataset, entry: PTF, available: frozenset[str]) -> dict[str, xr.DataArray]:
    """What the evaluation needs, in canonical units; of the texture all that is there, for the check of its sum."""
    names = [v.name for v in entry.inputs]
    for name in names:
        if name in available:
            continue
        if name == "topsoil":
            raise MissingVariableError(
                f"{entry.name} needs 'topsoil', and there is neither that variable nor a coordinate 'depth'; say which "
                "soil it is: ds.assign(topsoil=1) (1 topsoil, upper edge above 0.3 m; 0 subsoil)"
            )
        absent = [other for other in TEXTURE if other not in ds.variables]
        either = f" (or two of {', '.join(TEXTURE)})" if name in TEXTURE and len(absent) > 1 else ""
        raise MissingVariableError(
            f"{entry.name} needs {name!r}{either}, {VARIABLES[name].long_name}, not among "
            f"{sorted(map(str, ds.data_vars))}; use {renaming(ds, name)}, or another function (xsoil.list_ptfs())"
        )
    if any(name in TEXTURE for name in names):
        names = [name for name in TEXTURE if name in ds.variables] + [n for n in names if n not in TEXTURE]
        require_silt_limit(ds, entry.name)
    return {
        name: _topsoil(ds) if name == "topsoil" and name not in ds.variables else read(ds, VARIABLES[name])
        for name in names
    }


def _edges(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Upper and lower edge [m below the surface] of `depth`, from its bounds, else from `depth_top` and `depth_bottom`;
    twice the depth where there are neither."""
    point = _below(ds, "depth")
    bounds = depth_bounds(ds)
    if bounds is not None:
        units = {"units": ds["depth"].attrs["units"]}  # CF: bounds need not repeat them
        edges = _below(ds.assign({bounds: ds[bounds].assign_attrs(units | ds[bounds].attrs)}), bounds, axis="depth")
        other = [dim for dim in edges.dims if dim not in point.dims]
        return edges.min(other), edges.max(other)
    if {"depth_top", "depth_bottom"} <= {*ds.variables}:
        top, bottom = (_below(ds, name) for name in ("depth_top", "depth_bottom"))
        return top.where(top < bottom, bottom), top.where(top > bottom, bottom)
    return point, point


def _below(ds: xr.Dataset, name: str, axis: str | None = None) -> xr.DataArray:
    """Depths [m], positive downwards; `axis` says the direction where `name` does not."""
    found = read(ds, replace(VARIABLES["depth"], name=name)).astype(float)
    return -found if ds[axis or name].attrs.get("positive") == "up" else found


def _topsoil(ds: xr.Dataset) -> xr.DataArray:
    """1 where the upper edge is above 0.3 m."""
    upper, _ = _edges(ds)
    # 30 cm in float32 are not exactly 0.3 m; a missing depth is a missing topsoil
    topsoil = (upper < TOPSOIL_DEPTH - 1e-6).astype(np.float32).where(upper.notnull())
    return topsoil.reset_coords(drop=True)


def _peat_class(ds: xr.Dataset) -> xr.DataArray:
    """1, 2 or 3 (fibric, hemic, sapric), from the variable, else from the depth."""
    if "peat_class" in ds.variables:
        return read(ds, VARIABLES["peat_class"])
    if "depth" not in ds.variables:
        raise MissingVariableError(
            "organic='letts2000' needs 'peat_class', and there is neither that variable nor a coordinate 'depth'; say "
            "which peat it is: ds.assign(peat_class=1) (1 fibric, 2 hemic, 3 sapric)"
        )
    upper, lower = _edges(ds)
    middle = (upper + lower) / 2
    found = sum((middle >= limit - 1e-6).astype(np.float32) for limit in PEAT_DEPTHS)
    return (found + xr.ones_like(middle, np.float32)).where(middle.notnull()).reset_coords(drop=True)


def _correction(entry: PTF, name: str | None) -> Correction | None:
    if name is None:
        return None
    require_choice("correction for coarse fragments", name, COARSE_FRAGMENTS)
    found = COARSE_FRAGMENTS[name]
    if any(variable.name == "coarse_fragments" for variable in entry.inputs):
        raise ArgumentError(
            f"coarse_fragments={name!r}, but {entry.name} corrects for them by itself with its option "
            f"{entry.options['coarse_fragments']!r}; choose one of both"
        )
    if found.result is not None and all(variable.name != found.result for variable in entry.outputs):
        raise ArgumentError(
            f"coarse_fragments={name!r} needs {found.result!r}, which {entry.name} does not give; others: "
            f"{', '.join(other for other, row in COARSE_FRAGMENTS.items() if row.result is None)}"
        )
    return found


def _peat(entry: PTF, organic: str) -> bool:
    if organic not in ("flag", "letts2000"):
        raise UnknownNameError.of("treatment of organic soils", organic, ("flag", "letts2000"))
    lacking = [v.name for v in entry.outputs if v.name not in PEAT_OUTPUTS]
    if organic == "letts2000" and lacking:
        raise ArgumentError(
            f"organic='letts2000' has no {', '.join(lacking)} for peat, which {entry.name} gives with these options; "
            "leave it out"
        )
    return organic == "letts2000"


def _provenance(entry: PTF) -> dict[str, str]:
    doi = f" https://doi.org/{entry.doi}" if entry.doi else ""
    attrs = {
        "references": entry.reference + doi,
        "ptf": entry.name,
        "ptf_inputs": " ".join(v.name for v in entry.inputs),
    }
    if entry.options:
        attrs["ptf_options"] = ", ".join(f"{name}={value}" for name, value in entry.options.items())
    return attrs
