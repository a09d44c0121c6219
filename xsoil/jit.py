"""The one way xsoil compiles a function.

numba is imported on first use only by the modules that use this one (kernels, grids); those are
themselves imported inside the verbs, so that `import xsoil` compiles nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload

F = TypeVar("F", bound=Callable[..., Any])
_ROOT = os.path.dirname(__file__)
_IMPORT = re.compile(r"^[ \t]*from +(xsoil[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)


def kernel(function: F) -> F:
    """Compile `function`: cached on disk, without the GIL, IEEE arithmetic (no fastmath, which would
    let results depend on how the data are chunked)."""
    return _compiled(function)


def fused_kernel(function: F) -> F:
    """As `kernel`, but a product may be added without being rounded first (FMA): a third faster.

    Only for loops of constant length without branches: then every cell meets the same instructions wherever
    it stands. Elsewhere the rest of a vectorised loop could round otherwise than its body.
    """
    return _compiled(function, fastmath={"contract"})


def _compiled(function: F, **options: Any) -> F:
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(function)
    try:
        compiled.enable_caching()
    except RuntimeError:  # no folder to write to: compiled again in each process
        return compiled
    # numba looks at the file of the function alone, so an edit or an upgrade of what it calls would be served from the
    # old cache.
    index = getattr(compiled._cache, "_cache_file", None)  # another name in a later numba must not stop the import
    if index is not None:
        index._source_stamp = index._source_stamp, _digest(function.__code__.co_filename)
    return compiled


@cache
def _digest(path: str) -> str:
    """Of the sources that a file of kernels imports from this package, however far down."""
    found: dict[str, str] = {}
    todo = [path]
    while todo:
        file = todo.pop()
        if file not in found:
            found[file], imported = _read(file)
            todo += imported
    return hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()


@cache
def _read(path: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a source file, and the files of this package that it imports."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError:  # in an archive, or typed in
        return "", ()
    imported: list[str] = []
    for package, names in _IMPORT.findall(source.decode(errors="replace")):
        place = os.path.join(_ROOT, *package.split(".")[1:])
        inside = [os.path.join(place, f"{name}.py") for name in re.findall(r"\w+", names)]
        imported += [f"{place}.py"] if os.path.isfile(f"{place}.py") else filter(os.path.isfile, inside)
    return hashlib.sha256(source).hexdigest(), tuple(imported)


def inlined(function: F) -> F:
    """Compile `function` into the loops that call it: long formulas would stay calls, which do not vectorise."""
    compiled: F = numba.njit(inline="always", error_model="numpy")(function)
    return compiled


def by_precision(single: Callable[[Any], Any], double: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One name for two functions of a number inside kernels: `single` compiles for float32, `double` else."""

    def chosen(x: Any) -> Any:
        return single(x) if getattr(x, "dtype", None) == "float32" else double(x)

    @overload(chosen)
    def _(x: Any) -> Callable[[Any], Any]:
        return single if x == types.float32 else double

    return chosen


def _reinterpret(pairs: dict[Any, tuple[Any, Any]]) -> Callable[[Any], Any]:
    @intrinsic
    def reinterpret(context: Any, x: Any) -> Any:
        if x not in pairs:
            return None
        result, llvm_type = pairs[x]
        return result(x), lambda _context, builder, _signature, args: builder.bitcast(args[0], llvm_type)

    return reinterpret


bits_of = _reinterpret({types.float32: (types.int32, ir.IntType(32)), types.float64: (types.int64, ir.IntType(64))})
"""The bits of a floating-point number as an integer, inside kernels."""

number_of = _reinterpret({types.int32: (types.float32, ir.FloatType()), types.int64: (types.float64, ir.DoubleType())})
"""The floating-point number of an integer's bits, inside kernels."""
