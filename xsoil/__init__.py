"""xsoil: soil maps to soil moisture at continental scale, as the xarray accessor `ds.soil`."""

import rioxarray  # noqa: F401  (registers ds.rio, to which messages about the CRS point)

from xsoil import data, errors, evaluation, plots
from xsoil.accessor import SoilAccessor
from xsoil.evaluation.splits import Split
from xsoil.grids.ease import ease_grid, ease_rowcol
from xsoil.grids.geobox import grid_of
from xsoil.plots import explore
from xsoil.ptfs import PTFS
from xsoil.verbs import (
    GapModel,
    LearnedParams,
    MoistureModel,
    apply_weights,
    compare_scaling,
    conductivity,
    conservation_report,
    convert_curve,
    convert_texture,
    depth_mean,
    downscale,
    draw_soil,
    evaluate,
    fill_gaps,
    final_state,
    fit_fredlund_xing_wang,
    fit_gap_model,
    fit_moisture_model,
    learn_params,
    list_ptfs,
    load_model,
    ptf,
    retention,
    rootzone,
    save_weights,
    simulate,
    texture_class,
    to_cog,
    to_zarr,
    upscale,
    water_limits,
)
from xsoil.vocabulary import VARIABLES

__version__ = "0.1.0"

__all__ = [
    "PTFS",
    "VARIABLES",
    "GapModel",
    "LearnedParams",
    "MoistureModel",
    "SoilAccessor",
    "Split",
    "apply_weights",
    "compare_scaling",
    "conductivity",
    "conservation_report",
    "convert_curve",
    "convert_texture",
    "data",
    "depth_mean",
    "downscale",
    "draw_soil",
    "ease_grid",
    "ease_rowcol",
    "errors",
    "evaluate",
    "evaluation",
    "explore",
    "fill_gaps",
    "final_state",
    "fit_fredlund_xing_wang",
    "fit_gap_model",
    "fit_moisture_model",
    "grid_of",
    "learn_params",
    "list_ptfs",
    "load_model",
    "plots",
    "ptf",
    "retention",
    "rootzone",
    "save_weights",
    "simulate",
    "texture_class",
    "to_cog",
    "to_zarr",
    "upscale",
    "water_limits",
]
