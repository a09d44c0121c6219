"""Arguments of a wrong kind, such as a list for a name, are refused with what was expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import ArgumentError, UnknownNameError

BOX = GeoBox.from_bbox((-100, 38, -98, 40), "EPSG:4326", resolution=0.25)
VALUES = {
    "sand": (40.0, "percent"), "silt": (40.0, "percent"), "clay": (20.0, "percent"), "theta_s": (0.43, "m3 m-3"),
    "theta_r": (0.05, "m3 m-3"), "alpha": (0.03, "cm-1"), "n": (1.5, "1"), "k_sat": (20.0, "cm d-1"),
}  # fmt: skip
SOIL = xr.Dataset(
    {name: (BOX.dimensions, np.full(BOX.shape, value), {"units": units}) for name, (value, units) in VALUES.items()},
    xr_coords(BOX),
)
for fraction in ("sand", "silt", "clay"):
    SOIL[fraction].attrs["silt_limit"] = 50.0
TIME = {"time": pd.date_range("2001-01-01", periods=20)}
WATER = xr.Dataset({"soil_moisture": ("time", np.linspace(0.1, 0.3, 20), {"units": "m3 m-3"})}, TIME)
RAIN = xr.Dataset({n: ("time", np.ones(20), {"units": "mm d-1"}) for n in ("precipitation", "pet")}, TIME)
QUANTILES = xr.concat([SOIL[["sand"]]] * 3, "quantile").assign_coords(quantile=[0.05, 0.5, 0.95])

NAMES = {
    "ptf": lambda x: SOIL.soil.ptf(x), "coarse fragments": lambda x: SOIL.soil.ptf(coarse_fragments=x),
    "limits": lambda x: SOIL.soil.water_limits(x), "how": lambda x: SOIL.soil.upscale("EASE2_M36km", x),
    "engine": lambda x: SOIL.soil.upscale("EASE2_M36km", engine=x),
    "downscale": lambda x: SOIL.soil.downscale("EASE2_M09km", x),
    "texture": lambda x: SOIL.soil.convert_texture(63.0, method=x),
    "curve": lambda x: SOIL.soil.retention(-100.0, curve=x), "curves": lambda x: SOIL.soil.convert_curve(x),
    "model": lambda x: SOIL.soil.simulate(RAIN, x), "gaps": lambda x: WATER.soil.fill_gaps(x),
    "root zone": lambda x: WATER.soil.rootzone(T=5, variable=x), "grid": lambda x: xsoil.ease_grid(x),
    "classes": lambda x: WATER.soil.evaluate(WATER, by=x),
    "report": lambda x: xsoil.conservation_report(SOIL, SOIL, how=x),
    "pet": lambda x: xsoil.data.prepare_forcing(RAIN.drop_vars("pet"), pet=x),
    "depth": lambda x: SOIL.expand_dims(depth=[0.1, 0.3]).soil.depth_mean(0.1, 0.2, units=x),
}  # fmt: skip


@pytest.mark.parametrize("what", list(NAMES))
@pytest.mark.parametrize("given", [["mean"], {"mean": 1}], ids=["a list", "a table"])
def test_a_container_is_no_name(what, given):
    if what == "report" and isinstance(given, dict):
        pytest.skip("operators by variable")
    with pytest.raises(xsoil.errors.SoilError):
        NAMES[what](given)


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("36km", ["EASE2_S36km", "EASE2_M36km", "EASE2_M09km"], "EASE2_M36km"),
        ("Mean", ["geometric_mean", "mean"], "mean"),
        ("cosby", ["rosetta1", "cosby1984"], "cosby1984"),
        ("meen", ["mode", "mean", "median"], "mean"),
    ],
)
def test_the_nearest_of_names(name, known, nearest):
    assert f"did you mean {nearest!r}?" in str(UnknownNameError.of("name", name, known))


def test_the_nearest_name_is_told():
    with pytest.raises(ArgumentError, match=r"did you mean 'linear'.* Expected one name, not a list"):
        WATER.soil.fill_gaps(["linear"])
    with pytest.raises(ArgumentError, match=r"did you mean 'EASE2_M09km'.* Expected one name, not a list"):
        xsoil.ease_grid(["EASE2_M09km"])


OTHERS = {
    "outputs": (lambda: SOIL.soil.ptf(outputs=7), "outputs=7; expected a name, or a list of names"),
    "no outputs": (lambda: SOIL.soil.ptf(outputs=[]), r"outputs=\[\]; expected a name, or a list of names"),
    "dims": (lambda: WATER.soil.fill_gaps("dct", dims=7), "dims=7; expected a name"),
    "smoothness": (lambda: WATER.soil.fill_gaps("dct", smoothness={}), "smoothness={}; expected a number above 0"),
    "limit": (lambda: SOIL.soil.convert_texture(None), "to_limit=None; expected micrometres"),
    "draws": (lambda: QUANTILES.soil.draw_soil(2, correlated=7), "correlated=7; expected a name"),
    "variable": (lambda: WATER.soil.evaluate(WATER, variable={}), "variable={}; expected one name, not a dict"),
    "parameter": (lambda: SOIL.soil.compare_scaling("EASE2_M36km", variable=7), "variable=7; expected the name"),
    "chunks": (lambda: SOIL.soil.to_zarr("nowhere", chunks=512), "chunks=512; expected a mapping such as"),
    "store": (lambda: SOIL.soil.to_zarr(None), "path=None; expected a path, not a NoneType"),
    "nodata": (lambda: SOIL.sand.soil.to_cog("nowhere.tif", nodata="none"), "nodata='none'; expected a number"),
    "folder": (lambda: xsoil.load_model(["model"]), r"path=\['model'\]; expected a path, not a list"),
    "leaves": (lambda: xsoil.data.prepare_forcing(RAIN, lai=2.0), "lai is a float; expected a DataArray"),
    "how": (lambda: xsoil.data.prepare_forcing(RAIN, how=["mean"]), "expected a mapping such as"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(OTHERS))
def test_arguments_of_another_kind(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, says = OTHERS[what]
    with pytest.raises(ArgumentError, match=says):
        call()
    assert not list(tmp_path.iterdir())
