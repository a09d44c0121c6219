"""Imports between the rooms go down only, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xsoil

ROOT = Path(xsoil.__file__).parent
# Lower number = lower layer; a module may import from its own layer and those below.
LAYERS = {
    "command_line": 9, "demo": 8, "file_info": 8, "__init__": 7, "accessor": 6, "verbs": 5,
    "data": 4, "outputs": 4, "plots": 4, "evaluation": 4,
    "networks": 3, "inverse": 3, "kernels": 2, "ptfs": 2, "grids": 2, "physics": 1,
    "vocabulary": 0, "errors": 0, "choices": 0, "jit": 0, "threads": 0,
}  # fmt: skip
# Where a library may be imported (a room, or one file of it).
LIBRARIES = {
    "numba": ("jit",),
    "torch": ("networks",),
    "xarray": (
        "command_line",
        "demo",
        "file_info",
        "accessor",
        "verbs",
        "data",
        "outputs",
        "plots",
        "evaluation",
        "grids/geobox",
    ),
    "dask": ("verbs/_lazy", "data", "outputs"),
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """Imported modules of a file, each with whether it is imported as the file is imported."""
    tree = ast.parse(path.read_text())
    inside = {n for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)}
    typing_only = {
        n for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for n in ast.walk(block)
    }  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module in ("xsoil", "xsoil.verbs")
                else [node.module]
            )
            found += [(name, node not in inside) for name in names]
    return found


def room(module: str) -> str:
    """The room of a module of the package, e.g. `xsoil.grids.ease` -> grids."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    assert own in LAYERS, f"{own} is not a room of DESIGN.md"
    for module, _ in imports(path):
        if module.split(".")[0] == "xsoil":
            other = room(module)
            if other in LAYERS:
                assert LAYERS[other] <= LAYERS[own], f"{path.name} imports {module}, which lies above {own}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path):
    place = str(path.relative_to(ROOT).with_suffix(""))
    for module, _ in imports(path):
        rooms = LIBRARIES.get(module.split(".")[0])
        if rooms is not None:
            assert any(place == r or place.startswith(f"{r}/") for r in rooms), f"{place} imports {module}"


def test_import_is_light():
    code = (
        "import sys, xarray, odc.geo.xr, rioxarray; before = set(sys.modules); import xsoil; "
        "heavy = {'torch', 'numba', 'scores', 'matplotlib', 'rosetta', 'distributed', 'sklearn'}; "
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_file_is_too_long():
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"above 400 lines, wants splitting: {long}"
