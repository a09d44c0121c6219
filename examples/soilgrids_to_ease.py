"""SoilGrids GeoTIFFs at 1 km -> hydraulic parameters -> EASE-Grid 2.0 at 9 km -> cloud-optimised GeoTIFFs.

    python examples/soilgrids_to_ease.py --data FOLDER [--out soilgrids-output]
    python examples/soilgrids_to_ease.py --sand sand.tif --silt silt.tif --clay clay.tif --units percent

The files are read lazily, block by block; rasters of any size and any CRS will do.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import rioxarray
import xarray as xr

import xsoil

LAYERS = ("sand", "silt", "clay")


def read(files: dict[str, Path], units: str) -> xr.Dataset:
    """One dataset of the three maps; GeoTIFFs carry no units, so they are stated here."""
    maps = {}
    for name, path in files.items():
        raster = rioxarray.open_rasterio(path, chunks={"y": 2048, "x": 2048})
        maps[name] = raster.squeeze("band", drop=True).assign_attrs(units=units)
    return xr.Dataset(maps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of the real data")
    for name in LAYERS:
        parser.add_argument(f"--{name}", type=Path, help=f"GeoTIFF of {name}, in place of --data")
    parser.add_argument("--units", default="percent", help='of the GeoTIFFs: "percent", "g/kg" ...')
    parser.add_argument("--grid", default="EASE2_M09km")
    parser.add_argument("--ptf", default="cosby1984")
    parser.add_argument("--out", type=Path, default=Path("soilgrids-output"))
    options = parser.parse_args()
    own = {name: getattr(options, name) for name in LAYERS if getattr(options, name)}
    if own and len(own) < 3:
        parser.error(f"give all of --sand, --silt and --clay; found {sorted(own)}")
    if not own and options.data is None:
        parser.error("no data: give --data FOLDER, or --sand, --silt and --clay, or set XSOIL_TEST_DATA")
    stem = "soilgrids_angola_1km_2014"
    files = own or {name: Path(options.data) / "rasters" / f"{stem}_{name}.tif" for name in LAYERS}
    for path in files.values():
        if not path.exists():
            parser.error(f"no file {path}")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    soil = read(files, options.units)
    parameters = soil.soil.ptf(options.ptf).soil.upscale(options.grid)
    parameters.soil.to_cog(options.out, progress=False)
    grid = xsoil.grid_of(parameters)
    seconds = time.perf_counter() - start
    print(f"{soil.sand.shape} cells -> {tuple(grid.shape)} cells of {options.grid} in {seconds:.1f} s")
    for path in sorted(options.out.glob("*.tif")):
        raster = rioxarray.open_rasterio(path, masked=True)
        print(f"  {path}: EPSG:{raster.rio.crs.to_epsg()}, {float(raster.min()):.4g} to {float(raster.max()):.4g} "
              f"{raster.attrs.get('units', '')}")  # fmt: skip


if __name__ == "__main__":
    main()
