"""`load_model`: a learned model from its folder."""

from __future__ import annotations

from os import PathLike
from typing import Any

from xsoil.verbs._learned import LearnedParams
from xsoil.verbs._model_file import read_model

__all__ = ["load_model"]


def load_model(path: str | PathLike[str], *, network: Any = None) -> LearnedParams:
    """Read a model that `LearnedParams.save` wrote.

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
    LearnedParams
        It predicts and simulates as before; what it was learned from is not in the folder, so it does not evaluate.

    Raises
    ------
    ArgumentError, UnknownNameError
        No model, one of another format, version or vocabulary, or a damaged one.

    See Also
    --------
    learn_params
    """
    return read_model(path, network)
