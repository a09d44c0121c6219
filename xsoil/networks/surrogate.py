"""A surrogate of Richards' equation: an LSTM from parameters and forcing to daily theta, with an acceptance test.

It stands in for the solver where many gradients are wanted of one kind of column. The solver has gradients of its own
here (`xsoil.networks.richards`), so that a surrogate is a choice, not a need; what it was not tested on, it refuses.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.kernels.richards_curves import CURVES
from xsoil.networks.elementary import TORCH
from xsoil.networks.learning import Learner
from xsoil.networks.samples import InMemorySource, Sample
from xsoil.networks.soil_models import SoilModel, richards
from xsoil.physics.bounded import Bounded, bounded
from xsoil.physics.elementary import NUMPY
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang, fredlund_xing_wang_anchors
from xsoil.physics.van_genuchten import van_genuchten

__all__ = ["ACCEPTED", "FORCING", "Surrogate", "draw_runs", "fit_surrogate"]

Tensor = torch.Tensor

FORCING = ("precipitation", "pet", "lai")

ACCEPTED = 1e-4
"""Largest mean squared error [m6 m-6] on held-out runs of a surrogate that is taken for the solver (Qi et al. 2026)."""

# Parameters may lie beyond the bounds of the training by this share of the interval: rounding.
_SLACK = 1e-6

# Heads [cm] at which the surrogate is shown the curves themselves: parameters alone say little of what they do
# together. Conductivities below LEAST_SHOWN [cm d-1] look alike.
HEADS = (-3.0, -10.0, -30.0, -100.0, -300.0, -1e3, -3e3, -1e4, -1e5)
LEAST_SHOWN = 1e-10

_share = bounded(TORCH)[0]
_value = bounded(NUMPY)[1]
_van_genuchten = van_genuchten(TORCH)
_fredlund_xing_wang = fredlund_xing_wang(TORCH)
_anchors = fredlund_xing_wang_anchors(TORCH)


def draw_runs(
    forcing: Mapping[str, NDArray[Any]],
    bounds: Mapping[str, Bounded],
    runs: int,
    *,
    days: int,
    fixed: Mapping[str, float] | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    together: int = 512,
) -> Sample:
    """Run the solver with random parameters on random pieces of the forcing.

    Parameters
    ----------
    forcing : mapping of str to (time, sites) array
        `precipitation`, `pet` [mm d-1] and `lai` [1] of some sites, the drier and the wetter the better.
    bounds : mapping of str to Bounded
        Parameters to vary, evenly within their bounds.
    runs : int
        Runs to begin; those that fail are left out.
    days : int
        Length of a run; it starts on any day of any site, from the initial head of the column.
    fixed : mapping of str to float, optional
        Other parameters, the same for all.
    options : mapping, optional
        Of the column, see `xsoil.networks.soil_models.richards`.
    seed : int
    together : int
        Runs that are computed at a time.

    Returns
    -------
    Sample
        A cell for each run: its forcing, theta among the observed, its parameters among the known.
    """
    rng = np.random.default_rng(seed)
    missing = [name for name in FORCING if name not in forcing]
    if missing:
        raise MissingVariableError(f"no {missing[0]!r} among the forcing {sorted(forcing)}")
    time, sites = forcing["precipitation"].shape
    if days > time or runs < 1:
        raise ArgumentError(f"{runs} runs of {days} days from {time} days of forcing; expected some, and no more days")
    rows = rng.integers(0, time - days + 1, runs) + np.arange(days)[:, None]
    site = rng.integers(0, sites, runs)
    pieces = {name: np.asarray(forcing[name], np.float32)[rows, site] for name in FORCING}
    parameters = {name: _value(rng.random(runs), b.low, b.high, b.log) for name, b in bounds.items()}
    model = richards(**dict(options or {}))
    known = {name: np.full(runs, float(value)) for name, value in (fixed or {}).items()} | parameters
    theta = np.empty((days, runs), np.float32)
    with torch.no_grad():
        for start in range(0, runs, together):
            at = slice(start, min(start + together, runs))
            tensors = [
                {name: torch.tensor(array[..., at]) for name, array in group.items()} for group in (pieces, known)
            ]
            theta[:, at] = model.run(*tensors, ("theta",))["theta"].numpy()
    whole = np.flatnonzero(np.isfinite(theta).all(axis=0))
    found = Sample(np.arange(runs), None, None, pieces, {"theta": theta}, {}, parameters).take(whole)
    return Sample(np.arange(whole.size), None, None, found.forcing, found.observed, {}, found.known)


class Surrogate(Learner):
    """LSTM over days: parameters of the soil, scaled forcing -> theta between theta_r (or 0) and theta_s.

    Parameters go in as shares of their bounds; of van_genuchten and fredlund_xing_wang, saturation and the logarithm of
    the conductivity at some heads stand beside them.

    Parameters
    ----------
    bounds : mapping of str to Bounded
        Parameters that it takes, and where they may lie.
    fixed : mapping of str to float, optional
        Other parameters, as in the runs it learns from.
    options : mapping, optional
        Of the column.
    hidden : int
    seed : int

    References
    ----------
    Qi et al. (2026), Water Resour. Res., doi:10.1029/2025WR041265.
    """

    mse: Tensor
    held_out: Tensor
    forcing_mean: Tensor
    forcing_std: Tensor

    def __init__(
        self,
        bounds: Mapping[str, Bounded],
        *,
        fixed: Mapping[str, float] | None = None,
        options: Mapping[str, Any] | None = None,
        hidden: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__("mse")
        self.column = richards(**dict(options or {}))
        known = (*bounds, *(fixed or {}))
        missing = [name for name in self.column.parameters if name not in (*known, "l", "root_depth")]
        if missing:
            raise MissingVariableError(f"no {missing[0]!r} among the bounds and the fixed parameters {sorted(known)}")
        self.bounds = {name: _limits(b) for name, b in bounds.items()}
        self.fixed = {name: float(value) for name, value in (fixed or {}).items()}
        self.hidden = hidden
        self.register_buffer("mse", torch.tensor(torch.nan))
        self.register_buffer("held_out", torch.tensor(0))
        self.register_buffer("forcing_mean", torch.zeros(len(FORCING) + 1))
        self.register_buffer("forcing_std", torch.ones(len(FORCING) + 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # The state before the first day follows from the parameters, as the initial head gives it.
            features = len(bounds) + (2 * len(HEADS) if self.column.options["curve"] in _SHOWN else 0)
            self.begin = torch.nn.Linear(features, 2 * hidden)
            self.memory = torch.nn.LSTM(features + len(FORCING) + 1, hidden)
            self.closing = torch.nn.Linear(hidden, 1)

    def scale(self, sample: Sample, cells: NDArray[np.intp]) -> None:
        """Learn the scaling of the forcing from some runs."""
        inputs = _inputs({name: torch.as_tensor(array[:, cells]) for name, array in sample.forcing.items()}).double()
        self.forcing_mean.copy_(inputs.mean(dim=(0, 1)))
        self.forcing_std.copy_(inputs.std(dim=(0, 1)).clamp(min=1e-6))

    def forward(self, forcing: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """Theta (time, n); NaN for parameters beyond the bounds, and from missing forcing on."""
        inputs = _inputs(forcing)
        days, n, _ = inputs.shape
        shares, beyond = [], torch.zeros(n, dtype=torch.bool, device=inputs.device)
        soil: dict[str, Any] = {"l": 0.5, **self.fixed}
        for name, (low, high, log) in self.bounds.items():
            value = torch.as_tensor(parameters[name], device=inputs.device).expand(n)
            slack = _SLACK * (high - low)
            beyond = beyond | ~((value >= low - slack) & (value <= high + slack))
            inside = torch.where(torch.isfinite(value), value, torch.full_like(value, high))
            shares.append(_share(inside, low, high, log).to(inputs.dtype) * 2 - 1)
            soil[name] = inside.clamp(low, high)
        features = torch.cat([torch.stack(shares, dim=1), *self._shown(soil, shares[0])], dim=1)
        # What is missing goes in as the mean: NaN in the network would be NaN in the gradients of all runs.
        there = torch.isfinite(inputs)
        scaled = torch.where(there, (inputs - self.forcing_mean) / self.forcing_std, torch.zeros_like(inputs))
        missing = (~there.all(dim=2)).cumsum(dim=0) > 0
        start = torch.tanh(self.begin(features)).chunk(2, dim=1)
        state, _ = self.memory(
            torch.cat([scaled, features.expand(days, -1, -1)], dim=2), tuple(part[None].contiguous() for part in start)
        )
        dry, wet = (self._end(name, parameters, inputs) for name in ("theta_r", "theta_s"))
        theta = dry + (wet - dry) * torch.sigmoid(self.closing(state)[..., 0])
        return torch.where(missing | beyond, torch.full_like(theta, torch.nan), theta)

    def _shown(self, soil: Mapping[str, Any], like: Tensor) -> list[Tensor]:
        """The curves at some heads, each (n, heads)."""
        curve = str(self.column.options["curve"])
        if curve not in _SHOWN:
            return []
        # In double precision, which Apple's devices do not have.
        kind: dict[str, Any] = {"dtype": torch.float64, "device": "cpu" if like.device.type == "mps" else like.device}
        values = [torch.as_tensor(soil[name]).to(**kind).expand(len(like))[:, None] for name in CURVES[curve]]
        saturation, conductivity = _SHOWN[curve](torch.tensor(HEADS, **kind)[None], *values)
        # -1 to 1, as the shares.
        logarithm = torch.log10(conductivity.clamp(min=LEAST_SHOWN)) / -math.log10(LEAST_SHOWN) * 2 + 1
        return [(2 * saturation - 1).to(like), logarithm.to(like)]

    def _end(self, name: str, parameters: Mapping[str, Tensor], like: Tensor) -> Tensor:
        value = parameters.get(name, self.fixed.get(name, 0.0))
        return torch.as_tensor(value, device=like.device).to(like.dtype)

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Learner`."""
        theta = self(sample.forcing, sample.known)
        return {"theta": self.loss_for("theta")(theta, sample.observed["theta"])}

    def places(self, sample: Sample) -> int:
        """See `Learner`."""
        return len(sample.forcing["precipitation"])

    def test(self, sample: Sample) -> float:
        """Mean squared error on runs that it has not seen, which decides whether it is accepted."""
        total, number = 0.0, 0
        with torch.no_grad():
            for start in range(0, len(sample), 256):
                part = sample.take(np.arange(start, min(start + 256, len(sample)))).tensors()
                error = (self(part.forcing, part.known) - part.observed["theta"]).double()
                total, number = total + float(error.square().sum()), number + error.numel()
        self.mse.fill_(total / max(number, 1) if number else torch.nan)
        self.held_out.fill_(len(sample))
        return float(self.mse)

    @property
    def accepted(self) -> bool:
        """Whether the error on held-out runs is below `ACCEPTED`."""
        return bool(self.mse < ACCEPTED)

    def model(self, targets: Mapping[str, Bounded]) -> SoilModel:
        """It as the physics of a learner of `targets`, its weights frozen.

        A learner describes itself by the solver that stands behind: a model file needs no surrogate.

        Raises
        ------
        ArgumentError
            It is not accepted, or the targets are not among its parameters and within their bounds.
        """
        if not self.accepted:
            raise ArgumentError(
                f"the surrogate has an error of {float(self.mse):.2g} on {int(self.held_out)} held-out runs; expected "
                f"less than {ACCEPTED:g}: train it longer or on more runs, or take model='richards'"
            )
        for name, (low, high, _) in ((name, _limits(b)) for name, b in targets.items()):
            if name not in self.column.parameters:
                continue
            if name not in self.bounds:
                raise ArgumentError(f"{name!r} is to be learned, but the surrogate varies {list(self.bounds)} only")
            own = self.bounds[name]
            if low < own[0] or high > own[1]:
                raise ArgumentError(
                    f"{name!r} is to be learned from {low} to {high}, the surrogate knows {own[0]} to {own[1]}"
                )
        # Nothing differs between training and use here, and cuDNN gives gradients through an LSTM in training only.
        self.train().requires_grad_(False)

        def run(
            forcing: Mapping[str, Tensor], parameters: Mapping[str, Tensor], outputs: Sequence[str]
        ) -> dict[str, Tensor]:
            for name in outputs:
                if name != "theta":
                    raise ArgumentError(f"the surrogate gives theta only, not {name!r}; take model='richards'")
            lai = forcing.get("lai", parameters.get("lai"))
            missing = [name for name in self.bounds if name not in parameters]
            if lai is None or missing:
                raise MissingVariableError(f"no {[*missing, 'lai'][0]!r} among {sorted((*parameters, *forcing))}")
            for name, value in self.fixed.items():
                if name in parameters and not torch.allclose(
                    torch.as_tensor(parameters[name]).double(), torch.tensor(value, dtype=torch.float64)
                ):
                    raise ArgumentError(f"{name!r} differs from {value}, with which the surrogate was made")
            device = forcing["precipitation"].device
            return {"theta": self.to(device)({**forcing, "lai": torch.as_tensor(lai, device=device)}, parameters)}

        return SoilModel(
            self.column.name, run, self.column.parameters, self.column.forcing, self.column.order, self.column.gap,
            self.column.options,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """What `rebuilt` needs besides the tensors of the state dict, as plain JSON."""
        return {
            "surrogate_of": self.column.name,
            "options": dict(self.column.options),
            "bounds": {name: {"low": low, "high": high, "log": log} for name, (low, high, log) in self.bounds.items()},
            "fixed": self.fixed,
            "hidden": self.hidden,
        }

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Surrogate:
        """The surrogate of `describe` with these tensors; damaged or foreign ones are refused."""
        try:
            if description["surrogate_of"] != "richards" or description["hidden"] != tensors["closing.weight"].shape[1]:
                raise ArgumentError(
                    "the description is not that of these tensors, or of no surrogate of Richards' equation"
                )
            limits = {name: Bounded(b["low"], b["high"], b["log"]) for name, b in description["bounds"].items()}
            self = cls(limits, fixed=description["fixed"], options=description["options"], hidden=description["hidden"])
            self.load_state_dict(dict(tensors))
        except (TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:
            raise ArgumentError(f"the description of the surrogate is damaged: {error}") from error
        return self.eval()


def fit_surrogate(
    runs: Sample,
    bounds: Mapping[str, Bounded],
    *,
    fixed: Mapping[str, float] | None = None,
    options: Mapping[str, Any] | None = None,
    hidden: int = 256,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    **training: Any,
) -> tuple[Surrogate, Any]:
    """Train a surrogate on 80 % of the runs, stop it by 10 %, and test it on the other 10 %.

    Parameters
    ----------
    runs : Sample
        Of `draw_runs`.
    bounds, fixed, options, hidden, seed
        See `Surrogate`.
    directory, **training
        See `xsoil.networks.training.fit`.

    Returns
    -------
    surrogate : Surrogate
        Accepted or not: see `Surrogate.accepted`.
    history : History
    """
    from xsoil.networks.training import fit

    if len(runs) < 10:
        raise ArgumentError(
            f"{len(runs)} runs; expected 10 at least, of which one is for validation and one for the test"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(runs))
    tenth = len(runs) // 10
    test, validation, train = order[:tenth], order[tenth : 2 * tenth], order[2 * tenth :]
    surrogate = Surrogate(bounds, fixed=fixed, options=options, hidden=hidden, seed=seed)
    surrogate.scale(runs, train)
    history = fit(surrogate, InMemorySource(runs), train, validation, seed=seed, directory=directory, **training)
    surrogate.test(runs.take(test))
    return surrogate, history


def _shown_van_genuchten(h: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
    _, _, alpha, n, k_sat, l = values  # noqa: E741
    saturation, _, conductivity, _ = _van_genuchten(h, 0.0, 1.0, alpha, n, 1 - 1 / n, k_sat, l)
    return saturation, conductivity


def _shown_fredlund_xing_wang(h: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
    theta, _, conductivity, _ = _fredlund_xing_wang(h, *values, *_anchors(*values))
    return theta / values[0], conductivity


_SHOWN: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = MappingProxyType(
    {"van_genuchten": _shown_van_genuchten, "fredlund_xing_wang": _shown_fredlund_xing_wang}
)


def _limits(b: Bounded) -> tuple[float, float, bool]:
    return float(np.asarray(b.low)), float(np.asarray(b.high)), bool(b.log)


def _inputs(forcing: Mapping[str, Tensor]) -> Tensor:
    """(time, n, inputs): the forcing, and the logarithm of the rain, which is skewed."""
    rain = forcing["precipitation"]
    lai = forcing["lai"].to(rain.dtype).expand_as(rain)
    return torch.stack([rain, forcing["pet"], lai, torch.log1p(rain)], dim=2)
