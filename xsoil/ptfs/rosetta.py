"""Rosetta 1 (Schaap et al. 2001) and Rosetta 3 (Zhang & Schaap 2017): ensembles of small neural networks.

The weights are those of the installed package rosetta-soil, which is also the reference; the evaluation is our own
(`xsoil.kernels.rosetta`), because the package keeps every bootstrap member of every soil: 56 kB per cell. Here the
memory beside inputs and results is that of a few blocks of 8192 cells (about 2 MB per thread), whatever the raster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.ptfs.ptf import PTF, variables
from xsoil.vocabulary import Variable

__all__ = ["ROSETTA_1", "ROSETTA_3", "rosetta"]

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Estimate = Literal["geometric", "arithmetic"]
Precision = Literal["auto", "single", "mixed", "double"]
# Of the sums over the inputs and of the rest.
_DTYPES: dict[Precision, tuple[Any, Any]] = {
    "single": (np.float32, np.float32),
    "mixed": (np.float64, np.float32),
    "double": (np.float64, np.float64),
}


@dataclass(frozen=True)
class _Ensemble:
    """Networks of one model with every scaling folded into the weights, as the kernel wants them."""

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats
    span: Doubles
    top: Doubles

    def evaluate(
        self, inputs: Floats, power: Iterable[bool], arithmetic: bool, deviate: bool
    ) -> tuple[Doubles, Doubles]:
        from xsoil.kernels import rosetta as kernels  # numba loads on first use

        x = inputs.astype(self.w1.dtype, copy=False)
        mean, deviation = kernels.ensemble(
            x, self.w1, self.b1, self.w2, self.b2, self.span, self.top, np.array(list(power)), arithmetic, deviate
        )
        return mean, deviation


@lru_cache(maxsize=32)
def _ensemble(name: str, precision: Precision) -> _Ensemble:
    from rosetta.nn_model import NNModel

    model = NNModel.from_npz_resource(name, validate_network=False)
    w1, w2 = (np.stack([member[layer] for member in model.weights]).astype(float) for layer in (0, 1))
    b1, b2 = (np.stack([np.ravel(member[layer]) for member in model.biases]).astype(float) for layer in (0, 1))
    slope, shift = np.array([_affine(row) for row in model.inputs]).T
    b1 = b1 + w1 @ shift
    w1 = w1 * slope
    # sigmoid(z) = 1/2 + tanh(z/2)/2
    if model.layers[0]["activate"] == "sigmoid":
        w1, b1, b2, w2 = w1 / 2, b1 / 2, b2 + w2.sum(axis=2) / 2, w2 / 2
    if w1.shape[2] == 5:
        w1 = np.pad(w1, ((0, 0), (0, 0), (0, 1)))
    # The output layers are all sigmoids: shift + slope / (1 + e^-z), which is top - span / (1 + 2^(z log2(e))) with the
    # sign of z turned where the slope is negative, so that the largest values are the most exact.
    slope, shift = np.array([_affine(row) for row in model.outputs]).T
    turn = np.sign(slope) / np.log(2)
    w2, b2 = w2 * turn[:, None], b2 * turn
    types = _DTYPES[precision]
    w1, b1 = (np.ascontiguousarray(a, dtype=types[0]) for a in (w1, b1))
    w2, b2 = (np.ascontiguousarray(a, dtype=types[1]) for a in (w2, b2))
    return _Ensemble(w1, b1, w2, b2, np.abs(slope), shift + np.maximum(slope, 0))


def _affine(scaling: dict[str, Any]) -> tuple[float, float]:
    """Slope and intercept of one of the package's scalings ("logtr" is that of the logarithm)."""
    p = [float(v) for v in scaling["params"]]
    return {
        "minmax": lambda: (p[1], p[2] - p[0] * p[1]),
        "linear": lambda: (p[0], p[1]),
        "affine": lambda: (p[0], p[0] * p[1]),
        "division": lambda: (1 / p[0], 0.0),
        "logtr": lambda: (1 / p[0], p[1]),
    }[scaling["scale"]]()


