"""ISMN: an archive of header+values files as the portal packs it, read through the package ismn."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError

pytest.importorskip("ismn", reason="the package ismn is not installed")

from xsoil.data import FileError, open_ismn

SENSORS = (  # network, station, depth, sensor, kind, lines
    ("NET-A", "Hill", (0.05, 0.05), "Probe-1", "sm", ["2015/04/01 00:00 0.2000 G M", "2015/04/01 12:00 0.3000 G M",
     "2015/04/01 18:00 0.9000 C02 M", "2015/04/02 01:00 0.4000 D01,D03 M", "2015/04/03 01:00 0.1000 G M"]),
    ("NET-A", "Hill", (0.05, 0.05), "Probe-2", "sm", ["2015/04/03 02:00 0.5000 G M", "2015/04/04 02:00 0.6000 G M"]),
    ("NET-A", "Hill", (0.50, 0.50), "Probe-1", "sm", ["2015/04/01 00:00 0.3500 G M", "2015/04/02 00:00 0.3600 G M"]),
    ("NET-A", "Hill", (0.05, 0.05), "Thermo", "ts", ["2015/04/01 00:00 12.5000 G M", "2015/04/02 00:00 13.5000 G M"]),
    ("NET-B", "Valley", (0.00, 0.08), "Rod", "sm", ["2015/04/02 00:00 0.2500 G M", "2015/04/02 23:00 0.3500 G M"]),
)  # fmt: skip


def write_archive(folder):
    path = folder / "Data_separate_files_20150401_20150404.zip"
    with zipfile.ZipFile(path, "w") as file:
        for network, station, (top, bottom), sensor, kind, lines in SENSORS:
            lat, lon = (40.5, -100.25) if network == "NET-A" else (45.0, 10.0)
            head = f"{network} {network} {station} {lat:.5f} {lon:.5f} 320.00 {top:.4f} {bottom:.4f} {sensor}"
            name = f"{network}_{network}_{station}_{kind}_{top:.6f}_{bottom:.6f}_{sensor}_20150401_20150404.stm"
            file.writestr(f"{network}/{station}/{name}", "\n".join([head, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("ismn"))


@pytest.fixture(scope="module")
def shallow(archive):
    return open_ismn(archive)


def test_sites(shallow):
    assert shallow.sizes == {"site": 3, "time": 4}
    assert shallow.soil_moisture.attrs["units"] == "m3 m-3"
    assert shallow.soil_moisture.chunks == ((1, 1, 1), (4,))
    assert list(shallow.network.values) == ["NET-A", "NET-A", "NET-B"]
    assert_allclose(shallow.latitude, [40.5, 40.5, 45])
    assert_allclose(shallow.depth_bottom, [0.05, 0.05, 0.08])
    assert "10.5194/hess-25-5749-2021" in shallow.attrs["references"]


def test_daily_means_of_good_values(shallow):
    by = {str(name): i for i, name in enumerate(shallow.instrument.values)}
    found = shallow.soil_moisture.compute()
    assert_allclose(found[by["Probe-1"]], [0.25, np.nan, 0.1, np.nan], rtol=1e-6)
    assert_allclose(found[by["Probe-2"]], [np.nan, np.nan, 0.5, 0.6], rtol=1e-6)
    assert_allclose(found[by["Rod"]], [np.nan, 0.3, np.nan, np.nan], rtol=1e-6)


def test_flags_least_counts_and_hours(archive):
    kept = open_ismn(archive, networks="NET-A", flags=("G", "C02", "D01")).soil_moisture.compute()
    first = int(np.argmax(kept.instrument.values == "Probe-1"))
    assert_allclose(kept[first], [(0.2 + 0.3 + 0.9) / 3, np.nan, 0.1, np.nan], rtol=1e-6)  # D01,D03: D03 is not kept
    full = open_ismn(archive, networks="NET-A", min_values=2).soil_moisture.compute()
    assert int(full.count()) == 1
    hours = open_ismn(archive, frequency="hourly", networks=["NET-B"]).soil_moisture.compute()
    assert hours.sizes["time"] == 24
    assert_allclose(hours[0, [0, 23]], [0.25, 0.35], rtol=1e-6)


def test_depth_and_temperature(archive):
    deep = open_ismn(archive, depth=(0.4, 0.6))
    assert deep.sizes["site"] == 1
    assert_allclose(deep.soil_moisture[0, :2], [0.35, 0.36], rtol=1e-6)
    warm = open_ismn(archive, "soil_temperature").soil_temperature
    assert warm.attrs["units"] == "K"
    assert_allclose(warm[0, :2], [285.65, 286.65], rtol=1e-6)


def test_the_series_travel_to_other_processes(shallow):
    again = pickle.loads(pickle.dumps(shallow))
    xr.testing.assert_identical(again.compute(), shallow.compute())


def test_faults(archive, tmp_path):
    with pytest.raises(MissingVariableError, match=r"no sensor of soil_moisture within 2 to 3 m.*0.05-0.05 m"):
        open_ismn(archive, depth=(2, 3))
    with pytest.raises(UnknownNameError, match="unknown network 'NET-C'"):
        open_ismn(archive, networks="NET-C")
    with pytest.raises(ArgumentError, match="depth is"):
        open_ismn(archive, depth=(0.1, 0))
    with pytest.raises(ArgumentError, match="no file or folder"):
        open_ismn(tmp_path / "none.zip")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("nothing")
    with pytest.raises(FileError, match="cannot be read as an archive of ISMN"):
        open_ismn(tmp_path / "other")
