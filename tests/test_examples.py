"""The examples on real data run as a user runs them, and their results stand where they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr
from example_runs import refusal, run


def test_mosel(data, tmp_path):
    run("mosel", "--data", data, "--out", tmp_path)
    table = pd.read_csv(tmp_path / "table.csv", index_col=0)
    assert list(table.index) == ["EASE2_M09km", "EASE2_M25km"]
    # Precipitation 2.48 mm/d less the change of storage is what leaves the soil.
    leaving = table["actual_et [mm/yr]"] + table["runoff [mm/yr]"] + table["drainage [mm/yr]"]
    assert leaving.between(850, 960).all()
    assert table["r"].between(0.3, 0.6).all()
    stored = xr.open_zarr(tmp_path / "soil_moisture_EASE2_M09km.zarr")
    assert stored.sizes["time"] == 1826 - 365
    raster = rioxarray.open_rasterio(tmp_path / "k_sat_EASE2_M25km.tif", masked=True)
    assert raster.rio.crs.to_epsg() == 6933
    assert np.isfinite(raster).sum() == table.loc["EASE2_M25km", "cells"]
    assert (tmp_path / "mosel.png").stat().st_size > 20_000


def test_smap_conus(data, tmp_path):
    assert "181 of 309 pixels" in run("smap_conus", "--data", data, "--out", tmp_path)
    skill = pd.read_csv(tmp_path / "skill_per_pixel.csv", index_col=0)
    assert {"r", "ubrmse", "bias", "n"} <= set(skill)
    assert 0.7 < skill.r.median() < 0.85
    assert 0.025 < skill.ubrmse.median() < 0.045
    assert (tmp_path / "smap_conus.png").stat().st_size > 20_000


def test_soilgrids_to_ease(data, tmp_path):
    run("soilgrids_to_ease", "--data", data, "--out", tmp_path)
    raster = rioxarray.open_rasterio(tmp_path / "k_sat.tif", masked=True)
    assert raster.rio.crs.to_epsg() == 6933
    assert raster.rio.resolution() == pytest.approx((9008.055210146, -9008.055210146), rel=1e-9)
    assert 20 < float(raster.median()) < 120


def test_mhm_mpr(data, tmp_path):
    run("mhm_mpr", "--data", data, "--out", tmp_path)
    table = pd.read_csv(tmp_path / "table.csv", index_col="parameter")
    by_horizon = ["L1_soilMoistSat", "L1_soilMoistFC", "L1_wiltingPoint", "L1_soilMoistExp", "L1_fRoots"]
    by_period = ["L1_kfastFlow", "L1_kSlowFlow", "L1_alpha", "L1_kPerco", "L1_fSealed"]
    assert dict(table.n) == dict.fromkeys(by_horizon, 136) | dict.fromkeys(by_period, 68) | {"L1_unsatThresh": 34}
    # mHM's file is in single precision: half a unit in the last place is 6e-8.
    assert (table.max_relative_deviation < 1e-7).all()
    choices = pd.read_csv(tmp_path / "choices.csv", index_col="variant")["WP mean"]
    assert abs(choices["MPR, harmonic (mHM)"]) < 1e-5
    # of every positive field harmonic < geometric < arithmetic mean
    assert 5 < choices["MPR, geometric"] < choices["MPR, mean"] < 20
    assert (tmp_path / "mhm_mpr.png").stat().st_size > 20_000


def test_li2024_scaling_uncertainty(data, tmp_path):
    run("li2024_scaling_uncertainty", "--data", data, "--out", tmp_path, "--region", -104, 35, -98, 39)
    found = pd.read_csv(tmp_path / "findings.csv")
    assert set(found.case) == {"synthetic 9 km", "synthetic 36 km", "synthetic 108 km", "SoilGrids 2014 9 km",
                               "SoilGrids 2017 9 km"}  # fmt: skip
    assert found[found.finding.str.startswith("operators matter more")].holds.all()
    # Numbers of the real clips do not depend on the region.
    clip = pd.read_csv(tmp_path / "rmse_SoilGrids_2014_9_km.csv", index_col=0)
    assert clip.shape == (60, 60)
    assert clip.loc["CB2-MI", "CB2-MA"] > clip.loc["CB2-MA", "MA-CB2"] > clip.loc["CB2-NN", "NN-CB2"]
    assert clip.loc["CB1-GE", "ME-CB1"] < 1e-3
    r = pd.read_csv(tmp_path / "r_synthetic_9_km.csv", index_col=0)
    assert r.loc["CB1-ME", "ME-CB1"] > 0.99 > r.loc["CB2-MI", "CB2-MA"]
    assert (tmp_path / "rmse_synthetic_9_km.png").stat().st_size > 100_000


def test_li2024_names_a_wrong_region():
    assert "west < east" in refusal("li2024_scaling_uncertainty", "--region", -98, 36, -104, 39)


@pytest.mark.parametrize("name", ["mosel", "smap_conus", "soilgrids_to_ease", "mhm_mpr", "li2024_scaling_uncertainty"])
def test_a_wrong_path_is_named(name, tmp_path):
    assert "no file" in refusal(name, "--data", tmp_path / "nowhere")
