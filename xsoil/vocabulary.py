"""Every variable of xsoil: name, units, accepted units with their factors, range, CF name.

A unit is accepted in any usual spelling: `canonical_units` brings "kg/m^2/s", "kg m**-2 s**-1" and
"kg m-2 s-1" to one form, and the table below is written in that form. A new unit is one more
factor in a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from xsoil.errors import UnitsError

__all__ = ["VARIABLES", "Conversion", "Variable", "canonical_units"]

KPA_IN_CM = 10.19716
"""Centimetres of water column in one kilopascal."""

_SYMBOLS = {
    "day": "d", "days": "d", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "sec": "s", "secs": "s",
    "second": "s", "seconds": "s", "minute": "min", "minutes": "min", "metre": "m", "metres": "m",
    "meter": "m", "meters": "m", "millimetre": "mm", "millimetres": "mm", "millimeter": "mm",
    "millimeters": "mm", "centimetre": "cm", "centimetres": "cm", "centimeter": "cm",
    "centimeters": "cm", "in": "inch", "inches": "inch", "gram": "g", "grams": "g", "kilogram": "kg",
    "kilograms": "kg", "tonne": "t", "tonnes": "t", "Mg": "t", "celsius": "degC", "Celsius": "degC",
    "degree_Celsius": "degC", "degrees_Celsius": "degC", "deg_C": "degC", "C": "degC", "°C": "degC",
    "kelvin": "K", "Kelvin": "K", "degK": "K", "kpa": "kPa", "hpa": "hPa", "µm": "um", "μm": "um",
    "micrometre": "um", "mbar": "hPa", "pct": "percent", "%": "percent", "permille": "permille",
    "‰": "permille",
}  # fmt: skip
_WHOLE = {
    "-": "1", "fraction": "1", "dimensionless": "1", "unitless": "1", "none": "1", "frac": "1",
    "percentage": "percent", "wt%": "percent", "wt %": "percent", "mass%": "percent", "mass %": "percent",
    "weight %": "percent", "percent by weight": "percent", "percent by mass": "percent", "ph units": "pH",
    "g/100 g": "100g-1 g", "meq/100 g": "100g-1 meq", "m of water equivalent": "m", "mm/24h": "d-1 mm",
    "percent": "percent", "% vol": "percent", "vol%": "percent", "vol %": "percent",
    "% (w/w)": "percent", "per mille": "permille", "per mil": "permille", "vol per mille": "permille",
    "ph": "pH", "ph*10": "pH*10", "phx10": "pH*10", "ph x 10": "pH*10", "ph * 10": "pH*10",
    "cm3/dm3 (vol per mille)": "permille", "cm3/dm3 (vol ‰)": "permille", "cm3/dm3 (vol‰)": "permille",
    "g/kg (‰)": "permille",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@lru_cache(maxsize=1024)
def canonical_units(text: str) -> str:
    """Return one spelling of a unit: symbols with exponents, separated by blanks.

    Parameters
    ----------
    text : str
        Units as files write them: ``%``, ``m**3 m**-3``, ``mm/day``, ``kg/m^2/s``, ``cg/cm³``.

    Returns
    -------
    str
        ``percent``, ``m-3 m3``, ``d-1 mm``, ``kg m-2 s-1``, ``cg cm-3``: sorted, so that the order in
        which a file writes its factors does not matter. Unknown symbols are kept as they are.
    """
    plain = " ".join(text.translate(_SUPERSCRIPTS).replace("**", "^").split())
    if (whole := _WHOLE.get(plain.lower())) is not None:
        return whole
    plain = re.sub(r"\((?:c|\+|-)\)|\+", "", plain)  # cmol(c)/kg, cmol(+)/kg, cmol+ kg-1
    plain = re.sub(r"\bper\b", "/", plain)
    plain = re.sub(r"\s*/\s*", "/", plain)
    tokens: list[tuple[str, int]] = []
    for position, part in enumerate(plain.split("/")):
        sign = 1 if position == 0 else -1
        for factor in re.split(r"[\s.*·]+", part.strip(" ()")):
            if factor in ("", "1"):
                continue
            match = re.fullmatch(r"(100)?(%|‰|[^\W\d]+|°C)(?:\^?\(?(-?\d+)\)?)?", factor)
            if match is None:
                return plain  # not a product of powers: compared as it stands
            hundred, symbol, exponent = match.groups()
            name = (hundred or "") + _SYMBOLS.get(symbol, symbol)
            tokens.append((name, sign * int(exponent or 1)))
    if not tokens:
        return "1" if plain.strip("()/ ") == "1" else plain
    return " ".join(f"{name}{'' if power == 1 else power}" for name, power in sorted(tokens))


@dataclass(frozen=True)
class Conversion:
    """canonical = value * factor + offset."""

    factor: float
    offset: float = 0.0


@dataclass(frozen=True)
class Variable:
    """One quantity.

    Attributes
    ----------
    name, units, long_name, standard_name
        As written into results; `standard_name` is None where CF has none.
    accepts : mapping of str to float or Conversion
        Factor from each other accepted unit to `units`.
    low, high : float
        Physically possible range in `units` (inclusive); values outside are value faults.
    log : bool
        Learned and drawn on a logarithmic scale.
    how : str
        Operator of `upscale(how="default")`.
    kind : {"real", "class", "flag"}
        Classes and flags have no units and are never averaged.
    """

    name: str
    units: str
    long_name: str
    standard_name: str | None = None
    accepts: Mapping[str, float | Conversion] = field(default_factory=dict)
    low: float = -float("inf")
    high: float = float("inf")
    log: bool = False
    how: str = "mean"
    kind: Literal["real", "class", "flag"] = "real"

    def conversion(self, units: str | None) -> Conversion | None:
        """How to come from `units` to the canonical ones; None where that is not known."""
        if units is None or not units.strip():
            return Conversion(1.0) if self.kind != "real" else None
        return _conversions(self).get(canonical_units(units))

    def require(self, units: object, what: str, place: str) -> Conversion:
        """How to come from `units`, as an attribute gives them, to the canonical ones.

        Parameters
        ----------
        units : str, bytes or None
        what : str
            What has the units, for the message.
        place : str
            How the user's code names it: ``ds['sand']``.

        Raises
        ------
        UnitsError
            No units, or unknown ones.
        """
        if isinstance(units, bytes):
            units = units.decode(errors="replace")
        conversion = self.conversion(None if units is None else str(units))
        if conversion is None:
            found = f"units {units!r}" if units else "no units"
            raise UnitsError(
                f"{what} has {found}; expected {self.units!r} or one of {sorted(self.accepts)}. "
                f"If it really is in {self.units!r}: {place}.attrs['units'] = {self.units!r}"
            )
        return conversion

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of a result: units, long_name and, where CF has one, standard_name."""
        attrs = {"units": self.units, "long_name": self.long_name}
        if self.standard_name:
            attrs["standard_name"] = self.standard_name
        return attrs

    def __hash__(self) -> int:
        return hash(self.name)


