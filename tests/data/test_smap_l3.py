"""SMAP Level 3: files of the true layout come out as maps on the right grid, day by day, and nothing is read early."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr
from granules import smap_l3
from numpy.testing import assert_array_equal

import xsoil
from xsoil.data import FileError, open_smap_l3
from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnknownNameError

GOOD = {(90, 200): (0.25, 0), (90, 201): (0.30, 8), (101, 200): (0.35, 1), (102, 200): (0.40, 7)}


@pytest.fixture
def two_days(tmp_path):
    smap_l3(tmp_path, "20150402", cells=GOOD)
    smap_l3(tmp_path, "20150401", cells={(90, 200): (0.20, 0)})
    return tmp_path


def test_a_folder_is_a_series(two_days, no_compute):
    ds = open_smap_l3(two_days)
    assert dict(ds.sizes) == {"time": 2, "y": 406, "x": 964}
    assert xsoil.grid_of(ds) == xsoil.ease_grid("EASE2_M36km")
    assert_array_equal(ds.time.values, np.array(["2015-04-01", "2015-04-02"], "datetime64[ns]"))
    assert ds.soil_moisture.attrs["units"] == "m3 m-3"
    assert ds.soil_moisture.dtype == np.float32
    assert ds.soil_moisture.chunks[0] == (1, 1)
    assert "10.5067/4XXOGX0OOW1S" in ds.attrs["references"]
    assert ds.attrs["product_release"] == "R19240"


@pytest.mark.parametrize(
    ("quality", "kept"),
    [("recommended", [0.25, 0.30]), ("successful", [0.25, 0.30, 0.35]), ("all", [0.25, 0.30, 0.35, 0.40])],
)
def test_quality_bits(two_days, quality, kept):
    ds = open_smap_l3(two_days, quality=quality).isel(time=1).compute()
    found = ds.soil_moisture.values
    assert_array_equal(np.sort(found[np.isfinite(found)]), np.float32(kept))
    assert ds.retrieval_qual_flag.dtype == np.uint16
    assert ds.retrieval_qual_flag[102, 200] == 7
    assert ds.retrieval_qual_flag.attrs["_FillValue"] == 65534


def test_row_0_is_the_north_and_cells_are_where_nsidc_says(tmp_path, data):
    """The reference latitudes and longitudes are NSIDC's own of EASE2_M36km."""
    smap_l3(tmp_path, "20150401", cells={(60, 250): (0.2, 0), (300, 700): (0.4, 0)})
    day = open_smap_l3(tmp_path).soil_moisture.isel(time=0).compute()
    with xr.open_dataset(data / "rasters" / "ease2_36km_landmask.nc") as mask:
        latitude, longitude = mask.nsidc_lat.load(), mask.nsidc_lon.load()
    for value, row, column in ((0.2, 60, 250), (0.4, 300, 700)):
        y, x = (int(i) for i in np.argwhere(day.values == np.float32(value))[0])
        assert (y, x) == (row, column)
        box = xsoil.grid_of(day)
        west, south, east, north = box[y : y + 1, x : x + 1].geographic_extent.boundingbox
        assert south < float(latitude[row]) < north
        assert west < float(longitude[column]) < east


def test_evening_and_both(two_days):
    pm = open_smap_l3(two_days, overpass="PM")
    assert pm.soil_moisture[1, 90, 200].compute() == np.float32(0.35)
    both = open_smap_l3(two_days, overpass="both")
    assert both.soil_moisture.dims == ("time", "overpass", "y", "x")
    assert_array_equal(both.soil_moisture[1, :, 90, 200].compute(), np.float32([0.25, 0.35]))
    assert list(both.overpass.values) == ["AM", "PM"]


def test_other_fields_keep_their_units(two_days):
    ds = open_smap_l3(two_days, variables=["surface_temperature", "surface_flag"])
    assert ds.surface_temperature.attrs["units"] == "K"
    assert ds.surface_temperature[1, 90, 200].compute() == 290
    assert "frozen_ground_model" in ds.surface_flag.attrs["flag_meanings"]


def test_region_reads_only_its_part(two_days):
    whole, part = open_smap_l3(two_days), open_smap_l3(two_days, region="conus")
    assert xsoil.grid_of(part) == xsoil.ease_grid("EASE2_M36km", "conus")
    row, column = xsoil.ease_rowcol(part)
    same = whole.isel(y=slice(row, row + part.sizes["y"]), x=slice(column, column + part.sizes["x"]))
    assert float(same.soil_moisture.count()) > 0
    assert_array_equal(part.soil_moisture, same.soil_moisture)
    assert_array_equal(part.retrieval_qual_flag, same.retrieval_qual_flag)


