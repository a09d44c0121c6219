"""Richards columns as a differentiable function of torch: the compiled kernel and its hand-made adjoint.

Both run on the CPU. Tensors of other devices are brought there and the results back, which costs little beside the
columns themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels.richards_adjoint import DIFFERENTIABLE, Columns
from xsoil.kernels.richards_curves import CURVES
from xsoil.physics.richards import grid
from xsoil.threads import available_cores

__all__ = ["STRESS", "require_series", "richards"]

Tensor = torch.Tensor

STRESS: Mapping[str, tuple[str, ...]] = {
    "s_shaped": ("h50",),
    "feddes": ("h1", "h2", "h3_high", "h3_low", "h4"),
    "none": (),
}
"""Parameters of root uptake, beside the root depth."""

FINAL = ("final_h", "final_theta")
# To the units of the kernel, cm and cm d-1.
TOPS = {"atmospheric": ("atmosphere", 1.0), "flux": ("flux", 0.1), "head": ("head", 1.0)}
BOTTOMS = {"free_drainage": 1.0, "head": 1.0, "zero_flux": 1.0, "water_table": 100.0}
# What the kernel is given where there are no roots, and does not look at.
NO_ROOTS, NO_STRESS = 1.0, -1.0


def richards(
    precipitation: Tensor,
    pet: Tensor,
    lai: Tensor | float,
    parameters: Mapping[str, Tensor | float],
    *,
    curve: str = "van_genuchten",
    initial: Tensor | float = -100.0,
    outputs: Sequence[str] = ("theta",),
    depths: Sequence[float] = (0.02, 0.05, 0.10, 0.20, 0.40),
    column_depth: float = 0.5,
    widths: Sequence[float] | None = None,
    layers: Sequence[int] | None = None,
    top: str = "atmospheric",
    top_value: Tensor | float = 0.0,
    bottom: str = "free_drainage",
    bottom_value: Tensor | float = 0.0,
    uptake: str = "s_shaped",
    skip: int = 0,
    control: Mapping[str, float] | None = None,
    every: int | None = None,
    room: int = 0,
    workers: int | None = None,
) -> dict[str, Tensor]:
    """Water in soil columns by Richards' equation, with gradients.

    Parameters
    ----------
    precipitation, pet : Tensor (time, cells)
        [mm d-1].
    lai : number or Tensor, (cells,) or (time, cells)
        Leaf area index [1].
    parameters : mapping of str to number or Tensor, (cells,) or (layers, cells)
        Those of the curve in the units of the vocabulary (van_genuchten: `theta_r`, `theta_s` [m3 m-3], `alpha`
        [cm-1], `n`, `l` [1], `k_sat` [cm d-1]; see `xsoil.kernels.richards_curves.CURVES`), the only ones that may
        have layers; with uptake `root_depth` [m] and those of `STRESS` [cm].
    curve : str
        "van_genuchten", "fredlund_xing_wang", "brooks_corey", "campbell", "gardner" or "haverkamp".
    initial : number or Tensor, (cells,) or (nodes, cells)
        Pressure head before the first day [cm].
    outputs : sequence of str
        Of "theta" [m3 m-3] and "h" [cm] at the end of the day (time, depth, cells); "storage" [mm], "actual_et",
        "runoff", "drainage", "inflow", "uptake" [mm d-1] (time, cells); "final_h" [cm] and "final_theta" [m3 m-3]
        (nodes, cells), the state after the last day.
    depths : sequence of float
        Of theta and h [m].
    column_depth : float
        [m].
    widths : sequence of float, optional
        Thicknesses of the nodes from the surface down [m], instead of those of `xsoil.physics.richards.grid`.
    layers : sequence of int, optional
        The layer that each node belongs to; without it, parameters with layers have one for each node.
    top, bottom, uptake : str
        "atmospheric", "flux", "head"; "free_drainage", "head", "zero_flux", "water_table"; "s_shaped", "feddes",
        "none". As in `xsoil.simulate`.
    top_value, bottom_value : number or Tensor, (cells,) or (time, cells)
        Flux into the soil [mm d-1] or head [cm] at the top; head [cm] or depth of the water table [m] at the bottom.
    skip : int
        Days at the start that are run, and differentiated, but not returned.
    control : mapping, optional
        Of `xsoil.kernels.richards_column.CONTROL`: tolerance, change, largest_step and others.
    every : int, optional
        Days between the states that are kept for the gradient; the days between are run once more. The root of the
        number of days by default.
    room : int
        Steps of a column that there is room for (some 10 a day): where they suffice, the heads of all steps are kept
        and nothing is run again, which spares two fifths of the time and takes O(time) memory.
    workers : int, optional
        Threads; all cores by default.

    Returns
    -------
    dict of Tensor
        In the dtype of `precipitation`, the state in double precision. Columns with impossible parameters, and days
        from missing forcing or a failure to converge on, are NaN: mask them in a loss
        (``torch.where(theta.isnan(), 0, ...)``), and the gradient is that of the days before. A column whose missing
        values enter the loss has NaN gradients, its neighbours have their own.

    Raises
    ------
    MissingVariableError, UnknownNameError, ArgumentError
        Parameters are missing, names are unknown, or shapes do not agree.

    Notes
    -----
    Every accepted step is differentiated implicitly at its solution; the lengths of the steps, which the solver
    chooses, are taken as given.

    References
    ----------
    Celia, Bouloutas & Zarba (1990), Water Resour. Res. 26, 1483.
    """
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for kind, name, known in (
        ("curve", curve, CURVES), ("top", top, TOPS), ("bottom", bottom, BOTTOMS), ("uptake", uptake, STRESS),
        *(("output", name, (*DIFFERENTIABLE, *FINAL)) for name in outputs),
    ):  # fmt: skip
        if name not in known:
            raise UnknownNameError.of(kind, name, tuple(known))
    require_series(precipitation, pet)
    days, cells = precipitation.shape
    roots = () if uptake == "none" else ("root_depth", *STRESS[uptake])
    if not days or not cells:
        raise ArgumentError(f"precipitation is of shape {(days, cells)}; expected a day and a column at least")
    for name in parameters:
        if name not in (*CURVES[curve], *roots):
            raise UnknownNameError.of(f"parameter of {curve!r} with uptake {uptake!r}", name, (*CURVES[curve], *roots))
    missing = [name for name in (*CURVES[curve], *roots) if name not in parameters]
    if missing:
        raise MissingVariableError(
            f"no {missing[0]!r} among {sorted(parameters)}; expected all of {(*CURVES[curve], *roots)}"
        )
    thickness = grid(100.0 * column_depth) if widths is None else 100.0 * np.array(widths, np.float64)
    nodes = thickness.size
    if layers is not None and len(layers) != nodes:
        raise ArgumentError(f"layers has {len(layers)} numbers; expected one for each of the {nodes} nodes")

    def laid_out(name: str, value: Tensor | float, *shape: int) -> Tensor:
        tensor = torch.as_tensor(value, dtype=torch.float64).cpu()
        try:
            return tensor.expand(*shape)
        except RuntimeError:
            raise ArgumentError(f"{name!r} is of shape {tuple(tensor.shape)}; expected {shape} or (cells,)") from None

    def daily(name: str, value: Tensor | float) -> Tensor:
        """(time, cells); what never varies stays one number."""
        return laid_out(name, value, *((days, cells) if isinstance(value, Tensor) and value.ndim else (1, 1)))

    def soil(name: str) -> Tensor:
        tensor = torch.as_tensor(parameters[name], dtype=torch.float64).cpu()
        if tensor.ndim == 2 and layers is not None:
            if not 0 <= min(layers) <= max(layers) < tensor.shape[0]:
                raise ArgumentError(
                    f"{name!r} has {tensor.shape[0]} layers, but layers names {min(layers)} to {max(layers)}"
                )
            tensor = tensor[torch.tensor(layers)]
        return laid_out(name, tensor, nodes if tensor.ndim == 2 else 1, cells)

    rain, demand, leaves = daily("precipitation", precipitation), daily("pet", pet), daily("lai", lai)
    above = TOPS[top][1] * daily("top_value", top_value)
    below = BOTTOMS[bottom] * daily("bottom_value", bottom_value)
    start = laid_out("initial", initial, nodes, cells)
    taken = [laid_out(name, parameters[name], cells) for name in roots] or [
        torch.full((cells,), value, dtype=torch.float64) for value in (NO_ROOTS, NO_STRESS)
    ]
    inner = {
        "curve": curve, "widths": thickness, "depths": tuple(100.0 * np.array(depths, np.float64)), "top": TOPS[top][0],
        "bottom": bottom, "uptake": uptake, "control": control, "skip": skip,
    }  # fmt: skip
    names = tuple(dict.fromkeys(name for name in outputs if name not in FINAL))
    options = (inner, names, len(taken) - 1, every, room, available_cores() if workers is None else workers)
    found = _Richards.apply(  # type: ignore[no-untyped-call]
        options, rain, demand, leaves, above, below, start, 100.0 * taken[0], *taken[1:], *map(soil, CURVES[curve])
    )
    series = dict(zip((*names, *FINAL), found, strict=True))
    like, device = precipitation.dtype, precipitation.device
    return {name: series[name].to(device, torch.float64 if name in FINAL else like) for name in outputs}


def require_series(precipitation: object, pet: object) -> None:
    """Raise where the forcing is no pair of tensors (time, cells) in single or double precision."""
    for name, series in (("precipitation", precipitation), ("pet", pet)):
        if not isinstance(series, Tensor) or series.dtype not in (torch.float32, torch.float64):
            kind = series.dtype if isinstance(series, Tensor) else type(series).__name__
            raise ArgumentError(f"{name} is {kind}; expected a torch.Tensor of float32 or float64 (time, cells)")
    rain, demand = (tuple(series.shape) for series in (precipitation, pet))  # type: ignore[attr-defined]
    if len(rain) != 2 or rain != demand:
        raise ArgumentError(f"precipitation is of shape {rain} and pet of {demand}; expected (time, cells) of both")


class _Richards(torch.autograd.Function):
    """The compiled kernel and its adjoint."""

    @staticmethod
    def forward(ctx: Any, options: tuple[Any, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        inner, names, stresses, every, room, workers = options
        rain, pet, lai, above, below, start, roots, *rest = (tensor.detach().numpy() for tensor in tensors)
        columns = Columns(
            rain, pet, lai, rest[stresses:], top_value=above, bottom_value=below, root_depth=roots,
            stress=rest[:stresses], initial=start, **inner,
        )  # fmt: skip
        if not any(ctx.needs_input_grad):
            every, room = len(rain), 0
        series, state, ctx.tape = columns.run(names, every=every, room=room, workers=workers)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)  # so that a change in place is noticed
        ctx.columns, ctx.options = columns, options
        return tuple(map(torch.from_numpy, (*(series[name] for name in names), *state[:2])))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        _, names, stresses, *_, workers = ctx.options
        tensors = ctx.saved_tensors
        *by_series, final, water = (None if by is None else by.detach().numpy() for by in cotangents)
        derivatives = {name: by for name, by in zip(names, by_series, strict=True) if by is not None}
        found = ctx.columns.gradient(
            derivatives, tape=ctx.tape, final=final, water=water, forcing=any(ctx.needs_input_grad[1:6]),
            workers=workers,
        )  # fmt: skip
        arrays = [
            found.precipitation, found.pet, found.lai, found.top_value, found.bottom_value, found.initial,
            found.root_depth, *found.stress[:stresses], *found.parameters,
        ]  # fmt: skip
        return None, *(
            torch.from_numpy(np.ascontiguousarray(array)).sum_to_size(tensor.shape) if needed else None
            for array, tensor, needed in zip(arrays, tensors, ctx.needs_input_grad[1:], strict=True)
        )
