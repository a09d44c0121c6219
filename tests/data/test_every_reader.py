"""What every reader promises, on a small file of each product: lazy, names, units, CRS, time, citation, errors."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest

import xsoil
from xsoil.data import FileError
from xsoil.data._variables import BEYOND
from xsoil.errors import ArgumentError, SoilError
from xsoil.vocabulary import VARIABLES

PLACES = {
    "open_soilgrids": "soilgrids", "open_solus100": "solus", "open_smap_l3": "SPL3SMP_E/2015",
    "open_smap_l4": "SPL4SMGP",
    "open_era5_land": "era5_land", "open_nldas2": "NLDAS/2015", "open_chirps": "chirps-*.nc", "open_modis": "modis",
    "open_ismn": "*.zip", "open_uscrn": "uscrn/2020",
}  # fmt: skip
SITES = ("open_ismn", "open_uscrn")
PROJECTION = {
    "open_soilgrids": "Interrupted Goode Homolosine", "open_solus100": "Albers Equal Area",
    "open_smap_l3": "Lambert Cylindrical Equal Area", "open_smap_l4": "Lambert Cylindrical Equal Area",
    "open_era5_land": 4326, "open_nldas2": 4326, "open_chirps": 4326, "open_modis": "Sinusoidal",
}  # fmt: skip
"""Of its grid; the EPSG code of one in degrees."""
NO_TIME = ("open_soilgrids", "open_solus100")
NAMES = {
    "open_soilgrids": "clay_0-5cm_mean.tif", "open_solus100": "claytotal_0_cm_p.tif",
    "open_smap_l3": "SMAP_L3_SM_P_20150401_R19240_001.h5",
    "open_smap_l4": "SMAP_L4_SM_gph_20150401T013000_Vv8010_001.h5",
    "open_era5_land": "data.nc", "open_nldas2": "NLDAS_FORA0125_H.A20150401.0000.020.nc",
    "open_chirps": "chirps-v2.0.2015.days_p05.nc",
    "open_modis": "MOD15A2H.A2021001.h18v04.061.2021020000000_Lai_500m.tif", "open_ismn": "Data_separate_files.zip",
    "open_uscrn": "CRND0103-2020-AZ_Tucson_11_W.txt",
}  # fmt: skip


def place(folder, name):
    found = PLACES[name]
    if name in ("open_ismn", "open_chirps"):
        (found,) = folder.glob(found)
        return found
    return folder / found


@pytest.fixture(params=sorted(PLACES))
def opened(request, folder):
    """A reader's name and what it returns; nothing may compute on the way."""
    if request.param == "open_ismn":
        pytest.importorskip("ismn", reason="needs the package ismn")
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("computed too early")):
        return request.param, getattr(xsoil.data, request.param)(place(folder, request.param))


def test_all_readers_are_here():
    assert sorted(PLACES) == sorted(NAMES) == [name for name in sorted(xsoil.data.__all__) if name.startswith("open_")]


def test_lazy(opened):
    _, ds = opened
    assert ds.data_vars
    assert all(array.chunks is not None for array in ds.data_vars.values())


def test_names_and_units(opened):
    """Names of the vocabulary (or of the readers' table) in their units; flags say what their bits mean."""
    for name, array in opened[1].data_vars.items():
        if name in VARIABLES or name in BEYOND:
            row = VARIABLES[name] if name in VARIABLES else BEYOND[name]
            assert array.attrs["units"] == row.units
            assert array.dtype == np.float32
        else:
            assert {"flag_masks", "flag_meanings"} <= set(array.attrs) or array.attrs["units"], name
        assert array.attrs["long_name"]
    assert any(name in VARIABLES for name in opened[1].data_vars)


def test_place(opened):
    """A grid with its CRS, or the coordinates of the sites."""
    name, ds = opened
    if name in SITES:
        assert ds.latitude.dims == ds.longitude.dims == ("site",)
        return
    crs = xsoil.grid_of(ds).crs
    projection = crs.proj.coordinate_operation
    assert (projection.method_name if projection else crs.epsg) == PROJECTION[name]
    assert all(array.encoding.get("grid_mapping") in ds.coords for array in ds.data_vars.values())


def test_time(opened):
    name, ds = opened
    if name in NO_TIME:
        assert "time" not in ds.dims
        return
    assert isinstance(ds.indexes["time"], pd.DatetimeIndex)
    assert ds.indexes["time"].is_monotonic_increasing


def test_citation(opened):
    attrs = opened[1].attrs
    assert all(attrs[key] for key in ("title", "source", "citation"))
    assert attrs["references"].startswith("doi:10.")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_web_page_in_place_of_the_data(name, tmp_path):
    if name == "open_ismn":
        pytest.importorskip("ismn", reason="needs the package ismn")
    path = tmp_path / NAMES[name]
    path.write_text("<html><body>Please log in to Earthdata</body></html>")
    with pytest.raises(FileError, match=path.name.replace("+", r"\+")) as found:
        getattr(xsoil.data, name)(path)
    assert any(word in str(found.value) for word in ("web page", "load it again", "expected"))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_file_that_is_not_there(name, tmp_path):
    with pytest.raises(SoilError, match="no file") as found:
        getattr(xsoil.data, name)(tmp_path / NAMES[name])
    assert isinstance(found.value, ArgumentError)
