"""The verbs: one file each, xarray in and xarray out."""

from xsoil.outputs.cog import to_cog
from xsoil.outputs.zarr import to_zarr
from xsoil.verbs._gap_model import GapModel
from xsoil.verbs._learned import LearnedParams
from xsoil.verbs._moisture_model import MoistureModel
from xsoil.verbs.apply_weights import apply_weights
from xsoil.verbs.compare_scaling import compare_scaling
from xsoil.verbs.conductivity import conductivity
from xsoil.verbs.conservation_report import conservation_report
from xsoil.verbs.convert_curve import convert_curve
from xsoil.verbs.convert_texture import convert_texture
from xsoil.verbs.depth_mean import depth_mean
from xsoil.verbs.downscale import downscale
from xsoil.verbs.draw_soil import draw_soil
from xsoil.verbs.evaluate import evaluate
from xsoil.verbs.fill_gaps import fill_gaps
from xsoil.verbs.fit_fredlund_xing_wang import fit_fredlund_xing_wang
from xsoil.verbs.fit_gap_model import fit_gap_model
from xsoil.verbs.fit_moisture_model import fit_moisture_model
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model
from xsoil.verbs.ptf import list_ptfs, ptf
from xsoil.verbs.retention import retention
from xsoil.verbs.rootzone import rootzone
from xsoil.verbs.save_weights import save_weights
from xsoil.verbs.simulate import final_state, simulate
from xsoil.verbs.texture_class import texture_class
from xsoil.verbs.upscale import upscale
from xsoil.verbs.water_limits import water_limits

__all__ = [
    "GapModel",
    "LearnedParams",
    "MoistureModel",
    "apply_weights",
    "compare_scaling",
    "conductivity",
    "conservation_report",
    "convert_curve",
    "convert_texture",
    "depth_mean",
    "downscale",
    "draw_soil",
    "evaluate",
    "fill_gaps",
    "final_state",
    "fit_fredlund_xing_wang",
    "fit_gap_model",
    "fit_moisture_model",
    "learn_params",
    "list_ptfs",
    "load_model",
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