@lru_cache(maxsize=256)
def _conversions(variable: Variable) -> dict[str, Conversion]:
    table = {canonical_units(variable.units): Conversion(1.0)}
    for unit, factor in variable.accepts.items():
        conversion = factor if isinstance(factor, Conversion) else Conversion(factor)
        table[canonical_units(unit)] = conversion
    return table


_MASS_PERCENT = {"1": 100.0, "kg kg-1": 100.0, "g g-1": 100.0, "g kg-1": 0.1, "g 100g-1": 1.0, "permille": 0.1}
_VOLUME_PERCENT = {
    "1": 100.0, "m3 m-3": 100.0, "cm3 cm-3": 100.0, "cm3 dm-3": 0.1, "cm3 100cm-3": 1.0, "permille": 0.1,
}  # fmt: skip
_WATER = {"1": 1.0, "percent": 0.01, "cm3 cm-3": 1.0, "mm3 mm-3": 1.0, "mm mm-1": 1.0, "m m-1": 1.0, "cm cm-1": 1.0}
_CONDUCTIVITY = {
    "m d-1": 100.0, "mm d-1": 0.1, "cm h-1": 24.0, "mm h-1": 2.4, "m s-1": 8.64e6, "mm s-1": 8640.0,
    "um s-1": 8.64, "cm s-1": 86400.0, "cm min-1": 1440.0, "inch h-1": 60.96, "m h-1": 2400.0,
}  # fmt: skip
_HEAD = {
    "m": 100.0, "mm": 0.1, "kPa": KPA_IN_CM, "hPa": KPA_IN_CM / 10, "Pa": KPA_IN_CM / 1000, "MPa": KPA_IN_CM * 1000,
}  # fmt: skip
_PER_HEAD = {
    "m-1": 0.01, "mm-1": 10.0, "kPa-1": 1 / KPA_IN_CM, "hPa-1": 10 / KPA_IN_CM, "Pa-1": 1000 / KPA_IN_CM,
    "MPa-1": 0.001 / KPA_IN_CM,
}  # fmt: skip
_DEPTH_OF_WATER = {"m": 1000.0, "cm": 10.0, "kg m-2": 1.0, "inch": 25.4}
_WATER_PER_DAY = {  # an amount without a time ("mm") is that of the time step, which is a day
    "mm": 1.0, "cm": 10.0, "m": 1000.0, "kg m-2": 1.0, "kg m-2 d-1": 1.0, "kg m-2 s-1": 86400.0,
    "kg m-2 h-1": 24.0, "mm s-1": 86400.0, "mm h-1": 24.0, "cm d-1": 10.0, "m d-1": 1000.0,
    "m s-1": 8.64e7, "inch d-1": 25.4,
}  # fmt: skip
_CF_WATER = "volume_fraction_of_condensed_water_in_soil"
_LENGTH_M = {"cm": 0.01, "mm": 0.001}


