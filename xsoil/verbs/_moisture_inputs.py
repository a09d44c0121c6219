"""Predictors and targets of soil-moisture models in a dataset: names, units, classes; read as in the training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xsoil.choices import as_names
from xsoil.errors import ArgumentError, MissingVariableError, UnitsError
from xsoil.networks.moisture.inputs import Inputs, Predictor
from xsoil.verbs._inputs import decode, flags_of, possible, read
from xsoil.vocabulary import VARIABLES, canonical_units

__all__ = ["is_categorical", "predictor_rows", "read_class", "read_predictors", "read_target"]


def predictor_rows(
    ds: xr.Dataset,
    names: Sequence[str],
    categorical: Sequence[str],
    targets: Sequence[str],
    others: Sequence[str] = (),
) -> list[Predictor]:
    """The predictors of a training, not yet scaled; `others` may be named in `categorical` too.

    Raises
    ------
    MissingVariableError, UnitsError, ArgumentError
        A variable that is not there, has no units, is the target, or is named twice.
    """
    if isinstance(names, str):
        raise ArgumentError(f"predictors={names!r}; expected a list of names, e.g. ['sand', 'clay', 'ndvi']")
    names = as_names("predictors", names)
    for which in (*names, *categorical):
        require_there(ds, which)
    if len(set(names)) < len(names):
        raise ArgumentError(f"predictors {list(names)} name a variable twice")
    if both := sorted(set(names) & set(targets)):
        raise ArgumentError(f"{both} are targets and predictors; expected other predictors")
    if unused := sorted(set(categorical) - {*names, *others}):
        raise ArgumentError(f"categorical {unused} are no predictors, nor in weights; name them there too")
    rows = []
    for name in names:
        if is_categorical(ds[name], categorical):
            words = meanings_of(ds[name])
            rows.append(Predictor(name, classes=tuple(words), meanings=tuple(words.values()) or None))
            continue
        row = VARIABLES.get(name)
        units = row.units if row is not None else _units(ds[name])
        rows.append(Predictor(name, units, log=row is not None and row.log))
    return rows


def is_categorical(array: xr.DataArray, categorical: Sequence[str] = ()) -> bool:
    """Whether the numbers of a variable are classes: it is named so, declares them, or is known to hold them."""
    row = VARIABLES.get(str(array.name))
    return (
        array.name in categorical
        or "flag_values" in array.attrs
        or (row is not None and row.kind != "real")
        or array.dtype.kind == "b"
    )


def read_predictors(ds: xr.Dataset, inputs: Inputs) -> list[xr.DataArray]:
    """The predictors of a model, in its order and units, lazy, without coordinates.

    Raises
    ------
    MissingVariableError, UnitsError
        One is not there, in units that cannot be converted, or of classes that mean something else.
    """
    found = []
    for predictor in inputs.predictors:
        name = predictor.name
        if name not in ds.variables:
            raise MissingVariableError(
                f"no {name!r} among {sorted(map(str, ds.data_vars))}; the model was trained with {list(inputs.names)}: "
                "add it, or use ds.rename(...)"
            )
        if predictor.classes is not None:
            array = read_class(ds, name)
            _require_meanings(ds[name], predictor)
        elif name in VARIABLES:
            array = read(ds, VARIABLES[name])
        else:
            units = _units(ds[name])
            if canonical_units(units) != canonical_units(predictor.units or "1"):
                raise UnitsError(
                    f"{name!r} is in {units!r}; the model was trained with {predictor.units!r}: convert it, and set "
                    "its attrs['units']"
                )
            array = decode(ds[name])
        found.append(xr.DataArray(array.variable))
    return found


def read_class(ds: xr.Dataset, name: str) -> xr.DataArray:
    """Classes as their codes; declared nodata is NaN."""
    require_there(ds, name)
    array = decode(ds[name])
    if array.dtype.kind not in "fiub":
        raise ArgumentError(
            f"{name!r} is {array.dtype}; expected classes as numbers: ds.assign(k=(dims, pd.factorize(values)[0]))"
        )
    return array.astype(np.float32) if array.dtype.kind != "f" else array


def meanings_of(array: xr.DataArray) -> dict[float, str]:
    """What the classes of a variable mean (``flag_values`` and ``flag_meanings``); empty where it does not say so."""
    values, words = flags_of(array.attrs.get("flag_values", ())), array.attrs.get("flag_meanings", "")
    found = words.split() if isinstance(words, str) else [str(word) for word in words]
    if values.dtype.kind not in "iuf" or len(values) != len(found):
        return {}
    return dict(zip(values.astype(float).tolist(), found, strict=True))


def _require_meanings(array: xr.DataArray, predictor: Predictor) -> None:
    """Raise where a class that the model knows means something else here."""
    here, known = meanings_of(array), dict(zip(predictor.classes or (), predictor.meanings or (), strict=False))
    for code, word in known.items():
        if word and code in here and here[code].casefold() != word.casefold():
            raise UnitsError(
                f"class {code:g} of {predictor.name!r} is {here[code]!r} here and was {word!r} in training; bring the "
                f"classes to those of the training, {known}, or, if only the words differ, set attrs['flag_meanings'] "
                "to its words"
            )


def read_target(ds: xr.Dataset, name: str) -> tuple[xr.DataArray, str]:
    """A target in its canonical units, with them; lazy. What is physically impossible is missing."""
    require_there(ds, name)
    row = VARIABLES.get(name)
    if row is not None and row.kind == "real":
        return possible(read(ds, row), row), row.units
    units = _units(ds[name])
    return decode(ds[name]), units


def require_there(ds: xr.Dataset, name: str) -> None:
    """Raise where there is no such variable."""
    if name not in ds.variables:
        raise MissingVariableError(f"no {name!r} among {sorted(map(str, ds.data_vars))}; use ds.rename(...)")


def _units(array: xr.DataArray) -> str:
    units = array.attrs.get("units")
    if units is None or not str(units).strip():
        raise UnitsError(
            f"{array.name!r} has no units; a model keeps those of its training: "
            f"ds[{array.name!r}].attrs['units'] = ... ('1' for a number without), or categorical=[{array.name!r}] for "
            "classes"
        )
    return str(units)
