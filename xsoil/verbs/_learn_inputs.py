"""What `learn_params` was called with: which arguments go together, which cells there are, which inversion it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xsoil.choices import as_path
from xsoil.errors import ArgumentError, GridMismatchError, UnknownNameError
from xsoil.evaluation._places import cell_dims
from xsoil.evaluation.splits import Split
from xsoil.outputs._paths import STORES
from xsoil.verbs._cell_source import FAULTS
from xsoil.verbs._inputs import require_same_grid
from xsoil.verbs._inversion import Search
from xsoil.verbs._observed import errors_of, weights_of

__all__ = [
    "cells_of", "check_numbers", "checkpoints_in", "faults_of", "require_one_grid", "require_used", "search_of",
    "through", "training_cells",
]  # fmt: skip

PHYSICS = ("direct", "surrogate")


def check_numbers(
    *, ring: int, warmup: int, seed: int, epochs: int, batch_cells: int, patience: int | None, learning_rate: float,
    validation: float, memory_budget: float,
) -> None:  # fmt: skip
    """Raise where a number is outside its range, before anything is read."""
    limits: dict[str, tuple[Any, int]] = {"ring": (ring, 0), "warmup": (warmup, 0), "seed": (seed, 0)}
    limits |= {"epochs": (epochs, 1), "batch_cells": (batch_cells, 1)}
    if patience is not None:
        limits["patience"] = (patience, 1)
    for name, (value, least) in limits.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ArgumentError(f"{name}={value!r}; expected a whole number of at least {least}")
    if not isinstance(learning_rate, (int, float)) or not 0 < learning_rate < np.inf:
        raise ArgumentError(f"learning_rate={learning_rate!r}; expected a number above 0")
    if not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ArgumentError(f"validation={validation!r}; expected a share of the training cells, from 0 to below 1")
    if not isinstance(memory_budget, (int, float)) or not memory_budget > 0:
        raise ArgumentError(f"memory_budget={memory_budget!r}; expected bytes")


def require_used(model: str, strategy: str, optimizer: str, given: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise where an argument says what the model or the optimizer never asks for.

    "end_to_end" has no optimizer; what is said to one is let pass there, so that strategies are compared with the same
    arguments.

    Parameters
    ----------
    given : mapping of str to (value, default)

    Raises
    ------
    ArgumentError
        Such a value is not the default: whoever gives it expects that it counts.
    """
    columns, smoother = ("curve", "depth", "column_depth"), ("error_std", "members", "iterations")
    unused = dict.fromkeys(columns if model == "water_balance" else ("substeps",), f"model={model!r}")
    if strategy != "end_to_end":
        unused |= dict.fromkeys(("evaluations",) if optimizer == "ies" else smoother, f"optimizer={optimizer!r}")
    for name, where in unused.items():
        value, default = given[name]
        if isinstance(value, Mapping) or value != default:
            raise ArgumentError(f"{name}={value!r} with {where}, which does not use it; leave it out")


def checkpoints_in(directory: str | PathLike[str] | None) -> Path | None:
    """The folder for checkpoints, which is made where it is not there."""
    if directory is None:
        return None
    place = as_path("directory", directory)
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"directory={str(place)!r} is a file; expected a folder for checkpoints, or a new path")
    if found := [name for name in STORES if (place / name).exists()]:
        raise ArgumentError(
            f"directory={str(place)!r} is a Zarr store (it holds {found[0]!r}); expected a folder for checkpoints, or "
            "a new path"
        )
    place.mkdir(parents=True, exist_ok=True)
    return place


def cells_of(observations: xr.Dataset) -> tuple[Hashable, ...]:
    """The dims of the cells: those of the grid, or all but time."""
    dims = cell_dims(observations)
    others = [str(d) for d in observations.dims if d not in dims and d != "time"]
    if others:
        raise ArgumentError(
            f"the observations have the dims {others} beside time and {[str(d) for d in dims]}; choose one layer of "
            "them: .isel(...), or ds.soil.depth_mean(...)"
        )
    return dims