def _texture(name: str, limits: str) -> Variable:
    return Variable(name, "percent", f"{name} content ({limits}), mass of fine earth", None, _MASS_PERCENT, 0.0, 100.0)


def _theta(name: str, long_name: str, standard_name: str | None = None) -> Variable:
    return Variable(name, "m3 m-3", long_name, standard_name, _WATER, 0.0, 1.0)


def _flux(name: str, long_name: str, standard_name: str | None = None) -> Variable:
    return Variable(name, "mm d-1", long_name, standard_name, _WATER_PER_DAY, 0.0)


_ROWS = (
    _texture("sand", "50-2000 um"),
    _texture("silt", "2-50 um"),
    _texture("clay", "< 2 um"),
    Variable(
        "bulk_density", "g cm-3", "dry bulk density of the fine earth", None,
        {"kg m-3": 1e-3, "cg cm-3": 0.01, "kg dm-3": 1.0, "t m-3": 1.0, "g dm-3": 1e-3, "kg L-1": 1.0}, 0.0, 3.0,
    ),
    Variable(
        "organic_carbon", "percent", "organic carbon content, mass of fine earth", None,
        _MASS_PERCENT | {"dg kg-1": 0.01, "mg kg-1": 1e-4}, 0.0, 100.0,
    ),
    Variable("ph", "1", "soil pH in water", None, {"pH": 1.0, "pH*10": 0.1}, 0.0, 14.0),
    Variable(
        "cec", "cmol kg-1", "cation exchange capacity", None,
        {"mmol kg-1": 0.1, "meq 100g-1": 1.0, "mol kg-1": 100.0, "cmolc kg-1": 1.0, "mmolc kg-1": 0.1}, 0.0,
    ),
    Variable("coarse_fragments", "percent", "coarse fragments (> 2 mm), volume", None, _VOLUME_PERCENT, 0.0, 100.0),
    Variable(
        "peat_class", "1", "decomposition of peat (1 fibric, 2 hemic, 3 sapric)", kind="class", low=1.0, high=3.0,
        how="mode",
    ),
    Variable("topsoil", "1", "topsoil (1) or subsoil (0)", kind="flag", low=0.0, high=1.0, how="mode"),
    _theta("theta_s", "saturated water content", "soil_porosity"),
    _theta("theta_r", "residual water content"),
    _theta("theta_fc", "water content at field capacity", f"{_CF_WATER}_at_field_capacity"),
    _theta("theta_wp", "water content at wilting point", f"{_CF_WATER}_at_wilting_point"),
    _theta("theta", "volumetric soil moisture", _CF_WATER),
    _theta("soil_moisture", "observed volumetric soil moisture", _CF_WATER),
    Variable("theta_obs", "m3 m-3", "simulated volumetric soil moisture as observed (A theta + B)", None, _WATER),
    Variable(
        "k_sat", "cm d-1", "saturated hydraulic conductivity", "soil_hydraulic_conductivity_at_saturation",
        _CONDUCTIVITY, 0.0, log=True, how="geometric",
    ),
    Variable(
        "k_0", "cm d-1", "hydraulic conductivity at the matching point (not at saturation)", None,
        _CONDUCTIVITY, 0.0, log=True, how="geometric",
    ),
    Variable("alpha", "cm-1", "van Genuchten alpha", None, _PER_HEAD, 0.0, log=True),
    Variable("n", "1", "van Genuchten n", low=0.0),
    Variable("m", "1", "van Genuchten m", low=0.0),
    Variable("l", "1", "Mualem tortuosity parameter l"),
    Variable("b", "1", "Campbell / Clapp-Hornberger exponent b", low=0.0),
    Variable("lambda", "1", "Brooks-Corey pore-size index lambda", low=0.0),
    Variable("psi_s", "cm", "air-entry pressure head", None, _HEAD, high=0.0),
    Variable("h", "cm", "pressure head", None, _HEAD),
    Variable("a", "1", "Haverkamp's a of the retention curve, for heads in cm", low=0.0, log=True),
    Variable("beta", "1", "Haverkamp's exponent of the retention curve", low=0.0),
    Variable("k_a", "1", "Haverkamp's A of the conductivity, for heads in cm", low=0.0, log=True),
    Variable("gamma", "1", "Haverkamp's exponent of the conductivity", low=0.0),
    Variable("h50", "cm", "pressure head of half the potential root uptake", None, _HEAD, high=0.0),
    Variable("h1", "cm", "pressure head above which roots take up nothing", None, _HEAD, high=0.0),
    Variable("h2", "cm", "pressure head below which roots have air enough", None, _HEAD, high=0.0),
    Variable("h3_high", "cm", "pressure head where dry stress begins, high demand", None, _HEAD, high=0.0),
    Variable("h3_low", "cm", "pressure head where dry stress begins, low demand", None, _HEAD, high=0.0),
    Variable("h4", "cm", "pressure head below which roots take up nothing", None, _HEAD, high=0.0),
    Variable("root_depth", "m", "root depth", "root_depth", _LENGTH_M, 0.0),
    Variable("crop_coefficient", "1", "crop coefficient", low=0.0),
    Variable("depletion_fraction", "1", "depletion fraction without water stress", low=0.0, high=1.0),
    _flux("precipitation", "precipitation", "lwe_precipitation_rate"),
    _flux("pet", "potential evapotranspiration", "water_potential_evapotranspiration_flux"),
    _flux("actual_et", "actual evapotranspiration", "lwe_water_evapotranspiration_rate"),
    _flux("runoff", "surface runoff"),
    _flux("drainage", "drainage below the root zone"),
    _flux("irrigation", "irrigation"),
    _flux("capillary_rise", "capillary rise into the root zone"),
    Variable(
        "root_zone_exchange", "mm d-1", "water of soil that joins or (< 0) leaves the root zone as its depth changes",
        None, _WATER_PER_DAY,
    ),
    Variable("degree_day_factor", "mm degC-1 d-1", "snow melt per degree-day", None, {"mm K-1 d-1": 1.0}, 0.0),
    Variable("snow", "mm", "snow water equivalent", "lwe_thickness_of_surface_snow_amount", _DEPTH_OF_WATER, 0.0),
    Variable("frozen", "1", "frozen or snow-covered ground", kind="flag", how="mode"),
    Variable("lai", "1", "leaf area index", "leaf_area_index", {"m2 m-2": 1.0}, 0.0),
    Variable("top_flux", "mm d-1", "flux into the soil through its surface", None, _WATER_PER_DAY),
    Variable("top_head", "cm", "pressure head at the surface", None, _HEAD),
    Variable("bottom_head", "cm", "pressure head at the bottom of the column", None, _HEAD),
    Variable("water_table_depth", "m", "depth of the water table below the surface", "water_table_depth", _LENGTH_M),
    Variable("inflow", "mm d-1", "flux into the soil through its surface, less what comes out", None, _WATER_PER_DAY),
    _flux("uptake", "water uptake by roots"),
    Variable("balance", "mm", "storage less all that came and went since the start", None, _DEPTH_OF_WATER),
    Variable("steps", "1", "time steps of the day", low=0.0),
    Variable("iterations", "1", "iterations of the day", low=0.0),
    Variable("next_step", "d", "time step to go on with", None, {"h": 1 / 24, "s": 1 / 86400}, 0.0),
    Variable("storage", "mm", "soil water storage of the root zone", None, _DEPTH_OF_WATER, 0.0),
    Variable("obs_scale", "1", "scale A of the observation operator A theta + B"),
    Variable("obs_bias", "m3 m-3", "bias B of the observation operator A theta + B", None, {"1": 1.0}),
    Variable("texture_class", "1", "USDA texture class", kind="class", how="mode"),
    Variable("air_temperature", "K", "air temperature", "air_temperature", {"degC": Conversion(1.0, 273.15)}, 0.0),
    Variable("soil_temperature", "K", "soil temperature", "soil_temperature", {"degC": Conversion(1.0, 273.15)}, 0.0),
    Variable("depth", "m", "depth below the surface", "depth", _LENGTH_M, 0.0),
)  # fmt: skip

VARIABLES: Mapping[str, Variable] = MappingProxyType({row.name: row for row in _ROWS})
"""All variables by name."""
