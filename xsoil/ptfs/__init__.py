"""Published pedotransfer functions: one file each, and the table `PTFS`.

A new function is one file with an entry and one line here.
"""

from __future__ import annotations

from typing import NoReturn

from xsoil.errors import UnknownNameError
from xsoil.ptfs.clapp_hornberger1978 import CLAPP_HORNBERGER_1978
from xsoil.ptfs.cosby1984 import COSBY_1984, COSBY_1984_UNIVARIATE
from xsoil.ptfs.li2024 import LI_2024_CB1, LI_2024_CB2
from xsoil.ptfs.ptf import PTF
from xsoil.ptfs.rawls_brakensiek1985 import RAWLS_BRAKENSIEK_1985
from xsoil.ptfs.rosetta import ROSETTA_1, ROSETTA_3
from xsoil.ptfs.saxton_rawls2006 import SAXTON_RAWLS_2006
from xsoil.ptfs.toth2015 import TOTH_2015
from xsoil.ptfs.vereecken1989 import VEREECKEN_1989
from xsoil.ptfs.weynants2009 import WEYNANTS_2009
from xsoil.ptfs.wosten1999 import WOSTEN_1999
from xsoil.ptfs.zacharias_wessolek2007 import ZACHARIAS_WESSOLEK_2007

__all__ = ["PTF", "PTFS"]


class _Table(dict[str, PTF]):
    """A dict that names the nearest entry where a key is missing."""

    def __missing__(self, name: str) -> NoReturn:
        raise UnknownNameError.of("pedotransfer function", name, self)


PTFS: dict[str, PTF] = _Table(
    (entry.name, entry)
    for entry in (
        COSBY_1984,
        COSBY_1984_UNIVARIATE,
        LI_2024_CB1,
        LI_2024_CB2,
        CLAPP_HORNBERGER_1978,
        SAXTON_RAWLS_2006,
        RAWLS_BRAKENSIEK_1985,
        WOSTEN_1999,
        VEREECKEN_1989,
        WEYNANTS_2009,
        TOTH_2015,
        ZACHARIAS_WESSOLEK_2007,
        ROSETTA_1,
        ROSETTA_3,
    )
)
"""All pedotransfer functions by name; an unknown name raises `UnknownNameError`."""
