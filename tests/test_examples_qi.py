"""The example of Qi et al. (2026): its parts, and a run of the smallest size that is read again afterwards."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

EXAMPLES = Path(__file__).parents[1] / "examples"

SMALLEST = [
    "--parts", "synthetic", "--curves", "VGM", "--truth", "VGM", "--sites", "12", "--test", "0.25",
    "--evaluations", "80", "--epochs", "1", "--hidden", "4", "--windows", "1", "--repeats", "1", "--surrogate", "20",
    "--surrogate-days", "20", "--surrogate-epochs", "1", "--surrogate-hidden", "4", "--seeds", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def example():
    """The modules of the example, importable as from their folder."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import qi2026_networks
        import qi2026_results
        import qi2026_sites
        import qi2026_sptf

        yield SimpleNamespace(networks=qi2026_networks, results=qi2026_results, sites=qi2026_sites, sptf=qi2026_sptf)
    finally:
        sys.path.remove(str(EXAMPLES))


def test_small_run_is_read_again(example, tmp_path, capsys, monkeypatch):
    arguments = [*SMALLEST, "--out", str(tmp_path)]
    example.sptf.main(arguments)
    table = pd.read_csv(tmp_path / "table.csv").set_index("way")
    assert list(table.index) == ["inverse", "SPTF", "conventional PTF", "mean"]  # no surrogate: it is not accepted
    assert (table.sites == 3).all()
    assert (table.failed == 0).all()
    # 80 runs of a search that knows the curve of the truth; a network of one epoch knows next to nothing.
    assert table["RMSE of all"]["inverse"] < 0.06 < table["RMSE of all"]["SPTF"]
    assert "not accepted" in capsys.readouterr().out
    windows = pd.read_csv(tmp_path / "windows.csv")
    assert sorted(windows.days) == [10, 20, 40, 90, 180, 365]
    assert windows.nse.iloc[-1] == pytest.approx(table["NSE of all"]["SPTF"], abs=1e-4)
    assert set(pd.read_csv(tmp_path / "importance.csv").input) > {"soil_moisture", "precipitation", "sand"}
    recovery = pd.read_csv(tmp_path / "recovery.csv").set_index("way")
    assert recovery.loc[["inverse", "SPTF"], ["theta_s", "alpha", "n", "k_sat"]].notna().all(axis=None)
    assert np.isnan(recovery.h50["conventional PTF"])  # it has one value for all
    assert (tmp_path / "qi2026.png").stat().st_size > 20_000

    seeds = pd.read_csv(tmp_path / "seeds.csv")
    assert list(seeds.seed) == [0, 1]
    assert seeds["RMSE of all"][0] == pytest.approx(table["RMSE of all"]["SPTF"], rel=1e-4)
    assert seeds["RMSE of all"].nunique() == 2

    monkeypatch.setattr("xsoil.learn_params", lambda *_, **__: pytest.fail("searched again"))
    monkeypatch.setattr("xsoil.accessor.verbs.learn_params", lambda *_, **__: pytest.fail("trained again"))
    example.sptf.main(arguments)
    again = pd.read_csv(tmp_path / "table.csv").set_index("way")
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(SystemExit, match=r"a run that differs in \['epochs'\]; expected the same, or another --out"):
        example.sptf.main([*arguments, "--epochs", "2"])


def test_too_few_evaluations_are_refused(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.sptf.main(["--evaluations", "40", "--out", str(tmp_path)])
    assert "--evaluations 40: expected 0, or 78 at least" in capsys.readouterr().err


def test_reader_takes_any_length(example):
    reader = example.networks.Reader(6, hidden=8, seed=3)
    static, history = torch.randn(5, 4), torch.randn(5, 90, 5)
    reader.eval()
    whole = reader(static, history)
    assert whole.shape == (5, 6)
    assert torch.equal(whole, reader(static, history))
    assert reader(static, history[:, :10]).shape == (5, 6)
    assert torch.equal(example.networks.Reader(6, hidden=8, seed=3).eval()(static, history), whole)
    reader.train()
    torch.manual_seed(0)
    read = torch.stack([reader(static, history) for _ in range(20)])
    whole_ones = (read == whole).flatten(1).all(dim=1)
    assert 0 < whole_ones.sum() < 20  # some batches read all days, others a piece


def test_scores(example):
    days = pd.date_range("2020-07-01", periods=4)
    target = xr.DataArray([[0.1, 0.2], [0.2, np.nan], [0.3, 0.4], [0.2, 0.3]], {"time": days}, ("time", "site"))
    target = target.assign_coords(site=[4, 7])
    weather = xr.Dataset({"precipitation": target * 0 + 2.0}).fillna(2.0)
    sites = example.sites.Sites("a", xr.Dataset(coords={"site": [4, 7]}), weather, target, slice(None), slice(None))
    run = target.fillna(0.9) + 0.1  # where nothing was observed nothing is compared
    frame = example.results.squares(run, sites)
    assert list(frame.n) == [4, 3]
    np.testing.assert_allclose(frame.error, [0.04, 0.03])
    np.testing.assert_allclose(frame.rain, 730)
    seen = target.values[np.isfinite(target.values)]
    nse, rmse = example.results.of_all(frame)
    np.testing.assert_allclose([nse, rmse], [1 - 0.01 / seen.var(), 0.1])
    np.testing.assert_allclose(1 - frame.error / frame.about, 1 - 0.01 / np.nanvar(target, axis=0))


def test_differences_tell_who_is_better(example):
    error = {"inverse": 0.01, "SPTF": 0.04}
    rows = [
        {"world": "a", "curve": "VGM", "way": way, "site": k, "n": 10, "error": 10 * e * (1 + 0.01 * k), "rmse": e**0.5,
         "sum": 2.0, "square": 1.0}
        for way, e in error.items() for k in range(20)
    ]  # fmt: skip
    (row,) = example.results.differences(pd.DataFrame(rows)).to_dict("records")
    assert (row["first"], row["second"], row["better at"]) == ("inverse", "SPTF", 1.0)
    assert 0 < row["low"] < row["less by"] < row["high"]
    assert row["less by"] == pytest.approx(0.1 * 1.095**0.5, rel=1e-6)


def test_nearest_pixel(example):
    ds = xr.Dataset(coords={"lat": ("station", [40.0, 0.0]), "lon": ("station", [-100.0, 179.9])})
    pixels = xr.Dataset(coords={"lat": ("pixel", [40.0, 41.0, 0.0]), "lon": ("pixel", [-98.0, -100.0, -179.9])})
    index, distance = example.sites.nearest_of(ds, pixels)
    assert list(index) == [1, 2]
    np.testing.assert_allclose(distance, [111.2, 22.2], rtol=2e-3)


def test_stations(example, data):
    sites = example.sites.stations(data, 1.5)
    assert sites.soil.sizes["site"] == 68
    history, target = sites.history, sites.target
    assert not history.to_array().isnull().any()
    assert target.time.min() == np.datetime64("2020-07-01")
    assert (target.count("time") >= 90).all()
    assert float((sites.soil.sand + sites.soil.silt + sites.soil.clay).mean()) == pytest.approx(100, abs=1)
