"""A read-only object that all tasks need, as an entry of the graph of its own: a cluster sends it to a worker once."""

from __future__ import annotations

import pickle
import threading
from typing import Any

from dask.delayed import Delayed, delayed

__all__ = ["Shared", "shared"]

_OPENING = threading.Lock()
_LAST: dict[str, Any] = {}
"""The object that this process opened last, by its token: a cluster drops an entry of the graph from a worker that has
no task for it at the moment, and sends it again when there is one."""


class Shared:
    """An object that travels as bytes and is made from them when the first task of a process asks for it.

    The scheduler passes on the bytes, and never needs what the object is made of; nor does a worker that is given the
    entry of the graph, and then loses it to another one before it has run a task.
    """

    def __init__(self, token: str, value: Any = None, content: bytes | None = None) -> None:
        self._token, self._value, self._content = token, value, content

    @property
    def value(self) -> Any:
        """The object."""
        with _OPENING:
            if self._content is not None:
                if self._token not in _LAST:
                    opened = pickle.loads(self._content)
                    _LAST.clear()
                    _LAST[self._token] = opened
                self._value, self._content = _LAST[self._token], None
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        with _OPENING:
            content = pickle.dumps(self._value, protocol=5) if self._content is None else self._content
        return Shared, (self._token, None, content)


def shared(value: Any, token: str) -> Delayed:
    """The entry of the graph; tasks that take it as an argument get a `Shared`.

    Parameters
    ----------
    value : object
    token : str
        What tells it from others.
    """
    found: Delayed = delayed(Shared(token, value), name=f"xsoil.model-{token}", traverse=False)
    return found
