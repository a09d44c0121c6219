"""Training of the members of a model: of rows one for each weighting, or for each class; of series and maps one for
each seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation.splits import Split
from xsoil.verbs._moisture_images import images_of
from xsoil.verbs._moisture_inputs import read_target
from xsoil.verbs._moisture_rows import Rows, rows_of
from xsoil.verbs._moisture_series import series_of

if TYPE_CHECKING:
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Predictor
    from xsoil.networks.moisture.kind import Kind, Samples

__all__ = ["fit_images", "fit_rows", "fit_series"]

UNWEIGHTED = "unweighted"
"""Name of the member whose rows weigh alike."""

LEAST_ROWS = 20
"""Of a class that gets a member of its own."""


def fit_rows(
    ds: xr.Dataset,
    kind: Kind,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    split: Split,
    validation: Any,
    members: int,
    missing: Any,
    seed: int,
    progress: bool,
    weights: Sequence[str | None],
    ensemble: str,
    categorical: Sequence[str],
) -> Ensemble:
    """Read rows and train every member; arguments are those of `fit_moisture_model`, checked."""
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Inputs, Targets
    from xsoil.networks.moisture.kind import Samples

    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ArgumentError(f"validation={validation!r}; expected a share of the training cells, from 0 to below 1")
    units = [read_target(ds, name)[1] for name in targets]
    strata = [name for name in weights if name is not None]
    table = rows_of(
        ds, predictors, targets, strata=strata, categorical=categorical, split=split, validation=validation, seed=seed
    )
    learning = ~table.held
    inputs = Inputs.fit(predictors, table.x[learning], missing=missing)
    complete = inputs.complete(table.x)
    if not (complete & learning).any():
        raise ArgumentError(f"no row of the training has all of {list(inputs.names)}; take missing='indicator'")
    scaling = Targets.fit(targets, units, table.y[learning & complete])
    found: dict[str, Kind] = {}
    for name, weight in _member_weights(table, weights, ensemble, learning & complete).items():
        parts = [
            Samples(table.x[part], table.y[part], None if weight is None else weight[part])
            for part in (learning & complete, table.held & complete)
        ]
        watched = parts[1] if len(parts[1]) and (weight is None or weight[table.held & complete].any()) else None
        for number in range(members):
            found[name if members == 1 else f"{name} {number}"] = type(kind)(kind.options).fit(
                parts[0], inputs=inputs, targets=scaling, validation=watched, seed=seed + number, progress=progress
            )
    return Ensemble(found)


def fit_series(
    ds: xr.Dataset,
    kind: Kind,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    split: Split,
    validation: Any,
    seed: int,
    **options: Any,
) -> Ensemble:
    """Read series of cells and train every member; see `series_of` and `_fit_seeds`."""
    parts = series_of(ds, predictors, targets, split=split, validation=validation, seed=seed)
    return _fit_seeds(ds, kind, predictors, targets, *parts, seed=seed, **options)


def fit_images(
    ds: xr.Dataset,
    kind: Kind,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    split: Split,
    validation: Any,
    **options: Any,
) -> Ensemble:
    """Read daily maps and train every member; see `images_of` and `_fit_seeds`."""
    parts = images_of(ds, predictors, targets, split=split, validation=validation)
    return _fit_seeds(ds, kind, predictors, targets, *parts, **options)


def _fit_seeds(
    ds: xr.Dataset,
    kind: Kind,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    own: Samples,
    held: Samples | None,
    *,
    members: int,
    missing: Any,
    seed: int,
    progress: bool,
) -> Ensemble:
    """Members with first weights and shuffles of their own seeds."""
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Inputs, Targets

    rows = np.isfinite(own.y).any(axis=-1)
    inputs = Inputs.fit(predictors, own.x, rows=np.asarray(rows), missing=missing)
    scaling = Targets.fit(targets, [read_target(ds, name)[1] for name in targets], own.y)
    found = {}
    for number in range(members):
        member = type(kind)(kind.options)
        found[f"seed {seed + number}"] = member.fit(
            own, inputs=inputs, targets=scaling, validation=held, seed=seed + number, progress=progress
        )
    return Ensemble(found)


def _member_weights(
    table: Rows, names: Sequence[str | None], ensemble: str, learning: np.ndarray[Any, Any]
) -> dict[str, np.ndarray[Any, Any] | None]:
    """Weights of all rows for each member by its name."""
    from xsoil.networks.moisture.ensemble import balanced_weights

    found: dict[str, np.ndarray[Any, Any] | None] = {}
    for name in names:
        if name is None:
            found[UNWEIGHTED] = None
            continue
        values, continuous = table.strata[name]
        if ensemble == "balanced":
            found[name] = balanced_weights(values, continuous=continuous)
            continue
        if continuous:
            raise ArgumentError(f"ensemble='per_class' by {name!r}, which holds no classes; name it in categorical")
        codes, counts = np.unique(values[learning & np.isfinite(values)], return_counts=True)
        for code in codes[counts >= LEAST_ROWS]:
            found[f"{name}={code:g}"] = (values == code).astype(np.float32)
    if not found:
        raise ArgumentError(f"no class of {list(names)} has {LEAST_ROWS} training rows; take ensemble='balanced'")
    return found
