"""The page on evaluation: its code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_code_of_the_page_runs():
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict = {}
    exec("\n".join(code), names)
    assert int(names["both"].test.sum()) > 20
    assert float(names["difference"].high) < 0
    assert str(names["factors"].factor[int(names["factors"].importance.values.argmax())].item()) == "elevation"
    assert float(names["components"].failed_deviation.sel(feature="elevation")) > 0.5
    np.testing.assert_allclose(names["crps"].sizes["site"], 200)
