"""Lazy results of the verbs, and the names of their tasks; run as a script it prints these."""

from __future__ import annotations

import json
import warnings

import xarray as xr

import xsoil

FIXED = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}


def results():
    """By verb."""
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 33, -94, 40))
    soil = xsoil.data.synthetic_soil(grid, chunks=10)
    days = {"time": 16, "y": 10, "x": 10}
    forcing = xsoil.data.synthetic_forcing(grid, ("2015-01-01", "2015-02-01"), chunks=days)
    parameters = soil.soil.ptf("saxton_rawls2006", quality=True)
    coarse = grid.zoom_out(3)
    run = parameters.soil.simulate(forcing, **FIXED)
    few = {"y": slice(5), "x": slice(5)}
    columns = parameters.isel(few).soil.simulate(forcing.isel(few), "richards", theta_r=0.0, lai=2.0)
    theta = run[["theta"]]
    return {
        "ptf": parameters,
        "rosetta3": soil.soil.ptf("rosetta3"),
        "water_limits": parameters.soil.water_limits("retention"),
        "texture_class": soil.soil.texture_class(),
        "upscale": parameters[["k_sat"]].soil.upscale(coarse, "median"),
        "downscale": parameters[["k_sat"]].soil.downscale(grid.zoom_out(0.25), "bilinear"),
        "compare_scaling": soil.soil.compare_scaling(
            coarse, ptfs=["cosby1984", "li2024_cb1"], hows=["mean", "nearest"]
        ),
        "simulate": run,
        "richards": columns,
        "rootzone": theta.soil.rootzone(T=10),
        "fill_gaps": theta.soil.fill_gaps("linear"),
        "evaluate": theta.soil.evaluate(theta.rename(theta="soil_moisture")),
    }


def names(ds):
    """Of all tasks and arrays of a result."""
    variables = ds.variables.values() if isinstance(ds, xr.Dataset) else [ds.variable]
    arrays = [v.data for v in variables if v.chunks is not None]
    return sorted({key if isinstance(key, str) else key[0] for array in arrays for key in dict(array.__dask_graph__())})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps({verb: names(ds) for verb, ds in results().items()}))
