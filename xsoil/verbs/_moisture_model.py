"""`MoistureModel`: what `fit_moisture_model` returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.evaluation.importance import Together, drop_one_importance, permutation_importance
from xsoil.evaluation.splits import Split
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._moisture_images import predict_images
from xsoil.verbs._moisture_inputs import read_target
from xsoil.verbs._moisture_limits import limited
from xsoil.verbs._moisture_rows import predict_rows
from xsoil.verbs._moisture_series import predict_series
from xsoil.verbs._results import carry_grid_mapping, coordinates
from xsoil.verbs.evaluate import evaluate
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.kind import Kind

__all__ = ["MoistureModel", "MoistureSamples", "read_moisture_model"]

Predict = Callable[..., tuple[Any, tuple[Hashable, ...]]]
PREDICT: Mapping[str, Predict] = MappingProxyType(
    {"rows": predict_rows, "series": predict_series, "images": predict_images}
)
"""How a model of each layout is applied to a dataset: ``(ensemble, ds, members=...)`` gives an array
(targets x (1 + std + members), *dims) and its dims."""

TOGETHER: Mapping[str, Together] = MappingProxyType({"rows": "values", "series": "series", "images": "maps"})
"""What a model of each layout reads as a whole, see `permutation_importance`."""


@dataclass(frozen=True)
class MoistureSamples:
    """What a model was trained on, as long as it is at hand (not after loading)."""

    ds: xr.Dataset
    split: Split
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the training, but for predictors, split and progress."""


