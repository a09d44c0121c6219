"""`simulate` with model="richards": value faults are flagged, metadata faults raise."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from columns import DAYS, maps, run, weather

from xsoil.errors import (
    ArgumentError,
    GridMismatchError,
    MissingVariableError,
    TimeError,
    UnitsError,
    UnknownNameError,
)
from xsoil.verbs.simulate import simulate


def flags_of(found):
    status = found.status
    return dict(zip(status.attrs["flag_meanings"].split(), status.attrs["flag_masks"].tolist(), strict=True))


@pytest.mark.parametrize("lazy", [False, True])
def test_value_faults_become_nan_with_a_flag(lazy):
    ds, forcing = maps(), weather()
    clean = run(ds, forcing, outputs=("theta", "drainage"))
    ds.n[0, 0] = np.nan
    ds.theta_s[0, 1] = ds.theta_r[0, 1]
    ds.h50[0, 2] = 100.0
    forcing.lai[5, 1, 0] = np.nan
    forcing.precipitation[10, 1, 1] = -1.0
    if lazy:
        ds, forcing = ds.chunk(y=1), forcing.chunk(time=3)
    found = run(ds, forcing, outputs=("theta", "drainage")).compute()
    flags = flags_of(found)
    named = [
        ["missing_parameter", "impossible_parameters", "impossible_parameters"],
        ["missing_forcing", "negative_forcing", None],
    ]
    expected = [[flags[name] if name else 0 for name in row] for row in named]
    assert found.status.values.tolist() == expected
    missing = [[DAYS] * 3, [DAYS - 5, DAYS - 10, 0]]
    assert found.drainage.isnull().sum("time").values.tolist() == missing
    np.testing.assert_array_equal(found.theta.isnull().all("depth"), found.drainage.isnull())
    for y, x, until in ((1, 0, 5), (1, 1, 10), (1, 2, DAYS)):
        np.testing.assert_array_equal(found.theta[:until, :, y, x], clean.theta[:until, :, y, x])


def test_a_column_that_fails_leaves_its_neighbours_alone(monkeypatch):
    """Heads that no step can follow: NaN and a flag there, the same bits elsewhere."""
    from xsoil.kernels import richards_column

    ds, forcing = maps(), weather()
    clean = run(ds, forcing)
    start = xr.full_like(ds.n, -100.0).assign_attrs(units="cm")
    start[0, 0] = np.inf
    start[1, 2] = np.nan
    found = run(ds, forcing, initial={"h": start})
    flags = flags_of(found)
    assert found.status.values.tolist() == [
        [flags["missing_initial_state"], 0, 0], [0, 0, flags["missing_initial_state"]],
    ]  # fmt: skip
    np.testing.assert_array_equal(found.theta[..., 1], clean.theta[..., 1])
    # No iterations: every column fails on its first day.
    monkeypatch.setitem(richards_column.CONTROL, "most_iterations", 0)
    none = run(ds, forcing, outputs=("theta", "steps"))
    assert (none.status == flags["not_converged"]).all()
    assert none.theta.isnull().all()


def test_faults_of_boundaries_and_supplies_are_flagged():
    ds, forcing = maps(), weather(names=("irrigation",))
    forcing.irrigation[3, 0, 0] = -0.1
    forcing["bottom_head"] = xr.full_like(forcing.pet, -50.0).assign_attrs(units="cm")
    forcing.bottom_head[4, 0, 1] = np.nan
    found = run(ds, forcing, bottom="head")
    flags = flags_of(found)
    assert found.status.values[0].tolist() == [flags["negative_forcing"], flags["missing_forcing"], 0]
    assert found.theta[:, 0].isnull().sum("time").values[0].tolist() == [DAYS - 3, DAYS - 4, 0]


def test_impossible_degree_day_factors_are_nan_cells():
    ds = maps()
    ds["degree_day_factor"] = xr.full_like(ds.n, 4.0).assign_attrs(units="mm degC-1 d-1")
    ds.degree_day_factor[0] = [np.nan, -1.0, 4.0]
    found = run(ds, weather(names=("air_temperature",)), frost="snow", outputs=("theta", "snow"))
    flags = flags_of(found)
    assert found.status.values[0].tolist() == [flags["missing_parameter"], flags["impossible_parameters"], 0]
    assert found.theta[:, :, 0, :2].isnull().all()
    assert not found.theta[:, :, 1].isnull().any()


def test_all_missing_input_is_legal():
    found = run(maps().map(lambda v: v * np.nan, keep_attrs=True), weather())
    assert found.theta.isnull().all()
    assert (found.status == 1).all()


def without(name):
    ds = maps()
    del ds[name].attrs["units"]
    return ds


def series(name, value, units):
    return {name: xr.full_like(weather().pet, value).assign_attrs(units=units)}


FAULTS = {
    "no leaves": (lambda: run(maps(), weather().drop_vars("lai")), MissingVariableError, r"'lai' \(leaf .*lai=2.0"),
    "no rain": (lambda: run(maps(), weather().drop_vars("precipitation")), MissingVariableError, "precipitation"),
    "no boundary": (lambda: run(maps(), weather(), bottom="head"), MissingVariableError, r"bottom_head=... \[cm\]"),
    "no water table": (
        lambda: run(maps(), weather(), bottom="water_table"), MissingVariableError, r"water_table_depth=... \[m\]",
    ),
    "no flux": (lambda: run(maps(), weather(), top="flux"), MissingVariableError, r"top_flux=... \[mm d-1\]"),
    "no temperature": (lambda: run(maps(), weather(), frost="snow"), MissingVariableError, "air_temperature"),
    "unknown curve": (lambda: run(maps(), weather(), curve="van_genuchtn"), UnknownNameError, "mean 'van_genuchten'"),
    "unknown top": (lambda: run(maps(), weather(), top="atmosphere"), UnknownNameError, "mean 'atmospheric'"),
    "unknown bottom": (lambda: run(maps(), weather(), bottom="drainage"), UnknownNameError, "mean 'free_drainage'"),
    "unknown uptake": (lambda: run(maps(), weather(), uptake="fedes"), UnknownNameError, "mean 'feddes'"),
    "unknown output": (lambda: run(maps(), weather(), outputs="tetha"), UnknownNameError, "mean 'theta'"),
    "unknown keyword": (lambda: run(maps(), weather(), k_sta=3.0), UnknownNameError, "mean 'k_sat'"),
    "keyword of the other model": (
        lambda: run(maps(), weather(), crop_coefficient=1.0), UnknownNameError, r"keyword \(richards: van",
    ),
    "keyword of another curve": (lambda: run(maps(), weather(), b=4.0), UnknownNameError, r"keyword \(.*\) 'b'"),
    "output of the other model": (
        lambda: run(maps(), weather(), outputs="root_zone_exchange"), UnknownNameError, "output of richards",
    ),
    "option of the other model": (lambda: run(maps(), weather(), substeps=12), ArgumentError, "substeps with model="),
    "options of this model": (
        lambda: simulate(maps(), weather(), curve="campbell", top="flux"), ArgumentError, "curve, top with model=",
    ),
    "depth below": (lambda: run(maps(), weather(), depths=(0.1, 0.8)), ArgumentError, r"0.8 m lies .*column_depth=0.8"),
    "depth above": (lambda: run(maps(), weather(), depths=-0.1), ArgumentError, "positive downwards"),
    "depth twice": (lambda: run(maps(), weather(), depths=(0.1, 0.1)), ArgumentError, "once"),
    "depths as text": (lambda: run(maps(), weather(), depths="all"), ArgumentError, r"expected numbers \[m\]"),
    "depths in cm": (
        lambda: run(maps(), weather(), depths=xr.DataArray([5.0], dims="d", attrs={"units": "cm"})), ArgumentError,
        r"depths is a DataArray; expected numbers \[m\]",
    ),
    "column in cm": (
        lambda: run(maps(), weather(), column_depth=xr.DataArray(50.0, attrs={"units": "cm"})), ArgumentError,
        r"column_depth is a DataArray; expected numbers \[m\]",
    ),
    "depth of truth": (lambda: run(maps(), weather(), depths=True), ArgumentError, r"expected numbers \[m\]"),
    "no days": (lambda: run(maps(), weather().isel(time=[])), TimeError, "no day"),
    "tops": (lambda: run(maps(), weather(), top=["flux"]), UnknownNameError, "unknown top"),
    "dim like a result": (
        lambda: run(maps().rename(x="status"), weather().rename(x="status")), GridMismatchError, "the name of one",
    ),
    "no column": (lambda: run(maps(), weather(), column_depth=0), ArgumentError, "above 0"),
    "column of text": (lambda: run(maps(), weather(), column_depth="deep"), ArgumentError, "column_depth"),
    "no width": (lambda: run(maps(), weather(), widths=[0.1, 0.0]), ArgumentError, "all above 0"),
    "other widths": (
        lambda: run(maps(), weather(), widths=[0.1] * 6, column_depth=0.3), ArgumentError, "add up to 0.6",
    ),
    "snow on a given flux": (
        lambda: run(maps(), weather(names=("air_temperature",)), frost="snow", top="flux", top_flux=1.0), ArgumentError,
        "top='atmospheric'",
    ),
    "roots that grow": (
        lambda: run(maps().drop_vars("root_depth"), weather().assign(series("root_depth", 0.3, "m"))), ArgumentError,
        "does not look",
    ),
    "root depth on time": (
        lambda: run(maps(), weather(), **series("root_depth", 0.3, "m")), ArgumentError, "depth' varies with time",
    ),
    "leaves on other days": (
        lambda: run(maps(), weather(), **{"lai": weather().lai.isel(time=slice(3))}), TimeError, "forcing.time",
    ),
    "gap": (lambda: run(maps(), weather().isel(time=[0, 1, 3])), TimeError, "gap"),
    "no time": (lambda: run(maps(), weather().isel(time=0)), TimeError, "time"),
    "no time at all": (
        lambda: run(maps(), xr.Dataset(), top="flux", top_flux=1.0, uptake="none"), TimeError, "no dimension 'time'",
    ),
    "no units": (lambda: run(without("alpha"), weather()), UnitsError, r"attrs\['units'\] = 'cm-1'"),
    "other grid": (lambda: run(maps(), weather().assign_coords(x=weather().x + 250)), GridMismatchError, "upscale"),
    "other size": (lambda: run(maps(), weather().isel(x=slice(2))), GridMismatchError, "upscale"),
    "text as parameter": (lambda: run(maps(), weather(), n="high"), ArgumentError, "number"),
    "warmup too long": (lambda: run(maps(), weather(), warmup=DAYS), ArgumentError, "16 days"),
    "no scale": (lambda: run(maps(), weather(), outputs="theta_obs"), MissingVariableError, "obs_scale"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_metadata_faults_raise(fault):
    call, error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        call()


def test_status_may_be_asked_for():
    found = run(maps(), weather(), outputs=("theta", "status", "steps"))
    assert list(found.data_vars)[:2] == ["theta", "steps"]
    assert found.status.dims == ("y", "x")
