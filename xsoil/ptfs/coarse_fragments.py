"""Stones: what the parameters of the fine earth become for the soil with its coarse fragments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xsoil.ptfs._formulas import QUARTZ_DENSITY, Array

__all__ = ["COARSE_FRAGMENTS", "WATER", "Correction"]

WATER = ("theta_s", "theta_r", "theta_fc", "theta_wp")
"""Water contents: stones hold none, so that they shrink by the stones' share of the volume."""


def ravina_magier1984(volume: Array, theta_s: Array, density: Array) -> Array:
    """1 - R_v."""
    return 1 - volume


def peck_watson1979(volume: Array, theta_s: Array, density: Array) -> Array:
    """2 (1 - R_v) / (2 + R_v): spheres that conduct nothing."""
    return 2 * (1 - volume) / (2 + volume)


def bouwer_rice1984(volume: Array, theta_s: Array, density: Array) -> Array:
    """The void ratio of the whole soil over that of the fine earth, whose porosity is theta_s."""
    solid = (1 - theta_s) * (1 - volume)
    return solid / (solid + volume)


def brakensiek1986(volume: Array, theta_s: Array, density: Array) -> Array:
    """1 - R_m: the mass of the fine earth in that of the soil; stones weigh 2.65 g cm-3."""
    fine = density * (1 - volume)
    return fine / (fine + QUARTZ_DENSITY * volume)


@dataclass(frozen=True)
class Correction:
    """A published reduction of conductivity by stones.

    Attributes
    ----------
    factor : callable
        `factor(volume, theta_s, bulk_density)`: conductivity of the soil over that of its fine earth; volume of the
        stones as a fraction, water content at saturation [-] and density [g cm-3] of the fine earth.
    inputs : tuple of str
        What it needs beside the coarse fragments.
    result : str or None
        What it needs of the results of the function.
    """

    factor: Callable[[Any, Any, Any], Any] = field(repr=False)
    reference: str = field(repr=False)
    inputs: tuple[str, ...] = ()
    result: str | None = None


COARSE_FRAGMENTS: Mapping[str, Correction] = {
    "ravina_magier1984": Correction(
        ravina_magier1984,
        "Ravina, I., Magier, J. (1984): Hydraulic conductivity and water retention of clay soils containing coarse "
        "fragments. Soil Science Society of America Journal 48(4), 736-740",
    ),
    "peck_watson1979": Correction(
        peck_watson1979,
        "Peck, A. J., Watson, J. D. (1979): Hydraulic conductivity and flow in non-uniform soil. Workshop on Soil "
        "Physics and Field Heterogeneity, CSIRO Division of Environmental Mechanics, Canberra",
    ),
    "bouwer_rice1984": Correction(
        bouwer_rice1984,
        "Bouwer, H., Rice, R. C. (1984): Hydraulic properties of stony vadose zones. Ground Water 22(6), 696-705",
        result="theta_s",
    ),
    "brakensiek1986": Correction(
        brakensiek1986,
        "Brakensiek, D. L., Rawls, W. J., Stephenson, G. R. (1986): Determining the saturated hydraulic conductivity "
        "of a soil containing rock fragments. Soil Science Society of America Journal 50(3), 834-835",
        inputs=("bulk_density",),
    ),
}
"""Reductions of conductivity by name; water contents shrink by 1 - R_v with all of them."""
