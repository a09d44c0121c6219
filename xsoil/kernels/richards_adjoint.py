"""Gradient of Richards columns by a hand-made reverse sweep over their accepted steps.

Each step is differentiated implicitly: one transposed tri-diagonal system, no iterations. The lengths of the steps are
taken as given. At kinks (limits of the surface flux, air entry, ends of the uptake function, the chord of K near
saturation) the derivative is that of the piece the run was on. Heads are those of a run that stopped at a residual of
`tolerance`: at the default of 1e-6 that moves the gradient by some 1e-7 of itself, 1e-5 in one wild column of ten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels.richards import STRIP, State, Steps, between, code_of, run
from xsoil.kernels.richards_adjoint_days import FLUXES, finish, sweep_back
from xsoil.kernels.richards_column import BOTTOMS, TOPS, UPTAKES
from xsoil.kernels.richards_curves import CURVES, FIXED
from xsoil.threads import in_bands, read_only

__all__ = ["DIFFERENTIABLE", "Columns", "Gradient", "Tape"]

DIFFERENTIABLE = ("theta", "h", *FLUXES)
"""Series that have derivatives; the first two by depth."""

Array = NDArray[Any]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Gradient:
    """Derivatives of a scalar with respect to all that went into the run, in the units of the run.

    A column has NaN throughout if the scalar depends on values of it that are missing; where the derivatives by those
    are 0, all are those of the days before, and 0 if there are none.

    Attributes
    ----------
    parameters : array (parameter, 1 or cells, columns)
        In the order of `CURVES`.
    root_depth : array (columns,)
    stress : array (number, columns)
    initial : array (cells, columns)
        By the heads before the first day; by the water contents [m3 m-3] where the run began with a state.
    precipitation, pet, lai, top_value, bottom_value : array (time, columns), or None where not asked for
        What the boundaries of the run do not use has 0.
    """

    parameters: Wide
    root_depth: Wide
    stress: Wide
    initial: Wide
    precipitation: Wide | None
    pet: Wide | None
    lai: Wide | None
    top_value: Wide | None
    bottom_value: Wide | None


@dataclass(frozen=True)
class Tape:
    """What a run keeps for its gradient.

    Attributes
    ----------
    starts : list of int
        First day of each span.
    states : list of tuple
        State before each of them; None for the initial heads.
    steps : array (time, columns) of int
        Steps of each day; -1 from the day on that a column is missing.
    record : Steps or None
        All steps with their heads, where there was room for them.
    """

    starts: list[int]
    states: list[State | None]
    steps: NDArray[np.int64]
    record: Steps | None = None


class Columns:
    """Columns of Richards' equation, their soils and forcing, to be run and differentiated.

    Parameters
    ----------
    precipitation, pet, lai, parameters, top_value, bottom_value, root_depth, stress, initial, state, skip
        As `xsoil.kernels.richards.run` takes them.
    fixed : keyword arguments
        curve, widths, depths, top, bottom, uptake, control, as there.
    """

    def __init__(
        self, precipitation: ArrayLike, pet: ArrayLike, lai: ArrayLike, parameters: Sequence[ArrayLike], *,
        top_value: ArrayLike = 0.0, bottom_value: ArrayLike = 0.0, root_depth: ArrayLike = 40.0,
        stress: Sequence[ArrayLike] = (-800.0,), initial: ArrayLike = -100.0, state: State | None = None, skip: int = 0,
        **fixed: Any,
    ) -> None:  # fmt: skip
        self.fixed, self.state, self.skip = fixed, state, skip
        self.widths = np.array(fixed["widths"], np.float64)
        self.cells, self.bottom = self.widths.size, fixed.get("bottom", "free_drainage")
        self.codes = (
            code_of("curve", fixed["curve"], tuple(CURVES)),
            code_of("top", fixed.get("top", "atmosphere"), TOPS),
            code_of("bottom", "head" if self.bottom == "water_table" else self.bottom, BOTTOMS),
            code_of("uptake", fixed.get("uptake", "s_shaped"), UPTAKES),
        )
        forcing = [np.asarray(a, np.float64) for a in (precipitation, pet, lai, top_value, bottom_value)]
        forcing = [a if a.ndim == 2 else a.reshape(-1, 1) for a in forcing]
        numbers, stresses = ([np.asarray(a, np.float64) for a in group] for group in (parameters, stress))
        roots, start = np.asarray(root_depth, np.float64), np.asarray(initial, np.float64)
        self.days = max(a.shape[0] for a in forcing)
        self.count = max(
            *(a.shape[1] for a in forcing), *(a.shape[-1] if a.ndim else 1 for a in (*numbers, *stresses, roots, start))
        )
        if state is not None:
            self.count = max(self.count, state[0].shape[1])
        layers = max(a.shape[0] if a.ndim == 2 else 1 for a in numbers)
        self.forcing = [np.broadcast_to(a, (self.days, a.shape[1])) for a in forcing]
        self.numbers = [np.broadcast_to(a, (layers, self.count)) for a in numbers]
        self.stresses = [np.broadcast_to(a, (self.count,)) for a in stresses]
        self.roots = np.broadcast_to(roots, (self.count,))
        self.start = np.broadcast_to(start, (self.cells, self.count))

    def run(
        self, outputs: Sequence[str] = ("theta",), *, every: int | None = None, room: int = 0,
        dtype: np.dtype[Any] | type = np.float64, workers: int = 1,
    ) -> tuple[dict[str, Array], State, Tape]:  # fmt: skip
        """Run and keep the state every some days.

        Parameters
        ----------
        outputs, dtype, workers
            As `xsoil.kernels.richards.run` takes them, whose series and state are returned.
        every : int, optional
            Days between the states that are kept; the days between are run once more for the gradient. By default
            the root of their number: the gradient then takes O(sqrt(time)) memory.
        room : int
            Steps of a column that there is room for: the heads of all are then kept and nothing is run again, in
            O(time) memory. Where a column takes more, states are kept as without it.

        Returns
        -------
        series : dict of arrays
        state : tuple of arrays
        tape : Tape
        """
        if room > 0:
            try:
                return self._run_recorded(outputs, room, dtype, workers)
            except ArgumentError:  # no room; any other fault comes up again
                pass
        length = every or max(1, math.isqrt(self.days - 1) + 1)
        starts, states, steps = list(range(0, self.days, length)), [self.state], []
        parts: list[dict[str, Array]] = []
        wanted = tuple(dict.fromkeys((*outputs, "steps")))
        for first in starts:
            found, state, _ = self._run(
                self._forcing(first, first + length, slice(None)), slice(None), states[-1], outputs=wanted,
                workers=workers,
            )  # fmt: skip
            steps.append(_counts(found["steps"]))
            hidden = min(max(self.skip - first, 0), length)
            parts.append({name: found[name][hidden:].astype(dtype, copy=False) for name in outputs})
            states.append(state)
        series = {name: np.concatenate([part[name] for part in parts]) for name in outputs}
        return series, state, Tape(starts, states[:-1], np.concatenate(steps))

    def _run_recorded(
        self, outputs: Sequence[str], room: int, dtype: np.dtype[Any] | type, workers: int
    ) -> tuple[dict[str, Array], State, Tape]:
        everyone = slice(None)
        found, state, record = self._run(
            self._forcing(0, self.days, everyone), everyone, self.state, record=room, workers=workers,
            outputs=tuple(dict.fromkeys((*outputs, "steps"))),
        )  # fmt: skip
        series = {name: found[name][self.skip :].astype(dtype, copy=False) for name in outputs}
        return series, state, Tape([0], [self.state], _counts(found["steps"]), record)

    def gradient(
        self, derivatives: Mapping[str, Array], *, tape: Tape | None = None, steps: Steps | None = None,
        final: ArrayLike | None = None, water: ArrayLike | None = None, forcing: bool = False, workers: int = 1,
    ) -> Gradient:  # fmt: skip
        """Derivatives of a scalar J.

        Parameters
        ----------
        derivatives : mapping of str to array (time - skip, columns), or (time - skip, depths, columns) of theta and h
            dJ / d(series) of those of `DIFFERENTIABLE` on which J depends.
        tape : Tape, optional
            Of `run`; without it (and without `steps`) the run is made here.
        steps : Steps, optional
            Record of a run of all days: nothing is run again, at the price of O(time) memory.
        final, water : array (cells, columns), optional
            dJ / d(heads) and d(water contents) after the last day, beside those through the series.
        forcing : bool
            Also the derivatives by the forcing.
        workers : int
            Threads.

        Returns
        -------
        Gradient

        Raises
        ------
        UnknownNameError, ArgumentError
            A series has no derivative; shapes do not agree.
        """
        self._check(derivatives)
        if steps is None:
            tape = tape or self.run((), workers=workers)[2]
            steps = tape.record
        if tape is not None and steps is None:
            starts, ran = tape.starts, (tape.steps > 0).any(axis=0)
        else:
            starts, ran = [0], (cast(Steps, steps).per_day > 0).any(axis=1)
        n, layers = self.cells, self.numbers[0].shape[0]
        padded = (n + 7) // 8 * 8
        series = [read_only(np.ascontiguousarray(a)) for a in self._forcing(0, self.days, slice(None))]
        if self.bottom == "water_table":
            series[4] = read_only(self.widths.sum() - series[4])
        places = between(np.asarray(self.fixed.get("depths", ()), np.float64), self.widths)
        for_end, value = (_by_column(a, n, self.count) for a in (final, water))
        by_parameters, by_initial = np.zeros((self.count, len(self.numbers), layers)), np.zeros((self.count, n))
        by_root_depth, by_stress = np.zeros(self.count), np.zeros((self.count, 5))
        by_forcing = [np.zeros((self.days, self.count) if forcing else (0, 0)) for _ in range(5)]
        lost = np.zeros(self.count, np.uint8)
        spans = list(zip(starts, [*starts[1:], self.days], strict=True))

        def strip(first: int) -> None:
            at = slice(first, min(first + STRIP, self.count))
            width = at.stop - at.start
            soil = np.ascontiguousarray(np.stack([a[:, at] for a in self.numbers]).transpose(2, 0, 1))
            roots, stress = np.array(self.roots[at]), np.stack([a[at] for a in self.stresses], axis=-1)
            sums, edge_sums, by_roots = (np.zeros(s) for s in ((width, FIXED, padded), (width, FIXED, 8), (width, n)))
            for number, (a, b) in reversed(list(enumerate(spans))):
                record = _some(steps, at) if steps is not None else self._recorded(cast(Tape, tape), number, a, b, at)
                rows = slice(max(a - self.skip, 0), max(b - self.skip, 0))
                arguments: tuple[Any, ...] = (
                    *self.codes, self.widths, soil, roots, stress, *(s[a:b] for s in series), max(self.skip - a, 0),
                    *places, at.start, record.per_day, record.dt, record.h, *self._weights(derivatives, rows, at),
                    for_end[at], value[at], sums, edge_sums, by_roots, by_stress[at], lost[at],
                    *(array[a:b] for array in by_forcing),
                )  # fmt: skip
                sweep_back(*arguments)
                for_end[at] = 0.0
            start = np.array(self.start[:, at].T, order="C") if self.state is None else np.empty((0, 0))
            finish(
                self.codes[0], self.codes[3], self.widths, soil, roots, start, value[at], sums, edge_sums, by_roots,
                by_parameters[at], by_initial[at], by_root_depth[at],
            )  # fmt: skip

        def strips(first: int, last: int) -> None:
            for number in range(first, last):
                strip(number * STRIP)

        in_bands(strips, -(-self.count // STRIP), workers)
        found = [
            by_parameters.transpose(1, 2, 0), by_root_depth, by_stress[:, : len(self.stresses)].T,
            (by_initial if self.state is None else value).T, *(by_forcing if forcing else ()),
        ]  # fmt: skip
        if self.bottom == "water_table":
            by_forcing[4] *= -1.0
        for array in found:
            array[..., ~ran] = 0.0
            array[..., lost > 0] = np.nan
        return Gradient(*found, *(() if forcing else (None,) * 5))

    def _forcing(self, first: int, last: int, at: slice) -> list[Wide]:
        """The five series of some days of some columns."""
        return [a[first:last, at] if a.shape[1] > 1 else a[first:last] for a in self.forcing]

    def _run(
        self, forcing: list[Wide], at: slice, state: State | None, **options: Any
    ) -> tuple[dict[str, Array], State, Steps | None]:
        """Some days of some columns, from a state or from the initial heads."""
        rain, pet, lai, top, bottom = forcing
        return run(
            rain, pet, lai, [a[:, at] for a in self.numbers], top_value=top, bottom_value=bottom,
            root_depth=self.roots[at], stress=[a[at] for a in self.stresses], initial=self.start[:, at], state=state,
            **(self.fixed | options),
        )  # fmt: skip

    def _recorded(self, tape: Tape, number: int, first: int, last: int, at: slice) -> Steps:
        """The steps of a span, run once more."""
        steps, forcing = tape.steps[first:last, at], self._forcing(first, last, at)
        if (steps < 0).any():
            # A column that failed makes steps in vain, which are not counted: it stops the day before.
            forcing[0] = np.where(steps < 0, np.nan, forcing[0])
        state = tape.states[number]
        part = None if state is None else tuple(a[..., at] for a in state)
        room = max(int(steps.clip(0).sum(axis=0).max(initial=0)), 1)
        _, _, record = self._run(forcing, at, cast("State | None", part), record=room, outputs=())
        return cast(Steps, record)

    def _check(self, derivatives: Mapping[str, ArrayLike]) -> None:
        depths, rows = np.size(self.fixed.get("depths", ())), max(self.days - self.skip, 0)
        for name, array in derivatives.items():
            if name not in DIFFERENTIABLE:
                raise UnknownNameError.of("derivative", name, DIFFERENTIABLE)
            shape = (rows, depths, self.count) if name in ("theta", "h") else (rows, self.count)
            if np.shape(array) != shape:
                raise ArgumentError(f"the derivative by {name!r} is of shape {np.shape(array)}; expected {shape}")

    def _weights(self, derivatives: Mapping[str, Array], rows: slice, at: slice) -> tuple[Wide, Wide, Wide]:
        """Derivatives by theta, h (time, depth, columns) and the other series (time, series, columns) of a strip."""
        theta, h = (
            np.array(derivatives[name][rows, :, at], np.float64, order="C")
            if name in derivatives
            else np.empty((0, 0, 0))
            for name in ("theta", "h")
        )
        packed = np.zeros((rows.stop - rows.start, len(FLUXES), at.stop - at.start))
        for k, name in enumerate(FLUXES):
            if name in derivatives:
                packed[:, k] = derivatives[name][rows, at]
        return theta, h, packed


def _by_column(array: ArrayLike | None, cells: int, columns: int) -> Wide:
    """(columns, cells), 0 if there is none."""
    whole = np.zeros((cells, columns)) if array is None else np.broadcast_to(np.asarray(array, float), (cells, columns))
    return np.array(whole.T, order="C")


def _counts(steps: Array) -> NDArray[np.int64]:
    return np.where(np.isnan(steps), -1, steps).astype(np.int64)


def _some(steps: Steps, at: slice) -> Steps:
    """The steps of some columns."""
    parts: Any = (np.ascontiguousarray(a[at]) for a in (steps.per_day, steps.dt, steps.h))
    return Steps(*parts)
