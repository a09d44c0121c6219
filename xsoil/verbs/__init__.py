"""The verbs: one file each, xarray in and xarray out."""

from xsoil.outputs.cog import to_cog
from xsoil.outputs.zarr import to_zarr
from xsoil.verbs.depth_mean import depth_mean
from xsoil.verbs.evaluate import evaluate
from xsoil.verbs.ptf import list_ptfs, ptf
from xsoil.verbs.simulate import final_state, simulate
from xsoil.verbs.texture_class import texture_class
from xsoil.verbs.upscale import upscale
from xsoil.verbs.water_limits import water_limits

__all__ = [
    "depth_mean",
    "evaluate",
    "final_state",
    "list_ptfs",
    "ptf",
    "simulate",
    "texture_class",
    "to_cog",
    "to_zarr",
    "upscale",
    "water_limits",
]
