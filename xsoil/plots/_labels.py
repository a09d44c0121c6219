"""Words and colours of the pictures: labels with units, names of classes, a palette."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xsoil.data.objects import flags_of
from xsoil.vocabulary import VARIABLES

__all__ = ["MOISTURE", "PALETTE", "class_names", "label_of", "pretty_units", "wrapped"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that differ for every kind of colour vision (Okabe & Ito 2008), darkest contrasts first."""

MOISTURE = "viridis_r"
"""Dry is light, wet is dark: perceptually uniform, and in the same order when printed in grey."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def pretty_units(units: str) -> str:
    """``m3 m-3`` as m³ m⁻³, ``percent`` as %; empty for pure numbers."""
    if units in ("1", ""):
        return ""
    if units == "percent":
        return "%"
    return re.sub(r"(?<=[A-Za-z])-?\d+\b", lambda found: found.group().translate(_SUPERSCRIPTS), units)


def label_of(array: xr.DataArray, name: str | None = None) -> str:
    """Long name (else that of the vocabulary, else the name) and units, e.g. ``precipitation [mm d⁻¹]``."""
    own = str(array.name) if array.name is not None else ""
    known = VARIABLES.get(own)
    text = name or str(array.attrs.get("long_name") or (known.long_name if known else own))
    units = pretty_units(str(array.attrs.get("units", "")))
    return f"{text} [{units}]" if units else text


def wrapped(text: str, width: int) -> str:
    """Lines of at most `width` characters; units are not torn."""
    body, bracket, units = text.rpartition(" [")
    if not bracket:
        return "\n".join(textwrap.wrap(text, width))
    lines = textwrap.wrap(body, width) or [""]
    if len(lines[-1]) + len(units) + 2 <= width:
        lines[-1] += f" [{units}"
    else:
        lines.append(f"[{units}")
    return "\n".join(lines)


def class_names(attrs: Mapping[Any, Any]) -> dict[int, str]:
    """Names of classes by their numbers, from ``flag_values`` and ``flag_meanings``; empty without them."""
    values, meanings = attrs.get("flag_values"), attrs.get("flag_meanings")
    if values is None or meanings is None:
        return {}
    names = str(meanings).split()
    return {int(number): name.replace("_", " ") for number, name in zip(flags_of(values), names, strict=False)}