def rosetta(
    *inputs: ArrayLike,
    version: Literal[1, 3] = 3,
    estimate: Estimate = "geometric",
    std: bool = False,
    unsaturated: bool = False,
    precision: Precision = "auto",
) -> tuple[Any, ...]:
    """Van Genuchten parameters by Rosetta.

    Parameters
    ----------
    *inputs : array_like
        `sand`, `silt`, `clay` [percent], then as many as the model takes of `bulk_density` [g cm-3], the water
        contents at -33 kPa and at -1500 kPa [m3 m-3]: 3, 4, 5 or 6 arrays of one shape for model 2, 3, 4, 5.
    version : {3, 1}
    estimate : {"geometric", "arithmetic"}
        Mean over the bootstrap members of alpha, n, k_sat and k_0: of their logarithms (as published; the package's
        "geo") or of the values (the package's "arith"). The other parameters have arithmetic means.
    std : bool
        Standard deviations (n - 1) of the values over the members as well.
    unsaturated : bool
        Also k_0 and l of Schaap & Leij (2000), which go together: l does not belong to k_sat.
    precision : {"auto", "single", "mixed", "double"}
        Of the calculation, whatever the type of the inputs. "double" is within 1e-10 of the package; "mixed" (sums over
        the inputs double, the rest single) is 2.5 times as fast and, for Rosetta 3, within 1e-5 also for arithmetic
        means, and within 2e-5 for standard deviations, where few members weigh most; "single" is nearly three times as
        fast and within 1e-5 for the geometric estimates of Rosetta 3, but only within 1e-4 for the others. "auto" takes
        "single" for those, "mixed" for the others, and "double" for Rosetta 1, whose 60 or 100 members cost little.

    Returns
    -------
    tuple of ndarray
        theta_r, theta_s [m3 m-3], alpha [cm-1], n [1], k_sat [cm d-1] (, k_0 [cm d-1], l [1]), then with `std` as many
        standard deviations, of the type of the inputs. NaN as in the package where the texture sums to less than
        99 or more than 101, has a negative fraction, where the bulk density is outside 0.5 to 2, or where
        0 < theta(-1500 kPa) < theta(-33 kPa) < 1 does not hold.
    """
    arrays = [np.asarray(a) for a in inputs]
    dtype = np.result_type(np.float32, *(a for a in arrays if a.dtype.kind == "f"))
    shape = arrays[0].shape
    valid = np.flatnonzero(_valid(*(a.reshape(-1).astype(float, copy=False) for a in arrays)))
    if precision == "auto":
        if version == 1:
            precision = "double"
        else:
            precision = "single" if estimate == "geometric" and not std else "mixed"
    x = np.stack([a.reshape(-1)[valid] for a in arrays])
    found = [_retention(x, f"rose{version}_mod{len(arrays) - 1}", precision, estimate, std)]
    if unsaturated:
        found.append(_unsaturated(found[0][0], estimate, std))
    rows = [row for part in range(2 if std else 1) for results in found for row in results[part]]
    out = np.full((len(rows), arrays[0].size), np.nan, dtype)
    for target, row in zip(out, rows, strict=True):
        target[valid] = row
    return tuple(target.reshape(shape) for target in out)


def _valid(
    sand: Doubles,
    silt: Doubles,
    clay: Doubles,
    density: Doubles | None = None,
    th33: Doubles | None = None,
    th1500: Doubles | None = None,
) -> NDArray[np.bool_]:
    total = sand + silt + clay
    valid = (total >= 99) & (total <= 101) & (sand >= 0) & (silt >= 0) & (clay >= 0)
    if density is not None:
        valid &= (density >= 0.5) & (density <= 2)
    if th33 is not None:
        valid &= (th33 > 0) & (th33 < 1)
    if th33 is not None and th1500 is not None:
        valid &= (th1500 > 0) & (th1500 < th33)
    return valid


def _retention(x: Floats, model: str, precision: Precision, estimate: Estimate, std: bool) -> tuple[Doubles, Doubles]:
    """Estimates and standard deviations (or an array without rows) of theta_r, theta_s, alpha, n, k_sat."""
    if model.startswith("rose3"):
        return _estimate(_ensemble(f"{model}_0", precision), x, (False, False, True, True, True), estimate, std)
    curve = _estimate(_ensemble(f"{model}_0", precision), x, (False, False, True, True), estimate, std)
    k_sat = _estimate(_ensemble(f"{model}_1", precision), x, (True,), estimate, std)
    return np.concatenate([curve[0], k_sat[0]]), np.concatenate([curve[1], k_sat[1]])


