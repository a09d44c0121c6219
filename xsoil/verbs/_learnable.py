"""Models whose parameters can be learned: what each needs, and how it is run by simulate, inversions and networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.verbs._inputs import read, require_daily
from xsoil.verbs._simulate_inputs import LI_VALUES, OBSERVATION
from xsoil.verbs._water_balance import PARAMETERS
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.inverse.problem import Model

__all__ = ["MODELS", "Learnable", "forcing_of", "learnable"]

MODELS = ("water_balance", "richards")
LI = "Li et al. (2024), Water Resour. Res., https://doi.org/10.1029/2023WR035543"
QI = "Qi et al. (2026), Water Resour. Res., https://doi.org/10.1029/2025WR041265"
SUPPLIES = {"water_balance": ("irrigation", "capillary_rise"), "richards": ("irrigation",)}
"""Forcing that is added to the rain."""

# Cosby's regressions as Li et al. (2024) write them give 3.5 to 280 cm d-1 over all textures, their eqs. 10 and 11
# 0.78 to 1.34 and -0.26 to 0.39; real satellites need more room.
OPERATOR_BOUNDS = {"obs_scale": (0.2, 3.0), "obs_bias": (-0.6, 0.6)}
WATER_BALANCE_BOUNDS = {
    "k_sat": (1.0, 1000.0), "theta_s": (0.36, 0.6), "theta_fc": (0.16, 0.35), "theta_wp": (0.02, 0.15),
    "root_depth": (0.1, 2.0), "depletion_fraction": (0.05, 0.8), "crop_coefficient": (0.1, 1.5),
}  # fmt: skip
# Table 1 of Qi et al. (2026); there the upper bound of theta_s depends on the observations.
RICHARDS_BOUNDS = {
    "van_genuchten": {
        "theta_r": (0.0, 0.15), "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.23), "n": (1.05, 8.0),
        "k_sat": (0.3, 8000.0),
    },
    "fredlund_xing_wang": {
        "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.2), "n": (1.05, 13.5), "m": (0.2, 1.6), "k_sat": (0.5, 8000.0),
    },
}  # fmt: skip
ROOTS = {"h50": (-2000.0, -50.0), "root_depth": (0.1, 0.5)}
RICHARDS_DEFAULTS = {"l": 0.5, "root_depth": 0.4, "h50": -800.0}
# Qi et al. search the logarithms of these.
LOGARITHMIC = ("n", "h50")


@dataclass(frozen=True)
class Learnable:
    """A model with its settings.

    Attributes
    ----------
    parameters : sequence of str
        All that it needs.
    forcing, optional : sequence of str
        Series that it needs, and parameters that may be series of the forcing instead.
    bounds : mapping
        Default bounds of what is learned.
    targets : sequence of str
        Learned where nothing else is asked for.
    options : mapping
        Settings, of the makers of all three kinds of runs: plain numbers and texts.
    simulate : mapping
        The same as keywords of `xsoil.simulate`.
    forward : callable
        ``forward(forcing, learned, fixed, rows, outputs)``, the model of an inversion.
    reference : str
        Where the model, and learning its parameters, is described.
    values, defaults : mapping of str to float
        Shown where a parameter is missing, and taken without a word.
    """

    name: str
    parameters: Sequence[str]
    forcing: Sequence[str]
    bounds: Mapping[str, tuple[float, float]]
    targets: Sequence[str]
    options: Mapping[str, Any]
    simulate: Mapping[str, Any]
    forward: Callable[..., Model]
    reference: str
    optional: Sequence[str] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that can be learned."""
        return (*self.parameters, *OBSERVATION)

    def logarithmic(self, name: str) -> bool:
        """Learned on a logarithmic scale."""
        return VARIABLES[name].log or (self.name == "richards" and name in LOGARITHMIC)


