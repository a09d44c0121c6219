"""SMAP Level 4: three-hourly files of the true layout as one lazy series."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from granules import smap_l3, smap_l4
from numpy.testing import assert_allclose, assert_array_equal

import xsoil
from xsoil.data import FileError, open_smap_l4
from xsoil.errors import MissingVariableError, TimeError


@pytest.fixture
def morning(tmp_path):
    smap_l4(tmp_path, "20150401T043000", {(400, 800): 0.5})
    smap_l4(tmp_path, "20150401T013000", {(400, 800): 0.25})
    return tmp_path


def test_series(morning, no_compute):
    ds = open_smap_l4(morning)
    assert xsoil.grid_of(ds) == xsoil.ease_grid("EASE2_M09km")
    assert_array_equal(ds.time.values, np.array(["2015-04-01T01:30", "2015-04-01T04:30"], "datetime64[ns]"))
    assert set(ds.data_vars) == {"soil_moisture", "soil_moisture_rootzone"}
    assert all(ds[name].attrs["units"] == "m3 m-3" for name in ds.data_vars)
    assert "0-100 cm" in ds.soil_moisture_rootzone.attrs["long_name"]
    assert ds.attrs["references"] == "doi:10.5067/T5RUATAQREF8"


def test_values_units_and_days(morning):
    ds = open_smap_l4(morning, variables=["soil_moisture", "precipitation", "snow", "sm_profile"], region="conus")
    row, column = xsoil.ease_rowcol(ds)
    cell = ds.isel(y=400 - row, x=800 - column).compute()
    assert_array_equal(cell.soil_moisture, [0.25, 0.5])
    assert_allclose(cell.precipitation, [0.25 * 86400, 0.5 * 86400])
    assert cell.precipitation.attrs["units"] == "mm d-1"
    assert cell.snow.attrs["units"] == "mm"
    assert cell.sm_profile.attrs["units"] == "m3 m-3"
    assert float(ds.soil_moisture.isel(time=0).count()) == 1
    day = ds.soil_moisture.resample(time="1D").mean().isel(y=400 - row, x=800 - column)
    assert day.compute().item() == 0.375


def test_no_number_is_read_at_opening(morning, monkeypatch):
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read too early"))
    open_smap_l4(morning)


def test_remote(morning):
    import fsspec

    store = fsspec.filesystem("memory")
    for path in morning.glob("*.h5"):
        store.pipe(f"/l4/{path.name}", path.read_bytes())
    cell = open_smap_l4("memory://l4/*.h5").soil_moisture.isel(y=400, x=800)
    assert_array_equal(cell.compute(), [0.25, 0.5])


def test_faults(morning, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    path = smap_l4(other, "20150401T000000")
    update = path.rename(path.with_name(path.name.replace("gph", "aup")))
    with pytest.raises(FileError, match=r"not named like SMAP_L4_SM_gph.*analysis updates"):
        open_smap_l4(update)
    with pytest.raises(FileError, match="not named like SMAP_L4_SM_gph"):
        open_smap_l4(smap_l3(other, "20150401"))
    with pytest.raises(MissingVariableError, match=r"no 'sm_root' .*did you mean 'sm_rootzone'"):
        open_smap_l4(morning, variables=["sm_root"])
    twice = smap_l4(other, "20150401T013000")
    with pytest.raises(TimeError, match="2 files of 2015-04-01 01:30"):
        open_smap_l4([*morning.glob("*.h5"), twice])
    wrong = smap_l3(other, "20150402").rename(twice)
    with pytest.raises(FileError, match=r"Soil_Moisture_Retrieval_Data_AM.*another product"):
        open_smap_l4(wrong)
