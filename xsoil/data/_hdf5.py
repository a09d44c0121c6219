"""Series of HDF5 files with one time each: checked when they are opened, read block by block when asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from dask.array import Array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from odc.geo.geobox import GeoBox

from xsoil.data._maps import decode_block
from xsoil.data._paths import is_remote, name_of, opened
from xsoil.errors import ArgumentError, FileError, MissingVariableError, NoOverlapError
from xsoil.grids.ease import ease_grid, named_grid

Attrs = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The part of a file's grid that is read: rows, and columns (two pieces where it crosses the dateline)."""

    rows: tuple[int, int]
    columns: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], sum(stop - start for start, stop in self.columns)


def ease_window(grid: str, region: object) -> tuple[GeoBox, Window]:
    """The grid's part that covers a region (all of it by default), and where that lies in the files."""
    geobox = ease_grid(grid, region)
    whole = named_grid(grid)
    found = whole.locate(geobox)
    if found is None:  # cannot happen with a geobox of ease_grid
        raise NoOverlapError(f"the region is no window of {grid}")
    (row, column), (rows, columns) = found, geobox.shape
    end = column + columns
    pieces = [(column, min(end, whole.columns))] + ([(0, end - whole.columns)] if end > whole.columns else [])
    return geobox, Window((row, row + rows), tuple(pieces))


@contextmanager
def hdf5(path: str) -> Iterator[Any]:
    """An open HDF5 file, or an error that says what the file is instead."""
    try:
        import h5py  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError('reading HDF5 needs h5py: pip install "xsoil[data]"') from error
    with opened(path) as file:
        try:
            handle = h5py.File(file, "r")
        except OSError as error:
            raise FileError(f"{name_of(path)!r} cannot be read as HDF5 ({_why(path, error)})") from error
        with handle:
            yield handle


def _why(path: str, error: OSError) -> str:
    text = str(error)
    if "truncated" in text:
        return f"it is cut short: {text}; load it again"
    try:
        with opened(path) as file:
            head = file.read(200) if hasattr(file, "read") else _head(file)
    except OSError:
        return text
    if not head:
        return "it is empty; load it again"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, as a server sends where a login is missing; load it again with your account"
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return f"it begins with {head[:8]!r}; expected an HDF5 file"
    return f"{text}; load it again"


def _head(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(200)


Fields = dict[str, tuple[str, Attrs]]
"""Type and attributes of each field of a group."""


def check(
    path: str, wanted: Mapping[str, Sequence[str]], shape: tuple[int, int], what: str, *, attrs: bool = True
) -> dict[str, Fields]:
    """Type and (slow) attributes of fields by group; groups, fields and shapes must be the product's.

    The file is opened once, whatever the number of groups.
    """
    with hdf5(path) as file:
        for group in wanted:
            if group not in file:
                raise FileError(
                    f"{name_of(path)!r} has the groups {sorted(file)}; expected {group!r} of {what}: is it another "
                    "product?"
                )
        return {
            group: {field: _checked(path, file[group], group, field, shape, what, attrs) for field in fields}
            for group, fields in wanted.items()
        }


def _checked(
    path: str, place: Any, group: str, field: str, shape: tuple[int, int], what: str, attrs: bool
) -> tuple[str, Attrs]:
    if field not in place:
        near = get_close_matches(field, list(place), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise MissingVariableError(
            f"{name_of(path)!r} has no {field!r} in {group!r}; {hint}there are {', '.join(sorted(place))}"
        )
    dataset = place[field]
    if dataset.shape[-2:] != shape or any(size != 1 for size in dataset.shape[:-2]):
        raise FileError(
            f"{field!r} of {name_of(path)!r} has the shape {dataset.shape}; expected {shape} of {what}: "
            "subsets and reprojected copies are not read here; load the file as it was published"
        )
    about = {k: _plain(v) for k, v in dataset.attrs.items() if k in KEPT} if attrs else {}
    return dataset.dtype.str, about


KEPT = (
    "units",
    "long_name",
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "standard_name",
    "cell_methods",
)


def _plain(value: Any) -> Any:
    """An attribute of HDF5 as text or number."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value


def check_all(
    paths: Sequence[str], wanted: Mapping[str, Sequence[str]], shape: tuple[int, int], what: str
) -> dict[str, Fields]:
    """`check` of every local file, and of the first remote one (the others are checked as they are read)."""
    first = check(paths[0], wanted, shape, what)
    for path in paths[1:]:
        if not is_remote(path):
            check(path, wanted, shape, what, attrs=False)
    return first


def series(
    paths: Sequence[str | None],
    field: str,
    group: str,
    window: Window,
    dtype: np.dtype[Any],
    decode: dict[str, Any] | None,
    what: str,
) -> Array:
    """Lazy (time, rows, columns): one block a file; all NaN where there is None in place of a file.

    `decode` holds arguments of `decode_block`; None leaves the numbers as they are (flags).
    """
    name = f"hdf5-{field}-{tokenize(tuple(paths), field, group, window, decode)}"
    blocks: dict[Any, Any] = {
        (name, i, 0, 0): (_read, path, field, group, window, decode, what) for i, path in enumerate(paths)
    }
    out = dtype if decode is None else decode_block(np.zeros(1, dtype)).dtype
    rows, columns = window.shape
    return Array(
        HighLevelGraph.from_collections(name, blocks), name, ((1,) * len(paths), (rows,), (columns,)), dtype=out
    )


def _read(
    path: str | None, field: str, group: str, window: Window, decode: dict[str, Any] | None, what: str
) -> np.ndarray[Any, Any]:
    if path is None:
        return np.full((1, *window.shape), np.nan, np.float32)
    with hdf5(path) as file:
        place = file.get(group)
        if place is None or field not in place:
            raise FileError(f"{name_of(path)!r} has no {group}/{field}; expected {what}")
        dataset = place[field]
        lead = (0,) * (dataset.ndim - 2)
        rows = slice(*window.rows)
        try:
            parts = [dataset[(*lead, rows, slice(*columns))] for columns in window.columns]
        except OSError as error:
            raise FileError(f"{group}/{field} of {name_of(path)!r} is damaged ({error}); load it again") from error
    raw = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    if raw.shape != window.shape:
        raise FileError(f"{field!r} of {name_of(path)!r} is smaller than that of {what}; load the file as published")
    if not raw.dtype.isnative:
        raw = raw.astype(raw.dtype.newbyteorder("="))
    return (raw if decode is None else decode_block(raw, **decode))[None]


def require_choice(value: str, choices: Sequence[str], what: str) -> None:
    """An argument must be one of a few words."""
    if value not in choices:
        raise ArgumentError(f"{what} is {value!r}; expected one of {', '.join(map(repr, choices))}")
