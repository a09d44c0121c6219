"""The physics as a model of the inverse methods: runs of some parameters, simulations at the observed times only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels import columns, richards, water_balance
from xsoil.kernels.richards_curves import CURVES
from xsoil.threads import available_cores, in_bands, read_only

__all__ = ["OBSERVATION", "OBSERVED", "WATER_BALANCE", "Richards", "WaterBalance"]

WATER_BALANCE = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
"""Parameters of the water balance, in the order of its kernel."""

OBSERVATION = {"obs_scale": 1.0, "obs_bias": 0.0}
"""What is observed is obs_scale x the simulation + obs_bias, where either is given."""

OBSERVED = ("theta_obs", "theta", "storage", "actual_et", "runoff", "drainage")
"""What can be observed: theta through the observation operator, or as it is [m3 m-3], the water in the column [mm] and
fluxes [mm d-1]."""

# Most runs of one call of the water balance, whose forcing is copied for it: series of a year stay in the second-level
# cache. Few runs are dealt out to all threads.
STRIP, LEAST_STRIP = 256, 128
# Runs of one call of the Richards kernel.
COLUMNS = 2048

Wide = NDArray[np.float64]
Whole = NDArray[np.int64]


class _Physics:
    """Parameters by name: some learned, the others fixed."""

    def __init__(
        self,
        learned: Sequence[str],
        fixed: Mapping[str, ArrayLike],
        needed: Sequence[str],
        optional: Mapping[str, float],
        cells: int,
        outputs: Sequence[str],
        workers: int | None,
    ) -> None:
        for name in outputs:
            if name not in OBSERVED:
                raise UnknownNameError.of("output", name, OBSERVED)
        if not outputs or len(set(outputs)) < len(outputs):
            raise ArgumentError(f"outputs={tuple(outputs)}; expected one at least, each of them once")
        self._outputs = tuple(outputs)
        self._series_names = tuple(dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs))
        known = (*needed, *optional, *OBSERVATION)
        for name in (*learned, *fixed):
            if name not in known:
                raise UnknownNameError.of("parameter", name, known)
        both = sorted(set(learned) & set(fixed))
        if both or len(set(learned)) != len(learned):
            raise ArgumentError(f"learned {list(learned)} and fixed {sorted(fixed)}; expected every parameter once")
        missing = [name for name in needed if name not in learned and name not in fixed]
        if missing:
            raise MissingVariableError(
                f"no {missing[0]!r}, neither learned ({list(learned)}) nor fixed ({sorted(fixed)})"
            )
        self._row = {name: row for row, name in enumerate(learned)}
        self._fixed: dict[str, Wide] = {}
        defaults: dict[str, float] = {**dict.fromkeys(needed, np.nan), **optional, **OBSERVATION}
        for name, default in defaults.items():
            value: Wide = np.asarray(fixed.get(name, default), np.float64)
            if value.shape not in ((), (1,), (cells,)):
                raise ArgumentError(f"{name!r} is of shape {value.shape}; expected a number or one for each of {cells}")
            self._fixed[name] = value
        self._cells = cells
        self._workers = available_cores() if workers is None else workers

    def _values(self, name: str, parameters: Wide, cells: Whole) -> Wide:
        """Of one parameter, for every run."""
        if name in self._row:
            return np.array(parameters[self._row[name]])
        value = self._fixed[name]
        return np.array(value[cells]) if value.size == self._cells > 1 else np.full(cells.size, value.item())

    def _seen(self, parameters: Wide, cells: Whole) -> list[tuple[str, Wide, Wide]]:
        """Of each output the series that it is seen in, and the scale and bias it is seen through, for every run."""
        one, none = np.ones(cells.size), np.zeros(cells.size)
        scale, bias = (self._values(name, parameters, cells) for name in OBSERVATION)
        return [("theta", scale, bias) if name == "theta_obs" else (name, one, none) for name in self._outputs]


def _rows(rows: ArrayLike | None, days: int) -> Whole:
    array = np.arange(days) if rows is None else np.asarray(rows)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not ((array >= 0) & (array < days)).all():
        raise ArgumentError(f"rows={rows!r}; expected numbers of days from 0 to {days - 1}, or None for all")
    return array.astype(np.int64)


def _forcing(name: str, array: ArrayLike, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    values: NDArray[Any] = np.ascontiguousarray(array, dtype)
    if values.ndim != 2:
        raise ArgumentError(f"{name} is of shape {values.shape}; expected (time, cells)")
    return read_only(values)


class WaterBalance(_Physics):
    """What is observed of the water balance, at observed days.

    Parameters
    ----------
    precipitation, pet : array (time, cells)
        [mm d-1].
    learned : sequence of str
        Of `WATER_BALANCE` and `OBSERVATION`: what the rows of `parameters` are when the model is called.
    fixed : mapping of str to number or array (cells,)
        The others, in the units of the vocabulary.
    rows : array of int, optional
        Days that are observed, counted from the first one after `skip`; all by default.
    outputs : sequence of str
        Of `OBSERVED`. Simulations are (outputs x days), all days of an output together.
    initial : array (cells,), optional
        Soil moisture before the first day; field capacity by default.
    substeps, skip : int
        As in the kernel: explicit steps a day; days at the start that are only run.
    dtype : float32 or float64
        Of the sub-steps. Single precision is good to 3e-6 m3 m-3 and twice as fast.
    workers : int, optional
        Threads; all cores by default.

    Raises
    ------
    ArgumentError, MissingVariableError, UnknownNameError
        Shapes that do not fit; parameters that are missing, unknown or given twice.
    """

    def __init__(
        self,
        precipitation: ArrayLike,
        pet: ArrayLike,
        learned: Sequence[str],
        fixed: Mapping[str, ArrayLike],
        *,
        rows: ArrayLike | None = None,
        outputs: Sequence[str] = ("theta_obs",),
        initial: ArrayLike | None = None,
        substeps: int = 24,
        skip: int = 0,
        dtype: type[np.floating[Any]] = np.float32,
        workers: int | None = None,
    ) -> None:
        self._rain = _forcing("precipitation", precipitation, dtype)
        self._pet = _forcing("pet", pet, dtype)
        if self._rain.shape != self._pet.shape:
            raise ArgumentError(f"precipitation {self._rain.shape} and pet {self._pet.shape}; expected the same shape")
        super().__init__(learned, fixed, WATER_BALANCE, {}, self._rain.shape[1], outputs, workers)
        self._rows = _rows(rows, self._rain.shape[0] - skip)
        self._initial = None if initial is None else np.array(np.broadcast_to(initial, self._cells), np.float64)
        self._substeps, self._skip = substeps, skip

    def __call__(self, parameters: Wide, cells: Whole) -> Wide:
        """Simulations (outputs x observed days, runs); the order of impossible parameters gives NaN."""
        values = [self._values(name, parameters, cells) for name in WATER_BALANCE]
        seen = self._seen(parameters, cells)
        start = None if self._initial is None else self._initial[cells]
        out = np.empty((len(seen), self._rows.size, cells.size))
        last_day = int(self._rows.max(initial=-1)) + 1 + self._skip  # nothing is observed after it
        gather: Callable[..., None] = columns.gather
        pick: Callable[..., None] = columns.pick
        strip = min(max(-(-cells.size // (2 * self._workers * LEAST_STRIP)) * LEAST_STRIP, LEAST_STRIP), STRIP)

        def strips(first: int, last: int) -> None:
            # One room for all strips of a thread: fresh memory costs more than what is written to it.
            room = np.empty((2, last_day * strip), self._rain.dtype)
            for number in range(first, last):
                at = slice(number * strip, min((number + 1) * strip, cells.size))
                width = at.stop - at.start
                rain, pet = (part[: last_day * width].reshape(last_day, width) for part in room)
                gather(self._rain, cells, at.start, rain)
                gather(self._pet, cells, at.start, pet)
                series, _ = water_balance.run(
                    rain, pet, [value[at] for value in values],
                    initial=None if start is None else start[at], substeps=self._substeps, skip=self._skip,
                    outputs=self._series_names,
                )  # fmt: skip
                for (name, scale, bias), to in zip(seen, out, strict=True):
                    pick(series[name], self._rows, scale, bias, at.start, to)

        in_bands(strips, -(-cells.size // strip), self._workers)
        return out.reshape(-1, cells.size)


class Richards(_Physics):
    """What is observed of Richards' equation, at observed days and depths.

    Parameters
    ----------
    precipitation, pet, lai : array (time, cells)
        [mm d-1, mm d-1, 1].
    learned : sequence of str
        Of the curve's parameters, `h50`, `root_depth` [m] and `OBSERVATION`: the rows of `parameters`.
    fixed : mapping of str to number or array (cells,)
        The others, in the units of the vocabulary; `h50` is -800 cm, `root_depth` 0.4 m and `l` 0.5 if not given.
    curve : str
        Of the kernel: "van_genuchten", "fredlund_xing_wang" ...
    widths : array
        Thicknesses of the cells of a column from the surface down [cm].
    depths : sequence of float
        Observed depths of soil moisture [cm].
    rows : array of int, optional
        Days that are observed, counted from the first one after `skip`; all by default.
    outputs : sequence of str
        Of `OBSERVED`. Simulations are (outputs x days x depths), fluxes and storage without depths.
    initial : number
        Head before the first day [cm].
    skip : int
        Days at the start that are only run.
    control : mapping, optional
        Of the kernel's steps.
    workers : int, optional
        Threads; all cores by default.

    Raises
    ------
    ArgumentError, MissingVariableError, UnknownNameError
        As `WaterBalance`.
    """

    def __init__(
        self,
        precipitation: ArrayLike,
        pet: ArrayLike,
        lai: ArrayLike,
        learned: Sequence[str],
        fixed: Mapping[str, ArrayLike],
        *,
        curve: str = "van_genuchten",
        widths: ArrayLike,
        depths: Sequence[float] = (5.0,),
        rows: ArrayLike | None = None,
        outputs: Sequence[str] = ("theta_obs",),
        initial: float = -100.0,
        skip: int = 0,
        control: Mapping[str, float] | None = None,
        workers: int | None = None,
    ) -> None:
        if curve not in CURVES:
            raise UnknownNameError.of("curve", curve, CURVES)
        series = (("precipitation", precipitation), ("pet", pet), ("lai", lai))
        self._series = [_forcing(name, array, np.float64) for name, array in series]
        shapes = [array.shape for array in self._series]
        if len(set(shapes)) > 1:
            raise ArgumentError(f"precipitation, pet and lai are of shapes {shapes}; expected the same")
        needed = [name for name in CURVES[curve] if name != "l"]
        optional = {"h50": -800.0, "root_depth": 0.4} | ({"l": 0.5} if "l" in CURVES[curve] else {})
        super().__init__(learned, fixed, needed, optional, shapes[0][1], outputs, workers)
        self._rows = _rows(rows, shapes[0][0] - skip)
        self._curve, self._widths, self._depths = curve, np.asarray(widths, np.float64), tuple(depths)
        self._initial, self._skip, self._control = initial, skip, control

    def __call__(self, parameters: Wide, cells: Whole) -> Wide:
        """Simulations (outputs x observed days x depths, runs); columns that could not be solved are NaN."""
        moisture = [name.startswith("theta") for name in self._outputs]
        ends = np.cumsum([self._rows.size * (len(self._depths) if deep else 1) for deep in moisture])
        out = np.empty((ends[-1], cells.size))
        last_day = int(self._rows.max(initial=-1)) + 1 + self._skip
        for first in range(0, cells.size, COLUMNS):
            at = slice(first, first + COLUMNS)
            chosen, part = cells[at], np.ascontiguousarray(parameters[:, at])
            rain, pet, lai = (array[:last_day, chosen] for array in self._series)
            series, _, _ = richards.run(
                rain, pet, lai, [self._values(name, part, chosen) for name in CURVES[self._curve]],
                curve=self._curve, widths=self._widths, depths=self._depths,
                root_depth=100 * self._values("root_depth", part, chosen),
                stress=[self._values("h50", part, chosen)], initial=self._initial, skip=self._skip,
                outputs=self._series_names, control=self._control, workers=self._workers,
            )  # fmt: skip
            for end, start, (name, scale, bias) in zip(ends, (0, *ends[:-1]), self._seen(part, chosen), strict=True):
                out[start:end, at] = (scale * series[name][self._rows] + bias).reshape(end - start, -1)
        return out
