"""A trained gap filler: what it was trained on, its network, its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError
from xsoil.verbs._inputs import require_same_grid
from xsoil.verbs._time_series import series_of
from xsoil.vocabulary import canonical_units

if TYPE_CHECKING:
    from xsoil.networks.moisture.gap_filler import GapFiller

__all__ = ["FORMAT", "GapModel", "read_beside", "read_gap_model", "same_units"]

FORMAT, VERSION = "xsoil gap model", 1


@dataclass(frozen=True, eq=False)
class GapModel:
    """Continuous Recurrent Units that were trained to fill gaps; given to `fill_gaps(method="cru", model=...)`.

    Attributes
    ----------
    variable, units : str
        What it fills, and in which units; a variable of another name in the same units may be filled, too.
    predictors : mapping of str to str
        Names and units of the variables that it needs beside.
    seed : int
        Of the training.
    """

    variable: str
    units: str
    predictors: Mapping[str, str]
    seed: int
    filler: GapFiller

    @property
    def history(self) -> xr.Dataset:
        """Loss of each epoch: the negative log-likelihood of the removed days, of standardised series."""
        found = self.filler.history
        out = xr.Dataset(
            {
                name: ("epoch", np.array(found[name]), {"units": "1", "long_name": f"negative log-likelihood, {name}"})
                for name in ("train", "validation")
            },
            {"epoch": np.arange(1, len(found["train"]) + 1)},
        )
        return out.assign_attrs(best_epoch=int(found["best_epoch"]) + 1)

    def predictors_of(self, ds: xr.Dataset, name: str, units: str) -> list[xr.DataArray]:
        """The predictors in `ds`, which must go with the variable to be filled."""
        if not same_units(units, self.units):
            raise UnitsError(f"{name!r} is in {units!r}; the model was trained on {self.variable!r} in {self.units!r}")
        found = []
        for predictor, expected in self.predictors.items():
            if predictor not in ds.data_vars:
                raise MissingVariableError(
                    f"the model needs the predictor {predictor!r} [{expected}]; found {sorted(map(str, ds.data_vars))}"
                )
            array, theirs = read_beside(ds, name, predictor)
            if not same_units(theirs, expected):
                raise UnitsError(
                    f"predictor {predictor!r} is in {theirs!r}; the model was trained on it in {expected!r}"
                )
            found.append(array)
        return found

    def fill(self, values: np.ndarray, days: np.ndarray, predictors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (time, cells) from values and predictors of that shape."""
        controls = np.stack([p.T for p in predictors], axis=-1) if predictors else None
        mean, deviation = self.filler.fill(values.T, days, controls)
        return mean.T, deviation.T

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a folder (safetensors and JSON), which `xsoil.load_model` reads."""
        from xsoil.networks import storage

        description = {
            "variable": self.variable,
            "units": self.units,
            "predictors": dict(self.predictors),
            "seed": self.seed,
            "filler": self.filler.describe(),
        }
        storage.save(Path(path), self.filler.network.state_dict(), description, format=FORMAT, version=VERSION)

    def __dask_tokenize__(self) -> Any:
        return ("xsoil.GapModel", self.variable, self.units, tuple(self.predictors.items()), self.filler.digest())

    def __repr__(self) -> str:
        beside = f" with {', '.join(self.predictors)}" if self.predictors else ""
        return f"<GapModel: Continuous Recurrent Units for {self.variable} [{self.units}]{beside}>"


def read_beside(ds: xr.Dataset, name: str, predictor: str) -> tuple[xr.DataArray, str]:
    """A predictor and its units, on the cells of the variable that is filled.

    Raises
    ------
    MissingVariableError, UnitsError, GridMismatchError, ArgumentError
        As `series_of`; on other cells, or on dims that the variable lacks.
    """
    array, units = series_of(ds, predictor)
    extra = [str(dim) for dim in array.dims if dim not in ds[name].dims]
    if extra:
        raise ArgumentError(f"predictor {predictor!r} has the dims {extra}, which {name!r} lacks; select one")
    require_same_grid(ds[[name]], array, f"predictor {predictor!r}")
    return array, units


def same_units(one: str, other: str) -> bool:
    """Two spellings of one unit."""
    return canonical_units(one) == canonical_units(other)


def read_gap_model(folder: Path, whole: Mapping[str, Any], network: Any) -> GapModel:
    """Read what `GapModel.save` wrote."""
    from xsoil.networks import storage
    from xsoil.networks.moisture.gap_filler import GapFiller

    if network is not None:
        raise ArgumentError(f"{folder} holds a gap model, whose network is its own; leave out network=")
    tensors, found = storage.load(folder, format=FORMAT, version=VERSION, whole=whole)
    try:
        filler = GapFiller.rebuilt(found["filler"], tensors)
        predictors = {str(name): str(units) for name, units in found["predictors"].items()}
        return GapModel(str(found["variable"]), str(found["units"]), predictors, int(found["seed"]), filler)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{folder} is damaged ({type(error).__name__}: {error}); take another copy") from error
