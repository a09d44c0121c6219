"""At which particle size silt ends and sand begins, as the attribute `silt_limit` of both says."""

from __future__ import annotations

import re

import xarray as xr

from xsoil.errors import TextureError

__all__ = ["SILT_LIMIT", "require_silt_limit", "silt_limit_of"]

SILT_LIMIT = 50.0
"""um: of USDA and FAO, of SOLUS100 and of all functions in `PTFS`."""
_FACTORS = {"": 1.0, "um": 1.0, "mm": 1000.0, "micrometre": 1.0, "micrometer": 1.0, "micron": 1.0}


def silt_limit_of(ds: xr.Dataset) -> float | None:
    """The limit [um] that sand and silt state; None where neither does.

    Raises
    ------
    TextureError
        A limit that cannot be read, or two that contradict each other.
    """
    found = {name: _number(name, ds[name]) for name in ("sand", "silt") if name in ds.variables}
    stated = {name: limit for name, limit in found.items() if limit is not None}
    if len(set(stated.values())) > 1:
        raise TextureError(
            f"the silt_limit of sand is {stated['sand']:g} um, that of silt {stated['silt']:g} um; expected one: "
            "correct their attrs"
        )
    return next(iter(stated.values()), None)


def _number(name: str, array: xr.DataArray) -> float | None:
    stated = array.attrs.get("silt_limit")
    if stated is None:
        return None
    text = str(stated).replace("µ", "u").replace("μ", "u").strip()
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([a-z]*?)s?", text)
    limit = float(match[1]) * _FACTORS[match[2]] if match and match[2] in _FACTORS else 0.0
    if not 2 < limit < 2000:
        raise TextureError(
            f"the silt_limit of {name!r} is {stated!r}; expected micrometres between 2 and 2000: "
            f"ds[{name!r}].attrs['silt_limit'] = 63"
        )
    return round(limit, 6)


def require_silt_limit(ds: xr.Dataset, what: str) -> None:
    """Raise where sand or silt state another limit than 50 um; where neither states one, nothing is known and done."""
    limit = silt_limit_of(ds)
    if limit is not None and limit != SILT_LIMIT:
        raise TextureError(
            f"silt ends at {limit:g} um here (attribute silt_limit), but at {SILT_LIMIT:g} um in {what}; "
            "use ds.soil.convert_texture() first"
        )