def test_region_across_the_dateline(tmp_path):
    smap_l3(tmp_path, "20150401", cells={(100, 963): (0.2, 0), (100, 0): (0.3, 0), (100, 1): (0.4, 0)})
    ds = open_smap_l3(tmp_path, region=(179.5, 20, -179.5, 60)).soil_moisture.compute()
    found = ds.values[0]
    row = int(np.argwhere(np.isfinite(found))[0, 0])
    assert_array_equal(found[row][np.isfinite(found[row])][:2], np.float32([0.2, 0.3]))


def test_nine_kilometres(tmp_path):
    smap_l3(tmp_path, "20150401", product="P_E", cells={(400, 800): (0.25, 0)})
    ds = open_smap_l3(tmp_path)
    assert xsoil.grid_of(ds) == xsoil.ease_grid("EASE2_M09km")
    assert ds.soil_moisture[0, 400, 800].compute() == np.float32(0.25)
    assert "10.5067/M20OXIZHY3RJ" in ds.attrs["references"]


def test_remote_files(two_days):
    import fsspec

    store = fsspec.filesystem("memory")
    for path in two_days.glob("*.h5"):
        store.pipe(f"/smap/{path.name}", path.read_bytes())
    for paths in ("memory://smap/*.h5", "memory://smap/", [f"memory://smap/{p.name}" for p in two_days.glob("*.h5")]):
        xr.testing.assert_identical(open_smap_l3(paths).compute(), open_smap_l3(two_days).compute())


def test_no_number_is_read_at_opening(two_days, monkeypatch):
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read too early"))
    open_smap_l3(two_days, overpass="both", variables=["soil_moisture", "surface_flag"])


@pytest.mark.parametrize("overpass", ["AM", "both"])
def test_each_file_is_opened_once(two_days, monkeypatch, overpass):
    opened = []
    true = h5py.File
    monkeypatch.setattr(h5py, "File", lambda path, *more: (opened.append(path), true(path, *more))[1])
    open_smap_l3(two_days, overpass=overpass, variables=["soil_moisture", "surface_flag"])
    assert len(opened) == len(set(opened)) == 2


def test_a_file_that_is_something_else(two_days, tmp_path):
    bad = tmp_path / "SMAP_L3_SM_P_20150403_R19240_001.h5"
    bad.write_text("<html>Please log in</html>")
    with pytest.raises(FileError, match=r"web page.*your account"):
        open_smap_l3(two_days)
    good = (tmp_path / "SMAP_L3_SM_P_20150401_R19240_001.h5").read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    with pytest.raises(FileError, match=r"20150403.*cut short.*load it again"):
        open_smap_l3(two_days)
    bad.write_bytes(b"")
    with pytest.raises(FileError, match="empty"):
        open_smap_l3(two_days)
    with h5py.File(bad, "w") as file:
        file.create_group("Freeze_Thaw_Retrieval_Data_Global")
    with pytest.raises(FileError, match=r"Freeze_Thaw.*another product"):
        open_smap_l3(two_days)
    with h5py.File(bad, "w") as file:
        group = file.create_group("Soil_Moisture_Retrieval_Data_AM")
        for name in ("soil_moisture", "retrieval_qual_flag"):
            group[name] = np.zeros((20, 30), "f4")
    with pytest.raises(FileError, match=r"shape \(20, 30\); expected \(406, 964\)"):
        open_smap_l3(two_days)


def test_names_and_arguments(two_days, tmp_path):
    with pytest.raises(MissingVariableError, match=r"no 'soil_moistur' .*did you mean 'soil_moisture'"):
        open_smap_l3(two_days, variables=["soil_moistur"])
    with pytest.raises(ArgumentError, match="overpass is 'am'; expected one of 'AM'"):
        open_smap_l3(two_days, overpass="am")
    with pytest.raises(ArgumentError, match="no files in"):
        open_smap_l3(str(tmp_path / "nothing*.h5"))
    with pytest.raises(UnknownNameError, match="region"):
        open_smap_l3(two_days, region="conuss")
    smap_l3(tmp_path, "20150401", release="R18290")
    with pytest.raises(TimeError, match=r"2 files of 2015-04-01.*R18290.*keep one"):
        open_smap_l3(two_days)
    with pytest.raises(FileError, match="is not named like SMAP_L3_SM_P_yyyymmdd"):
        open_smap_l3(__file__)


def test_36_and_9_km_do_not_mix(two_days):
    smap_l3(two_days, "20150405", product="P_E")
    with pytest.raises(FileError, match="36 km or 9 km"):
        open_smap_l3(two_days)
