"""The one way xsoil compiles a function.

numba is imported on first use only by the modules that use this one (kernels, grids); those are
themselves imported inside the verbs, so that `import xsoil` compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import overload

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function`: cached on disk, without the GIL, IEEE arithmetic (no fastmath, which would
    let results depend on how the data are chunked)."""
    compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


def fused_kernel(function: F) -> F:
    """As `kernel`, but a product may be added without being rounded first (FMA): a third faster.

    Only for loops of constant length without branches: then every cell meets the same instructions wherever
    it stands. Elsewhere the rest of a vectorised loop could round otherwise than its body.
    """
    compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function)
    return compiled


def by_precision(single: Callable[[Any], Any], double: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One name for two functions of a number inside kernels: `single` compiles for float32, `double` else."""

    def chosen(x: Any) -> Any:
        return single(x) if getattr(x, "dtype", None) == "float32" else double(x)

    @overload(chosen)
    def _(x: Any) -> Callable[[Any], Any]:
        return single if x == types.float32 else double

    return chosen
