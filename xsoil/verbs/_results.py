"""What results of several inputs inherit from them: coordinates with their bounds, and the grid mapping; CF flags."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["carry_grid_mapping", "coordinates", "flag_attrs"]


def coordinates(*sources: tuple[xr.Dataset, Iterable[Hashable]]) -> xr.Dataset:
    """A dataset without data: the coordinates of each source on the dims given with it, the first source winning."""
    out = xr.Dataset()
    taken = {dim for _, dims in sources for dim in dims}
    for source, dims in sources:
        wanted = [
            name
            for name, coord in source.coords.items()
            if set(coord.dims) <= set(dims)
            and name not in out.coords
            and (name in dims or name != "time")
            and (name not in taken or coord.dims == (name,))  # the place of a single site is not that of a map
        ]
        bounds = {source[name].attrs.get("bounds", source[name].encoding.get("bounds")) for name in wanted}
        wanted += [name for name in source.variables if name in bounds and name not in wanted]
        kept = source.set_coords(wanted).drop_vars([name for name in source.variables if name not in wanted])
        out = out.assign_coords(kept.coords)
    return out


def carry_grid_mapping(out: xr.Dataset, *sources: xr.Dataset) -> xr.Dataset:
    """Name the grid mapping in all variables, where the first source that has one keeps it: in attrs or in encoding."""
    for source in sources:
        for array in source.data_vars.values():
            for place in ("attrs", "encoding"):
                mapping = getattr(array, place).get("grid_mapping")
                if mapping is None:
                    continue
                if mapping in source.variables and mapping not in out.variables:
                    out = out.assign_coords({mapping: source[mapping].variable})
                for name in out.data_vars:
                    getattr(out[name], place)["grid_mapping"] = mapping
                return out
    return out


def flag_attrs(masks: Mapping[str, int]) -> dict[str, Any]:
    """CF's attributes of a variable of bit flags, from the bit of each meaning."""
    return {"flag_masks": np.array(list(masks.values()), np.uint8), "flag_meanings": " ".join(masks)}
