"""Every error that xsoil raises on purpose; each is a `ValueError`.

A message says what was found, what was expected and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SoilError(ValueError):
    """Base of xsoil's errors."""


class MissingVariableError(SoilError):
    """A variable that the verb needs is not in the dataset."""


class UnitsError(SoilError):
    """Units are missing, or not among those accepted for the variable."""


class TextureError(SoilError):
    """Silt and sand part at another particle size than the verb expects, or it is not known at which."""


class CRSError(SoilError):
    """No coordinate reference system, or two that contradict each other."""


class AxisError(SoilError):
    """A spatial axis is missing, shuffled or not evenly spaced."""


class GridMismatchError(SoilError):
    """Two objects that must share a grid do not."""


class NoOverlapError(GridMismatchError):
    """Source and target grid have no cell in common."""


class TimeError(SoilError):
    """The time axis is missing, unsorted, not daily or has a gap."""


class NodataError(SoilError):
    """Two contradicting nodata values are declared for one variable."""


class FileError(SoilError):
    """A file is not what its name claims: another product or layout, damaged, or cut short."""


class ArgumentError(SoilError):
    """An argument is outside what the verb accepts."""


class UnknownNameError(SoilError):
    """A name (of a PTF, a grid, an operator ...) that does not exist."""

    @classmethod
    def of(cls, kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
        """Build the error with the nearest known name."""
        known = sorted(known)
        given, small = str(name), str(name).lower()

        def close(cutoff: float) -> list[str]:
            return get_close_matches(given, known, 1, cutoff) or get_close_matches(small, known, 1, cutoff)

        parts = [other for other in known if len(small) > 2 and small in other.lower()]  # "36km", "cosby"
        near = close(0.8) or parts or close(0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}")
