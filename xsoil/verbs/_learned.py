"""`LearnedParams`: what `learn_params` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.evaluation.splits import Split
from xsoil.physics.bounded import Bounded, ends_of
from xsoil.verbs._infer import Inference
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._learnable import learnable
from xsoil.verbs._observed import Observed
from xsoil.verbs._targets import ends_from
from xsoil.verbs.evaluate import evaluate
from xsoil.verbs.simulate import simulate

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["Data", "LearnedParams", "Setting"]


@dataclass(frozen=True)
class Setting:
    """How parameters were learned: what goes into the file beside weights and maps.

    Attributes
    ----------
    targets : mapping of str to Bounded
    fixed : mapping of str to number or DataArray
        Given parameters, as they were given.
    ends : mapping of str to DataArray
        Bounds of targets whose cells differ; see `Targets`.
    """

    strategy: str
    model: str
    model_options: Mapping[str, Any]
    targets: Mapping[str, Bounded]
    fixed: Mapping[str, float | xr.DataArray]
    seed: int
    warmup: int
    outputs: Mapping[str, str]
    optimizer: str | None = None
    inference: Inference | None = None
    ends: Mapping[str, xr.DataArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """What parameters were learned from, as long as it is at hand (not after loading)."""

    forcing: xr.Dataset
    observed: Observed
    like: xr.Dataset
    split: Split


@dataclass(frozen=True, repr=False)
class LearnedParams:
    """Learned parameters, and the network that gives them anywhere.

    Attributes
    ----------
    params : xr.Dataset
        The learned parameters on the grid of the observations, with units and grid mapping; lazy where the predictors
        are. `status` [CF `flag_masks`] says which cells took no part in the learning, and why. Of an inversion also
        how the search of every cell went: `search_status` (converged, budget_spent, stalled ...), `cost` (the loss; of
        the ensemble smoother the mean square of its errors per error variance, about 1 where model and errors are
        right), `iterations`, `evaluations` and `failed_runs`. The ensemble smoother's parameters are the mean of the
        posterior, taken where parameters have no bounds; ``<name>_spread`` is its standard deviation.
    history : xr.Dataset
        Of a network the losses of training and validation, learning rate and seconds of every epoch; of an inversion
        the number of cells by how their search ended.
    inverse : xr.Dataset or None
        Of the strategy "two_step": the parameters of the inversion, on the grid of the observations.
    draws : xr.Dataset or None
        Of the ensemble smoother with ``draws=True``: draws of the posterior on (member, dims of the cells), parameters
        that `xsoil.simulate` takes as they are; NaN where the member's runs failed.
    surrogate : xsoil.networks.surrogate.Surrogate or None
        What the network was trained through in place of Richards' equation; not saved.
    """

    params: xr.Dataset
    history: xr.Dataset
    setting: Setting
    inverse: xr.Dataset | None = None
    draws: xr.Dataset | None = None
    surrogate: Any = None
    learner: ParameterLearner | None = field(default=None, repr=False)
    data: Data | None = field(default=None, repr=False)

    def predict(
        self,
        ds: xr.Dataset | xr.DataArray,
        *,
        to: object = None,
        history: xr.Dataset | None = None,
        targets: Mapping[str, Any] | None = None,
        **fixed: float | xr.DataArray,
    ) -> xr.Dataset:
        """Parameters of other places, or from other maps.

        Parameters
        ----------
        ds : xr.Dataset or xr.DataArray
            The predictors of the training, with the same names and units (or units that can be converted).
        to : grid, optional
            Where patches of fine cells are read: name, GeoBox or object of the coarse grid, in which `ds` must nest as
            in training. By default the grid of the training, continued over all of `ds`.
        history : xr.Dataset, optional
            The series of the training, where there were any, of any length.
        targets : mapping, optional
            Bounds of the parameters that were learned between bounds of each cell, as in training:
            ``{"theta_s": (0.32, map)}``. By default those of the training, for its cells.
        **fixed : float or xr.DataArray
            Given parameters that the learned ones must be in order with (theta_fc below theta_s, say), where they
            differ from those of the training.

        Returns
        -------
        xr.Dataset
            The learned parameters, float32; NaN where a predictor is missing. Lazy where `ds` is, then one task per
            tile of cells; chunks do not change the numbers.

        Raises
        ------
        ArgumentError
            An inversion, which has no network.
        MissingVariableError, UnitsError
            Predictors other than those of the training.
        GridMismatchError, NoOverlapError
            `ds` does not nest in the grid, or has no cell in it.
        """
        inference = self.setting.inference
        if self.learner is None or inference is None:
            raise ArgumentError(
                f"strategy={self.setting.strategy!r} has no network, so nothing can be predicted; its parameters are "
                "in .params: learn with strategy='two_step' or 'end_to_end'"
            )
        for name in fixed:
            if name not in self.setting.fixed:
                raise UnknownNameError.of("given parameter", name, self.setting.fixed)
        known = dict(self.setting.fixed) | fixed | dict(self.setting.ends)
        for name, pair in dict(targets or {}).items():
            if ends_of(name)[0] not in self.setting.ends:
                own = [n for n in self.setting.targets if ends_of(n)[0] in self.setting.ends]
                raise ArgumentError(
                    f"targets names {name!r}; expected bounds of {own or 'none'}, the parameters that were learned "
                    "between bounds of each cell"
                )
            known |= ends_from(name, pair, self.setting.targets[name].log)
        return inference.run(self.learner, as_dataset(ds), to=to, history=history, known=known)

    def simulate(
        self, forcing: xr.Dataset | None = None, *, outputs: Any = None, warmup: int = 0, **options: Any
    ) -> xr.Dataset:
        """Run the model with the learned and the given parameters; see `xsoil.simulate`.

        Parameters
        ----------
        forcing : xr.Dataset, optional
            That of the training by default.
        outputs : str or sequence of str, optional
            By default what was observed.
        warmup : int
            Leading days that are not returned.
        **options
            Of `xsoil.simulate`.
        """
        if forcing is None:
            forcing = self._data("forcing").forcing
        setting = self.setting
        model = learnable(setting.model, **setting.model_options)
        wanted = tuple(setting.outputs.values()) if outputs is None else outputs
        return simulate(
            self.params[list(setting.targets)],
            forcing,
            setting.model,  # type: ignore[arg-type]
            outputs=wanted,
            warmup=warmup,
            **(dict(model.simulate) | dict(setting.fixed) | options),
        )

    def evaluate(self) -> xr.Dataset:
        """Metrics of every cell in the four sets of the split: train, temporal, spatial, spatio_temporal.

        Returns
        -------
        xr.Dataset
            `r rmse ubrmse bias nse kge n` of `xsoil.evaluate` on (set, dims of the cells), with several observed
            variables also on `observed`; NaN where a cell is not of the set or has no observation in it. Lazy where
            forcing, observations or predictors are.
        """
        data = self._data("observations")
        observed, split = data.observed, data.split
        index = data.forcing.indexes["time"][observed.days]
        simulated = self.simulate(warmup=0).drop_vars("time_bounds", errors="ignore")
        found = []
        for name, output in self.setting.outputs.items():
            obs = _labelled(observed.data[name], data.like, observed.dims, index)
            sim = simulated[output].isel(time=observed.days)
            if "depth" in sim.dims:  # of Richards columns: the one of the observations
                sim = sim.isel(depth=0, drop=True)
            per_set = []
            for which in split.sets:
                chosen = np.flatnonzero(split.days_of(which, index))
                cells = split.cells_of(which)
                part = obs.isel(time=chosen)
                if cells is not None:
                    inside = xr.DataArray(cells.transpose(*observed.dims).to_numpy(), dims=observed.dims)
                    part = part.where(inside)
                pair = evaluate(
                    sim.isel(time=chosen).to_dataset(name=output), part.rename(name), variable=(output, name)
                )
                per_set.append(pair)
            dim = xr.Variable("set", np.array(split.sets))
            joined = xr.concat(per_set, dim, coords="minimal", compat="override", combine_attrs="override")
            found.append(joined.assign_attrs({"evaluated": f"{output} against {name}"}))
        if len(found) == 1:
            return found[0]
        dim = xr.Variable("observed", np.array(list(self.setting.outputs)))
        return xr.concat(found, dim, coords="minimal", compat="override", combine_attrs="drop_conflicts")

    def save(self, path: str | PathLike[str]) -> None:
        """Write network, parameters and all that is needed to use them to a folder; see `xsoil.load_model`.

        Weights are written as safetensors, their meaning as JSON, the maps of `.params` as Zarr (computed where they
        are lazy). Data are not written: a loaded model predicts and simulates, but does not evaluate.
        """
        from xsoil.verbs._learned_file import write_learned  # it needs this class

        write_learned(self, path)

    def _data(self, what: str) -> Data:
        if self.data is None:
            raise ArgumentError(
                f"a loaded model has no {what}; use .simulate(forcing), and .soil.evaluate(observations) of its result"
            )
        return self.data

    def __repr__(self) -> str:
        setting = self.setting
        how = setting.optimizer if setting.strategy == "inverse" else f"{len(self.history.epoch)} epochs"
        sizes = " x ".join(str(self.params.sizes[d]) for d in self.params["status"].dims)
        names = ", ".join(setting.targets)
        return f"<LearnedParams {names}: {setting.strategy} ({how}), {setting.model}, {sizes} cells>"


def _labelled(array: xr.DataArray, like: xr.Dataset, dims: tuple[Any, ...], index: Any) -> xr.DataArray:
    """Observations with the coordinates of the cells and the days of the forcing."""
    coords = {d: like.coords[d].variable for d in dims if d in like.coords}
    mapping = {n: v.variable for n, v in like.coords.items() if not v.ndim}
    return array.assign_coords(coords | mapping | {"time": index})
