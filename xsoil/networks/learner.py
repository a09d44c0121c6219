"""A network, the bounds of its parameters, the physics behind it and the loss in front of the observations."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.networks.elementary import TORCH
from xsoil.networks.learning import Learner
from xsoil.networks.losses import LOSSES, CellCost, Loss
from xsoil.networks.parameter_networks import InputShapes, network_of
from xsoil.networks.samples import Sample
from xsoil.networks.scaling import InputScaling
from xsoil.networks.soil_models import SoilModel, soil_model
from xsoil.physics.bounded import Bounded, bounded, ends_of

__all__ = ["OPERATOR", "STRATEGIES", "ParameterLearner"]

Tensor = torch.Tensor

STRATEGIES = ("end_to_end", "two_step")

OPERATOR = ("obs_scale", "obs_bias")
"""Parameters A and B of the observation operator; the output "theta_obs" is A theta + B."""

# Cells that a prediction runs at a time, always as many; with a history, of which each takes as long as many cells.
_TOGETHER, _SEQUENCES = 256, 32

# Entries of `ParameterLearner.describe`.
_DESCRIBED = {
    "network", "network_options", "patch", "channels", "targets", "model", "model_options", "strategy", "losses",
    "weights", "least_pairs",
}  # fmt: skip

_share, _, _, _value_of_unbounded = bounded(TORCH)


class ParameterLearner(Learner):
    """Predictors -> network -> parameters within their bounds -> physics -> loss against observations.

    Parameters
    ----------
    network : str or torch module
        See `network_of`.
    scaling : InputScaling
        Learned from the training cells.
    targets : mapping of str to Bounded
        Bounds of each learned parameter; besides the parameters of the model, `obs_scale` and `obs_bias`.
    patch : (rows, columns), optional
        Size of the patches, where static predictors are patches.
    network_options : mapping, optional
        Keywords of the network.
    model : str or SoilModel
        The physics.
    model_options : mapping, optional
        Its keywords.
    strategy : {"end_to_end", "two_step"}
        Learn from the observations through the physics, or from parameters found before.
    loss : str, callable, or mapping of str to these
        For all observed variables or for each; of `LOSSES`, or a `CellCost`.
    weights : mapping of str to float, optional
        Of the observed variables; 1 where not given.
    least_pairs : int
        Observations that a cell needs to count.
    seed : int
        Of the network's first weights.

    Raises
    ------
    ArgumentError, UnknownNameError
        Arguments that do not fit together.
    """

    def __init__(
        self,
        network: str | torch.nn.Module,
        scaling: InputScaling,
        targets: Mapping[str, Bounded],
        *,
        patch: tuple[int, int] | None = None,
        network_options: Mapping[str, Any] | None = None,
        model: str | SoilModel = "water_balance",
        model_options: Mapping[str, Any] | None = None,
        strategy: Literal["end_to_end", "two_step"] = "end_to_end",
        loss: str | Loss | CellCost | Mapping[str, str | Loss | CellCost] = "mse",
        weights: Mapping[str, float] | None = None,
        least_pairs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(loss, weights, least_pairs, "parameters" if strategy == "two_step" else "observed")
        if strategy not in STRATEGIES:
            raise UnknownNameError.of("strategy of a network", strategy, STRATEGIES)
        if not targets:
            raise ArgumentError("no targets; expected bounds of one parameter at least, e.g. {'k_sat': (1, 1000)}")
        self.model = soil_model(model, model_options)
        for name, bounds in targets.items():
            if name not in (*self.model.parameters, *OPERATOR):
                raise UnknownNameError.of(
                    f"parameter of model {self.model.name!r}", name, (*self.model.parameters, *OPERATOR)
                )
            if np.ndim(bounds.low) or np.ndim(bounds.high):
                raise ArgumentError(f"bounds of {name!r} as arrays; expected numbers, which hold for new cells too")
        self.targets = {
            name: Bounded(float(np.asarray(b.low)), float(np.asarray(b.high)), bool(b.log))
            for name, b in targets.items()
        }
        self.strategy = strategy
        self.scaling = scaling
        static, history = scaling.channels
        shape = (static, *(patch or ())) if static else None
        self.network_name = network if isinstance(network, str) else None
        self.network_options = dict(network_options or {})
        self.patch = patch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = network_of(network, InputShapes(shape, history), len(targets), network_options)

    def forward(
        self, static: Tensor | None, history: Tensor | None = None, known: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Learned parameters (n,) from unscaled predictors.

        `known` are parameters that they must be in order with, and bounds of single cells, by the names of `ends_of`.
        """
        return self._bounded(self.network(*self.scaling(static, history)), known or {})

    def _bounded(self, z: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the network gives, as parameters."""
        if z.ndim != 2 or z.shape[1] != len(self.targets):
            raise ArgumentError(
                f"the network gives {tuple(z.shape)}; expected (cells, {len(self.targets)}), a column for each of "
                f"{list(self.targets)}"
            )
        if z.device.type == "cpu":  # where the physics is in double precision
            z = z.double()
        return self._within(dict(zip(self.targets, z.unbind(dim=1))), known)

    def _within(self, z: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters between their bounds, and in the order that the model needs."""
        found: dict[str, Tensor] = {}
        order, gap = self.model.order, self.model.gap

        def end(name: str, which: int) -> Any:
            of_cells = known.get(ends_of(name)[which])
            if of_cells is None:
                return (self.targets[name].low, self.targets[name].high)[which]
            return torch.as_tensor(of_cells, dtype=z[name].dtype)

        for name in sorted(z, key=lambda name: order.index(name) if name in order else -1):
            low, high = end(name, 0), end(name, 1)
            if name in order:
                place = order.index(name)
                below: list[Any] = [found.get(n, known.get(n)) for n in order[:place]]
                above: list[Any] = [end(n, 1) if n in z else known.get(n) for n in order[place + 1 :]]
                for value in below:
                    if value is not None:
                        low = torch.clamp(torch.as_tensor(value, dtype=z[name].dtype) + gap, min=low)
                for value in above:
                    if value is not None:
                        high = torch.clamp(torch.as_tensor(value, dtype=z[name].dtype) - gap, max=high)
            found[name] = _value_of_unbounded(z[name], low, high, self.targets[name].log)
        return {name: found[name] for name in self.targets}

    def simulate(self, sample: Sample, parameters: Mapping[str, Tensor], outputs: tuple[str, ...]) -> dict[str, Tensor]:
        """Series (time, n) of the physics with these parameters and those that the sample knows.

        `outputs` are those of the model, and "theta_obs", its theta seen through the observation operator.
        """
        scale, bias = self._operator(sample, parameters)
        wanted = tuple(dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs))
        series = self._run(sample, parameters, wanted)
        if "theta_obs" in outputs:
            seen = series["theta"]
            seen = seen if scale is None else seen * scale.to(seen.dtype)
            series["theta_obs"] = seen if bias is None else seen + bias.to(seen.dtype)
        return {name: series[name] for name in outputs}

    def _operator(self, sample: Sample, parameters: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """A and B, None for those that are 1 and 0."""
        scale, bias = (parameters.get(name, sample.known.get(name)) for name in OPERATOR)
        return scale, bias

    def _run(self, sample: Sample, parameters: Mapping[str, Tensor], outputs: tuple[str, ...]) -> dict[str, Tensor]:
        others = {*OPERATOR, *(end for name in self.targets for end in ends_of(name))}
        values = {n: value for n, value in {**sample.known, **parameters}.items() if n not in others}
        missing = [name for name in self.model.forcing if name not in sample.forcing]
        if missing:
            raise MissingVariableError(f"no {missing[0]!r} among the forcing {sorted(sample.forcing)}")
        return dict(self.model.run(sample.forcing, values, outputs))

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each observed variable (two-step: parameter) the cost per cell and which cells count.

        Parameters
        ----------
        sample : Sample
            Of tensors.
        """
        found = self(sample.static, sample.history, sample.known)
        if self.strategy == "two_step":
            return self._parameter_costs(found, sample)
        if not sample.observed:
            raise MissingVariableError("the sample has no observations; expected one series at least")
        # The observation operator goes into the loss, which applies it in passing.
        outputs = {name: "theta" if name == "theta_obs" else name for name in sample.observed}
        series = self._run(sample, found, tuple(dict.fromkeys(outputs.values())))
        scale, bias = self._operator(sample, found)
        costs = {}
        for name, observed in sample.observed.items():
            operator = {"scale": scale, "bias": bias} if name == "theta_obs" else {}
            costs[name] = self.loss_for(name)(series[outputs[name]], observed, self.least_pairs, **operator)
        return costs

    def _parameter_costs(self, found: Mapping[str, Tensor], sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """Squared differences as shares of the interval between the bounds."""
        costs = {}
        for name, bounds in self.targets.items():
            if name not in sample.parameters:
                raise MissingVariableError(
                    f"no {name!r} among the parameters {sorted(sample.parameters)} to learn from"
                )
            target = sample.parameters[name].to(found[name].dtype)
            counts = torch.isfinite(target)
            inside = torch.where(counts, target, found[name].detach())
            limits = bounds.low, bounds.high, bounds.log
            costs[name] = ((_share(found[name], *limits) - _share(inside, *limits)) ** 2, counts)
        return costs

    def enough(self, variable: str) -> int:
        """See `Learner`."""
        return super().enough(variable) if self.strategy == "end_to_end" else int(variable in self.targets)

    def places(self, sample: Sample) -> int:
        """See `Learner`."""
        fine = 1 if sample.static is None else math.prod(sample.static.shape[2:])
        return max(fine, 1 if sample.history is None else sample.history.shape[1])

    @torch.no_grad()
    def predict(
        self,
        static: NDArray[Any] | None,
        history: NDArray[Any] | None = None,
        known: Mapping[str, NDArray[Any]] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters (n,) of any cells, without gradients; NaN where a predictor is missing that training always had.

        Cells run in batches of one size and in double precision, and come rounded to single: how a product of matrices
        rounds depends on the place of a cell in its batch, which so does not show.
        """
        arrays = {"static": static, "history": history, **(known or {})}
        given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
        n = len(next(iter(given.values())))
        out = {name: np.full(n, np.nan) for name in self.targets}
        device = next(self.parameters()).device
        # A copy, so that several threads can predict, and training goes on as it was.
        scaling, network = copy.deepcopy(self.scaling).eval(), copy.deepcopy(self.network).eval()
        if self.network_name is not None and device.type != "mps":
            scaling, network = scaling.double(), network.double()
        together = _TOGETHER if history is None else _SEQUENCES
        for start in range(0, n, together):
            at = slice(start, min(start + together, n))
            part = {name: _filled(array[at], together, device) for name, array in given.items()}
            inputs = part.pop("static", None), part.pop("history", None)
            whole = self.scaling.complete(*inputs)
            for name, found in self._bounded(network(*scaling(*inputs)), part).items():
                value = torch.where(whole, found, torch.nan).cpu().float().double().numpy()[: at.stop - at.start]
                low, high = (np.asarray(given[end])[at] for end in ends_of(name)) if ends_of(name)[0] in given else (
                    self.targets[name].low, self.targets[name].high
                )  # fmt: skip
                out[name][at] = value.clip(low, high)
        return out

    def describe(self) -> dict[str, Any]:
        """What `rebuilt` needs besides the tensors of the state dict, as plain JSON."""
        losses = self.losses if isinstance(self.losses, Mapping) else {"": self.losses}
        return {
            "network": self.network_name,
            "network_options": self.network_options,
            "patch": None if self.patch is None else list(self.patch),
            "channels": [len(self.scaling.static_mean), len(self.scaling.history_mean)],  # type: ignore[arg-type]
            "targets": {n: {"low": b.low, "high": b.high, "log": b.log} for n, b in self.targets.items()},
            "model": self.model.name,
            "model_options": dict(self.model.options),
            "strategy": self.strategy,
            "losses": {variable: loss.name for variable, loss in losses.items()},
            "weights": self.weights,
            "least_pairs": self.least_pairs,
        }

    @classmethod
    def rebuilt(
        cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor], network: torch.nn.Module | None = None
    ) -> ParameterLearner:
        """The learner of `describe` with these tensors.

        Parameters
        ----------
        description : mapping
        tensors : mapping of str to Tensor
            Its state dict.
        network : torch module, optional
            Of the architecture it was learned with, where that was a module of the user's.

        Raises
        ------
        ArgumentError, UnknownNameError
            Missing or foreign entries, or tensors that are not those of this network.
        """
        try:
            self = cls._like(description, tensors, network)
        except (TypeError, AttributeError, KeyError, IndexError) as error:
            raise ArgumentError(f"the description of the learner is damaged: {error}") from error
        _put(self, tensors)
        return self.eval()

    @classmethod
    def _like(
        cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor], network: torch.nn.Module | None
    ) -> ParameterLearner:
        if set(description) != _DESCRIBED:
            differing = sorted(_DESCRIBED ^ set(description))
            raise ArgumentError(f"the description of the learner has missing or foreign entries: {differing}")
        if (description["network"] is None) != (network is not None):
            raise ArgumentError(
                "the model was learned with a torch module of the user's; give one of the same architecture as network="
                if network is None
                else f"the model was learned with network={description['network']!r}; leave out network="
            )
        elements = sum(tensor.numel() for tensor in tensors.values())
        channels = description["channels"]
        options = dict(description["network_options"])
        for number in (*channels, *options.values()):  # before anything of that size is made
            if not isinstance(number, (int, float, str)) or (
                not isinstance(number, str) and not 0 <= number <= elements
            ):
                raise ArgumentError(f"a network with {number!r}; its weights have {elements} numbers only")
        scaling = InputScaling(*channels)
        _put(scaling, {n.removeprefix("scaling."): t for n, t in tensors.items() if n.startswith("scaling.")})
        losses = dict(description["losses"])
        for variable, name in losses.items():
            losses[variable] = name if name in LOSSES else "mse"  # a function of the user's is needed in training only
        return cls(
            description["network"] if network is None else network,
            scaling,
            {name: Bounded(b["low"], b["high"], b["log"]) for name, b in description["targets"].items()},
            patch=None if description["patch"] is None else tuple(description["patch"]),
            network_options=options,
            model=description["model"],
            model_options=description["model_options"],
            strategy=description["strategy"],
            loss=losses.get("", losses),
            weights=description["weights"],
            least_pairs=description["least_pairs"],
        )


def _filled(array: NDArray[Any], count: int, device: torch.device) -> Tensor:
    """Of `count` rows: the last one is repeated."""
    rows = np.minimum(np.arange(count), len(array) - 1)
    return torch.as_tensor(np.ascontiguousarray(array[rows])).to(device)


def _put(module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the state of a module, which must be of these names, shapes and types."""
    own = module.state_dict()
    for name in sorted({*own, *tensors}):
        if name not in own or name not in tensors:
            raise ArgumentError(f"tensor {name!r} is {'foreign to' if name in tensors else 'missing for'} this network")
        if own[name].shape != tensors[name].shape or own[name].dtype != tensors[name].dtype:
            raise ArgumentError(
                f"tensor {name!r} is {tensors[name].dtype} {tuple(tensors[name].shape)}; this network needs "
                f"{own[name].dtype} {tuple(own[name].shape)}"
            )
    module.load_state_dict(dict(tensors))
