"""Units: every spelling and every factor that real files carry."""

from __future__ import annotations

import pytest

from xsoil.vocabulary import VARIABLES, canonical_units


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (["%", "percent", "pct", "percentage"], "percent"),
        (["m3 m-3", "m**3 m**-3", "m3/m3", "m^3/m^3", "m³ m⁻³", "m^3 m^-3", "m-3 m3"], "m-3 m3"),
        (["mm/day", "mm d-1", "mm d**-1", "mm/d", "mm day-1", "millimeters per day"], "d-1 mm"),
        (["kg m-2 s-1", "kg/m2/s", "kg m**-2 s**-1", "kg/m^2/s", "s-1 kg m-2"], "kg m-2 s-1"),
        (["-", "1", "fraction", "dimensionless"], "1"),
        (["cg/cm³", "cg cm-3", "cg/cm3"], "cg cm-3"),
        (["mmol(c)/kg", "mmol kg-1"], "kg-1 mmol"),
        (["degC", "°C", "Celsius", "degree_Celsius"], "degC"),
        (["mm/hr", "mm h-1", "mm per hour", "mm/hour"], "h-1 mm"),
    ],
)
def test_spellings(spellings, canonical):
    assert {canonical_units(text) for text in spellings} == {canonical}


@pytest.mark.parametrize(
    "text", ["", "furlongs per fortnight", "log(cm)", "W m-2", "kg/m2/", "m^", "%%%", "(", "1e3 kg"]
)
def test_any_text_is_read_without_an_error(text):
    assert isinstance(canonical_units(text), str)
    assert VARIABLES["sand"].conversion(text) is None


@pytest.mark.parametrize(
    ("name", "units", "factor"),
    [
        ("sand", "g/kg", 0.1),
        ("clay", "fraction", 100.0),
        ("silt", "kg kg-1", 100.0),
        ("bulk_density", "cg/cm3", 0.01),
        ("bulk_density", "kg m-3", 0.001),
        ("organic_carbon", "dg/kg", 0.01),
        ("organic_carbon", "g/kg", 0.1),
        ("ph", "pH*10", 0.1),
        ("cec", "mmol(c)/kg", 0.1),
        ("coarse_fragments", "cm3/dm3 (vol ‰)", 0.1),
        ("precipitation", "mm", 1.0),
        ("precipitation", "m", 1000.0),
        ("precipitation", "kg m-2", 1.0),
        ("precipitation", "kg m-2 s-1", 86400.0),
        ("pet", "mm/hr", 24.0),
        ("k_sat", "cm/h", 24.0),
        ("k_sat", "mm/h", 2.4),
        ("k_sat", "m/s", 8.64e6),
        ("k_sat", "m/d", 100.0),
        ("k_sat", "inch/h", 60.96),
        ("theta", "%", 0.01),
        ("alpha", "1/kPa", 1 / 10.19716),
        ("psi_s", "kPa", 10.19716),
        ("root_depth", "cm", 0.01),
        ("storage", "kg m-2", 1.0),
    ],
)
def test_factors(name, units, factor):
    conversion = VARIABLES[name].conversion(units)
    assert conversion is not None
    assert conversion.factor == pytest.approx(factor, rel=1e-12)
    assert conversion.offset == 0


def test_temperature_has_an_offset():
    conversion = VARIABLES["air_temperature"].conversion("degC")
    assert (conversion.factor, conversion.offset) == (1.0, 273.15)


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda v: v.name)
def test_every_row_reads_its_own_units_and_no_others(variable):
    assert variable.conversion(variable.units).factor == 1.0
    assert variable.low < variable.high
    assert variable.conversion("furlong") is None
    if variable.kind == "real":
        assert variable.conversion(None) is None
        assert variable.conversion(" ") is None
    assert {"units", "long_name"} <= set(variable.attrs)
