"""A store that is filled region by region, with a ledger of those that are finished."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.errors import ArgumentError
from xsoil.outputs._ledgers import Block, Ledger, Region
from xsoil.outputs.progress import progress_bar


def lazy_names(ds: xr.Dataset) -> list[Hashable]:
    """Variables that are computed region by region; objects (text, cftime) are not: see `write_template`."""
    return [name for name, v in ds.variables.items() if v.chunks is not None and v.dtype.kind != "O"]


def write_at_once(ds: xr.Dataset, store: Path, *, progress: bool) -> None:
    """Write a store without a ledger."""
    rest = _begun(ds, store)
    with progress_bar(shown=progress and any(v.chunks is not None for v in ds.variables.values())):
        rest.compute()


def write_template(ds: xr.Dataset, store: Path) -> None:
    """Write all metadata and the variables in memory; of what is lazy, only objects are computed: they tell how to."""
    out = ds.copy(deep=False)
    lazy = set(lazy_names(ds))
    for name, variable in ds.variables.items():
        if variable.chunks is None:
            continue
        if name not in lazy:
            out[name] = variable.compute()
            continue
        nothing = da.empty(variable.shape, dtype=variable.dtype, chunks=-1)
        out[name] = xr.Variable(variable.dims, nothing, variable.attrs, variable.encoding)
    _begun(out, store)


def _begun(ds: xr.Dataset, store: Path) -> Any:
    """Metadata and variables in memory are written; what writes the rest is returned."""
    with warnings.catch_warnings():
        # Consolidated metadata makes opening one request, and xarray warns on reading where it is absent.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification", category=FutureWarning)
        with explained(ds, "Zarr"):
            return ds.to_zarr(store, mode="w-", compute=False, zarr_format=3, consolidated=True)


@contextmanager
def explained(ds: xr.Dataset, what: str) -> Iterator[None]:
    """Where a format has no way to hold a variable: say which ones are not plain, and what to do."""
    try:
        yield
    except (OSError, ArgumentError):
        raise
    except Exception as error:  # of any class: xarray, zarr and netCDF4 have one for each kind
        plain = {n for n, v in ds.variables.items() if isinstance(v.dtype, np.dtype) and v.dtype.kind in "biufSUTMm"}
        odd = {str(n): str(v.dtype) for n, v in ds.variables.items() if n not in plain}
        text = " ".join(str(error).split())[:500]
        raise ArgumentError(
            f"{what} cannot hold this dataset ({type(error).__name__}: {text}); variables that are no number, time or "
            f"text: {odd or 'none'}. Convert what it names (.astype, .reset_index, .drop_attrs), or .drop_vars it"
        ) from error


def encoded_arrays(ds: xr.Dataset) -> dict[str, da.Array]:
    """The lazy variables as they are stored (times as numbers, truth as bytes), by name."""
    from xarray.backends.zarr import encode_zarr_variable

    with explained(ds, "Zarr"):
        return {
            str(name): encode_zarr_variable(ds.variables[name], name=name, zarr_format=3).data
            for name in lazy_names(ds)
        }


def write_regions(arrays: dict[str, da.Array], ledgers: Mapping[str, Ledger], *, progress: bool) -> None:
    """Compute and write every region that is not in the ledger of its array.

    A region is a dask block: whole chunks, or whole shards, so that no two regions share a file. It enters the ledger
    after its last file.
    """
    work = [
        made
        for name, array in arrays.items()
        if array.size and (made := _writing(array, name, ledgers[name])) is not None
    ]
    with progress_bar(shown=progress and bool(work)):
        dask.compute(*work)


def missing_regions(array: da.Array, ledger: Ledger) -> dict[Block, Region]:
    """Blocks that the ledger does not hold, or whose files are not there, and their place in the array."""
    edges = [np.cumsum([0, *sizes]).tolist() for sizes in array.chunks]
    regions = {
        block: tuple(slice(edge[i], edge[i + 1]) for edge, i in zip(edges, block, strict=True))
        for block in itertools.product(*(range(n) for n in array.numblocks))
    }
    finished = ledger.finished(regions) if array.size else regions
    return {block: region for block, region in regions.items() if block not in finished}


def _writing(array: da.Array, label: str, ledger: Ledger) -> da.Array | None:
    """An array of one element per missing region, whose computation writes it; None if nothing is missing."""
    missing = missing_regions(array, ledger)
    if not missing:
        return None
    ledger.begin()
    name = f"xsoil.to_zarr-{label}-{tokenize(ledger, array.name, list(missing))}"
    target = f"xsoil.store-{label}-{tokenize(ledger)}"
    tasks = {
        (name, number): (_write, target, (array.name, *block), block, region)
        for number, (block, region) in enumerate(missing.items())
    }
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[array])
    layers, needs = {**graph.layers, target: {target: ledger}}, {**graph.dependencies, target: set()}
    needs[name] = {*needs[name], target}
    return da.Array(HighLevelGraph(layers, needs), name, ((1,) * len(missing),), dtype=np.int8)


def _write(ledger: Ledger, values: np.ndarray[Any, Any], block: Block, region: Region) -> np.ndarray[Any, Any]:
    """One task: a region into the store, then into the ledger."""
    ledger.write(values, block, region)
    return np.zeros(1, np.int8)
