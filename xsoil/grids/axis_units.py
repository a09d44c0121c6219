"""Units of axes: what a file says of its coordinates must be what its CRS counts in."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS

from xsoil.errors import AxisError, CRSError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["require_degrees", "require_units"]

_METRES = {
    "m": 1.0, "metre": 1.0, "meter": 1.0, "km": 1e3, "kilometre": 1e3, "kilometer": 1e3, "cm": 0.01, "ft": 0.3048,
    "foot": 0.3048, "feet": 0.3048, "us survey foot": 1200 / 3937, "us-ft": 1200 / 3937,
}  # fmt: skip
_RADIANS = {"rad": 1.0, "radian": 1.0, "deg": math.pi / 180, "degree": math.pi / 180, "grad": math.pi / 200}
_LARGEST_ANGLE = 400.0
"""Axes that go beyond kept the name of an angle from before they were projected."""


def require_degrees(crs: CRS) -> None:
    """Raise for longitudes in grads or radians: all of xsoil's turns and poles are in degrees."""
    units = {axis.unit_name: axis.unit_conversion_factor for axis in crs.axis_info} if crs.is_geographic else {}
    if odd := [name for name, factor in units.items() if abs(factor - _RADIANS["degree"]) > 1e-9]:
        raise CRSError(
            f"the CRS {crs.name!r} counts in {odd[0]}; expected degrees: reproject to another one, for example "
            "ds.rio.reproject('EPSG:4326')"
        )


def require_units(obj: xr.Dataset | xr.DataArray, crs: CRS, dims: tuple[Hashable, ...]) -> None:
    """Raise where an axis states other units than those of the CRS; no units, or unknown ones, are let pass.

    Kilometres that are taken for metres lie within a few kilometres of the projection's origin, with no other sign that
    they are wrong (sea-ice and snow products of polar grids state them; geostationary images are in radians).
    """
    if not crs.axis_info:
        return
    axis = crs.axis_info[0]
    own, foreign = (_RADIANS, _METRES) if crs.is_geographic else (_METRES, _RADIANS)
    mends = []
    for dim in dims:
        stated = obj[dim].attrs.get("units")
        name = _bare(str(stated))
        if name in foreign and (crs.is_geographic or np.abs(obj[dim].values).max(initial=0.0) < _LARGEST_ANGLE):
            raise AxisError(
                f"the axis {dim!r} is in {stated!r}, its CRS {crs.name!r} counts in {axis.unit_name}; either is wrong: "
                "write the CRS of these coordinates with ds.rio.write_crs(...), or bring them into its units (scanning "
                "angles of a satellite times its perspective_point_height)"
            )
        factor = own.get(name, axis.unit_conversion_factor) / axis.unit_conversion_factor
        if abs(factor - 1.0) > 1e-5:  # feet differ by less from survey feet
            mends.append(f"{dim}=(ds[{dim!r}] * {factor:g}).assign_attrs(units={axis.unit_name!r})")
    if mends:
        raise AxisError(
            f"the axes {[str(dim) for dim in dims]} are in {[obj[dim].attrs.get('units') for dim in dims]}, their CRS "
            f"{crs.name!r} counts in {axis.unit_name}; convert them: ds.assign_coords({', '.join(mends)})"
        )


def _bare(units: str) -> str:
    """Without number and direction: "degrees_north" is "degree", "metres" is "metre"."""
    text = re.sub(r"_(north|south|east|west|n|s|e|w)$", "", units.strip().lower())
    return text if text in _METRES or text in _RADIANS else text.removesuffix("s")