def _unsaturated(curve: Doubles, estimate: Estimate, std: bool) -> tuple[Doubles, Doubles]:
    """k_0 and l of the estimated curve. In double precision: 100 members, and inputs that are results already."""
    theta_r, theta_s, alpha, n = curve[:4]
    valid = (theta_r >= 0) & (theta_r < theta_s) & (theta_s < 1) & (alpha > 0) & (n > 1)
    x = np.stack([theta_r, theta_s, np.log10(alpha), np.log10(n)])
    value, deviation = _estimate(_ensemble("rose1_unsat_k", "double"), x, (True, False), estimate, std)
    for results in (value, deviation) if std else (value,):
        results[:, ~valid] = np.nan
    return value, deviation


def _estimate(
    networks: _Ensemble, x: Floats, power: tuple[bool, ...], estimate: Estimate, std: bool
) -> tuple[Doubles, Doubles]:
    mean, deviation = networks.evaluate(x, power, estimate == "arithmetic", std)
    if estimate == "geometric":
        logged = np.array(power)
        mean[logged] = 10.0 ** mean[logged]
    return mean, deviation


_TEXTURE = variables("sand", "silt", "clay")
_MORE = variables("bulk_density", "theta_fc", "theta_wp")
_CURVE = variables("theta_r", "theta_s", "alpha", "n", "k_sat")
_UNSATURATED = variables("k_0", "l")


def _std(variable: Variable) -> Variable:
    return Variable(f"{variable.name}_std", variable.units, f"standard deviation of {variable.long_name} (bootstrap)")


def _resolve(entry: PTF, available: frozenset[str]) -> PTF:
    options = dict(entry.options)
    model = options.pop("model")
    if model == "largest":
        model = 2
        for variable in _MORE:
            if variable.name not in available:
                break
            model += 1
    outputs = _CURVE + (_UNSATURATED if options["unsaturated"] else ())
    if options["std"]:
        outputs += tuple(_std(variable) for variable in outputs)
    return replace(
        entry,
        function=partial(rosetta, version=_VERSIONS[entry.name], **options),
        inputs=_TEXTURE + _MORE[: model - 2],
        outputs=outputs,
        optional=(),
        resolver=None,
    )


_VERSIONS: dict[str, Literal[1, 3]] = {"rosetta1": 1, "rosetta3": 3}


def _entry(name: str, title: str, reference: str, doi: str) -> PTF:
    return PTF(
        name,
        partial(rosetta, version=_VERSIONS[name]),
        inputs=_TEXTURE,
        optional=_MORE,
        outputs=_CURVE,
        title=title,
        reference=reference,
        doi=doi,
        curve="van_genuchten",
        validity={"bulk_density": (0.5, 2.0)},
        options={
            "estimate": "geometric", "model": "largest", "std": False, "unsaturated": False, "precision": "auto",
        },
        choices={
            "estimate": ("geometric", "arithmetic"),
            "model": ("largest", 2, 3, 4, 5),
            "std": (False, True),
            "unsaturated": (False, True),
            "precision": ("auto", "single", "mixed", "double"),
        },
        resolver=_resolve,
    )  # fmt: skip


ROSETTA_1 = _entry(
    "rosetta1",
    "Rosetta 1, neural networks (60 and 100 members); theta_fc is taken at -33 kPa, theta_wp at -1500 kPa",
    "Schaap, M. G., Leij, F. J., van Genuchten, M. Th. (2001): ROSETTA: a computer program for estimating soil "
    "hydraulic parameters with hierarchical pedotransfer functions. Journal of Hydrology 251(3-4), 163-176",
    "10.1016/S0022-1694(01)00466-8",
)
ROSETTA_3 = _entry(
    "rosetta3",
    "Rosetta 3, neural networks (1000 members); theta_fc is taken at -33 kPa, theta_wp at -1500 kPa",
    "Zhang, Y., Schaap, M. G. (2017): Weighted recalibration of the Rosetta pedotransfer model with improved estimates "
    "of hydraulic parameter distributions and summary statistics (Rosetta3). Journal of Hydrology 547, 39-53",
    "10.1016/j.jhydrol.2017.01.004",
)
