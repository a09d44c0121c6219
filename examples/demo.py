"""Soil map to soil moisture on a synthetic continent: what xsoil does, in a minute and without any data.

    python examples/demo.py [--out demo-output] [--cells-per-degree 60] [--grid EASE2_M09km] [--seed 0]

The same as `xsoil demo`; what it does stands in xsoil/demo.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xsoil import demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    parser.add_argument("--cells-per-degree", type=int, default=60)
    parser.add_argument("--grid", default=demo.GRID)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    demo.run(options.out, cells_per_degree=options.cells_per_degree, grid=options.grid, seed=options.seed)


if __name__ == "__main__":
    main()
