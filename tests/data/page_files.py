"""Files of the true layout under the names that pages open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def readers(root: Path) -> None:
    """All the files that docs/readers.md opens."""
    import test_chirps
    import test_era5_land
    import test_ismn
    import test_modis
    import test_nldas
    import test_solus
    import test_uscrn
    from granules import smap_l3, smap_l4
    from test_soilgrids import tif

    soilgrids(root / "soilgrids")
    for depth in (0, 5, 15, 30):
        for code in ("sandtotal", "claytotal"):
            tif(root / "solus" / f"{code}_{depth}_cm_p.tif", np.full((20, 30), 40), dtype="uint8", nodata=255,
                **test_solus.ALBERS)  # fmt: skip
    for place in ("SPL3SMP_E/2015", "SPL4SMGP", "uscrn/2020", "era5_land", "NLDAS/2015"):
        (root / place).mkdir(parents=True)
    smap_l3(root / "SPL3SMP_E" / "2015", "20150401", product="P_E", cells={(400, 800): (0.25, 0)})
    smap_l4(root / "SPL4SMGP", "20150401T013000", {(400, 800): 0.25})
    test_ismn.write_archive(root)
    (root / "uscrn" / "2020" / "CRND0103-2020-AZ_Tucson_11_W.txt").write_text(test_uscrn.line("20200101"))
    era5 = test_era5_land.era5()
    era5.assign(d2m=era5.t2m - 5).to_netcdf(root / "era5_land" / "data.nc")
    for time in pd.date_range("2015-04-01", periods=2, freq="h"):
        test_nldas.fora(root / "NLDAS" / "2015", time, 1.0)
    test_chirps.year(root, 2015)
    for layer in ("Lai_500m", "FparLai_QC"):
        test_modis.tile(root / "modis", layer, np.full((24, 24), 30 if layer == "Lai_500m" else 0))


def soilgrids(root: Path) -> None:
    """A piece of SoilGrids 2.0: six layers of five properties, 80 x 80 cells of 250 m."""
    from test_soilgrids import LAYERS, tif

    column = np.arange(80) * np.ones((80, 1))
    values = {"sand": 400 + column, "silt": 400 - column, "clay": 200 + 0 * column, "bdod": 140 + 0 * column,
              "soc": 150 + 0 * column}  # fmt: skip
    for code, stored in values.items():
        for layer in LAYERS:
            tif(root / f"{code}_{layer}cm_mean.tif", stored)
