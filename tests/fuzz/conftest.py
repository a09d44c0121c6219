from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Tensors of tests are small: threads that wait for each other would take most of the time."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
