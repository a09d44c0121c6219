"""Where the edges of soil layers are found."""

from __future__ import annotations

import xarray as xr

from xsoil.errors import MissingVariableError

__all__ = ["BOUNDS", "depth_bounds"]

BOUNDS = ("depth_bounds", "depth_bnds")
"""Names that are taken for the bounds of `depth` where it declares none."""


def depth_bounds(ds: xr.Dataset) -> str | None:
    """Name of the variable that holds the edges of the layers of the coordinate `depth`; None where there is none.

    Declared bounds that are not there are an error: a layer would be taken for a point in its middle.
    """
    depth = ds["depth"]
    declared = depth.attrs.get("bounds", depth.encoding.get("bounds"))
    if declared is None:
        return next((name for name in BOUNDS if name in ds.variables), None)
    if declared not in ds.variables:
        raise MissingVariableError(
            f"'depth' declares the bounds {declared!r}, which are not among {sorted(map(str, ds.variables))}; "
            f"select them too: ds[['sand', {declared!r}]], or del ds['depth'].attrs['bounds'] if these are points"
        )
    return str(declared)
