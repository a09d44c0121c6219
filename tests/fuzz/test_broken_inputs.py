"""Broken and odd inputs, one line each: what works all the same, what raises and says how to mend it, what is NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
from odd_inputs import (
    attributed,
    down,
    fill,
    frozen,
    mean,
    moisture,
    named,
    parameters,
    points,
    profile,
    pt,
    put,
    referenced,
    score,
    shifted,
    sim,
    soil,
    strided,
    typed,
    unaligned,
    unknown_chunks,
    up,
    weather,
    with_time,
    written,
)

import xsoil
from xsoil import errors

# -- works as the clean one does ---------------------------------------------------------------------------------------

WORKS = {
    "big-endian": (lambda: pt(typed(soil(), ">f4")), lambda: pt(soil())),
    "big-endian, upscale": (lambda: up(typed(soil(), ">f4")), lambda: up(soil())),
    "big-endian forcing": (lambda: sim(parameters(), typed(weather(), ">f4")), lambda: sim(parameters(), weather())),
    "read-only": (lambda: up(frozen(soil())), lambda: up(soil())),
    "read-only series": (lambda: fill(frozen(moisture())), lambda: fill(moisture())),
    "strided and reversed memory": (lambda: up(strided(soil())), lambda: up(soil())),
    "strided, ptf": (lambda: pt(strided(soil())), lambda: pt(soil())),
    "unaligned chunks": (lambda: pt(unaligned(soil())), lambda: pt(soil())),
    "unaligned chunks, upscale": (lambda: up(unaligned(soil())), lambda: up(soil())),
    "chunks of one cell": (lambda: up(soil().chunk(lat=1, lon=1)), lambda: up(soil())),
    "Breitengrad, Längengrad": (lambda: up(named(soil(), "Breitengrad", "Längengrad")), lambda: up(soil())),
    "Chinese dims": (lambda: up(named(soil(), "纬度", "经度")), lambda: up(soil())),
    "dims with blanks": (lambda: up(named(soil(), "the rows", "the columns")), lambda: up(soil())),
    "ascending latitudes": (lambda: up(soil().isel(lat=slice(None, None, -1))), lambda: up(soil())),
    "longitudes above 360": (lambda: up(shifted(soil(), lon=360.0)), lambda: up(soil())),
    "transposed": (lambda: up(soil().transpose("lon", "lat")), lambda: up(soil())),
    "coordinates in single precision": (
        lambda: up(soil().assign_coords(lat=soil().lat.astype("f4"))), lambda: up(soil()),
    ),
    "units as bytes": (lambda: pt(attributed(soil(), "sand", units=b"percent")), lambda: pt(soil())),
    "units spelled otherwise": (lambda: pt(attributed(soil(), "sand", units=" % ")), lambda: pt(soil())),
    "a grid mapping that is not there": (
        lambda: up(attributed(soil(), "sand", grid_mapping="lost")), lambda: up(soil()),
    ),
    "a variable of text beside": (lambda: pt(soil().assign(station="A")), lambda: pt(soil())),
    "time as numpy dates of days": (
        lambda: fill(moisture().assign_coords(time=moisture().time.astype("datetime64[s]"))), lambda: fill(moisture()),
    ),
    "float16": (lambda: typed(soil(), "f2").pipe(pt).shape, lambda: pt(soil()).shape),
    "observations in percent": (
        lambda: score(moisture(), attributed((moisture() * 100).astype("f4"), "soil_moisture", units="%")),
        lambda: score(moisture(), moisture()),
    ),
    "layers in any order": (lambda: mean(profile().isel(depth=[2, 0, 1])), lambda: mean(profile())),
    "all dims of length one": (
        lambda: xsoil.ptf(soil().isel(lat=[2], lon=[3])).k_sat.values[0, 0], lambda: pt(soil())[2, 3],
    ),
    "no dims": (lambda: float(xsoil.ptf(soil().isel(lat=2, lon=3)).k_sat), lambda: float(pt(soil())[2, 3])),
    "denormal numbers": (lambda: up(put(soil(), "sand", 1e-42)), lambda: up(put(soil(), "sand", 0.0))),
}  # fmt: skip


@pytest.mark.parametrize(("odd", "clean"), WORKS.values(), ids=WORKS)
def test_works_all_the_same(odd, clean):
    np.testing.assert_allclose(odd(), clean(), rtol=1e-4, atol=1e-6)


# -- NaN, there and nowhere else ---------------------------------------------------------------------------------------


def flagged(ds):
    found = xsoil.ptf(ds, quality=True)
    return found.k_sat.values, found.quality.values


def stopped(ds, forcing):
    found = xsoil.simulate(ds, forcing)
    return found.theta.values[-1], found.status.values


CELLS = {
    "NaN clay": lambda: flagged(put(soil(), "clay", np.nan)),
    "infinite clay": lambda: flagged(put(soil(), "clay", np.inf)),
    "minus infinite sand": lambda: flagged(put(soil(), "sand", -np.inf)),
    "1e30 percent": lambda: flagged(put(soil(), "sand", 1e30)),
    "the largest number": lambda: flagged(put(soil(), "sand", np.finfo("f4").max)),
    "negative sand": lambda: flagged(put(soil(), "sand", -9999.0)),
    "zero texture": lambda: flagged(put(put(put(soil(), "sand", 0), "clay", 0), "silt", 0)),
    "theta_s infinite": lambda: stopped(put(parameters(), "theta_s", np.inf), weather()),
    "k_sat negative": lambda: stopped(put(parameters(), "k_sat", -1.0), weather()),
    "k_sat infinite": lambda: stopped(put(parameters(), "k_sat", np.inf), weather()),
    "root depth of zero": lambda: stopped(put(parameters(), "root_depth", 0.0), weather()),
    "wilting above saturation": lambda: stopped(put(parameters(), "theta_wp", 0.9), weather()),
    "rain infinite": lambda: stopped(parameters(), put(weather(), "precipitation", np.inf, (1, 0, 0))),
    "rain negative": lambda: stopped(parameters(), put(weather(), "precipitation", -1.0, (1, 0, 0))),
    "demand NaN": lambda: stopped(parameters(), put(weather(), "pet", np.nan, (3, 0, 0))),
}


@pytest.mark.parametrize("act", CELLS.values(), ids=CELLS)
def test_the_cell_is_missing_and_flagged(act):
    values, flags = act()
    assert np.isnan(values[0, 0])
    assert flags[0, 0] != 0
    assert np.isfinite(values).sum() == values.size - 1
    assert (flags.ravel()[1:] == 0).all()


def test_huge_rain_is_still_water():
    """1e6 mm in a day run off; the balance does not notice."""
    found = xsoil.simulate(parameters(), put(weather(), "precipitation", 1e6, (1, 0, 0)), outputs=("theta", "runoff"))
    assert 0.1 <= float(found.theta[1, 0, 0]) <= 0.5
    assert float(found.runoff[1, 0, 0]) == pytest.approx(1e6, rel=1e-3)


def test_infinite_observations_are_no_pairs():
    spoiled = put(moisture(), "soil_moisture", np.inf)
    found = xsoil.evaluate(moisture().rename(soil_moisture="theta"), spoiled)
    assert int(found.n[0, 0]) == 11
    assert np.isfinite(found.rmse.values).all()
    filled = xsoil.fill_gaps(put(moisture(), "soil_moisture", np.inf, (4, 0, 0)))
    assert np.isfinite(filled.soil_moisture.values).all()
    assert int(filled.soil_moisture_filled[4, 0, 0]) == 1


# -- raises, and says how to mend it -----------------------------------------------------------------------------------

E = errors
RAISES = {
    "NaN coordinates": (lambda: up(soil().assign_coords(lat=[45, np.nan, 44.5, 44.25, 44, 43.75])), E.AxisError, "NaN"),
    "infinite coordinates": (
        lambda: up(soil().assign_coords(lat=[45, np.inf, 44.5, 44.25, 44, 43.75])), E.AxisError, "infinite",
    ),
    "coordinates twice": (lambda: up(soil().isel(lat=[0, 0, 1, 2, 3, 4])), E.AxisError, "shuffled"),
    "all coordinates the same": (lambda: up(soil().assign_coords(lat=[45.0] * 6)), E.AxisError, "shuffled"),
    "coordinates of text": (lambda: up(soil().assign_coords(lat=list("abcdef"))), E.AxisError, "expected numbers"),
    "coordinates of objects": (
        lambda: up(soil().assign_coords(lat=np.array([1, None, 2, 3, 4, 5], object))), E.AxisError, "expected numbers",
    ),
    "complex coordinates": (lambda: up(soil().assign_coords(lat=np.arange(6) * 1j)), E.AxisError, "expected numbers"),
    "shuffled": (lambda: up(soil().isel(lon=[3, 1, 0, 2, 4, 5, 6, 7])), E.AxisError, "sortby"),
    "a row is missing": (lambda: up(soil().drop_isel(lat=2)), E.AxisError, "evenly"),
    "one pixel of unknown size": (lambda: up(soil().isel(lat=[0], lon=[0])), E.AxisError, "resolution"),
    "resolution that is no number": (
        lambda: up(written("lat", soil().isel(lat=[0]), resolution="fine")), E.AxisError, "resolution",
    ),
    "resolution of zero": (lambda: up(written("lat", soil().isel(lat=[0]), resolution=0.0)), E.AxisError, "resolution"),
    "resolution NaN": (lambda: up(written("lat", soil().isel(lat=[0]), resolution=np.nan)), E.AxisError, "resolution"),
    "no rows": (lambda: up(soil().isel(lat=slice(0))), E.AxisError, "empty"),
    "no rows, downscale": (lambda: down(soil().isel(lon=slice(0))), E.AxisError, "empty"),
    "no spatial dims": (lambda: up(soil().rename(lat="a", lon="b")), E.AxisError, "standard_name"),
    "latitudes beyond the pole": (lambda: up(shifted(soil(), lat=100.0)), E.SoilError, "outside"),
    "no CRS": (lambda: up(soil().rename(lat="y", lon="x")), E.CRSError, "write_crs"),
    "a CRS that is noise": (lambda: up(referenced(soil(), crs_wkt="PROJCS[broken")), E.CRSError, "write_crs"),
    "an empty grid mapping": (lambda: up(referenced(soil(), grid_mapping_name="none")), E.CRSError, "write_crs"),
    "a GeoTransform of words": (
        lambda: up(referenced(soil(), crs_wkt="EPSG:4326", GeoTransform="a b c d e f").drop_vars(["x", "y"])),
        E.AxisError, "GeoTransform",
    ),
    "a GeoTransform of zeros": (
        lambda: up(referenced(soil(), crs_wkt="EPSG:4326", GeoTransform="0 0 0 0 0 0").drop_vars(["x", "y"])),
        E.AxisError, "transform .* no area",
    ),
    "a GeoTransform of NaN": (
        lambda: up(referenced(soil(), crs_wkt="EPSG:4326", GeoTransform="nan 1 0 nan 0 -1").drop_vars(["x", "y"])),
        E.AxisError, "transform .* no area",
    ),
    "object dtype": (lambda: pt(typed(soil(), object)), E.SoilError, "(?i)object|number"),
    "object dtype, upscale": (lambda: up(typed(soil(), object)), E.SoilError, "(?i)object|number"),
    "text": (lambda: pt(typed(soil(), str)), E.SoilError, "(?i)text|number|type|<U"),
    "text, upscale": (lambda: up(typed(soil(), str)), E.SoilError, "(?i)text|number|type|<U"),
    "complex numbers": (lambda: up(typed(soil(), "c8")), E.SoilError, "(?i)complex"),
    "complex numbers, ptf": (lambda: pt(typed(soil(), "c8")), E.SoilError, "(?i)complex"),
    "complex numbers, simulate": (lambda: sim(typed(parameters(), "c8"), weather()), E.SoilError, "(?i)complex"),
    "dates as values": (lambda: up(typed(soil(), "i8").astype("datetime64[ns]")), E.SoilError, "(?i)datetime"),
    "object moisture": (lambda: fill(typed(moisture(), object)), E.SoilError, "(?i)object|number"),
    "object moisture, evaluate": (
        lambda: score(typed(moisture(), object), moisture()), E.MissingVariableError, "no variable in common",
    ),
    "object depths": (
        lambda: mean(points().assign_coords(depth=("depth", np.array(["a", "b", "c"], object), {"units": "m"}))),
        E.SoilError, "(?i)depth",
    ),
    "no units": (lambda: pt(soil().drop_attrs()), E.UnitsError, "attrs"),
    "units of another kind": (lambda: pt(attributed(soil(), "sand", units="K")), E.UnitsError, "'K'"),
    "units that are a number": (lambda: pt(attributed(soil(), "sand", units=7)), E.UnitsError, "percent"),
    "two nodata values": (
        lambda: up(attributed(typed(soil(), "i2"), "sand", _FillValue=1, missing_value=2)), E.NodataError, "sand",
    ),
    "nodata that is a word": (
        lambda: up(attributed(soil(), "sand", _FillValue="missing")), E.NodataError, "number",
    ),
    "scale factor that is a word": (
        lambda: up(attributed(soil(), "sand", scale_factor="ten")), E.SoilError, "scale_factor",
    ),
    "unknown chunk sizes": (lambda: xsoil.ptf(unknown_chunks(soil())), E.SoilError, "."),
    "duplicate times": (lambda: sim(parameters(), with_time(weather(), [0, 1, 1, 2])), E.TimeError, "duplicates"),
    "duplicate times, gaps": (lambda: fill(with_time(moisture(), [0, 1, 1, 2])), E.TimeError, "."),
    "duplicate times, evaluate": (
        lambda: score(with_time(moisture(), [0, 1, 1, 2]), moisture()), E.TimeError, "drop_duplicates",
    ),
    "unsorted times": (lambda: fill(with_time(moisture(), [2, 0, 1])), E.TimeError, "sort"),
    "times that are missing": (
        lambda: sim(parameters(), weather().assign_coords(time=weather().time.where([True, False, True, True]))),
        E.TimeError, "NaT|missing|time",
    ),
    "missing times, gaps": (
        lambda: fill(moisture().assign_coords(time=moisture().time.where(np.arange(12) != 3))), E.TimeError, ".",
    ),
    "missing times, evaluate": (
        lambda: score(moisture().assign_coords(time=moisture().time.where(np.arange(12) % 2 == 0)), moisture()),
        E.TimeError, ".",
    ),
    "times as text": (
        lambda: sim(parameters(), weather().assign_coords(time=list("abcd"))), E.TimeError, "to_datetime",
    ),
    "times as numbers, gaps": (lambda: fill(moisture().assign_coords(time=np.arange(12))), E.TimeError, "."),
    "no time": (lambda: sim(parameters(), weather().isel(time=0, drop=True)), E.TimeError, "time"),
    "no days": (lambda: sim(parameters(), with_time(weather(), slice(0))), E.TimeError, "day"),
    "no days, gaps": (lambda: fill(with_time(moisture(), slice(0))), E.TimeError, "."),
    "a gap in time": (lambda: sim(parameters(), with_time(weather(), [0, 1, 3])), E.TimeError, "gap"),
    "hourly forcing": (
        lambda: sim(parameters(), weather().assign_coords(time=pd.date_range("2020", periods=4, freq="h"))),
        E.TimeError, "resample",
    ),
    "forcing shifted by half a cell": (
        lambda: sim(parameters(), shifted(weather(), lat=0.125)), E.GridMismatchError, "upscale",
    ),
    "forcing of another size": (lambda: sim(parameters(), weather().isel(lat=slice(4))), E.GridMismatchError, "cells"),
    "observations of another grid": (
        lambda: score(moisture(), shifted(moisture(), lon=1.0)), E.GridMismatchError, "upscale",
    ),
    "no common time": (
        lambda: score(moisture(), moisture().assign_coords(time=pd.date_range("1990", periods=12))), E.TimeError, ".",
    ),
    "depths that are NaN": (
        lambda: mean(points().assign_coords(depth=("depth", [0.1, np.nan, 1], {"units": "m"}))),
        E.SoilError, "(?i)depth",
    ),
    "bounds that are NaN": (
        lambda: mean(profile().assign_coords(depth_bnds=profile().depth_bnds.where(profile().depth != 0.2))),
        E.AxisError, "missing depths",
    ),
    "layers that overlap": (
        lambda: mean(profile().assign_coords(depth_bnds=(("depth", "bnds"), [[0, 0.2], [0.1, 0.3], [0.3, 0.7]]))),
        E.AxisError, "overlap",
    ),
    "an interval upside down": (lambda: mean(profile(), 0.5, 0.1), E.ArgumentError, "upper one first"),
    "an interval of NaN": (lambda: mean(profile(), np.nan, 0.1), E.ArgumentError, "two depths"),
    "an interval of words": (lambda: mean(profile(), "top", "bottom"), E.ArgumentError, "two depths"),
    "a list as dataset": (lambda: xsoil.ptf([1, 2, 3]), E.ArgumentError, "Dataset"),
    "None as dataset": (lambda: xsoil.upscale(None, "EASE2_M36km"), E.ArgumentError, "Dataset"),
    "a number as grid": (lambda: xsoil.upscale(soil(), 36), E.ArgumentError, "grid"),
    "a tile of no cells": (lambda: xsoil.upscale(soil().chunk(), "EASE2_M36km", chunks=0), E.ArgumentError, "chunks"),
    "a negative tile": (lambda: xsoil.upscale(soil().chunk(), "EASE2_M36km", chunks=-5), E.ArgumentError, "chunks"),
    "no substeps": (lambda: xsoil.simulate(parameters(), weather(), substeps=0), E.ArgumentError, "substeps"),
    "forcing that is None": (lambda: xsoil.simulate(parameters(), None), E.ArgumentError, "Dataset"),
    "a gap of NaN days": (lambda: xsoil.fill_gaps(moisture(), max_gap=np.nan), E.ArgumentError, "max_gap"),
    "smoothness of infinity": (
        lambda: xsoil.fill_gaps(moisture(), "dct", smoothness=np.inf), E.ArgumentError, "smoothness",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("act", "error", "words"), RAISES.values(), ids=RAISES)
def test_raises_and_says_how_to_mend_it(act, error, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=words):
            act()


def test_there_are_kinds_enough():
    """Sixty without the files; lines that were dropped would not be noticed otherwise."""
    assert len(WORKS) + len(CELLS) + len(RAISES) >= 60
