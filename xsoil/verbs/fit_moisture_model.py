"""`fit_moisture_model`: soil moisture from satellites, maps and weather, learned from stations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.evaluation.splits import Split
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._moisture_inputs import predictor_rows, read_target
from xsoil.verbs._moisture_model import MoistureModel, MoistureSamples
from xsoil.verbs._moisture_rows import Rows, rows_of
from xsoil.verbs._training import require_torch

__all__ = ["fit_moisture_model"]

UNWEIGHTED = "unweighted"
"""Name of the member whose rows weigh alike."""

ENSEMBLES = ("balanced", "per_class")

LEAST_ROWS = 20
"""Of a class that gets a member of its own."""

_POEHLS = "Poehls et al. (2025), https://doi.org/10.1016/j.jhydrol.2024.132624"
REFERENCES: Mapping[str, str] = dict.fromkeys(("dense", "prob", "wide_deep", "random_forest"), _POEHLS)


def fit_moisture_model(
    samples: xr.Dataset,
    *,
    kind: str,
    target: str = "soil_moisture",
    predictors: Sequence[str],
    split: Split | None = None,
    weights: str | Sequence[str | None] | None = None,
    seed: int = 0,
    ensemble: Literal["balanced", "per_class"] = "balanced",
    categorical: Sequence[str] = (),
    missing: Literal["indicator", "nan"] = "indicator",
    validation: float = 0.15,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> MoistureModel:
    """Learn soil moisture at stations from what is known everywhere [1]_.

    Parameters
    ----------
    samples : xr.Dataset
        Target and predictors on any dims: (site, time), (pixel, time), (time, y, x), (sample). Predictors may lack some
        of the target's dims. Rows without a target are not used; predictors may be missing anywhere. Read one
        variable at a time.
    kind : str
        ``"dense"``: a small network with a normal distribution as output; ``"prob"``: the same with a Bayesian layer;
        ``"wide_deep"``: a larger network beside a linear model; ``"random_forest"``.
    target : str
        What is learned, in any units that the vocabulary converts, else with any units.
    predictors : sequence of str
        Names. Variables that declare classes (``flag_values``), are known to hold them (`texture_class`), or are named
        in `categorical` become a column for each class; all others need units, which a prediction must then have.
    split : Split, optional
        Cells and times to learn from; all by default.
    weights : str, None, or sequence of these
        Variables of `samples` whose classes shall count alike: a member of the ensemble for each, whose rows weigh
        n / (classes x n_i). Numbers are put into ten bins of equal width; missing values are a class too. None is a
        member whose rows weigh alike. They need not be predictors.
    seed : int
        Of first weights, shuffles, forests and the draw of validation cells.
    ensemble : {"balanced", "per_class"}
        What a name in `weights` makes: one member of balanced weights, or a member for each class, grown from the
        rows of that class alone, if it has 20 (the forests of Abbaszadeh et al. 2019).
    categorical : sequence of str
        Predictors whose numbers are classes, beside those that say so.
    missing : {"indicator", "nan"}
        A row with a missing predictor is learned from and predicted with the training mean in its place (a column says
        so where that happened in training), or left out and predicted as NaN.
    validation : float
        Share of the training cells that decide when to stop (of rows, where there are few cells). Forests leave these
        out too, so that all kinds learn from the same rows; 0 uses all.
    options : mapping, optional
        Of the kind: `hidden`, `epochs`, `batch_rows`, `learning_rate`, `patience`, `schedule` of networks; `draws`,
        `prior_sd`, `kl_weight` of "prob"; `dropout` of "wide_deep"; `trees`, `max_depth`, `min_samples_leaf`,
        `max_features`, `max_samples` of forests.
    progress : bool
        Bars of epochs.

    Returns
    -------
    MoistureModel
        With ``.predict(ds)`` (lazy, any raster), ``.evaluate()``, ``.save(path)``.

    Raises
    ------
    MissingVariableError, UnitsError, GridMismatchError
        Variables that are not there, have no units, or are on other dims than the target.
    UnknownNameError, ArgumentError
        An unknown kind or option; arguments that do not fit together; nothing to learn from.

    See Also
    --------
    downscale : with ``method=model`` brings covariates to a grid and predicts there.

    References
    ----------
    .. [1] Poehls et al. (2025), J. Hydrol. 132624, doi:10.1016/j.jhydrol.2024.132624.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import xsoil
    >>> rng = np.random.default_rng(0)
    >>> water, share = {"units": "m3 m-3"}, {"units": "percent"}
    >>> smap, sand = rng.uniform(0.1, 0.4, (40, 30)), rng.uniform(10, 90, 40)
    >>> samples = xr.Dataset(
    ...     {
    ...         "smap": (("site", "day"), smap, water),
    ...         "sand": ("site", sand, share),
    ...         "soil_moisture": (("site", "day"), 0.6 * smap + 0.1 - 0.001 * sand[:, None], water),
    ...     }
    ... )
    >>> model = xsoil.fit_moisture_model(
    ...     samples, kind="random_forest", predictors=["smap", "sand"], options={"trees": 20}, progress=False
    ... )
    >>> model
    <MoistureModel soil_moisture: random_forest, 1 member(s); from smap, sand>
    >>> bool(model.evaluate().rmse[0] < 0.02)
    True
    """
    require_torch()
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Inputs, Targets
    from xsoil.networks.moisture.kind import Samples
    from xsoil.networks.moisture.kinds import KINDS

    if kind not in KINDS:
        raise UnknownNameError.of("kind of soil-moisture model", kind, KINDS)
    if ensemble not in ENSEMBLES:
        raise UnknownNameError.of("way of making an ensemble", ensemble, ENSEMBLES)
    _check(validation, seed)
    chosen = KINDS[kind](KINDS[kind].options_type.of(options or {}))
    ds, split = as_dataset(samples), split or Split()
    if not isinstance(split, Split):
        raise ArgumentError(f"split is {type(split).__name__}; expected xsoil.Split")
    names = _strata(weights)
    strata = [name for name in names if name is not None]
    rows = predictor_rows(ds, predictors, categorical, [target], strata)
    units = read_target(ds, target)[1]
    table = rows_of(
        ds, rows, [target], strata=strata, categorical=categorical, split=split, validation=validation, seed=int(seed)
    )
    learning = ~table.held
    inputs = Inputs.fit(rows, table.x[learning], missing=missing)
    complete = inputs.complete(table.x)
    if not (complete & learning).any():
        raise ArgumentError(f"no row of the training has all of {list(inputs.names)}; take missing='indicator'")
    targets = Targets.fit([target], [units], table.y[learning & complete])
    members = {}
    for name, weight in _member_weights(table, names, ensemble, learning & complete).items():
        member = type(chosen)(chosen.options)
        parts = [
            Samples(table.x[part], table.y[part], None if weight is None else weight[part])
            for part in (learning & complete, table.held & complete)
        ]
        watched = parts[1] if len(parts[1]) and (weight is None or parts[1].weights.any()) else None  # type: ignore[union-attr]
        members[name] = member.fit(
            parts[0], inputs=inputs, targets=targets, validation=watched, seed=int(seed), progress=progress
        )
    return MoistureModel(Ensemble(members), REFERENCES.get(kind, ""), MoistureSamples(ds, split))


def _check(validation: float, seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed={seed!r}; expected a whole number of at least 0")
    if not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ArgumentError(f"validation={validation!r}; expected a share of the training cells, from 0 to below 1")


def _strata(weights: str | Sequence[str | None] | None) -> tuple[str | None, ...]:
    """Names of variables, and None for the member without."""
    names = (weights,) if weights is None or isinstance(weights, str) else tuple(weights)
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"weights={weights!r}; expected names of variables, each once, or None")
    return names


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