def require_one_grid(
    like: xr.Dataset,
    series: xr.Dataset,
    known: Mapping[str, xr.DataArray],
    ends: Mapping[str, xr.DataArray],
    dims: tuple[Hashable, ...],
) -> None:
    """Raise unless forcing, given parameters and bounds of cells are on the cells of the observations."""
    given: list[tuple[str, xr.Dataset | xr.DataArray]] = [("forcing", series)]
    given += [(f"parameter {name!r}", array) for name, array in known.items()]
    given += [(f"the bound {name!r}", array) for name, array in ends.items()]
    for what, obj in given:
        if foreign := [str(d) for d in obj.dims if d not in (*dims, "time")]:
            raise GridMismatchError(
                f"{what} is on {foreign}, the observations on {[str(d) for d in dims]}; rename its dims, or bring both "
                "to one grid with ds.soil.upscale(...)"
            )
        require_same_grid(like, obj, what)


def training_cells(split: Split, like: xr.Dataset, dims: tuple[Hashable, ...]) -> np.ndarray:
    """The training cells of the split in the order of the observations' dims."""
    if not isinstance(split, Split):
        raise ArgumentError(f"split is {type(split).__name__}; expected xsoil.Split")
    cells = split.train
    if cells is None:
        return np.ones([like.sizes[d] for d in dims], bool)
    if set(cells.dims) != set(dims):
        raise GridMismatchError(
            f"the split is of cells on {[str(d) for d in cells.dims]}, the observations are on {[str(d) for d in dims]}"
        )
    require_same_grid(like, cells, "split")
    return np.asarray(cells.transpose(*dims).to_numpy())


def through(model: str, physics: str, surrogate: Any) -> str:
    """The model, which `physics` may say too to be a surrogate; raises where that is missing or too many."""
    if physics not in PHYSICS:
        raise UnknownNameError.of("physics", physics, PHYSICS)
    if physics == "surrogate" and model == "richards":
        model = "richards_surrogate"
    if physics == "surrogate" and model != "richards_surrogate":
        raise ArgumentError(
            f"physics='surrogate' with model={model!r}; expected model='richards', whose solver it spares"
        )
    if (model == "richards_surrogate") != (surrogate is not None):
        raise ArgumentError(
            f"model={model!r} with surrogate={type(surrogate).__name__}; expected model='richards_surrogate' together "
            "with a surrogate that xsoil.networks.surrogate.fit_surrogate(...) made, or how to make it (surrogate={"
            "'runs': 5000, 'hidden': 256}), or none of both"
        )
    return model


def search_of(
    optimizer: str, *, seed: int, observed: Mapping[str, str], loss: Any, losses: Mapping[str, Any],
    weights: Mapping[str, float] | None, error_std: float | Mapping[str, float], members: int, iterations: int,
    evaluations: int, draws: bool,
) -> Search:  # fmt: skip
    """The inversion, with what it needs of each observed output."""
    if optimizer == "ies" and any(one != "mse" for one in losses.values()):
        raise ArgumentError(
            f"loss={loss!r} with optimizer='ies', which makes squares of errors least (error_std=...); expected "
            "optimizer='sce_ua', or strategy='end_to_end'"
        )
    errors = errors_of(error_std, observed) if optimizer == "ies" else {}
    shares = weights_of(weights, observed)
    return Search(
        optimizer,
        seed,
        errors={observed[name]: value for name, value in errors.items()},
        losses={observed[name]: value for name, value in losses.items()},
        weights={observed[name]: value for name, value in shares.items()},
        members=members,
        iterations=iterations,
        evaluations=evaluations,
        draws=draws,
    )


def faults_of(status: np.ndarray) -> str:
    found = {name: int(((status & bit) != 0).sum()) for name, bit in FAULTS.items()}
    return ", ".join(f"{count} cells with {name}" for name, count in found.items() if count) or "none is left"
