"""The notebooks of the studies are stored as they ran: every cell, in order, without an error, and small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
LARGEST = 1_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def cells(self, path: Path) -> list[dict]:
        return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]

    def test_ran_from_top_to_bottom(self, path):
        counts = [cell["execution_count"] for cell in self.cells(path)]
        assert counts
        assert counts == list(range(1, len(counts) + 1))

    def test_has_results_and_no_error(self, path):
        kinds = [output["output_type"] for cell in self.cells(path) for output in cell["outputs"]]
        assert "error" not in kinds
        assert {"display_data", "execute_result", "stream"} & set(kinds)

    def test_names_no_folder_of_a_machine(self, path):
        assert not re.search(r"/(home|work|tmp|root|Users)/", path.read_text())

    def test_is_small(self, path):
        assert path.stat().st_size < LARGEST

    def test_stands_beside_its_script(self, path):
        assert path.with_suffix(".py").is_file()
        assert path.stem in "".join("".join(cell["source"]) for cell in self.cells(path))
