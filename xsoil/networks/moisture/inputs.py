"""What a soil-moisture model reads: predictors with units, scaling, classes and gaps, learned from training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError

__all__ = ["CONSTANT", "LEAST_SPREAD", "MISSING", "Inputs", "Predictor", "Targets"]

Floats = NDArray[np.float32]
Missing = Literal["indicator", "nan"]

MISSING = ("indicator", "nan")
"""What a missing predictor does: the training mean stands for it (and a column says so), or the result is NaN."""

# A predictor whose deviation is below this share of its mean is noise in single precision.
LEAST_SPREAD = 1e-6
# The deviation of a predictor that does not vary in training: whatever a prediction brings for it is scaled to nothing,
# since the weights that would read it were never trained. Finite, as JSON has no infinity, and its inverse a normal
# float32.
CONSTANT = 1e30
# Values are read in single precision, in which codes of classes from here on run into each other.
_MOST_CODE = 2**24
# A class of fewer training rows than this says nothing; it is one of the others.
_LEAST_ROWS = 5


@dataclass(frozen=True)
class Predictor:
    """One predictor.

    Attributes
    ----------
    name : str
    units : str or None
        As it was read in training; None for classes.
    log : bool
        Scaled on a logarithmic scale, on which values up to 0 are missing.
    classes : tuple of float, or None
        The codes of a categorical predictor that are known from training.
    meanings : tuple of str, or None
        What each of `classes` means, where the variable said so (CF ``flag_meanings``).
    mean, sd : tuple of float
        Of the training rows: of the values (on the logarithmic scale), or of the column of each class: its share of
        the rows, which stands for a class that is missing or unknown. `sd` of classes is 1.
    gaps : bool
        Was missing (or of a class too rare to be known) in training; then a column of its own says so.
    """

    name: str
    units: str | None = None
    log: bool = False
    classes: tuple[float, ...] | None = None
    meanings: tuple[str, ...] | None = None
    mean: tuple[float, ...] = (0.0,)
    sd: tuple[float, ...] = (1.0,)
    gaps: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it becomes."""
        own = (self.name,) if self.classes is None else tuple(f"{self.name}={code:g}" for code in self.classes)
        return (*own, f"{self.name}=missing") if self.gaps else own

    def known(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where there is a value that says something."""
        if self.classes is not None:
            return np.asarray(np.isin(values, np.asarray(self.classes, values.dtype)))
        there = np.isfinite(values)
        return np.asarray(there & (values > 0)) if self.log else there

    def encode(self, values: Floats, out: Floats) -> None:
        """Fill the columns `out` (..., columns) from the values (...)."""
        known = self.known(values)
        if self.classes is None:
            with np.errstate(all="ignore"):
                scaled = np.log(values) if self.log else values
                scaled = (scaled - np.float32(self.mean[0])) * np.float32(1.0 / self.sd[0])
            out[..., 0] = np.where(known, scaled, np.float32(0.0))
        else:
            for column, (code, share) in enumerate(zip(self.classes, self.mean, strict=True)):
                unknown = np.float32(0.0 if self.gaps else share)
                out[..., column] = np.where(known, values == np.float32(code), unknown)
        if self.gaps:
            out[..., -1] = ~known


@dataclass(frozen=True)
class Inputs:
    """All predictors of a model, in the order of the columns it reads.

    Attributes
    ----------
    predictors : tuple of Predictor
    missing : {"indicator", "nan"}
        What a row with a missing predictor is given: a prediction from the others, or NaN.
    """

    predictors: tuple[Predictor, ...]
    missing: Missing = "indicator"

    @classmethod
    def fit(
        cls,
        predictors: Sequence[Predictor],
        x: NDArray[Any],
        *,
        rows: NDArray[np.bool_] | None = None,
        missing: Missing = "indicator",
    ) -> Inputs:
        """Learn scaling and classes.

        Parameters
        ----------
        predictors : sequence of Predictor
            Name, units, `log`; of categorical ones `classes`: those declared, with their `meanings`, or an empty tuple.
        x : (..., p) array
            Raw values of the training, NaN = missing.
        rows : (...) array of bool, optional
            Those that have a target; the others are not looked at.
        missing : {"indicator", "nan"}

        Raises
        ------
        ArgumentError, UnknownNameError
            A predictor without any value, or an unknown way with missing ones.
        """
        if missing not in MISSING:
            raise UnknownNameError.of("way with missing predictors", missing, MISSING)
        if x.shape[-1] != len(predictors):
            raise ArgumentError(f"values of shape {x.shape} for {len(predictors)} predictors; expected one column each")
        flat = x.reshape(-1, x.shape[-1]) if rows is None else x[rows]
        return cls(
            tuple(_learned(row, flat[:, i].astype(np.float64), missing) for i, row in enumerate(predictors)), missing
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the predictors."""
        return tuple(row.name for row in self.predictors)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a model reads."""
        return tuple(name for row in self.predictors for name in row.columns)

    def encode(self, x: NDArray[Any]) -> Floats:
        """Columns (..., channels), float32, from raw values (..., p).

        A missing value is the training mean (0), a missing or unknown class the shares of the classes, or nothing where
        the column of gaps says so.
        """
        if x.shape[-1] != len(self.predictors):
            raise ArgumentError(
                f"values of shape {tuple(x.shape)}; expected {len(self.predictors)} predictors, as in training"
            )
        values = np.asarray(x, np.float32)
        out = np.empty((*values.shape[:-1], len(self.columns)), np.float32)
        first = 0
        for i, row in enumerate(self.predictors):
            last = first + len(row.columns)
            row.encode(values[..., i], out[..., first:last])
            first = last
        return out

    def complete(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Rows (...) that get a prediction: all predictors known, or (`missing="indicator"`) one of them at least."""
        values = np.asarray(x, np.float32)
        known = np.stack([row.known(values[..., i]) for i, row in enumerate(self.predictors)], axis=-1)
        return np.asarray(known.all(axis=-1) if self.missing == "nan" else known.any(axis=-1))

    def describe(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"predictors": [asdict(row) for row in self.predictors], "missing": self.missing}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Inputs:
        """From what `describe` gave."""
        rows = []
        try:
            for row in description["predictors"]:
                # Early models also say whether a predictor is static, which nobody reads.
                table: dict[str, Any] = {
                    n: tuple(v) if isinstance(v, list) else v for n, v in row.items() if n != "static"
                }
                rows.append(_sound(Predictor(**table)))
            missing = description["missing"]
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ArgumentError(f"the description of the predictors is damaged ({error})") from error
        if not rows or len({row.name for row in rows}) != len(rows):
            raise ArgumentError(f"{len(rows)} predictors of {len({row.name for row in rows})} names: damaged")
        if missing not in MISSING:
            raise UnknownNameError.of("way with missing predictors", missing, MISSING)
        return cls(tuple(rows), missing)


@dataclass(frozen=True)
class Targets:
    """What a model predicts.

    Attributes
    ----------
    names, units : tuple of str
    mean, sd : tuple of float
        Of the training rows, for the scaling inside a model.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def fit(cls, names: Sequence[str], units: Sequence[str], y: NDArray[Any]) -> Targets:
        """Learn the scaling from y (..., targets), NaN = missing."""
        flat = np.asarray(y, np.float64).reshape(-1, len(names))
        means, sds = [], []
        for i, name in enumerate(names):
            values = flat[np.isfinite(flat[:, i]), i]
            if not values.size:
                raise ArgumentError(f"no value of the target {name!r} in training; look at split, masks and nodata")
            means.append(float(values.mean()))
            sd = _spread(values)
            sds.append(1.0 if sd == CONSTANT else sd)
        return cls(tuple(names), tuple(units), tuple(means), tuple(sds))

    def scaled(self, y: NDArray[Any]) -> Floats:
        """Values (..., targets) with mean 0 and deviation 1."""
        scaled = (np.asarray(y, np.float64) - np.asarray(self.mean)) / np.asarray(self.sd)
        return np.asarray(scaled, np.float32)

    def describe(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Targets:
        """From what `describe` gave."""
        try:
            found = cls(**{name: tuple(value) for name, value in description.items()})
            sizes = {len(row) for row in (found.names, found.units, found.mean, found.sd)}
            if sizes != {len(set(found.names))} or not found.names or not _texts(found.names, found.units):
                raise ValueError("names, units, means and deviations that do not go together")
            _require_numbers(found.mean, found.sd)
        except (TypeError, ValueError, AttributeError) as error:
            raise ArgumentError(f"the description of the targets is damaged ({error})") from error
        return found


def _texts(*rows: tuple[Any, ...]) -> bool:
    return all(isinstance(text, str) for row in rows for text in row)


def _require_numbers(mean: tuple[Any, ...], sd: tuple[Any, ...]) -> None:
    """Raise where a scaling is none."""
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in (*mean, *sd)):
        raise ValueError("means or deviations that are no numbers")
    if not np.isfinite(np.array([*mean, *sd], np.float64)).all() or any(value <= 0 for value in sd):
        raise ValueError("means that are not finite, or deviations that are not above 0")


def _sound(row: Predictor) -> Predictor:
    """Raise where the description of a predictor, which a file gave, is none."""
    if not _texts((row.name,), () if row.units is None else (row.units,), row.meanings or ()):
        raise ValueError(f"a predictor named {row.name!r} in {row.units!r}")
    if type(row.log) is not bool or type(row.gaps) is not bool:
        raise ValueError(f"log={row.log!r} and gaps={row.gaps!r}")
    columns = 1 if row.classes is None else len(row.classes)
    if len(row.mean) != columns or len(row.sd) != columns:
        raise ValueError(f"{len(row.mean)} means and {len(row.sd)} deviations of {columns} columns")
    _require_numbers((*row.mean, *(row.classes or ())), row.sd)
    if row.meanings is not None and (row.classes is None or len(row.meanings) != len(row.classes)):
        raise ValueError(f"{len(row.meanings)} meanings of the classes {row.classes}")
    return row


def _spread(values: NDArray[np.float64]) -> float:
    """Deviation; `CONSTANT` where there is none."""
    sd = float(values.std())
    return sd if sd > LEAST_SPREAD * abs(float(values.mean())) and sd > 0 else CONSTANT


def _learned(row: Predictor, values: NDArray[np.float64], missing: Missing) -> Predictor:
    table: dict[str, Any] = asdict(row)
    if row.classes is None:
        known = row.known(values)
        if not known.any():
            raise ArgumentError(f"the predictor {row.name!r} has no value in any row of training; leave it out")
        own = np.log(values[known]) if row.log else values[known]
        table |= {"mean": (float(own.mean()),), "sd": (_spread(own),)}
    else:
        codes, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        if not codes.size:
            raise ArgumentError(f"the predictor {row.name!r} has no class in any row of training; leave it out")
        if (largest := float(np.abs(codes).max())) >= _MOST_CODE:
            raise ArgumentError(
                f"the predictor {row.name!r} has classes with codes up to {largest:.0f}; expected less than "
                f"{_MOST_CODE}, of which single precision tells one from the next: give them numbers from 0 on"
            )
        kept = counts >= _LEAST_ROWS if (counts >= _LEAST_ROWS).any() else counts == counts.max()
        shares = counts[kept] / counts[kept].sum()
        table |= {
            "classes": tuple(codes[kept].tolist()), "mean": tuple(shares.tolist()), "sd": (1.0,) * int(kept.sum()),
        }  # fmt: skip
        if row.meanings is not None:
            words = dict(zip(row.classes, row.meanings, strict=True))
            table["meanings"] = tuple(words.get(code, "") for code in codes[kept].tolist())
        known = np.isin(values, codes[kept])
    return Predictor(**(table | {"gaps": missing == "indicator" and not bool(known.all())}))
