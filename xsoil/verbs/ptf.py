"""`ptf`: hydraulic parameters from soil properties by published pedotransfer functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.ptfs import PTF, PTFS
from xsoil.ptfs.evaluate import FLAGS, TEXTURE, Evaluation
from xsoil.verbs._cells import map_cells
from xsoil.verbs._depths import depth_bounds
from xsoil.verbs._inputs import as_dataset, carry, read
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["list_ptfs", "ptf"]

TOPSOIL_DEPTH = 0.3  # m; a layer with its upper edge above is topsoil


def ptf(
    ds: xr.Dataset | xr.DataArray,
    method: str | PTF = "cosby1984",
    *,
    outputs: str | Sequence[str] | None = None,
    quality: bool = False,
) -> xr.Dataset:
    """Estimate hydraulic parameters from soil properties.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Soil properties on any dims, each with `units`: what `method` needs of `sand`, `silt`, `clay`, `bulk_density`,
        `organic_carbon`, `ph`, `cec`, `coarse_fragments`, `topsoil` (see `list_ptfs`). One texture class may be left
        out where the two others are there. `topsoil` (1 or 0) is taken from the variable, else from the coordinate
        `depth`: 1 where the upper edge (of its CF bounds, else the depth itself) is above 0.3 m.
    method : str or PTF
        A name in `xsoil.PTFS`, or an entry: ``xsoil.PTFS["saxton_rawls2006"].with_options(density="measured")``.
    outputs : str or sequence of str, optional
        Names of the results wanted; all by default.
    quality : bool
        Add the flag variable `quality`.

    Returns
    -------
    xr.Dataset
        One variable per output in the units of the vocabulary, with coordinates, attributes and grid mapping of the
        input, lazy where it is; float32 where all inputs are. Texture that sums to 99 to 101 percent is scaled to
        100. A cell has no result (NaN) where an input is missing, texture is outside 0 to 100 or sums to less than
        99 or more than 101, another input is physically impossible, or the function's result is (not a number,
        outside its range, theta_r >= theta_s, n <= 1 ...). Results outside the calibration range are returned.
        `quality` [int16, CF `flag_masks` and `flag_meanings`] tells which of these holds. A dask task holds the
        blocks of its inputs and outputs, and a few MB more.

    Raises
    ------
    UnknownNameError
        For an unknown method or output.
    MissingVariableError
        Where the dataset lacks an input.
    UnitsError
        Where an input has no units or unknown ones.

    See Also
    --------
    list_ptfs : the table of functions, with inputs, outputs, units, validity and DOI.

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
    dtype = np.result_type(np.float32, *(array.dtype for name, array in cells.items() if name != "topsoil"))

    evaluation = Evaluation(entry, tuple(cells), tuple(v.name for v in wanted), dtype.str, quality)
    dtypes: list[np.dtype[np.generic]] = [np.dtype(dtype)] * len(wanted)
    results = map_cells(evaluation, list(cells.values()), dtypes + [np.dtype(np.int16)] * quality, block=entry.block)

    source = _provenance(entry)
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
    names = [outputs] if isinstance(outputs, str) else list(outputs)
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
        raise MissingVariableError(
            f"{entry.name} needs {name!r} ({VARIABLES[name].long_name}), not among {sorted(map(str, ds.data_vars))}; "
            "use ds.rename(...), or another function (xsoil.list_ptfs())"
        )
    if any(name in TEXTURE for name in names):
        names = [name for name in TEXTURE if name in ds.variables] + [n for n in names if n not in TEXTURE]
    return {
        name: _topsoil(ds) if name == "topsoil" and name not in ds.variables else read(ds, VARIABLES[name])
        for name in names
    }


def _topsoil(ds: xr.Dataset) -> xr.DataArray:
    """1 where the upper edge is above 0.3 m, from the coordinate `depth` and, where it has them, its bounds."""
    depth = ds["depth"]
    upper = read(ds, VARIABLES["depth"]).astype(float)
    bounds = depth_bounds(ds)
    if bounds is not None:
        edges = ds[bounds]
        units = edges.attrs.get("units", depth.attrs["units"])  # CF: bounds need not repeat them
        edges = read(ds.assign({bounds: edges.assign_attrs(units=units)}), replace(VARIABLES["depth"], name=bounds))
        upper = edges.astype(float).min([dim for dim in edges.dims if dim not in depth.dims])
    # 30 cm in float32 are not exactly 0.3 m; a missing depth is a missing topsoil
    topsoil = (upper < TOPSOIL_DEPTH - 1e-6).astype(np.float32).where(upper.notnull())
    return topsoil.reset_coords(drop=True)


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
