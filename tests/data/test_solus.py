"""SOLUS100: scalars, slices instead of layers, Albers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from served import served
from test_soilgrids import tif

import xsoil
from xsoil.data import FileError, open_solus100
from xsoil.errors import ArgumentError

ALBERS = {"crs": "EPSG:5070", "cell": 100.0, "corner": (0.0, 2_000_000.0)}


@pytest.fixture
def folder(tmp_path):
    for depth in (0, 5, 15, 30, 60, 100, 150):
        for code, dtype, nodata in (("sandtotal", "uint8", 255), ("claytotal", "uint8", 255), ("soc", "uint16", 65535)):
            values = np.full((20, 30), 40 + depth // 5)
            values[0, 0] = nodata
            tif(tmp_path / f"{code}_{depth}_cm_p.tif", values, nodata=nodata, dtype=dtype, **ALBERS)
            tif(
                tmp_path / f"{code}_{depth}_cm_h.tif",
                values + 5 * (values != nodata),
                nodata=nodata,
                dtype=dtype,
                **ALBERS,
            )
    for code, value in (("dbovendry", 137), ("ph1to1h2o", 655), ("cec7", 123), ("fragvol", 12)):
        tif(tmp_path / f"{code}_0_cm_p.tif", np.full((20, 30), value), nodata=-1, dtype="int16", **ALBERS)
    return tmp_path


def test_slices(folder, no_compute):
    ds = open_solus100(folder, ["sand", "organic_carbon"])
    assert_allclose(ds.depth, [0, 0.05, 0.15, 0.3, 0.6, 1, 1.5])
    assert "bounds" not in ds.depth.attrs
    assert xsoil.grid_of(ds).crs.epsg == 5070
    assert ds.attrs["references"] == "doi:10.1002/saj2.20769"


def test_values(folder):
    ds = open_solus100(folder, depths=[0]).compute()
    assert np.isnan(ds.sand[0, 0, 0])
    cell = ds.isel(y=3, x=4, depth=0)
    meant = {"sand": 40, "organic_carbon": 0.04, "bulk_density": 1.37, "ph": 6.55, "cec": 12.3, "coarse_fragments": 12}
    assert_allclose([float(cell[name]) for name in meant], list(meant.values()), rtol=1e-6)
    assert float(open_solus100(folder, "sand", statistic="high").sand[1, 3, 4]) == 46


def test_a_mean_over_depth_is_of_trapezoids(folder):
    sand = xsoil.depth_mean(open_solus100(folder, "sand"), 0, 0.3).sand.isel(y=3, x=4)
    assert_allclose(sand, (5 * 40.5 + 10 * 42 + 15 * 44.5) / 30, rtol=1e-6)


def test_over_http(folder):
    with served(folder) as url:
        remote = open_solus100(url, ["sand"], depths=[0, 0.05]).compute()
    assert_array_equal(remote.sand, open_solus100(folder, ["sand"], depths=[0, 0.05]).sand)
    with pytest.raises(ArgumentError, match="name the variables"):
        open_solus100()


def test_a_signed_url_is_that_of_a_file_or_of_its_folder(folder):
    with served(folder) as url:
        signed = open_solus100(f"{url}/sandtotal_0_cm_p.tif?signature=a%2Fb").compute()
        whole = open_solus100(f"{url}/?signature=a", "sand", depths=[0]).compute()
    assert list(signed.data_vars) == ["sand"]
    meant = open_solus100(folder, "sand", depths=[0]).sand
    assert_array_equal(signed.sand, meant)
    assert_array_equal(whole.sand, meant)


def test_other_files_of_a_folder_are_left_but_not_those_of_a_list(folder):
    tif(folder / "resdept_0_cm_p.tif", np.ones((20, 30)), **ALBERS)  # a property that xsoil does not know
    (folder / "notes.tif").write_text("no raster")
    assert "sand" in open_solus100(folder, depths=[0])
    with pytest.raises(FileError, match=r"'notes.tif' is not named like"):
        open_solus100([folder / "sandtotal_0_cm_p.tif", folder / "notes.tif"])
    with pytest.raises(FileError, match=r"'resdept_0_cm_p.tif' is not named like .*known properties: sandtotal"):
        open_solus100([folder / "sandtotal_0_cm_p.tif", folder / "resdept_0_cm_p.tif"])


def test_two_files_of_one_map(folder):
    tif(folder / "again" / "sandtotal_0_cm_p.tif", np.ones((20, 30)), **ALBERS)
    with pytest.raises(ArgumentError, match="are both sand at 0 cm; give one of them"):
        open_solus100(folder, "sand")


def test_faults(folder):
    with pytest.raises(ArgumentError, match="the first that of bulk_density at 5 cm"):
        open_solus100(folder)
    with pytest.raises(ArgumentError, match="no depth of 10 cm"):
        open_solus100(folder, "sand", depths=[0.1])
    with pytest.raises(FileError, match=r"not named like a map of SOLUS100 \(claytotal_0_cm_p.tif\)"):
        open_solus100(__file__)
    with pytest.raises(FileError, match="is a low of SOLUS100"):
        open_solus100(folder, "sand", statistic="low")
