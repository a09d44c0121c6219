"""The physics as differentiable functions of torch: the water balance, and Richards columns (in their own file).

On the CPU the forward pass is the compiled kernel and the backward pass its hand-made adjoint. On other devices the
same sub-steps of the water balance run as tensor operations, a day at a time, each day recomputed on the way back, so
that memory grows with the number of days and not with that of the sub-steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels import water_balance as kernel
from xsoil.kernels.water_balance_adjoint import gradient
from xsoil.networks.richards import require_series, richards
from xsoil.physics.water_balance import water_balance_substep
from xsoil.threads import available_cores

__all__ = ["PARAMETERS", "richards", "water_balance"]

Tensor = torch.Tensor

PARAMETERS = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
"""Parameters of the water balance, in the order and units of the kernel."""

# Any possible soil: what takes the place of impossible ones (Li et al. 2024).
_SOIL = (0.5, 0.2, 0.078, 36.0, 1.0, 0.1, 0.5)


def water_balance(
    precipitation: Tensor,
    pet: Tensor,
    parameters: Mapping[str, Tensor | float],
    *,
    initial: Tensor | float | None = None,
    outputs: Sequence[str] = ("theta",),
    substeps: int = 24,
    workers: int | None = None,
    native: bool | None = None,
) -> dict[str, Tensor]:
    """Daily soil water balance of independent cells, with gradients.

    Parameters
    ----------
    precipitation, pet : Tensor (time, cells)
        [mm d-1].
    parameters : mapping of str to Tensor (cells,) or number
        `theta_s`, `theta_fc`, `theta_wp` [m3 m-3], `k_sat` [cm d-1], `root_depth` [m], `depletion_fraction`,
        `crop_coefficient` [1].
    initial : Tensor (cells,) or number, optional
        Soil moisture before the first day; field capacity by default.
    outputs : sequence of str
        Of "theta" [m3 m-3], "storage" [mm], "actual_et", "runoff", "drainage" [mm d-1], and "final_theta"
        (cells,), the state after the last day.
    substeps : int
        Explicit steps a day.
    workers : int, optional
        Threads of the compiled kernels; all cores by default.
    native : bool, optional
        Run as tensor operations, which every device has. By default only off the CPU.

    Returns
    -------
    dict of Tensor (time, cells)
        In the dtype of `precipitation`. Cells with impossible parameters, and days from missing forcing on, are NaN:
        mask them in a loss. They then have zero gradients.

    Raises
    ------
    MissingVariableError, UnknownNameError, ArgumentError
        Parameters are missing, a parameter or an output is unknown, or shapes or types do not agree.

    References
    ----------
    Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    """
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    known = (*kernel.SERIES, "final_theta")
    for kind, names, choice in (("output", outputs, known), ("parameter", parameters, PARAMETERS)):
        for name in names:
            if name not in choice:
                raise UnknownNameError.of(kind, name, choice)
    missing = [name for name in PARAMETERS if name not in parameters]
    if missing:
        raise MissingVariableError(f"no {missing[0]!r} among {sorted(parameters)}; expected all of {PARAMETERS}")
    require_series(precipitation, pet)
    cells, wide = precipitation.shape[1], torch.float64 if precipitation.device.type == "cpu" else precipitation.dtype

    def per_cell(name: str, value: Tensor | float) -> Tensor:
        tensor = torch.as_tensor(value, device=precipitation.device).to(wide)
        if tensor.ndim > 1 or (tensor.ndim == 1 and tensor.shape[0] not in (1, cells)):
            raise ArgumentError(f"{name!r} is of shape {tuple(tensor.shape)}; expected ({cells},), one for each cell")
        return tensor.expand(cells)

    values = [per_cell(name, parameters[name]) for name in PARAMETERS]
    start = values[1] if initial is None else per_cell("initial", initial)
    if native is None:
        native = precipitation.device.type != "cpu"
    if native:
        series = _native(precipitation, pet, values, start, substeps, outputs)
    else:
        threads = available_cores() if workers is None else workers
        names = tuple(name for name in outputs if name != "final_theta")
        found = _WaterBalance.apply(precipitation, pet, start, *values, substeps, names, threads)  # type: ignore[no-untyped-call]
        series = dict(zip((*names, "final_theta"), found, strict=True))
    return {name: series[name] for name in outputs}


class _WaterBalance(torch.autograd.Function):
    """The compiled kernel and its adjoint."""

    @staticmethod
    def forward(ctx: Any, rain: Tensor, pet: Tensor, start: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        *values, substeps, names, threads = rest
        arrays = [value.detach().numpy() for value in (rain, pet, start, *values)]
        needed = tuple(dict.fromkeys(("theta", *names)))
        series, (final, _) = kernel.run(
            arrays[0], arrays[1], arrays[3:], initial=arrays[2], substeps=substeps, outputs=needed, workers=threads
        )
        ctx.save_for_backward(rain, pet, start, *values, torch.from_numpy(series["theta"]))
        ctx.options = substeps, names, threads
        found = [torch.from_numpy(series[name]) for name in names]
        # The state is not handed out as one of the series' arrays: autograd would take them for one tensor.
        return (
            *(f.clone() if name == "theta" else f for name, f in zip(names, found, strict=True)),
            torch.from_numpy(final),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, theta = ctx.saved_tensors
        substeps, names, threads = ctx.options
        rain, pet, start, *values = (tensor.detach().numpy() for tensor in tensors)
        derivatives = {name: by.detach().numpy() for name, by in zip(names, cotangents, strict=False) if by is not None}
        last = cotangents[-1]
        found = gradient(
            rain, pet, values, derivatives, initial=start, final=None if last is None else last.detach().numpy(),
            theta=theta.numpy(), substeps=substeps, forcing=any(ctx.needs_input_grad[:2]), workers=threads,
        )  # fmt: skip
        by_forcing = [None if by is None else torch.from_numpy(by) for by in (found.precipitation, found.pet)]
        by_values = [torch.from_numpy(np.ascontiguousarray(row)) for row in found.parameters]
        return (*by_forcing, torch.from_numpy(found.initial), *by_values, None, None, None)


def _native(
    rain: Tensor, pet: Tensor, values: list[Tensor], start: Tensor, substeps: int, outputs: tuple[str, ...]
) -> dict[str, Tensor]:
    """Day after day as tensor operations."""
    theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop = values
    possible = (theta_s <= 1) & (theta_s > theta_fc) & (theta_fc > theta_wp) & (theta_wp >= 0) & (k_sat > 0)
    possible = possible & (root_depth > 0) & (depletion >= 0) & (depletion < 1) & (crop >= 0)
    alive = possible & ~torch.isnan(start)
    # Cells without a result go along on a soil that has one: a NaN left in the sums would be one in all gradients.
    values = [
        torch.where(alive, value, torch.full_like(value, soil)) for value, soil in zip(values, _SOIL, strict=True)
    ]
    theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop = values
    depth = 1000.0 * root_depth
    per_depletion = 1.0 / ((1.0 - depletion) * depth * (theta_fc - theta_wp))
    released = -torch.expm1(-10.0 * k_sat / (depth * (theta_s - theta_fc)) / substeps)
    missing = torch.full_like(start, torch.nan)
    state = torch.minimum(torch.maximum(torch.where(alive, start, theta_fc), theta_wp), theta_s)
    fixed = (theta_s, theta_fc, theta_wp, depth, per_depletion, released)
    advance = _day(substeps, rain.device.type)
    days: list[tuple[Tensor, ...]] = []
    for day in range(rain.shape[0]):
        alive = alive & (rain[day] >= 0) & (pet[day] >= 0)
        none = torch.zeros_like(rain[day])
        p, e = (torch.where(alive, series[day], none).to(state.dtype) for series in (rain, pet))
        # The sub-steps of a day are run again on the way back instead of being kept.
        state, *fluxes = checkpoint(advance, state, p, crop * e, *fixed, use_reentrant=False)
        days.append(tuple(torch.where(alive, value, missing) for value in (state, state * depth, *fluxes)))
    series = {
        name: torch.stack([row[place] for row in days]).to(rain.dtype) if days else rain.new_empty(rain.shape)
        for place, name in enumerate(("theta", "storage", "runoff", "actual_et", "drainage"))
        if name in outputs
    }
    return series | {"final_theta": torch.where(alive, state, missing)}


@lru_cache(maxsize=8)
def _day(substeps: int, device: str) -> Callable[..., Any]:
    """The sub-steps of one day; one fused kernel where torch compiles for the device."""
    step = water_balance_substep(torch.minimum, torch.maximum)

    def advance(
        theta: Tensor, rain: Tensor, demand: Tensor, theta_s: Tensor, theta_fc: Tensor, theta_wp: Tensor, depth: Tensor,
        per_depletion: Tensor, released: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        water = torch.zeros_like(theta)
        runoff, actual_et, drainage = water, water, water
        limits = [(limit - theta) * depth for limit in (theta_s, theta_fc, theta_wp)]
        for _ in range(substeps):
            water, ro, et, dp = step(water, rain / substeps, demand / substeps, *limits, per_depletion, released)
            runoff, actual_et, drainage = runoff + ro, actual_et + et, drainage + dp
        end = torch.minimum(torch.maximum(theta + water / depth, theta_wp), theta_s)
        return end, runoff, actual_et, drainage

    return torch.compile(advance) if device == "cuda" else advance
