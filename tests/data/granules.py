"""Files of the true layout of NASA's HDF5 products, written from their descriptions."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

SHAPES = {"P": (406, 964), "P_E": (1624, 3856)}


def smap_l3(folder: Path, day: str, *, product: str = "P", cells: dict | None = None, release: str = "R19240") -> Path:
    """A file of SPL3SMP or SPL3SMP_E: two groups, names with _pm in the second, no dimension scales, no time.

    `cells` holds {(row, column): (soil moisture of the morning, quality flag)}; the evening is 0.1 wetter. All else is
    the fill value, and lies in chunks that are not stored.
    """
    path = folder / f"SMAP_L3_SM_{product}_{day}_{release}_001.h5"
    shape = SHAPES[product]
    layout = {"chunks": (shape[0] // 2, shape[1] // 4), "compression": "gzip", "compression_opts": 1}
    with h5py.File(path, "w") as file:
        file.create_group("Metadata").attrs["title"] = "SMAP"
        for overpass, ending, more in (("AM", "", 0.0), ("PM", "_pm", 0.1)):
            group = file.create_group(f"Soil_Moisture_Retrieval_Data_{overpass}")
            for name in ("soil_moisture", "vegetation_opacity", "surface_temperature"):
                field = group.create_dataset(f"{name}{ending}", shape, "f4", fillvalue=-9999.0, **layout)
                field.attrs["_FillValue"] = np.float32(-9999)
                field.attrs["units"] = {"soil_moisture": b"cm**3/cm**3", "surface_temperature": b"Kelvins"}.get(
                    name, b"normalized"
                )
                field.attrs["long_name"] = b"text of NSIDC"
            for name in ("retrieval_qual_flag", "surface_flag"):
                field = group.create_dataset(f"{name}{ending}", shape, "u2", fillvalue=65534, **layout)
                field.attrs["_FillValue"] = np.uint16(65534)
            group.create_dataset(f"tb_time_utc{ending}", shape, "S24", **layout)
            for (row, column), (value, flag) in (cells or {}).items():
                group[f"soil_moisture{ending}"][row, column] = value + more
                group[f"retrieval_qual_flag{ending}"][row, column] = flag
                group[f"surface_temperature{ending}"][row, column] = 290.0
    return path


def smap_l4(folder: Path, time: str, cells: dict | None = None) -> Path:
    """A file of SPL4SMGP: coordinates at the root, fields on (y, x) in the group Geophysical_Data."""
    path = folder / f"SMAP_L4_SM_gph_{time}_Vv8010_001.h5"
    shape = SHAPES["P_E"]
    layout = {"chunks": (shape[0] // 2, shape[1] // 4), "compression": "gzip", "compression_opts": 1}
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float)
        file["time"] = np.zeros(1)
        file["EASE2_global_projection"] = b""
        group = file.create_group("Geophysical_Data")
        for name, units in (
            ("sm_surface", b"m3 m-3"), ("sm_rootzone", b"m3 m-3"), ("sm_profile", b"m3 m-3"),
            ("soil_temp_layer1", b"K"), ("precipitation_total_surface_flux", b"kg m-2 s-1"),
            ("snow_mass", b"kg m-2"),
        ):  # fmt: skip
            field = group.create_dataset(name, shape, "f4", fillvalue=-9999.0, **layout)
            field.attrs["_FillValue"], field.attrs["units"] = np.float32(-9999), units
            for (row, column), value in (cells or {}).items():
                field[row, column] = value
    return path
