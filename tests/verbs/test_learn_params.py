"""`learn_params` without networks: inversions, what they are fed with, evaluation, files, faults."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from worlds import BOUNDS, LI, weather, world

import xsoil  # noqa: F401  (registers .soil)
from xsoil.errors import (
    ArgumentError,
    GridMismatchError,
    MissingVariableError,
    TimeError,
    UnitsError,
    UnknownNameError,
)
from xsoil.evaluation.splits import Split
from xsoil.physics.bounded import Bounded
from xsoil.verbs.evaluate import evaluate
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model

QUIET = {"progress": False, "targets": BOUNDS, "substeps": 6}


@pytest.fixture(scope="module")
def small():
    """One world, simulated with 6 sub-steps."""
    from xsoil.verbs.simulate import simulate

    fine, forcing, _, truth = world(4, 5, 150)
    observed = simulate(truth, forcing, outputs="theta_obs", substeps=6, **LI).theta_obs[::3].rename("soil_moisture")
    return fine, forcing, observed, truth


@pytest.fixture(scope="module")
def inverted(small):
    _, forcing, observed, _ = small
    split = Split.random_cells(observed, 0.2) & Split.times(train=("2015-01", "2015-03"), test=("2015-04", "2015-05"))
    return learn_params(None, observed, forcing, strategy="inverse", split=split, **QUIET, **LI)


@pytest.mark.parametrize("optimizer", ["ies", "sce_ua"])
def test_inversion_recovers_the_parameters(small, optimizer):
    _, forcing, observed, truth = small
    more = {"error_std": 0.002} if optimizer == "ies" else {"evaluations": 1500}
    learned = learn_params(None, observed, forcing, strategy="inverse", optimizer=optimizer, **more, **QUIET, **LI)
    ratio = np.log(learned.params.k_sat / truth.k_sat)
    assert float(abs(ratio).median()) < 0.1
    assert float(abs(learned.params.obs_scale - truth.obs_scale).median()) < 0.02
    assert float(abs(learned.params.obs_bias - truth.obs_bias).median()) < 0.01
    assert float(learned.evaluate().rmse.median()) < 0.002
    assert ("k_sat_spread" in learned.params) == (optimizer == "ies")
    assert int(learned.history.cells.sum()) == 20
    assert learned.params.k_sat.attrs["units"] == "cm d-1"
    assert learned.params.k_sat.encoding["grid_mapping"] == "spatial_ref"
    assert (learned.params.status == 0).all()
    assert learned.params.search_status.attrs["flag_meanings"].split()[0] == "converged"


def test_the_four_sets(small, inverted):
    _, forcing, observed, _ = small
    found = inverted.evaluate()
    assert found["set"].values.tolist() == ["train", "temporal", "spatial", "spatio_temporal"]
    split = inverted.data.split
    simulated = inverted.simulate(forcing)
    for name, cells, months in (
        ("train", split.train, slice("2015-01", "2015-03")),
        ("temporal", split.train, slice("2015-04", None)),
    ):
        expected = evaluate(
            simulated.sel(time=months), observed.sel(time=months).where(cells), variable=("theta_obs", "soil_moisture")
        )
        for metric in ("rmse", "nse", "bias"):
            np.testing.assert_array_equal(found[metric].sel(set=name), expected[metric])
    assert (found.n.sel(set="train") > 0).sum() == split.train.sum()
    assert found.rmse.sel(set="spatial").isnull().all()  # an inversion knows nothing of other cells
    status = inverted.params.status
    np.testing.assert_array_equal((status & 32) > 0, split.test)
    assert (
        inverted.params.k_sat.isnull().equals(split.test.drop_attrs())
        or (inverted.params.k_sat.isnull().values == split.test.values).all()
    )


@pytest.mark.parametrize("chunks", [{"time": 20, "y": 2, "x": 3}, {"time": -1, "y": 1, "x": 5}])
def test_chunks_do_not_change_an_inversion(small, inverted, chunks):
    _, forcing, observed, _ = small
    lazy = learn_params(
        None, observed.chunk(time=7, y=3), forcing.chunk(chunks), strategy="inverse", split=inverted.data.split,
        memory_budget=1, **QUIET, **LI,
    )  # fmt: skip
    for name in ("k_sat", "obs_scale", "k_sat_spread", "cost"):
        np.testing.assert_array_equal(lazy.params[name], inverted.params[name])
    assert lazy.evaluate().rmse.chunks is not None


def test_only_training_times_and_cells_count(small, inverted):
    _, forcing, observed, _ = small
    split = inverted.data.split
    other = observed.where(split.train, 0.9).where(observed.time.dt.month <= 3, 0.1).rename("soil_moisture")
    other.attrs = observed.attrs
    again = learn_params(None, other, forcing, strategy="inverse", split=split, **QUIET, **LI)
    np.testing.assert_array_equal(again.params.k_sat, inverted.params.k_sat)


def test_masked_observations_do_not_count(small, inverted):
    _, forcing, observed, _ = small
    frozen = xr.zeros_like(forcing.pet, dtype=bool)
    frozen[10:40] = True
    thawed = ~frozen.sel(time=observed.time)
    spoilt = observed.where(thawed, 0.9).rename("soil_moisture")
    spoilt.attrs = observed.attrs
    expected = observed.where(thawed)
    expected.attrs = observed.attrs
    options = QUIET | {"split": inverted.data.split, "strategy": "inverse"}
    a = learn_params(None, spoilt, forcing, mask=~frozen, **options, **LI)
    b = learn_params(None, expected, forcing, **options, **LI)
    np.testing.assert_array_equal(a.params.k_sat, b.params.k_sat)
    assert int(a.evaluate().n.sum()) == int(b.evaluate().n.sum())


def test_observations_that_are_impossible_are_none(small):
    _, forcing, observed, _ = small
    options = QUIET | {"strategy": "inverse", "targets": "k_sat", "members": 8, "iterations": 2}
    times = xr.DataArray(np.arange(observed.sizes["time"]), dims="time")
    found = []
    for other in (xr.where(times % 2 == 0, -9999.0, 30.0), np.nan):
        given = observed.where(times % 5 != 2, other).astype("f4").assign_attrs(observed.attrs)
        learned = learn_params(None, given.transpose(*observed.dims), forcing, **options, **LI)
        found.append((learned.params.k_sat, learned.evaluate().n))
    for one, two in zip(*found, strict=True):
        xr.testing.assert_equal(one, two)


def test_cells_that_cannot_be_learned_from(small):
    _, forcing, observed, _ = small
    observed, forcing = observed.copy(deep=True), forcing.copy(deep=True)
    observed[:, 0, 0] = np.nan
    forcing.precipitation[7, 1, 1] = np.nan
    forcing.pet[8, 1, 2] = -1
    depth = xr.full_like(observed[0], 1.0).drop_vars("time").assign_attrs(units="m")
    depth[2, 3] = np.nan
    fixed = LI | {"root_depth": depth}
    learned = learn_params(None, observed, forcing, strategy="inverse", **(QUIET | {"targets": "k_sat"}), **fixed)
    status = learned.params.status.values
    assert [status[0, 0], status[1, 1], status[1, 2], status[2, 3]] == [1, 2, 2, 8]
    assert (status != 0).sum() == 4
    np.testing.assert_array_equal(learned.params.k_sat.isnull(), status != 0)
    names = learned.params.status.attrs["flag_meanings"].split()
    assert names[:4] == ["no_observations", "missing_forcing", "missing_predictors", "missing_parameter"]
    assert learned.params.search_status.values[0, 0] == 255


def test_sites_with_one_weather_station():
    """Cells without a grid, forcing on time alone, percent as units, times of the day."""
    from xsoil.verbs.simulate import simulate

    k_sat = xr.Dataset({"k_sat": ("site", np.array([5.0, 40.0, 200.0]), {"units": "cm d-1"})}, {"site": [*"abc"]})
    forcing = weather(xr.Dataset(), 150)
    truth = simulate(k_sat, forcing, **LI).theta
    observed = (100 * truth[30::3]).rename("soil_moisture").assign_attrs(units="%")
    observed = observed.assign_coords(time=observed.time + np.timedelta64(6, "h"))
    options = QUIET | {"targets": "k_sat", "substeps": 24}
    learned = learn_params(None, observed, forcing, strategy="inverse", error_std=0.002, **options, **LI)
    np.testing.assert_allclose(learned.params.k_sat, k_sat.k_sat, rtol=0.05)
    assert learned.params.site.values.tolist() == [*"abc"]
    assert learned.evaluate().n.values.tolist() == [[40, 40, 40]]


def test_inversions_go_through_a_file(small, inverted, tmp_path):
    _, forcing, _, _ = small
    inverted.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    for name in inverted.params.data_vars:
        np.testing.assert_array_equal(again.params[name], inverted.params[name])
    np.testing.assert_array_equal(again.simulate(forcing).theta_obs, inverted.simulate().theta_obs)
    assert repr(again) == repr(inverted)
    assert again.history.equals(inverted.history)
    with pytest.raises(ArgumentError, match="a loaded model has no observations"):
        again.evaluate()
    with pytest.raises(ArgumentError, match="has no network"):
        again.predict(xr.Dataset())
    inverted.save(tmp_path / "model")  # its own folder may be written again
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    with pytest.raises(ArgumentError, match="holds no model of xsoil"):
        inverted.save(tmp_path / "else")


def test_foreign_and_damaged_files(inverted, tmp_path):
    inverted.save(tmp_path / "model")
    file = tmp_path / "model" / "description.json"
    whole = json.loads(file.read_text())

    def refused(match, content):
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises((ArgumentError, UnknownNameError), match=match):
            load_model(tmp_path / "model")

    refused("version 7; this xsoil reads version 1", whole | {"version": 7})
    refused("format of the model at .*'other'", whole | {"format": "other"})
    refused("no description of a model", "{")
    refused("expected a table, found list", [])
    learned = whole["description"]["learned"]
    refused("has the keys", whole | {"description": {"learned": learned | {"more": 1}}})
    refused("unknown model 'bucket'", whole | {"description": {"learned": learned | {"model": "bucket"}}})
    units = learned["units"] | {"k_sat": "furlong"}
    refused("in 'furlong'", whole | {"description": {"learned": learned | {"units": units}}})
    refused("is damaged", whole | {"description": {"learned": learned | {"targets": {"k_sat": 3}}}})
    with pytest.raises(ArgumentError, match="no model of xsoil at"):
        load_model(tmp_path)


def test_inversion_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, 'tests/verbs'); import numpy as np; "
        "from worlds import *; from xsoil.verbs.learn_params import learn_params; "
        "_, f, o, _ = world(1, 2, 40); "
        "print(learn_params(None, o, f, strategy='inverse', targets='k_sat', obs_scale=1.0, progress=False, "
        "members=8, iterations=1, **LI).params.k_sat.shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "(1, 2)", out.stderr[-2000:]


def test_a_store_is_no_folder_for_checkpoints(small, tmp_path):
    fine, forcing, observed, _ = small
    store = tmp_path / "mine.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    with pytest.raises(ArgumentError, match="is a Zarr store"):
        learn_params(fine, observed, forcing, strategy="inverse", directory=store, **QUIET, **LI)
    assert [file.name for file in store.iterdir()] == ["zarr.json"]


def test_faults(small):
    fine, forcing, observed, _ = small
    options = QUIET | {"strategy": "inverse"} | LI

    def refused(error, match, *args, **changes):
        arguments = dict(zip(("ds", "observations", "forcing"), (fine, observed, forcing), strict=True))
        own = {k: changes.pop(k) for k in [*changes] if k in arguments}
        with pytest.raises(error, match=match):
            learn_params(**(arguments | own), **{k: v for k, v in (options | changes).items() if v is not None})

    refused(UnknownNameError, "did you mean 'inverse'", strategy="invers")
    refused(UnknownNameError, "did you mean 'ies'", optimizer="eis")
    refused(UnknownNameError, "did you mean 'water_balance'", model="waterbalance")
    refused(UnknownNameError, "did you mean 'k_sat'", targets={"ksat": (1, 10)})
    refused(UnknownNameError, "did you mean 'theta_s'", theta_sat=0.5)
    refused(UnknownNameError, "did you mean 'epochs'", epoch=3)
    refused(ArgumentError, r"targets\['k_sat'\] is 3; expected its bounds", targets={"k_sat": 3})
    refused(ArgumentError, "lies within 0 and 1", targets={"theta_s": (0.3, 50)}, theta_s=None)
    refused(ArgumentError, "the lower one first", targets={"k_sat": (10, 1)})
    refused(ArgumentError, "'k_sat' is learned .* and given", k_sat=3.0)
    refused(ArgumentError, "no targets", targets=[])
    refused(MissingVariableError, r"no 'theta_s' .*theta_s=0\.5", theta_s=None)
    refused(MissingVariableError, "k_sat: learn it", targets=["obs_bias"])
    refused(MissingVariableError, "no observed variable among", observations=observed.rename("sm"))
    bare = observed.drop_attrs(deep=False)
    refused(UnitsError, "'soil_moisture' has no units", observations=bare)
    refused(UnitsError, "'pet' has no units", forcing=forcing.assign(pet=forcing.pet.drop_attrs()))
    refused(MissingVariableError, "no 'pet'", forcing=forcing[["precipitation"]])
    gap = forcing.isel(time=[*range(40), *range(41, 150)])
    refused(TimeError, "time gap between", forcing=gap)
    refused(TimeError, "unsorted or have several times", observations=observed.isel(time=slice(None, None, -1)))
    late = forcing.assign_coords(time=forcing.time + np.timedelta64(4000, "D"))
    refused(TimeError, "no observation on a day of the forcing", forcing=late)
    refused(TimeError, "no observation on a day .* warmup=149", warmup=149)
    refused(TimeError, "has no dimension 'time'", observations=observed.isel(time=0, drop=True))
    shifted = forcing.assign_coords(x=forcing.x + 500)
    refused(GridMismatchError, "forcing: the coordinates of 'x' differ", forcing=shifted)
    refused(GridMismatchError, "forcing: 'x' has 4 cells, expected 5", forcing=forcing.isel(x=slice(4)))
    refused(GridMismatchError, r"forcing is on \['column'\]", forcing=forcing.drop_vars("x").rename(x="column"))
    refused(ArgumentError, "no training cell has an observation", observations=observed * np.nan)
    refused(ArgumentError, "no cell can be learned from: 20 cells with missing_forcing", forcing=forcing * -1)
    refused(ArgumentError, "mask is float32", mask=observed)
    refused(TimeError, "mask lacks days", mask=observed.isel(time=slice(3)) > 0)
    refused(ArgumentError, "split is str", split="random")
    elsewhere = Split.random_cells(observed.isel(x=slice(3)))
    refused(GridMismatchError, "split: 'x' has 3 cells, expected 5", split=elsewhere)
    refused(ArgumentError, "no observation in the training times", split=Split.times(train="2030", test="2031"))
    refused(
        ArgumentError,
        "several observed variables",
        observations=xr.Dataset({"soil_moisture": observed, "theta": observed}),
    )
    both = xr.Dataset({"soil_moisture": observed, "drainage": forcing.pet.isel(time=slice(0, None, 3))})
    weights = {"soil_moisture": 1, "drainage": 1}
    refused(ArgumentError, r"no error_std of 'drainage' \[mm d-1\]", weights=weights, observations=both)
    errors = {"soil_moisture": 0.02, "drainage": 0.0}
    refused(ArgumentError, "error_std=0.0 of 'drainage'", weights=weights, observations=both, error_std=errors)
    refused(UnknownNameError, "did you mean 'drainage'", weights=weights, observations=both, error_std={"drinage": 1})
    sce = {"optimizer": "sce_ua"}
    refused(UnknownNameError, "observed variable with a loss 'runoff'", loss={"runoff": "mse"}, **sce)
    refused(ArgumentError, "no loss for 'soil_moisture'", loss={}, **sce)
    refused(UnknownNameError, "did you mean 'mse'", loss="rmse", **sce)
    refused(ArgumentError, "loss='kge' with optimizer='ies'", loss="kge")
    refused(
        ArgumentError,
        r"evaluations=20 to search 3 parameters .*'k_sat'.* at least 21, the first",
        loss="kge",
        evaluations=20,
        **sce,
    )
    refused(ArgumentError, r"evaluations=5 to search 1 parameters \['k_sat'\]; .* at least 6", evaluations=5, **sce)
    refused(ArgumentError, "members=4 to search 3 parameters .* at least 5, two more", members=4)
    refused(ArgumentError, "iterations=0", iterations=0)
    refused(ArgumentError, "error_std=0.05 with optimizer='sce_ua', which does not use it", error_std=0.05, **sce)
    refused(ArgumentError, "members=30 with optimizer='sce_ua'", members=30, **sce)
    refused(ArgumentError, "evaluations=90 with optimizer='ies'", evaluations=90)
    refused(ArgumentError, "curve='fredlund_xing_wang' with model='water_balance'", curve="fredlund_xing_wang")
    refused(ArgumentError, "depth=0.1 with model='water_balance'", depth=0.1)
    refused(ArgumentError, "draws=True with strategy='inverse', optimizer='sce_ua'", draws=True, **sce)
    refused(UnknownNameError, "did you mean 'surrogate'", physics="surogate")
    refused(ArgumentError, "physics='surrogate' with model='water_balance'", physics="surrogate")
    high = xr.full_like(observed[0], 900.0).drop_vars("time").assign_attrs(units="cm d-1")
    refused(UnitsError, "'k_sat' has no units", targets={"k_sat": (1, high.drop_attrs())})
    refused(ArgumentError, "a bound of 'k_sat' varies with time", targets={"k_sat": (1, observed)})
    refused(ArgumentError, "bounds of 'k_sat' are in no cell", targets={"k_sat": (901, high)})
    refused(GridMismatchError, "the bound 'k_sat_low': 'x' has 3", targets={"k_sat": (1, high.isel(x=slice(3)))})
    refused(ArgumentError, "is a Bounded of arrays", targets={"k_sat": Bounded(np.ones(2), 9.0)})
    refused(UnknownNameError, "unknown observed variable", weights={"snow": 1})
    refused(ArgumentError, r"weights\['soil_moisture'\] is -1", weights={"soil_moisture": -1})
    refused(ArgumentError, "seed=-1", seed=-1)
    refused(ArgumentError, "error_std=-1", error_std=-1)
    refused(ArgumentError, "is not seen through them", observations=observed.rename("theta"))
    refused(ArgumentError, "varies with time", theta_s=forcing.pet)
    refused(ArgumentError, "beside time and", observations=observed.expand_dims(depth=2))
