"""Every block of Python in the README and in docs/ runs, a page at a time, in an empty folder."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pages import OTHERS, PAGES, PYTHON, Block, blocks, code
from stages import EXCEPTED, QUICK, STAGES

import xsoil

WITH_CODE = [page for page in PAGES if code(page)]
NEEDS = {"learn_params": "lightning", "liu2023": "lightning", "moisture_models": "lightning", "qi2026": "lightning",
         "rabiei2024": "lightning", "fill_gaps": "torch", "readers": "h5netcdf"}  # fmt: skip
"""Pages on what an extra brings."""


def reason_to_except(page: str, block: Block) -> str | None:
    for (name, words), reason in EXCEPTED.items():
        if name == page and block.text.startswith(words):
            return reason
    return None


@pytest.mark.parametrize("page", WITH_CODE)
def test_page_runs(page, tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="the extra 'plot' is not installed")
    if page in NEEDS:
        pytest.importorskip(NEEDS[page], reason="an extra that the page is about is not installed")
    pyplot.switch_backend("Agg")
    names: dict[str, Any] = STAGES[page](tmp_path) if page in STAGES else {}
    names["__name__"] = "__main__"
    monkeypatch.chdir(tmp_path)
    unused = set(QUICK.get(page, ()))
    after = []
    for block in code(page):
        text = block.text
        for full, quick in QUICK.get(page, {}).items():
            unused -= {full} if full in text else set()
            text = text.replace(full, quick)
        program = compile("\n" * (block.line - 1) + text, str(PAGES[page]), "exec")
        if reason_to_except(page, block) is None:
            exec(program, names)
        after.append(dict(names))
        pyplot.close("all")
    assert not unused, f"{page} has no {unused} any more"
    if page in RESULTS:
        RESULTS[page](after, tmp_path)


def readme(after, folder):
    written = xr.open_zarr(folder / "soil_moisture.zarr")
    assert 0.0 < float(written.theta.isel(time=-1).mean()) < 0.6
    assert (folder / "k_sat.tif").stat().st_size > 1000
    assert (folder / "theta.png").stat().st_size > 5000


def evaluation(after, folder):
    names = after[-1]
    assert int(names["both"].test.sum()) > 20
    assert float(names["difference"].high) < 0
    assert str(names["factors"].factor[int(names["factors"].importance.values.argmax())].item()) == "elevation"
    assert float(names["components"].failed_deviation.sel(feature="elevation")) > 0.5
    assert names["crps"].sizes == {"site": 200}


def readers(after, folder):
    """Every example gives numbers, not only names."""
    before: dict[str, Any] = {}
    for names in after:
        made = [value for name, value in names.items() if before.get(name) is not value]
        assert made
        for ds in made:
            if isinstance(ds, xr.Dataset):
                assert any(int(array.notnull().sum()) for array in ds.data_vars.values())
        before = names


def fill_gaps(after, folder):
    assert int(after[0]["filled"].soil_moisture_filled.sum()) > 100
    assert float(after[1]["filled"].soil_moisture.isnull().sum()) < 100


def moisture_models(after, folder):
    fine, coarse = after[-1]["fine"], after[-1]["satellite"]
    assert np.isfinite(fine.soil_moisture).mean() > 0.5
    assert set(fine.sizes) >= set(coarse.sizes)


RESULTS = {
    "README": readme, "evaluation": evaluation, "readers": readers, "fill_gaps": fill_gaps,
    "moisture_models": moisture_models,
}  # fmt: skip
"""What must have come out: called with the names after each block, and the folder."""


def test_no_other_kind_of_block():
    """A block that is neither Python nor known to need no run would escape this test."""
    for page in PAGES:
        for block in blocks(page):
            assert block.kind in (*PYTHON, *OTHERS), f"{page}, line {block.line}: {block.kind!r}"


def test_tables_of_the_test_fit_the_pages():
    assert set(STAGES) | set(QUICK) | set(RESULTS) | set(NEEDS) <= set(WITH_CODE)
    for page, words in EXCEPTED:
        assert any(block.text.startswith(words) for block in code(page)), (page, words)


def test_every_reader_has_an_example():
    text = "".join(block.text for block in code("readers"))
    names = [name for name in xsoil.data.__all__ if name.startswith("open_")]
    assert len(names) >= 10
    assert [name for name in names if f"xsoil.data.{name}(" not in text] == []


def test_every_verb_has_an_example():
    """Called in a page that runs: as a method, or as a function of `xsoil`."""
    text = "".join(block.text for page in WITH_CODE for block in code(page))
    verbs = [name for name in xsoil.__all__ if callable(getattr(xsoil, name)) and name[0].islower()]
    assert len(verbs) > 25
    assert [name for name in verbs if not re.search(rf"\.{name}\(", text)] == []
