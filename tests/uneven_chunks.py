"""Chunks as users have them after concatenating and slicing: of any sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def cuts(draw, size, most=4):
    """Uneven chunks of a dim of `size`, `most` + 1 at most."""
    at = draw(st.sets(st.integers(1, size - 1), max_size=most))
    return tuple(np.diff([0, *sorted(at), size]))
