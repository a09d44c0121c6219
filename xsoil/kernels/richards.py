"""Richards' equation over many columns: one column after the other, its nodes vectorised, state in double precision.

Columns are independent: a result does not depend on the neighbours of a column, on the block it falls in or on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels.richards_column import BOTTOMS, CONTROL, TOPS, UPTAKES
from xsoil.kernels.richards_curves import CURVES
from xsoil.kernels.richards_days import FLAGS, sweep
from xsoil.threads import in_bands, read_only

__all__ = ["FLAGS", "SERIES", "Steps", "between", "code_of", "run"]

SERIES = (
    "theta", "h", "storage", "actual_et", "runoff", "drainage", "inflow", "uptake", "balance", "steps", "iterations",
)  # fmt: skip
"""Series that `run` can return; the first two by depth."""

# Columns of one call of the kernel, the piece of work of a thread.
STRIP = 32
# Step of a column that has no history [d].
FIRST_STEP = 0.01

Array = NDArray[Any]
Wide = NDArray[np.float64]
State = tuple[Wide, Wide, Wide, Wide, NDArray[np.uint8]]


@dataclass(frozen=True)
class Steps:
    """Accepted steps of every column.

    Parameters
    ----------
    per_day : array (columns, days) of int
        Steps of each day.
    dt : array (columns, capacity)
        Lengths [d], one after the other from the first day on.
    h : array (columns, capacity, cells)
        Heads at the end of each step [cm].
    """

    per_day: NDArray[np.int64]
    dt: Wide
    h: Wide


def run(
    precipitation: ArrayLike,
    pet: ArrayLike,
    lai: ArrayLike,
    parameters: Sequence[ArrayLike],
    *,
    curve: str,
    widths: ArrayLike,
    depths: Sequence[float] = (),
    top: str = "atmosphere",
    top_value: ArrayLike = 0.0,
    bottom: str = "free_drainage",
    bottom_value: ArrayLike = 0.0,
    uptake: str = "s_shaped",
    root_depth: ArrayLike = 40.0,
    stress: Sequence[ArrayLike] = (-800.0,),
    initial: ArrayLike = -100.0,
    state: State | None = None,
    skip: int = 0,
    outputs: Sequence[str] = ("theta",),
    dtype: np.dtype[Any] | type = np.float64,
    control: Mapping[str, float] | None = None,
    record: int = 0,
    replay: Steps | None = None,
    workers: int = 1,
) -> tuple[dict[str, Array], State, Steps | None]:
    """Run Richards' equation for independent columns.

    Parameters
    ----------
    precipitation, pet, lai : array (time, columns) or (time, 1)
        [mm d-1, mm d-1, 1], one value a day. Potential evapotranspiration is split by the leaf area index.
    parameters : sequence of arrays (columns,) or (cells, columns)
        Those of `CURVES[curve]` in that order, in the units of the vocabulary; the second form has a soil per cell.
    curve : str
        Of `CURVES`.
    widths : array (cells,)
        Thicknesses from the surface down [cm].
    depths : sequence of float
        Depths of the series theta and h [cm]; h is linear between centres of cells (that of the outermost centre
        beyond them), then theta(h) with the soil of the cell.
    top : {"atmosphere", "flux", "head"}
        Atmosphere: rain less potential evaporation, limited to what a surface at -1e5 cm gives and one at 0 cm takes;
        the rest of the rain runs off at once. Else `top_value`, a flux into the soil [cm d-1] or a head [cm].
    bottom : {"free_drainage", "head", "zero_flux", "water_table"}
        `bottom_value` is the head [cm], or the depth of the water table below the surface [cm].
    top_value, bottom_value : number or array (time, columns) or (time, 1)
        See there.
    uptake : {"s_shaped", "feddes", "none"}
        Stress of the roots.
    root_depth : number or array (columns,)
        [cm].
    stress : sequence of number or array (columns,)
        S-shaped: h50; Feddes: h1, h2, h3 at high and at low demand, h4 [cm].
    initial : number or array (columns,) or (cells, columns)
        Head before the first day [cm].
    state : tuple, optional
        End state of the days before, instead of `initial`; not written to.
    skip : int
        Days at the start that are run but not returned.
    outputs : sequence of str
        Of `SERIES`; nothing else is allocated.
    dtype : float32 or float64
        Of the series; all work is in double precision.
    control : mapping, optional
        Of `CONTROL` where it differs: tolerance, change, reject, smallest_step, largest_step.
    record : int
        Steps of a column that there is room for in the record that is then returned.
    replay : Steps, optional
        Take these steps instead of choosing them, and begin each at its heads.
    workers : int
        Threads.

    Returns
    -------
    series : dict of arrays
        theta [m3 m-3] and h [cm] (time - skip, depths, columns) and storage [mm] at the end of the day; actual_et,
        runoff, drainage, inflow (through the surface), uptake [mm d-1]; balance, the storage less all that came and
        went since the start [mm]; steps, iterations.
    state : tuple of arrays
        h [cm] and water content [m3 m-3] (cells, columns), next step [d], balance [cm] and status (uint8, bits of
        `FLAGS`) (columns,) after the last day. The water content of a cell is what its fluxes left there and differs
        from theta(h) within the tolerance.
    steps : Steps or None
        Where `record` is given; a column with more steps than there is room for raises.

    Raises
    ------
    ArgumentError, UnknownNameError
        Arguments outside their range; unknown names.

    References
    ----------
    Celia, Bouloutas & Zarba (1990), Water Resour. Res. 26, 1483.
    """
    codes = [
        code_of(*named)
        for named in (
            ("curve", curve, tuple(CURVES)), ("top", top, TOPS), ("bottom", bottom, (*BOTTOMS, "water_table")),
            ("uptake", uptake, UPTAKES),
        )
    ]  # fmt: skip
    for name in outputs:
        code_of("output", name, SERIES)
    thickness = np.array(widths, np.float64)
    if thickness.ndim != 1 or not (thickness > 0).all():
        raise ArgumentError(f"widths={widths!r}; expected thicknesses of the cells, all above 0 [cm]")
    below = np.asarray(bottom_value, np.float64)
    if bottom == "water_table":
        below, codes[2] = thickness.sum() - below, BOTTOMS.index("head")
    series: list[Array] = [_series(np.asarray(a, np.float64)) for a in (precipitation, pet, lai, top_value, below)]
    days = max(array.shape[0] for array in series)
    series = [read_only(np.ascontiguousarray(np.broadcast_to(a, (days, a.shape[1])))) for a in series]
    numbers = [np.asarray(p, np.float64) for p in parameters]
    stresses = [np.atleast_1d(np.asarray(s, np.float64)) for s in stress]
    expected = {"none": len(stresses), "s_shaped": 1, "feddes": 5}[uptake]
    if len(numbers) != len(CURVES[curve]) or len(stresses) != expected:
        raise ArgumentError(
            f"{len(numbers)} parameters of {curve} and {len(stresses)} of {uptake}; "
            f"expected {CURVES[curve]} and {expected}"
        )
    roots, start = np.atleast_1d(np.asarray(root_depth, np.float64)), np.asarray(initial, np.float64)
    per_column = [*(a.shape[1:] for a in series), *(a.shape[-1:] for a in (*numbers, *stresses, roots, start))]
    columns: int = np.broadcast_shapes(*per_column, (1,))[0]  # none, where an input has none
    layers = max(a.shape[0] if a.ndim == 2 else 1 for a in numbers)
    numbers = [np.broadcast_to(a, (layers, columns)) for a in numbers]
    stresses = [np.broadcast_to(a, (columns,)) for a in stresses]
    roots = np.broadcast_to(roots, (columns,))
    if layers not in (1, thickness.size):
        raise ArgumentError(
            f"parameters for {layers} cells, but widths has {thickness.size}; expected one per cell or column"
        )

    cells, weights, owners = between(np.asarray(depths, np.float64), thickness)
    limits = np.array(list((dict(CONTROL) | dict(control or {})).values()))
    if limits.size != len(CONTROL):
        raise ArgumentError(f"control={control!r}; expected names of {sorted(CONTROL)}")
    n = thickness.size
    rows = max(days - skip, 0)
    series_out: dict[str, Array] = {}
    for name in ("theta", "h"):
        if name in outputs:
            series_out[name] = np.empty((rows, len(cells), columns), dtype)
    by_column = [name for name in SERIES[2:] if name in outputs]
    packed = np.empty((len(by_column), rows, columns), dtype)
    wanted = np.array([by_column.index(name) if name in by_column else -1 for name in SERIES[2:]])
    nothing = np.empty((0, 0, 0), dtype)
    targets = [series_out.get(name, nothing) for name in ("theta", "h")]

    h: Array
    mass: Array
    step: Array
    balance: Array
    status: Array
    if state is None:
        h, mass = np.array(np.broadcast_to(start, (n, columns))), np.zeros((n, columns))
        step, balance, status = np.full(columns, FIRST_STEP), np.zeros(columns), np.zeros(columns, np.uint8)
    else:
        h, mass, step, balance, status = (np.array(part) for part in state)
    per_day = np.zeros((columns, days), np.int64) if replay is None else np.array(replay.per_day)
    times = np.zeros((columns, record)) if replay is None else np.array(replay.dt)
    times = times if times.shape[1] else times[:0]
    known = np.zeros((0, 0, n)) if replay is None else np.ascontiguousarray(replay.h)
    heads = np.zeros((columns, record, n)) if record else np.zeros((0, 0, n))

    def strip(first: int) -> None:
        at = slice(first, min(first + STRIP, columns))
        # (column, parameter, cell), so that a column reads what lies together.
        soil = np.ascontiguousarray(np.stack([a[:, at] for a in numbers]).transpose(2, 0, 1))
        parts = [np.array(part[..., at], order="C") for part in (h, mass, step, balance, status)]
        arguments: tuple[Any, ...] = (
            *codes, thickness, soil, np.array(roots[at]), np.stack([s[at] for s in stresses], axis=-1), *series,
            limits, skip, cells, weights, owners, state is None, first, *parts, *targets, packed, wanted,
            per_day[at], times[at], heads[at], replay is not None, known[at],
        )  # fmt: skip
        sweep(*arguments)
        for whole, part in zip((h, mass, step, balance, status), parts, strict=True):
            whole[..., at] = part

    def strips(first: int, last: int) -> None:
        for number in range(first, last):
            strip(number * STRIP)

    in_bands(strips, -(-columns // STRIP), workers)
    series_out |= {name: packed[i] for i, name in enumerate(by_column)}
    steps = None
    if record:
        if (most := int(per_day.sum(axis=1).max(initial=0))) > record:
            raise ArgumentError(f"record={record}, but a column took {most} steps; expected room for all of them")
        steps = Steps(per_day, times, heads)
    return series_out, cast(State, (h, mass, step, balance, status)), steps


def code_of(kind: str, name: str, known: tuple[str, ...]) -> int:
    """The number that kernels know a name by."""
    if name not in known:
        raise UnknownNameError.of(kind, name, known)
    return known.index(name)


def _series(array: Wide) -> Wide:
    """(time, columns); a number becomes (1, 1), a series (time, 1)."""
    return array if array.ndim == 2 else array.reshape(-1, 1)


def between(depths: Wide, widths: Wide) -> tuple[NDArray[np.int64], Wide, NDArray[np.int64]]:
    """Per depth: the cell whose centre lies above it, the weight of the next one, the cell it lies in."""
    bottoms = np.cumsum(widths)
    if depths.size and not (depths.min() >= 0 and depths.max() <= bottoms[-1] * (1 + 1e-12)):
        raise ArgumentError(f"depths {depths.tolist()} cm; expected depths within the column of {bottoms[-1]:g} cm")
    centres = bottoms - widths / 2
    upper = np.clip(np.searchsorted(centres, depths, side="right") - 1, 0, max(widths.size - 2, 0))
    lower = np.minimum(upper + 1, widths.size - 1)
    gaps = np.where(lower > upper, centres[lower] - centres[upper], 1.0)
    weights = np.clip((depths - centres[upper]) / gaps, 0.0, 1.0)
    owners = np.minimum(np.searchsorted(bottoms, depths, side="left"), widths.size - 1)
    return upper.astype(np.int64), weights, owners.astype(np.int64)
