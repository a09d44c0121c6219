"""The maps and tables of a learned model: parameters, status of the cells, ends of searches."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xsoil.evaluation.splits import Split
from xsoil.physics.bounded import Bounded
from xsoil.verbs._cell_source import FAULTS
from xsoil.verbs._inversion import NOT_SEARCHED
from xsoil.verbs._results import carry_grid_mapping, coordinates, flag_attrs
from xsoil.vocabulary import VARIABLES

__all__ = ["FLAGS", "described", "draws_of", "inversion_maps", "search_ends", "status_of"]

FLAGS = {**FAULTS, "validation": 16, "kept_for_test": 32, "in_no_set": 64}


def status_of(
    found: np.ndarray,
    split: Split,
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
    unseen: np.ndarray,
    validation: np.ndarray,
) -> np.ndarray:
    """Why each cell took no part in the learning, as bits of `FLAGS`; flat."""
    status = found | np.where(unseen.ravel(), FLAGS["no_observations"], 0).astype(np.uint8)
    status[validation] |= FLAGS["validation"]
    if split.train is not None and split.test is not None:
        train, test = (mask.transpose(*dims).to_numpy().ravel() for mask in (split.train, split.test))
        status[test] |= FLAGS["kept_for_test"]
        status[~(train | test)] |= FLAGS["in_no_set"]
    return status


def described(
    params: xr.Dataset, status: np.ndarray, dims: tuple[Hashable, ...], like: xr.Dataset, strategy: str, reference: str
) -> xr.Dataset:
    """Parameters with the status of their cells and where they come from."""
    attrs = {"long_name": "part of the cell in the learning (0: training)"} | flag_attrs(FLAGS)
    shape = tuple(like.sizes[d] for d in dims)
    out = params.assign(status=(dims, status.reshape(shape), attrs))
    return carry_grid_mapping(out, like).assign_attrs(strategy=strategy, references=reference)


def inversion_maps(
    maps: Mapping[str, np.ndarray],
    status: np.ndarray,
    bounds: Mapping[str, Bounded],
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
    strategy: str,
    reference: str,
) -> xr.Dataset:
    """What an inversion found, on the cells."""
    from xsoil.inverse.inverted import STATUS

    ends = {**STATUS, "not_searched": NOT_SEARCHED}
    attrs: dict[str, dict[str, Any]] = {name: dict(VARIABLES[name].attrs) for name in bounds}
    for name in bounds:
        row = VARIABLES[name]
        attrs[f"{name}_spread"] = {"units": row.units, "long_name": f"posterior standard deviation of {row.long_name}"}
    attrs["cost"] = {"long_name": "misfit of the parameters"}
    attrs["iterations"] = {"long_name": "steps of the search", "units": "1"}
    attrs["evaluations"] = {"long_name": "runs of the model", "units": "1"}
    attrs["failed_runs"] = {"long_name": "runs of the model without a result", "units": "1"}
    attrs["search_status"] = {
        "long_name": "end of the search",
        "flag_values": np.array(list(ends.values()), np.uint8),
        "flag_meanings": " ".join(ends),
    }
    shape = tuple(like.sizes[d] for d in dims)
    data = {}
    for name, values in maps.items():
        values = values.astype(np.float32) if values.dtype.kind == "f" else values
        data[name] = (dims, values.reshape(shape), attrs[name])
    return described(coordinates((like, dims)).assign(data), status, dims, like, strategy, reference)


def draws_of(
    draws: Mapping[str, np.ndarray], like: xr.Dataset, dims: tuple[Hashable, ...], reference: str
) -> xr.Dataset | None:
    """The posterior ensembles (members, cells) of an inversion, on `member` and the dims of the cells."""
    if not draws:
        return None
    shape = tuple(like.sizes[d] for d in dims)
    data = {
        name: (("member", *dims), values.reshape(-1, *shape), VARIABLES[name].attrs) for name, values in draws.items()
    }
    return carry_grid_mapping(coordinates((like, dims)).assign(data), like).assign_attrs(references=reference)


def search_ends(maps: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Cells by how their search ended."""
    from xsoil.inverse.inverted import STATUS

    counts = [int((maps["search_status"] == code).sum()) for code in STATUS.values()]
    return xr.Dataset({"cells": ("search_status", counts, {"units": "1"})}, {"search_status": list(STATUS)})
