"""The one way xsoil uses several cores: bands of independent work on a kept pool of threads.

Eager calls use it; under dask a task runs on the one thread that dask gave it, also where it calls xsoil eagerly.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

from numpy.typing import NDArray

_POOLS = ("ThreadPoolExecutor", "Dask-", "xsoil_")


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="xsoil")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork, the pool object would
    os.register_at_fork(after_in_child=_pool.cache_clear)


def available_cores() -> int:
    """Cores that this call may use: those of the process, or 1 in a task, beside which others run.

    Tasks are known by their threads (of `concurrent.futures`, dask and xsoil, which have these names) and processes
    (children of another one, as those of pools are).
    """
    thread = threading.current_thread().name
    if any(name in thread for name in _POOLS) or multiprocessing.parent_process() is not None:
        return 1
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def in_bands(work: Callable[[int, int], object], count: int, threads: int, *, smallest: int = 1) -> None:
    """Call ``work(first, last)`` on bands of ``range(count)``, several at a time.

    Parameters
    ----------
    work : callable
        Must be independent from band to band and release the GIL; it never calls `in_bands` itself.
    count : int
        Items in all.
    threads : int
        1 runs it here and now.
    smallest : int
        Least number of items worth a band.
    """
    bands = min(4 * threads, count // max(smallest, 1))
    if threads <= 1 or bands <= 1:
        work(0, count)
        return
    edges = [count * i // bands for i in range(bands + 1)]
    for done in [_pool(threads).submit(work, a, b) for a, b in pairwise(edges)]:
        done.result()


def in_order(work: Callable[[Any], list[Any]], batches: list[Any], threads: int) -> Iterator[Any]:
    """The results of all batches in their order; no more of them at work or waiting than 2 per thread."""
    if threads <= 1 or len(batches) == 1:
        for batch in batches:
            yield from work(batch)
        return
    pool, coming = _pool(threads), iter(batches)
    waiting = deque(pool.submit(work, batch) for batch in islice(coming, 2 * threads))
    while waiting:
        found = waiting.popleft().result()
        waiting.extend(pool.submit(work, batch) for batch in islice(coming, 1))
        yield from found


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view of input that several threads share: none can write to it.

    It also spares numba a second compilation, for arrays that come writable here and read-only from a worker.
    """
    view = array.view()
    view.flags.writeable = False
    return view
