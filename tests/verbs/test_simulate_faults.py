"""`simulate`, the water balance: value faults are flagged, metadata faults raise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from simulated import DAYS, soil, weather

from xsoil.errors import (
    ArgumentError,
    GridMismatchError,
    MissingVariableError,
    TimeError,
    UnitsError,
    UnknownNameError,
)
from xsoil.verbs._water_balance import PARAMETERS
from xsoil.verbs.simulate import final_state, simulate

# Value faults never raise.


@pytest.mark.parametrize("lazy", [False, True])
def test_value_faults_become_nan_with_a_flag(lazy):
    ds, forcing = soil(), weather()
    ds.theta_s[0, 0] = np.nan
    ds.theta_s[0, 1] = ds.theta_fc[0, 1]
    forcing.precipitation[10, 0, 2] = np.nan
    forcing.pet[20, 0, 3] = -1.0
    if lazy:
        ds, forcing = ds.chunk(y=2), forcing.chunk(time=7)
    run = simulate(ds, forcing).compute()
    flags = dict(zip(run.status.attrs["flag_meanings"].split(), run.status.attrs["flag_masks"], strict=True))
    named = ["missing_parameter", "impossible_parameters", "missing_forcing", "negative_forcing"]
    assert run.status.values[0, :5].tolist() == [*(flags[name] for name in named), 0]
    assert run.theta.isnull().sum("time").values[0, :5].tolist() == [DAYS, DAYS, DAYS - 10, DAYS - 20, 0]
    assert not run.status[1:].any()
    assert not run.theta[:, 1:].isnull().any()


def test_all_missing_input_is_legal():
    run = simulate(soil().map(lambda v: v * np.nan, keep_attrs=True), weather())
    assert run.theta.isnull().all()


# Metadata faults raise.


def run_with(ds=None, forcing=None, **options):
    return simulate(soil() if ds is None else ds, weather() if forcing is None else forcing, **options)


def without(name):
    ds = soil()
    del ds[name].attrs["units"]
    return ds


FAULTS = {
    "time gap": (lambda: run_with(forcing=weather().isel(time=[0, 1, 3])), TimeError, "gap"),
    "unsorted": (lambda: run_with(forcing=weather().isel(time=[1, 0, 2])), TimeError, "sortby"),
    "no time": (lambda: run_with(forcing=weather().isel(time=0)), TimeError, "time"),
    "hourly": (
        lambda: run_with(forcing=weather().assign_coords(time=pd.date_range("2001", periods=DAYS, freq="h"))),
        TimeError,
        "resample",
    ),
    "shifted grid": (
        lambda: run_with(forcing=weather().assign_coords(x=weather().x + 250)), GridMismatchError, "upscale",
    ),
    "other size": (lambda: run_with(forcing=weather().isel(x=slice(3))), GridMismatchError, "upscale"),
    "site far away": (
        lambda: simulate(soil().isel(x=0, y=0).assign_coords(x=9e6), weather()), GridMismatchError, "'x' is 9e",
    ),
    "far from one pixel": (
        lambda: simulate(soil(), weather().isel(x=0, y=0).assign_coords(y=-9e6)), GridMismatchError, "'y' is -9e",
    ),
    "flipped": (lambda: run_with(forcing=weather().isel(y=slice(None, None, -1))), GridMismatchError, "upscale"),
    "other names": (lambda: run_with(forcing=weather().rename(y="lat", x="lon")), GridMismatchError, "rename"),
    "other crs": (
        lambda: run_with(forcing=weather().rio.write_crs("EPSG:32632")), GridMismatchError, "CRS",
    ),
    "no units": (lambda: run_with(without("k_sat")), UnitsError, r"attrs\['units'\] = 'cm d-1'"),
    "wrong units": (
        lambda: run_with(forcing=weather().assign(pet=weather().pet.assign_attrs(units="K"))), UnitsError, "'K'",
    ),
    "no pet": (lambda: run_with(forcing=weather()[["precipitation"]]), MissingVariableError, "pet"),
    "parameter with time": (
        lambda: run_with(soil().assign(k_sat=soil().k_sat.expand_dims(time=weather().time))), ArgumentError, "time",
    ),
    "unknown model": (lambda: run_with(model="richard"), UnknownNameError, "did you mean 'richards'"),
    "unknown output": (lambda: run_with(outputs=("theta", "drainag")), UnknownNameError, "did you mean 'drainage'"),
    "models": (lambda: run_with(model=["richards"]), UnknownNameError, "unknown model"),
    "output by number": (lambda: run_with(outputs=3), ArgumentError, "outputs=3; expected names"),
    "no days": (lambda: run_with(forcing=weather().isel(time=[])), TimeError, "no day"),
    "dim like a result": (
        lambda: run_with(soil().rename(x="status"), forcing=weather().rename(x="status")), GridMismatchError, "status",
    ),
    "unknown keyword": (lambda: run_with(thetas=0.5), UnknownNameError, "did you mean 'theta_s'"),
    "option of the other model": (lambda: run_with(column_depth=0.6), ArgumentError, "column_depth with model=.water"),
    "state of the other model": (
        lambda: run_with(initial=xr.Dataset({"final_h": 1.0})), ArgumentError, "model='richards' \\(it holds final_h",
    ),
    "warmup too long": (lambda: run_with(warmup=DAYS), ArgumentError, "30 days"),
    "negative warmup": (lambda: run_with(warmup=-1), ArgumentError, "warmup"),
    "no substeps": (lambda: run_with(substeps=0), ArgumentError, "substeps"),
    "half a substep": (lambda: run_with(substeps=2.5), ArgumentError, "substeps"),
    "text as parameter": (lambda: run_with(theta_s="high"), ArgumentError, "number"),
    "list as initial": (lambda: run_with(initial=[0.1, 0.2]), ArgumentError, "final_state"),
    "initial with time": (lambda: run_with(initial=run_with().theta), TimeError, "isel"),
    "initial elsewhere": (lambda: run_with(initial=soil().theta_fc.isel(x=slice(2))), GridMismatchError, "initial"),
    "initial on other dims": (
        lambda: run_with(initial=xr.DataArray([0.1], dims="site", attrs={"units": "1"})), GridMismatchError, "site",
    ),
    "initial unlike the forcing, the one with places": (
        lambda: run_with(soil().mean(keep_attrs=True), initial=soil().theta_fc.isel(x=slice(None, None, -1))),
        GridMismatchError, "initial: the coordinates of 'x' differ",
    ),
    "initial unlike a keyword, the one with places": (
        lambda: simulate(
            soil().mean(keep_attrs=True), weather().mean(("y", "x"), keep_attrs=True), k_sat=soil().k_sat,
            initial=soil().theta_fc.isel(x=slice(None, None, -1)),
        ),
        GridMismatchError, "initial: the coordinates of 'x' differ",
    ),
    "initial without units": (lambda: run_with(initial=soil().theta_fc.drop_attrs()), UnitsError, "units"),
    "initial of nothing": (lambda: run_with(initial=weather()), MissingVariableError, "final_theta"),
    "keyword map elsewhere": (
        lambda: run_with(k_sat=soil().k_sat.isel(x=slice(2))), GridMismatchError, "'k_sat'",
    ),
    "state of no run": (lambda: final_state(soil()), MissingVariableError, "final_theta"),
    "no scale": (lambda: run_with(outputs="theta_obs"), MissingVariableError, "obs_scale"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_metadata_faults_raise(fault):
    call, error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        call()


def test_missing_parameters_show_the_keywords():
    with pytest.raises(MissingVariableError) as caught:
        simulate(soil()[["theta_s"]], weather())
    message = str(caught.value)
    for name in PARAMETERS[1:]:
        assert name in message
    for text in ("theta_fc=0.2", "theta_wp=0.078", "root_depth=1.0", "depletion_fraction=0.1", "crop_coefficient=0.5"):
        assert text in message
    assert "theta_s=" not in message
    assert "ptf" in message
