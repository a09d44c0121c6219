"""Variables that readers give and `prepare_forcing` takes, beyond those of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from xsoil.vocabulary import VARIABLES, Conversion, Variable

_CELSIUS = {"degC": Conversion(1.0, 273.15)}
_ROWS = (
    Variable("nitrogen", "g kg-1", "total nitrogen"),
    Variable("organic_carbon_density", "kg m-3", "organic carbon density"),
    Variable("theta_10kpa", "m3 m-3", "water content at -10 kPa"),
    Variable("theta_33kpa", "m3 m-3", "water content at -33 kPa"),
    Variable("theta_1500kpa", "m3 m-3", "water content at -1500 kPa"),
    Variable("shortwave_down", "W m-2", "downward shortwave radiation"),
    Variable("longwave_down", "W m-2", "downward longwave radiation"),
    Variable("shortwave_net", "W m-2", "net shortwave radiation"),
    Variable("longwave_net", "W m-2", "net longwave radiation, downward"),
    Variable("air_temperature_min", "K", "minimum air temperature", None, _CELSIUS),
    Variable("air_temperature_max", "K", "maximum air temperature", None, _CELSIUS),
    Variable("dewpoint_temperature", "K", "dew-point temperature, 2 m", None, _CELSIUS),
    Variable("specific_humidity", "kg kg-1", "specific humidity, 2 m", None, {"1": 1.0, "g kg-1": 1e-3}),
    Variable("relative_humidity", "percent", "mean relative humidity"),
    Variable("relative_humidity_min", "percent", "minimum relative humidity"),
    Variable("relative_humidity_max", "percent", "maximum relative humidity"),
    Variable("surface_pressure", "Pa", "surface pressure", None, {"hPa": 100.0, "kPa": 1000.0}),
    Variable("wind_u", "m s-1", "eastward wind, 10 m"),
    Variable("wind_v", "m s-1", "northward wind, 10 m"),
    Variable("wind_speed", "m s-1", "wind speed, 10 m"),
    Variable("lai_high", "1", "leaf area index, high vegetation"),
    Variable("lai_low", "1", "leaf area index, low vegetation"),
    Variable("ndvi", "1", "normalised difference vegetation index"),
    Variable("lst_day", "K", "land surface temperature, day"),
    Variable("lst_night", "K", "land surface temperature, night"),
)

BEYOND: Mapping[str, Variable] = MappingProxyType({row.name: row for row in _ROWS})
"""By name; none of them is in `xsoil.VARIABLES`."""


def variable_of(name: str) -> Variable:
    """The row of the vocabulary, or of this table."""
    return VARIABLES[name] if name in VARIABLES else BEYOND[name]


def attrs_of(name: str, **more: Any) -> dict[str, Any]:
    """Attributes of a variable, and more."""
    return {**variable_of(name).attrs, **more}
