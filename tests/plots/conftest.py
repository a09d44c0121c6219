"""Pictures are drawn without a screen, and closed after each test."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def pixels(tmp_path):
    """Render an axes' figure; its pixels (rows, columns, 3) from 0 to 255."""

    def render(ax) -> np.ndarray:
        path = tmp_path / "picture.png"
        ax.figure.savefig(path, dpi=50)
        return (plt.imread(path)[..., :3] * 255).round().astype(int)

    return render
