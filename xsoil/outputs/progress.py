"""dask's progress bar where the caller wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(out: Any, *, shown: bool = True) -> Iterator[None]:
    """Show a bar on a stream for every computation of the block (writers then take ``progress=False``)."""
    if not shown:
        yield
        return
    from dask.diagnostics import ProgressBar

    with ProgressBar(out=out):
        yield
