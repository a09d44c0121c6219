"""`load_model`: a learned model from its folder."""

from __future__ import annotations

from os import PathLike
from typing import Any

from xsoil.verbs._model_file import read_model

__all__ = ["load_model"]


def load_model(path: str | PathLike[str], *, network: Any = None) -> Any:
    """Read a model that its `save` wrote; what kind it is, the folder says.

    Nothing in the folder is executed: weights are safetensors, their meaning is JSON, maps are Zarr.

    Parameters
    ----------
    path : path
        The folder.
    network : torch module, optional
        Where the model was learned with a module of the user's: one of the same architecture, whose weights are
        replaced.

    Returns
    -------
    LearnedParams, or another kind of model
        As it was saved. Learned parameters predict and simulate as before; what they were learned from is not in the
        folder, so they do not evaluate.

    Raises
    ------
    ArgumentError, UnknownNameError
        No model, one of another format, version or vocabulary, or a damaged one.

    See Also
    --------
    learn_params
    """
    return read_model(path, network)
