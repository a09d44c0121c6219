"""SMAP Level 3 radiometer soil moisture: SPL3SMP (36 km) and SPL3SMP_E (9 km), one file a day."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data._hdf5 import Fields, Window, check_all, ease_window, require_choice, series
from xsoil.data._maps import grid_coords, maps
from xsoil.data._paths import Paths, Product, in_order, matched, name_of, paths_of
from xsoil.data._variables import attrs_of
from xsoil.errors import FileError, TimeError
from xsoil.grids.ease import named_grid

__all__ = ["open_smap_l3"]

PATTERN = re.compile(r"SMAP_L3_SM_P(_E)?_(\d{8})_R(\d{5})_(\d{3})\.h5$", re.IGNORECASE)
GRIDS = {False: "EASE2_M36km", True: "EASE2_M09km"}
PRODUCTS = {
    False: Product(
        "SMAP L3 Radiometer Global Daily 36 km EASE-Grid Soil Moisture (SPL3SMP)",
        "version 9; the layout is that since version 4",
        "O'Neill, P. E., S. Chan, E. G. Njoku, T. Jackson, R. Bindlish, J. Chaubell, A. Colliander (2023), SMAP L3 "
        "Radiometer Global Daily 36 km EASE-Grid Soil Moisture, Version 9. NASA NSIDC DAAC",
        "10.5067/4XXOGX0OOW1S",
    ),
    True: Product(
        "SMAP Enhanced L3 Radiometer Global and Polar Grid Daily 9 km EASE-Grid Soil Moisture (SPL3SMP_E)",
        "versions 5 and 6, the global grid",
        "O'Neill, P. E., S. Chan, E. G. Njoku, T. Jackson, R. Bindlish, J. Chaubell, A. Colliander (2023), SMAP "
        "Enhanced L3 Radiometer Global and Polar Grid Daily 9 km EASE-Grid Soil Moisture, Version 6. NASA NSIDC DAAC",
        "10.5067/M20OXIZHY3RJ",
    ),
}
GROUP = "Soil_Moisture_Retrieval_Data_{}"
ENDINGS = {"AM": "", "PM": "_pm"}
"""Of the names in the group of an overpass."""
FLAG_FILL = 65534
QUALITY = {"not_recommended": 1, "retrieval_skipped": 2, "retrieval_unsuccessful": 4, "freeze_thaw_unsuccessful": 8}
SURFACE = {
    "static_water": 1, "radar_water": 2, "coastal_proximity": 4, "urban": 8, "precipitation": 16, "snow": 32,
    "permanent_ice": 64, "frozen_ground_radiometer": 128, "frozen_ground_model": 256, "mountainous": 512,
    "dense_vegetation": 1024, "nadir": 2048,
}  # fmt: skip
MASKS = {"recommended": 0b011, "successful": 0b110, "all": 0}
"""Bits of retrieval_qual_flag that must not be set."""


def open_smap_l3(
    paths: Paths,
    *,
    overpass: Literal["AM", "PM", "both"] = "AM",
    quality: Literal["recommended", "successful", "all"] = "recommended",
    variables: Sequence[str] = ("soil_moisture",),
    region: object = None,
) -> xr.Dataset:
    """Daily soil moisture of SMAP (Level 3), any number of days as one lazy series.

    The files have groups for the two overpasses, in whose descending one (``PM``) every name ends in ``_pm``; they have
    neither dimensions nor coordinates nor a time: the grid is that of the product, the day that of the file's name.

    Parameters
    ----------
    paths : str, path or list of them
        Files ``SMAP_L3_SM_P_[E_]yyyymmdd_Rnnnnn_nnn.h5``, a folder, a pattern, or URLs that fsspec opens. All of one
        product; days may be missing.
    overpass : {"AM", "PM", "both"}
        6:00 (descending) or 18:00 (ascending) local solar time; "both" adds a dimension ``overpass`` after time.
    quality : {"recommended", "successful", "all"}
        Which retrievals to keep: of recommended quality (bits 0 and 1 of ``retrieval_qual_flag`` clear, as NSIDC
        advises), every successful one (bits 1 and 2 clear), or all that are there. The flag itself is always returned.
    variables : sequence of str
        Fields of the group, without ``_pm``: ``soil_moisture`` [m3 m-3], ``soil_moisture_dca``, ``surface_flag``,
        ``vegetation_opacity``, ``surface_temperature`` ... Only soil moistures are masked by `quality`.
    region : str, tuple or object with a grid, optional
        Only this part is read: as in `xsoil.ease_grid`, ``"conus"``, (west, south, east, north), a dataset.

    Returns
    -------
    xr.Dataset
        On (time, [overpass,] y, x), one block a file, on the EASE-Grid 2.0 of the product (36 or 9 km, y descending).
        ``time`` is the day at 0:00; a morning overpass over 100 W is at about 13 UTC of that day.

    Raises
    ------
    FileError
        A file of another product, grid or name, cut short, or a web page (a missing login).
    MissingVariableError
        A field that the files do not have.
    TimeError
        Two files of one day.

    Notes
    -----
    Follows the user guides of SPL3SMP version 9 [1]_ and SPL3SMP_E version 6 [2]_ (its global grid; not the polar
    one). Groups and shapes of every local file are looked at when it is opened; of remote ones the first, the others
    when they are read. There are no data from 2019-06-19 to 2019-07-23 and from 2022-08-06 to 2022-09-20.

    References
    ----------
    .. [1] O'Neill et al. (2023), SPL3SMP version 9, doi:10.5067/4XXOGX0OOW1S.
    .. [2] O'Neill et al. (2023), SPL3SMP_E version 6, doi:10.5067/M20OXIZHY3RJ.

    Examples
    --------
    >>> import xsoil
    >>> smap = xsoil.data.open_smap_l3("SPL3SMP_E/2015/*.h5", region="conus")  # doctest: +SKIP
    """
    require_choice(overpass, (*ENDINGS, "both"), "overpass")
    require_choice(quality, tuple(MASKS), "quality")
    files = paths_of(paths, (".h5",), "files of SPL3SMP or SPL3SMP_E")
    names = matched(files, PATTERN, "SMAP_L3_SM_P_yyyymmdd_Rnnnnn_nnn.h5 (or SMAP_L3_SM_P_E_...)")
    enhanced = names[0].group(1) is not None
    for path, match in zip(files, names):
        if (match.group(1) is not None) != enhanced:
            raise FileError(
                f"{name_of(files[0])!r} is of 36 km or 9 km, {name_of(path)!r} of the other; open them one by one"
            )
    files, time = in_order(files, [_day(match) for match in names])
    product, grid = PRODUCTS[enhanced], GRIDS[enhanced]
    geobox, window = ease_window(grid, region)
    fields = list(dict.fromkeys([*([variables] if isinstance(variables, str) else variables), "retrieval_qual_flag"]))

    chosen = tuple(ENDINGS) if overpass == "both" else (overpass,)
    wanted = {GROUP.format(which): [name + ENDINGS[which] for name in fields] for which in chosen}
    stored = check_all(files, wanted, (named_grid(grid).rows, named_grid(grid).columns), product.name)
    parts = [_overpass(files, which, stored, fields, window, MASKS[quality], product.name) for which in chosen]
    coords: dict[Any, Any] = {"time": ("time", time, {"standard_name": "time"})} | grid_coords(geobox)
    dims: tuple[Any, ...] = ("time", *geobox.dimensions)
    made = {}
    if overpass == "both":
        from dask.array import stack

        dims = ("time", "overpass", *geobox.dimensions)
        coords["overpass"] = ("overpass", list(chosen))
        for name, (_, about) in parts[0].items():
            made[name] = (dims, stack([part[name][0] for part in parts], axis=1), about)
    else:
        made = {name: (dims, data, about) for name, (data, about) in parts[0].items()}
    releases = sorted({f"R{match.group(3)}" for match in names})
    kept = {"recommended": "of recommended quality", "successful": "that succeeded", "all": "of any quality"}[quality]
    return maps(
        made,
        coords,
        product.attrs | {"product_release": ", ".join(releases), "comment": f"{overpass}; retrievals {kept}"},
    )


def _day(match: re.Match[str]) -> pd.Timestamp:
    try:
        return pd.Timestamp(match.group(2))
    except ValueError:
        raise TimeError(f"{match.string!r} is of the day {match.group(2)!r}, which is no date") from None


def _overpass(
    files: Sequence[str],
    which: str,
    stored: Mapping[str, Fields],
    fields: Sequence[str],
    window: Window,
    mask: int,
    what: str,
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Array and attributes of each field of one overpass."""
    group, ending = GROUP.format(which), ENDINGS[which]
    out: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name in fields:
        dtype, about = stored[group][name + ending]
        plain = np.dtype(dtype).newbyteorder("=")
        fill = about.get("_FillValue")
        if plain.kind in "iu":
            data = series(files, name + ending, group, window, plain, None, what)
            out[name] = (data, _flag_attrs(name, about, FLAG_FILL if fill is None else fill))
        else:
            decode = {"fills": (-9999.0 if fill is None else float(fill),)}
            out[name] = (series(files, name + ending, group, window, plain, decode, what), _attrs(name, about))
    flag = out["retrieval_qual_flag"][0]
    for name, (data, about) in out.items():
        if mask and name.startswith("soil_moisture") and data.dtype.kind == "f":
            out[name] = (_masked(data, flag, mask), about)
    return out


