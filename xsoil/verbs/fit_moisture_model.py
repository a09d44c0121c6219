"""`fit_moisture_model`: soil moisture from satellites, maps and weather, learned from stations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.choices import as_names, as_table, require_choice
from xsoil.errors import ArgumentError
from xsoil.evaluation.splits import Split
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._moisture_inputs import predictor_rows
from xsoil.verbs._moisture_model import MoistureModel, MoistureSamples
from xsoil.verbs._moisture_training import fit_images, fit_rows, fit_series
from xsoil.verbs._training import require_torch

__all__ = ["fit_moisture_model"]

ENSEMBLES = ("balanced", "per_class")

FIT: Mapping[str, Callable[..., Any]] = MappingProxyType({"rows": fit_rows, "series": fit_series, "images": fit_images})
"""How a model of each layout is trained: gives an `Ensemble`."""

_POEHLS = "Poehls et al. (2025), https://doi.org/10.1016/j.jhydrol.2024.132624"
REFERENCES: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("dense", "prob", "wide_deep", "random_forest"), _POEHLS)
    | {
        "lstm": "Liu et al. (2023), https://doi.org/10.5194/gmd-16-1553-2023",
        "convlstm": "Rabiei et al. (2024), https://doi.org/10.20944/preprints202412.1356.v1",
    }
)


def fit_moisture_model(
    samples: xr.Dataset | xr.DataArray,
    *,
    kind: str,
    target: str | Sequence[str] = "soil_moisture",
    predictors: Sequence[str],
    split: Split | None = None,
    weights: str | Sequence[str | None] | None = None,
    seed: int = 0,
    ensemble: Literal["balanced", "per_class"] = "balanced",
    categorical: Sequence[str] = (),
    missing: Literal["indicator", "nan"] = "indicator",
    validation: Any = 0.15,
    members: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> MoistureModel:
    """Learn soil moisture at stations from what is known everywhere.

    Small networks, forests and their ensembles are those of [1]_.

    Parameters
    ----------
    samples : xr.Dataset
        Target and predictors on any dims: (site, time), (pixel, time), (time, y, x), (sample). Predictors may lack some
        of the target's dims. Rows without a target, or with one that is physically impossible (as an undeclared nodata
        value), are not used; predictors may be missing anywhere. Read one variable at a time.
    kind : str
        ``"dense"``: a small network with a normal distribution as output; ``"prob"``: the same with a Bayesian layer;
        ``"wide_deep"``: a larger network beside a linear model; ``"random_forest"``. ``"lstm"`` reads daily series and
        learns several targets together [2]_, ``"convlstm"`` daily maps [3]_; they take no `weights`.
    target : str or sequence of str
        What is learned, in any units that the vocabulary converts, else with any units. Several for kinds that learn
        them together.
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
        out too, so that all kinds learn from the same rows; 0 uses all. For "lstm" also days at the end of the training
        (``"56D"``) in all cells; "convlstm" keeps days at the end in any case.
    members : int
        Of an ensemble: so many of each in `weights`, from seeds `seed`, `seed` + 1, ...
    options : mapping, optional
        Of the kind: `hidden`, `epochs`, `batch_rows`, `learning_rate`, `patience`, `schedule` of networks; `draws`,
        `prior_sd`, `kl_weight` of "prob"; `dropout` of "wide_deep"; `trees`, `max_depth`, `min_samples_leaf`,
        `max_features`, `max_samples` of forests; of "lstm" and "convlstm" see `LstmOptions` and `ConvLstmOptions` in
        `xsoil.networks.moisture`.
    progress : bool
        Bars of epochs.

    Returns
    -------
    MoistureModel
        With ``.predict(ds)`` (lazy, any raster), ``.evaluate()``, ``.importance()``, ``.save(path)``.

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
    .. [2] Liu et al. (2023), Geosci. Model Dev. 16, 1553-1567, doi:10.5194/gmd-16-1553-2023.
    .. [3] Rabiei et al. (2024), preprints 202412.1356.

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
    from xsoil.networks.moisture.kinds import KINDS

    require_choice("kind of soil-moisture model", kind, KINDS)
    require_choice("way of making an ensemble", ensemble, ENSEMBLES)
    for name, value, least in (("seed", seed, 0), ("members", members, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ArgumentError(f"{name}={value!r}; expected a whole number of at least {least}")
    chosen = KINDS[kind](KINDS[kind].options_type.of(as_table("options", options, "{'epochs': 50}")))
    ds, split = as_dataset(samples), split or Split()
    if not isinstance(split, Split):
        raise ArgumentError(f"split is {type(split).__name__}; expected xsoil.Split")
    targets = as_names("target", target)
    if not targets or len(targets) > chosen.most_targets:
        raise ArgumentError(f"target={target!r}; a model of kind {kind!r} learns {chosen.most_targets} at the most")
    names = _strata(weights)
    strata = [name for name in names if name is not None]
    if chosen.layout != "rows" and (strata or ensemble != "balanced"):
        raise ArgumentError(f"weights={weights!r} with kind {kind!r}, which reads {chosen.layout}; expected none")
    rows = predictor_rows(ds, predictors, categorical, targets, strata)
    more: dict[str, Any] = {}
    if chosen.layout == "rows":
        more = {"weights": names, "ensemble": ensemble, "categorical": categorical}
    found = FIT[chosen.layout](
        ds, chosen, rows, targets, split=split, validation=validation, members=int(members), missing=missing,
        seed=int(seed), progress=progress, **more,
    )  # fmt: skip
    arguments = {
        "kind": kind, "target": target, "weights": weights, "seed": seed, "ensemble": ensemble,
        "categorical": tuple(categorical), "missing": missing, "validation": validation, "members": members,
        "options": dict(options or {}),
    }  # fmt: skip
    return MoistureModel(found, REFERENCES.get(kind, ""), MoistureSamples(ds, split, arguments))


def _strata(weights: str | Sequence[str | None] | None) -> tuple[str | None, ...]:
    """Names of variables, and None for the member without."""
    names = (None,) if weights is None else tuple(as_names("weights", weights))
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"weights={weights!r}; expected names of variables, each once, or None")
    return names
