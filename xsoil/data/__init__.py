"""Data that xsoil reads or makes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xsoil.data.chirps import open_chirps
from xsoil.data.era5_land import open_era5_land
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

if TYPE_CHECKING:
    from xsoil.verbs.prepare_forcing import prepare_forcing

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


def __getattr__(name: str) -> Any:
    """`prepare_forcing` regrids, so it is a verb, which lies above this room; here is the name that users know."""
    if name == "prepare_forcing":
        return import_module("xsoil.verbs.prepare_forcing").prepare_forcing
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