def _masked(data: Any, flag: Any, mask: int) -> Any:
    from dask.array import map_blocks

    return map_blocks(_keep, data, flag, mask, dtype=data.dtype, meta=np.empty((0, 0, 0), data.dtype))


def _keep(data: np.ndarray[Any, Any], flag: np.ndarray[Any, Any], mask: int) -> np.ndarray[Any, Any]:
    """Values whose flag has none of the bits of `mask`; the fill value of the flag has bit 1."""
    out: np.ndarray[Any, Any] = np.where((flag & mask) == 0, data, np.asarray(np.nan, data.dtype))
    return out


def _attrs(name: str, about: dict[str, Any]) -> dict[str, Any]:
    if name == "soil_moisture":
        return attrs_of(name, comment="of the top 5 cm or so")
    units = {"cm**3/cm**3": "m3 m-3", "Kelvins": "K", "normalized": "1"}.get(about.get("units", ""), about.get("units"))
    return {"long_name": about.get("long_name", name), **({"units": units} if units else {})}


def _flag_attrs(name: str, about: dict[str, Any], fill: float) -> dict[str, Any]:
    attrs: dict[str, Any] = {"long_name": about.get("long_name", name), "_FillValue": int(fill)}
    meanings = {"retrieval_qual_flag": QUALITY, "surface_flag": SURFACE}.get(name)
    if meanings:
        attrs |= {"flag_masks": np.array(list(meanings.values()), np.uint16), "flag_meanings": " ".join(meanings)}
    return attrs
