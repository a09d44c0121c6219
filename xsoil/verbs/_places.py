"""Where a single place lies against a map."""

from __future__ import annotations

import xarray as xr

from xsoil.errors import GridMismatchError

__all__ = ["require_inside"]


def require_inside(site: xr.Dataset | xr.DataArray, name: str, grid: xr.Dataset | xr.DataArray, what: str) -> None:
    """Raise where one place, known by its scalar coordinates, lies outside a map that it would be spread over.

    Parameters
    ----------
    site, name : xr.Dataset or xr.DataArray, str
        The place, and what to call it.
    grid, what : xr.Dataset or xr.DataArray, str
        The map, with coordinates of the same names as dimensions, and what to call it.
    """
    for dim in [d for d in grid.indexes if d in site.coords and site.coords[d].ndim == 0 and d != "time"]:
        centres, place = grid.indexes[dim], site.coords[dim]
        if centres.dtype.kind in "fiu" and place.dtype.kind in "fiu" and centres.size > 1:
            low, high, at = float(centres.min()), float(centres.max()), float(place)
            half = (high - low) / (centres.size - 1) / 2
            if not low - 1.001 * half <= at <= high + 1.001 * half:
                raise GridMismatchError(
                    f"{name}: {dim!r} is {at:g}, but {what} covers {low - half:g} to {high + half:g}; choose one place "
                    f"in both: .sel({dim}={at:g}, method='nearest')"
                )
