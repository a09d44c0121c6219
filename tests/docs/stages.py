"""What a page takes for granted, how it is made quick for a test, and what must have come out of it.

Pages whose examples need data of the reader's own get them here, small; everything else stands in the page itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

sys.path.append(str(Path(__file__).parents[1] / "data"))  # the writers of files stand with the readers' tests

Names = dict[str, Any]
FIXED = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}


def soilgrids_to_moisture(_: Path) -> Names:
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))  # the page's own writer of files
    return {}


def cluster(_: Path) -> Names:
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 33, -94, 40))
    parameters = xsoil.data.synthetic_soil(grid).soil.ptf("saxton_rawls2006")
    return {"parameters": parameters, "forcing": xsoil.data.synthetic_forcing(grid, ("1981", "1983")), "fixed": FIXED}


def faults(folder: Path) -> Names:
    names = cluster(folder)
    forcing = names["forcing"].sel(time="1981-06")
    return {"moisture": names["parameters"].soil.simulate(forcing, **FIXED)}


def li2024(_: Path) -> Names:
    return {"xsoil": xsoil, "soil": xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M01km", (-100, 36, -99.7, 36.3)))}


def readers(folder: Path) -> Names:
    import page_files

    page_files.readers(folder)
    return {"xsoil": xsoil, "np": np}


def fill_gaps(_: Path) -> Names:
    time, pixel = pd.date_range("2015-04-01", periods=200), np.arange(4)
    rng = np.random.default_rng(0)
    rain = xr.DataArray(rng.gamma(0.2, 10, (4, 200)), {"pixel": pixel, "time": time}, attrs={"units": "mm d-1"})
    theta = 0.15 + 0.01 * rain.rolling(time=9, min_periods=1).mean()
    pet = (0 * rain + 3).assign_attrs(units="mm d-1")
    theta = theta.where(rng.random(theta.shape) < 0.4).assign_attrs(units="m3 m-3")
    return {"xsoil": xsoil, "ds": xr.Dataset({"soil_moisture": theta, "precipitation": rain, "pet": pet})}


def moisture_models(_: Path) -> Names:
    coarse, fine = (xsoil.ease_grid(name, (-100, 36, -98, 37.5)) for name in ("EASE2_M36km", "EASE2_M09km"))
    soil = xsoil.data.synthetic_soil(fine)[["sand", "clay"]].compute()
    soil["texture_class"] = xsoil.data.synthetic_soil(fine).soil.texture_class().compute()
    names = ("precipitation", "lai", "air_temperature")
    weather = xsoil.data.synthetic_forcing(fine, ("2015-04-01", "2015-04-20"), variables=names).compute()
    weather = weather.rename(air_temperature="lst")
    smap = 0.1 + 0.02 * weather.precipitation.rolling(time=5, min_periods=1).mean()
    smap = smap.assign_attrs(units="m3 m-3").to_dataset(name="smap")
    satellite = smap.soil.upscale(coarse)
    row, column = (xr.DataArray(np.arange(60) // k, dims="site") for k in (6, 1))
    size = dict(fine.dimensions and zip(fine.dimensions, fine.shape, strict=True))
    ds = xr.merge([soil, weather, smap], compat="override").drop_vars("spatial_ref", errors="ignore")
    samples = ds.isel(y=row % size["y"], x=column % size["x"]).transpose("site", "time", ...)
    samples["soil_moisture"] = (samples.smap - 0.001 * samples.sand + 0.05).assign_attrs(units="m3 m-3")
    land = (soil.sand > 200).to_dataset(name="water").assign(urban=soil.sand > 200)
    return {"samples": samples, "satellite": satellite, "soil": soil, "weather": weather, "land": land}


def learn_params(_: Path) -> Names:
    """Sites of the second half of the page; the first half makes its own world."""
    return _columns()


def qi2026(_: Path) -> Names:
    names = _columns()
    return names | {"other_soil": names["soil"], "other_series": names["series_year_1"]}


def _columns() -> Names:
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 36, -102, 38))
    maps = xsoil.data.synthetic_soil(grid)[["sand", "clay"]].compute()
    names = ("precipitation", "pet", "lai")
    weather = xsoil.data.synthetic_forcing(grid, ("2015-03-01", "2015-04-09"), variables=names).compute()

    def sites(ds: xr.Dataset) -> xr.Dataset:
        return ds.stack(site=("y", "x")).reset_index("site").drop_vars(["y", "x", "spatial_ref"]).isel(site=slice(6))

    soil, weather = sites(maps), sites(weather)
    wet = (0.2 + 0.01 * weather.precipitation.rolling(time=5, min_periods=1).mean()).clip(0.1, 0.4)
    past = weather.isel(time=slice(20)).assign(moisture_before=wet.isel(time=slice(20)).assign_attrs(units="m3 m-3"))
    return {
        "xsoil": xsoil, "soil": soil, "series_year_1": past, "forcing_year_2": weather.isel(time=slice(20, None)),
        "observed_year_2": wet.isel(time=slice(20, None)).rename("theta").assign_attrs(units="m3 m-3"),
    }  # fmt: skip


def liu2023(_: Path) -> Names:
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 36, -102, 38))
    soil = xsoil.data.synthetic_soil(grid)[["sand", "clay"]].compute()
    forcing = xsoil.data.synthetic_forcing(grid, ("2015-11-01", "2016-02-29")).compute()
    maps = xr.merge([soil, forcing], compat="override")
    smap = (0.1 + 0.02 * forcing.precipitation.rolling(time=5, min_periods=1).mean()).assign_attrs(units="m3 m-3")
    return {"xsoil": xsoil, "maps": maps, "ds": maps.assign(smap=smap, in_situ=smap[::2])}


def rabiei2024(_: Path) -> Names:
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 36, -102, 38))
    soil = xsoil.data.synthetic_soil(grid)[["sand", "clay"]].compute()
    rain = xsoil.data.synthetic_forcing(grid, ("2020-10-01", "2022-01-31")).compute().precipitation
    wet = 0.1 + 0.02 * rain.rolling(time=5, min_periods=1).mean()
    water, kelvin = {"units": "m3 m-3"}, {"units": "K"}
    series = {
        "smap": wet.assign_attrs(water),
        "nldas_surface": wet.assign_attrs(water),
        "nldas_subsurface": (0.5 * wet).assign_attrs(water),
        "brightness_h": (270 - 200 * wet).assign_attrs(kelvin),
        "brightness_v": (280 - 150 * wet).assign_attrs(kelvin),
        "vegetation_water": (0 * wet + 2).assign_attrs(units="kg m-2"),
    }
    return {"xsoil": xsoil, "ds": xr.Dataset(series).assign(soil)}


STAGES: dict[str, Callable[[Path], Names]] = {
    page.__name__: page
    for page in (
        cluster,
        faults,
        fill_gaps,
        learn_params,
        li2024,
        liu2023,
        moisture_models,
        qi2026,
        rabiei2024,
        readers,
        soilgrids_to_moisture,
    )
}

QUICK: dict[str, dict[str, str]] = {
    "cluster": {
        "(-104, 33, -94, 40)": "(-98, 35, -97, 36)",
        "n_workers=2, threads_per_worker=1": "processes=False, dashboard_address=None",
        "range(1981, 2021)": "range(1981, 1984)",
    },
    "fill_gaps": {"seed=0)": "seed=0, epochs=1, steps=4)"},
    "learn_params": {
        "(-100, 36, -98.2, 37.5)": "(-100, 36, -98.8, 36.8)",
        "(-100.2, 35.8, -98, 37.7)": "(-100.2, 35.8, -98.6, 37)",
        "epochs=40": "epochs=2",
        "evaluations=200": "evaluations=20",
        "theta_r=0.05,": "theta_r=0.05, epochs=1, progress=False,",
    },
    "liu2023": {"members=5": "members=1", "options={": 'progress=False, options={"epochs": 1, '},
    "moisture_models": {
        "EASE2_M01km": "EASE2_M03km",
        'kind="dense",': 'kind="dense", options={"epochs": 2}, progress=False,',
    },
    "rabiei2024": {"options={": 'progress=False, options={"epochs": 1, '},
    "qi2026": {"depth=0.05,": "depth=0.05, epochs=1, progress=False,"},
}
"""Sizes that a test replaces; each must stand in the page."""

EXCEPTED = {
    ("cluster", "from dask_jobqueue"): "needs SLURM",
    ("cluster", "from dask_kubernetes"): "needs Kubernetes",
    ("learn_params", "by_surrogate ="): "a surrogate must pass its test, which takes minutes of training",
}
"""Blocks that only have to be Python, by page and first words, and why."""
