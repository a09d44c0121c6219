"""A store filled region by region, with a ledger of the finished ones, so that a killed run can be continued."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
import zlib
from collections.abc import Hashable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dask
import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.threads import available_cores, in_order

PIECE = 2**20
"""Bytes of a file that are read at once for its checksum."""


def lazy_names(ds: xr.Dataset) -> list[Hashable]:
    """Variables that are computed region by region; xarray loads objects (text of any length) to learn their type."""
    return [name for name, v in ds.variables.items() if v.chunks is not None and v.dtype.kind != "O"]


def write_at_once(ds: xr.Dataset, store: str | Path, mode: Any, *, progress: bool) -> None:
    """Write a store without a ledger."""
    from dask.diagnostics import ProgressBar

    rest = _begun(ds, store, mode)
    with ProgressBar() if progress and any(v.chunks is not None for v in ds.variables.values()) else nullcontext():
        rest.compute()


def write_template(ds: xr.Dataset, store: Path) -> None:
    """Write all metadata and the variables in memory; nothing lazy is computed."""
    out = ds.copy(deep=False)
    for name in lazy_names(ds):
        variable = ds.variables[name]
        nothing = da.empty(variable.shape, dtype=variable.dtype, chunks=-1)
        out[name] = xr.Variable(variable.dims, nothing, variable.attrs, variable.encoding)
    _begun(out, store, "w-")


def _begun(ds: xr.Dataset, store: str | Path, mode: Any) -> Any:
    """Metadata and variables in memory are written; what writes the rest is returned."""
    with warnings.catch_warnings():
        # Consolidated metadata makes opening one request, and xarray warns on reading where it is absent.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification", category=FutureWarning)
        return ds.to_zarr(store, mode=mode, compute=False, zarr_format=3, consolidated=True)


def encoded_arrays(ds: xr.Dataset) -> dict[str, da.Array]:
    """The lazy variables as they are stored (times as numbers, truth as bytes), by name."""
    from xarray.backends.zarr import encode_zarr_variable

    return {
        str(name): encode_zarr_variable(ds.variables[name], name=name, zarr_format=3).data for name in lazy_names(ds)
    }


def write_regions(arrays: dict[str, da.Array], store: Path, ledger: Path, *, progress: bool) -> None:
    """Compute and write every region that is not in the ledger.

    A region is a dask block: whole chunks, or whole shards, so that no two regions share a file. It enters the ledger
    after its last file, with a checksum of all its files.
    """
    from dask.diagnostics import ProgressBar

    work = [
        made
        for name, array in arrays.items()
        if array.size and (made := _Target.of(store, ledger, name).writing(array)) is not None
    ]
    with ProgressBar() if progress and work else nullcontext():
        dask.compute(*work)


def finished_count(ledger: Path) -> int:
    """Regions in the ledger."""
    return sum(1 for path in ledger.glob("*/*") if not path.name.startswith("."))


@dataclass(frozen=True)
class _Target:
    """An array of the store and its part of the ledger; a task on any worker opens both by their paths."""

    path: str
    ledger: str
    unit: tuple[int, ...]

    @classmethod
    def of(cls, store: Path, ledger: Path, name: str) -> _Target:
        array = zarr.open_array(store / name, mode="r")
        return cls(str(store / name), str(ledger / quote(name, safe="")), array.shards or array.chunks)

    def writing(self, array: da.Array) -> da.Array | None:
        """An array of one element per missing region, whose computation writes it; None if nothing is missing."""
        edges = [np.cumsum([0, *sizes]).tolist() for sizes in array.chunks]
        blocks = list(itertools.product(*(range(n) for n in array.numblocks)))
        regions = {
            block: tuple(slice(edge[i], edge[i + 1]) for edge, i in zip(edges, block, strict=True)) for block in blocks
        }
        finished = self._finished(regions)
        missing = [block for block in blocks if block not in finished]
        if not missing:
            return None
        os.makedirs(self.ledger, exist_ok=True)
        label = os.path.basename(self.ledger)
        name = f"xsoil.to_zarr-{label}-{tokenize(self, array.name, missing)}"
        target = f"xsoil.store-{label}-{tokenize(self)}"
        tasks = {
            (name, number): (_write, target, (array.name, *block), block, regions[block])
            for number, block in enumerate(missing)
        }
        graph = HighLevelGraph.from_collections(name, tasks, dependencies=[array])
        layers, needs = {**graph.layers, target: {target: self}}, {**graph.dependencies, target: set()}
        needs[name] = {*needs[name], target}
        return da.Array(HighLevelGraph(layers, needs), name, ((1,) * len(missing),), dtype=np.int8)

    def _finished(self, regions: dict[tuple[int, ...], tuple[slice, ...]]) -> set[tuple[int, ...]]:
        """Regions that the ledger names and whose files are those that were written."""
        entries = set(os.listdir(self.ledger)) if os.path.isdir(self.ledger) else set()
        named = [block for block in regions if _entry(block) in entries]

        def check(block: tuple[int, ...]) -> list[tuple[tuple[int, ...], bool]]:
            noted = Path(self.ledger, _entry(block)).read_text(encoding="utf-8", errors="replace")
            return [(block, noted == self.checksum(regions[block]))]

        return {block for block, good in in_order(check, named, available_cores()) if good} if named else set()

    def write(self, values: np.ndarray[Any, Any], block: tuple[int, ...], region: tuple[slice, ...]) -> None:
        _opened(self.path)[region] = values
        handle, temporary = tempfile.mkstemp(prefix=".", dir=self.ledger)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.checksum(region))
        os.replace(temporary, os.path.join(self.ledger, _entry(block)))

    def checksum(self, region: tuple[slice, ...]) -> str:
        """Of the files of a region, in order; chunks that hold nothing but the fill value have none."""
        found, count = 0, 0
        spans = [range(s.start // unit, -(-s.stop // unit)) for s, unit in zip(region, self.unit, strict=True)]
        for at in itertools.product(*spans):
            path = os.path.join(self.path, "c", *map(str, at))
            try:
                with open(path, "rb") as file:
                    found = zlib.crc32("/".join(map(str, at)).encode(), found)
                    while piece := file.read(PIECE):
                        found = zlib.crc32(piece, found)
            except FileNotFoundError:
                continue
            count += 1
        return f"{count} files, crc32 {found:08x}\n"


@lru_cache(maxsize=64)
def _opened(path: str) -> Any:
    return zarr.open_array(path, mode="r+")


def _entry(block: tuple[int, ...]) -> str:
    return ".".join(map(str, block)) or "all"


def _write(
    target: _Target, values: np.ndarray[Any, Any], block: tuple[int, ...], region: tuple[slice, ...]
) -> np.ndarray[Any, Any]:
    """One task: a region into the store, then into the ledger."""
    target.write(values, block, region)
    return np.zeros(1, np.int8)
