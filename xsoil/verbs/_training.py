"""From arguments of `learn_params` to a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.choices import as_table
from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.physics.bounded import Bounded
from xsoil.verbs._cell_source import XarraySource
from xsoil.verbs._learnable import Learnable
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["draw_validation", "require_network", "require_torch", "train"]

WITH_RING = ("cnn", "mpr")
"""Networks that are told how many cells of a patch are neighbours."""


def require_torch() -> None:
    """Raise where the libraries of the networks are not installed."""
    missing = [name for name in ("torch", "lightning", "safetensors") if find_spec(name) is None]
    if missing:
        raise ArgumentError(
            f"networks need {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'xsoil[learn]'; learn_params(strategy='inverse') works without"
        )


def require_network(network: Any) -> None:
    """Raise where networks cannot be had, or this one is none, before anything is read."""
    require_torch()
    from xsoil.networks.parameter_networks import NETWORKS

    if isinstance(network, type):
        raise ArgumentError(
            f"network is the class {network.__name__}; expected a module of it: {network.__name__}(...)"
        )
    if network not in NETWORKS if isinstance(network, str) else not hasattr(network, "state_dict"):
        raise UnknownNameError.of("network", network, NETWORKS)


def draw_validation(cells: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells of training and of validation: single cells at random, at least one where `share` is above 0."""
    if share == 0 or cells.size < 2:
        return cells, cells[:0]
    count = min(max(round(share * cells.size), 1), cells.size - 1)
    order = np.random.default_rng([seed, 1]).permutation(cells.size)
    return np.sort(cells[order[count:]]), np.sort(cells[order[:count]])


def train(
    source: XarraySource,
    targets: Mapping[str, Bounded],
    cells: tuple[np.ndarray, np.ndarray],
    *,
    model: Learnable,
    surrogate: Any,
    strategy: str,
    network: Any,
    network_options: Mapping[str, Any] | None,
    loss: Any,
    weights: Mapping[str, float] | None,
    seed: int,
    **options: Any,
) -> tuple[ParameterLearner, xr.Dataset, np.ndarray]:
    """Train a network on cells (training, validation); the learner, the record of its epochs, cells without use."""
    from xsoil.networks.learner import ParameterLearner
    from xsoil.networks.scaling import InputScaling
    from xsoil.networks.training import fit

    inputs = source.inputs
    static, history = inputs.predictors, inputs.history
    logs = {
        kind: [k for k, name in enumerate(known.units if known else ()) if name in VARIABLES and VARIABLES[name].log]
        for kind, known in (("log_static", static), ("log_history", history))
    }
    patch = None if static is None or static.patch is None else (static.patch, static.patch)
    more = as_table("network_options", network_options, "{'hidden': 32}")
    if patch and network in WITH_RING and static is not None and static.nesting is not None and static.nesting.ring:
        more.setdefault("ring", static.nesting.ring)
    names = inputs.observed.outputs
    held = source.in_memory()
    try:
        learner = ParameterLearner(
            network,
            InputScaling.fit(held, cells[0], **logs),
            targets,
            patch=patch,
            network_options=more,
            model=model.name if surrogate is None else surrogate.model(targets),
            model_options=model.options if surrogate is None else None,
            strategy=strategy,  # type: ignore[arg-type]
            loss={names.get(n, n): v for n, v in loss.items()} if isinstance(loss, Mapping) else loss,
            weights=None if weights is None else {names[n]: w for n, w in weights.items() if n in names},
            seed=seed,
        )
    except (TypeError, RuntimeError) as error:
        if not isinstance(network, str):
            raise
        raise ArgumentError(f"network={network!r} with network_options={more}: {error}") from error
    directory: Path | None = options.pop("directory")
    record = fit(learner, held, *cells, directory=directory, seed=seed, **options)
    return learner, _record_of(record), record.excluded


def _record_of(record: Any) -> xr.Dataset:
    """The epochs of a training as a dataset."""
    out = xr.Dataset(
        {
            "train": ("epoch", np.array(record.train), {"long_name": "loss of the training cells"}),
            "validation": ("epoch", np.array(record.validation), {"long_name": "loss of the validation cells"}),
            "learning_rate": ("epoch", np.array(record.learning_rate)),
            "seconds": ("epoch", np.array(record.seconds), {"units": "s"}),
        },
        {"epoch": np.arange(len(record.train))},
    )
    return out.assign_attrs(best_epoch=int(record.best_epoch), stopped=str(record.stopped))
