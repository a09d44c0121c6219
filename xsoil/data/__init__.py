"""Data that xsoil reads or makes."""

from xsoil.data.chirps import open_chirps
from xsoil.data.era5_land import open_era5_land
from xsoil.data.forcing import prepare_forcing
from xsoil.data.ismn import open_ismn
from xsoil.data.modis import open_modis
from xsoil.data.nldas import open_nldas2
from xsoil.data.smap_l3 import open_smap_l3
from xsoil.data.smap_l4 import open_smap_l4
from xsoil.data.soilgrids import open_soilgrids
from xsoil.data.solus import open_solus100
from xsoil.data.synthetic import synthetic_forcing, synthetic_soil
from xsoil.data.uscrn import open_uscrn
from xsoil.errors import FileError

__all__ = [
    "FileError",
    "open_chirps",
    "open_era5_land",
    "open_ismn",
    "open_modis",
    "open_nldas2",
    "open_smap_l3",
    "open_smap_l4",
    "open_soilgrids",
    "open_solus100",
    "open_uscrn",
    "prepare_forcing",
    "synthetic_forcing",
    "synthetic_soil",
]
