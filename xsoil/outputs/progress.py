"""dask's progress bar where the caller wants it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(out: Any = None, *, shown: bool = True) -> Iterator[None]:
    """Show a bar for every computation of the block, on stderr: what is printed stays clean for pipes.

    Parameters
    ----------
    out : file, optional
        Another stream.
    shown : bool
        Writers take this as ``progress``.
    """
    if not shown:
        yield
        return
    from dask.diagnostics import ProgressBar

    with ProgressBar(out=sys.stderr if out is None else out):
        yield