def learnable(
    model: str,
    *,
    substeps: int = 24,
    curve: str = "van_genuchten",
    depth: float = 0.05,
    column_depth: float = 0.5,
) -> Learnable:
    """The model of this name; settings of other models are not looked at."""
    if model == "water_balance":
        if isinstance(substeps, bool) or not isinstance(substeps, (int, np.integer)) or substeps < 1:
            raise ArgumentError(f"substeps={substeps!r}; expected a whole number of at least 1")
        steps = int(substeps)
        options = {"substeps": steps}

        def forward(
            forcing: Any, learned: Sequence[str], fixed: Any, rows: np.ndarray, outputs: Sequence[str]
        ) -> Model:
            from xsoil.inverse.forward_models import WaterBalance

            return WaterBalance(
                forcing["precipitation"], forcing["pet"], learned, fixed, rows=rows, outputs=outputs, substeps=steps
            )

        return Learnable(
            model, PARAMETERS, ("precipitation", "pet"), WATER_BALANCE_BOUNDS | OPERATOR_BOUNDS,
            ("k_sat", *OBSERVATION), options, options, forward, LI, values=LI_VALUES,
        )  # fmt: skip
    if model == "richards":
        return _richards(curve, depth, column_depth)
    raise UnknownNameError.of("model", model, (*MODELS, "richards_surrogate"))


def _richards(curve: str, depth: float, column_depth: float) -> Learnable:
    from xsoil.kernels.richards_curves import CURVES

    if curve not in CURVES:
        raise UnknownNameError.of("curve", curve, CURVES)
    numbers = all(isinstance(value, (int, float)) for value in (depth, column_depth))
    if not numbers or not 0 <= depth <= column_depth:
        raise ArgumentError(f"depth={depth!r} in a column of {column_depth!r} m; expected one within it, both in m")
    options = {"curve": curve, "depth": float(depth), "column_depth": float(column_depth)}

    def forward(forcing: Any, learned: Sequence[str], fixed: Any, rows: np.ndarray, outputs: Sequence[str]) -> Model:
        from xsoil.inverse.forward_models import Richards
        from xsoil.physics.richards import grid

        given = dict(fixed)
        lai = forcing.get("lai")
        if lai is None:
            lai = np.broadcast_to(given["lai"], forcing["pet"].shape)
        given.pop("lai", None)
        return Richards(
            forcing["precipitation"], forcing["pet"], lai, learned, given, curve=curve,
            widths=grid(100.0 * column_depth), depths=(100.0 * depth,), rows=rows, outputs=outputs,
        )  # fmt: skip

    own = RICHARDS_BOUNDS.get(curve, {})
    parameters = (*CURVES[curve], "h50", "root_depth", "lai")
    defaults = {name: value for name, value in RICHARDS_DEFAULTS.items() if name in parameters}
    return Learnable(
        "richards", parameters, ("precipitation", "pet"), own | ROOTS | OPERATOR_BOUNDS,
        tuple(name for name in (*own, "h50") if name in parameters), options,
        {"curve": curve, "depths": (float(depth),), "column_depth": float(column_depth)}, forward, QI,
        optional=("lai",),
        defaults=defaults,
    )  # fmt: skip


def forcing_of(forcing: xr.Dataset, model: Learnable) -> xr.Dataset:
    """Series of the model in its units, daily and without a gap; what else waters the soil is added to the rain."""
    names = [*model.forcing, *(name for name in model.optional if name in forcing.variables)]
    found = {name: read(forcing, VARIABLES[name]) for name in names}
    for name, array in found.items():
        require_daily(array, f"forcing {name!r}")
    for name in SUPPLIES[model.name]:
        if name in forcing.variables:
            more = read(forcing, VARIABLES[name])
            require_daily(more, f"forcing {name!r}")
            rain = found["precipitation"]
            # A negative part must not vanish in the sum.
            found["precipitation"] = (rain + more).where((rain >= 0) & (more >= 0))
    return xr.Dataset(found)
