"""Models whose parameters can be learned: what each needs and returns, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import UnknownNameError
from xsoil.verbs._inputs import read, require_daily
from xsoil.verbs._simulate_inputs import LI_VALUES, OBSERVATION
from xsoil.verbs._water_balance import PARAMETERS
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.inverse.problem import Model

__all__ = ["MODELS", "Learnable", "forcing_of", "learnable"]

SUPPLIES = ("irrigation", "capillary_rise")


@dataclass(frozen=True)
class Learnable:
    """A model.

    Attributes
    ----------
    parameters, forcing : sequence of str
        All that it needs.
    outputs : sequence of str
        Series that can be observed.
    bounds : mapping
        Default bounds of what is learned.
    values : mapping of str to float
        Shown where a parameter is missing.
    """

    name: str
    parameters: Sequence[str]
    forcing: Sequence[str]
    outputs: Sequence[str]
    bounds: Mapping[str, tuple[float, float]]
    values: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that can be learned or given."""
        return (*self.parameters, *OBSERVATION)

    def inverse_model(
        self, forcing: Mapping[str, np.ndarray], learned: Sequence[str], fixed: Mapping[str, np.ndarray],
        rows: np.ndarray, **options: Any,
    ) -> Model:  # fmt: skip
        """The model of the inverse methods for some cells."""
        from xsoil.inverse.forward_models import WaterBalance

        return WaterBalance(forcing["precipitation"], forcing["pet"], learned, fixed, rows=rows, **options)


MODELS: Mapping[str, Learnable] = MappingProxyType({
    "water_balance": Learnable(
        "water_balance", PARAMETERS, ("precipitation", "pet"),
        ("theta", "theta_obs", "storage", "actual_et", "runoff", "drainage"),
        # Cosby's regressions as Li et al. (2024) write them give 3.5 to 280 cm d-1 over all textures, their eqs. 10
        # and 11 0.78 to 1.34 and -0.26 to 0.39; real satellites need more room.
        {
            "k_sat": (1.0, 1000.0), "obs_scale": (0.2, 3.0), "obs_bias": (-0.6, 0.6), "theta_s": (0.36, 0.6),
            "theta_fc": (0.16, 0.35), "theta_wp": (0.02, 0.15), "root_depth": (0.1, 2.0),
            "depletion_fraction": (0.05, 0.8), "crop_coefficient": (0.1, 1.5),
        },
        LI_VALUES,
    ),
})  # fmt: skip
"""Models by name."""


def learnable(model: str) -> Learnable:
    """The model of this name."""
    if model not in MODELS:
        raise UnknownNameError.of("model", model, MODELS)
    return MODELS[model]


def forcing_of(forcing: xr.Dataset, model: Learnable) -> xr.Dataset:
    """Series of the model in its units, daily and without a gap; what else waters the soil is added to the rain.

    A crop coefficient on time is part of the demand; the parameter of that name is then 1.
    """
    found = {name: read(forcing, VARIABLES[name]) for name in model.forcing}
    for name, array in found.items():
        require_daily(array, f"forcing {name!r}")
    for name in SUPPLIES:
        if name in forcing.variables:
            more = read(forcing, VARIABLES[name])
            require_daily(more, f"forcing {name!r}")
            # A negative part must not vanish in the sum.
            found["precipitation"] = (found["precipitation"] + more).where((found["precipitation"] >= 0) & (more >= 0))
    return xr.Dataset(found)
