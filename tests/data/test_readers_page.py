"""Every example of docs/readers.md runs on small files of the true layout, under the names that the page gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_chirps
import test_era5_land
import test_ismn
import test_modis
import test_nldas
import test_solus
import test_uscrn
from granules import smap_l3, smap_l4
from test_soilgrids import LAYERS, tif

import xsoil

TEXT = (Path(__file__).parents[2] / "docs" / "readers.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All the files that the page opens."""
    root = tmp_path_factory.mktemp("page")
    stored = {"sand": 400, "silt": 400, "clay": 200, "bdod": 140, "soc": 150}
    for code, value in stored.items():
        for layer in LAYERS:
            tif(root / "soilgrids" / f"{code}_{layer}cm_mean.tif", np.full((80, 80), value))
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
    return root


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_example_runs(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"xsoil": xsoil, "np": np}
    exec(compile(block, "docs/readers.md", "exec"), names)
    made = [value for name, value in names.items() if name not in ("xsoil", "np", "__builtins__")]
    assert made
    for ds in made:
        assert any(int(array.notnull().sum()) for array in ds.data_vars.values())


def test_every_reader_has_an_example():
    readers = [name for name in xsoil.data.__all__ if name.startswith("open_")]
    assert len(readers) == 10
    assert all(any(f"xsoil.data.{name}(" in block for block in BLOCKS) for name in readers)
