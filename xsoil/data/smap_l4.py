"""SMAP Level 4 surface and root-zone soil moisture: SPL4SMGP (9 km), one file every three hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data._hdf5 import check_all, ease_window, series
from xsoil.data._maps import grid_coords, maps
from xsoil.data._paths import Paths, Product, in_order, name_of, paths_of
from xsoil.data._variables import attrs_of
from xsoil.errors import FileError, TimeError
from xsoil.grids.ease import named_grid
from xsoil.vocabulary import VARIABLES

__all__ = ["open_smap_l4"]

PATTERN = re.compile(r"SMAP_L4_SM_(gph|aup|lmc)_(\d{8}T\d{6})_(Vv\d{4})_(\d{3})\.h5$", re.IGNORECASE)
OTHER = {"aup": "SPL4SMAU (analysis updates)", "lmc": "SPL4SMLM (constants of the land model)"}
PRODUCT = Product(
    "SMAP L4 Global 3-hourly 9 km EASE-Grid Surface and Root Zone Soil Moisture Geophysical Data (SPL4SMGP)",
    "version 8",
    "Reichle, R., G. De Lannoy, R. D. Koster, W. T. Crow, J. S. Kimball, Q. Liu, M. Bechtold (2025), SMAP L4 Global "
    "3-hourly 9 km EASE-Grid Surface and Root Zone Soil Moisture Geophysical Data, Version 8. NASA NSIDC DAAC",
    "10.5067/T5RUATAQREF8",
)
GRID = "EASE2_M09km"
GROUP = "Geophysical_Data"
NAMES = {
    "soil_moisture": ("sm_surface", "soil moisture, 0-5 cm (model with assimilation)"),
    "soil_moisture_rootzone": ("sm_rootzone", "soil moisture, 0-100 cm (model with assimilation)"),
    "soil_moisture_profile": ("sm_profile", "soil moisture, surface to bedrock (model with assimilation)"),
    "soil_temperature": ("soil_temp_layer1", "soil temperature, 0-10 cm (model with assimilation)"),
    "precipitation": ("precipitation_total_surface_flux", "precipitation that forces the model"),
    "snow": ("snow_mass", "snow water equivalent (model)"),
}
"""Our name: field of the file, what it is."""


def open_smap_l4(
    paths: Paths, *, variables: Sequence[str] = ("soil_moisture", "soil_moisture_rootzone"), region: object = None
) -> xr.Dataset:
    """Soil moisture of the SMAP Level 4 analysis, three-hourly, as one lazy series.

    A model's soil moisture, into which brightness temperatures of SMAP are assimilated where there are any: without
    gaps, but not an observation.

    Parameters
    ----------
    paths : str, path or list of them
        Files ``SMAP_L4_SM_gph_yyyymmddThhmmss_Vvnnnn_nnn.h5``, a folder, a pattern, or URLs that fsspec opens.
    variables : sequence of str
        ``soil_moisture`` (0-5 cm), ``soil_moisture_rootzone`` (0-100 cm), ``soil_moisture_profile`` [m3 m-3],
        ``soil_temperature`` [K], ``precipitation`` [mm d-1], ``snow`` [mm], or any field of the group
        ``Geophysical_Data`` by its own name, in the file's units.
    region : str, tuple or object with a grid, optional
        Only this part is read, as in `xsoil.ease_grid`.

    Returns
    -------
    xr.Dataset
        On (time, y, x) of EASE2_M09km, y descending, one block a file. Values are means of three hours, ``time`` is the
        middle of them as in the file's name (01:30, 04:30 ... UTC), so that a day's mean is
        ``ds.resample(time="1D").mean()``.

    Raises
    ------
    FileError
        A file of another product, grid or name, cut short, or a web page (a missing login).
    MissingVariableError
        A field that the files do not have.
    TimeError
        Two files of one time.

    Notes
    -----
    Follows the user guide of SPL4SMGP version 8 [1]_. From 2019-06-19 to 2019-07-23 and from 2022-08-06 to 2022-09-20
    there was nothing to assimilate: the model alone.

    References
    ----------
    .. [1] Reichle et al. (2025), doi:10.5067/T5RUATAQREF8.

    Examples
    --------
    >>> import xsoil
    >>> analysis = xsoil.data.open_smap_l4("SPL4SMGP/2015/*.h5", region="conus")  # doctest: +SKIP
    """
    files = paths_of(paths, (".h5",), "files of SPL4SMGP")
    times = []
    for path in files:
        match = PATTERN.search(name_of(path))
        if match is None or match.group(1).lower() != "gph":
            what = f" (it is {OTHER[match.group(1).lower()]})" if match else ""
            raise FileError(f"{name_of(path)!r} is not named like SMAP_L4_SM_gph_yyyymmddThhmmss_Vvnnnn_nnn.h5{what}")
        try:
            times.append(pd.Timestamp(match.group(2)))
        except ValueError:
            raise TimeError(f"{name_of(path)!r} is of the time {match.group(2)!r}, which is no date") from None
    files, time = in_order(files, times)
    geobox, window = ease_window(GRID, region)
    asked = [variables] if isinstance(variables, str) else list(dict.fromkeys(variables))
    fields = {name: NAMES[name][0] if name in NAMES else name for name in asked}
    shape = (named_grid(GRID).rows, named_grid(GRID).columns)
    stored = check_all(files, {GROUP: list(fields.values())}, shape, PRODUCT.name)[GROUP]

    made: dict[str, Any] = {}
    dims = ("time", *geobox.dimensions)
    for name, field in fields.items():
        dtype, about = stored[field]
        decode: dict[str, Any] = {"fills": (float(about.get("_FillValue", -9999.0)),)}
        attrs = {"long_name": about.get("long_name", field), "units": about.get("units", "1")}
        if name in NAMES:
            attrs["long_name"] = NAMES[name][1]
        if name in VARIABLES:
            conversion = VARIABLES[name].conversion(about.get("units"))
            if conversion is None:
                raise FileError(f"{field!r} of {name_of(files[0])!r} is in {about.get('units')!r}, not as documented")
            decode["factor"] = conversion.factor
            attrs = attrs_of(name, long_name=NAMES[name][1])
        data = series(files, field, GROUP, window, np.dtype(dtype).newbyteorder("="), decode, PRODUCT.name)
        made[name] = (dims, data, attrs | {"cell_methods": "time: mean (interval: 3 hours)"})
    coords = {"time": ("time", time, {"standard_name": "time"})} | grid_coords(geobox)
    return maps(made, coords, PRODUCT.attrs | {"comment": "model with assimilation, not an observation"})
