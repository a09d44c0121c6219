"""Which hydraulic curve a set of parameters belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.verbs._curves import chosen
from xsoil.vocabulary import VARIABLES

__all__ = ["curve_of", "explain"]

# Parameters that have a default: the tortuosity of Mualem (1976).
DEFAULTS: Mapping[str, Mapping[str, float]] = {"van_genuchten": {"l": 0.5}}
# A soil to show where parameters are missing, and what it is.
EXAMPLES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "van_genuchten": (
        "a loam (Carsel & Parrish 1988)",
        {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56, "k_sat": 24.96},
    ),
    "fredlund_xing_wang": (
        "the soil of Qi et al. (2026), Fig. 2",
        {"theta_s": 0.40, "alpha": 0.006, "n": 1.1, "m": 0.66, "k_sat": 100.0},
    ),
    "brooks_corey": (
        "a loam (Clapp & Hornberger 1978, lambda = 1 / b)",
        {"theta_r": 0.0, "theta_s": 0.451, "psi_s": -47.8, "lambda": 0.186, "k_sat": 60.05},
    ),
    "campbell": (
        "a loam (Clapp & Hornberger 1978)",
        {"theta_s": 0.451, "psi_s": -47.8, "b": 5.39, "k_sat": 60.05},
    ),
    "gardner": (
        "the soil of Srivastava & Yeh (1991)",
        {"theta_r": 0.06, "theta_s": 0.40, "alpha": 0.1, "k_sat": 24.0},
    ),
    "haverkamp": (
        "the sand of Haverkamp et al. (1977)",
        {"theta_r": 0.075, "theta_s": 0.287, "a": 1.611e6, "beta": 3.96, "k_sat": 816.0, "k_a": 1.175e6, "gamma": 4.74},
    ),
}


def curve_of(
    curve: str | None, curves: Mapping[str, Sequence[str]], there: Collection[Any]
) -> tuple[str, Mapping[str, float]]:
    """The curve that was asked for, else the one whose parameters are there; and the defaults of its parameters.

    Parameters
    ----------
    curve : str, optional
        Of `curves`, or "clapp_hornberger" for "campbell".
    curves : mapping
        Parameters of each curve.
    there : collection of str
        Names of all variables and keywords.

    Raises
    ------
    UnknownNameError
        No such curve.
    MissingVariableError
        The parameters of no curve are there.
    ArgumentError
        Those of several are; or m beside n for van Genuchten's curve, whose m is 1 - 1/n.
    """
    needed = {name: {*parameters} - {*DEFAULTS.get(name, {})} for name, parameters in curves.items()}
    if curve is None:
        # Gardner's parameters are those of van Genuchten's without n, which may just have been forgotten.
        needed = {name: own for name, own in needed.items() if not any(own < other for other in needed.values())}
    curve = chosen(curve, needed, there) or _nearest(needed, there)
    if curve == "van_genuchten" and "m" in there:
        raise ArgumentError(
            "m is among the parameters, but curve='van_genuchten' takes m = 1 - 1/n (that of Vereecken et al. 1989 is "
            "1); expected another pedotransfer function, or ds.drop_vars('m') where it is 1 - 1/n"
        )
    return curve, DEFAULTS.get(curve, {})


def explain(curve: str, there: Collection[Any], missing: Sequence[str]) -> list[str]:
    """How to give missing parameters of a curve, roots or boundaries."""
    soil, values = EXAMPLES[curve]
    keywords = [(name, f"{values[name]:g}") for name in missing if name in values]
    # `lambda` is a word of Python.
    shown = ", ".join(f"**{{{name!r}: {value}}}" if name == "lambda" else f"{name}={value}" for name, value in keywords)
    hints = []
    if shown:
        hints.append(f"curve={curve!r} needs them: use ds.soil.ptf(...), or keywords, here with {soil}: {shown}")
    if "k_sat" in missing and "k_0" in there:
        hints.append("k_0 is the conductivity at a matching point, which is not k_sat")
    if "lai" in missing:
        hints.append("give lai in the forcing, or as a keyword, a constant or a series: lai=2.0")
    edges = [
        f"{name}=... [{VARIABLES[name].units}]" for name in missing if name.startswith(("top_", "bottom_", "water_"))
    ]
    if edges:
        hints.append(f"give the boundary in the forcing or as a keyword: {', '.join(edges)}")
    return hints


def _nearest(needed: Mapping[str, set[str]], there: Collection[Any]) -> str:
    """The curve that lacks the least; no guess where nothing tells it from others."""
    of_soil = {name for names in needed.values() for name in names} & {*there}
    if not of_soil - {"theta_s", "theta_r", "k_sat"}:
        shown = "; ".join(f"{name}: {', '.join(sorted(names))}" for name, names in needed.items())
        raise MissingVariableError(
            f"no parameters of a hydraulic curve among {sorted(map(str, there))}; expected those of one of {shown}. "
            "ds.soil.ptf('rosetta3') gives those of van_genuchten"
        )
    return min(needed, key=lambda name: len(needed[name] - {*there}) / len(needed[name]))
