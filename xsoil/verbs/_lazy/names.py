"""Names of tasks, as a cluster's dashboard shows them."""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["label"]


def label(work: Any) -> str:
    """``xsoil.upscale`` and its like: the verb of the module that a function, or an object's class, is written in.

    A name without a hyphen, because dask cuts the names of generalised functions there.
    """
    while isinstance(work, partial):
        work = work.func
    rooms = str(work.__module__).split(".")
    return "xsoil.ptf" if "ptfs" in rooms else f"xsoil.{rooms[-1].strip('_')}"