@dataclass(frozen=True, repr=False)
class MoistureModel:
    """A model of soil moisture: one member, or an ensemble of them.

    Attributes
    ----------
    ensemble : Ensemble
        The members, arrays only.
    references : str
        Of the kind.
    samples : MoistureSamples or None
        None after loading.
    """

    ensemble: Ensemble
    references: str = ""
    samples: MoistureSamples | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """Name of the kind."""
        return self.ensemble.first.name

    @property
    def members(self) -> Mapping[str, Kind]:
        """The members by what their classes were weighted by ("unweighted" for none)."""
        return self.ensemble.members

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is predicted."""
        return self.ensemble.targets.names

    @property
    def predictors(self) -> Mapping[str, str | None]:
        """Names and units of the predictors; None for classes."""
        return {row.name: row.units for row in self.ensemble.inputs.predictors}

    @property
    def history(self) -> xr.Dataset:
        """Losses of training and validation by member and epoch; NaN after a member's last epoch."""
        records = [member.record for member in self.members.values()]
        epochs = max((len(record.train) for record in records), default=0)
        rows = {}
        for name in ("train", "validation", "seconds"):
            table = np.full((len(records), epochs), np.nan)
            for line, record in zip(table, records, strict=True):
                line[: len(getattr(record, name))] = getattr(record, name)
            rows[name] = (("member", "epoch"), table)
        best = ("member", [record.best_epoch for record in records])
        return xr.Dataset(rows | {"best_epoch": best}, {"member": list(self.members), "epoch": np.arange(epochs)})

    def predict(
        self,
        ds: xr.Dataset | xr.DataArray,
        *,
        members: bool = False,
        bounds: Literal["range"] | tuple[float | xr.DataArray, float | xr.DataArray] | None = "range",
        quality: bool = False,
    ) -> xr.Dataset:
        """Soil moisture wherever there are predictors.

        Parameters
        ----------
        ds : xr.Dataset
            The predictors of the training, with the same names, on any dims; those that lack a dim (static maps, say)
            hold along it. Units are those of the training, or are converted by the vocabulary.
        members : bool
            Also the members of an ensemble, ``<target>_members``, on a dim ``member``.
        bounds : "range", None or (low, high)
            What lies beyond is set to the nearer limit, members too (standard deviations stay): by default beyond the
            range that the vocabulary knows of the target (`soil_moisture` 0..1; a target of another name has none).
            Numbers in the target's units, or maps, which are converted to them, such as ``(0, soil.theta_s)``; None
            leaves all as the model says.
        quality : bool
            Also ``<target>_quality``, a flag that is 1 where a prediction was beyond the bounds: the sign of predictors
            far outside those of the training.

        Returns
        -------
        xr.Dataset
            ``<target>`` and, of kinds with a distribution and of ensembles, ``<target>_std``: the root of the members'
            mean variance plus the variance between them (forests and "wide_deep": only the latter). float32, in the
            target's units and within `bounds`, time first. Lazy where `ds` is, then one task per block; chunks do not
            change the numbers, and a cluster sends the model to a worker once. NaN where all predictors are missing,
            with ``missing="nan"`` where one is. A task of two predictors holds four to six blocks of one of them
            ("lstm", "convlstm": 13 to 16), and the model.

        Raises
        ------
        MissingVariableError, UnitsError
            Predictors other than those of the training, in units that cannot be converted to theirs, or of classes
            (``flag_values``) that mean something else.
        ArgumentError, GridMismatchError, TimeError
            Bounds that are none, or on other cells or days.
        """
        ds = as_dataset(ds)
        found, dims = PREDICT[self.ensemble.first.layout](self.ensemble, ds, members=members)
        each = self.ensemble.rows(members=members)
        out: dict[str, Any] = {}
        for i, (name, units) in enumerate(zip(self.targets, self.ensemble.targets.units, strict=True)):
            rows = found[i * each : (i + 1) * each]
            row = VARIABLES.get(name)
            attrs: dict[str, Any] = dict(row.attrs) if row is not None else {"units": units, "long_name": name}
            attrs["comment"] = f"predicted by a model of kind {self.kind!r}, {len(self.members)} member(s)"
            if self.references:
                attrs["references"] = self.references
            out[name] = (dims, rows[0], attrs)
            if self.ensemble.has_std:
                text = f"standard deviation of the prediction of {attrs['long_name']}"
                out[f"{name}_std"] = (dims, rows[1], {"units": units, "long_name": text})
            if members:
                text = f"{attrs['long_name']}, members of the ensemble"
                first = i * each + 1 + self.ensemble.has_std
                array = found[first : first + len(self.members)]
                out[f"{name}_members"] = (("member", *dims), array, {"units": units, "long_name": text})
        own = {"member": list(self.members)} if members else {}
        wanted = [n for n in self.predictors if n in ds.variables]
        result = coordinates((ds, dims)).assign(out).assign_coords(own)
        for name in self.targets:
            result = limited(result, name, bounds, quality=quality)
        return carry_grid_mapping(result, ds[wanted])

    def evaluate(self) -> xr.Dataset:
        """Metrics in the sets of the split: train, temporal, spatial, spatio_temporal, those of them that it has.

        Returns
        -------
        xr.Dataset
            `r rmse ubrmse bias nse kge n` of `xsoil.evaluate` on (set, dims of the cells), with several targets also on
            `target`; of samples without time one number per set. NaN where a cell is not of the set, or has no target
            in it.

        Raises
        ------
        ArgumentError
            A loaded model, which has no samples.
        """
        if self.samples is None:
            raise ArgumentError(
                "a loaded model has no samples; use xsoil.evaluate(model.predict(samples), samples, variable=...)"
            )
        ds, split = self.samples.ds, self.samples.split
        predicted = self.predict(ds)
        per_target = []
        for target in self.targets:
            observed = read_target(ds, target)[0].rename(target)
            over: Any = "time" if "time" in observed.dims else list(observed.dims)
            found = []
            # Predictors that do not vary in time give one prediction for all of it.
            whole = predicted[[target]].broadcast_like(observed)
            for which in split.sets:
                part, simulated = observed, whole
                if (cells := split.cells_of(which)) is not None:
                    part = part.where(xr.DataArray(cells.variable))  # labels may differ by rounding
                if "time" in part.dims:
                    days = np.flatnonzero(split.days_of(which, ds.indexes["time"]))
                    part, simulated = part.isel(time=days), simulated.isel(time=days)
                found.append(evaluate(simulated, part, dims=over))
            dim = xr.Variable("set", np.array(split.sets))
            per_target.append(xr.concat(found, dim, coords="minimal", compat="override", combine_attrs="override"))
        if len(per_target) == 1:
            return per_target[0]
        names = xr.Variable("target", np.array(self.targets))
        return xr.concat(per_target, names, coords="minimal", compat="override", combine_attrs="drop_conflicts")

    def importance(
        self,
        how: Literal["permutation", "drop_one"] = "permutation",
        *,
        metric: str = "rmse",
        along: Hashable | Sequence[Hashable] | None = None,
        repeats: int = 10,
        seed: int = 0,
    ) -> xr.Dataset:
        """What the model gains from each predictor, at the test cells of the split (without one: at all cells).

        Parameters
        ----------
        how : {"permutation", "drop_one"}
            A predictor's values change places; or a model is trained without it, which tells what the others cannot
            stand in for.
        metric, repeats, seed
            As in `xsoil.evaluation.permutation_importance`; with "drop_one" only the metric counts.
        along : str or sequence of str, optional
            Dims along which values change places. By default what the model reads as a whole stays together: of models
            of rows nothing; of "lstm" the series of a place, which gets that of another one; of "convlstm" the maps of
            all days, which are rolled.

        Returns
        -------
        xr.Dataset
            `importance`, `ratio` and `rank` of each predictor, and the `score` with all of them.

        Raises
        ------
        ArgumentError, UnknownNameError
            A loaded model, which has no samples; several targets; another `how`.
        """
        if self.samples is None:
            raise ArgumentError(
                "a loaded model has no samples; use xsoil.evaluation.permutation_importance(model.predict, ds, target)"
            )
        if how not in ("permutation", "drop_one"):
            raise UnknownNameError.of("importance", how, ("permutation", "drop_one"))
        if len(self.targets) > 1:
            raise ArgumentError(f"a model of {list(self.targets)}; use xsoil.evaluation for each of them")
        target, split = self.targets[0], self.samples.split
        names = list(self.predictors)
        ds = self.samples.ds[[*names, target]]
        ds[target] = read_target(ds, target)[0].rename(target)
        if split.test is not None:
            ds[target] = ds[target].where(xr.DataArray(split.test.variable)).assign_attrs(ds[target].attrs)
        if how == "permutation":
            return permutation_importance(
                lambda given: self.predict(given)[target].broadcast_like(given[target]),
                ds,
                target,
                names,
                along=along,
                together="values" if along is not None else TOGETHER[self.ensemble.first.layout],
                metric=metric,
                repeats=repeats,
                seed=seed,
            )
        from xsoil.verbs.fit_moisture_model import fit_moisture_model  # which imports this module

        samples = self.samples

        def trained(chosen: tuple[str, ...]) -> Callable[[xr.Dataset], xr.DataArray]:
            known = set(samples.arguments.get("categorical", ()))
            arguments = dict(samples.arguments) | {"categorical": sorted(known & set(chosen))}
            model = fit_moisture_model(samples.ds, predictors=chosen, split=split, progress=False, **arguments)
            # What is left of the predictors may not vary in time.
            return lambda given: model.predict(given)[target].broadcast_like(given[target])

        return drop_one_importance(trained, ds, target, names, metric=metric)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a folder (safetensors and JSON, never pickle); see `xsoil.load_model`.

        Samples are not written: a loaded model predicts, but does not evaluate.
        """
        from xsoil.networks.moisture.files import write_ensemble

        write_ensemble(path, self.ensemble, {"references": self.references})

    def __repr__(self) -> str:
        std = ", with standard deviation" if self.ensemble.has_std else ""
        names = ", ".join(self.predictors)
        return (
            f"<MoistureModel {', '.join(self.targets)}: {self.kind}, {len(self.members)} member(s){std}; from {names}>"
        )


def read_moisture_model(folder: Path, whole: dict[str, Any], network: Any) -> MoistureModel:
    """Read a model that `MoistureModel.save` wrote; a row of `READERS`."""
    from xsoil.networks.moisture.files import read_ensemble

    if network is not None:
        raise ArgumentError(f"the model at {folder} is none of a network of the user's; leave out network=...")
    ensemble, more = read_ensemble(folder, whole)
    return MoistureModel(ensemble, str(more.get("references", "")))
