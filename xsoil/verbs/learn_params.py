"""`learn_params`: parameters of a soil-moisture model, learned from observations."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.evaluation.splits import Split
from xsoil.verbs._cell_source import FAULTS, Inputs, XarraySource, observations_per_cell
from xsoil.verbs._infer import Inference, cells_like, geometry_of
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._inversion import invert
from xsoil.verbs._learn_inputs import (
    cells_of,
    check_numbers,
    checkpoints_in,
    faults_of,
    require_one_grid,
    require_used,
    search_of,
    through,
    training_cells,
)
from xsoil.verbs._learnable import forcing_of, learnable
from xsoil.verbs._learned import Data, LearnedParams, Setting
from xsoil.verbs._learned_maps import described, draws_of, inversion_maps, search_ends, status_of
from xsoil.verbs._observed import VARYING, losses_of, observed_of
from xsoil.verbs._predictors import predictors_of, series_of_history
from xsoil.verbs._simulate_inputs import OBSERVATION
from xsoil.verbs._surrogate import behind_surrogate, made_surrogate
from xsoil.verbs._targets import completed, known_of, targets_of
from xsoil.verbs._training import draw_validation, require_network, train

__all__ = ["learn_params"]

STRATEGIES = ("end_to_end", "two_step", "inverse")
OPTIMIZERS = ("ies", "sce_ua")
SCRATCH = "xsoil-scratch-"


def learn_params(
    ds: xr.Dataset | xr.DataArray | None,
    observations: xr.Dataset | xr.DataArray,
    forcing: xr.Dataset,
    *,
    strategy: Literal["end_to_end", "two_step", "inverse"] = "end_to_end",
    network: Any = "cnn",
    model: str = "water_balance",
    physics: Literal["direct", "surrogate"] = "direct",
    targets: Mapping[str, Any] | Sequence[str] | str | None = None,
    split: Split | None = None,
    seed: int = 0,
    optimizer: Literal["ies", "sce_ua"] = "ies",
    loss: Any = "mse",
    weights: Mapping[str, float] | None = None,
    mask: xr.DataArray | None = None,
    ring: int = 0,
    history: xr.Dataset | None = None,
    warmup: int = 0,
    substeps: int = 24,
    curve: str = "van_genuchten",
    depth: float = 0.05,
    column_depth: float = 0.5,
    surrogate: Any = None,
    network_options: Mapping[str, Any] | None = None,
    validation: float = 0.1,
    epochs: int = 200,
    batch_cells: int = 256,
    learning_rate: float = 0.01,
    patience: int | None = None,
    schedule: Literal["plateau", "one_cycle", "constant"] = "plateau",
    accelerator: str = "cpu",
    error_std: float | Mapping[str, float] = 0.02,
    members: int = 64,
    iterations: int = 20,
    draws: bool = False,
    evaluations: int = 3000,
    memory_budget: float = 4e9,
    directory: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    **fixed: float | xr.DataArray,
) -> LearnedParams:
    """Learn parameters of a soil-moisture model from observed soil moisture, through the model itself.

    Three strategies [1]_. "inverse" searches the parameters of every cell by itself; "two_step" then teaches a network
    to give them from predictors (soil maps, climate ...); "end_to_end" trains the network through the model, so that it
    sees the observations of all cells at once. A network gives parameters where nothing is observed, and, where it
    reads patches of finer maps, it learns pedotransfer function and scale conversion together.

    Parameters
    ----------
    ds : xr.Dataset, xr.DataArray or None
        Predictors: every variable of it. Maps on a grid whose cells nest in those of the observations by a whole factor
        (1 km in 9, 36 or 108 km of EASE-Grid 2.0) are read as patches; maps on the cells themselves (also pixels and
        sites without a grid) as one value per cell. Not used, and None will do, for "inverse".
    observations : xr.Dataset or xr.DataArray
        `soil_moisture` (or `theta_obs`, `theta`, `storage`, `actual_et`, `runoff`, `drainage`) on (time, cells), at any
        times, one a day at most; NaN where there is none, and what is physically impossible (moisture outside of 0..1,
        as an undeclared nodata value) is none. The grid of the cells is the grid of the result.
    forcing : xr.Dataset
        `precipitation`, `pet` [mm d-1] on (time, cells) or time alone, daily without a gap, from the start of the
        simulation on; `irrigation` and `capillary_rise`, where given, are added to the rain.
    strategy : {"end_to_end", "two_step", "inverse"}
        How.
    network : str or torch module
        "cnn" (patches), "mlp" (one value of each predictor; of patches their mean), "lstm" (`history`, and predictors
        where given), others of `xsoil.networks`, or a module called as ``module(static, history)`` with scaled
        predictors, which returns (cells, targets).
    model : {"water_balance", "richards", "richards_surrogate"}
        The model; see `xsoil.simulate`. Richards columns have an atmospheric top, free drainage and S-shaped uptake,
        and start at -100 cm; they need `lai` in the forcing or as a keyword. "richards_surrogate": a network is trained
        through a `surrogate` of them, in place of their solver, with which the result is simulated and evaluated.
    physics : {"direct", "surrogate"}
        Of Richards columns: gradients of the solver itself, or through a `surrogate`; "surrogate" is the same as
        ``model="richards_surrogate"``.
    targets : mapping, sequence of str or str, optional
        What is learned: ``{"k_sat": (1, 1000), ...}`` with bounds in the units of the vocabulary, or names alone with
        bounds that suit Li et al. (2024) or those of Qi et al. (2026) [4]_. A bound may be a map on the cells, with
        units: ``{"theta_s": (0.32, observations.max("time", keep_attrs=True).clip(0.41))}``. k_sat, k_0 and alpha, of
        Richards columns also n and h50, are learned on a logarithmic scale. Default: `k_sat`, and `obs_scale` and
        `obs_bias` of the observation operator; of Richards columns the parameters of the curve and `h50`.
    split : Split, optional
        Cells and times of training and of test; all by default.
    seed : int
        Of everything random; the same arguments give the same bits on a CPU.
    optimizer : {"ies", "sce_ua"}
        Of the inversion: iterative ensemble smoother [2]_ (posterior mean and spread) or SCE-UA [3]_.
    loss : str, callable or mapping
        "mse", "nse", "kge", "ubrmse", or a function of the user's, for all observed variables or for each: what
        "end_to_end" and SCE-UA make least. A function gets (time, cells) and gives a cost for each cell: of networks
        ``cost(simulated, observed, valid)`` on tensors, of SCE-UA ``cost(simulated, observed)`` on arrays with NaN.
        (The ensemble smoother has the squares of its errors; the network of "two_step" those of parameters.)
    weights : mapping of str to float, optional
        Names the observed variables and their weights, where there are several. What counts is the weighted mean of
        the losses; with the ensemble smoother a weight multiplies the squares of a variable's errors.
    mask : xr.DataArray of bool, optional
        On (time, cells) or some of these; False leaves an observation out (frozen soil, quality flags).
    ring : int
        Fine cells beyond each edge of a cell that its patch holds too.
    history : xr.Dataset, optional
        Series on (time, cells) that are predictors ("lstm"), over a time of their own.
    warmup : int
        Days at the start of the forcing whose observations are not used.
    substeps : int
        Of the water balance.
    curve, depth, column_depth : str, float, float
        Of Richards columns: "van_genuchten", "fredlund_xing_wang" or another of `xsoil.simulate`; the depth of the
        observations and of the column [m].
    surrogate : xsoil.networks.surrogate.Surrogate or mapping, optional
        An accepted one, of `fit_surrogate`; its curve, depth and column are taken, and the parameters that were fixed
        in its runs. Or how to make one of the targets and the forcing at hand: ``{"runs": 5000, "days": 365}`` and
        keywords of `fit_surrogate`; where it is not accepted, there is an error.
    network_options : mapping, optional
        Keywords of the network.
    validation : float
        Share of the training cells, drawn at random, that decides when the training stops; 0 for none.
    epochs, batch_cells, learning_rate, patience, schedule, accelerator
        Of the training: epochs at most, cells of a mini-batch; epochs without a better validation loss after which it
        stops (20 by default, with "one_cycle" never); how the learning rate goes on: "plateau" (halved where the loss
        no longer falls), "one_cycle" (up to `learning_rate` and down to zero over all epochs) or "constant"; "cpu",
        "gpu" or "auto".
    error_std : float or mapping of str to float
        Standard deviation of the errors of the observations ("ies") [m3 m-3], or of each observed variable.
    members, iterations : int
        Of the ensemble smoother: size of an ensemble, and steps at most.
    draws : bool
        Keep the posterior ensembles of the ensemble smoother, as `.draws`.
    evaluations : int
        Runs per cell of SCE-UA, which needs max(n, 2) x (2 n + 1) to begin with n searched parameters.
    memory_budget : float
        What series and predictors may take in memory [bytes]; beyond it they are kept in a scratch file (in `directory`
        where given, else the system's place), and read in blocks.
    directory : path, optional
        For checkpoints of the training.
    resume : bool
        Continue the training in `directory`, to the same bits as without the interruption.
    progress : bool
        Show a bar.
    **fixed : float or xr.DataArray
        The parameters that are not learned, as numbers in the units of the vocabulary or as maps on the cells, as in
        `xsoil.simulate`.

    Returns
    -------
    LearnedParams
        `.params`, `.predict(ds)`, `.simulate(forcing)`, `.evaluate()`, `.history`, `.draws`, `.save(path)`.

    Raises
    ------
    MissingVariableError, UnitsError, TimeError, GridMismatchError, NoOverlapError
        Inputs that are missing, without units, with gaps, or on different grids.
    UnknownNameError
        Unknown strategy, network, model, target, loss or keyword.
    ArgumentError
        Arguments outside their range, or of another model or optimizer; no observation, or no cell that can be learned
        from.

    Notes
    -----
    Series are held in single precision. The model runs from the first day of the forcing to the last day of training.
    A cell takes no part where it has no observation in the training times (too few for the loss, or constant ones,
    of which NSE and KGE are not defined), a day without (or with negative) forcing, no predictor, or a given parameter
    or bound that is missing ("two_step": a search without a result); `status` of the result says so.

    References
    ----------
    .. [1] Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    .. [2] Chen and Oliver (2013), Comput. Geosci. 17, 689, doi:10.1007/s10596-013-9351-5.
    .. [3] Duan et al. (1992), Water Resour. Res. 28, 1015, doi:10.1029/91WR02985.
    .. [4] Qi et al. (2026), Water Resour. Res., doi:10.1029/2025WR041265.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> grid = xsoil.ease_grid("EASE2_M36km", (5, 45, 8, 47))
    >>> soil = xsoil.data.synthetic_soil(grid).compute()
    >>> weather = xsoil.data.synthetic_forcing(grid, "2015").compute()
    >>> li2024 = dict(
    ...     theta_s=0.5, theta_fc=0.2, theta_wp=0.078, root_depth=1.0, depletion_fraction=0.1, crop_coefficient=0.5
    ... )
    >>> truth = soil.soil.ptf("li2024_cb2").soil.simulate(weather, **li2024)
    >>> observed = truth.theta.rename("soil_moisture")[::3]
    >>> learned = learn_params(None, observed, weather, strategy="inverse", targets="k_sat", progress=False, **li2024)
    >>> bool(learned.evaluate().rmse.max() < 0.005)
    True
    """
    for kind, name, names in (("strategy", strategy, STRATEGIES), ("optimizer", optimizer, OPTIMIZERS)):
        if name not in names:
            raise UnknownNameError.of(kind, name, names)
    check_numbers(
        ring=ring, warmup=warmup, seed=seed, epochs=epochs, batch_cells=batch_cells, patience=patience,
        learning_rate=learning_rate, validation=validation, memory_budget=memory_budget,
    )  # fmt: skip
    if resume and directory is None:
        raise ArgumentError("resume=True without a directory; name the one of the training to continue")
    if draws and (strategy == "end_to_end" or optimizer != "ies"):
        raise ArgumentError(
            f"draws=True with strategy={strategy!r}, optimizer={optimizer!r}; expected 'inverse' or 'two_step' with "
            "'ies', which has a posterior to draw from"
        )
    model = through(model, physics, surrogate)
    if surrogate is None:
        row = learnable(model, substeps=substeps, curve=curve, depth=depth, column_depth=column_depth)
    else:
        row, fixed = behind_surrogate(
            surrogate, strategy, fixed, curve=curve, depth=depth, column_depth=column_depth
        )  # fmt: skip
    defaults = {p.name: p.default for p in signature(learn_params).parameters.values() if p.kind is p.KEYWORD_ONLY}
    asked = {
        "substeps": substeps, "curve": curve, "depth": depth, "column_depth": column_depth, "error_std": error_std,
        "members": members, "iterations": iterations, "evaluations": evaluations,
    }  # fmt: skip
    require_used(model, strategy, optimizer, {name: (value, defaults[name]) for name, value in asked.items()})
    observations, forcing = as_dataset(observations), as_dataset(forcing)
    series = forcing_of(forcing, row)
    wanted_targets = targets_of(targets, row)
    bounds, ends = wanted_targets.bounds, wanted_targets.ends
    given = completed(fixed, bounds, row, [str(name) for name in series.data_vars], list(defaults))
    known = known_of(given)
    operator = any(name in bounds or name in given for name in OBSERVATION)
    dims = cells_of(observations)
    like = cells_like(observations, dims)
    require_one_grid(like, series, known, ends, dims)
    observed = observed_of(observations, series, dims, weights=weights, mask=mask, warmup=warmup, operator=operator)
    unseen = [name for name in OBSERVATION if name in bounds]
    if unseen and "theta_obs" not in observed.outputs.values():
        raise ArgumentError(
            f"{unseen} are to be learned, but {list(observed.outputs)} is not seen through them; rename the series "
            "that is to 'soil_moisture', or choose other targets"
        )
    losses, search = losses_of(loss, observed.outputs), None
    if strategy != "inverse":
        require_network(network)
    if strategy != "end_to_end":
        search = search_of(
            optimizer, seed=int(seed), observed=observed.outputs, loss=loss, losses=losses, weights=weights,
            error_std=error_std, members=members, iterations=iterations, evaluations=evaluations, draws=draws,
        )  # fmt: skip
        search.require(bounds)
    split = split or Split()
    wanted = training_cells(split, like, dims)
    training = observed.on(split.days_of("train", series.indexes["time"][observed.days]))
    if not training.days.size:
        raise ArgumentError(
            f"no observation in the training times {split}; expected some of {series.indexes['time'][observed.days]}"
        )
    seen = observations_per_cell(training) > 0
    if not (seen & wanted).any():
        raise ArgumentError(
            "no training cell has an observation in the training times: all are NaN; look at mask, split and nodata"
        )
    learning = strategy != "inverse"
    static = reading = None
    if learning:
        static = None if ds is None else predictors_of(as_dataset(ds), like, dims, ring=ring)
        reading = series_of_history(history, like, dims)
        if static is None and reading is None:
            raise MissingVariableError("no predictors: ds has no variable with numbers; give maps, or history=...")
    uses = search is None or search.optimizer == "sce_ua"
    varying = [name for name, one in losses.items() if uses and one in VARYING]
    inputs = Inputs(training, series.drop_vars(list(series.coords)), {**known, **ends}, static, reading, varying)
    setting = Setting(
        strategy, row.name, dict(row.options), bounds, given, int(seed), int(warmup), dict(observed.outputs),
        optimizer if strategy != "end_to_end" else None, ends=ends,
    )  # fmt: skip
    place = checkpoints_in(directory)
    if place is not None:
        for left in place.glob(f"{SCRATCH}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=place) as scratch:
        source = XarraySource(inputs, wanted & seen, int(training.days.max()) + 1, memory_budget, Path(scratch))
        if not len(source):
            raise ArgumentError(f"no cell can be learned from: {faults_of(source.status)}")
        maps: dict[str, np.ndarray] = {}
        ensembles = None
        if search is not None:
            maps, drawn = invert(source, row, bounds, search, progress=progress)
            ensembles = draws_of(drawn, like, dims, row.reference)
        cells = draw_validation(source.cells, validation if learning else 0, int(seed))
        status = status_of(source.status, split, like, dims, wanted & ~seen, cells[1])
        if not learning:
            params = inversion_maps(maps, status, bounds, like, dims, strategy, row.reference)
            data = Data(forcing, observed, like, split)
            return LearnedParams(params, search_ends(maps), setting, draws=ensembles, data=data)
        source.parameters = {name: maps[name] for name in bounds} if maps else {}
        if isinstance(surrogate, Mapping):
            surrogate = made_surrogate(surrogate, source, row, bounds, seed=int(seed), progress=progress)
        learner, record, excluded = train(
            source, bounds, cells, model=row, surrogate=surrogate, strategy=strategy, network=network,
            network_options=network_options, loss=loss, weights=weights, seed=int(seed), epochs=epochs,
            batch_cells=batch_cells, learning_rate=learning_rate, patience=patience, schedule=schedule,
            accelerator=accelerator, directory=place, resume=resume, progress=progress, memory_budget=memory_budget,
        )  # fmt: skip
    # Too few observations for the loss, or a search without a result.
    status[excluded] |= FAULTS["no_observations" if strategy == "end_to_end" else "missing_parameter"]
    factor, affine, crs = geometry_of(static, like)
    order = learner.model.order
    limits = tuple(n for n in order if n not in bounds) if set(order) & set(bounds) else ()
    inference = Inference(
        {} if static is None else static.units, {} if reading is None else reading.units, factor, ring, affine, crs,
        limits, tuple(ends),
    )  # fmt: skip
    predictors = xr.Dataset() if ds is None else as_dataset(ds)
    found = inference.run(learner, predictors, to=like, history=history, known={**setting.fixed, **ends})
    params = described(found, status, dims, like, strategy, row.reference)
    first = inversion_maps(maps, status, bounds, like, dims, "inverse", row.reference) if maps else None
    return LearnedParams(
        params, record, replace(setting, inference=inference), first, ensembles, surrogate, learner,
        Data(forcing, observed, like, split),
    )  # fmt: skip
