"""The command `xsoil`: what it prints, what it writes, how it fails."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_zeros

import xsoil
from xsoil.command_line import main
from xsoil.file_info import _works

BOX = GeoBox.from_bbox((5, 45, 7, 46.5), "EPSG:4326", resolution=0.05)
PERCENT = {"units": "percent"}


def call(*arguments: object):
    """The result of a command; any exception but the command's own end is a failure."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def soil(**changes: object) -> xr.Dataset:
    """A texture map with gaps and a land cover, on a grid in degrees."""
    zeros = xr_zeros(BOX, "float32")
    rng = np.random.default_rng(0)
    sand = zeros.copy(data=rng.uniform(20, 60, zeros.shape).astype("f4")).assign_attrs(PERCENT)
    sand[:3] = np.nan
    clay = zeros.copy(data=rng.uniform(5, 35, zeros.shape).astype("f4")).assign_attrs(PERCENT)
    cover = zeros.astype("i2").copy(data=rng.integers(1, 4, zeros.shape).astype("i2"))
    cover = cover.assign_attrs(flag_values=np.array([1, 2, 3], "i2"), flag_meanings="wood grass town")
    return xr.Dataset({"sand": sand, "clay": clay, "land_cover": cover}).assign(**changes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("soil") / "soil.nc"
    soil().to_netcdf(path)
    return path


class TestMain:
    def test_help_lists_the_commands(self):
        done = call("--help")
        assert done.exit_code == 0
        assert all(name in done.stdout for name in ("demo", "info", "list-ptfs", "upscale"))

    def test_version(self):
        assert xsoil.__version__ in call("--version").stdout

    def test_help_costs_little_more_than_the_package_itself(self):
        """Processor time, because the machine may be busy; what a command needs is imported by the command."""
        code = (
            "import sys, time; import xsoil; start = time.process_time(); before = set(sys.modules)\n"
            "from xsoil.command_line import main\n"
            "main(['--help'], standalone_mode=False)\n"
            "heavy = {'numba', 'torch', 'matplotlib', 'rosetta', 'scores', 'distributed'} & set(sys.modules)\n"
            "print('took', time.process_time() - start, sorted(heavy))"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        _, seconds, heavy = out.splitlines()[-1].split(maxsplit=2)
        assert heavy == "[]"
        assert float(seconds) < 0.4

    def test_the_package_declares_the_command(self):
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
        module, _, name = project["scripts"]["xsoil"].partition(":")
        assert getattr(importlib.import_module(module), name) is main


class TestListPtfs:
    def test_every_function_with_inputs_outputs_and_source(self):
        text = call("list-ptfs").stdout
        for entry in xsoil.PTFS.values():
            (line,) = [row for row in text.splitlines() if row.startswith(f"{entry.name} ")]
            assert all(v.name in line for v in (*entry.inputs, *entry.outputs))
            assert entry.doi in text

    def test_csv_is_the_table(self, tmp_path):
        (tmp_path / "table.csv").write_text(call("list-ptfs", "--csv").stdout)
        table = pd.read_csv(tmp_path / "table.csv", index_col=0, keep_default_na=False)
        pd.testing.assert_frame_equal(table, xsoil.list_ptfs())


class TestInfo:
    def test_grid_units_and_what_can_be_done(self, file, no_compute):
        text = call("info", file).stdout
        assert "30 x 40 cells (latitude, longitude) of 0.05 degrees" in text
        assert "EPSG:4326" in text
        assert "longitude 5 to 7, latitude 45 to 46.5" in text
        (sand,) = [line for line in text.splitlines() if line.strip().startswith("sand ")]
        assert "float32" in sand
        assert "chunks 30 x 40" in sand
        assert "[percent], sand content" in sand
        (cover,) = [line for line in text.splitlines() if line.strip().startswith("land_cover ")]
        assert "classes or flags" in cover
        assert "ds.soil.texture_class()" in text
        assert "ds.soil.upscale(to)" in text
        assert "ds.soil.retention" not in text
        (complete,) = [line for line in text.splitlines() if "complete:" in line]
        assert "cosby1984" in complete
        assert "rosetta3" in complete
        assert "weynants2009" not in complete
        (short,) = [line for line in text.splitlines() if "one input short:" in line]
        assert "saxton_rawls2006 (organic_carbon)" in short
        assert "What is missing" not in text

    def test_the_functions_called_complete_run(self, file):
        text = call("info", file).stdout
        (complete,) = [line for line in text.splitlines() if "complete:" in line]
        ds = xr.open_dataset(file)
        for name in complete.split(":")[1].split(","):
            assert xsoil.ptf(ds.isel(latitude=[5], longitude=[5]), name.strip()).sizes["latitude"] == 1

    def test_missing_units_with_the_line_that_mends_them(self, tmp_path):
        ds = soil()
        del ds.sand.attrs["units"]
        ds.clay.attrs["units"] = "bushel"
        ds.to_netcdf(tmp_path / "soil.nc")
        text = call("info", tmp_path / "soil.nc").stdout
        assert "ds['sand'].attrs['units'] = 'percent'" in text
        assert "'clay' is in 'bushel'" in text
        assert "complete once the units are mended" in text
        # The line does mend it.
        ds["sand"].attrs["units"] = ds["clay"].attrs["units"] = "percent"
        assert ds.soil.ptf("cosby1984").k_sat.notnull().any()

    def test_missing_crs_with_the_line_that_mends_it(self, tmp_path):
        zeros = np.zeros((4, 5), "f4")
        ds = xr.Dataset({"sand": (("y", "x"), zeros, PERCENT)}, {"y": np.arange(4) * 1e3, "x": np.arange(5) * 1e3})
        ds.to_netcdf(tmp_path / "soil.nc")
        done = call("info", tmp_path / "soil.nc")
        assert done.exit_code == 0
        assert 'ds.rio.write_crs("EPSG:...")' in done.stdout
        assert "ds.soil.upscale" not in done.stdout

    def test_names_of_others_with_the_line_that_renames(self, tmp_path):
        soil().rename(sand="SAND", clay="top_clay").to_netcdf(tmp_path / "soil.nc")
        text = call("info", tmp_path / "soil.nc").stdout
        assert "ds.rename({'SAND': 'sand'})" in text
        assert "ds.rename({'top_clay': 'clay'})" in text
        assert "land_cover" not in text.split("What is missing")[1]

    def test_geotiff(self, tmp_path):
        soil().soil.to_cog(tmp_path / "sand.tif", variable="sand", progress=False)
        text = call("info", tmp_path / "sand.tif").stdout
        assert "GeoTIFF" in text
        assert "30 x 40 cells (y, x) of 0.05 degrees" in text
        assert "[percent], sand content" in text

    def test_zarr_on_an_ease_grid(self, tmp_path):
        ds = soil().soil.upscale("EASE2_M25km", {"land_cover": "mode"})
        ds.soil.to_zarr(tmp_path / "soil.zarr", progress=False)
        assert "EASE2_M25km, from row " in call("info", tmp_path / "soil.zarr").stdout

    def test_smap_granule_is_opened_by_its_reader(self, tmp_path, no_compute):
        pytest.importorskip("h5py")
        from data.granules import smap_l3

        path = smap_l3(tmp_path, "20150401", cells={(100, 200): (0.25, 0)})
        text = call("info", path).stdout
        assert "xsoil.data.open_smap_l3" in text
        assert "EASE2_M36km, all of it" in text
        assert "soil_moisture" in text
        assert "rootzone" in text

    def test_hdf5_of_groups_under_another_name_says_so(self, tmp_path):
        from data.granules import smap_l3

        path = smap_l3(tmp_path, "20150401").rename(tmp_path / "mine.h5")
        done = call("info", path)
        assert done.exit_code == 1
        assert "Soil_Moisture_Retrieval_Data_AM" in done.stderr
        assert "under their own names" in done.stderr

    def test_series_of_sites(self, tmp_path):
        days = pd.date_range("2020-01-01", periods=6).delete(3)
        rate = {"units": "mm d-1"}
        ds = xr.Dataset({"precipitation": (("site", "time"), np.zeros((2, 5)), rate)}, {"time": days})
        ds.to_netcdf(tmp_path / "rain.nc")
        text = call("info", tmp_path / "rain.nc").stdout
        assert "none: no pair of spatial dims" in text
        assert "2020-01-01 to 2020-01-06, every day, 1 gap" in text
        assert "prepare_forcing(ds, to, pet=...)" in text

    def test_what_a_library_refuses_cannot_be_done(self):
        def attempt():
            raise KeyError("an error of a library")

        assert not _works(attempt)
        assert _works(dict)

    def test_parameters_can_be_simulated(self, tmp_path):
        soil().soil.ptf("rosetta3").soil.water_limits().to_netcdf(tmp_path / "parameters.nc")
        text = call("info", tmp_path / "parameters.nc").stdout
        assert "ds.soil.simulate(forcing, root_depth=..., depletion_fraction=..., crop_coefficient=...)" in text
        assert "ds.soil.retention(h)" in text
        assert 'ds.soil.simulate(forcing, "richards")' in text
        assert "'k_sat': 'geometric'" in text


class TestUpscale:
    @pytest.mark.parametrize("ending", [".zarr", ".nc"])
    def test_is_the_verb(self, file, tmp_path, ending):
        out = tmp_path / f"out{ending}"
        done = call("upscale", file, out, "--to", "EASE2_M25km", "--how", "sand=max, land_cover=mode",
                    "--min-valid", "0.2")  # fmt: skip
        assert done.exit_code == 0, done.stderr
        assert done.stdout == ""
        assert "sand, clay, land_cover on 7 x 8 cells" in done.stderr
        how = {"sand": "max", "land_cover": "mode"}
        expected = xr.open_dataset(file).soil.upscale("EASE2_M25km", how, min_valid=0.2)
        with xr.open_dataset(out, decode_coords="all", mask_and_scale=False) as got:
            assert xsoil.grid_of(got) == xsoil.grid_of(expected)
            for name in ("sand", "clay", "land_cover"):
                np.testing.assert_array_equal(got[name], expected[name])
                assert got[name].dtype == expected[name].dtype
            assert got.sand.attrs["units"] == "percent"
            assert list(got.land_cover.attrs["flag_values"]) == [1, 2, 3]
            assert got.rio.crs.to_epsg() == 6933

    def test_cog_of_one_variable(self, file, tmp_path):
        out = tmp_path / "sand.tif"
        done = call("upscale", file, out, "--to", "EASE2_M36km", "--variable", "sand", "--how", "quantile", "--q", 0.9,
                    "--min-valid", 0)  # fmt: skip
        assert done.exit_code == 0, done.stderr
        expected = xr.open_dataset(file)[["sand"]].soil.upscale("EASE2_M36km", "quantile", q=0.9, min_valid=0).sand
        with rioxarray.open_rasterio(out) as got:
            np.testing.assert_array_equal(got[0], expected)

    def test_to_the_grid_of_a_file_and_from_a_geotiff(self, file, tmp_path):
        xr_zeros(xsoil.ease_grid("EASE2_M36km", (4, 44, 8, 47)), "f4").rename("zero").to_dataset().soil.to_cog(
            tmp_path / "grid.tif", progress=False
        )
        soil().soil.to_cog(tmp_path / "sand.tif", variable="sand", progress=False)
        done = call("upscale", tmp_path / "sand.tif", tmp_path / "out.nc", "--to", tmp_path / "grid.tif")
        assert done.exit_code == 0, done.stderr
        expected = soil()[["sand"]].soil.upscale("EASE2_M36km", region=(4, 44, 8, 47)).sand
        with xr.open_dataset(tmp_path / "out.nc") as got:
            np.testing.assert_array_equal(got.sand, expected)

    @pytest.mark.parametrize("region", ["5.5,45.2,6.5,46", "conus"])
    def test_region(self, file, tmp_path, region):
        done = call("upscale", file, tmp_path / "out.zarr", "--to", "EASE2_M36km", "--variable", "sand", "--region",
                    region)  # fmt: skip
        if region == "conus":
            assert done.exit_code == 1
            assert "error:" in done.stderr
            return
        box = xsoil.ease_grid("EASE2_M36km", (5.5, 45.2, 6.5, 46))
        assert xsoil.grid_of(xr.open_zarr(tmp_path / "out.zarr")) == box

    def test_existing_output_stays_unless_overwritten(self, file, tmp_path):
        out = tmp_path / "out.nc"
        arguments = ("upscale", file, out, "--to", "EASE2_M36km", "--variable", "sand")
        assert call(*arguments).exit_code == 0
        before = out.read_bytes(), out.stat().st_mtime_ns
        done = call(*arguments)
        assert done.exit_code == 1
        assert "--overwrite" in done.stderr
        assert (out.read_bytes(), out.stat().st_mtime_ns) == before
        time.sleep(0.01)
        assert call(*arguments, "--overwrite").exit_code == 0
        assert out.stat().st_mtime_ns != before[1]

    def test_progress_bar_on_stderr(self, file, tmp_path):
        arguments = ("upscale", file, tmp_path / "out.zarr", "--to", "EASE2_M36km", "--variable", "sand")
        done = call(*arguments, "--progress")
        assert "Completed" in done.stderr
        assert done.stdout == ""
        assert "Completed" not in call(*arguments, "--overwrite").stderr  # no terminal

    @pytest.mark.parametrize(
        ("change", "code", "message"),
        [
            ({"--to": "EASE2_M9km"}, 1, "did you mean 'EASE2_M09km'"),
            ({"--how": "averge"}, 1, "unknown operator 'averge'"),
            ({"--how": "sand="}, 2, "k_sat=geometric,sand=mean"),
            ({"--region": "1,2,3"}, 2, "WEST,SOUTH,EAST,NORTH"),
            ({"--min-valid": "2"}, 2, "0<=x<=1"),
            ({"--variable": "silt"}, 1, "which has sand, clay, land_cover"),
            ({"--how": "sand=quantile,land_cover=mode"}, 1, "needs q="),
            ({"--p": "2"}, 1, "p=2.0 goes with how='power'"),
            ({"OUT": "out.png"}, 2, ".zarr, .tif"),
            ({"OUT": "out.tif"}, 1, "--variable"),
            ({"IN": "nothing.nc"}, 1, "no file"),
            ({"IN": "page.nc"}, 1, "web page"),
            ({"IN": "notes.txt"}, 1, "ending"),
        ],
        ids=lambda value: str(value),
    )
    def test_faults_are_a_message_and_a_code(self, file, tmp_path, change, code, message):
        (tmp_path / "page.nc").write_text("<html>log in first</html>")
        (tmp_path / "notes.txt").write_text("nothing")
        given = {"--to": "EASE2_M36km", "--how": "land_cover=mode"} | change
        source, out = given.pop("IN", None), given.pop("OUT", "out.zarr")
        options = [part for pair in given.items() for part in pair]
        done = call("upscale", tmp_path / source if source else file, tmp_path / out, *options)
        assert done.exit_code == code
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / out).exists()


class TestDemo:
    def test_writes_what_it_says(self, tmp_path):
        pytest.importorskip("matplotlib")
        done = call("demo", "--out", tmp_path, "--cells-per-degree", 6, "--grid", "EASE2_M36km")
        assert done.exit_code == 0, done.stderr
        parameters = xr.open_zarr(tmp_path / "parameters.zarr").load()
        assert list(parameters.framework.values) == ["MPR", "TR"]
        theta = xr.open_zarr(tmp_path / "soil_moisture.zarr").theta
        assert theta.sizes["time"] == 365
        assert float(theta.isel(time=180).mean()) == pytest.approx(0.2, abs=0.1)
        # The mean of conductivities is above the conductivity of the mean soil: the order matters.
        ratio = parameters.k_sat.sel(framework="MPR") / parameters.k_sat.sel(framework="TR")
        assert 1.0 < float(ratio.median()) < 1.5
        with rioxarray.open_rasterio(tmp_path / "k_sat.tif") as raster:
            assert raster.rio.crs.to_epsg() == 6933
        assert (tmp_path / "demo.png").stat().st_size > 50_000
        assert "million source cells/s" in done.stdout
        assert "demo.png" in done.stdout


class TestPage:
    """docs/command_line.md: its commands run in the order of the page, and what it shows is what they print."""

    TEXT = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()

    def test_every_command_runs_and_prints_what_the_page_shows(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ds = soil()
        del ds.clay.attrs["units"]
        ds.to_netcdf("soil.nc")
        shown = 0
        for block in re.findall(r"^```console\n(.*?)^```", self.TEXT, flags=re.MULTILINE | re.DOTALL):
            for part in block.split("$ ")[1:]:
                line, _, printed = part.partition("\n")
                program, *arguments = shlex.split(line)
                assert program == "xsoil"
                if arguments[0] == "demo":
                    continue  # it has a test of its own
                done = call(*arguments)
                assert done.exit_code == 0, f"{line}: {done.stderr}"
                if printed.strip():
                    assert done.stdout.strip() == printed.strip()
                    shown += 1
        assert shown == 1
        assert (tmp_path / "sand_again.zarr").is_dir()
